"""The parts of the Review screen, painted from what its desk, books and search know."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from loopreview.tui import keys
from loopreview.tui.sheet import spans_of
from loopreview.tui.widgets.card import card, why
from loopreview.tui.widgets.criteria import criteria_list, ribbon
from loopreview.tui.widgets.transcript_view import Span
from loopreview.tui.wording import header, next_line, status

if TYPE_CHECKING:
    from loopreview.tui.screens.review import Review


class Painting:
    """Remembers what is on the screen, so that a part that stays as it was is not painted again."""

    def __init__(self, screen: "Review") -> None:
        self.screen = screen
        self.why_offset = 0
        """Lines by which what the judges say was scrolled by hand."""
        self._shown: dict[str, Content] = {}
        self._lit: object = None

    def _put(self, id: str, content: Content) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.screen.query_one(f"#{id}", Static).update(content, layout=False)

    def light(self) -> None:
        """Mark what there is to mark in the text, and scroll to what is lit where that changed."""
        screen, desk = self.screen, self.screen.desk
        sheet, text, search = desk.sheet, screen.text, screen.search
        if sheet is None:
            self._lit = None
            return
        text.set_notes({} if desk.blind else screen.books.section_notes(sheet))
        if search.query:
            spans, lit = search.found, search.at if search.found else None
        else:
            spans, lit = spans_of(desk.stops, desk.quote)
        now = (sheet.key, sheet.id, desk.cursor, desk.quote, desk.blind, search.query, search.at)
        moved, self._lit = now != self._lit, now
        if moved:
            self.why_offset = 0
        text.light([Span(*span) for span in spans], lit, scroll=moved)
        stop = desk.stop
        if moved and lit is None and not search.query and stop is not None and stop.section is not None:
            text.scroll_to_section(stop.section)

    def lines(self) -> None:
        """Everything around the text."""
        screen, desk, width = self.screen, self.screen.desk, self.screen.size.width
        batch = desk.sheet.transcript.batch if desk.sheet else screen.books.batch
        self._put("top", header(desk, screen.app.status, batch, width))
        self.status()
        right = screen.query_one("#right")
        if right.display:
            self._beside(right.size.width - 2, right.size.height)
        else:
            self._put("ribbon", ribbon(desk, width - 2))
            self._below(width - 4, max(3, screen.query_one("#card").size.height - 1))
        self.next_line()
        self._put("foot", Content(keys.footer(keys.REVIEW_FOOTER, screen.app.keymap, width - 2)))

    def status(self) -> None:
        """The line over the text."""
        screen = self.screen
        beside = str(screen.search)
        if not beside and screen.books.filter:
            beside = f"filter: {screen.books.filter_name} · esc leaves"
        text = screen.text
        self._put("status", status(screen.desk, text.section_in_view, text.share_shown, beside, screen.size.width))

    def next_line(self) -> None:
        """What happened, or what the next key would do."""
        self._put("next", next_line(self.screen.desk, self.screen.size.width - 2))

    def _beside(self, width: int, height: int) -> None:
        """The criteria, and under them what the judges say."""
        desk, view = self.screen.desk, self.screen.view
        rows = 0
        if view != "why":
            wanted = len(desk.rows) + (2 if desk.not_asked else 1)
            most = height if view == "list" else max(4, min(wanted, height * 3 // 5))
            rows = min(wanted, most)
            self.screen.query_one("#list").styles.height = rows
            self._put("list", criteria_list(desk, width, most))
        self._put("why", self._why(width, max(3, height - rows - 1)))

    def _below(self, width: int, height: int) -> None:
        """The card under the text, or what takes its place."""
        if self.screen.view == "why":
            content = self._why(width, height)
        else:
            content = (criteria_list if self.screen.view == "list" else card)(self.screen.desk, width, height)
        self._put("card", content)

    def _why(self, width: int, height: int) -> Content:
        content, most = why(self.screen.desk, width, height, self.why_offset)
        self.why_offset = min(self.why_offset, most)
        return content
