"""How a transcript falls into lines: pure layout, without Textual.

Offsets are into a section's *shown* text, which is the message after `safe_text`; `shown_span` takes a place in the
original there. A page is a list of `(section, start, end)`: `start` is HEADER for the line that names the speaker
and BLANK for the empty line after a section.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from rich.cells import get_character_cell_size

from loopreview.models.transcript import Message, exchanges_of
from loopreview.rules.safe_text import safe

HEADER, BLANK = -1, -2
MAX_WIDTH = 96
USER_INDENT = 2
"""The user's words stand this much further in, behind a bar."""

Line = tuple[int, int, int]


class Section(NamedTuple):
    """One speaker's part of an exchange. `exchange` is 0 for what comes before the first."""

    exchange: int
    role: str
    raw: str
    text: str


def sections_of(messages: Sequence[Message]) -> list[Section]:
    """The parts of a transcript in reading order. A user message that nobody answered is there too."""
    found: list[Section] = []

    def add(exchange: int, role: str, raw: str) -> None:
        found.append(Section(exchange, role, raw, safe(raw)))

    for message in messages:
        if message.role == "system":
            add(0, "system", message.text)
    tools = _tools(messages)
    exchanges = exchanges_of(list(messages))
    for exchange in exchanges:
        if exchange.user:
            add(exchange.number, "user", exchange.user)
        for text in tools.get(exchange.number, ()):
            add(exchange.number, "tool", text)
        add(exchange.number, "assistant", exchange.assistant)
    for message in _unanswered(messages):
        add(len(exchanges) + 1, "user", message.text)
    return found


def _tools(messages: Sequence[Message]) -> dict[int, list[str]]:
    """Exchange number → what the tools said in it."""
    found: dict[int, list[str]] = {}
    for number, message in _numbered(messages):
        if message.role == "tool":
            found.setdefault(number, []).append(message.text)
    return found


def broken_limits(messages: Sequence[Message]) -> dict[tuple[int, str], str]:
    """(exchange, role) → the limits that what was generated there is outside of, in words."""
    found: dict[tuple[int, str], str] = {}
    for number, message in _numbered(messages):
        if message.extra.get("marks"):
            # Without why the limit is what it is: the line has room for one sentence.
            said = ", ".join(str(mark).partition(" (")[0] for mark in message.extra["marks"])
            found[number, message.role] = f"kept outside its limits: {clip(said, 60)}"
    return found


def _numbered(messages: Sequence[Message]) -> Iterator[tuple[int, Message]]:
    """Each message with the number of its exchange."""
    number, replied = 1, False
    for message in messages:
        if message.role == "user" and replied:
            number, replied = number + 1, False
        elif message.role == "assistant":
            replied = True
        yield number, message


def _unanswered(messages: Sequence[Message]) -> list[Message]:
    waiting: list[Message] = []
    for message in messages:
        if message.role == "user":
            waiting.append(message)
        elif message.role == "assistant":
            waiting.clear()
    return waiting


def shown_span(section: Section, start: int, end: int) -> tuple[int, int]:
    """A span of the original text as a span of the shown text."""
    if section.raw is section.text or section.raw == section.text:
        return start, end
    first = len(safe(section.raw[:start]))
    return first, first + len(safe(section.raw[start:end]))


class Page:
    """A transcript at one width."""

    def __init__(self, sections: Sequence[Section], width: int) -> None:
        """`width` is that of the text in cells, indent not counted; it is held between 8 and 96."""
        self.sections = sections
        self.width = max(8, min(width, MAX_WIDTH))
        self.lines: list[Line] = []
        self.first: list[int] = []
        """The header's line of each section."""
        for number, section in enumerate(sections):
            self.first.append(len(self.lines))
            self.lines.append((number, HEADER, HEADER))
            room = self.width - USER_INDENT if section.role == "user" else self.width
            wrap(section.text, room, number, self.lines)
            self.lines.append((number, BLANK, BLANK))

    @property
    def height(self) -> int:
        return len(self.lines)

    def section_at(self, line: int) -> int:
        """The section that a line belongs to."""
        return self.lines[max(0, min(line, len(self.lines) - 1))][0] if self.lines else 0

    def line_of(self, section: int, offset: int) -> int:
        """The line on which a character of a section stands."""
        first = self.first[section] + 1
        after = self.first[section + 1] if section + 1 < len(self.first) else len(self.lines)
        found = bisect_right(self.lines, offset, first, max(first, after - 1), key=lambda line: line[1]) - 1
        return max(first, found)

    def text(self, line: int) -> str:
        section, start, end = self.lines[line]
        return self.sections[section].text[start:end] if start >= 0 else ""


def wrap(text: str, width: int, section: int, lines: list[Line]) -> None:
    """Append the lines of `text`, broken at spaces to at most `width` cells; a word longer than that is cut.
    Line breaks and leading spaces are kept."""
    single = _single_cells().issuperset
    start, length = 0, len(text)
    while start <= length:
        end = text.find("\n", start)
        if end < 0:
            end = length
        if end - start <= width and text.isascii():
            lines.append((section, start, end))
        elif single(text[start:end]):
            _wrap_single(text, start, end, width, section, lines)
        else:
            _wrap_cells(text, start, end, width, section, lines)
        start = end + 1


def fold(text: str, width: int) -> list[str]:
    """Any text made safe and broken into lines of at most `width` cells."""
    shown = safe(text)
    lines: list[Line] = []
    wrap(shown, max(1, width), 0, lines)
    return [shown[start:end] for _, start, end in lines]


def clip(text: str, width: int) -> str:
    """One line of any text, made safe, at most `width` cells, with `…` where something was cut."""
    if width <= 0:
        return ""
    line = safe(" ".join(text[: 8 * width + 200].split()), keep_newlines=False)
    used = 0
    for position, character in enumerate(line):
        used += cells_of(character)
        if used > width:
            kept = line[:position]
            while kept and sum(map(cells_of, kept)) > width - 1:
                kept = kept[:-1]
            return kept + "…"
        if position > 4 * width + 40:  # a storm of marks without width
            return line[:position] + "…"
    return line


def _wrap_single(text: str, start: int, end: int, width: int, section: int, lines: list[Line]) -> None:
    indent = start
    while indent < end and text[indent] == " ":
        indent += 1
    while end - start > width:
        cut = text.rfind(" ", start, start + width + 1)
        if cut <= max(start, indent):
            lines.append((section, start, start + width))
            start += width
            continue
        stop = cut
        while stop > start and text[stop - 1] == " ":
            stop -= 1
        lines.append((section, start, stop))
        start = cut + 1
        while start < end and text[start] == " ":
            start += 1
    lines.append((section, start, end))


def _wrap_cells(text: str, start: int, end: int, width: int, section: int, lines: list[Line]) -> None:
    """Characters of two cells may be broken at on either side; those of none stay with the one before."""
    while start < end:
        position = break_at = start
        used, before = 0, 1
        while position < end:
            character = text[position]
            cells = cells_of(character)
            if position > start and cells and (cells == 2 or before == 2 or text[position - 1] == " "):
                break_at = position
            if used + cells > width and position > start:
                break
            used += cells
            before = cells or before
            position += 1
        else:
            break
        if text[position] == "\ufe0f" and position - 1 > start:
            position -= 1
        cut = break_at if text[position] != " " and text[start:break_at].strip(" ") else position
        stop = cut
        while stop > start and text[stop - 1] == " ":
            stop -= 1
        lines.append((section, start, stop))
        start = cut
        while start < end and text[start] == " ":
            start += 1
        if start >= end:
            return
    lines.append((section, start, end))


@cache
def cells_of(character: str) -> int:
    """Cells that a character takes. A variation selector may make the one before it wider: counted as one."""
    if not character:
        return 1
    return 1 if character == "\ufe0f" else get_character_cell_size(character)


@cache
def _single_cells() -> frozenset[str]:
    """Characters of one cell that prose is made of: Latin, Greek, Cyrillic, typographic marks, arrows, boxes."""
    ranges = (
        (0x20, 0x7F), (0xA0, 0xAD), (0xAE, 0x300), (0x370, 0x483), (0x2010, 0x2028), (0x2030, 0x205F),
        (0x20A0, 0x20C0), (0x2190, 0x2200), (0x2400, 0x2427), (0x2500, 0x25FD), (0x27E8, 0x27EA),
    )  # fmt: skip
    return frozenset(chr(n) for low, high in ranges for n in range(low, high) if get_character_cell_size(chr(n)) == 1)


class PageCache:
    """The last few pages, by transcript content and width."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._pages: OrderedDict[tuple[str, int], Page] = OrderedDict()

    def page(self, key: str, sections: Sequence[Section], width: int) -> Page:
        """`key` names the content, such as the transcript's hash."""
        found = self._pages.get((key, width))
        if found is None:
            found = self._pages[key, width] = Page(sections, width)
            if len(self._pages) > self._size:
                self._pages.popitem(last=False)
        self._pages.move_to_end((key, width))
        return found
