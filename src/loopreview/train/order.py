"""Which examples make up each micro-batch: the same on both backends, and on every resume, by seed and epoch alone."""

import random
from collections.abc import Sequence

_WINDOW = 50
"""Micro-batches among which examples are sorted by length, so that little is padded."""


def micro_batches(lengths: Sequence[int], size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The places of an epoch's examples, `size` in each micro-batch, every example once.

    Examples are shuffled; within windows of 50 micro-batches those of like length go together, and the micro-batches
    are shuffled again. The one that is not full comes last.
    """
    dice = random.Random(f"{seed}-{epoch}")
    order = list(range(len(lengths)))
    dice.shuffle(order)
    if size == 1:
        return [[place] for place in order]
    rest = order[len(order) - len(order) % size :]
    order = order[: len(order) - len(rest)]
    window = size * _WINDOW
    batches = []
    for first in range(0, len(order), window):
        near = sorted(order[first : first + window], key=lambda place: lengths[place])
        batches += [near[i : i + size] for i in range(0, len(near), size)]
    dice.shuffle(batches)
    return batches + ([rest] if rest else [])


def steps_per_epoch(micro_batches: int, accumulation: int) -> int:
    """Optimizer steps in an epoch; the last one takes the micro-batches that are left."""
    return -(-micro_batches // accumulation)
