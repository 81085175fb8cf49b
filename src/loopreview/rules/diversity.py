"""How varied the wording of a set is."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

SAMPLE_WORDS = 50_000
"""Distinct-n falls with every further word: sets are comparable only over equally many."""
POINTS = 10
"""Points of the growth curve."""


class Distinct(NamedTuple):
    """Different n-grams / all n-grams, n = 1, 2, 3 (Li et al. 2016, "A Diversity-Promoting Objective Function"), over
    `words` words; None without n-grams."""

    one: float | None
    two: float | None
    three: float | None
    words: int


def drawn(id: str) -> bytes:
    """The place of a transcript in the drawing: the same whatever else is in the set."""
    return blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def distinct(replies: Iterable[Sequence[str]], words: int = SAMPLE_WORDS) -> Distinct:
    """Distinct-n over the first `words` words of `replies` (folded words each); n-grams do not cross replies."""
    seen: tuple[set[tuple[str, ...]], ...] = (set(), set(), set())
    totals = [0, 0, 0]
    used = 0
    for reply in replies:
        if used >= words:
            break
        taken = reply[: words - used]
        used += len(taken)
        for n in (1, 2, 3):
            grams = list(zip(*(taken[i:] for i in range(n)), strict=False))
            seen[n - 1].update(grams)
            totals[n - 1] += len(grams)
    one, two, three = (len(found) / total if total else None for found, total in zip(seen, totals, strict=True))
    return Distinct(one, two, three, used)


class Growth(NamedTuple):
    """The vocabulary as the set grows, in the order in which the transcripts were made."""

    words: int
    distinct: int
    curve: tuple[tuple[int, int], ...]
    """(words so far, different words so far), at every tenth of the transcripts."""
    new_per_1000: float | None
    """Words that were never used before, among 1,000 of the last tenth; None without words there."""


def growth(transcripts: Sequence[Iterable[str]] | Iterable[Iterable[str]], count: int) -> Growth:
    """`transcripts`: the folded words of each one's replies, `count` of them."""
    seen: set[str] = set()
    words = 0
    marks = sorted({max(1, round(count * tenth / POINTS)) for tenth in range(1, POINTS + 1)}) if count else []
    curve: list[tuple[int, int]] = []
    for number, said in enumerate(transcripts, 1):
        said = list(said)
        words += len(said)
        seen.update(said)
        if number in marks:
            curve.append((words, len(seen)))
    before = curve[-2] if len(curve) > 1 else (0, 0)
    last = words - before[0]
    return Growth(words, len(seen), tuple(curve), 1000 * (len(seen) - before[1]) / last if last else None)
