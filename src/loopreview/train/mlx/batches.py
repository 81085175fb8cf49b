"""Rows as the arrays that a step computes on."""

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from loopreview.train.rows import IGNORED, Row

_PAD_TO = 32
"""Widths are multiples of it, so that few shapes are compiled."""


class Batch(NamedTuple):
    """A micro-batch of B rows, padded on the right to a width of L, with S supervised tokens, padded to P."""

    ids: mx.array
    """(B, L), int32: each row but its last token, which nothing is predicted from."""
    places: mx.array
    """(P,), int32: where in the flattened (B * L) the supervised tokens are predicted. Padding points to 0."""
    targets: mx.array
    """(P,), int32: the supervised tokens."""
    weights: mx.array
    """(P,), float32: 1 for a supervised token, 0 for padding."""
    rows: np.ndarray
    """(S,): the row of each supervised token."""
    tokens: int
    """Of all rows, padding not counted."""

    @property
    def supervised(self) -> int:
        return len(self.rows)


def width(lengths: Sequence[int]) -> int:
    """The L of a micro-batch of rows of these lengths."""
    return _up(max(lengths) - 1, _PAD_TO)


def batch(rows: Sequence[Row]) -> Batch:
    """Labels are shifted as transformers does it: the label of token i is predicted at i - 1, the first one never."""
    wide = width([len(row.ids) for row in rows])
    ids = np.zeros((len(rows), wide), np.int32)
    places, targets, owners = [], [], []
    for n, row in enumerate(rows):
        ids[n, : len(row.ids) - 1] = row.ids[:-1]
        labels = np.asarray(row.labels[1:], np.int32)
        (found,) = np.nonzero(labels != IGNORED)
        places.append(found + n * wide)
        targets.append(labels[found])
        owners.append(np.full(len(found), n))
    owner = np.concatenate(owners)
    # At most about eight counts of places for each shape of ids: a shape more is a compilation more.
    room = _up(len(owner), _up(ids.size // 8, _PAD_TO))
    return Batch(
        mx.array(ids),
        _padded(np.concatenate(places), room),
        _padded(np.concatenate(targets), room),
        mx.array((np.arange(room) < len(owner)).astype(np.float32)),
        owner,
        sum(len(row.ids) for row in rows),
    )


def _padded(values: np.ndarray, room: int) -> mx.array:
    return mx.array(np.pad(values, (0, room - len(values))).astype(np.int32))


def _up(value: int, to: int) -> int:
    return max(1, -(-value // to)) * to
