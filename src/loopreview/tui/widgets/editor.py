"""A text that is edited: highlighted, with faulty lines underlined."""

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import EditResult, Location

from loopreview.tui.line_merge import Change, replacement
from loopreview.tui.shield import picture, shield, unshield

FAULTY = "underline"


class Editor(TextArea):
    """Keys of the screen do nothing while it has the focus; `esc` gives the focus up."""

    class Left(Message):
        """The text was left."""

    def __init__(self, text: str, *, language: str, wrap: bool, id: str) -> None:
        """`text` is shielded (shield.py)."""
        super().__init__(
            text,
            language=language or None,
            soft_wrap=wrap,
            show_line_numbers=True,
            tab_behavior="indent",
            max_checkpoints=1000,
            compact=True,
            id=id,
        )
        self.indent_width = 2
        self._faulty: frozenset[int] = frozenset()

    def on_mount(self) -> None:
        self.follow_theme()

    def follow_theme(self) -> None:
        """Colours that go with the program's."""
        theme = self.app.current_theme
        self.theme = "css" if "ansi" in theme.name else "vscode_dark" if theme.dark else "github_light"

    def underline(self, lines: Iterable[int]) -> None:
        """Mark these lines (from 1) as faulty, and no others."""
        faulty = frozenset(lines)
        if faulty != self._faulty:
            self._faulty = faulty
            # Painted lines are kept by place alone; there is no public way to have them painted anew.
            self._line_cache.clear()
            self.refresh()

    def get_line(self, line_index: int) -> Text:
        shown = picture(self.document.get_line(line_index))
        line = Text(shown, end="", no_wrap=True)
        if line_index + 1 in self._faulty:
            start = len(shown) - len(shown.lstrip())
            line.stylize(FAULTY, start if shown.strip() else 0, max(start + 1, len(shown)))
        return line

    def take_in(self, changes: Sequence[Change]) -> None:
        """Make changes that came from elsewhere; cursor and undo stay."""
        for change in reversed(changes):
            text, start, end = replacement(self.document.lines, change)
            self.replace(text, start, end, maintain_selection_offset=True)

    def go_to_line(self, line: int, column: int = 0) -> None:
        """Put the cursor on a line (from 1), with a few lines above it in view."""
        row = max(0, min(line - 1, self.document.line_count - 1))
        self.move_cursor((row, min(column, len(self.document.get_line(row)))))
        self.scroll_to(y=max(0, self.wrapped_document.location_to_offset((row, 0)).y - 3), animate=False, force=True)

    def go_on(self, rows: int) -> None:
        """Move the cursor up or down; the text scrolls with it."""
        self.move_cursor_relative(rows=rows)

    @property
    def line(self) -> int:
        """The cursor's line, from 1."""
        return self.cursor_location[0] + 1

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
            return
        await super()._on_key(event)

    def _replace_via_keyboard(self, insert: str, start: Location, end: Location) -> EditResult | None:
        """What is typed or pasted gets its stand-ins here."""
        plain = insert.replace("\r\n", "\n").replace("\r", "\n")
        return super()._replace_via_keyboard(shield(plain, typed=True), start, end)

    def action_copy(self) -> None:
        if self.selected_text:
            self.app.copy_to_clipboard(unshield(self.selected_text))

    def action_cut(self) -> None:
        super().action_cut()
        self.app.copy_to_clipboard(unshield(self.app.clipboard))
