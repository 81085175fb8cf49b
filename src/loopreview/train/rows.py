"""The token rows that both backends train on: ids and labels, one example each."""

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loopreview.models.errors import UserError

IGNORED = -100
"""The label of a token that is not supervised."""


class Row(NamedTuple):
    """One example. `labels` are as long as `ids`: the id where it is supervised, IGNORED elsewhere. A trainer shifts
    them by one: the label of token i is predicted from the tokens before i."""

    ids: Sequence[int]
    labels: Sequence[int]

    @property
    def supervised(self) -> int:
        """Tokens the loss is over. The first token is predicted from nothing and never counts."""
        return sum(label != IGNORED for label in self.labels[1:])


def read_rows(path: Path) -> list[Row]:
    """All rows of a file of `{"input_ids": […], "labels": […]}` lines; 8 bytes a token in memory.

    Raises UserError for a row that is no example, or without a supervised token.
    """
    return list(each_row(path))


def each_row(path: Path) -> Iterator[Row]:
    """The rows of `read_rows`, one after the other."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export the dataset again") from None
    with file:
        for number, line in enumerate(file, 1):
            try:
                found = json.loads(line)
                row = Row(array("i", found["input_ids"]), array("i", found["labels"]))
            except (ValueError, TypeError, KeyError, OverflowError):
                raise UserError(f"{path}: line {number} holds no input_ids and labels; export again") from None
            if len(row.ids) != len(row.labels) or any(
                label not in (IGNORED, id) for id, label in zip(row.ids, row.labels, strict=True)
            ):
                raise UserError(f"{path}: line {number}: labels do not go with input_ids; export again")
            if not row.supervised:
                raise UserError(f"{path}: line {number} has no supervised token; export again")
            yield row
