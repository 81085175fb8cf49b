"""What a reviewer sees first: the order of transcripts, and of the criteria within one."""

from collections.abc import Collection, Sequence
from math import ceil
from random import Random
from typing import Literal, NamedTuple

from loopreview.models.rubric import Rubric
from loopreview.models.verdict import Answer, Assessment
from loopreview.rules.merge import NEGATIVE, USABLE
from loopreview.rules.score import judged_criteria, score_answers

Reason = Literal["gate", "split", "failed", "weak", "sample", "full"]
REASONS: tuple[Reason, ...] = ("gate", "split", "failed", "weak", "sample", "full")
"""Why a criterion is asked of the reviewer, most needed first."""


class Waiting(NamedTuple):
    """A transcript that may be shown. `full`: every criterion is to be answered on it."""

    assessment: Assessment
    full: bool


def criteria_order(
    rubric: Rubric, assessment: Assessment, *, full: bool, weak: Collection[str], seed: str, sample_share: float
) -> tuple[list[str], list[str]]:
    """The criteria to answer, most needed first, and those not asked of the reviewer, in rubric order.

    To answer: gate criteria judged NO; those the judges split on; those where a judge failed; those of weak agreement
    with people (`weak`); and `sample_share` of the others, each drawn by `seed`. With `full` all others that judges
    answer follow. Checks and SKIPPED criteria are not asked, a gate check that says NO excepted."""
    judged = set(judged_criteria(rubric, assessment))
    asked: dict[Reason, list[str]] = {reason: [] for reason in REASONS}
    rest: list[str] = []
    for criterion in rubric.criteria:
        id = criterion.id
        if criterion.gate and assessment.merged.get(id) in NEGATIVE:
            asked["gate"].append(id)
        elif id not in judged:
            rest.append(id)
        elif is_split(assessment, id):
            asked["split"].append(id)
        elif has_failed(assessment, id):
            asked["failed"].append(id)
        elif id in weak:
            asked["weak"].append(id)
        elif Random(f"{seed}/{assessment.transcript}/{id}").random() < sample_share:
            asked["sample"].append(id)
        elif full:
            asked["full"].append(id)
        else:
            rest.append(id)
    return [id for reason in REASONS for id in asked[reason]], rest


def is_split(assessment: Assessment, criterion: str) -> bool:
    """The judges do not all say the same; INVALID_NA is a NO."""
    given = assessment.answers.get(criterion, {}).values()
    return len({"NO" if answer in NEGATIVE else answer for answer in given if answer in USABLE}) > 1


def has_failed(assessment: Assessment, criterion: str) -> bool:
    """A judge has no usable answer: it failed, or was not asked yet."""
    return assessment.merged.get(criterion) is None or "ERROR" in assessment.answers.get(criterion, {}).values()


def drawn_full(batch_seed_or_id: int | str, ids_in_batch: Collection[str], share: float) -> set[str]:
    """The transcripts of a batch on which every criterion is to be answered: ceil(share x n), drawn by seed."""
    ids = sorted(set(ids_in_batch))
    count = min(len(ids), ceil(share * len(ids) - 1e-9))
    return set(Random(f"full/{batch_seed_or_id}").sample(ids, count))


def doubt(rubric: Rubric, assessment: Assessment) -> float:
    """How doubtful the panel's outcome is, 0 to 1: the mean of how evenly the judges, each alone, divide over pass and
    fail; how near the score is to the threshold; and the share of criteria that they split or failed on. The first two
    are 1 while a criterion is open. 0 for an incomplete transcript and one with nothing to score."""
    judged = judged_criteria(rubric, assessment)
    unsettled = sum(is_split(assessment, c) or has_failed(assessment, c) for c in judged)
    share = unsettled / len(judged) if judged else 0.0
    if assessment.judged_score is None:
        return (2 + share) / 3 if assessment.judged_open else 0.0
    threshold = rubric.pass_threshold
    near = 1 - abs(assessment.judged_score - threshold) / max(threshold, 1 - threshold)
    outcomes = _outcomes_alone(rubric, assessment, judged)
    passes = sum(outcomes) / len(outcomes) if outcomes else 1.0
    return (1 - abs(2 * passes - 1) + near + share) / 3


def _outcomes_alone(rubric: Rubric, assessment: Assessment, judged: Sequence[str]) -> list[bool]:
    """Pass or fail by each backend's own answers, for those that answered everything."""
    outcomes = []
    for backend in sorted({b for c in judged for b in assessment.answers.get(c, {})}):
        answers: dict[str, Answer | None] = dict(assessment.merged)
        answers.update({c: assessment.answers.get(c, {}).get(backend) for c in judged})
        passed = score_answers(rubric, answers).passed
        if passed is not None:
            outcomes.append(passed)
    return outcomes


def transcript_order(
    rubric: Rubric, waiting: Sequence[Waiting], *, seed: str, sample_share: float
) -> list[tuple[str, str]]:
    """(transcript, why it is shown), decided ones left out: first those to be answered in `full`, then a share drawn
    by `seed` as `sample`, so that people do not only see what is doubtful, then all others by falling `doubt`. Equals
    stay in the order given."""
    undecided = [w for w in waiting if w.assessment.decision is None]
    order = [(w.assessment.transcript, "full") for w in undecided if w.full]
    rest = [w.assessment for w in undecided if not w.full]
    drawn = {a.transcript for a in rest if Random(f"sample/{seed}/{a.transcript}").random() < sample_share}
    order += [(a.transcript, "sample") for a in rest if a.transcript in drawn]
    doubtful = sorted((a for a in rest if a.transcript not in drawn), key=lambda a: -doubt(rubric, a))
    return order + [(a.transcript, "doubt") for a in doubtful]
