"""From the judges' raw answers to one answer per criterion."""

from collections.abc import Mapping, Sequence

from loopreview.models.rubric import Criterion
from loopreview.models.verdict import Answer

NEGATIVE: frozenset[Answer] = frozenset({"NO", "INVALID_NA"})
"""Answers that count as NO."""
USABLE: frozenset[Answer] = frozenset({"YES", "NO", "NA", "INVALID_NA"})
LOW_CEILING = 0.70
"""Where a panel under its merging rule would pass fewer of all perfect transcripts, a warning is due."""


def is_skipped(criterion: Criterion, exchange_count: int) -> bool:
    """Too few exchanges for this criterion: nobody is asked."""
    return exchange_count < criterion.min_exchanges


def assign_one(criterion: Criterion, answer: str) -> Answer:
    """One raw answer as it counts: NA where NA is not allowed is INVALID_NA, anything unknown is ERROR."""
    if answer == "NA":
        return "INVALID_NA" if criterion.na == "invalid" else "NA"
    if answer == "YES":
        return "YES"
    if answer == "NO":
        return "NO"
    return "ERROR"


def assign(criterion: Criterion, raw: Mapping[str, str], exchange_count: int) -> dict[str, Answer]:
    """Raw answers by backend (YES, NO, NA, ERROR) as they count. All are SKIPPED in a transcript too short for the
    criterion, whatever was answered."""
    if is_skipped(criterion, exchange_count):
        return {backend: "SKIPPED" for backend in raw}
    return {backend: assign_one(criterion, answer) for backend, answer in raw.items()}


def merge_answers(rule: str, answers: Mapping[str, Answer], panel: Sequence[str]) -> Answer | None:
    """The merged answer of a panel, or None while the criterion is open.

    `rule` is `strictest`, `majority` (most answers; ties to the stricter) or the name of one backend, which is then
    looked at alone. Answers of backends outside the panel do not count. Open: a panel member has no usable answer,
    unless the others' already make it NO."""
    members = list(dict.fromkeys(panel))
    if rule not in ("strictest", "majority"):
        members = [member for member in members if member == rule]
    given = [answers[member] for member in members if member in answers]
    if "SKIPPED" in given:
        return "SKIPPED"
    usable = [answer for answer in given if answer in USABLE]
    missing = len(members) - len(usable)
    no: Answer = "NO" if "NO" in usable else "INVALID_NA"
    negative = sum(answer in NEGATIVE for answer in usable)
    neutral, positive = usable.count("NA"), usable.count("YES")
    enough = max(1, max(neutral, positive) + missing) if rule == "majority" else 1
    if negative >= enough:
        return no
    if missing or not members:
        return None
    if rule == "majority":
        return "NA" if neutral >= positive else "YES"
    return "NA" if neutral else "YES"
