"""Answers of judges that ran elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.reading import Skip
from loopreview.formats.verdicts import Quote, VerdictLine, read_verdicts

LINE = {"transcript": "1-1", "criterion": "U1", "backend": "elsewhere", "answer": "YES"}


def read(tmp_path: Path, *rows: Any) -> list[VerdictLine | Skip]:
    path = tmp_path / "verdicts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return list(read_verdicts(path, max_chars=1_000))


def line(tmp_path: Path, **changed: Any) -> VerdictLine:
    (found,) = read(tmp_path, LINE | changed)
    assert isinstance(found, VerdictLine), found
    return found


def test_a_line_needs_four_fields_only(tmp_path: Path) -> None:
    found = line(tmp_path)
    assert (found.transcript, found.criterion, found.backend, found.answer) == ("1-1", "U1", "elsewhere", "YES")
    assert (found.reasoning, found.evidence, found.counter_evidence, found.notes) == ("", (), None, ())
    assert (found.source, found.line) == ("verdicts.jsonl#1", 1)


@pytest.mark.parametrize(
    ("given", "answer"),
    [("yes", "YES"), (" No ", "NO"), ("na", "NA"), ("N/A", "NA"), ("n/a", "NA"), ("YES", "YES")],
)
def test_answers_are_read_in_any_case(tmp_path: Path, given: str, answer: str) -> None:
    assert line(tmp_path, answer=given).answer == answer


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": "maybe"}, "unknown answer `maybe`; it is YES, NO or NA"),
        ({"answer": True}, "unknown answer `True`"),
        ({"answer": "ERROR"}, "unknown answer `ERROR`"),
        ({"answer": None}, "no `answer`"),
        ({"transcript": " "}, "no `transcript`"),
        ({"criterion": ["U1"]}, "`criterion` is no text"),
        ({"backend": None}, "no `backend`"),
        ({"backend": "merged"}, "`merged` has a meaning of its own"),
        ({"backend": "x" * 201}, "201 characters"),
        ({"reasoning": ["a"]}, "`reasoning` is no text"),
        ({"reasoning": "x" * 1_001}, "1,001 characters"),
    ],
)
def test_a_line_that_cannot_be_used_is_skipped_with_its_reason(tmp_path: Path, changed: Any, said: str) -> None:
    found = read(tmp_path, LINE, LINE | changed, LINE)
    assert [type(f).__name__ for f in found] == ["VerdictLine", "Skip", "VerdictLine"]
    assert isinstance(found[1], Skip) and said in found[1].reason and found[1].line == 2


@pytest.mark.parametrize("row", [3, "text", ["a"], None])
def test_a_line_that_is_no_object_is_skipped(tmp_path: Path, row: Any) -> None:
    good, bad = read(tmp_path, LINE, row)
    assert isinstance(good, VerdictLine) and isinstance(bad, Skip) and bad.line == 2


def test_evidence_may_be_texts_or_objects_with_or_without_their_place(tmp_path: Path) -> None:
    found = line(
        tmp_path,
        evidence=[
            "plain",
            {"exchange": 2, "quote": "q"},
            {"exchange": 3, "role": "user", "quote": "r", "occurrence": 2},
        ],
        counter_evidence={"exchange": 1, "role": "assistant", "quote": "c"},
    )
    assert found.evidence == (Quote(0, None, "plain", 1), Quote(2, None, "q", 1), Quote(3, "user", "r", 2))
    assert found.counter_evidence == Quote(1, "assistant", "c", 1)
    assert line(tmp_path, evidence="one").evidence == (Quote(0, None, "one", 1),)


def test_quotes_that_cannot_be_used_are_left_out_and_the_answer_counts(tmp_path: Path) -> None:
    evidence = ["good", "", 3, {"quote": None}, {"quote": "x", "role": "judge"}, "y" * 1_001]
    found = line(tmp_path, evidence=evidence, counter_evidence={"exchange": 1})
    assert [quote.text for quote in found.evidence] == ["good"] and found.counter_evidence is None
    assert found.notes == (
        "1 of 1 quotes in `counter_evidence` could not be used and were left out",
        "5 of 6 quotes in `evidence` could not be used and were left out",
    )


def test_exchange_numbers_that_are_none_leave_the_quote_to_be_looked_for(tmp_path: Path) -> None:
    evidence = [{"exchange": exchange, "quote": "q"} for exchange in (0, -1, "2", None, True, 10**30)]
    assert {quote.exchange for quote in line(tmp_path, evidence=evidence).evidence} == {0}
