"""People's answers, from JSONL and CSV."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.labels import LabelLine, read_labels
from loopreview.formats.reading import Skip
from loopreview.models.errors import UserError

ROW = {"transcript": "1-1", "criterion": "U1", "reviewer": "ann", "answer": "YES"}


def read(tmp_path: Path, content: str | bytes, name: str = "labels.csv") -> list[LabelLine | Skip]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_labels(path, max_chars=200))


def labels(found: list[LabelLine | Skip]) -> list[LabelLine]:
    assert not [f for f in found if isinstance(f, Skip)], found
    return [f for f in found if isinstance(f, LabelLine)]


def test_a_line_of_jsonl_is_one_answer(tmp_path: Path) -> None:
    text = f"{json.dumps(ROW | {'note': ' too long '})}\n{json.dumps(ROW | {'answer': 'n/a', 'note': None})}\n"
    first, second = labels(read(tmp_path, text, "labels.jsonl"))
    assert first == LabelLine("labels.jsonl#1", 1, "1-1", "U1", "ann", "YES", "too long")
    assert (second.answer, second.note, second.line) == ("NA", None, 2)


def test_csv_with_a_mark_quotes_crlf_and_a_header_in_any_order_and_case(tmp_path: Path) -> None:
    text = (
        'Answer,NOTE, reviewer ,Extra,Criterion,transcript\r\n'
        'yes,"she said ""no"", twice",Ann B.,7,U1,"chats.jsonl#a, b"\r\n'
        '\r\n'
        'No,"two\r\nlines",bo,,U2,1-2\r\n'
        'NA,,bo,,U3,1-2'
    )  # fmt: skip
    found = labels(read(tmp_path, codecs.BOM_UTF8 + text.encode()))
    assert [(f.line, f.transcript, f.criterion, f.reviewer, f.answer, f.note) for f in found] == [
        (2, "chats.jsonl#a, b", "U1", "Ann B.", "YES", 'she said "no", twice'),
        (4, "1-2", "U2", "bo", "NO", "two\nlines"),
        (6, "1-2", "U3", "bo", "NA", None),
    ]


@pytest.mark.parametrize(("name", "between"), [("labels.csv", ";"), ("labels.tsv", "\t"), ("labels", ",")])
def test_other_separators_and_names_without_an_ending_are_told_by_the_header(
    tmp_path: Path, name: str, between: str
) -> None:
    text = f"{between.join(ROW)}\n{between.join(ROW.values())}\n"
    assert labels(read(tmp_path, text, name))[0].reviewer == "ann"


def test_csv_in_utf16_as_spreadsheets_write_it(tmp_path: Path) -> None:
    text = "transcript\tcriterion\treviewer\tanswer\tnote\n1-1\tU1\tÉva\tno\t中文\n"
    (found,) = labels(read(tmp_path, codecs.BOM_UTF16_LE + text.encode("utf-16-le")))
    assert (found.reviewer, found.note) == ("Éva", "中文")


def test_a_header_without_a_needed_column_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"labels\.csv line 1: the header has no column reviewer and no answer; it needs"
    ):
        read(tmp_path, "transcript,criterion,rater,judgement\n1-1,U1,ann,YES\n")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1-1,U1,ann,perhaps", "unknown answer `perhaps`"),
        ("1-1,U1,ann", "no `answer`"),
        ("1-1,U1,,YES", "no `reviewer`"),
        (f"1-1,U1,ann,YES,{'x' * 300}", "300 characters"),
        ('1-1,U1,ann,"YES"x', "not a CSV row"),
    ],
)
def test_a_row_that_cannot_be_used_is_skipped_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    text = f"transcript,criterion,reviewer,answer,note\n1-1,U1,ann,YES,\n{row}\n1-1,U2,ann,NO,\n"
    first, bad, last = read(tmp_path, text)
    assert isinstance(first, LabelLine) and isinstance(last, LabelLine)
    assert isinstance(bad, Skip) and said in bad.reason and (bad.source, bad.line) == ("labels.csv#3", 3)


def test_a_quote_that_is_never_closed_is_reported_and_ends_the_file(tmp_path: Path) -> None:
    text = 'transcript,criterion,reviewer,answer\n1-1,U1,ann,YES\n1-1,"U2,ann,NO\n1-1,U3,ann,NO\n'
    first, bad = read(tmp_path, text)
    assert isinstance(first, LabelLine) and isinstance(bad, Skip) and bad.line == 3


def test_a_row_in_another_encoding_is_skipped_with_its_line(tmp_path: Path) -> None:
    text = b"transcript,criterion,reviewer,answer\n1-1,U1,Ren\xe9,YES\n1-1,U1,bo,NO\n"
    bad, good = read(tmp_path, text)
    assert isinstance(bad, Skip) and bad.line == 2 and "not UTF-8" in bad.reason
    assert isinstance(good, LabelLine) and good.line == 3


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels"])
def test_an_empty_file_is_one_skip(tmp_path: Path, name: str) -> None:
    (skip,) = read(tmp_path, "", name)
    assert isinstance(skip, Skip) and "empty" in skip.reason


@pytest.mark.parametrize("row", [3, ["a"], {"transcript": "1-1"}, {**ROW, "answer": ["YES"]}])
def test_a_json_line_that_is_no_answer_is_skipped(tmp_path: Path, row: Any) -> None:
    bad, good = read(tmp_path, f"{json.dumps(row)}\n{json.dumps(ROW)}\n", "labels.jsonl")
    assert isinstance(bad, Skip) and bad.line == 1 and isinstance(good, LabelLine)
