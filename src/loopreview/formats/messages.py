"""OpenAI style messages: `{"messages": [{"role": …, "content": …}, …]}`, or the bare list."""

from collections.abc import Mapping
from typing import Any, get_args

from loopreview.formats.conversation import Unusable, transcript_of
from loopreview.models.transcript import Message, Role, Transcript

ROLES: tuple[Role, ...] = get_args(Role)
ALIASES: dict[str, Role] = {"developer": "system", "function": "tool"}
"""Other names that OpenAI gives, or gave, to these roles."""
TEXT_PARTS = ("text", "input_text", "output_text")


def transcript_of_messages(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of one record: an object with `messages`, or a list of messages.

    Each message has a role and a content (a text, or a list of parts of which the text ones are joined by line
    breaks). All else that a message carries is kept in `Message.extra`. Raises Unusable.
    """
    record = value if isinstance(value, Mapping) else {"messages": value}
    found = record.get("messages")
    if not isinstance(found, list) or not found:
        raise Unusable("`messages` is no list with messages in it")
    messages = [_message(message, number, notes) for number, message in enumerate(found, 1)]
    if record.get("tools"):
        # Which tools could be called belongs to the whole record; the first message carries it.
        messages[0] = messages[0].model_copy(update={"extra": {**messages[0].extra, "tools": record["tools"]}})
    return transcript_of(record, messages, notes, max_chars)


def _message(value: Any, number: int, notes: list[str]) -> Message:
    if not isinstance(value, Mapping):
        raise Unusable(f"message {number} is no object with role and content")
    role = _role(value.get("role"), number)
    # `marks` is our own word for broken limits.
    extra = {
        key: kept for key, kept in value.items() if key not in ("role", "content", "marks") and kept not in (None, [])
    }
    return Message(role=role, text=_text(value, role, number, notes), extra=extra)


def _role(value: Any, number: int) -> Role:
    if isinstance(value, str):
        name = value.strip().lower()
        if name in ALIASES:
            return ALIASES[name]
        for role in ROLES:
            if role == name:
                return role
    shown = f"unknown role `{str(value)[:40]}`" if value is not None else "no role"
    raise Unusable(f"message {number}: {shown}; known are {', '.join(ROLES)}")


def _text(message: Mapping[str, Any], role: Role, number: int, notes: list[str]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return _joined_parts(content, number, notes)
    if content is None:
        if isinstance(message.get("refusal"), str):
            return str(message["refusal"])
        if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            return ""
        raise Unusable(f"message {number} ({role}): its content is null")
    kind = "an object" if isinstance(content, Mapping) else f"{str(content)[:20]}"
    raise Unusable(f"message {number} ({role}): its content is {kind}, not a text or a list of parts")


def _joined_parts(parts: list[Any], number: int, notes: list[str]) -> str:
    texts, left_out = [], []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") in TEXT_PARTS else part
        if isinstance(text, str):
            texts.append(text)
        else:
            left_out.append(str(part.get("type"))[:40] if isinstance(part, Mapping) else "a part without text")
    if left_out:
        notes.append(f"message {number}: what is no text was left out ({', '.join(sorted(set(left_out)))})")
    return "\n".join(texts)
