"""Which form a file and a record have (`--format auto`), and reading files of any known form."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from loopreview.formats import huggingface, inspect, text
from loopreview.formats.conversation import Record, Unusable, record_id
from loopreview.formats.exchanges import transcript_of_exchanges
from loopreview.formats.messages import transcript_of_messages
from loopreview.formats.reading import (
    JSON_SUFFIXES,
    Skip,
    Value,
    is_message_list,
    is_turn_list,
    read_lines,
    read_values,
)
from loopreview.formats.sharegpt import transcript_of_sharegpt, turns_of
from loopreview.models.errors import UserError
from loopreview.models.transcript import Transcript

FORMATS: dict[str, Callable[[Any, list[str], int], Transcript]] = {
    "messages": transcript_of_messages,
    "sharegpt": transcript_of_sharegpt,
    "exchanges": transcript_of_exchanges,
    "inspect": inspect.transcript_of_sample,
    "text": text.transcript_of_text,
    "huggingface": huggingface.transcript_of_prompt,
}
KNOWN = (
    "known are messages (`messages`: role and content each), sharegpt (`conversations`: from and value each), "
    "exchanges (`exchanges`: user and assistant each), `prompt` with `completion`, and Inspect logs"
)
ARCHIVE = (b"PK\x03\x04", b"PK\x05\x06")
ROWS = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
"""How parquet files, and Arrow files and streams begin."""


NO_TEXT_SUFFIXES = (*JSON_SUFFIXES, ".eval", ".parquet", ".arrow")
FORM_OF_KIND = {"archive": "inspect", "text": "text"}
"""Kinds of files whose records have one form."""


def forms_of(value: Any) -> list[str]:
    """The forms that a record may have: one as a rule, none where it is unknown."""
    if is_message_list(value) or is_turn_list(value):
        return ["messages" if is_message_list(value) else "sharegpt"]
    if not isinstance(value, Mapping):
        return []
    if inspect.is_sample(value):
        return ["inspect"]
    found = {
        "messages": value.get("messages"),
        "sharegpt": turns_of(value),
        "exchanges": value.get("exchanges"),
        "huggingface": huggingface.has_prompt(value) and value["completion"],
    }
    # An empty field beside a full one says nothing; by itself it names the form, whose reader says what is wrong.
    keys = {"messages": "messages", "sharegpt": "conversations", "exchanges": "exchanges"}
    return [name for name, held in found.items() if held] or [n for n, key in keys.items() if key in value][:1]


def read_transcripts(
    path: Path, *, format: str = "auto", max_message_chars: int, name: str | None = None
) -> Iterator[Record | Skip]:
    """The transcripts of a file in order, one at a time; a record that is none comes as a Skip with its reason.

    A transcript's source is the file's name (or `name`), `#`, and the record's id, else its line (JSONL) or position.
    Where an id was used before in the file, the line or position stands in its place, and a note says so.
    Raises UserError for a format that is not known.
    """
    check_format(format)
    return _transcripts(path, format, max_message_chars, name or path.name)


def check_format(format: str) -> None:
    """Raises UserError for a format that is not known."""
    if format != "auto" and format not in FORMATS:
        known = ", ".join(("auto", *FORMATS))
        raise UserError(f"--format {format}: not a form this version reads; use one of {known}")


def _transcripts(path: Path, format: str, max_chars: int, file: str) -> Iterator[Record | Skip]:
    used: set[str] = set()
    try:
        kind = _kind(path, format)
    except OSError as error:
        yield Skip(file, None, f"cannot be read: {error.strerror or error}")
        return
    for value in _records(path, kind, format):
        if isinstance(value, Skip):
            yield value._replace(source=file + value.source.removeprefix(path.name))
            continue
        notes = list(value.notes)
        source = f"{file}#{_name(value, used, notes)}"
        try:
            form = FORM_OF_KIND[kind] if kind in FORM_OF_KIND else _form(value.value, format)
            transcript = FORMATS[form](value.value, notes, max_chars)
        except Unusable as error:
            yield Skip(source, value.line, str(error))
            continue
        answers = inspect.answers_of_sample(value.value) if form == "inspect" else ()
        yield Record(transcript.model_copy(update={"source": source}), value.line, tuple(notes), answers)


def _kind(path: Path, format: str) -> Literal["archive", "rows", "text", "json"]:
    """How a file is to be read, as it begins; its name decides between JSON and plain text. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ARCHIVE):
        return "archive"
    if start.startswith(ROWS):
        return "rows"
    return "text" if format == "text" or (format == "auto" and _is_text(path)) else "json"


def _is_text(path: Path) -> bool:
    """Whether a file is plain text. A name that says it is something else is believed."""
    if path.suffix.lower() in NO_TEXT_SUFFIXES:
        return False
    first = next((line for line in read_lines(path) if line.problem or line.text.strip()), None)
    if first is None or first.problem:
        return False
    # `[10:02] User: hello` is no JSON.
    return first.text.lstrip()[:1] not in ("{", "[") or text.begins_with_speaker(first.text)


def _records(path: Path, kind: str, format: str) -> Iterator[Value | Skip]:
    if kind == "archive" and format not in ("auto", "inspect"):
        yield Skip(path.name, None, f"an archive, as Inspect writes them; --format {format} does not fit it")
    elif kind == "archive":
        yield from inspect.read_archive(path)
    elif kind == "rows":
        yield from huggingface.read_rows(path)
    elif kind == "text":
        yield from text.read_text(path)
    else:
        for value in read_values(path):
            if format in ("auto", "inspect") and isinstance(value, Value) and inspect.is_log(value.value):
                yield from inspect.samples_of(path, value)
            else:
                yield value


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


def _form(value: Any, format: str) -> str:
    """Raises Unusable where the form is unknown or not certain."""
    if format != "auto" and not (format == "huggingface" and _is_row(value)):
        return format
    forms = forms_of(value)
    if len(forms) > 1:
        raise Unusable(f"may be read as {' or '.join(forms)}; say which with --format")
    if forms:
        return forms[0]
    if isinstance(value, Mapping):
        keys = ", ".join(str(key)[:30] for key in list(value)[:6])
        raise Unusable(f"an unknown form (an object with {keys or 'nothing in it'}); {KNOWN}")
    raise Unusable(f"an unknown form (no object with a conversation in it); {KNOWN}")


def _is_row(value: Any) -> bool:
    """A dataset's row may have its conversation in any of the columns."""
    return isinstance(value, Mapping) and not huggingface.has_prompt(value)
