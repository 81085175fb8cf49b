"""ShareGPT conversations: `{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}, …]}`."""

import json
from collections.abc import Mapping
from typing import Any

from loopreview.formats.conversation import Unusable, transcript_of
from loopreview.formats.reading import is_turn_list
from loopreview.models.transcript import Message, Role, Transcript

KEYS = ("conversations", "conversation", "items")
"""Where the turns stand; `items` only where they have `from` and `value`, as the word means much else."""
SPEAKERS = ("from", "role", "speaker")
TEXTS = ("value", "content", "text")
ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "claude": "assistant", "gemini": "assistant", "model": "assistant", "bot": "assistant", "chatbot": "assistant",
    "ai": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "tool_response": "tool",
}  # fmt: skip
CALLS = ("function_call", "tool_call")
"""Turns whose text is the call of a tool."""


def turns_of(record: Mapping[str, Any]) -> Any:
    """What stands where ShareGPT has its turns, or null."""
    for key in KEYS:
        found = record.get(key)
        if found and (key != "items" or is_turn_list(found)):
            return found
    return None


def transcript_of_sharegpt(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of one record: an object with `conversations`, or a list of turns.

    A system text and the tools may also stand beside the turns. Turns that call a tool get `tool_calls` as OpenAI
    writes them. All else that a turn carries, such as a weight, is kept in `Message.extra`. Raises Unusable.
    """
    record = value if isinstance(value, Mapping) else {"conversations": value}
    found = turns_of(record)
    if not isinstance(found, list):
        raise Unusable("`conversations` is no list with turns in it")
    messages = [_message(turn, number) for number, turn in enumerate(found, 1)]
    system = record.get("system") or record.get("system_prompt")
    if isinstance(system, str) and system.strip() and messages[0].role != "system":
        messages.insert(0, Message(role="system", text=system))
    if record.get("tools"):
        messages[0] = messages[0].model_copy(update={"extra": {**messages[0].extra, "tools": record["tools"]}})
    return transcript_of(record, messages, notes, max_chars)


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, Mapping):
        raise Unusable(f"turn {number} is no object with from and value")
    speaker_key = next((key for key in SPEAKERS if turn.get(key) is not None), "")
    if not speaker_key:
        raise Unusable(f"turn {number} does not say who speaks (`from`)")
    speaker = str(turn[speaker_key]).strip().lower()
    role = ROLES.get(speaker)
    if role is None:
        raise Unusable(f"turn {number}: unknown speaker `{str(turn[speaker_key])[:40]}`; known are {', '.join(ROLES)}")
    text_key = next((key for key in TEXTS if turn.get(key) is not None), "")
    text = turn.get(text_key)
    calls = _calls(text) if speaker in CALLS else None
    if not isinstance(text, str):
        if not text_key and turn.get("tool_calls"):
            text = ""
        elif calls is None:
            raise Unusable(f"turn {number} ({speaker}) has no text (`value`)")
    extra = {
        key: kept
        for key, kept in turn.items()
        if key not in (speaker_key, text_key, "marks") and kept not in (None, [])
    }
    if calls is not None:
        text, extra["tool_calls"] = "", calls
    return Message(role=role, text=str(text), extra=extra)


def _calls(value: Any) -> list[dict[str, Any]] | None:
    """The tool calls that a turn's text is, as OpenAI writes them; null where it is something else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return None
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": _arguments(call.get("arguments"))}}
        for call in calls
    ]


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps({} if value is None else value, ensure_ascii=False)
