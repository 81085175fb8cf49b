"""How far judges agree with people, people among themselves, and what follows for the pass rate.

Judge rates compare YES and NO only; the person is the truth, YES the positive. Three populations, never mixed:

- `fresh`: explicit answers of a reviewer who answered every judged criterion of that transcript, and imported labels;
  given to the criterion's present wording; not on a transcript that gave this criterion an example.
- `seen`: the same, but to an earlier wording, or on such a transcript.
- `implied`: criteria nobody answered on a decided transcript, taken as agreed with the merged answer.

Any other answer is a correction. People correct what is wrong, so that rates from corrections alone mislead."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from loopreview.models.review import Event
from loopreview.models.rubric import Rubric
from loopreview.models.verdict import Answer, Assessment, JudgeAnswer
from loopreview.rules.review import TranscriptReview, majority
from loopreview.rules.score import judged_criteria
from loopreview.rules.statistics import (
    SEED,
    CategoryErrors,
    Interval,
    bootstrap,
    cohen_kappa,
    count_chances,
    fleiss_kappa,
    kappa_of_counts,
    krippendorff_alpha,
    perfect_pass_chance,
    raw_agreement,
    rogan_gladen,
    wilson,
)

Population = Literal["fresh", "seen", "implied"]
POPULATIONS: tuple[Population, ...] = ("fresh", "seen", "implied")
MERGED = "merged"
"""The backend name of the merged panel."""
POOL_BELOW = 10
"""With fewer positives on a criterion, a judge's false-NO rate is taken over all criteria."""
DECISIONS_NEEDED = 5
"""Approvals, and rejections, that a corrected pass rate needs."""
WEAK_KAPPA = 0.6
"""Below this kappa a criterion counts as one of weak agreement, and reviewers are asked it."""


class Judged(NamedTuple):
    """A transcript with what judges and people said. `example_criteria`: those it gave an example to."""

    transcript: str
    assessment: Assessment
    review: TranscriptReview
    source: str | None
    generation_version: str | None
    example_criteria: frozenset[str]


class JudgeRow(BaseModel):
    """One backend (or `merged`) against people on one criterion. `n` counts YES/NO pairs, `na` the pairs in which one
    side says NA; rates are None where nothing is comparable. `ns`: what each rate is out of. `intervals`: 95 %, Wilson,
    for kappa a bootstrap over transcripts; empty where they were not asked for."""

    model_config = ConfigDict(frozen=True)

    criterion: str
    backend: str
    population: Population
    n: int
    tp: int
    fp: int
    tn: int
    fn: int
    na: int
    tpr: float | None
    tnr: float | None
    precision: float | None
    kappa: float | None
    raw: float | None
    prevalence: float | None
    ns: dict[str, int]
    intervals: dict[str, Interval | None]


class HumanRow(BaseModel):
    """People among themselves on one criterion: `items` with at least two raters, `reviewers` who rated them. `kappa`
    is Cohen's for two reviewers, Fleiss' for more; NA is a category of its own in all three."""

    model_config = ConfigDict(frozen=True)

    criterion: str
    items: int
    reviewers: int
    names: tuple[str, ...]
    kappa: float | None
    alpha: float | None
    raw: float | None


class CorrectedRate(BaseModel):
    """The pass rate corrected by how often people overrule the panel; None where that is not known well enough.
    `n` scored transcripts of the present generation version, of which `approved` and `rejected` were decided."""

    model_config = ConfigDict(frozen=True)

    rate: float | None
    interval: Interval | None
    n: int
    judged_rate: float | None
    approved: int
    rejected: int
    tpr: float | None
    tnr: float | None


class _Pair(NamedTuple):
    criterion: str
    population: Population
    truth: Answer
    answers: Mapping[str, Answer | None]


def judge_rows(
    rubric: Rubric,
    judged: Iterable[Judged],
    *,
    with_intervals: bool = True,
    earlier: Mapping[str, Collection[str]] | None = None,
) -> list[JudgeRow]:
    """Rows by criterion (rubric order), backend (`merged` last) and population; none where there is nothing to compare.

    `earlier`: rubric version -> the judged criteria it had. With it, a reviewer who answered every criterion there was
    then is not asked for those added since."""
    cells: dict[tuple[str, str, Population], Counter[str]] = {}
    versions = {criterion.id: criterion.version for criterion in rubric.criteria}
    for item in judged:
        for pair in _pairs(versions, judged_criteria(rubric, item.assessment), item, earlier or {}):
            for backend, answer in pair.answers.items():
                cell = _cell(answer, pair.truth)
                if cell is not None:
                    cells.setdefault((pair.criterion, backend, pair.population), Counter())[cell] += 1
    order = {criterion.id: place for place, criterion in enumerate(rubric.criteria)}
    kappas: dict[tuple[int, ...], Interval | None] = {}
    return [
        _row(*key, cells[key], kappas if with_intervals else None)
        for key in sorted(cells, key=lambda k: (order[k[0]], k[1] == MERGED, k[1], POPULATIONS.index(k[2])))
    ]


def _cell(answer: Answer | None, truth: Answer) -> str | None:
    if answer is None or answer in ("SKIPPED", "ERROR"):
        return None
    if answer == "NA" or truth == "NA":
        return "na"
    if truth == "YES":
        return "tp" if answer == "YES" else "fn"
    return "fp" if answer == "YES" else "tn"


def _row(
    criterion: str,
    backend: str,
    population: Population,
    cell: Counter[str],
    kappas: dict[tuple[int, ...], Interval | None] | None,
) -> JudgeRow:
    tp, fp, tn, fn = counts = (cell["tp"], cell["fp"], cell["tn"], cell["fn"])
    n = sum(counts)
    shares = {
        "tpr": (tp, tp + fn),
        "tnr": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "raw": (tp + tn, n),
        "prevalence": (tp + fn, n),
    }
    intervals: dict[str, Interval | None] = {}
    if kappas is not None:
        intervals = {name: wilson(k, of) for name, (k, of) in shares.items()}
        if counts not in kappas:
            kappas[counts] = bootstrap(counts, lambda drawn: kappa_of_counts(*drawn), Random(SEED))
        intervals["kappa"] = kappas[counts]
    return JudgeRow(
        criterion=criterion,
        backend=backend,
        population=population,
        n=n,
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
        na=cell["na"],
        kappa=kappa_of_counts(*counts),
        ns={name: of for name, (_, of) in shares.items()} | {"kappa": n},
        intervals=intervals,
        **{name: k / of if of else None for name, (k, of) in shares.items()},
    )


def _pairs(
    versions: Mapping[str, str], asked: Sequence[str], item: Judged, earlier: Mapping[str, Collection[str]]
) -> Iterable[_Pair]:
    """What can be compared on one transcript. `versions`: criterion -> its present wording; `asked`: the criteria that
    judges answer here."""
    assessment, review = item.assessment, item.review
    in_full = _answered_in_full(review, asked, earlier)
    for id, version in versions.items():
        answers: dict[str, Answer | None] = {**assessment.answers.get(id, {}), MERGED: assessment.merged.get(id)}
        given: dict[Population, list[JudgeAnswer]] = {"fresh": [], "seen": []}
        for reviewer in review.answers.get(id, {}):
            event = counted_answer(review, id, reviewer, version)
            if event.answer is not None and (event.origin == "imported" or (reviewer, id) in in_full):
                fresh = event.criterion_version == version and id not in item.example_criteria
                given["fresh" if fresh else "seen"].append(event.answer)
        for population, votes in given.items():
            # the majority of those who count here: a correction by somebody else must not remove an item
            truth, _ = majority(votes)
            if truth is not None:
                yield _Pair(id, population, truth, answers)
        merged = assessment.merged.get(id)
        untouched = id in asked and not review.answers.get(id)
        if untouched and review.decision is not None and merged is not None:
            yield _Pair(id, "implied", merged, answers)


def counted_answer(review: TranscriptReview, criterion: str, reviewer: str, version: str) -> Event:
    """The answer of a reviewer that enters agreement: the blind one where there is one, unless only the later one was
    given to the present wording (`version`)."""
    final = review.answers[criterion][reviewer]
    blind = review.blind.get(criterion, {}).get(reviewer, final)
    if blind.criterion_version != version and final.criterion_version == version:
        return final
    return blind


def _answered_in_full(
    review: TranscriptReview, asked: Sequence[str], earlier: Mapping[str, Collection[str]]
) -> set[tuple[str, str]]:
    """(reviewer, criterion) where that reviewer answered every judged criterion of this transcript, as one of the
    rubrics stood under which they answered. A criterion added later does not undo that, nor does it come in by it."""
    answered: dict[str, set[str]] = {}
    rubrics: dict[str, set[str]] = {}
    for criterion, given in review.answers.items():
        for reviewer, event in given.items():
            answered.setdefault(reviewer, set()).add(criterion)
            rubrics.setdefault(reviewer, set()).add(event.rubric_version or "")
    found: set[tuple[str, str]] = set()
    for reviewer, criteria in answered.items():
        for rubric_version in rubrics[reviewer]:
            needed = {criterion for criterion in asked if criterion in earlier.get(rubric_version, asked)}
            if needed <= criteria:
                found |= {(reviewer, criterion) for criterion in needed}
    return found


def human_rows(rubric: Rubric, judged: Sequence[Judged]) -> list[HumanRow]:
    """Agreement of people among themselves, by criterion in rubric order; none where no item has two raters. Blind
    answers go before the final ones."""
    rows = []
    for criterion in rubric.criteria:
        version = criterion.version
        items: list[dict[str, str]] = []
        for item in judged:
            reviewers = item.review.answers.get(criterion.id, {})
            if len(reviewers) >= 2:
                items.append({r: str(counted_answer(item.review, criterion.id, r, version).answer) for r in reviewers})
        if not items:
            continue
        names = sorted({reviewer for item in items for reviewer in item})
        counts = [Counter(item.values()) for item in items]
        if len(names) == 2:
            kappa = cohen_kappa(Counter((item[names[0]], item[names[1]]) for item in items))
        else:
            kappa = fleiss_kappa(counts)
        rows.append(
            HumanRow(
                criterion=criterion.id,
                items=len(items),
                reviewers=len(names),
                names=tuple(names),
                kappa=kappa,
                alpha=krippendorff_alpha(counts),
                raw=raw_agreement(counts),
            )
        )
    return rows


def corrected_pass_rate(
    judged: Iterable[Judged], *, generation_version: str | None, with_intervals: bool = True
) -> CorrectedRate:
    """The Rogan-Gladen estimate of the share of transcripts that people would approve.

    The judged pass rate is that of all scored transcripts of the present generation version, whether decided or not;
    the panel's TPR and TNR come from the decided ones among them. None without five approvals and five rejections, or
    unless TPR + TNR > 1. The interval is a bootstrap over transcripts."""
    cells: Counter[tuple[bool, str | None]] = Counter()
    for item in judged:
        if item.generation_version is None or item.generation_version != generation_version:
            continue
        if item.assessment.judged is not None:
            cells[item.assessment.judged, item.review.decision] += 1
    keys = [(passed, decision) for decision in ("approved", "rejected", None) for passed in (True, False)]
    counts = [cells[key] for key in keys]
    n, approved, rejected = sum(counts), counts[0] + counts[1], counts[2] + counts[3]
    enough = approved >= DECISIONS_NEEDED and rejected >= DECISIONS_NEEDED
    rate = _corrected(counts) if enough else None
    return CorrectedRate(
        rate=rate,
        interval=bootstrap(counts, _corrected, Random(SEED)) if with_intervals and rate is not None else None,
        n=n,
        judged_rate=(counts[0] + counts[2] + counts[4]) / n if n else None,
        approved=approved,
        rejected=rejected,
        tpr=counts[0] / approved if approved else None,
        tnr=counts[3] / rejected if rejected else None,
    )


def _corrected(counts: Sequence[int]) -> float | None:
    """From approved (judged pass, fail), rejected (pass, fail) and undecided (pass, fail)."""
    approved, rejected = counts[0] + counts[1], counts[2] + counts[3]
    if not approved or not rejected:
        return None
    rate = (counts[0] + counts[2] + counts[4]) / sum(counts)
    return rogan_gladen(rate, counts[0] / approved, counts[3] / rejected)


def weak_criteria(rows: Iterable[JudgeRow]) -> frozenset[str]:
    """Criteria on which the merged panel and people agree weakly: a `fresh` kappa under 0.6."""
    return frozenset(
        row.criterion
        for row in rows
        if row.backend == MERGED and row.population == "fresh" and row.kappa is not None and row.kappa < WEAK_KAPPA
    )


def true_positive_rates(
    rubric: Rubric, panel: Sequence[str], rows: Iterable[JudgeRow]
) -> dict[str, dict[str, float | None]]:
    """Judged criterion -> backend -> TPR from `fresh`: one minus the false-NO rate. With under 10 positives on a
    criterion the judge's rate over all judged criteria stands in; None where the judge has no positive at all."""
    found = {(row.criterion, row.backend): (row.tp, row.tp + row.fn) for row in rows if row.population == "fresh"}
    judged = [criterion.id for criterion in rubric.criteria if criterion.kind == "judged"]
    rates: dict[str, dict[str, float | None]] = {id: {} for id in judged}
    for backend in panel:
        pairs = {id: found.get((id, backend), (0, 0)) for id in judged}
        right, positives = (sum(numbers) for numbers in zip(*pairs.values(), strict=True)) if pairs else (0, 0)
        pooled = right / positives if positives else None
        for id, (k, of) in pairs.items():
            rates[id][backend] = k / of if of >= POOL_BELOW else pooled
    return rates


def panel_ceiling(
    rubric: Rubric, panel: Sequence[str], tprs: Mapping[str, Mapping[str, float | None]], rule: str
) -> float | None:
    """The share of transcripts this panel would pass if every answer were truly YES, judges and criteria taken as
    independent, checks as never wrong. None where a rate that matters was not measured. The method is
    that of `perfect_pass_chance`."""
    members = [b for b in dict.fromkeys(panel) if rule in ("strictest", "majority", b)]
    false_no: dict[str, float] = {}
    for criterion in rubric.criteria:
        if criterion.kind == "check":
            false_no[criterion.id] = 0.0
            continue
        rates = [tprs.get(criterion.id, {}).get(member) for member in members]
        known = [rate for rate in rates if rate is not None]
        if not members or len(known) < len(rates):
            return None
        votes = count_chances([1 - rate for rate in known])
        needed = (len(members) + 1) // 2 if rule == "majority" else 1
        false_no[criterion.id] = min(1.0, sum(votes[needed:]))
    categories = []
    for name, category in rubric.categories.items():
        gates = [false_no[c.id] for c in rubric.criteria if c.category == name and c.gate]
        others = [false_no[c.id] for c in rubric.criteria if c.category == name and not c.gate]
        if gates or others:
            categories.append(CategoryErrors(category.weight, category.floor, gates, others))
    return perfect_pass_chance(categories, rubric.pass_threshold)
