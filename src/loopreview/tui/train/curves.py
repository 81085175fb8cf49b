"""Loss curves as lines of text, drawn by plotext."""

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from loopreview.tui.widgets.card import Line

FINE = "braille"
"""The mark of a curve that is drawn as a fine line."""
SMALLEST = (24, 5)
"""Cells and lines below which nothing can be seen."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Series(NamedTuple):
    """One curve. `mark`: the character it is drawn with, or FINE; `points`: (step, loss), steps rising; `joined`: by a
    line."""

    mark: str
    style: str
    points: Sequence[tuple[int, float]]
    joined: bool = True


def thinned(points: Sequence[tuple[int, float]], most: int) -> tuple[list[tuple[int, float]], int]:
    """At most `most` points, each the mean of so many that follow each other, and how many those are."""
    size = max(1, math.ceil(len(points) / max(1, most)))
    if size == 1:
        return list(points), 1
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts], size


class Curve:
    """Points as they come, and at most MOST means of them, so that drawing a long curve takes no longer than a short
    one."""

    MOST = 1024

    def __init__(self) -> None:
        self.all: dict[int, float] = {}
        """Step → loss; of a step that was done twice, the last."""
        self._parts: list[tuple[int, float, int]] = []
        """(last step, sum of the losses, how many), steps rising; `_size` points in each but the last."""
        self._size = 1
        self._last = -1
        self._whole = True
        """Whether the parts hold all points."""

    def add(self, step: int, loss: float) -> None:
        again = step <= self._last
        self.all[step] = loss
        if again or not self._whole:
            self._whole = False
            self._last = max(self._last, step)
        else:
            self._add(step, loss)

    def back_to(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        while self.all and next(reversed(self.all)) > step:
            self.all.popitem()
            self._whole = False
        self._last = max(self.all, default=-1) if not self._whole else self._last

    def points(self) -> tuple[list[tuple[int, float]], int]:
        """The means, and of how many points each is."""
        if not self._whole:
            self._parts, self._size, self._last, self._whole = [], 1, -1, True
            for step, loss in sorted(self.all.items()):
                self._add(step, loss)
        return [(step, total / count) for step, total, count in self._parts], self._size

    def _add(self, step: int, loss: float) -> None:
        self._last = step
        if self._parts and self._parts[-1][2] < self._size:
            _, total, count = self._parts[-1]
            self._parts[-1] = (step, total + loss, count + 1)
            return
        if len(self._parts) == self.MOST:
            pairs = zip(self._parts[::2], self._parts[1::2], strict=True)
            self._parts = [(late[0], early[1] + late[1], early[2] + late[2]) for early, late in pairs]
            self._size *= 2
        self._parts.append((step, loss, 1))


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most `most` round numbers from `low` to `high`."""
    span = high - low
    if span <= 0 or most < 1:
        return [low]
    size = 10.0 ** math.floor(math.log10(span / most))
    step = next(size * n for n in (1, 2, 2.5, 5, 10, 20) if span / (size * n) <= most)
    step = max(1.0, math.ceil(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def curves(series: Sequence[Series], width: int, height: int, *, steps: int = 0) -> list[Line]:
    """The curves over their steps, in `height` lines of at most `width` cells; the axis reaches at least to `steps`.
    Nothing where there is no point, or no room."""
    from textual_plotext import Plot

    shown = [one._replace(points=thinned(one.points, 2 * width)[0]) for one in series if one.points]
    if not shown or width < SMALLEST[0] or height < SMALLEST[1]:
        return []
    losses = [loss for one in shown for _, loss in one.points]
    low, high = min(losses), max(losses)
    pad = (high - low) * 0.05 or max(0.05, abs(high) * 0.05)
    low, high = low - pad, high + pad
    last = max(1, steps, *(one.points[-1][0] for one in shown))
    plot = Plot()
    plot.theme("clear")
    plot.plotsize(width, height)
    plot._set_size(width, height)
    for one in shown:
        steps_of, losses_of = zip(*one.points, strict=True)
        (plot.plot if one.joined else plot.scatter)(list(steps_of), list(losses_of), marker=one.mark)
    plot.xlim(0, last)
    plot.ylim(low, high)
    across = ticks(0, last, max(2, width // 16), whole=True)
    plot.xticks(across, [f"{n:,.0f}" for n in across])
    up = ticks(low, high, max(2, height // 3))
    digits = max(1, min(4, math.ceil(-math.log10(up[1] - up[0])))) if len(up) > 1 else 2
    plot.yticks(up, [f"{n:.{digits}f}" for n in up])
    styles = {one.mark: one.style for one in shown if one.mark != FINE}
    fine = next((one.style for one in shown if one.mark == FINE), "")
    return [_styled(line, styles, fine) for line in _COLOURS.sub("", plot.build()).rstrip("\n").split("\n")]


def _styled(line: str, styles: dict[str, str], fine: str) -> Line:
    """The marks inside the frame get their style, the frame and its numbers are dim."""
    begin = next((n for n, character in enumerate(line) if character in "│┤"), len(line))
    end = line.rfind("│")
    if end <= begin:
        return ((line.rstrip(), "dim"),)

    def style(character: str) -> str:
        return styles.get(character) or (fine if "\u2800" < character <= "\u28ff" else "")

    inside = [("".join(group), found) for found, group in groupby(line[begin + 1 : end], style)]
    return ((line[: begin + 1], "dim"), *inside, (line[end:].rstrip(), "dim"))
