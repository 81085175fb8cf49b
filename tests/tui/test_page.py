"""How transcripts fall into lines."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from loopreview.models.transcript import Message
from loopreview.tui.page import BLANK, HEADER, Line, Page, PageCache, Section, sections_of, shown_span, wrap


def wrapped(text: str, width: int) -> list[str]:
    lines: list[Line] = []
    wrap(text, width, 0, lines)
    return [text[start:end] for _, start, end in lines]


def test_lines_break_at_spaces_and_keep_the_writers_own_breaks() -> None:
    assert wrapped("one two three\n\n  four", 9) == ["one two", "three", "", "  four"]


def test_a_word_longer_than_the_line_is_cut() -> None:
    assert wrapped("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]


def test_wide_characters_break_anywhere_and_count_twice() -> None:
    assert wrapped("漢字漢字漢", 5) == ["漢字", "漢字", "漢"]


def test_a_combining_mark_stays_with_its_letter() -> None:
    text = "e\u0301" * 6
    assert wrapped(text, 4) == ["e\u0301" * 4, "e\u0301" * 2]


texts = st.text(st.sampled_from("ab  \n漢字é\u0301—’🙂x"), max_size=80)


@given(texts, st.integers(2, 12))
def test_no_line_is_too_wide_and_nothing_but_spaces_is_lost(text: str, width: int) -> None:
    lines: list[Line] = []
    wrap(text, width, 0, lines)
    assert all(cell_len(text[start:end]) <= width for _, start, end in lines)
    assert all(a[2] <= b[1] for a, b in pairwise(lines))
    shown = "".join(text[start:end] for _, start, end in lines)
    assert shown.replace(" ", "") == text.replace(" ", "").replace("\n", "")


def messages(*texts: str) -> list[Message]:
    return [Message(role="user" if n % 2 == 0 else "assistant", text=t) for n, t in enumerate(texts)]


def test_each_part_has_a_header_its_lines_and_a_blank() -> None:
    page = Page(sections_of(messages("hello", "hi there")), 40)
    assert page.lines[:3] == [(0, HEADER, HEADER), (0, 0, 5), (0, BLANK, BLANK)]
    assert page.lines[3:] == [(1, HEADER, HEADER), (1, 0, 8), (1, BLANK, BLANK)]
    assert page.section_at(4) == 1


def test_a_character_is_found_on_its_line() -> None:
    text = "\n".join(f"line {n}" for n in range(50))
    page = Page(sections_of(messages("q", text)), 40)
    line = page.line_of(1, text.index("line 37") + 3)
    assert page.text(line) == "line 37"
    assert page.text(page.line_of(1, len(text))) == "line 49"
    assert page.text(page.line_of(0, 0)) == "q"


def test_system_tool_and_unanswered_messages_are_shown_too() -> None:
    parts = sections_of(
        [
            Message(role="system", text="be kind"),
            Message(role="user", text="when?"),
            Message(role="assistant", text=""),
            Message(role="tool", text="noon"),
            Message(role="assistant", text="at noon"),
            Message(role="user", text="thanks"),
        ]
    )
    assert [(s.exchange, s.role, s.raw) for s in parts] == [
        (0, "system", "be kind"), (1, "user", "when?"), (1, "tool", "noon"), (1, "assistant", "at noon"),
        (2, "user", "thanks"),
    ]  # fmt: skip


def test_a_place_in_the_original_is_found_in_the_shown_text() -> None:
    section = sections_of(messages("a\x1b[31mred\u202e word"))[0]
    start = section.raw.index("word")
    first, last = shown_span(section, start, start + 4)
    assert section.text[first:last] == "word"
    assert "\x1b" not in section.text and "\u202e" not in section.text


def test_the_text_is_at_most_96_cells_wide() -> None:
    page = Page([Section(1, "assistant", "x" * 300, "x" * 300)], 200)
    assert max(end - start for _, start, end in page.lines) == 96


def test_pages_are_kept_by_content_and_width() -> None:
    cache = PageCache(2)
    parts = sections_of(messages("hello", "hi"))
    first = cache.page("k", parts, 40)
    assert cache.page("k", parts, 40) is first
    cache.page("k", parts, 41), cache.page("k", parts, 42)
    assert cache.page("k", parts, 40) is not first
