"""From rows of ids and labels to the tensors of a micro-batch: padded, or several examples packed in one row."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from loopreview.models.training import Plan
from loopreview.train.order import micro_batches, steps_per_epoch
from loopreview.train.rows import IGNORED, Row

Unit = tuple[int, ...]
"""The places of the examples that share a row of a micro-batch: one, or with packing several."""
Batch = dict[str, Any]
"""A micro-batch of B rows, L tokens wide, of which K positions are kept for the loss:

input_ids       (B, L), int64
attention_mask  (B, L), 1 on tokens, without packing
position_ids    (B, L), from 0 in each example, with packing: the model's mask keeps the examples apart by them
keep            (K,): the positions at which at least one row's next token is supervised
targets         (B, K): the id of that next token, IGNORED where it is not supervised
owners          (B, K): the place of the example it belongs to, 0 where it is not supervised
items, tokens   how many are supervised; how many are no padding
places          the places of the examples
"""


def packed(lengths: Sequence[int], capacity: int) -> list[Unit]:
    """Examples put together in rows of at most `capacity` tokens: the longest first, each where it fits best."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens that still fit, row), sorted
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        fits = bisect_left(room, (lengths[place], -1))
        if fits < len(room):
            left, row = room.pop(fits)
        else:
            left, row = capacity, len(rows)
            rows.append([])
        rows[row].append(place)
        insort(room, (left - lengths[place], row))
    return [tuple(row) for row in rows]


def units(plan: Plan, rows: Sequence[Row]) -> list[Unit]:
    lengths = [len(row.ids) for row in rows]
    return packed(lengths, plan.max_length) if plan.packing else [(place,) for place in range(len(rows))]


def optimizer_steps(plan: Plan, rows: Sequence[Row]) -> int:
    """In all epochs; with packing fewer than the number of examples alone says."""
    return plan.epochs * steps_per_epoch(-(-len(units(plan, rows)) // plan.batch), plan.accumulation)


class Order:
    """The micro-batches of one epoch, as lists of units: a batch sampler. Draws no random number of torch's."""

    def __init__(self, plan: Plan, rows: Sequence[Row]) -> None:
        self.units = units(plan, rows)
        self.epoch = 0
        """Counted from 0; the trainer's callback sets it."""
        self._widths = [sum(len(rows[place].ids) for place in unit) for unit in self.units]
        self._plan = plan

    def __len__(self) -> int:
        return -(-len(self.units) // self._plan.batch)

    def __iter__(self) -> Iterator[list[Unit]]:
        for batch in micro_batches(self._widths, self._plan.batch, seed=self._plan.seed, epoch=self.epoch):
            yield [self.units[number] for number in batch]

    def longest(self) -> list[Unit]:
        """The widest units, as many as a micro-batch takes: no micro-batch of any epoch needs more memory."""
        widest = sorted(range(len(self.units)), key=lambda number: -self._widths[number])[: self._plan.batch]
        return [self.units[number] for number in widest]


def collate(rows: Sequence[Row], batch: Sequence[Unit], *, pad: int, packing: bool) -> Batch:
    """The tensors of a micro-batch."""
    width = max(sum(len(rows[place].ids) for place in unit) for unit in batch)
    shape = (len(batch), width)
    ids = np.full(shape, pad, np.int64)
    # Column i holds the label of token i + 1, which is what the model predicts there.
    following = np.full(shape, IGNORED, np.int64)
    owners = np.zeros(shape, np.int64)
    positions = np.zeros(shape, np.int64)
    tokens = 0
    for number, unit in enumerate(batch):
        at = 0
        for place in unit:
            row = rows[place]
            end = at + len(row.ids)
            ids[number, at:end] = row.ids
            # Only the labels after the first: the last token of the example before predicts nothing of this one.
            following[number, at : end - 1] = row.labels[1:]
            owners[number, at:end] = place
            positions[number, at:end] = np.arange(end - at)
            at = end
        positions[number, at:] = np.arange(width - at)
        ids[number, at:] = pad
        tokens += at
    supervised = following != IGNORED
    keep = np.flatnonzero(supervised.any(axis=0))
    found: Batch = {
        "input_ids": torch.from_numpy(ids),
        "keep": torch.from_numpy(keep),
        "targets": torch.from_numpy(following[:, keep]),
        "owners": torch.from_numpy(np.where(supervised, owners, 0)[:, keep]),
        "items": int(supervised.sum()),
        "tokens": tokens,
        "places": tuple(place for unit in batch for place in unit),
    }
    if packing:
        found["position_ids"] = torch.from_numpy(positions)
    else:
        lengths = np.array([sum(len(rows[place].ids) for place in unit) for unit in batch])
        found["attention_mask"] = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    return found
