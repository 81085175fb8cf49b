"""What the Data screen says, without a screen: numbers, tables, the lit part, what comes next."""

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.tui.data_samples import AUDIT, COVERAGE, REPLY, TEXT, example, plan

from loopreview.tui import data_view
from loopreview.tui.audit_view import audit_lines, coverage_lines, thin
from loopreview.tui.data_view import Plan
from loopreview.tui.exporting import Exporter, Wish, remembered
from loopreview.tui.page import cells_of
from loopreview.tui.rendered import Rendered, shown
from loopreview.tui.widgets.card import Line
from loopreview.tui.widgets.histogram import bins, histogram, share_bar


def text(lines: Any) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def cells(line: Line) -> int:
    return sum(cells_of(character) for piece, _ in line for character in piece)


@pytest.mark.parametrize("lengths", [[1], [1, 2, 3], [999, 1000, 1001], [15_377, 812, 16_000], [1_000_000]])
@pytest.mark.parametrize("most", [1, 3, 8])
def test_bins_hold_every_length_once_and_none_is_above_the_limit(lengths: list[int], most: int) -> None:
    found = bins(lengths, max(lengths), most)
    assert len(found) <= most and sum(one.examples for one in found) == len(lengths)
    assert found[-1].high <= max(lengths) and all(a.high == b.low for a, b in pairwise(found))
    for one in found:
        assert one.examples == sum(one.low < length <= one.high for length in lengths)


def test_the_histogram_has_the_limit_and_what_is_over_it() -> None:
    said = text(histogram([900, 5200], 6000, 3, 60, 8))
    assert len(said) <= 8 and max(map(len, said)) <= 60
    assert any("limit 6,000" in line and "87 % of it" in line for line in said)
    assert "over it" in said[-1] and "░" in said[-1] and said[-1].endswith("3 left out")
    assert "█" in said[0] and "░" not in said[0], "what is left out differs by more than its colour"
    assert "»" in text(histogram([900], 6000, 500, 60, 8))[-1]
    assert text(histogram([], 6000, 4, 60, 8))[0].lstrip().startswith("limit 6,000")


def test_a_share_above_one_fills_the_bar() -> None:
    assert (share_bar(0, 4), share_bar(0.5, 4), share_bar(3, 4)) == ("░░░░", "██░░", "████")


@pytest.mark.parametrize("width", [30, 48, 78, 120])
def test_no_line_is_too_wide(width: int) -> None:
    made = Plan(plan(problem="1 group of transcripts cannot fill train, valid and test: 2 more are missing"))
    lines = [
        *data_view.overview(made, AUDIT, COVERAGE, width, 20), *data_view.overview(Plan(plan()), None, None, width, 20),
        *data_view.left_out_lines(made, max(40, width)), *data_view.examples_list(made, 2, width),
    ]  # fmt: skip
    assert max(map(cells, lines)) <= max(40, width)
    if width >= 48:
        tables = [*audit_lines(AUDIT, width, 20), *coverage_lines(COVERAGE, max(56, width))]
        assert max(map(cells, tables)) <= max(56, width)


def test_the_overview_counts_examples_splits_tokens_and_what_is_left_out() -> None:
    said = "\n".join(text(data_view.overview(Plan(plan()), AUDIT, COVERAGE, 78, 20)))
    assert "10 of 100" in said
    assert "about 45 more approvals reach it, at 2.0 examples each" in said
    assert "train 6 · valid 3 · test 1 from 3 · 1 · 1 transcripts" in said
    assert "700 to 5,200 an example" in said and "limit 6,000" in said
    assert "1 too short for a slice, 1 over max_tokens; 4 not decided" in said
    assert "no · approved: 'it sounds like'" in said and "1 asked for and not approved once: delivery" in said


def test_the_target_can_be_reached_and_far_away() -> None:
    assert Plan(plan(target=10)).more_approvals == 0 and Plan(plan(target=11)).more_approvals == 1
    assert Plan(plan(rows=[])).more_approvals is None


def test_without_a_tokenizer_the_overview_says_how_to_name_one() -> None:
    rows = [["1-1", "train", [[0, 3, None, 0, None]]]]
    said = " ".join(text(data_view.overview(Plan(plan(rows=rows, tokenizer=None)), None, None, 78, 20)))
    assert "not counted and not held to 6,000 without a tokenizer: t names one" in " ".join(said.split())


def step(made: Plan | None, audit: Any = None) -> str:
    return data_view.next_step(made, Wish(), audit, Exporter(Path("nowhere")))


def test_what_comes_next() -> None:
    quiet = copy.deepcopy(AUDIT)
    quiet["gate"]["passed"] = True
    assert step(None) == ""
    assert "import FILE" in step(Plan(plan(transcripts=0, chosen=0, rows=[])))
    assert step(Plan(plan(chosen=0, rows=[]))) == (
        "nothing is approved yet: 2 Review, A approves; 4 wait for a decision"
    )
    assert "gives an example: not decided" in step(Plan(plan(rows=[])))
    assert "approve transcripts of other personas" in step(Plan(plan(problem="1 group …")))
    assert step(Plan(plan(tokenizer=None))).startswith("t names the model's tokenizer")
    assert "over half of the replies" in step(Plan(plan()), AUDIT)
    assert "1 × what looks like personal data" in step(Plan(plan()), quiet)
    quiet["personal_data"]["found"] = 0
    assert step(Plan(plan()), quiet) == "e exports 10 examples; 2 Review: about 45 more approvals reach 100"
    assert step(Plan(plan(target=10))) == "e exports 10 examples: the target of 10 is reached"


def test_the_audit_names_level_place_and_flag_in_words_and_marks() -> None:
    said = text(audit_lines(AUDIT, 78, 30))
    assert said[0].split() == ["gate", "no", "·", *AUDIT["gate"]["why"].split()]
    row = next(line for line in said if "it sounds like you are" in line)
    assert "57 %" in row and "‼ critical" in row and "1-1 ex 2" in row
    for label, part in (
        ("structure ! ", "38 %"), ("endings   ! ", "100 %"), ("praise      ", "41 %"), ("language  ! ", "en"),
        ("duplicates! ", "2 transcripts"), ("personal  ! ", "e-mail 1"), ("length      ", "2.29"),
    ):  # fmt: skip
        assert any(line.startswith(label) and part in line for line in said), label
    assert any("1-5 ex 3 de: Das klingt schwer." in line for line in said)
    assert any("1-2, 1-6 (from 0.91 alike)" in line for line in said)


def test_phrases_leave_room_for_what_else_was_measured() -> None:
    many = {**AUDIT, "phrases": [{**AUDIT["phrases"][1], "phrase": f"phrase {n}"} for n in range(30)]}
    said = text(audit_lines(many, 78, 20))
    assert said.index(next(line for line in said if line.startswith("length"))) < 14
    assert [n for n in range(30) if not any(f"phrase {n} " in line for line in said)] == []


def test_an_empty_set_is_said_to_be_empty() -> None:
    empty = {"set": "approved", "replies": 0, "gate": {"passed": None, "why": "there is no reply to audit"}}
    assert text(audit_lines(empty, 78, 20)) == ["There is no reply to audit in this set yet."]


def test_coverage_names_what_is_missing_first() -> None:
    said = text(coverage_lines(COVERAGE, 78))
    assert said[1].startswith("missing   ! delivery (topic)")
    assert any(line.startswith("‼ delivery") and line.rstrip().endswith("missing") for line in said)
    nobody = {**COVERAGE, "transcripts": {"generated": 1, "imported": 0, "approved": 0}}
    assert thin(nobody) == "nothing is approved yet" and "2 Review" in " ".join(text(coverage_lines(nobody, 78)))


def test_hostile_text_of_a_report_is_shown_as_pictures() -> None:
    bad = copy.deepcopy(AUDIT)
    bad["phrases"][0]["passage"] = "\x1b[31m[/red] \u202e evil"
    bad["strays"]["examples"][0]["text"] = "a\nb\x07[bold]"
    bad["personal_data"]["examples"][0]["shown"] = "\x9b2J"
    said = "\n".join(text(audit_lines(bad, 78, 30)))
    assert "␛[31m[/red] ⟨U+202E⟩ evil" in said and "a b␇[bold]" in said and "⟨U+009B⟩2J" in said


def lit_text(rendered: Rendered) -> str:
    return "\n".join(
        "".join(piece for piece, style in rendered.line(n)[1:] if style) for n in range(len(rendered))
    ).strip("\n")


def test_the_supervised_part_is_lit_by_margin_and_weight() -> None:
    rendered = Rendered(example(), 40)
    lines = text(rendered.line(n) for n in range(len(rendered)))
    assert "".join(line[2:] for line in lines).replace("␛", "\x1b") == TEXT.replace("\n", "")
    assert lit_text(rendered).replace("\n", "").replace("␛", "\x1b") == TEXT[slice(*REPLY)].replace("\n", "")
    marked = [n for n, line in enumerate(lines) if line.startswith("▌ ")]
    assert rendered.lit == marked[:1] and lines[marked[0]][2:].startswith("I will mend it")
    assert lines[0].startswith("  <|im_start|>user")


def test_spans_follow_characters_that_become_longer() -> None:
    made, spans = shown("a\u202eb\tc\x1bd", [(1, 3), (4, 6)])
    assert made == "a⟨U+202E⟩b    c␛d"
    assert [made[a:b] for a, b in spans] == ["⟨U+202E⟩b", "c␛"]


def test_both_replies_of_a_pair_are_shown() -> None:
    parts = [{"title": name, "text": name, "lit": [[0, 3]]} for name in ("the better reply", "the worse reply")]
    rendered = Rendered(example(parts=parts), 40)
    assert text(rendered.line(n) for n in range(len(rendered))) == [
        "── the better reply ──", "▌ the better reply", "── the worse reply ──", "▌ the worse reply",
    ]  # fmt: skip
    assert rendered.lit == [1, 3]


def test_the_command_is_the_one_that_is_started() -> None:
    wish = Wish("my models/it's", "sft", "openai", "all_replies", "-out")
    assert wish.args == ["--to=-out", "--tokenizer=my models/it's", "--format=openai", "--supervise=all_replies"]
    import shlex

    assert shlex.split(wish.command(Path("/w s")))[4:] == wish.args
    assert Wish().command(Path("/w")) == "loopreview export -w /w"


def test_a_wish_that_cannot_be_exported_says_why() -> None:
    assert Wish().problem() is None
    assert "does not come as mlx" in str(Wish(kind="kto", form="mlx").problem())
    assert "last reply" in str(Wish(kind="dpo", supervise="all_replies").problem())
    assert Wish(to="a\nb").problem() == "a folder's name is one line"


def test_what_was_kept_may_be_anything() -> None:
    kept = Wish("tiny", "dpo", "openai")
    assert remembered(json.loads(json.dumps(kept._asdict()))) == kept
    assert remembered({"kind": "evil", "tokenizer": 3}) == remembered({"form": "x"}) == Wish()
