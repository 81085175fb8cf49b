"""The formulas alone, in plain Python. Each names its source; each is tested against a published or library value."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from math import exp, lgamma, log, log1p, prod
from random import Random
from statistics import NormalDist
from typing import NamedTuple

Interval = tuple[float, float]
"""Lower and upper end of an interval, 95 % unless said."""

DRAWS = 2_000
SEED = 0
SURE = 0.95
"""From this probability on (or below 1 minus it) a pass rate counts as settled."""
MANY_STATES = 20_000
"""Above so many different scores `chance_of_score` rounds them."""


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Score interval of a share, `k` of `n` (Wilson 1927); None where `n` is 0."""
    if n <= 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low = 0.0 if k == 0 else max(0.0, middle - half)
    high = 1.0 if k == n else min(1.0, middle + half)
    return low, high


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p). Sums outwards from k and stops where terms no longer count."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    if p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    lower = k <= n * p
    at = k if lower else k + 1
    term = exp(lgamma(n + 1) - lgamma(at + 1) - lgamma(n - at + 1) + at * log(p) + (n - at) * log1p(-p))
    total = 0.0
    while term > 0 and term > total * 1e-17:
        total += term
        if lower:
            term *= at / (n - at + 1) * (1 - p) / p
            at -= 1
        else:
            term *= (n - at) / (at + 1) * p / (1 - p)
            at += 1
    return min(1.0, total) if lower else max(0.0, 1 - total)


def p_reaches(k: int, n: int, rate: float = 0.7) -> float | None:
    """P(true rate >= `rate`) after `k` of `n` passed, from a uniform prior: the tail of Beta(1 + k, 1 + n - k),
    which equals P(Binomial(n + 1, rate) <= k). None where `n` is 0."""
    return binomial_tail(k, n + 1, rate) if n > 0 else None


def more_needed(k: int, n: int, rate: float = 0.7, limit: int = 1_000) -> int | None:
    """The fewest further transcripts m such that, with round(k/n x (n + m)) of n + m passing, `p_reaches` is at
    least 0.95 or at most 0.05. 0 where it already is; None where `n` is 0 or m would be above `limit`."""
    if n <= 0:
        return None
    for more in range(limit + 1):
        chance = p_reaches(round(k * (n + more) / n), n + more, rate)
        assert chance is not None
        if chance >= SURE or chance <= 1 - SURE:
            return more
    return None


def cohen_kappa(table: Mapping[tuple[str, str], int]) -> float | None:
    """Chance-corrected agreement of two raters (Cohen 1960). `table`: (first's answer, second's answer) -> items.
    None without items, and where both only ever gave one and the same answer (chance alone explains all)."""
    n = sum(table.values())
    if n == 0:
        return None
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    same = 0
    for (a, b), count in table.items():
        first[a] += count
        second[b] += count
        same += count if a == b else 0
    by_chance = sum(first[answer] * second[answer] for answer in first)
    if by_chance == n * n:
        return None
    return (n * same - by_chance) / (n * n - by_chance)


def _rated(items: Sequence[Mapping[str, int]]) -> list[Mapping[str, int]]:
    """Items with at least two ratings: only those hold a pair that can agree."""
    return [item for item in items if sum(item.values()) >= 2]


def raw_agreement(items: Sequence[Mapping[str, int]]) -> float | None:
    """Mean over items of the share of an item's pairs of raters that agree. `items`: answer -> raters who gave it.
    Items with fewer than two raters are left out; None where none is left."""
    rated = _rated(items)
    if not rated:
        return None
    shares = []
    for item in rated:
        m = sum(item.values())
        shares.append(sum(count * (count - 1) for count in item.values()) / (m * (m - 1)))
    return sum(shares) / len(shares)


def fleiss_kappa(items: Sequence[Mapping[str, int]]) -> float | None:
    """Chance-corrected agreement of many raters (Fleiss 1971), each item with its own number of raters: observed is
    `raw_agreement`, chance comes from the shares of all ratings together. None as for `cohen_kappa`."""
    rated = _rated(items)
    observed = raw_agreement(rated)
    if observed is None:
        return None
    totals: Counter[str] = Counter()
    for item in rated:
        totals.update(item)
    n = totals.total()
    if max(totals.values()) == n:
        return None
    by_chance = sum((count / n) ** 2 for count in totals.values())
    return (observed - by_chance) / (1 - by_chance)


def krippendorff_alpha(items: Sequence[Mapping[str, int]]) -> float | None:
    """Krippendorff's alpha for nominal data (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"): one
    minus observed over expected disagreement of pairable values. None as for `cohen_kappa`."""
    rated = _rated(items)
    totals: Counter[str] = Counter()
    observed = 0.0
    for item in rated:
        m = sum(item.values())
        totals.update(item)
        observed += sum(count * (m - count) for count in item.values()) / (m - 1)
    n = totals.total()
    expected = sum(count * (n - count) for count in totals.values())
    if expected == 0:
        return None
    return 1 - (n - 1) * observed / expected


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p value of McNemar's test: `b` changed one way and `c` the other. 1 where nothing changed."""
    return min(1.0, 2 * binomial_tail(min(b, c), b + c, 0.5))


def rogan_gladen(rate: float, tpr: float, tnr: float) -> float | None:
    """The true rate behind an observed one (Rogan and Gladen 1978), clipped to 0-1; None unless tpr + tnr > 1."""
    if tpr + tnr <= 1:
        return None
    return min(1.0, max(0.0, (rate + tnr - 1) / (tpr + tnr - 1)))


@lru_cache(maxsize=4_096)
def _binomial_steps(n: int, p: float) -> tuple[int, tuple[float, ...]]:
    """The first value and the cumulative chances of Binomial(n, p), without ends rarer than about 1e-14."""
    mode = min(n, int((n + 1) * p))
    peak = exp(lgamma(n + 1) - lgamma(mode + 1) - lgamma(n - mode + 1) + mode * log(p) + (n - mode) * log1p(-p))
    below, term, at = [], peak, mode
    while at > 0 and term > 1e-14:
        term *= at / (n - at + 1) * (1 - p) / p
        at -= 1
        below.append(term)
    above, term, at = [], peak, mode
    while at < n and term > 1e-14:
        term *= (n - at) / (at + 1) * p / (1 - p)
        at += 1
        above.append(term)
    return mode - len(below), tuple(accumulate([*reversed(below), peak, *above]))


def resample(counts: Sequence[int], rng: Random) -> list[int]:
    """One bootstrap draw of items that fall into cells: as many items, each drawn anew from the observed ones. A
    multinomial draw, made one cell after the other."""
    left, pool = sum(counts), sum(counts)
    drawn = []
    for count in counts:
        if count == 0 or left == 0:
            found = 0
        elif count == pool:
            found = left
        else:
            first, steps = _binomial_steps(left, count / pool)
            found = first + min(bisect_left(steps, rng.random() * steps[-1]), len(steps) - 1)
        drawn.append(found)
        left -= found
        pool -= count
    return drawn


def bootstrap(
    counts: Sequence[int], value: Callable[[Sequence[int]], float | None], rng: Random, draws: int = DRAWS
) -> Interval | None:
    """95 % percentile interval of `value(counts)` (Efron 1979). `counts` says how many transcripts fall into each cell;
    drawing transcripts with replacement is drawing these counts. Draws without a value are left out; None where
    fewer than half have one."""
    values = [v for v in (value(resample(counts, rng)) for _ in range(draws)) if v is not None]
    if not values or 2 * len(values) < draws:
        return None
    values.sort()
    return quantile(values, 0.025), quantile(values, 0.975)


def quantile(values: Sequence[float], q: float) -> float:
    """The `q` quantile of sorted values, between neighbours by straight line."""
    place = q * (len(values) - 1)
    at = int(place)
    after = min(at + 1, len(values) - 1)
    return values[at] + (values[after] - values[at]) * (place - at)


def kappa_of_counts(tp: int, fp: int, tn: int, fn: int) -> float | None:
    """Cohen's kappa of a judge and a person over YES and NO."""
    n = tp + fp + tn + fn
    by_chance = (tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)
    if n == 0 or by_chance == n * n:
        return None
    return (n * (tp + tn) - by_chance) / (n * n - by_chance)


def count_chances(chances: Sequence[float]) -> list[float]:
    """The distribution of how many of independent events with these chances happen (Poisson binomial), exactly, by
    adding one event after the other: entry i is the chance of i events."""
    found = [1.0]
    for p in chances:
        found = [
            (found[i] * (1 - p) if i < len(found) else 0.0) + (found[i - 1] * p if i else 0.0)
            for i in range(len(found) + 1)
        ]
    return found


def chance_within(parts: Sequence[Sequence[tuple[float, float]]], limit: float, tolerance: float = 1e-9) -> float:
    """The chance that independent losses add up to at most `limit`. Each part lists (loss >= 0, chance); chances may
    sum to less than 1, the rest being certain failure. Exact: all sums within the limit are enumerated part by part,
    equal ones joined. Above 20,000 different sums they are joined when equal to 5 digits."""
    sums: dict[float, float] = {0.0: 1.0}
    for part in parts:
        digits = 12 if len(sums) < MANY_STATES else 5
        added: dict[float, float] = {}
        for total, chance in sums.items():
            for loss, p in part:
                if p > 0 and total + loss <= limit + tolerance:
                    key = round(total + loss, digits)
                    added[key] = added.get(key, 0.0) + chance * p
        sums = added
    return min(1.0, sum(sums.values()))


class CategoryErrors(NamedTuple):
    """A category of a rubric, in chances: `gates` and `others` hold, for each criterion, the chance that a YES is
    merged as NO. `floor` 0-1 is the least score of the category."""

    weight: float
    floor: float
    gates: Sequence[float]
    others: Sequence[float]


def perfect_pass_chance(categories: Sequence[CategoryErrors], threshold: float) -> float | None:
    """The chance that a transcript passes on which every criterion is truly YES, errors independent; None without a
    weighted category. Exact: the number of NOs in a category is Poisson binomial, and the losses of score that follow
    are enumerated over all categories. A gate that falls or a floor that is missed is a fail whatever the rest."""
    weight = sum(category.weight for category in categories)
    if weight <= 0:
        return None
    parts = []
    for category in categories:
        size = len(category.gates) + len(category.others)
        gates_hold = prod(1 - chance for chance in category.gates)
        parts.append(
            [
                (category.weight / weight * lost / size, chance * gates_hold)
                for lost, chance in enumerate(count_chances(category.others))
                if (size - lost) / size >= category.floor - 1e-9
            ]
        )
    return chance_within(parts, 1 - threshold)
