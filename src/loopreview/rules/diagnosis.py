"""What the agreement of a criterion means, in words: a judge is wrong, the rubric is unclear, fine, too few labels."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from loopreview.models.rubric import Rubric
from loopreview.rules.agreement import MERGED, WEAK_KAPPA, HumanRow, JudgeRow

Finding = Literal["fine", "judge wrong", "rubric unclear", "too few labels"]
ITEMS_NEEDED = 10
"""Items with two raters, under which people's own agreement says nothing yet."""
RAW_FINE = 0.9
"""Where nearly every label is the same, kappa is near 0 for any judge, and raw agreement decides."""


class Diagnosis(BaseModel):
    """`more_labels`: fresh YES/NO labels still needed before anything is said; 0 where there are enough."""

    model_config = ConfigDict(frozen=True)

    criterion: str
    finding: Finding
    why: str
    more_labels: int


def diagnose(
    rubric: Rubric, judges: Sequence[JudgeRow], humans: Sequence[HumanRow], *, labels_needed: int
) -> list[Diagnosis]:
    """One diagnosis per judged criterion, in rubric order, from `fresh` labels and from people among themselves (or one
    person asked twice); of several rows of `humans` with enough items the last counts."""
    fresh = {(row.criterion, row.backend): row for row in judges if row.population == "fresh"}
    people = {row.criterion: row for row in humans if row.items >= ITEMS_NEEDED}
    found = []
    for criterion in rubric.criteria:
        if criterion.kind == "check" and (criterion.id, MERGED) not in fresh:
            continue
        own = [row for (id, backend), row in fresh.items() if id == criterion.id and backend != MERGED]
        finding, why, more = _one(fresh.get((criterion.id, MERGED)), own, people.get(criterion.id), labels_needed)
        found.append(Diagnosis(criterion=criterion.id, finding=finding, why=why, more_labels=more))
    return found


def _one(
    merged: JudgeRow | None, own: Sequence[JudgeRow], people: HumanRow | None, needed: int
) -> tuple[Finding, str, int]:
    # People who cannot agree among themselves make every judge look wrong: that comes first.
    if people is not None and people.kappa is not None and people.kappa < WEAK_KAPPA and (people.raw or 0) < RAW_FINE:
        who = "people agree among themselves" if people.reviewers > 1 else f"{people.names[0]}, asked twice, agrees"
        why = f"{who} only to kappa {people.kappa:.2f} on {people.items} transcripts"
        return "rubric unclear", f"{why}: sharpen the question, or add borderline examples", 0
    have = merged.n if merged else 0
    if merged is None or have < needed:
        more = needed - have
        return "too few labels", f"{have} of {needed} labels; {more} more say something", more
    if (merged.kappa is not None and merged.kappa >= WEAK_KAPPA) or (merged.raw is not None and merged.raw >= RAW_FINE):
        kappa = "–" if merged.kappa is None else f"{merged.kappa:.2f}"
        return "fine", f"kappa {kappa}, {100 * (merged.raw or 0):.0f} % the same", 0
    too = "too strict" if merged.fn > merged.fp else "too lenient" if merged.fp > merged.fn else "wrong both ways"
    worst = min(own, key=lambda row: (row.raw if row.raw is not None else 1.0, row.backend), default=None)
    named = f"; most often {worst.backend}" if worst is not None and len(own) > 1 else ""
    counts = f"{merged.fp} false positives and {merged.fn} false negatives of {merged.n}"
    return "judge wrong", f"{too}: {counts}{named}", 0
