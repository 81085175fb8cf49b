"""What goes together more often than chance would have it."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import exp, lgamma, sqrt
from typing import NamedTuple


class Pair(NamedTuple):
    """Two criteria over the `n` transcripts on which both were answered YES or NO."""

    first: str
    second: str
    n: int
    first_failed: int
    second_failed: int
    both: int
    lift: float | None
    """How many times as often both fail as they would if they had nothing to do with each other."""
    phi: float | None
    """Correlation, -1 to 1; null where one of the two always or never fails."""
    p: float
    """Probability of at least `both` by chance (Fisher's exact test, one side)."""


class Contrast(NamedTuple):
    """Transcripts with a trait against all others."""

    n: int
    failed: int
    others: int
    others_failed: int
    p: float
    """Probability of a difference at least as unlikely by chance (Fisher's exact test, two sides)."""


def pairs(failed: Sequence[Mapping[str, bool]], criteria: Sequence[str]) -> list[Pair]:
    """Every pair of criteria that fail together in at least one transcript, the strongest first. `failed`: for each
    transcript, criterion → whether it failed; unanswered ones left out."""
    found = []
    for first, second in combinations(criteria, 2):
        told = [(one[first], one[second]) for one in failed if first in one and second in one]
        a, b, both = sum(x for x, _ in told), sum(y for _, y in told), sum(x and y for x, y in told)
        if both:
            n = len(told)
            p = tail(both, a, b, n)
            found.append(Pair(first, second, n, a, b, both, both * n / (a * b), phi(both, a, b, n), p))
    return sorted(found, key=lambda pair: (pair.p, -pair.both, pair.first, pair.second))


def phi(both: int, a: int, b: int, n: int) -> float | None:
    """The phi coefficient of two yes-no variables: `a` and `b` of `n` have one each, `both` have the two."""
    spread = a * (n - a) * b * (n - b)
    return (both * n - a * b) / sqrt(spread) if spread else None


def contrast(n: int, failed: int, others: int, others_failed: int) -> Contrast:
    """`failed` of `n` transcripts with a trait against `others_failed` of `others` without it."""
    return Contrast(n, failed, others, others_failed, two_sided(failed, failed + others_failed, n, n + others))


def tail(both: int, a: int, b: int, n: int) -> float:
    """P(X >= `both`) where `a` of `n` are drawn and `b` of `n` are marked (hypergeometric)."""
    return min(1.0, sum(_chance(k, a, b, n) for k in range(both, min(a, b) + 1)))


def two_sided(both: int, a: int, b: int, n: int) -> float:
    """Fisher's exact test: the probability of all outcomes that are no likelier than the observed one."""
    observed = _chance(both, a, b, n) * (1 + 1e-7)
    every = (_chance(k, a, b, n) for k in range(max(0, a + b - n), min(a, b) + 1))
    return min(1.0, sum(chance for chance in every if chance <= observed))


def _chance(k: int, a: int, b: int, n: int) -> float:
    if not max(0, a + b - n) <= k <= min(a, b):
        return 0.0
    return exp(_log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n, b))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def adjusted(chances: Sequence[float]) -> list[float]:
    """Each p value corrected for the number of them: the share of false discoveries among all at least as strong
    (Benjamini and Hochberg 1995)."""
    order = sorted(range(len(chances)), key=lambda i: chances[i], reverse=True)
    found = [0.0] * len(chances)
    least = 1.0
    for rank, i in zip(range(len(chances), 0, -1), order, strict=True):
        least = min(least, chances[i] * len(chances) / rank)
        found[i] = least
    return found
