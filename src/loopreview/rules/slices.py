"""Where a transcript is cut into training examples. Each slice is a prefix that ends with an assistant reply."""

import random
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

FIRST = 3
"""The first slice ends with this exchange; a shorter transcript has none."""


def slice_points(transcript: str, exchanges: int, gap: tuple[int, int]) -> list[int]:
    """The exchanges, counted from 1, that slices end with: the third, then each a drawn number of exchanges between
    `gap[0]` and `gap[1]` further, below the end, and the last one, however near.

    The draw is seeded by the transcript's id alone, so that neither the order nor the number of transcripts matters.
    """
    if exchanges < FIRST:
        return []
    draw = random.Random(int(sha256(transcript.encode()).hexdigest()[:8], 16))
    points, point = [], FIRST
    while point < exchanges:
        points.append(point)
        point += draw.randint(*gap)
    return [*points, exchanges]


class Fitting(NamedTuple):
    """The points that fit, and those left out because they are over the limit; both in their order."""

    points: list[int]
    over: list[int]


def fitting(points: Sequence[int], tokens: Sequence[int], limit: int, smallest_gap: int) -> Fitting:
    """Points of at most `limit` tokens; `tokens[i]` are those of the prefix that ends with exchange i + 1.

    Where any are over it, the last exchange that fits takes their place, if it is at least `smallest_gap` exchanges
    after the slice before it.
    """
    kept = [point for point in points if tokens[point - 1] <= limit]
    over = [point for point in points if tokens[point - 1] > limit]
    last = longest(tokens, limit) if over else None
    if last is not None and last >= FIRST and (not kept or last - kept[-1] >= smallest_gap):
        kept.append(last)
    return Fitting(kept, over)


def longest(tokens: Sequence[int], limit: int) -> int | None:
    """The last exchange whose prefix has at most `limit` tokens, or None."""
    return next((end for end in range(len(tokens), 0, -1) if tokens[end - 1] <= limit), None)
