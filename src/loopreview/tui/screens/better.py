"""A better reply: written, or drawn anew from the assistant and then accepted, changed or left."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from loopreview.rules.safe_text import safe
from loopreview.tui.counting import run_loopreview
from loopreview.tui.screens.dialog import Dialog, Field, Words

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview


class BetterReply(Dialog):
    """`ctrl+r` says what a call costs, once more makes it; the reply then stands in the field, unsaved."""

    app: "LoopReview"
    BINDINGS: ClassVar = [Binding("ctrl+r", "draw", "Draw anew", show=False, priority=True)]

    def __init__(
        self,
        transcript: str,
        exchange: int,
        reply: str,
        *,
        save: Callable[[dict[str, str]], str | None],
        draft: dict[str, str] | None,
        keep: Callable[[dict[str, str]], None],
    ) -> None:
        field = Field(
            "note", "The reply as it should have been · ctrl+r draws one from the assistant", reply, height=12
        )
        super().__init__(f"A better reply for exchange {exchange}", [field], save=save, draft=draft, keep=keep)
        self._at = ["review", "redraw", transcript, str(exchange), "--json"]
        self._agreed = False
        self.drawn = ""
        """The last reply that was drawn, as the field shows it."""
        self.model = ""
        """Who gave it."""

    def action_draw(self) -> None:
        self.run_worker(self._draw(), exclusive=True, group="draw", exit_on_error=False)

    async def _draw(self) -> None:
        agreed, self._agreed = self._agreed, False
        self._say("the assistant is asked …" if agreed else "counting the cost …")
        dry = [] if agreed else ["--dry-run"]
        # A process of its own: the LLM layer takes seconds to import.
        code, out, errors = await run_loopreview([*self._at, *dry, "-w", str(self.app.workspace.root)])
        try:
            found: dict[str, Any] = json.loads(out) if code == 0 else {}
        except ValueError:
            found = {}
        if code or not found:
            self._say(errors or "no reply could be drawn")
            return
        cost = found.get("cost_usd")
        price = "price unknown" if cost is None else f"about ${cost:.4f}"
        if not agreed:
            self._agreed = True
            self._say(f"1 call, {price} · ctrl+r again makes it")
            return
        words = self.query_one("#field-note", Words)
        self.drawn, self.model = safe(str(found["text"])), str(found.get("model") or "")
        words.select_all()
        words.replace(self.drawn, *words.selection)
        self._say("drawn anew · enter takes it · change it first if you like · ctrl+r draws another · esc leaves")

    def _say(self, text: str) -> None:
        said = self.query_one("#problem", Static)
        said.update(Content(safe(text, keep_newlines=False)))
        said.add_class("said")
