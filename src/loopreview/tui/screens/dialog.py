"""Small questions: a few texts, or one of several answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from loopreview.rules.safe_text import safe


class Field(NamedTuple):
    """One text, or with `choices` one of several words. Without a label it belongs to the field above. `hint`: what
    helps to answer, below the label."""

    name: str
    label: str
    text: str = ""
    choices: tuple[str, ...] = ()
    height: int = 3
    hint: str = ""


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
    """One of several words; left, right and space go through them, a letter takes the one that begins with it."""

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

    def on_resize(self) -> None:
        self._paint()

    def on_key(self, event: events.Key) -> None:
        typed = (event.character or " ").casefold()
        found = next((word for word in self.choices if word.casefold().startswith(typed)), None)
        if found is not None:
            self.chosen = found
            self._paint()

    def action_step(self, step: int) -> None:
        self.chosen = self.choices[(self.choices.index(self.chosen) + step) % len(self.choices)]
        self._paint()

    def action_save(self) -> None:
        self.post_message(Words.Saved())

    def _paint(self) -> None:
        """The words from the first on; where there is no room for all, those around the chosen one between `‹ ›`."""
        at, room = self.choices.index(self.chosen), self.size.width or 80
        first = 0
        while first < at and _cells(self.choices[first : at + 1]) + 4 > room:
            first += 1
        last = len(self.choices)
        while last > at + 1 and _cells(self.choices[first:last]) + 4 > room:
            last -= 1
        pieces: list[tuple[str, str]] = [("‹ ", "")] if first else []
        for word in self.choices[first:last]:
            pieces += [
                (f" {safe(word, keep_newlines=False)} ", "bold reverse" if word == self.chosen else ""),
                (" ", ""),
            ]
        if last < len(self.choices):
            pieces.append(("›", ""))
        self.update(Content.assemble(*pieces))


def _cells(words: Sequence[str]) -> int:
    return sum(cell_len(word) + 3 for word in words)


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
        keep: Callable[[dict[str, str]], None] | None = None,
        focus: str = "",
    ) -> None:
        """`save` stores the texts and returns why that was not possible; the dialog then stays open. `keep`
        is given the texts where the dialog is left without saving."""
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
                    label = Content(field.label)
                    if field.hint:
                        label = Content.assemble((field.label, "bold"), f"\n{field.hint}")
                    yield Static(label, classes="label", id=f"label-{field.name}")
                text = self._draft.get(field.name, field.text)
                if field.choices:
                    yield Choice(field.choices, text, id=f"field-{field.name}")
                else:
                    words = Words(text, id=f"field-{field.name}")
                    words.styles.height = field.height
                    yield words
            tab = " · tab next field" if len(self._fields) > 1 else ""
            kept = ", draft kept" if self._keep is not None else ""
            line = " · ctrl+j new line" if any(not field.choices for field in self._fields) else ""
            with Vertical(id="below"):
                yield Static(Content(f"enter saves{line}{tab} · esc leaves{kept}"), id="keys")
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
            return
        if self._keep is not None:
            self._keep({})
        self.dismiss(texts)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """What is asked is seen where one answers it, from its first line on."""
        name, asked = (event.widget.id or "").removeprefix("field-"), ""
        for field in self._fields:
            asked = f"#label-{field.name}" if field.label else asked
            if field.name == name and asked:
                box, label = self.query_one("#box"), self.query_one(asked)
                self.call_after_refresh(box.scroll_to_widget, label, top=True, animate=False, force=True)

    def action_leave(self) -> None:
        if self._keep is not None:
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
