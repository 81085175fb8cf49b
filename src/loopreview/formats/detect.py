"""Which form a record has (`--format auto`), and reading files of any known form."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loopreview.formats.conversation import Record, Unusable, record_id
from loopreview.formats.exchanges import transcript_of_exchanges
from loopreview.formats.messages import transcript_of_messages
from loopreview.formats.reading import Skip, Value, is_message_list, read_values
from loopreview.models.errors import UserError
from loopreview.models.transcript import Transcript

FORMATS: dict[str, Callable[[Any, list[str], int], Transcript]] = {
    "messages": transcript_of_messages,
    "exchanges": transcript_of_exchanges,
}
KNOWN = "known are messages (`messages`: role and content each) and exchanges (`exchanges`: user and assistant each)"


def format_of(value: Any) -> str | None:
    """The form of one record, or null."""
    if isinstance(value, Mapping):
        return next((name for name in FORMATS if name in value), None)
    return "messages" if is_message_list(value) else None


def read_transcripts(path: Path, *, format: str = "auto", max_message_chars: int) -> Iterator[Record | Skip]:
    """The transcripts of a file in order, one at a time; a record that is none comes as a Skip with its reason.

    A transcript's source is the file's name, `#`, and the record's id, else its line (JSONL) or position (JSON).
    Where an id was used before in the file, the line or position stands in its place, and a note says so.
    Raises UserError for a format that is not known.
    """
    check_format(format)
    return _transcripts(path, format, max_message_chars)


def check_format(format: str) -> None:
    """Raises UserError for a format that is not known."""
    if format != "auto" and format not in FORMATS:
        raise UserError(f"--format {format}: not a form this version reads; use auto, {' or '.join(FORMATS)}")


def _transcripts(path: Path, format: str, max_chars: int) -> Iterator[Record | Skip]:
    used: set[str] = set()
    for value in read_values(path):
        if isinstance(value, Skip):
            yield value
            continue
        notes = list(value.notes)
        source = f"{path.name}#{_name(value, used, notes)}"
        try:
            transcript = _build(value.value, format, notes, max_chars)
        except Unusable as error:
            yield Skip(source, value.line, str(error))
            continue
        yield Record(transcript.model_copy(update={"source": source}), value.line, tuple(notes))


def _name(value: Value, used: set[str], notes: list[str]) -> str:
    """What tells this record from the others of its file."""
    wanted = record_id(value.value)
    name = wanted or value.place
    if name in used:
        if wanted:
            notes.append(f"the id {wanted} was used before in this file; this one is named {value.place}")
        name = value.place
    while name in used:
        name += "'"
    used.add(name)
    return name


def _build(value: Any, format: str, notes: list[str], max_chars: int) -> Transcript:
    name = format_of(value) if format == "auto" else format
    if name is None:
        if isinstance(value, Mapping):
            keys = ", ".join(str(key)[:30] for key in list(value)[:6])
            raise Unusable(f"an unknown form (an object with {keys or 'nothing in it'}); {KNOWN}")
        raise Unusable(f"an unknown form (no object with a conversation in it); {KNOWN}")
    return FORMATS[name](value, notes, max_chars)
