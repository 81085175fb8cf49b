"""Calibration examples that were added during review; those of the rubric's file are not here."""

from loopreview.models.errors import UserError
from loopreview.models.rubric import Example
from loopreview.store.database import Store
from loopreview.store.values import dump, load, now, row_id, storable


def add(store: Store, criterion: str, example: Example, reviewer: str) -> int:
    """Add an example and return its number."""
    with store.writing():
        row = store.one(
            "INSERT INTO examples (criterion, body, reviewer, added_at) VALUES (?, ?, ?, ?) RETURNING id",
            (storable(criterion), dump(example.model_dump()), storable(reviewer), now()),
        )
    return int(row[0])


def remove(store: Store, id: int) -> None:
    """Take an example out of use; what was judged with it stays explicable. Raises UserError where there is none."""
    with store.writing():
        gone = store.row(
            "UPDATE examples SET removed_at = ? WHERE id = ? AND removed_at IS NULL RETURNING id", (now(), row_id(id))
        )
        if gone is None:
            raise UserError(f"there is no example {id}; `loopreview examples` lists them with their numbers")


def listed(store: Store, criterion: str | None = None) -> list[tuple[int, str, Example]]:
    """(number, criterion, example) of those in use, oldest first."""
    rows = store.rows(
        "SELECT id, criterion, body FROM examples WHERE removed_at IS NULL AND criterion = coalesce(?, criterion)"
        " ORDER BY id",
        (None if criterion is None else storable(criterion),),
    )
    return [(id, name, Example.model_validate(load(body))) for id, name, body in rows]


def in_use_at(store: Store, at: str) -> list[tuple[str, Example]]:
    """(criterion, example) of those that were in use at a time (as `now` writes it), oldest first."""
    rows = store.rows(
        "SELECT criterion, body FROM examples WHERE added_at <= ? AND (removed_at IS NULL OR removed_at > ?)"
        " ORDER BY id",
        (at, at),
    )
    return [(name, Example.model_validate(load(body))) for name, body in rows]
