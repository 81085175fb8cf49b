"""What judges say."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

JudgeAnswer = Literal["YES", "NO", "NA"]
Answer = Literal["YES", "NO", "NA", "SKIPPED", "INVALID_NA", "ERROR"]
"""A judge answers YES, NO or NA. The other three are assigned by code alone."""
MergeRule = str
"""`strictest`, `majority`, or the name of one backend."""


class Evidence(BaseModel):
    """An exact quote. `occurrence` counts from 1 where the quote stands more than once in that message."""

    model_config = ConfigDict(frozen=True)

    exchange: int
    role: Literal["user", "assistant"] = "assistant"
    quote: str
    occurrence: int = 1


class Verdict(BaseModel):
    """One backend's answer to one criterion on one transcript."""

    model_config = ConfigDict(frozen=True)

    transcript: str
    criterion: str
    backend: str
    answer: Literal["YES", "NO", "NA", "ERROR"]
    reasoning: str = ""
    evidence: tuple[Evidence, ...] = ()
    counter_evidence: Evidence | None = None
    asked_with: tuple[str, ...] = ()
    key: str
    """Staleness key: what was asked, of whom, about what (rules/stale.py)."""
    origin: Literal["asked", "imported"] = "asked"
    reason: str | None = None
    """Why there is no usable answer, for an ERROR."""
    at: str = ""


class PanelMember(BaseModel):
    """A backend that is expected to answer for a transcript. `asked_as` is the hash of its model and parameters
    when `assess` was begun; empty for a backend whose verdicts were imported."""

    model_config = ConfigDict(frozen=True)

    backend: str
    origin: Literal["asked", "imported"]
    asked_as: str = ""


class Assessment(BaseModel):
    """The panel's verdicts on one transcript, merged and scored; derived, never typed in."""

    model_config = ConfigDict(frozen=True)

    transcript: str
    answers: dict[str, dict[str, Answer]]
    """criterion → backend → answer; a check's backend is `check`."""
    merged: dict[str, Answer | None]
    """criterion → merged answer; null where the criterion is open."""
    human: dict[str, dict[str, JudgeAnswer]]
    """criterion → reviewer → current answer."""
    effective: dict[str, Answer | None]
    """The reviewers' answer where there is one, else the merged one."""
    contested: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    """Criteria that still have no effective answer."""
    judged_open: tuple[str, ...] = ()
    judged: bool | None = None
    judged_score: float | None = None
    passed: bool | None = None
    score: float | None = None
    categories: dict[str, float | None]
    """category → score from the effective answers; null where nothing was left to score."""
    unscored: bool
    decision: Literal["approved", "rejected"] | None = None
