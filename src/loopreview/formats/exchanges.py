"""Numbered exchanges: `{"persona": …, "exchanges": [{"exchange_number": 1, "user": …, "assistant": …}, …]}`."""

from collections.abc import Mapping
from typing import Any

from loopreview.formats.conversation import Unusable, transcript_of
from loopreview.models.transcript import Message, Transcript


def transcript_of_exchanges(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of one record. The order of the file counts, not the exchanges' numbers; a jump is noted.

    The persona is kept as it came. The last exchange may lack its reply, and is then dropped. Raises Unusable.
    """
    record = value if isinstance(value, Mapping) else {"exchanges": value}
    found = record.get("exchanges")
    if not isinstance(found, list) or not found:
        raise Unusable("`exchanges` is no list with exchanges in it")
    messages = []
    system = record.get("system")
    if isinstance(system, str) and system:
        messages.append(Message(role="system", text=system))
    for number, exchange in enumerate(found, 1):
        if not isinstance(exchange, Mapping):
            raise Unusable(f"exchange {number} is no object with user and assistant")
        messages.append(Message(role="user", text=_text(exchange, "user", number)))
        if number == len(found) and exchange.get("assistant") is None:
            break
        messages.append(Message(role="assistant", text=_text(exchange, "assistant", number)))
    _note_jump([exchange.get("exchange_number") for exchange in found], notes)
    return transcript_of(record, messages, notes, max_chars)


def _text(exchange: Mapping[str, Any], role: str, number: int) -> str:
    if role not in exchange:
        raise Unusable(f"exchange {number} has no `{role}`")
    text = exchange[role]
    if isinstance(text, str):
        return text
    shown = "null" if text is None else "an object" if isinstance(text, Mapping | list) else f"{str(text)[:20]}"
    raise Unusable(f"exchange {number}: `{role}` is {shown}, not a text")


def _note_jump(numbers: list[Any], notes: list[str]) -> None:
    if all(number is None for number in numbers):
        return
    for place, number in enumerate(numbers, 1):
        if number != place:
            notes.append(
                f"the exchange numbers jump (number {str(number)[:20]} at place {place}); counted anew from 1, in the "
                "file's order"
            )
            return
