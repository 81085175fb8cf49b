"""The lines and cards around the transcript, as pure text."""

from typing import Any

import pytest

from loopreview import standing
from loopreview.rules.review import flags
from loopreview.tui import keys
from loopreview.tui.books import WorkspaceBooks
from loopreview.tui.filters import FILTERS, passes
from loopreview.tui.review_desk import Desk
from loopreview.tui.search import Search
from loopreview.tui.widgets.card import card, why
from loopreview.tui.widgets.criteria import criteria_list, ribbon
from loopreview.tui.wording import header, next_line

SPLIT = {"U1": "NNY", "T1": "YNY"}


def desk_of(workspace: Any) -> Desk:
    standing.refresh(workspace)
    desk = Desk(WorkspaceBooks(workspace, "ann"))
    desk.start()
    return desk


def test_the_ribbon_tells_judges_from_me_and_asked_from_not_asked(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([{**SPLIT, "T2": "XXX"}]))
    desk.say("YES")
    assert ribbon(desk, 80).plain.split() == ["U1y", "T1?", "│U2Y", "T2X", "S1Y"]
    assert "U1y" in [span_text(ribbon(desk, 80), span) for span in ribbon(desk, 80).spans]


def span_text(content: Any, span: Any) -> str:
    return str(content.plain[span.start : span.end])


@pytest.mark.parametrize("width", [10, 14, 20, 30])
def test_a_narrow_ribbon_shows_the_part_around_the_cursor(make_workspace: Any, width: int) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    for criterion in desk.rows:
        desk.go_to(criterion)
        shown = ribbon(desk, width).plain
        assert criterion in shown and len(shown.rstrip()) <= width


def test_a_row_of_the_list_has_each_judge_the_merged_answer_and_me(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([{**SPLIT, "S1": "NEY"}]))
    desk.say("NO")
    lines = criteria_list(desk, 60, 20).plain.split("\n")
    assert lines[0].startswith("to answer 2 of 3") and lines[0].rstrip().endswith("g s q  all me")
    assert lines[1].startswith(" S1 !No unsafe advice") and lines[1].rstrip().endswith("N E Y ≠NO  n·")
    assert lines[2].startswith(">U1  Answers what was asked") and lines[2].rstrip().endswith("N N Y ≠NO   ·")
    assert lines[4].startswith("─ not asked of you ─")
    assert max(map(len, lines)) <= 60


def test_a_long_list_keeps_the_cursor_in_view(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    for criterion in desk.rows:
        desk.go_to(criterion)
        lines = criteria_list(desk, 50, 4).plain.split("\n")
        assert len(lines) == 4 and any(line.startswith(f">{criterion}") for line in lines)


@pytest.mark.parametrize(("width", "height"), [(76, 8), (38, 8), (20, 5), (76, 3)])
def test_the_card_fits_its_room(make_workspace: Any, width: int, height: int) -> None:
    desk = desk_of(make_workspace([SPLIT], reasoning="word " * 300))
    lines = card(desk, width, height).plain.split("\n")
    assert len(lines) <= height and max(map(len, lines)) <= width
    if height > 5:
        assert lines[-1].endswith("… z why")


def test_why_has_every_judge_and_scrolls(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT], reasoning="word " * 60))
    text, most = why(desk, 60, 100)
    assert most == 0 and all(f"{judge} " in text.plain for judge in ("gpt NO:", "son NO:", "qwn YES:"))
    first, most = why(desk, 60, 12)
    last, _ = why(desk, 60, 12, offset=most)
    assert most > 0 and first.plain != last.plain and last.plain.startswith("U1 ")


def test_a_misquote_is_said_and_nothing_is_lit(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT], quote="words that stand nowhere"))
    assert desk.stop and desk.stop.span is None
    assert "not found there" in card(desk, 76, 8).plain
    assert "is not in exchange 2" in " ".join(why(desk, 60, 100)[0].plain.split())


def test_the_same_words_of_a_counter_quote_are_said_to_be_against(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    assert desk.stop is not None and not desk.stop.against


def test_the_next_line_says_what_enter_would_do(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    assert next_line(desk, 100).plain == "→ enter: I agree, NO · then T1 Sounds warm (2 to answer)"
    desk.say("YES")
    assert next_line(desk, 100).plain == "→ false negative · c example · b blame · e edit · enter next"
    desk.agree(), desk.agree()
    assert "all answered: A approves, R rejects" in next_line(desk, 100).plain


def test_the_header_drops_the_numbers_where_there_is_no_room(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    numbers = {
        "batches": [{"id": 1, "decided": 0, "n": 1}],
        "gate": {"n": 15, "passed": 9, "advice": "iterate"},
    }
    wide = header(desk, numbers, 1, 80).plain
    assert wide.startswith(" 1/1 1-1 Person 1 talk1  FAIL") and wide.endswith(
        "batch 1: 0/1 decided · gate 9/15 iterate"
    )
    assert len(header(desk, numbers, 1, 40).plain) <= 40
    desk.set_blind(True)
    blind = header(desk, numbers, 1, 80).plain
    assert "gate" not in blind and "FAIL" not in blind


def test_the_footer_drops_words_but_never_help() -> None:
    full = keys.footer(keys.REVIEW_FOOTER, {}, 80)
    assert full == "y n x say · enter agree · tab quote · space read · A R decide · u undo · ? all"
    assert keys.footer(keys.REVIEW_FOOTER, {}, 40).endswith("? all")
    assert keys.footer(keys.REVIEW_FOOTER, {"review.yes": "t"}, 80).startswith("t n x say")
    assert len(keys.REVIEW_FOOTER) <= 8 and len(keys.LOOP_FOOTER) <= 8


def test_no_key_of_a_screen_does_two_things() -> None:
    for screen in (keys.LOOP, keys.REVIEW):
        pressed = [key for entry in (*screen, *keys.APP) for key in entry.keys.split(",")]
        assert len(pressed) == len(set(pressed))


def test_no_key_is_one_that_terminals_eat() -> None:
    pressed = {key for entry in (*keys.APP, *keys.LOOP, *keys.REVIEW) for key in entry.keys.split(",")}
    assert not pressed & {"ctrl+s", "ctrl+b", "ctrl+enter"} and not any("alt" in key for key in pressed)


def test_filters_choose_by_what_was_said(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT, {}, {"T2": "NNN"}])
    desk = desk_of(workspace)
    books = desk.books
    assert isinstance(books, WorkspaceBooks)
    found: dict[str, list[str]] = {}
    for talk, answer in (("1-1", "YES"), ("1-2", "NO")):
        desk.open(talk)
        desk.go_to("U1")
        desk.say(answer)  # type: ignore[arg-type]
    standing.refresh(workspace)
    books.filter_criterion = "T2"
    for books.filter in FILTERS:
        found[books.filter] = [id for id, _ in books.queue()]
    assert found == {
        "all": ["1-1", "1-2", "1-3"],
        "unreviewed": ["1-3"],
        "disagreements": ["1-1"],
        "false positives": ["1-2"],
        "false negatives": ["1-1"],
        "failing": ["1-3"],
        "open": [],
    }
    # The same as what is counted as flags.
    for talk in ("1-1", "1-2", "1-3"):
        stands = standing.of(workspace, talk)
        counted = flags(stands.assessment, stands.review)
        assert passes("false positives", stands.assessment, "") == bool(counted.false_positive)
        assert passes("false negatives", stands.assessment, "") == bool(counted.false_negative)


def test_search_goes_round_its_matches(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([{}]))
    assert desk.sheet is not None
    search = Search()
    search.run(desk.sheet.sections, "REPLY")
    assert len(search.found) == 3 and str(search).startswith("“REPLY” 1/3")
    search.step(-1)
    assert search.at == 2
    search.run(desk.sheet.sections, "  ")
    assert search.found == []
