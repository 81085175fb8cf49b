"""Tool calls of a message, as a person reads them."""

import json
from collections.abc import Mapping
from typing import Any

from loopreview.models.transcript import Message

MAX_CHARACTERS = 2_000
"""A longer argument is cut, and that is shown."""


def calls_of(message: Message) -> list[str]:
    """Each call as `name(argument="value", …)`; what is no such call as the JSON it came as."""
    calls = message.extra.get("tool_calls")
    found = list(calls) if isinstance(calls, list) else [] if calls is None else [calls]
    if message.extra.get("function_call"):
        found.append({"function": message.extra["function_call"]})
    return [_call(call) for call in found]


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return _shown(call)
    given = function.get("arguments")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return f"{function['name']}({_cut(str(given))})"
    if isinstance(given, Mapping):
        return f"{function['name']}({', '.join(f'{key}={_shown(value)}' for key, value in given.items())})"
    return f"{function['name']}({'' if given is None else _shown(given)})"


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}… ({len(text):,} characters)"
