"""Rows of preference data: pairs of a better and a worse reply (DPO), and replies with a verdict (KTO).

trl        {"prompt": […], "chosen": [reply], "rejected": [reply]}
           {"prompt": […], "completion": [reply], "label": true}
openai     {"input": {"messages": […]}, "preferred_output": [reply], "non_preferred_output": [reply]}
sharegpt   {"conversations": […], "chosen": turn, "rejected": turn}
           {"conversations": […, turn], "label": true}
"""

from collections.abc import Mapping
from typing import Any

from loopreview.formats.sft import ChatMessages, Row, as_openai, shared, turns

DPO_FORMATS = ("trl", "openai", "sharegpt")
KTO_FORMATS = ("trl", "sharegpt")


def dpo_row(
    prompt: ChatMessages,
    chosen: Mapping[str, Any],
    rejected: Mapping[str, Any],
    *,
    form: str,
    tools: list[Any] | None = None,
) -> Row:
    """Two replies to the same conversation, the better one `chosen`."""
    if form == "sharegpt":
        return {**shared(prompt, tools), "chosen": turns([chosen])[-1], "rejected": turns([rejected])[-1]}
    if form == "openai":
        given = {"messages": as_openai(prompt), "tools": tools or [], "parallel_tool_calls": True}
        return {
            "input": given,
            "preferred_output": as_openai([chosen]),
            "non_preferred_output": as_openai([rejected]),
        }
    return {**_prompt(prompt), "chosen": [dict(chosen)], "rejected": [dict(rejected)], **_with(tools)}


def kto_row(
    prompt: ChatMessages,
    completion: Mapping[str, Any],
    label: bool,
    *,
    form: str,
    tools: list[Any] | None = None,
) -> Row:
    """One reply, and whether it is a good one."""
    if form == "sharegpt":
        return {**shared([*prompt, completion], tools), "label": label}
    return {**_prompt(prompt), "completion": [dict(completion)], "label": label, **_with(tools)}


def _prompt(prompt: ChatMessages) -> Row:
    return {"prompt": [dict(message) for message in prompt]}


def _with(tools: list[Any] | None) -> Row:
    return {"tools": tools} if tools else {}
