"""Texts in columns of a terminal, by cells: a Chinese character takes two, a combining mark none."""

import re
import unicodedata
from itertools import zip_longest

_WIDE = (
    "\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U0001f300-\U0001faff"
)
_PIECES = re.compile(f"[ ]+|[{_WIDE}]|[^ {_WIDE}]+")
"""Spaces, words, and characters between which a line may end."""


def cells(text: str) -> int:
    """How many cells of a terminal a line takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells (2 or more). Words stay whole where they fit into a line."""
    return [line for paragraph in text.split("\n") for line in _lines(paragraph, max(2, width))]


def _lines(paragraph: str, width: int) -> list[str]:
    lines, line, taken = [], "", 0
    for piece in _PIECES.findall(paragraph):
        size = cells(piece)
        if taken + size > width and taken:
            lines.append(line.rstrip(" "))
            line, taken = "", 0
            if piece.isspace():
                continue
        while size > width:
            head = _head(piece, width)
            lines.append(head)
            piece = piece[len(head) :]
            size = cells(piece)
        line, taken = line + piece, taken + size
    return [*lines, line.rstrip(" ")] if line or not lines else lines


def _head(word: str, width: int) -> str:
    taken = 0
    for place, char in enumerate(word):
        taken += _width(char)
        if taken > width:
            return word[:place]
    return word


def beside(left: str, right: str, width: int) -> list[str]:
    """Two texts next to each other in lines of at most `width` cells."""
    column = (width - 3) // 2
    pairs = zip_longest(wrapped(left, column), wrapped(right, column), fillvalue="")
    return [f"{one}{' ' * (column - cells(one))} │ {other}".rstrip(" ") for one, other in pairs]
