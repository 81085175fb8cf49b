"""One reply as Markdown, rendered by Rich: the Markdown widget would take seconds on a long one."""

from typing import ClassVar

from rich.markdown import Markdown
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from loopreview.tui.page import Section

LIMIT = 40_000
"""Characters; more than that is shown as it stands."""


class MarkdownReply(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,v,q,enter", "dismiss", "Close", show=False),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("space,pagedown,ctrl+d", "scroll(12)", "On", show=False),
        Binding("pageup,ctrl+u,backspace", "scroll(-12)", "Back", show=False),
    ]

    def __init__(self, section: Section) -> None:
        super().__init__()
        self._section = section

    def compose(self) -> ComposeResult:
        text = self._section.text
        with VerticalScroll(id="box", can_focus=False):
            yield Static(Content.assemble((f"{self._section.exchange} {self._section.role}\n", "bold")))
            if len(text) > LIMIT:
                yield Static(Content(text))
            else:
                yield Static(Markdown(text, hyperlinks=False))
        yield Static(Content(" esc closes · space scrolls"), id="foot")

    def action_scroll(self, lines: int) -> None:
        self.query_one("#box").scroll_relative(y=lines, animate=False)
