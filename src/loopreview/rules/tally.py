"""How often each criterion is said to hold, and where its faults come from: counted from one letter per transcript and
criterion, so that 100,000 transcripts are counted in a fraction of a second."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from loopreview.models.rubric import Rubric
from loopreview.models.verdict import Answer, Assessment
from loopreview.rules.merge import NEGATIVE

ALARM_FROM = 10
"""Answers, under which nothing is said about a criterion that always passes or always fails."""
ALARM_SHARE = 0.95

_MERGED: tuple[str | None, ...] = (None, "YES", "NO", "NA", "SKIPPED")
_PEOPLE: tuple[str | None, ...] = (None, "YES", "NO", "NA")
_FIRST = ord("A")

Side = Literal["prompt", "criterion"]


class CriterionTally(BaseModel):
    """The merged answers to one criterion (`yes`, `no`, `na`, `open`), and what people made of them: `upheld` NOs (a
    check's NO needs nobody: code counts the same each time), false positives, false negatives, differences about NA."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    gate: bool
    yes: int
    no: int
    na: int
    open: int
    upheld: int
    false_positive: int
    false_negative: int
    na_flags: int
    alarm: Literal["nearly always passes", "nearly always fails"] | None


class Fork(BaseModel):
    """Which way the faults point: NOs that people uphold at a prompt, answers they overturn at a criterion's wording.
    `side` is where most of them point; None while nobody has upheld or overturned anything."""

    model_config = ConfigDict(frozen=True)

    side: Side | None
    criterion: str | None
    """The criterion that is to be looked at first."""
    upheld: int
    overturned: int
    blames: dict[str, int]
    """Who reviewers say made a fault: assistant, user_sim, neither."""
    why: str
    """One plain sentence: what to mend, and what for."""


def letters(rubric: Rubric, assessment: Assessment) -> str:
    """One letter per criterion: the merged answer together with what people say. Contested counts as unsaid."""
    return "".join(
        chr(_FIRST + len(_PEOPLE) * _merged(assessment.merged.get(c.id)) + _people(assessment, c.id))
        for c in rubric.criteria
    )


def _merged(answer: Answer | None) -> int:
    return _MERGED.index("NO" if answer in NEGATIVE else answer if answer in _MERGED else None)


def _people(assessment: Assessment, criterion: str) -> int:
    said = assessment.effective.get(criterion)
    agreed = criterion in assessment.human and criterion not in assessment.contested and said in _PEOPLE
    return _PEOPLE.index(said) if agreed else 0


def tallies(rubric: Rubric, rows: Iterable[str]) -> list[CriterionTally]:
    """Count `letters` of many transcripts, a row each; rows of another length (another rubric's) are left out."""
    width = len(rubric.criteria)
    columns: Sequence[Iterable[str]] = list(zip(*(row for row in rows if len(row) == width), strict=True))
    found = []
    for place, criterion in enumerate(rubric.criteria):
        counted = Counter(columns[place]) if columns else Counter()
        cells: Counter[tuple[str | None, str | None]] = Counter()
        for letter, n in counted.items():
            merged, person = divmod(ord(letter) - _FIRST, len(_PEOPLE))
            cells[_MERGED[merged], _PEOPLE[person]] += n
        given = {answer: sum(n for (m, _), n in cells.items() if m == answer) for answer in _MERGED}
        found.append(
            CriterionTally(
                id=criterion.id,
                name=criterion.name,
                gate=criterion.gate,
                yes=given["YES"],
                no=given["NO"],
                na=given["NA"],
                open=given[None],
                upheld=cells["NO", "NO"] + (cells["NO", None] if criterion.kind == "check" else 0),
                false_positive=cells["YES", "NO"],
                false_negative=cells["NO", "YES"],
                na_flags=sum(
                    n for (m, p), n in cells.items() if m in ("YES", "NO", "NA") and p and "NA" in (m, p) and m != p
                ),
                alarm=_alarm(given["YES"], given["NO"], gate=criterion.gate),
            )
        )
    return found


def _alarm(yes: int, no: int, *, gate: bool) -> Literal["nearly always passes", "nearly always fails"] | None:
    """A gate is there to pass nearly always: that is no alarm."""
    n = yes + no
    if n < ALARM_FROM:
        return None
    if yes >= ALARM_SHARE * n and not gate:
        return "nearly always passes"
    return "nearly always fails" if no >= ALARM_SHARE * n else None


def fork(found: Sequence[CriterionTally], blames: Mapping[str, int]) -> Fork:
    """What to mend next. `blames`: who made how many faults, by the reviewers' word."""
    upheld = sum(tally.upheld for tally in found)
    overturned = sum(tally.false_positive + tally.false_negative for tally in found)
    side: Side | None = None
    if upheld or overturned:
        side = "prompt" if upheld >= overturned else "criterion"
    criterion, why = None, "nobody has upheld or overturned a judge yet: review a few transcripts"
    if side == "prompt":
        worst = max(found, key=lambda tally: tally.upheld)
        simulated = blames.get("user_sim", 0) > blames.get("assistant", 0)
        whose = "user_sim" if simulated else "assistant"
        by = f", {blames[whose]} put down to {_WHO[whose]}" if blames.get(whose) else ""
        criterion, why = worst.id, f"{worst.id}: {_several(worst.upheld, 'NO')} upheld{by}: mend prompts/{whose}.md"
    elif side == "criterion":
        worst = max(found, key=lambda tally: tally.false_positive + tally.false_negative)
        wrong = worst.false_positive + worst.false_negative
        too = "strict" if worst.false_negative >= worst.false_positive else "lenient"
        criterion, why = worst.id, f"{worst.id}: {_several(wrong, 'answer')} overturned, too {too}: sharpen it"
    return Fork(side=side, criterion=criterion, upheld=upheld, overturned=overturned, blames=dict(blames), why=why)


def _several(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


_WHO = {"assistant": "the assistant", "user_sim": "the simulated user"}
