"""The transcript: one scroll view that paints lines."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from loopreview.tui.page import BLANK, HEADER, MAX_WIDTH, USER_INDENT, Page, PageCache, Section

INDENT = 2
"""Margin for the marks, and a space."""


class Span(NamedTuple):
    """A stretch of a section's shown text."""

    section: int
    start: int
    end: int


class Place(NamedTuple):
    """Where the reader is: a character of a section, so many rows below the top of the view."""

    section: int
    offset: int
    row: int


class TranscriptView(ScrollView, can_focus=False):
    """Paints a transcript with the lit quote, the other quotes, and who speaks.

    The lit quote is reverse and bold with `▌` in the margin, the others are underlined with `┆`; the user's words
    stand behind a bar. The share of lines that was on the screen is kept per transcript.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "transcript--user",
        "transcript--speaker",
        "transcript--rule",
        "transcript--lit",
        "transcript--quote",
        "transcript--margin",
    }
    DEFAULT_CSS = """
    TranscriptView {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        & > .transcript--user { text-style: none; }
        & > .transcript--speaker { text-style: bold; color: $text-accent; }
        & > .transcript--rule { text-style: dim; }
        & > .transcript--lit { text-style: bold reverse; }
        & > .transcript--quote { text-style: underline; }
        & > .transcript--margin { color: $text-accent; text-style: bold; }
    }
    """

    class Moved(Message):
        """Other lines came into view."""

    class QuoteClicked(Message):
        def __init__(self, index: int) -> None:
            self.index = index
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cache = PageCache()
        self._key = ""
        self._sections: Sequence[Section] = ()
        self._page = Page((), MAX_WIDTH)
        self._notes: Mapping[int, str] = {}
        self._spans: Sequence[Span] = ()
        self._by_section: dict[int, list[int]] = {}
        self._lit: int | None = None
        self._seen: dict[str, tuple[Page, bytearray]] = {}
        self._pending: Place | None = None
        self._pending_span: Span | None = None

    # What is shown

    def show(self, key: str, sections: Sequence[Section], *, at: Place | None = None) -> None:
        """Show a transcript from its beginning, or from `at`. `key` names its content."""
        self._key, self._sections = key, sections
        self._spans, self._by_section, self._lit = (), {}, None
        self._notes = {}
        self._pending, self._pending_span = at or Place(0, 0, 1), None
        self._lay_out()

    def set_notes(self, notes: Mapping[int, str]) -> None:
        """Remarks beside the speaker, by section."""
        if notes != self._notes:
            self._notes = dict(notes)
            self.refresh()

    def light(self, spans: Sequence[Span], lit: int | None, *, scroll: bool = True) -> None:
        """Mark these stretches, one of them lit, and scroll to it."""
        self._spans, self._lit = spans, lit
        self._by_section = {}
        for index, span in enumerate(spans):
            self._by_section.setdefault(span.section, []).append(index)
        if scroll and lit is not None:
            self.scroll_to_span(spans[lit])
        self.refresh()

    def scroll_to_span(self, span: Span) -> None:
        """Bring a stretch into view with some of what stands before it. It stays put where all of it is in view."""
        if not self._page.lines or not self._height:
            self._pending_span = span
            return
        first = self._page.line_of(span.section, span.start)
        last = self._page.line_of(span.section, max(span.start, span.end - 1))
        top = round(self.scroll_y)
        if top <= first and last < top + self._height:
            return
        lead = max(0, min(self._height // 3, self._height - (last - first + 1)))
        self._to(first - lead)

    def scroll_to_section(self, section: int) -> None:
        """Put a speaker's header at the top."""
        if section < len(self._page.first):
            self._to(self._page.first[section])

    # Reading

    def read(self, pages: float) -> bool:
        """Scroll by `pages` screens, two lines kept in view; False at the end there."""
        step = max(1, round(abs(pages) * self._height) - 2)
        return self._to(round(self.scroll_y) + (step if pages > 0 else -step))

    def read_exchange(self, step: int) -> bool:
        """Scroll to the next or the last beginning of an exchange; False at the end there."""
        starts = [
            line
            for number, line in enumerate(self._page.first)
            if number == 0 or self._sections[number].exchange != self._sections[number - 1].exchange
        ]
        top = round(self.scroll_y)
        if step > 0:
            return self._to(next((line for line in starts if line > top), self._page.height))
        return self._to(next((line for line in reversed(starts) if line < top), 0))

    def read_end(self, bottom: bool) -> bool:
        return self._to(self._page.height if bottom else 0)

    @property
    def section_in_view(self) -> int:
        """The section of the lit quote where that is in view, else the one at the top."""
        top = round(self.scroll_y)
        if self._lit is not None and self._page.lines:
            span = self._spans[self._lit]
            first = self._page.line_of(span.section, span.start)
            last = self._page.line_of(span.section, max(span.start, span.end - 1))
            if first < top + self._height and last >= top:
                return span.section
        if self._page.lines and top < self._page.height and self._page.lines[top][1] == BLANK:
            top += 1
        return self._page.section_at(top)

    @property
    def place(self) -> Place:
        """The first line in view, for coming back to it."""
        if not self._page.lines:
            return Place(0, 0, 0)
        top = min(round(self.scroll_y), self._page.height - 1)
        section, start, _ = self._page.lines[top]
        return Place(section, max(0, start), 0 if start >= 0 else -1)

    @property
    def share_shown(self) -> float:
        """The share of this transcript's lines that was in view, 0 to 1."""
        page, seen = self._seen.get(self._key, (self._page, bytearray()))
        return seen.count(1) / len(page.lines) if page.lines and seen else 0.0

    def plain_line(self, y: int) -> str:
        """The text of a painted line, marks and bars left out."""
        if not 0 <= y < self._page.height:
            return ""
        section, start, end = self._page.lines[y]
        if start >= 0:
            return self._sections[section].text[start:end]
        return self._speaker(section) if start == HEADER else ""

    # Layout

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width - INDENT
        if width <= 0 or not self._key:
            return
        old, place = self._page, self._pending
        if place is None and old.lines and old.sections is self._sections:
            place = self._anchor()
        page = self._cache.page(self._key, self._sections, width)
        self._page = page
        self._seen[self._key] = (page, _translate(self._seen.get(self._key), page))
        self.virtual_size = Size(self.scrollable_content_region.width, page.height)
        if place is not None and page.lines:
            line = page.line_of(place.section, place.offset) if place.offset else page.first[place.section] + 1
            self._to(line - place.row)
        self._pending = None
        if self._pending_span is not None and page.lines:
            span, self._pending_span = self._pending_span, None
            self.scroll_to_span(span)
        self._look()
        self.refresh()

    def _anchor(self) -> Place:
        """What must not move while the width changes: the lit quote, else the top line."""
        top = round(self.scroll_y)
        if self._lit is not None:
            span = self._spans[self._lit]
            row = self._page.line_of(span.section, span.start) - top
            if 0 <= row < self._height:
                return Place(span.section, span.start, row)
        return self.place

    def _to(self, line: int) -> bool:
        """Scroll so that `line` is on top, as far as that goes; False where nothing moved."""
        target = max(0, min(line, self._page.height - self._height))
        if target == round(self.scroll_y):
            return False
        self.scroll_to(y=target, animate=False, force=True)
        return True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._look()

    def _look(self) -> None:
        """Take note of what is in view."""
        _, seen = self._seen.get(self._key, (None, bytearray()))
        top = round(self.scroll_y)
        bottom = min(top + self._height, len(seen))
        if bottom > top:
            seen[top:bottom] = b"\x01" * (bottom - top)
        self.post_message(self.Moved())

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        base = self.rich_style
        line = y + round(self.scroll_y)
        if line >= self._page.height:
            return Strip.blank(width, base)
        strip = Strip(self._segments(line, base)).adjust_cell_length(width, base)
        strip = self._with_selection(strip, line)
        return strip.apply_offsets(0, line)

    def _segments(self, y: int, base: Style) -> list[Segment]:
        section, start, end = self._page.lines[y]
        if start == BLANK:
            return [Segment("", base)]
        if start == HEADER:
            return self._header(section, base)
        role = self._sections[section].role
        text = self._sections[section].text
        part = self._part
        marks = [i for i in self._by_section.get(section, ()) if self._touches(i, start, end)]
        lit = self._lit in marks
        margin = "▌ " if lit else "┆ " if marks else "  "
        segments = [Segment(margin, base + part("margin") if marks else base)]
        plain = base
        if role != "assistant":
            plain = base + part("user")
            if role == "user":
                segments.append(Segment("│".ljust(USER_INDENT), base + part("rule")))
        if not marks:
            segments.append(Segment(text[start:end], plain))
            return segments
        for first, last, index in self._runs(marks, start, end):
            style = plain
            if index is not None:
                style = base + part("lit") if index == self._lit else plain + part("quote")
            segments.append(Segment(text[first:last], style))
        return segments

    def _touches(self, index: int, start: int, end: int) -> bool:
        span = self._spans[index]
        return span.start < end and span.end > start

    def _runs(self, marks: Sequence[int], start: int, end: int) -> list[tuple[int, int, int | None]]:
        """The line cut where a mark begins or ends; the lit mark lies over the others."""
        spans = [(self._spans[i], i) for i in marks]
        cuts = {start, end}
        for span, _ in spans:
            cuts.update((max(start, span.start), min(end, span.end)))
        edges = sorted(cuts)
        found = []
        for first, last in pairwise(edges):
            over = [i for span, i in spans if span.start < last and span.end > first]
            found.append((first, last, self._lit if self._lit in over else over[0] if over else None))
        return found

    def _speaker(self, section: int) -> str:
        part = self._sections[section]
        number = f"{part.exchange} " if part.exchange else ""
        note = self._notes.get(section, "")
        return f"{number}{part.role}" + (f" · {note}" if note else "")

    def _header(self, section: int, base: Style) -> list[Segment]:
        name = self._speaker(section)
        rule = "─" if self._sections[section].role == "assistant" else "┄"
        rest = max(0, self._page.width + INDENT - len(name) - 3)
        style = base + self._part("rule")
        return [
            Segment(rule + " ", style),
            Segment(name, base + self._part("speaker")),
            Segment(" " + rule * rest, style),
        ]

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"transcript--{name}", partial=True)

    # Mouse

    def _with_selection(self, strip: Strip, y: int) -> Strip:
        selection = self.text_selection
        span = selection.get_span(y) if selection is not None else None
        if span is None:
            return strip
        start, end = span
        end = strip.cell_length if end == -1 else min(end, strip.cell_length)
        if start >= end:
            return strip
        before, chosen, after = strip.divide([start, end, strip.cell_length])
        style = self.screen.get_component_rich_style("screen--selection")
        return Strip.join([before, chosen.apply_style(style), after])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What the mouse selected, without marks and bars."""
        lines = []
        for y in range(self._page.height):
            section, start, _ = self._page.lines[y]
            indent = INDENT + (USER_INDENT if start >= 0 and self._sections[section].role == "user" else 0)
            lines.append(" " * indent + self.plain_line(y))
        found = selection.extract("\n".join(lines))
        return "\n".join(line.strip() for line in found.split("\n")), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        line = event.y + round(self.scroll_y)
        if not 0 <= line < self._page.height:
            return
        section, start, end = self._page.lines[line]
        hit = [i for i in self._by_section.get(section, ()) if start >= 0 and self._touches(i, start, end)]
        if hit:
            self.post_message(self.QuoteClicked(hit[0]))


def _translate(old: tuple[Page, bytearray] | None, page: Page) -> bytearray:
    """Which lines of `page` were seen, given those seen at another width."""
    if old is None or old[0].sections is not page.sections:
        return bytearray(page.height)
    if old[0] is page:
        return old[1]
    before, seen = old
    found = bytearray(page.height)
    for y, (section, start, end) in enumerate(page.lines):
        found[y] = seen[before.line_of(section, (start + end) // 2) if start >= 0 else before.first[section]]
    return found
