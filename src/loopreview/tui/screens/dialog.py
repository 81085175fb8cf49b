"""Small questions: a few texts, or one of several answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from loopreview.rules.safe_text import safe


class Field(NamedTuple):
    """One text, or with `choices` one of several words. Without a label it belongs to the field above."""

    name: str
    label: str
    text: str = ""
    choices: tuple[str, ...] = ()
    height: int = 3


class Words(TextArea):
    """A text that `enter` saves; `ctrl+j` makes a new line."""

    class Saved(Message):
        pass

    def __init__(self, text: str, *, id: str) -> None:
        # What models wrote may hold terminal commands; what is typed or pasted may, too.
        super().__init__(safe(text), id=id, tab_behavior="focus", highlight_cursor_line=False)

    async def _on_paste(self, event: events.Paste) -> None:
        event.text = safe(event.text)
        await super()._on_paste(event)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("enter", "ctrl+j"):
            event.stop()
            event.prevent_default()
            if event.key == "enter":
                self.post_message(self.Saved())
            else:
                self.insert("\n")
            return
        await super()._on_key(event)


class Choice(Static, can_focus=True):
    """One of several words; left, right and space go through them."""

    BINDINGS: ClassVar = [
        Binding("right,space,l", "step(1)", "Next", show=False),
        Binding("left,h", "step(-1)", "Before", show=False),
        Binding("enter", "save", "Save", show=False),
    ]

    def __init__(self, choices: Sequence[str], chosen: str, *, id: str) -> None:
        super().__init__(id=id, classes="choice")
        self.choices = list(choices)
        self.chosen = chosen if chosen in choices else self.choices[0]

    def on_mount(self) -> None:
        self._paint()

    def action_step(self, step: int) -> None:
        self.chosen = self.choices[(self.choices.index(self.chosen) + step) % len(self.choices)]
        self._paint()

    def action_save(self) -> None:
        self.post_message(Words.Saved())

    def _paint(self) -> None:
        pieces: list[tuple[str, str]] = []
        for word in self.choices:
            pieces += [(f" {word} ", "bold reverse" if word == self.chosen else ""), (" ", "")]
        self.update(Content.assemble(*pieces))


class Dialog(ModalScreen[dict[str, str] | None]):
    """`enter` saves, `ctrl+j` is a new line, `esc` leaves and keeps the draft. Gives the texts by field name."""

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("tab", "app.focus_next", "Next field", show=False),
        Binding("shift+tab", "app.focus_previous", "Field before", show=False),
    ]

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        save: Callable[[dict[str, str]], str | None],
        draft: Mapping[str, str] | None = None,
        keep: Callable[[dict[str, str]], None] = lambda draft: None,
        focus: str = "",
    ) -> None:
        """`save` stores the texts and returns why that was not possible; the dialog then stays open."""
        super().__init__()
        self._title, self._fields = title, fields
        self._save, self._keep = save, keep
        self._draft = dict(draft or {})
        self._start = focus or fields[-1].name

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", can_focus=False):
            yield Static(Content.assemble((safe(self._title, keep_newlines=False), "bold")), id="title")
            for field in self._fields:
                if field.label:
                    yield Static(Content(field.label), classes="label")
                text = self._draft.get(field.name, field.text)
                if field.choices:
                    yield Choice(field.choices, text, id=f"field-{field.name}")
                else:
                    words = Words(text, id=f"field-{field.name}")
                    words.styles.height = field.height
                    yield words
            tab = " · tab next field" if len(self._fields) > 1 else ""
            yield Static(Content(f"enter saves · ctrl+j new line{tab} · esc leaves, draft kept"), id="keys")
            yield Static("", id="problem", markup=False)

    def on_mount(self) -> None:
        for field in self._fields:
            if not field.choices:
                words = self.query_one(f"#field-{field.name}", Words)
                words.move_cursor(words.document.end)
        self.query_one(f"#field-{self._start}").focus()

    def texts(self) -> dict[str, str]:
        found = {}
        for field in self._fields:
            widget = self.query_one(f"#field-{field.name}")
            found[field.name] = widget.chosen if isinstance(widget, Choice) else widget.text  # type: ignore[attr-defined]
        return found

    def on_words_saved(self) -> None:
        texts = self.texts()
        problem = self._save(texts)
        if problem:
            said = self.query_one("#problem", Static)
            said.update(Content(safe(problem, keep_newlines=False)))
            said.add_class("said")
            # It stands below the fields, of which there may be more than the screen has lines.
            self.call_after_refresh(said.scroll_visible, animate=False)
            return
        self._keep({})
        self.dismiss(texts)

    def action_leave(self) -> None:
        self._keep(self.texts())
        self.dismiss(None)


class OneOf(ModalScreen[str | None]):
    """A question that one key answers."""

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = ""

    def __init__(self, title: str, answers: Mapping[str, tuple[str, str]]) -> None:
        """`answers`: key → (what it gives, what it says)."""
        super().__init__()
        self._title, self._answers = title, answers

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", can_focus=False):
            yield Static(Content.assemble((safe(self._title, keep_newlines=False), "bold")), id="title")
            for key, (_, says) in self._answers.items():
                yield Static(Content.assemble((f" {key}  ", "bold $text-accent"), says))
            yield Static(Content("esc leaves"), id="keys")

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            self.dismiss(None)
        elif event.character and event.character in self._answers:
            self.dismiss(self._answers[event.character][0])
        event.stop()
