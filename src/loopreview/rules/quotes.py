"""Finding a quote in the text it was taken from."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
_DASHES = "\u002d\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
_UNIT = re.compile(
    rf"(?P<space>\s+)|(?P<dash>[{_DASHES}]+)|(?P<hidden>[\u00ad\u200b\u2060\ufeff]+)"
    rf"|(?P<jamo>[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?)|.[{_MARKS}]*",
    re.DOTALL,
)
_SAME = str.maketrans(
    dict.fromkeys("‘’‚‛′‵`´ʹʼ", "'") | dict.fromkeys("“”„‟″‶«»〝〞", '"') | {"‹": "'", "›": "'"}
)  # fmt: skip
_ELLIPSIS = re.compile(r"^(?:\.{3,}|…|\s)+|(?:\.{3,}|…|\s)+$")


class _Folded(NamedTuple):
    text: str
    starts: tuple[int, ...]
    """For each character of `text` where its unit begins in the original; -1 inside a unit."""
    ends: tuple[int, ...]
    """For each character where its unit ends in the original; -1 where the unit goes on."""


def locate(quote: str, text: str, occurrence: int = 1) -> tuple[int, int] | None:
    """(start, end) of the `occurrence`-th place of `quote` in `text`, in characters of `text`; None where there is
    none, never a guess.

    Equal are: runs of white space, kinds of quotation marks, dashes and ellipses, forms that NFKC makes equal, soft
    hyphens and zero-width spaces. An ellipsis around the quote is left out unless the text has it. Case counts.
    """
    if occurrence < 1:
        return None
    folded = _fold(text)
    for wanted in dict.fromkeys((_fold_quote(quote.strip()), _fold_quote(_ELLIPSIS.sub("", quote)))):
        if found := _find(wanted, folded, occurrence):
            return found
    return None


def _find(wanted: str, folded: _Folded, occurrence: int) -> tuple[int, int] | None:
    position = folded.text.find(wanted) if wanted else -1
    while position >= 0:
        end = position + len(wanted)
        if folded.starts[position] >= 0 and folded.ends[end - 1] >= 0:
            occurrence -= 1
            if not occurrence:
                return folded.starts[position], folded.ends[end - 1]
            position = folded.text.find(wanted, end)
        else:
            position = folded.text.find(wanted, position + 1)
    return None


def _fold_quote(quote: str) -> str:
    return _fold(quote).text


@lru_cache(maxsize=512)
def _fold(text: str) -> _Folded:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _UNIT.finditer(text):
        unit = match[0]
        if match.lastgroup == "space":
            piece = " "
        elif match.lastgroup == "dash":
            piece = "-"
        elif match.lastgroup == "hidden":
            continue
        elif unit.isascii():
            piece = unit.translate(_SAME)
        else:
            piece = unicodedata.normalize("NFKC", unit.translate(_SAME)).translate(_SAME)
        pieces.append(piece)
        starts += [match.start(), *[-1] * (len(piece) - 1)]
        ends += [*[-1] * (len(piece) - 1), match.end()]
    return _Folded("".join(pieces), tuple(starts), tuple(ends))
