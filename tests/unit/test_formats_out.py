"""Rows for the trainers: each form as its readers take it, and no word lost on the way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.dataset.examples import readable_line
from loopreview.dataset.talk import is_empty, talk_of
from loopreview.formats.preferences import dpo_row, kto_row
from loopreview.formats.sft import sft_row
from loopreview.formats.sharegpt import transcript_of_sharegpt
from loopreview.models.transcript import Message, Role, Transcript, exchanges_of

CALL = {"type": "function", "function": {"name": "find", "arguments": {"number": 7}}}
CALL_AS_TEXT = {"type": "function", "function": {"name": "find", "arguments": '{"number": 7}'}}
TOOLS = [{"type": "function", "function": {"name": "find"}}]
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "Here", "tool_call_id": "c1"},
    {"role": "assistant", "content": "It is here."},
]


def transcript(*messages: Message) -> Transcript:
    return Transcript(id="1-1", batch=1, number=1, origin="imported", messages=list(messages))


@pytest.mark.parametrize("form", ["trl", "mlx"])
def test_trl_and_mlx_read_messages(form: str) -> None:
    assert sft_row(TALK, form=form, supervised=[4], tools=TOOLS) == {"messages": TALK, "tools": TOOLS}
    assert sft_row(TALK[:2], form=form) == {"messages": TALK[:2]}


def test_openai_weighs_replies_and_has_arguments_as_text() -> None:
    row = sft_row(TALK, form="openai", supervised=[4], tools=TOOLS)
    assert [message.get("weight") for message in row["messages"]] == [None, None, 0, None, 1]
    assert row["messages"][2]["tool_calls"] == [CALL_AS_TEXT]
    assert row["tools"] == TOOLS
    assert TALK[2]["tool_calls"] == [CALL], "what was given is as it was"


def test_sharegpt_has_turns_and_comes_back_as_it_went() -> None:
    row = sft_row(TALK, form="sharegpt", tools=TOOLS)
    assert [turn["from"] for turn in row["conversations"]] == ["system", "human", "function_call", "observation", "gpt"]
    back = transcript_of_sharegpt(row, [], 10_000)
    assert [(m.role, m.text) for m in back.messages] == [(m["role"], m["content"]) for m in TALK]
    assert back.messages[2].extra["tool_calls"] == [CALL_AS_TEXT]


def test_pairs_and_verdicts() -> None:
    prompt, good, bad = TALK[:2], {"role": "assistant", "content": "Good"}, {"role": "assistant", "content": "Bad"}
    assert dpo_row(prompt, good, bad, form="trl") == {"prompt": prompt, "chosen": [good], "rejected": [bad]}
    assert dpo_row(prompt, good, bad, form="openai") == {
        "input": {"messages": prompt, "tools": [], "parallel_tool_calls": True},
        "preferred_output": [good],
        "non_preferred_output": [bad],
    }
    shared = dpo_row(prompt, good, bad, form="sharegpt", tools=TOOLS)
    assert shared["conversations"][-1] == {"from": "human", "value": "Where is it?"}
    assert (shared["chosen"], shared["rejected"]) == ({"from": "gpt", "value": "Good"}, {"from": "gpt", "value": "Bad"})
    assert json.loads(shared["tools"]) == TOOLS
    assert kto_row(prompt, bad, False, form="trl") == {"prompt": prompt, "completion": [bad], "label": False}
    assert kto_row(prompt, good, True, form="sharegpt")["conversations"][-1] == {"from": "gpt", "value": "Good"}


@given(st.text())
def test_a_line_is_one_line_for_every_reader(text: str) -> None:
    line = readable_line({"text": text})
    assert json.loads(line) == {"text": text}
    assert len(line.splitlines()) == 1


roles = st.sampled_from(["system", "user", "assistant", "tool"])


@given(st.lists(st.tuples(roles, st.sampled_from(["", "a", "b"])), max_size=12))
def test_exchanges_end_where_the_transcript_says(turns: list[tuple[Role, str]]) -> None:
    messages = [Message(role=role, text=text) for role, text in turns]
    talk = talk_of(transcript(*messages), "ours")
    exchanges = exchanges_of(messages)
    assert len(talk.ends) == len(exchanges)
    assert talk.messages[0] == {"role": "system", "content": "ours"}
    assert all(message["role"] != "system" for message in talk.messages[1:])
    for exchange in exchanges:
        said = [talk.messages[place]["content"] for place in talk.replies(exchange.number)]
        assert "\n\n".join(filter(None, said)) == exchange.assistant
        assert talk.reply(exchange.number)["role"] == "assistant"


def test_what_a_message_carries_goes_with_it() -> None:
    talk = talk_of(
        transcript(
            Message(role="system", text="theirs", extra={"tools": TOOLS}),
            Message(role="user", text="Where?", extra={"name": "nia"}),
            Message(role="assistant", text="", extra={"tool_calls": [CALL_AS_TEXT], "marks": ["long"]}),
            Message(role="tool", text="Here", extra={"tool_call_id": "c1"}),
            Message(role="assistant", text="Here.", extra={"weight": 0, "refusal": "x"}),
        ),
        "ours",
    )
    assert talk.tools == TOOLS and talk.own_system and talk.unweighted == {1}
    assert talk.messages[1] == {"role": "user", "content": "Where?", "name": "nia"}
    assert talk.messages[2] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert talk.messages[3]["tool_call_id"] == "c1"
    assert talk.messages[4] == {"role": "assistant", "content": "Here."}
    assert talk.replies(1) == [2, 4] and not is_empty(talk.messages[2])
    assert talk_of(transcript(Message(role="user", text="a", extra={"tools": json.dumps(TOOLS)})), "s").tools == TOOLS
