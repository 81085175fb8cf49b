"""An example as the model will see it, in lines, the supervised part lit: by a bar in the margin and by its weight,
never by colour alone."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from loopreview.rules.safe_text import safe
from loopreview.tui import page
from loopreview.tui.widgets.card import Line, Piece

LIT, MARGIN = "bold", "▌ "
INDENT = len(MARGIN)


class Rendered:
    """The lines of one example at one width. `lit` are the numbers of lines where a supervised part begins."""

    def __init__(self, example: Mapping[str, Any], width: int) -> None:
        """`example`: what the planner answers; `width` in cells, margin included."""
        self.lit: list[int] = []
        self._lines: list[tuple[int, int, int]] = []
        self._texts: list[tuple[str, list[tuple[int, int]]]] = []
        self._titles: dict[int, str] = {}
        for number, part in enumerate(example["parts"]):
            text, spans = shown(part["text"], part["lit"])
            self._texts.append((text, spans))
            if part["title"]:
                self._titles[len(self._lines)] = part["title"]
                self._lines.append((number, page.HEADER, page.HEADER))
            first = len(self._lines)
            page.wrap(text, max(8, width - INDENT), number, self._lines)
            begins = [start for _, start, _ in self._lines[first:]]
            for start, _ in spans:
                # A part that begins with a line feed begins, for who reads, on the next line.
                at = start + (text[start : start + 1] == "\n")
                self.lit.append(first + max(0, bisect_right(begins, at) - 1))

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, place: int) -> Line:
        number, start, end = self._lines[place]
        if start == page.HEADER:
            return ((f"── {self._titles[place]} ──", "bold"),)
        text, spans = self._texts[number]
        touching = []
        for a, b in spans[bisect_right(spans, start, key=lambda span: span[1]) :]:
            if a >= max(end, start + 1):
                break
            touching.append((a, b))
        pieces: list[Piece] = [(MARGIN, "bold $text-accent") if touching else (" " * INDENT, "")]
        at = start
        for a, b in touching:
            a, b = max(a, start), min(b, end)
            if a > at:
                pieces.append((text[at:a], ""))
            if b > a:
                pieces.append((text[a:b], LIT))
            at = max(at, b)
        if at < end:
            pieces.append((text[at:end], ""))
        return tuple(pieces)


def shown(text: str, spans: Sequence[Sequence[int]]) -> tuple[str, list[tuple[int, int]]]:
    """The text made safe, and the spans in it. `spans` rise and do not overlap."""
    pieces: list[str] = []
    found: list[tuple[int, int]] = []
    at = length = 0
    for start, end in spans:
        for piece, is_lit in ((text[at:start], False), (text[start:end], True)):
            made = safe(piece)
            if is_lit:
                found.append((length, length + len(made)))
            pieces.append(made)
            length += len(made)
        at = end
    pieces.append(safe(text[at:]))
    return "".join(pieces), found
