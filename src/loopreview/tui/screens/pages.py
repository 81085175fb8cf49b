"""Texts that are read and left again: differences, and the versions of a file to choose from."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from loopreview.rules.safe_text import safe
from loopreview.tui.page import clip
from loopreview.tui.widgets.card import Line, paint

_READING = (
    Binding("space,pagedown,ctrl+d", "scroll(12)", "On", show=False),
    Binding("pageup,ctrl+u,backspace", "scroll(-12)", "Back", show=False),
)


class Page(ModalScreen[None]):
    """Lines that are scrolled. `draw` makes them for a width."""

    CSS_PATH = "pages.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,enter,d", "dismiss", "Close", show=False),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        *_READING,
    ]

    def __init__(self, title: str, draw: Callable[[int], Sequence[Line]]) -> None:
        super().__init__()
        self._title, self._draw = title, draw

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble((safe(self._title, keep_newlines=False), "bold")), id="title")
        with VerticalScroll(id="box", can_focus=False):
            yield Static(id="lines", markup=False)
        yield Static(Content("esc closes · space scrolls"), id="foot")

    def on_mount(self) -> None:
        self._paint()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._paint)

    def _paint(self) -> None:
        width = self.query_one("#box").size.width - 2
        if width > 0:
            self.query_one("#lines", Static).update(paint(list(self._draw(width))))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#box").scroll_relative(y=lines, animate=False)


class Version(NamedTuple):
    """One version of a file. `what` changed, `rate` of those that passed under it."""

    hash: str
    at: str
    now: bool
    what: str
    text: str


class Versions(ModalScreen[tuple[str, Version] | None]):
    """The versions of a file, the latest first. `d` shows what differs from the text, `enter` takes one into it.

    Gives (`diff` or `take`, the version).
    """

    CSS_PATH = "pages.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,q,v", "leave", "Close", show=False),
        Binding("j,down", "choose(1)", "Down", show=False),
        Binding("k,up", "choose(-1)", "Up", show=False),
        Binding("d", "give('diff')", "Difference", show=False),
        Binding("enter", "give('take')", "Take", show=False),
        *_READING,
    ]

    def __init__(self, title: str, versions: Sequence[Version]) -> None:
        super().__init__()
        self._title, self._versions = title, list(versions)
        self.chosen = 0
        self.rates: dict[str, str] = {}
        """hash → how many passed under it, once that is counted."""

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble((safe(self._title, keep_newlines=False), "bold")), id="title")
        with VerticalScroll(id="box", can_focus=False):
            yield Static(id="lines", markup=False)
        keys = "d difference · enter takes it into the text, unwritten · esc closes"
        yield Static(Content(keys), id="foot")

    def on_mount(self) -> None:
        self.show()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Paint the list anew."""
        width = self.query_one("#box").size.width - 2
        if width <= 0:
            return
        lines: list[Line] = [((f"  {'version':<9} {'first used (UTC)':<17} {'passed':<12} changed", "dim"),)]
        for place, version in enumerate(self._versions):
            here = place == self.chosen
            when = version.at[:16].replace("T", " ") or "not used yet"
            rate = self.rates.get(version.hash, "–" if self.rates else "…")
            what = ("now · " if version.now else "") + version.what
            head = f"{'>' if here else ' '} {version.hash[:8]:<9} {when:<17} {rate:<12} "
            lines.append(((head + clip(what, max(4, width - len(head))), "bold reverse" if here else ""),))
        if not self._versions:
            lines.append((("  no version was used yet", ""),))
        self.query_one("#lines", Static).update(paint(lines))

    def action_choose(self, step: int) -> None:
        self.chosen = max(0, min(self.chosen + step, len(self._versions) - 1))
        self.show()
        self.query_one("#box").scroll_to(y=max(0, self.chosen - 3), animate=False)

    def action_give(self, what: str) -> None:
        if self._versions:
            self.dismiss((what, self._versions[self.chosen]))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.action_choose(lines)
