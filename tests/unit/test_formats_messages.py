"""OpenAI style messages become transcripts, and say what was mended."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.conversation import Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.reading import Skip
from loopreview.models.errors import UserError

USER = {"role": "user", "content": "Where is my parcel?"}
REPLY = {"role": "assistant", "content": "On its way."}


def read(tmp_path: Path, *records: Any, limit: int = 2_000_000, format: str = "auto") -> list[Record | Skip]:
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return list(read_transcripts(path, format=format, max_message_chars=limit))


def record(tmp_path: Path, value: Any) -> Record:
    (found,) = read(tmp_path, value)
    assert isinstance(found, Record), found
    return found


def reason(tmp_path: Path, value: Any, limit: int = 2_000_000) -> str:
    (found,) = read(tmp_path, value, limit=limit)
    assert isinstance(found, Skip), found
    assert "\n" not in found.reason
    return found.reason


def chat(*messages: Any, **beside: Any) -> dict[str, Any]:
    return {"messages": list(messages), **beside}


def test_a_record_becomes_an_imported_transcript(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    found = record(tmp_path, chat(system, USER, REPLY, id="a-1", persona={"name": "Mo"}, target_exchanges=1, model="m"))
    transcript = found.transcript
    assert (transcript.id, transcript.batch, transcript.origin, transcript.source) == (
        "",
        0,
        "imported",
        "chats.jsonl#a-1",
    )
    assert [(m.role, m.text, m.model) for m in transcript.messages] == [
        ("system", "Be brief.", None), ("user", "Where is my parcel?", None), ("assistant", "On its way.", "m")
    ]  # fmt: skip
    assert (transcript.persona, transcript.target_exchanges, transcript.complete) == ({"name": "Mo"}, 1, True)
    assert (found.notes, found.line) == ((), 1)


def test_a_bare_list_of_messages_is_named_by_its_line(tmp_path: Path) -> None:
    first, second = read(tmp_path, [USER, REPLY], [USER, USER, REPLY])
    assert isinstance(first, Record) and isinstance(second, Record)
    assert [r.transcript.source for r in (first, second)] == ["chats.jsonl#1", "chats.jsonl#2"]


def test_id_persona_and_target_may_stand_in_the_metadata(tmp_path: Path) -> None:
    metadata = {"id": 7, "persona": "an impatient customer", "target_exchanges": 3, "other": [1]}
    transcript = record(tmp_path, chat(USER, REPLY, metadata=metadata)).transcript
    assert transcript.source == "chats.jsonl#7"
    assert transcript.persona == {"name": "an impatient customer"}
    assert transcript.target_exchanges == 3 and not transcript.complete


def test_text_parts_are_joined_and_other_parts_left_out_with_a_note(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": "well?"},
    ]
    found = record(tmp_path, chat({"role": "user", "content": parts}, REPLY))
    assert found.transcript.messages[0].text == "Look:\nwell?"
    assert found.notes == ("message 1: what is no text was left out (image_url)",)


def test_tool_calls_and_weight_are_kept(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "weight": 0, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    answer = {"role": "tool", "content": "42", "tool_call_id": "c"}
    found = record(tmp_path, chat(USER, call, answer, REPLY, tools=[{"type": "function"}]))
    messages = found.transcript.messages
    assert [m.role for m in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1].text == "" and messages[1].extra == {"weight": 0, "tool_calls": call["tool_calls"]}
    assert messages[2].extra == {"tool_call_id": "c"} and messages[0].extra == {"tools": [{"type": "function"}]}
    assert found.notes == ()
    assert [e.assistant for e in found.transcript.exchanges] == ["On its way."]


def test_roles_of_openai_have_their_names_here_in_any_case(tmp_path: Path) -> None:
    messages = (
        {"role": "developer", "content": "d"},
        {"role": "User", "content": "u"},
        {"role": "function", "content": "f"},
        REPLY,
    )
    assert [m.role for m in record(tmp_path, chat(*messages)).transcript.messages] == [
        "system",
        "user",
        "tool",
        "assistant",
    ]


def test_a_refusal_is_the_reply(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, {"role": "assistant", "content": None, "refusal": "I cannot."}))
    assert found.transcript.messages[1].text == "I cannot."


def test_two_user_messages_in_a_row_are_merged_and_it_is_said(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, {"role": "user", "content": "Hello?"}, REPLY))
    assert found.transcript.messages[0].text == "Where is my parcel?\n\nHello?"
    assert found.notes == ("user messages in a row were merged (message 2 into the one before)",)


def test_two_replies_in_a_row_are_merged_but_not_around_tool_calls(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, REPLY, {"role": "assistant", "content": "Tomorrow.", "weight": 1}))
    assert found.transcript.messages[1].text == "On its way.\n\nTomorrow."
    assert found.transcript.messages[1].extra == {"weight": 1}
    assert "assistant messages in a row" in found.notes[0]
    calling = {"role": "assistant", "content": "Let me look.", "tool_calls": [{"id": "c"}]}
    assert len(record(tmp_path, chat(USER, calling, REPLY)).transcript.messages) == 3


def test_many_messages_in_a_row_are_merged_in_time_linear_in_their_number(tmp_path: Path) -> None:
    found = record(tmp_path, chat(*[{"role": "user", "content": "x" * 10}] * 50_000, REPLY))
    assert len(found.transcript.messages) == 2
    assert len(found.notes[0]) < 120


def test_a_trailing_user_message_is_dropped_and_it_is_said(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, REPLY, {"role": "user", "content": "Thanks"}))
    assert [m.role for m in found.transcript.messages] == ["user", "assistant"]
    assert found.notes == ("the trailing user message, which has no reply, was dropped",)


def test_several_trailing_messages_are_counted(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, REPLY, USER, USER, {"role": "tool", "content": "x"}))
    assert found.notes == ("3 trailing messages (tool, user), which have no reply, were dropped",)


def test_an_empty_reply_is_kept_and_noted(tmp_path: Path) -> None:
    found = record(tmp_path, chat(USER, {"role": "assistant", "content": ""}, USER, REPLY))
    assert [e.assistant for e in found.transcript.exchanges] == ["", "On its way."]
    assert found.notes == ("message 2: the reply is empty",)


def test_an_assistant_that_speaks_first_is_kept(tmp_path: Path) -> None:
    assert record(tmp_path, chat(REPLY, USER, REPLY)).transcript.exchanges[0].user == ""


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([USER], "no assistant message"),
        ([], "no list with messages"),
        ("hello", "no list with messages"),
        (["hello"], "message 1 is no object"),
        ([USER, {"role": "narrator", "content": "x"}, REPLY], "message 2: unknown role `narrator`; known are system"),
        ([USER, {"content": "x"}, REPLY], "message 2: no role"),
        ([{"role": ["user"], "content": "x"}, REPLY], "message 1: unknown role"),
        ([USER, {"role": "assistant", "content": None}], "message 2 (assistant): its content is null"),
        ([{"role": "user"}, REPLY], "message 1 (user): its content is null"),
        ([USER, {"role": "assistant", "content": 3.5}], "message 2 (assistant): its content is 3.5"),
        ([USER, {"role": "assistant", "content": {"a": 1}}], "message 2 (assistant): its content is an object"),
        ([USER, {"role": "assistant", "content": True}], "its content is True"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_skipped_with_its_reason(tmp_path: Path, messages: Any, said: str) -> None:
    assert said in reason(tmp_path, {"messages": messages})


def test_a_role_with_line_breaks_gives_a_reason_of_one_line_when_shown(tmp_path: Path) -> None:
    (found,) = read(tmp_path, chat({"role": "a" * 500, "content": ""}, REPLY))
    assert isinstance(found, Skip) and len(found.reason) < 150


def test_a_message_of_ten_megabytes_is_skipped_with_the_limit_named(tmp_path: Path) -> None:
    long = {"role": "assistant", "content": "x" * 10_000_000}
    said = reason(tmp_path, chat(USER, long))
    assert said == "message 2 (assistant) has 10,000,000 characters; max_message_chars is 2,000,000"
    assert "10,000,0" in reason(tmp_path, chat(USER, {**REPLY, "tool_calls": ["x" * 10_000_000]}))


def test_messages_that_are_too_long_only_when_merged_are_skipped_too(tmp_path: Path) -> None:
    half = {"role": "user", "content": "x" * 60}
    assert "122 characters" in reason(tmp_path, chat(half, half, REPLY), limit=100)


def test_texts_are_kept_byte_for_byte(tmp_path: Path) -> None:
    text = "\x00\x07\x1b[31mred\x1b[0m [/foo]\r\n\u202eabc\u202c שלום العربية 中文かな  "
    found = record(tmp_path, chat({"role": "user", "content": text}, {"role": "assistant", "content": text}))
    assert [m.text for m in found.transcript.messages] == [text, text] and found.notes == ()


def test_lone_surrogates_are_replaced_and_noted(tmp_path: Path) -> None:
    found = record(tmp_path, chat({"role": "user", "content": "a\ud83d"}, REPLY, id="\udc00x"))
    assert found.transcript.messages[0].text == "a�" and found.transcript.source == "chats.jsonl#�x"
    assert found.notes == ("lone surrogates were replaced by U+FFFD",)


def test_what_is_nested_deeply_beside_a_message_is_refused(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    assert "nested more than 50 levels" in reason(tmp_path, chat(USER, {**REPLY, "tool_calls": deep}))
    assert "the persona is nested" in reason(tmp_path, chat(USER, REPLY, persona={"a": deep}))


@pytest.mark.parametrize("target", [0, -1, 2.5, "ten", True, 10**30, [3]])
def test_a_target_length_that_is_no_count_is_left_out_with_a_note(tmp_path: Path, target: Any) -> None:
    found = record(tmp_path, chat(USER, REPLY, target_exchanges=target))
    assert found.transcript.target_exchanges is None and "target_exchanges" in found.notes[0]


def test_an_id_used_twice_in_a_file_gives_the_second_record_its_line(tmp_path: Path) -> None:
    found = read(tmp_path, chat(USER, REPLY, id="a"), chat(USER, USER, REPLY, id="a"), chat(REPLY, id="2"))
    assert [r.transcript.source for r in found if isinstance(r, Record)] == [
        "chats.jsonl#a", "chats.jsonl#2", "chats.jsonl#3"
    ]  # fmt: skip
    assert isinstance(found[1], Record) and "the id a was used before" in found[1].notes[0]


@pytest.mark.parametrize("odd", [None, "", "  ", True, 1.5, {"a": 1}, "x" * 500])
def test_an_id_that_names_nothing_is_replaced_by_the_line(tmp_path: Path, odd: Any) -> None:
    assert record(tmp_path, chat(USER, REPLY, id=odd)).transcript.source == "chats.jsonl#1"


def test_line_breaks_in_an_id_become_spaces(tmp_path: Path) -> None:
    assert record(tmp_path, chat(USER, REPLY, id="a\nb\t c")).transcript.source == "chats.jsonl#a b c"


@pytest.mark.parametrize("value", [{"turns": []}, {}, 3, "text", None, ["a"], [[]]])
def test_an_unknown_form_is_skipped_and_the_known_ones_are_named(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{json.dumps(value)}\n{json.dumps(chat(USER, REPLY))}\n", encoding="utf-8")
    unknown, known = read_transcripts(path, max_message_chars=1_000)
    assert isinstance(unknown, Skip) and isinstance(known, Record)
    assert "unknown form" in unknown.reason and "messages" in unknown.reason and "exchanges" in unknown.reason


def test_a_format_asked_for_is_held_to(tmp_path: Path) -> None:
    (found,) = read(tmp_path, chat(USER, REPLY), format="exchanges")
    assert isinstance(found, Skip) and "`exchanges` is no list" in found.reason
    with pytest.raises(UserError, match="--format parquet"):
        read(tmp_path, chat(USER, REPLY), format="parquet")
