"""Reading a transcript and searching it: the keys that never write."""

from typing import TYPE_CHECKING

from textual import on
from textual.screen import Screen
from textual.widgets import Input

from loopreview.tui.review_desk import Desk, Hint
from loopreview.tui.search import Search
from loopreview.tui.widgets.transcript_view import TranscriptView

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview


class Reading(Screen[None]):
    """A screen with a transcript (`text`), a field `#search`, and a desk whose hint says what a key came to."""

    app: "LoopReview"
    text: TranscriptView
    desk: Desk

    def __init__(self) -> None:
        super().__init__()
        self.search = Search()
        self._top_pressed_at = 0.0

    def repaint(self) -> None:
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Show a hint without painting all else anew."""
        raise NotImplementedError

    def find(self, words: str) -> None:
        """Search what is open for `words`."""
        raise NotImplementedError

    def left_search(self) -> None:
        """`esc` was pressed, and there was no search to leave."""

    def action_read(self, pages: int) -> None:
        if not self.text.read(pages):
            self.say("the end of the transcript" if pages > 0 else "the beginning of the transcript")

    def action_exchange(self, step: int) -> None:
        if not self.text.read_exchange(step):
            self.say("the last exchange" if step > 0 else "the first exchange")

    def action_top(self) -> None:
        now = self.app.key_at
        if now - self._top_pressed_at < 1.0:
            self.text.read_end(bottom=False)
        self._top_pressed_at = now

    def action_end(self) -> None:
        self.text.read_end(bottom=True)

    def action_search(self) -> None:
        field = self.query_one("#search", Input)
        field.value = ""
        self.desk.hint = None
        self.add_class("searching")
        field.focus()

    def action_leave(self) -> None:
        """Leave the search, else the filter."""
        self.desk.hint = None
        if self.has_class("searching") or self.search.query:
            self._close_search()
            self.search.clear()
        else:
            self.left_search()
        self.repaint()

    def _close_search(self) -> None:
        self.remove_class("searching")
        self.set_focus(None)

    @on(Input.Changed, "#search")
    def _search_for(self, event: Input.Changed) -> None:
        if self.has_class("searching"):
            self.find(event.value)
            self.repaint()

    @on(Input.Submitted, "#search")
    def _search_done(self) -> None:
        self._close_search()
        if not self.search.found:
            self.desk.hint = Hint(f"nothing found for “{self.search.query}”")
            self.search.clear()
        self.repaint()
