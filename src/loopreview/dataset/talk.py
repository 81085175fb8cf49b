"""A transcript as the messages that a model is trained on."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from loopreview.models.transcript import Message, Transcript

_CARRIED = ("tool_calls", "tool_call_id", "name")

ChatMessage = dict[str, Any]


class Talk(NamedTuple):
    """Messages with the exchanges marked in them. messages[:ends[n - 1]] ends with the last reply of exchange n."""

    messages: list[ChatMessage]
    ends: list[int]
    unweighted: frozenset[int]
    """Exchanges whose last reply came with a weight of 0: its maker kept it out of training."""
    tools: list[Any] | None
    own_system: bool
    """Whether it came with a system message of its own, which is replaced."""

    def reply(self, exchange: int) -> ChatMessage:
        return self.messages[self.ends[exchange - 1] - 1]

    def replies(self, exchange: int) -> list[int]:
        """The places of the exchange's replies; several where tools were called."""
        first = self.ends[exchange - 2] if exchange > 1 else 0
        last = self.ends[exchange - 1]
        return [place for place in range(first, last) if self.messages[place]["role"] == "assistant"]

    def merged(self, messages: list[ChatMessage]) -> "Talk":
        """The same with `messages`, which have the system message in another one."""
        fewer = len(self.messages) - len(messages)
        return self._replace(messages=messages, ends=[end - fewer for end in self.ends])


def talk_of(transcript: Transcript, system: str) -> Talk:
    """The messages of a transcript under the system message `system`, which takes the place of its own."""
    messages: list[ChatMessage] = [{"role": "system", "content": system}]
    ends: list[int] = []
    unweighted = set()
    last: Message | None = None  # the last reply of the exchange that is being read
    end = 0

    def close() -> None:
        if last is not None:
            ends.append(end)
            if last.extra.get("weight") == 0 and not isinstance(last.extra.get("weight"), bool):
                unweighted.add(len(ends))

    for message in transcript.messages:
        if message.role == "system":
            continue
        if message.role == "user" and last is not None:
            close()
            last = None
        messages.append(_chat_message(message))
        if message.role == "assistant":
            last, end = message, len(messages)
    close()
    tools = next((message.extra["tools"] for message in transcript.messages if message.extra.get("tools")), None)
    own_system = any(message.role == "system" for message in transcript.messages)
    return Talk(messages, ends, frozenset(unweighted), _tools(tools), own_system)


def is_empty(reply: Mapping[str, Any]) -> bool:
    return not reply["content"].strip() and not reply.get("tool_calls")


def _chat_message(message: Message) -> ChatMessage:
    found: ChatMessage = {"role": message.role, "content": message.text}
    for key in _CARRIED:
        if message.extra.get(key):
            found[key] = [_call(call) for call in message.extra[key]] if key == "tool_calls" else message.extra[key]
    return found


def _tools(tools: Any) -> list[Any] | None:
    """The list of tools; ShareGPT has it as text."""
    if isinstance(tools, str):
        tools = _parsed(tools)
    return tools if isinstance(tools, list) and tools else None


def _call(call: Any) -> Any:
    """A call with its arguments as an object, which chat templates take; OpenAI has them as text."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    arguments = _parsed(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
