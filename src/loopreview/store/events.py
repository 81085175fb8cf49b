"""The reviewers' log, only appended."""

from collections.abc import Iterable

from loopreview.models.review import Event
from loopreview.store.database import Row, Store
from loopreview.store.transcripts import bump
from loopreview.store.values import dump_or_none, load, now, storable_or_none

_FIELDS = (
    "at", "reviewer", "kind", "transcript", "batch", "criterion", "answer", "merged", "blind", "origin", "target",
    "transcript_hash", "rubric_version", "criterion_version", "shown_because", "note", "data",
)  # fmt: skip
_INSERT = f"INSERT INTO events ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))}) RETURNING id"
_SELECT = f"SELECT id, {', '.join(_FIELDS)} FROM events"


def append(store: Store, event: Event) -> Event:
    """Append one act and return it numbered and timed. It is on the disk when this returns."""
    return append_many(store, [event])[0]


def append_many(store: Store, events: Iterable[Event]) -> list[Event]:
    """Append acts in their order, all or none. One without a time gets the present one; an undo or redo without
    transcript and batch gets those of its target."""
    at = now()
    appended: list[Event] = []
    with store.writing():
        for event in events:
            event = _complete(store, event, at)
            row = store.one(_INSERT, _row(event))
            appended.append(event.model_copy(update={"id": row[0]}))
        bump(store, {event.transcript for event in appended if event.transcript})
    return appended


def of(store: Store, transcript: str) -> list[Event]:
    """The events of one transcript, oldest first."""
    return _events(store, f"{_SELECT} WHERE transcript = ? ORDER BY id", storable_or_none(transcript))


def of_batches(store: Store) -> list[Event]:
    """The events of batches (content, and what undoes or redoes it), oldest first."""
    return _events(store, f"{_SELECT} WHERE batch IS NOT NULL ORDER BY id")


def about(store: Store, criterion: str) -> list[Event]:
    """The events that concern a criterion, and every undo and redo, oldest first."""
    return _events(
        store, f"{_SELECT} WHERE criterion = ? OR kind IN ('undo', 'redo') ORDER BY id", storable_or_none(criterion)
    )


def blames(store: Store) -> list[Event]:
    """Who reviewers say made a fault, and every undo and redo, oldest first."""
    return _events(store, f"{_SELECT} WHERE kind IN ('blame', 'undo', 'redo') ORDER BY id")


def decisions(store: Store, reviewer: str) -> list[Event]:
    """The approvals and rejections of a reviewer, and every undo and redo of theirs, oldest first."""
    return _events(
        store,
        f"{_SELECT} WHERE kind IN ('approve', 'reject', 'undo', 'redo') AND reviewer = ? ORDER BY id",
        storable_or_none(reviewer),
    )


def reviewed(store: Store) -> list[str]:
    """Ids of the transcripts that have events, in the order of their first one."""
    rows = store.rows("SELECT transcript FROM events WHERE transcript IS NOT NULL GROUP BY transcript ORDER BY min(id)")
    return [id for (id,) in rows]


def log(
    store: Store, *, reviewer: str | None = None, transcript: str | None = None, limit: int | None = None
) -> list[Event]:
    """The last `limit` events of a reviewer, of a transcript, or of all; oldest first."""
    conditions = {"reviewer": storable_or_none(reviewer), "transcript": storable_or_none(transcript)}
    asked = {name: value for name, value in conditions.items() if value is not None}
    where = f" WHERE {' AND '.join(f'{name} = ?' for name in asked)}" if asked else ""
    found = _events(
        store, f"{_SELECT}{where} ORDER BY id DESC LIMIT ?", *asked.values(), -1 if limit is None else limit
    )
    return found[::-1]


def all(store: Store) -> list[Event]:
    """Every event, oldest first."""
    return _events(store, f"{_SELECT} ORDER BY id")


def _complete(store: Store, event: Event, at: str) -> Event:
    missing: dict[str, object] = {} if event.at else {"at": at}
    if event.target is not None and event.transcript is None and event.batch is None:
        target = store.row("SELECT transcript, batch FROM events WHERE id = ?", (event.target,))
        if target is not None:
            missing.update(transcript=target[0], batch=target[1])
    return event.model_copy(update=missing) if missing else event


def _row(event: Event) -> list[object]:
    values = [getattr(event, name) for name in _FIELDS[:-1]]
    return [*(storable_or_none(v) if isinstance(v, str) else v for v in values), dump_or_none(event.data)]


def _events(store: Store, sql: str, *parameters: object) -> list[Event]:
    return [_event(row) for row in store.rows(sql, parameters)]


def _event(row: Row) -> Event:
    values = dict(zip(("id", *_FIELDS), row, strict=True))
    values["data"] = load(values["data"]) or {}
    return Event.model_validate(values)
