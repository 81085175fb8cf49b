"""The pages of the Train screen: which is in view, how far it is scrolled, and the lines to paint. No widgets."""

from collections.abc import Callable, Sequence
from typing import Any

from loopreview.tui.train import runs_view, view
from loopreview.tui.train.desk import TrainDesk
from loopreview.tui.train.following import Followed
from loopreview.tui.train.view import PAGES
from loopreview.tui.widgets.card import Line

_PLOT = 9
"""Lines that a picture of curves takes at least."""


class TrainPages:
    """Reads from the desk what there is to show."""

    def __init__(self, desk: TrainDesk) -> None:
        self.desk = desk
        self.page = "plan"
        self.wide = False
        """Whether there is room for two columns."""
        self.tops: dict[str, int] = {}
        """Page → the first line in view."""
        self.table_height = 0
        self._most: dict[tuple[str, bool, str], int] = {}
        """(page, wide, column) → how far down it goes."""
        self._drawn: dict[str, tuple[object, list[Line]]] = {}

    @property
    def twofold(self) -> bool:
        """Whether the page has two columns; a table needs the whole width."""
        return self.wide and self.page != "runs"

    def go(self, step: int) -> None:
        self.page = PAGES[(PAGES.index(self.page) + step) % len(PAGES)]

    def scroll(self, lines: int) -> None:
        columns = (self._most.get((self.page, self.wide, name), 0) for name in ("page", "left"))
        self.tops[self.page] = max(0, min(self.tops.get(self.page, 0) + lines, max(columns)))

    def beside(self) -> str:
        """What stands beside the tabs."""
        return self.desk.at_work

    def left(self, width: int, height: int) -> list[Line]:
        """The left column, where there are two."""
        return view.within(self._left(width, height), width)

    def window(self, width: int, height: int) -> list[Line]:
        """The lines of the page that are in view."""
        return view.within(self._window(width, height), width)

    def _left(self, width: int, height: int) -> list[Line]:
        if self.page == "plan":
            return self._scrolled(view.summary(self.desk, width), height, "left")
        run = self.desk.run
        if run is None:
            return []
        lines = view.facts(run, width)
        lines += view.warnings(run, width, height - len(lines))
        return [*lines, (), *view.settings(run, width)][:height]

    def _window(self, width: int, height: int) -> list[Line]:
        if self.page == "plan":
            lines = view.values(self.desk, width)
            return self._scrolled(lines if self.wide else [*view.summary(self.desk, width), (), *lines], height)
        if self.page == "runs":
            return self._runs(width, height)
        run = self.desk.run
        if run is None:
            return [((view.NO_RUN if self.desk.following.looked else "looking …", ""),)]
        if self.wide:
            return self._kept("plot", run, width, height, lambda: view.plot(run, width, height))
        lines = view.facts(run, width)[: max(1, height - 2)]
        said = view.warnings(run, width, min(3, height - len(lines)))
        room = height - len(lines) - len(said)
        return [*lines, *said, *self._kept("plot", run, width, room, lambda: view.plot(run, width, room))]

    def _scrolled(self, lines: Sequence[Line], height: int, column: str = "page") -> list[Line]:
        """Two columns scroll together, each as far as it goes."""
        self._most[self.page, self.wide, column] = max(0, len(lines) - height)
        top = min(self.tops.get(self.page, 0), max(0, len(lines) - height))
        return list(lines[top : top + height])

    def _runs(self, width: int, height: int) -> list[Line]:
        desk, run = self.desk, self.desk.run
        if run is None:
            return runs_view.table(desk, width, height)
        differing = runs_view.differences(desk.compared, width)
        rows = len(desk.following.runs) + 1
        self.table_height = min(rows, max(4, (height - _PLOT) // 2 if differing else height - _PLOT - 3))
        lines = runs_view.table(desk, width, self.table_height)
        if width < runs_view.WIDE:
            lines += runs_view.about(run, width)
        room = height - len(lines)
        if not differing:
            return [*lines, *self._compared(width, room)][:height]
        shown = max(_PLOT, room - len(differing)) if room > _PLOT + 3 else 0
        below = [*(self._compared(width, shown) if shown else []), *differing]
        return [*lines, *self._scrolled(below, room)]

    def _compared(self, width: int, height: int) -> list[Line]:
        desk = self.desk
        versions = tuple((letter, one.id, one.version) for letter, one in desk.compared)
        key = (versions, desk.run and (desk.run.id, desk.run.version), width, height)
        return self._once("compared", key, lambda: runs_view.beside(desk, width, height))

    def _kept(self, what: str, run: Followed, width: int, height: int, draw: Callable[[], list[Line]]) -> list[Line]:
        return self._once(what, (run.id, run.version, run.alive, width, height), draw)

    def _once(self, what: str, key: Any, draw: Callable[[], list[Line]]) -> list[Line]:
        """Curves are drawn once for what they show and their size: every key paints anew."""
        if what not in self._drawn or self._drawn[what][0] != key:
            self._drawn[what] = (key, draw())
        return self._drawn[what][1]
