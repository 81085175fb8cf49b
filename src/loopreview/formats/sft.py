"""Rows of training data as the trainers read them: one conversation each, for supervised fine-tuning.

trl, mlx     {"messages": [{"role": …, "content": …}, …]}, with `tools` where the conversation has any
openai       the same, with `weight` 0 on each reply that is not supervised, and arguments of tools as text
sharegpt     {"conversations": [{"from": "human", "value": …}, …]}
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

SFT_FORMATS = ("trl", "mlx", "openai", "sharegpt")
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}

Row = dict[str, Any]
ChatMessages = Sequence[Mapping[str, Any]]


def sft_row(
    messages: ChatMessages, *, form: str, supervised: Collection[int] = (), tools: list[Any] | None = None
) -> Row:
    """One conversation. `supervised`: the places, from 0, of the replies that are trained on."""
    if form == "sharegpt":
        return shared(messages, tools)
    if form == "openai":
        weighed = [
            {**message, "weight": int(place in supervised)} if message["role"] == "assistant" else message
            for place, message in enumerate(messages)
        ]
        return {"messages": as_openai(weighed), **_with(tools)}
    return {"messages": [dict(message) for message in messages], **_with(tools)}


def as_openai(messages: ChatMessages) -> list[Row]:
    """Messages as OpenAI takes them: the arguments of a call are JSON in a text."""
    return [
        {**message, "tool_calls": [_call_as_text(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else dict(message)
        for message in messages
    ]


def shared(messages: ChatMessages, tools: list[Any] | None) -> Row:
    """One conversation as ShareGPT has it; a call of a tool is a turn of its own."""
    tools_as_text = {"tools": json.dumps(tools, ensure_ascii=False)} if tools else {}
    return {"conversations": turns(messages), **tools_as_text}


def turns(messages: ChatMessages) -> list[Row]:
    found: list[Row] = []
    for message in messages:
        calls = message.get("tool_calls") or []
        if message["content"] or not calls:
            found.append({"from": SPEAKERS[message["role"]], "value": message["content"]})
        for call in calls:
            function = call.get("function", call) if isinstance(call, Mapping) else call
            found.append({"from": "function_call", "value": json.dumps(function, ensure_ascii=False)})
    return found


def _with(tools: list[Any] | None) -> Row:
    return {"tools": tools} if tools else {}


def _call_as_text(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or isinstance(function.get("arguments"), str):
        return call
    arguments = json.dumps(function.get("arguments", {}), ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}
