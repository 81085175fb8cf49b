"""The pages of the Train screen: which is in view, how far it is scrolled, and the lines to paint. No widgets."""

from collections.abc import Callable, Sequence

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
        self._below: dict[tuple[str, str], int] = {}
        """(page, column) → how many lines of it are below those in view."""
        self._most: dict[tuple[str, bool, str], int] = {}
        """(page, wide, column) → how far down it goes."""
        self._drawn: dict[str, tuple[object, object, list[Line]]] = {}
        """Name of a picture → what it is of, how far that was, its lines."""
        self.fresh = True
        """Whether curves are drawn anew where there are new points."""
        self.behind = False
        """Whether a picture in view is older than what is known."""

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
        """What stands beside the tabs: what is being found out, else how much of the page is in view."""
        below = max(self._below.get((self.page, name), 0) for name in ("page", "left"))
        if self.desk.at_work or not below:
            return self.desk.at_work
        key = "PgDn" if self.page == "runs" else "space"
        return f"{below} more line{'' if below == 1 else 's'} below · {key} reads on"

    def left(self, width: int, height: int) -> list[Line]:
        """The left column, where there are two."""
        self._below.pop((self.page, "left"), None)
        return view.within(self._left(width, height), width)

    def window(self, width: int, height: int) -> list[Line]:
        """The lines of the page that are in view."""
        self.behind = False
        self._below.clear()
        return view.within(self._window(width, height), width)

    def _left(self, width: int, height: int) -> list[Line]:
        if self.page == "plan":
            return self._scrolled(view.summary(self.desk, width), height, "left")
        run = self.desk.run
        if run is None:
            return []
        lines = view.facts(run, width)
        lines += view.warnings(run, width, height - len(lines))
        lines = [*lines, (), *view.settings(run, width)]
        if len(lines) > height > 1:
            lines[height - 1 :] = [((f"… {len(lines) - height + 1} more in its plan.yaml", "dim"),)]
        return lines

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
        self._below[self.page, column] = max(0, len(lines) - height - top)
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
        shown = [*(one for _, one in desk.compared), *([desk.run] if desk.run else [])]
        what = (tuple((letter, one.id) for letter, one in desk.compared), desk.run and desk.run.id, width, height)
        state = tuple((one.version, one.alive) for one in shown)
        return self._once("compared", what, state, lambda: runs_view.beside(desk, width, height))

    def _kept(self, name: str, run: Followed, width: int, height: int, draw: Callable[[], list[Line]]) -> list[Line]:
        return self._once(name, (run.id, width, height), (run.version, run.alive), draw)

    def _once(self, name: str, what: object, state: object, draw: Callable[[], list[Line]]) -> list[Line]:
        """Curves are drawn once for what they show: every key paints anew, and is not to wait for them. Of the same
        runs in the same size, the picture of before is shown until `fresh`."""
        kept = self._drawn.get(name)
        if kept is None or kept[0] != what or (kept[1] != state and self.fresh):
            kept = self._drawn[name] = (what, state, draw())
        self.behind = self.behind or kept[1] != state
        return kept[2]
