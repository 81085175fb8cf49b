"""Finding a quote in the text it was taken from."""

import re
import unicodedata
from array import array
from collections import OrderedDict
from typing import NamedTuple

_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
_DASHES = "\u002d\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
_UNIT = re.compile(
    rf"(?P<plain>[!-,./0-9:-_a-~]+(?![{_MARKS}]))|(?P<space>\s+)|(?P<dash>[{_DASHES}]+)"
    rf"|(?P<hidden>[\u00ad\u200b\u2060\ufeff]+)|(?P<jamo>[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?)|.[{_MARKS}]*",
    re.DOTALL,
)
_SAME = str.maketrans(
    dict.fromkeys("‘’‚‛′‵`´ʹʼ", "'") | dict.fromkeys("“”„‟″‶«»〝〞", '"') | {"‹": "'", "›": "'"}
)  # fmt: skip


class _Folded(NamedTuple):
    text: str
    starts: "array[int]"
    """For each character of `text` where its unit begins in the original; -1 inside a unit."""
    ends: "array[int]"
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
    whole = _folded(quote.strip()).text
    for wanted in dict.fromkeys((whole, _without_ellipses(whole))):
        if found := _find(wanted, folded, occurrence):
            return found
    return None


def stands_in(quote: str, text: str) -> bool:
    """Whether `locate` finds the quote. Most quotes are exact, and then nothing has to be folded."""
    wanted = quote.strip()
    start = text.find(wanted) if wanted else -1
    end = start + len(wanted)
    # A mark that follows belongs to the last letter: that is another letter then.
    if start >= 0 and wanted.isascii() and text[end : end + 1] < "\u0300":
        return True
    return locate(quote, text) is not None


def occurrence_at(quote: str, text: str, start: int) -> int:
    """The occurrence under which `locate` finds the `quote` that stands at `start` in `text`."""
    occurrence = 1
    while (place := locate(quote, text, occurrence)) and place[0] < start:
        occurrence += 1
    return occurrence if place else 1


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


def _without_ellipses(folded: str) -> str:
    before = None
    while folded != before:
        before, folded = folded, folded.strip()
        folded = folded.lstrip(".") if folded.startswith("...") else folded
        folded = folded.rstrip(".") if folded.endswith("...") else folded
    return folded


_CACHED_CHARACTERS = 500_000
"""Characters of the texts that stay folded, about 9 bytes each; the last one stays however long it is."""
_cached: OrderedDict[str, _Folded] = OrderedDict()
_held = 0


def _fold(text: str) -> _Folded:
    """The folded text, kept for the next quote from it."""
    global _held
    found = _cached.get(text)
    if found is not None:
        _cached.move_to_end(text)
        return found
    found = _cached[text] = _folded(text)
    _held += len(text)
    while _held > _CACHED_CHARACTERS and len(_cached) > 1:
        oldest, _ = _cached.popitem(last=False)
        _held -= len(oldest)
    return found


def _folded(text: str) -> _Folded:
    pieces: list[str] = []
    starts, ends = array("i"), array("i")
    for match in _UNIT.finditer(text):
        kind, unit = match.lastgroup, match[0]
        if kind == "hidden":
            continue
        if kind == "plain":
            pieces.append(unit)
            starts.extend(range(match.start(), match.end()))
            ends.extend(range(match.start() + 1, match.end() + 1))
            continue
        if kind == "space":
            piece = " "
        elif kind == "dash":
            piece = "-"
        else:
            piece = unicodedata.normalize("NFKC", unit.translate(_SAME)).translate(_SAME)
        pieces.append(piece)
        starts.extend([match.start(), *[-1] * (len(piece) - 1)])
        ends.extend([*[-1] * (len(piece) - 1), match.end()])
    return _Folded("".join(pieces), starts, ends)
