"""The pages of the Data screen: which is in view, how far it is scrolled, and the lines to paint. No widgets."""

from collections.abc import Sequence
from typing import Any

from loopreview.tui import data_view
from loopreview.tui.audit_view import audit_lines, coverage_lines
from loopreview.tui.data_desk import DataDesk
from loopreview.tui.data_view import PAGES, Plan
from loopreview.tui.page import clip
from loopreview.tui.rendered import Rendered
from loopreview.tui.widgets.card import Line


class DataPages:
    """Reads from the desk what there is to show."""

    def __init__(self, desk: DataDesk) -> None:
        self.desk = desk
        self.wide = False
        """Whether there is room for two columns."""
        self.page, self.reading = "dataset", False
        """The page that was gone to, and whether an example of it is read."""
        self.tops: dict[str, int] = {}
        """Page, or `example`, or `list` → the first line in view."""
        self._rendered: tuple[Any, int, Rendered] | None = None
        self._kept: tuple[Any, Any, list[Line]] | None = None

    @property
    def names(self) -> Sequence[str]:
        """Where it is wide, the dataset stands beside every page."""
        return PAGES[1:] if self.wide else PAGES

    @property
    def shown(self) -> str:
        return "audit" if self.wide and self.page == "dataset" else self.page

    @property
    def previewing(self) -> bool:
        """Whether the page shows an example, and not the list of them."""
        has = self.desk.plan is not None and bool(self.desk.plan.examples)
        return has and self.shown == "examples" and (self.wide or self.reading)

    @property
    def place(self) -> str:
        return "example" if self.previewing else self.shown

    def go(self, step: int) -> None:
        """To the next page, or the one before."""
        at = self.names.index(self.shown)
        self.page, self.reading = self.names[(at + step) % len(self.names)], False

    def show_audit(self) -> None:
        """Of a scope just chosen."""
        self.page, self.reading = "audit", False
        self.tops.pop("audit", None)

    def scroll(self, lines: int) -> None:
        self.tops[self.place] = max(0, self.tops.get(self.place, 0) + lines)

    def to_lit(self, step: int, width: int, height: int) -> None:
        """Scroll the example to the next supervised part, or the one before; 0: to the first of a text just opened."""
        if self.desk.example is None or self.desk.example["answer"] == "error" or width < 1:
            return
        lit = self.preview(width).lit
        above = max(1, height // 4)
        at = self.tops.get("example", 0) + above
        if step > 0:
            goal = next((line for line in lit if line > at), None)
        elif step < 0:
            goal = next((line for line in reversed(lit) if line < at), None)
        else:
            goal = lit[0] if lit else 0
        if goal is not None:
            self.tops["example"] = max(0, goal - above)

    def clicked(self, widget: str, row: int) -> int | None:
        """The number of the example that a click met."""
        name, lists = ("list", "left") if self.wide else ("examples", "page")
        if self.shown != "examples" or self.previewing != self.wide or widget != lists:
            return None
        return self.tops.get(name, 0) + row

    def window(self, width: int, height: int) -> list[Line]:
        """The lines of the page that are in view."""
        head: list[Line] = []
        if self.previewing:
            head = data_view.example_head(self.desk.plan, self.desk.chosen, self.desk.example, width)
        room = max(1, height - len(head))
        lines, name = self._lines(width, room), self.place
        top = self.tops.get(name, 0)
        if name == "examples":
            top = min(max(top, self.desk.chosen - room + 1), self.desk.chosen)
        self.tops[name] = top = max(0, min(top, len(lines) - room))
        return [*head, *lines[top : top + room]]

    def _lines(self, width: int, height: int) -> Sequence[Line]:
        desk, page = self.desk, self.shown
        if page in ("audit", "coverage"):
            found = desk.found.get(f"audit {desk.scope}" if page == "audit" else page)
            if isinstance(found, str):
                return [((clip(found, width), "bold"),), (), (("r looks again", ""),)]
            if found is None:
                return [((f"counting: `loopreview {page}` …", "dim"),)]
            return audit_lines(found, width, height) if page == "audit" else coverage_lines(found, width)
        plan = desk.plan
        if plan is None:
            text = desk.trouble or desk.progress or "looking …"
            return [((clip(text, width), "bold" if desk.trouble else "dim"),)]
        if page == "dataset":
            return self._overview(plan, width, height)
        if page == "left out":
            return data_view.left_out_lines(plan, width)
        if not plan.examples:
            return [((clip(data_view.next_step(plan, desk.wish, None, desk.exporter), width), ""),)]
        if not self.previewing:
            return data_view.examples_list(plan, desk.chosen, width)
        if desk.example is None:
            return [(("rendering …", "dim"),)]
        if desk.example["answer"] == "error":
            return [((clip(str(desk.example["why"]), width), "bold"),)]
        rendered = self.preview(width)
        return data_view.Lines(len(rendered), rendered.line)

    def preview(self, width: int) -> Rendered:
        example = self.desk.example
        assert example is not None
        if self._rendered is None or self._rendered[0] is not example or self._rendered[1] != width:
            self._rendered = (example, width, Rendered(example, width))
        return self._rendered[2]

    def _overview(self, plan: Plan, width: int, height: int) -> list[Line]:
        """Kept, since many examples take long to count and each key paints anew."""
        audit, coverage = self.desk.audited(), self.desk.covered()
        key = (id(plan), id(audit), id(coverage), width, height)
        if self._kept is None or self._kept[0] != key:
            # With what it is of, so that no other object takes one of these ids meanwhile.
            self._kept = (key, (plan, audit, coverage), data_view.overview(plan, audit, coverage, width, height))
        return self._kept[2]

    def left(self, width: int, height: int) -> Sequence[Line]:
        plan, chosen = self.desk.plan, self.desk.chosen
        if plan is None:
            return []
        if self.shown != "examples" or not plan.examples:
            return self._overview(plan, width, height)[:height]
        top = max(0, min(self.tops.get("list", 0), chosen))
        self.tops["list"] = top = max(top, chosen - height + 1)
        return data_view.examples_list(plan, chosen, width)[top : top + height]

    def beside(self) -> str:
        """What stands beside the tabs: what is going on, else what is audited, and whether it is old."""
        desk, page = self.desk, self.shown
        if desk.progress:
            return desk.progress
        parts = [desk.scope] if page == "audit" else []
        if desk.counting:
            parts.append("counting …")
        elif {"audit": desk.is_old(f"audit {desk.scope}"), "coverage": desk.is_old(page)}.get(page, desk.plan_is_old):
            parts.append("old: r looks again")
        return " · ".join(parts)
