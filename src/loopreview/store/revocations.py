"""Transcripts that were withdrawn from training, and who took a withdrawal back; only appended."""

from typing import NamedTuple

from loopreview.store.database import Store
from loopreview.store.values import now, storable, storable_or_none


class Revocation(NamedTuple):
    """One act. `revoked`: False where an earlier revocation is taken back."""

    at: str
    transcript: str
    reviewer: str
    revoked: bool
    reason: str | None


def add(store: Store, transcript: str, *, reviewer: str, revoked: bool, reason: str | None = None) -> Revocation:
    """Append an act and return it. It is on the disk when this returns. The transcript must be there."""
    made = Revocation(now(), storable(transcript), storable(reviewer), revoked, storable_or_none(reason))
    with store.writing():
        store.execute(
            "INSERT INTO revocations (at, transcript, reviewer, revoked, reason) VALUES (?, ?, ?, ?, ?)", made
        )
    return made


def log(store: Store) -> list[Revocation]:
    """Every act, oldest first."""
    rows = store.rows("SELECT at, transcript, reviewer, revoked, reason FROM revocations ORDER BY id")
    return [Revocation(at, transcript, who, bool(revoked), reason) for at, transcript, who, revoked, reason in rows]


def standing(store: Store) -> dict[str, Revocation]:
    """The transcripts that are revoked now, each with its last revocation."""
    last = {act.transcript: act for act in log(store)}
    return {transcript: act for transcript, act in last.items() if act.revoked}
