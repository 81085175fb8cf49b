"""How many tokens examples have, as bars against the limit."""

from collections.abc import Sequence
from math import ceil, log10
from typing import NamedTuple

from loopreview.tui.widgets.card import Line


class Bin(NamedTuple):
    """`examples` of more than `low` tokens and at most `high`."""

    low: int
    high: int
    examples: int


def bins(lengths: Sequence[int], limit: int, most: int = 8) -> list[Bin]:
    """At most `most` bins of equal, round width that hold every length; none reaches above the limit."""
    if not lengths or most < 1:
        return []
    longest = max(lengths)
    width = _round_width(longest, most)
    counts = [0] * max(1, ceil(longest / width))
    for length in lengths:
        counts[max(0, ceil(length / width) - 1)] += 1
    return [Bin(n * width, min((n + 1) * width, max(limit, longest)), found) for n, found in enumerate(counts)]


def _round_width(longest: int, most: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 25, 50, 100, … with which `most` bins reach `longest`."""
    size = int(10 ** int(log10(max(1, longest / most))))
    widths = [size, 2 * size, *([5 * size // 2] if size > 1 else []), 5 * size, 10 * size, 20 * size]
    return next(width for width in widths if width * most >= longest)


def histogram(lengths: Sequence[int], limit: int, over: int, width: int, rows: int) -> list[Line]:
    """Bars in at most `rows` lines of `width` cells, with the limit below them, and those `over` it below that. What is
    left out is drawn in another character, not in another colour alone."""
    found = bins(lengths, limit, max(1, rows - (2 if over else 1)))
    label = max(12, len(f"limit {limit:,}"))
    top = max((one.examples for one in found), default=over)
    room = max(4, width - label - 2 - len(f" {top:,}"))
    lines: list[Line] = []
    for one in found:
        count = f" {one.examples:,}" if one.examples else ""
        bar = (_bar(one.examples, top, room), "$text-accent")
        lines.append(((f"{f'to {one.high:,}':>{label}}  ", ""), bar, (count, "")))
    share = f" the longest is {100 * max(lengths) / limit:.0f} % of it" if lengths else ""
    rule = "┄" * max(0, width - label - 2 - len(share))
    lines.append(((f"{f'limit {limit:,}':>{label}}  ", "bold"), (rule, "bold"), (share, "dim")))
    if over:
        count = f" {over:,} left out"
        most = max(1, width - label - 2 - len(count))
        length = max(1, round(room * over / top))
        # Where most are over it, their bar is as long as there is room, and says that it is longer.
        drawn = "░" * length if length <= most else "░" * (most - 1) + "»"
        lines.append(((f"{'over it':>{label}}  ", ""), (drawn, ""), (count, "")))
    return lines


def _bar(count: int, top: int, room: int) -> str:
    halves = round(2 * room * count / top) if top else 0
    if count and not halves:
        return "▏"
    return "█" * (halves // 2) + ("▌" if halves % 2 else "")


def share_bar(share: float, width: int) -> str:
    """`████░░░░`: a share from 0 to 1, full at 1."""
    full = max(0, min(width, int(width * share)))
    return "█" * full + "░" * (width - full)
