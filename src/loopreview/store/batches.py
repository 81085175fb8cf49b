"""Batches: transcripts made together under one seed and one set of versions, or imported together."""

from collections.abc import Sequence
from typing import NamedTuple

from loopreview.models.errors import UserError
from loopreview.models.transcript import Dice, Origin, is_complete, transcript_hash
from loopreview.store.database import Row, Store
from loopreview.store.values import dump, now, row_id, storable, storable_or_none

_COLUMNS = "id, origin, seed, count, generation_version, created_at"


class Batch(NamedTuple):
    """`count`: transcripts in it. An import has neither seed nor generation version."""

    id: int
    origin: Origin
    seed: int | None
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    generation_version: str | None
    created_at: str


def create_generated(store: Store, *, seed: int, generation_version: str, dice: Sequence[Dice]) -> Batch:
    """A batch with a transcript without messages for each of `dice`, numbered from 1 in their order."""
    with store.writing():
        batch = _create(store, "generated", seed, len(dice), generation_version)
        empty = transcript_hash([])
        store.executemany(
            "INSERT INTO transcripts (id, batch, number, origin, exchanges, complete, target_exchanges, content_hash,"
            " persona_name, created_at, persona, dice) VALUES (?, ?, ?, 'generated', 0, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f"{batch.id}-{number}",
                    batch.id,
                    number,
                    is_complete("generated", rolled.target_exchanges, 0),
                    rolled.target_exchanges,
                    empty,
                    storable(rolled.persona.name),
                    batch.created_at,
                    dump(rolled.persona.model_dump()),
                    dump(rolled.model_dump()),
                )
                for number, rolled in enumerate(dice, 1)
            ],
        )
    return batch


def create_imported(store: Store) -> Batch:
    """An empty batch, for `transcripts.add_imported`."""
    return _create(store, "imported", None, 0, None)


def get(store: Store, id: int) -> Batch:
    """Raises UserError where there is no such batch."""
    row = store.row(f"SELECT {_COLUMNS} FROM batches WHERE id = ?", (row_id(id),))
    if row is None:
        raise UserError(f"there is no batch {id}; `loopreview status` lists the batches")
    return _batch(row)


def listed(store: Store) -> list[Batch]:
    """All batches, oldest first."""
    return [_batch(row) for row in store.rows(f"SELECT {_COLUMNS} FROM batches ORDER BY id")]


def find(store: Store, *, seed: int, count: int, generation_version: str) -> Batch | None:
    """The generated batch of that name, or None."""
    row = store.row(
        f"SELECT {_COLUMNS} FROM batches WHERE origin = 'generated' AND seed = ? AND count = ?"
        " AND generation_version = ? ORDER BY id",
        (str(seed), count, storable(generation_version)),
    )
    return None if row is None else _batch(row)


def unfinished(store: Store, generation_version: str) -> Batch | None:
    """The oldest generated batch of that version with an incomplete transcript, or None."""
    row = store.row(
        f"SELECT {_COLUMNS} FROM batches WHERE origin = 'generated' AND generation_version = ? AND EXISTS"
        " (SELECT 1 FROM transcripts WHERE batch = batches.id AND NOT complete) ORDER BY id",
        (storable(generation_version),),
    )
    return None if row is None else _batch(row)


def _create(store: Store, origin: Origin, seed: int | None, count: int, generation_version: str | None) -> Batch:
    with store.writing():
        row = store.one(
            f"INSERT INTO batches (origin, seed, count, generation_version, created_at) VALUES (?, ?, ?, ?, ?)"
            f" RETURNING {_COLUMNS}",
            (origin, None if seed is None else str(seed), count, storable_or_none(generation_version), now()),
        )
    return _batch(row)


def _batch(row: Row) -> Batch:
    id, origin, seed, count, generation_version, created_at = row
    return Batch(id, origin, None if seed is None else int(seed), count, generation_version, created_at)
