"""Numbered exchanges become transcripts, and say what was mended."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.conversation import Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.reading import Skip

THERAPY = Path(__file__).parents[2].parent / "shared" / "data" / "therapy"


def exchange(number: Any, user: Any = "hello", assistant: Any = "hi") -> dict[str, Any]:
    return {"exchange_number": number, "user": user, "assistant": assistant}


def read(tmp_path: Path, value: Any) -> Record | Skip:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    (found,) = read_transcripts(path, max_message_chars=1_000)
    return found


def record(tmp_path: Path, *exchanges: Any, **beside: Any) -> Record:
    found = read(tmp_path, {"exchanges": list(exchanges), **beside})
    assert isinstance(found, Record), found
    return found


def test_a_file_of_one_conversation_is_read_and_its_persona_kept_as_it_came(tmp_path: Path) -> None:
    persona = {"id": "p1", "traits": ["a", "b"], "odd": {"x": [1, None]}}
    found = record(
        tmp_path, exchange(1), exchange(2, "more", "yes"), id="t1", persona=persona, target_exchanges=50, model="gemma"
    )
    transcript = found.transcript
    assert transcript.source == "talk.json#t1" and transcript.persona == persona
    assert transcript.target_exchanges == 50 and not transcript.complete
    assert [(m.role, m.text, m.model) for m in transcript.messages] == [
        ("user", "hello", None), ("assistant", "hi", "gemma"), ("user", "more", None), ("assistant", "yes", "gemma")
    ]  # fmt: skip
    assert found.notes == ()


def test_an_array_and_lines_of_conversations_are_read_one_by_one(tmp_path: Path) -> None:
    records = [{"exchanges": [exchange(1, f"u{n}")]} for n in range(3)]
    for name, text in (("all.json", json.dumps(records)), ("all.jsonl", "\n".join(map(json.dumps, records)))):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        found = [r for r in read_transcripts(path, max_message_chars=99) if isinstance(r, Record)]
        assert [r.transcript.source for r in found] == [f"{name}#1", f"{name}#2", f"{name}#3"]
        assert [r.transcript.messages[0].text for r in found] == ["u0", "u1", "u2"]


def test_exchange_numbers_that_jump_are_noted_and_the_file_s_order_kept(tmp_path: Path) -> None:
    found = record(tmp_path, exchange(1, "a"), exchange(5, "b"), exchange(2, "c"))
    assert [(e.number, e.user) for e in found.transcript.exchanges] == [(1, "a"), (2, "b"), (3, "c")]
    assert found.notes == ("the exchange numbers jump (number 5 at place 2); counted anew from 1, in the file's order",)


def test_exchanges_without_numbers_are_no_jump(tmp_path: Path) -> None:
    assert record(tmp_path, {"user": "a", "assistant": "b"}).notes == ()


@pytest.mark.parametrize("last", [{"user": "and?"}, {"user": "and?", "assistant": None}])
def test_a_last_exchange_without_reply_is_dropped_and_it_is_said(tmp_path: Path, last: dict[str, Any]) -> None:
    found = record(tmp_path, {"user": "a", "assistant": "b"}, last)
    assert len(found.transcript.exchanges) == 1
    assert found.notes == ("the trailing user message, which has no reply, was dropped",)


def test_empty_texts_are_kept_as_exchanges(tmp_path: Path) -> None:
    found = record(tmp_path, exchange(1, "", "hi"), exchange(2, "you?", ""), exchange(3))
    assert [(e.user, e.assistant) for e in found.transcript.exchanges] == [("", "hi"), ("you?", ""), ("hello", "hi")]
    assert found.notes == ("message 4: the reply is empty",)


@pytest.mark.parametrize(
    ("exchanges", "said"),
    [
        ([], "no list with exchanges"),
        (None, "no list with exchanges"),
        (["a"], "exchange 1 is no object"),
        ([exchange(1, None)], "exchange 1: `user` is null"),
        ([exchange(1, "a", None), exchange(2)], "exchange 1: `assistant` is null"),
        ([exchange(1, "a", None)], "no assistant message"),
        ([exchange(1, ["a"])], "exchange 1: `user` is an object"),
        ([exchange(1, "a", 7)], "exchange 1: `assistant` is 7"),
        ([{"assistant": "x"}], "exchange 1 has no `user`"),
        ([exchange(1, "a", "x" * 2_000)], "2,000 characters; max_message_chars is 1,000"),
    ],
)
def test_what_is_no_conversation_is_skipped_with_its_reason(tmp_path: Path, exchanges: Any, said: str) -> None:
    found = read(tmp_path, {"exchanges": exchanges})
    assert isinstance(found, Skip) and said in found.reason and "\n" not in found.reason


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the therapy transcripts are not here")
def test_the_therapy_transcripts_are_read_and_three_are_not_complete() -> None:
    found = [
        record
        for path in sorted(THERAPY.glob("*.json"))
        for record in read_transcripts(path, max_message_chars=2_000_000)
    ]
    transcripts = [record.transcript for record in found if isinstance(record, Record)]
    assert len(transcripts) == len(found) == 41
    short = [(len(t.exchanges), t.target_exchanges) for t in transcripts if not t.complete]
    assert sorted(short) == [(3, 50), (21, 50), (31, 50)]
    assert all(t.persona and t.persona["id"] for t in transcripts)
    assert not [note for record in found if isinstance(record, Record) for note in record.notes]
