"""Where a transcript fails, and whether mending it is worth a person's time."""

from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from loopreview.models.rubric import Criterion

FEW_EXCHANGES = 3
"""A fault in at most this many exchanges, and in at most a third of them, can be mended by hand."""

_OF_THE_WHOLE = ("length_ratio", "question_endings", "formulaic_openers")
"""Checks that count over all replies: rewriting one or two changes nothing."""


class Mending(NamedTuple):
    kind: Literal["fixable", "systemic"]
    why: str


def mending(
    failed: Sequence[Criterion], enough: Collection[str], cited: Mapping[str, Collection[int]], exchanges: int
) -> Mending:
    """Fixable: there is one criterion without whose NO the transcript would pass, and the quotes of those who said NO
    stand in a few exchanges. Anything else is systemic.

    `failed`: the criteria answered NO; `enough`: those of them that alone make the difference; `cited`: criterion → the
    exchanges quoted against it; `exchanges`: how many the transcript has.
    """
    if not failed:
        return Mending("systemic", "rejected by a reviewer, and no criterion says why")
    most = max(1, min(FEW_EXCHANGES, exchanges // 3))
    deciding = [c for c in failed if c.id in enough]
    local = [c for c in deciding if not of_the_whole(c) and 1 <= len(cited.get(c.id, ())) <= most]
    if local:
        best = min(local, key=lambda c: len(cited[c.id]))
        gate = "; a gate criterion: cut the transcript before it, or mend it with care" if best.gate else ""
        others = ", ".join(c.id for c in failed if c is not best)
        also = f" for a pass; it fails {others} too" if others else ""
        return Mending("fixable", f"mending {_places(best, cited, exchanges)} is enough{also}{gate}")
    if not deciding:
        return Mending("systemic", f"fails {len(failed)} criteria, and mending one of them is not enough")
    nearest = min(deciding, key=lambda c: len(cited.get(c.id, ())) or exchanges)
    if of_the_whole(nearest):
        return Mending("systemic", f"{nearest.id} is about all replies together")
    if not cited.get(nearest.id):
        return Mending("systemic", f"{nearest.id} failed, and nobody quoted where")
    return Mending("systemic", f"{_places(nearest, cited, exchanges)}: more than {most}")


def of_the_whole(criterion: Criterion) -> bool:
    """Whether the criterion counts over all replies, so that its quotes are samples and not the places of a fault."""
    return criterion.kind == "check" and criterion.check in _OF_THE_WHOLE


def _places(criterion: Criterion, cited: Mapping[str, Collection[int]], exchanges: int) -> str:
    places = sorted(cited[criterion.id])
    plural = "s" if len(places) > 1 else ""
    return f"{criterion.id} in exchange{plural} {', '.join(map(str, places[:8]))} of {exchanges}"


class Where(NamedTuple):
    """In which exchanges one criterion was failed. `transcripts` have a quote; `thirds`: those with one in the first,
    middle and last third (a transcript may be in several)."""

    transcripts: int
    thirds: tuple[int, int, int]
    first: float | None
    """The first exchange quoted, the median over transcripts."""


def where(cited: Sequence[tuple[Collection[int], int]]) -> Where:
    """`cited`: for each transcript that failed, the exchanges quoted and how many it has."""
    thirds = [0, 0, 0]
    first = []
    for places, exchanges in cited:
        inside = [place for place in places if 1 <= place <= exchanges]
        for third in {3 * (place - 1) // exchanges for place in inside}:
            thirds[third] += 1
        if inside:
            first.append(min(inside))
    return Where(len(first), (thirds[0], thirds[1], thirds[2]), median(first) if first else None)
