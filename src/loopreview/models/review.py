"""What reviewers do: an append-only log of events."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EventKind = Literal[
    "answer", "approve", "reject", "gap", "blame", "note", "mark", "content", "undo", "redo"
]  # fmt: skip


class Event(BaseModel):
    """One act of a reviewer. `id` is 0 until the store has numbered it."""

    model_config = ConfigDict(frozen=True)

    id: int = 0
    at: str = ""
    """UTC, ISO 8601 with microseconds."""
    reviewer: str
    kind: EventKind
    transcript: str | None = None
    batch: int | None = None
    """For `content`."""
    criterion: str | None = None
    answer: Literal["YES", "NO", "NA"] | None = None
    merged: str | None = None
    """The merged answer when the reviewer gave theirs."""
    blind: bool = False
    origin: Literal["typed", "imported", "scripted"] = "typed"
    target: int | None = None
    """The event that an undo takes back or a redo brings back."""
    transcript_hash: str | None = None
    rubric_version: str | None = None
    criterion_version: str | None = None
    shown_because: str | None = None
    """Why the transcript was shown: doubt, sample, full, asked for, command."""
    note: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    """Kind by kind: `exchange`, `blame`, `better` (a rewritten reply), `yes` (content); for a decision:
    answered, opened, unopened (criteria), share_shown, seconds."""
