"""ShareGPT conversations and their variants become transcripts."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.conversation import Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.reading import Skip

HUMAN, GPT = {"from": "human", "value": "Where is my parcel?"}, {"from": "gpt", "value": "On its way."}


def read(tmp_path: Path, *values: Any, format: str = "auto") -> list[Record | Skip]:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return list(read_transcripts(path, format=format, max_message_chars=1_000))


def record(tmp_path: Path, value: Any) -> Record:
    (found,) = read(tmp_path, value)
    assert isinstance(found, Record), found
    return found


def said(found: Record) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in found.transcript.messages]


def test_a_conversation_is_read_and_named_by_its_id(tmp_path: Path) -> None:
    found = record(tmp_path, {"id": "abc", "conversations": [HUMAN, GPT]})
    assert said(found) == [("user", "Where is my parcel?"), ("assistant", "On its way.")]
    assert found.transcript.source == "chats.jsonl#abc" and found.notes == ()


@pytest.mark.parametrize("key", ["conversations", "conversation", "items"])
def test_the_turns_may_stand_under_other_names(tmp_path: Path, key: str) -> None:
    assert len(record(tmp_path, {key: [HUMAN, GPT]}).transcript.messages) == 2


@pytest.mark.parametrize("user", ["human", "user", "Human", " prompter "])
@pytest.mark.parametrize("assistant", ["gpt", "assistant", "chatgpt", "GPT", "model", "bard"])
def test_speakers_have_many_names(tmp_path: Path, user: str, assistant: str) -> None:
    turns = [{"from": user, "value": "a"}, {"from": assistant, "value": "b"}]
    assert said(record(tmp_path, {"conversations": turns})) == [("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize(
    ("who", "what"), [("role", "content"), ("from", "content"), ("role", "value"), ("speaker", "text")]
)
def test_turns_may_name_speaker_and_text_otherwise(tmp_path: Path, who: str, what: str) -> None:
    turns = [{who: "user", what: "a"}, {who: "assistant", what: "b"}]
    assert said(record(tmp_path, {"conversations": turns})) == [("user", "a"), ("assistant", "b")]


def test_a_system_text_stands_first_or_beside_the_turns(tmp_path: Path) -> None:
    own = {"conversations": [{"from": "system", "value": "Be kind."}, HUMAN, GPT], "system": "not this one"}
    assert said(record(tmp_path, own))[0] == ("system", "Be kind.")
    assert said(record(tmp_path, {"conversations": [HUMAN, GPT], "system": "Be kind."}))[0] == ("system", "Be kind.")
    assert said(record(tmp_path, {"conversations": [HUMAN, GPT], "system": ""}))[0][0] == "user"


def test_calls_and_results_of_tools_are_kept(tmp_path: Path) -> None:
    call = json.dumps({"name": "track", "arguments": {"id": 7}})
    turns = [HUMAN, {"from": "function_call", "value": call}, {"from": "observation", "value": "Friday"}, GPT]
    found = record(tmp_path, {"conversations": turns, "tools": "[…]"})
    messages = found.transcript.messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1].text == "" and messages[1].extra["tool_calls"] == [
        {"type": "function", "function": {"name": "track", "arguments": '{"id": 7}'}}
    ]
    assert messages[0].extra == {"tools": "[…]"} and found.notes == ()
    assert [exchange.assistant for exchange in found.transcript.exchanges] == ["On its way."]


def test_a_call_that_is_no_json_stays_a_text(tmp_path: Path) -> None:
    turns = [HUMAN, {"from": "function_call", "value": "track(7)"}, {"from": "tool", "value": "Friday"}, GPT]
    assert said(record(tmp_path, {"conversations": turns}))[1] == ("assistant", "track(7)")


def test_a_weight_is_kept_and_replies_of_other_weight_are_not_merged(tmp_path: Path) -> None:
    found = record(tmp_path, {"conversations": [HUMAN, GPT | {"weight": 0}, GPT | {"value": "Really."}]})
    assert [(m.text, m.extra) for m in found.transcript.messages[1:]] == [
        ("On its way.", {"weight": 0}), ("Really.", {})
    ]  # fmt: skip


def test_a_bare_list_of_turns_is_one_record_also_in_a_json_file(tmp_path: Path) -> None:
    assert len(record(tmp_path, [HUMAN, GPT]).transcript.messages) == 2
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([HUMAN, GPT], indent=1), encoding="utf-8")
    (found,) = read_transcripts(path, max_message_chars=1_000)
    assert isinstance(found, Record) and found.transcript.source == "chat.json#1"


def test_two_of_the_user_are_merged_and_a_trailing_one_is_dropped_and_both_are_said(tmp_path: Path) -> None:
    found = record(tmp_path, {"conversations": [HUMAN, HUMAN, GPT, HUMAN]})
    assert len(found.transcript.messages) == 2
    assert "merged" in found.notes[0] and "dropped" in found.notes[1]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "no list with turns"),
        ("a text", "no list with turns"),
        ([HUMAN], "no assistant message"),
        (["a"], "turn 1 is no object"),
        ([{"value": "a"}, GPT], "turn 1 does not say who speaks"),
        ([{"from": "narrator", "value": "a"}, GPT], "turn 1: unknown speaker `narrator`; known are system, human"),
        ([{"from": 7, "value": "a"}, GPT], "unknown speaker `7`"),
        ([{"from": "human"}, GPT], "turn 1 (human) has no text"),
        ([{"from": "human", "value": None}, GPT], "turn 1 (human) has no text"),
        ([{"from": "human", "value": ["a"]}, GPT], "turn 1 (human) has no text"),
        ([{"from": "human", "value": "a" * 2_000}, GPT], "2,000 characters"),
        ([["a", "b"]], "turn 1 is no object"),
    ],
)
def test_what_is_no_conversation_is_skipped_with_line_and_reason(tmp_path: Path, turns: Any, reason: str) -> None:
    good, bad = read(tmp_path, {"conversations": [HUMAN, GPT]}, {"conversations": turns}, format="sharegpt")
    assert isinstance(good, Record) and isinstance(bad, Skip)
    assert reason in bad.reason and (bad.source, bad.line) == ("chats.jsonl#2", 2)
