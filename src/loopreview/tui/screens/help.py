"""All keys, grouped."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from loopreview.tui.keys import Key, key_names


class Help(ModalScreen[None]):
    """Scrolls with the keys of reading; `?`, `esc` and `q` close it."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", show=False),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("space,pagedown,ctrl+d", "scroll(10)", "On", show=False),
        Binding("pageup,ctrl+u,backspace", "scroll(-10)", "Back", show=False),
    ]

    def __init__(self, keys: Iterable[Key], keymap: Mapping[str, str]) -> None:
        super().__init__()
        self._text = help_text(keys, keymap)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", can_focus=False):
            yield Static(self._text, id="keys")
        yield Static(Content(" esc closes · space scrolls · your config.toml can move any key"), id="foot")

    def action_scroll(self, lines: int) -> None:
        self.query_one("#box").scroll_relative(y=lines, animate=False)


def help_text(keys: Iterable[Key], keymap: Mapping[str, str]) -> Content:
    groups: dict[str, list[Key]] = {}
    for key in keys:
        groups.setdefault(key.group, []).append(key)
    pieces: list[tuple[str, str]] = []
    for group, members in groups.items():
        pieces.append((("\n" if pieces else "") + group + "\n", "bold"))
        for key in members:
            name = key_names(keymap.get(key.id, key.keys))
            pieces += [(f"  {name:<18}", "bold $text-accent"), (f"{key.does}\n", "")]
    return Content.assemble(*pieces)
