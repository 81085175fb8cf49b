"""What every form of transcript has in common: mending a list of messages, and what stands beside it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from loopreview.models.transcript import Message, Role, Transcript
from loopreview.models.verdict import JudgeAnswer

MAX_DEPTH = 50
"""Levels of nesting kept in a persona or beside a message (tool calls); what is deeper is refused."""
MAX_ID_CHARS = 200
MAX_TARGET_EXCHANGES = 1_000_000
CALLS = ("tool_calls", "function_call")
"""Where a message says which tools it calls; the second is OpenAI's older form."""
NAMED_PLACES = 5
"""How many places a note names before it only counts."""


class GivenAnswer(NamedTuple):
    """An answer that came with a transcript: a judge's (`backend`), or a person's (`reviewer`), whose answer is null
    for a mere remark. `criterion` is the file's own word, `at` UTC in ISO 8601, or empty where it is not known;
    `problem` says why what stands there is no answer."""

    criterion: str
    answer: JudgeAnswer | None
    text: str
    backend: str = ""
    reviewer: str = ""
    at: str = ""
    problem: str = ""


class Record(NamedTuple):
    """One transcript as it came, not yet stored: its id is empty. `notes` say what was mended in it."""

    transcript: Transcript
    line: int | None
    notes: tuple[str, ...]
    answers: tuple[GivenAnswer, ...] = ()


class Unusable(ValueError):
    """A record that is no transcript; the message says why."""


def transcript_of(record: Mapping[str, Any], messages: list[Message], notes: list[str], max_chars: int) -> Transcript:
    """A transcript of `messages`, mended, with the persona, the target length and the model named in `record`.

    The source is left for the caller, who knows the file. What was mended is added to `notes`.
    Raises Unusable: no assistant message, a message over `max_chars` characters, nesting over MAX_DEPTH.
    """
    mended = mend(messages, notes)
    for number, message in enumerate(mended, 1):
        _check_size(f"message {number} ({message.role})", message.text, message.extra, max_chars)
    persona = _persona(_beside(record, "persona"))
    _check_size("the persona", "", persona, max_chars)
    model = record.get("model")
    if isinstance(model, str) and model.strip():
        mended = [m.model_copy(update={"model": model}) if m.role == "assistant" else m for m in mended]
    return Transcript(
        id="",
        batch=0,
        number=0,
        origin="imported",
        persona=persona,
        target_exchanges=_target(_beside(record, "target_exchanges"), notes),
        messages=mended,
    )


def record_id(record: Any) -> str | None:
    """The id that a record names itself by, on one line; null where it has none that can be used."""
    found = _beside(record, "id") if isinstance(record, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    text = " ".join(str(found).split())
    return text if 0 < len(text) <= MAX_ID_CHARS else None


def mend(messages: list[Message], notes: list[str]) -> list[Message]:
    """Messages that make whole exchanges: two of the user, or of the assistant, in a row are joined by a blank
    line (not around tool calls, nor where their weights differ), what follows the last reply is dropped. Adds to
    `notes`. Raises Unusable."""
    if not any(message.role == "assistant" for message in messages):
        raise Unusable("no assistant message")
    last = max(place for place, message in enumerate(messages) if message.role == "assistant")
    dropped = [message.role for message in messages[last + 1 :]]
    groups: list[list[Message]] = []
    joined: dict[Role, list[int]] = {}
    for number, message in enumerate(messages[: last + 1], 1):
        if groups and _belong_together(groups[-1][-1], message):
            groups[-1].append(message)
            joined.setdefault(message.role, []).append(number)
        else:
            groups.append([message])
    for role, numbers in joined.items():
        notes.append(f"{role} messages in a row were merged ({_places(numbers)} into the one before)")
    if dropped == ["user"]:
        notes.append("the trailing user message, which has no reply, was dropped")
    elif dropped:
        roles = ", ".join(sorted(set(dropped)))
        notes.append(f"{len(dropped)} trailing messages ({roles}), which have no reply, were dropped")
    mended = [_joined(group) for group in groups]
    empty = [number for number, message in enumerate(mended, 1) if _is_empty_reply(message)]
    if empty:
        notes.append(f"{_places(empty)}: the reply is empty")
    return mended


def _belong_together(one: Message, other: Message) -> bool:
    if one.role != other.role or one.role not in ("user", "assistant"):
        return False
    called = any(key in message.extra for key in CALLS for message in (one, other))
    return not called and one.extra.get("weight", 1) == other.extra.get("weight", 1)


def _joined(group: list[Message]) -> Message:
    if len(group) == 1:
        return group[0]
    extra: dict[str, Any] = {}
    for message in group:
        extra.update(message.extra)
    return Message(role=group[0].role, text="\n\n".join(m.text for m in group if m.text), extra=extra)


def _is_empty_reply(message: Message) -> bool:
    return message.role == "assistant" and not message.text.strip() and not any(key in message.extra for key in CALLS)


def _places(numbers: list[int]) -> str:
    named = ", ".join(str(number) for number in numbers[:NAMED_PLACES])
    rest = len(numbers) - NAMED_PLACES
    return f"message{'s' if len(numbers) > 1 else ''} {named}{f' and {rest} more' if rest > 0 else ''}"


def _check_size(what: str, text: str, beside: Any, max_chars: int) -> None:
    depth, chars = _weigh(beside)
    chars += len(text)
    if chars > max_chars:
        raise Unusable(f"{what} has {chars:,} characters; max_message_chars is {max_chars:,}")
    if depth > MAX_DEPTH:
        raise Unusable(f"{what} is nested more than {MAX_DEPTH} levels deep")


def _weigh(value: Any) -> tuple[int, int]:
    """Levels of nesting and characters of text in a JSON value, without recursion."""
    depth = chars = 0
    level: Iterable[Any] = [value]
    while True:
        below: list[Any] = []
        for element in level:
            if isinstance(element, str):
                chars += len(element)
            elif isinstance(element, Mapping):
                chars += sum(map(len, element))
                below.extend(element.values())
            elif isinstance(element, list):
                below.extend(element)
        if not below:
            return depth, chars
        level, depth = below, depth + 1


def _beside(record: Mapping[str, Any], key: str) -> Any:
    """A field of the record, or of the `metadata` it carries."""
    metadata = record.get("metadata")
    if record.get(key) is None and isinstance(metadata, Mapping):
        return metadata.get(key)
    return record.get(key)


def _persona(value: Any) -> dict[str, Any] | None:
    """An object as it came; a text becomes the persona's name."""
    if isinstance(value, str) and value.strip():
        return {"name": value}
    return value if isinstance(value, dict) and value else None


def _target(value: Any, notes: list[str]) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_TARGET_EXCHANGES:
        return value
    notes.append(f"target_exchanges is no whole number from 1 to {MAX_TARGET_EXCHANGES:,} and was left out")
    return None
