"""How far judges and people agree, criterion by criterion, and what that means."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from loopreview.tui import agreement_view
from loopreview.tui.page import clip
from loopreview.tui.widgets.card import paint

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview


class AgreementView(ModalScreen[None]):
    """The criteria above, all that is known about the chosen one below."""

    CSS_PATH = "agreement.tcss"
    app: "LoopReview"
    BINDINGS: ClassVar = [
        Binding("escape,q,i,enter", "dismiss", "Close", show=False),
        Binding("j,down", "choose(1)", "Next criterion", show=False),
        Binding("k,up", "choose(-1)", "Criterion before", show=False),
        Binding("space,pagedown,ctrl+d", "scroll(8)", "On", show=False),
        Binding("pageup,ctrl+u,backspace", "scroll(-8)", "Back", show=False),
    ]

    def __init__(self, names: Mapping[str, str], found: Mapping[str, Any] | None, *, chosen: str = "") -> None:
        """`names`: criterion → name. `found`: as last counted; null while it is counted for the first time."""
        super().__init__()
        self._names = names
        self.found = found
        self.chosen = chosen
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(id="table", markup=False)
        with VerticalScroll(id="box", can_focus=False):
            yield Static(id="detail", markup=False)
        yield Static(Content("j k criterion · space scrolls · esc closes"), id="foot")

    def on_mount(self) -> None:
        self._paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def agreed(self, problem: str) -> None:
        """The numbers were counted anew, or could not be."""
        self.found, self.problem = self.app.agreement or self.found, problem
        self._paint()

    def _paint(self) -> None:
        width, height = self.size.width - 4, self.size.height
        if width < 20:
            return
        title = "Judges and people, by criterion"
        if self.found is None:
            said = self.problem or "counting …"
            self.query_one("#title", Static).update(Content(title).stylize("bold"))
            self.query_one("#table", Static).update(Content(clip(said, width)))
            return
        rows = agreement_view.criteria_rows(self.found, self._names)
        if self.chosen not in dict(rows):
            self.chosen = rows[0][0] if rows else ""
        beside = f" · {self.problem}" if self.problem else ""
        self.query_one("#title", Static).update(Content.assemble((title, "bold"), clip(beside, width - 40)))
        lines = [agreement_view.summary(self.found, width)]
        if rows:
            most = max(4, min(len(rows) + 1, (height - 4) // 2))
            lines += agreement_view.table(self.found, self._names, self.chosen, width, most)
            detail = agreement_view.detail(self.found, self._names, self.chosen, width)
        else:
            text = "no answers of people yet: answer criteria in Review, or `loopreview import-labels FILE`"
            lines.append(((text, ""),))
            detail = []
        self.query_one("#table", Static).update(paint(lines))
        self.query_one("#detail", Static).update(paint(detail))

    def action_choose(self, step: int) -> None:
        ids = [id for id, _ in agreement_view.criteria_rows(self.found, self._names)] if self.found else []
        if self.chosen in ids:
            self.chosen = ids[max(0, min(len(ids) - 1, ids.index(self.chosen) + step))]
            self.query_one("#box").scroll_home(animate=False)
            self._paint()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#box").scroll_relative(y=lines, animate=False)

    def on_click(self, event: events.Click) -> None:
        """A click on a line of the table chooses its criterion."""
        if self.found is None or event.widget is None or event.widget.id != "table":
            return
        lines = str(self.query_one("#table", Static).render()).split("\n")
        words = lines[event.y].lstrip("> ").split() if 0 <= event.y < len(lines) else []
        if words and words[0] in self._names:
            self.chosen = words[0]
            self._paint()
