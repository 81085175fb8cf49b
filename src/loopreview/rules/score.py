"""From answers to a score, a pass, and the whole assessment of a transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, NamedTuple

from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.verdict import Answer, Assessment, JudgeAnswer
from loopreview.rules.merge import NEGATIVE, assign, assign_one, is_skipped, merge_answers

if TYPE_CHECKING:
    from loopreview.rules.checks import CheckResult
    from loopreview.rules.review import TranscriptReview

TOLERANCE = 1e-9
CHECK = "check"
"""The backend name under which a check's answer stands."""


class Score(NamedTuple):
    """`score` 0-1 and `passed`, both None where the transcript is unscored; category -> its own score, None where
    nothing in it counts or something in it is open."""

    score: float | None
    passed: bool | None
    categories: dict[str, float | None]


def score_answers(rubric: Rubric, answers: Mapping[str, Answer | None]) -> Score:
    """Score merged or effective answers, by criterion. A criterion that is missing, None or ERROR is open, and an open
    criterion leaves the transcript unscored."""
    yes = dict.fromkeys(rubric.categories, 0)
    counted = dict.fromkeys(rubric.categories, 0)
    open_in: set[str] = set()
    gate_no = False
    for criterion in rubric.criteria:
        answer = answers.get(criterion.id)
        if answer is None or answer == "ERROR":
            open_in.add(criterion.category)
        elif answer == "YES" or answer in NEGATIVE:
            counted[criterion.category] += 1
            yes[criterion.category] += answer == "YES"
            gate_no |= criterion.gate and answer in NEGATIVE
    categories = {
        name: yes[name] / counted[name] if counted[name] and name not in open_in else None for name in rubric.categories
    }
    left = {name: value for name, value in categories.items() if value is not None}
    weight = fsum(rubric.categories[name].weight for name in left)
    if open_in or weight <= 0:
        return Score(None, None, categories)
    # fsum is exact whatever the order, so that the order of categories never decides a pass
    mean = fsum(rubric.categories[name].weight * value for name, value in left.items()) / weight
    score = min(1.0, max(0.0, mean))
    floors = all(value >= rubric.categories[name].floor - TOLERANCE for name, value in left.items())
    return Score(score, score >= rubric.pass_threshold - TOLERANCE and floors and not gate_no, categories)


def assess_transcript(
    rubric: Rubric,
    *,
    transcript: str,
    exchange_count: int,
    complete: bool,
    panel: Sequence[str],
    raw: Mapping[str, Mapping[str, str]],
    checks: Mapping[str, CheckResult],
    review: TranscriptReview | None,
    rule: str,
) -> Assessment:
    """Merge and score one transcript.

    `raw`: criterion -> backend -> YES, NO, NA or ERROR, current verdicts only. `checks`: what code answers; a check
    with answer None (length between its bounds) goes to the panel. `judged` and `judged_score` come from merged
    answers alone; `passed` and `score` have the reviewers' answers in their place, and `passed` needs that nobody's
    rejection stands. An incomplete transcript is unscored, and nothing in it is open."""
    answers: dict[str, dict[str, Answer]] = {}
    merged: dict[str, Answer | None] = {}
    human: dict[str, dict[str, JudgeAnswer]] = {}
    effective: dict[str, Answer | None] = {}
    contested: list[str] = []
    for criterion in rubric.criteria:
        id = criterion.id
        answers[id], merged[id] = _merged(criterion, exchange_count, panel, raw.get(id, {}), checks.get(id), rule)
        effective[id] = merged[id]
        if review is None:
            continue
        given = {
            reviewer: event.answer for reviewer, event in review.answers.get(id, {}).items() if event.answer is not None
        }
        if not given:
            continue
        human[id] = given
        answer, is_contested = review.effective_answer(id)
        if is_contested:
            contested.append(id)
        elif answer is not None:
            effective[id] = assign_one(criterion, answer)
    judged = score_answers(rubric, merged)
    final = score_answers(rubric, effective)
    if not complete:
        judged = final = Score(None, None, dict.fromkeys(rubric.categories))
    decision = review.decision if review is not None else None
    passed = final.passed and decision != "rejected"
    return Assessment(
        transcript=transcript,
        answers=answers,
        merged=merged,
        human=human,
        effective=effective,
        contested=tuple(contested),
        open=tuple(c for c, answer in effective.items() if answer is None) if complete else (),
        judged_open=tuple(c for c, answer in merged.items() if answer is None) if complete else (),
        judged=judged.passed,
        judged_score=judged.score,
        passed=passed,
        score=final.score,
        categories=final.categories,
        unscored=passed is None,
        decision=decision,
    )


def _merged(
    criterion: Criterion,
    exchange_count: int,
    panel: Sequence[str],
    raw: Mapping[str, str],
    check: CheckResult | None,
    rule: str,
) -> tuple[dict[str, Answer], Answer | None]:
    by_code = criterion.kind == "check" and (check is None or check.answer is not None)
    if is_skipped(criterion, exchange_count):
        return dict.fromkeys([CHECK] if criterion.kind == "check" else panel, "SKIPPED"), "SKIPPED"
    if by_code:
        given = assign(criterion, {} if check is None else {CHECK: str(check.answer)}, exchange_count)
        return given, merge_answers("strictest", given, [CHECK])
    given = assign(criterion, {b: raw[b] for b in panel if b in raw}, exchange_count)
    return given, merge_answers(rule, given, panel)


def judged_criteria(rubric: Rubric, assessment: Assessment) -> list[str]:
    """The criteria that judges answer on this transcript, in rubric order: neither answered by code nor SKIPPED."""
    return [
        criterion.id
        for criterion in rubric.criteria
        if assessment.merged.get(criterion.id) != "SKIPPED" and CHECK not in assessment.answers.get(criterion.id, {})
    ]
