"""Reading JSON and JSON lines that somebody else wrote: encodings, half lines, values that are no JSON."""

import codecs
import io
import json
import math
import re
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line of a JSONL file is skipped, so that one line cannot fill the memory."""
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""A JSON file is read whole; a longer one has to come as JSONL."""
JSONL_SUFFIXES = (".jsonl", ".ndjson")
JSON_SUFFIXES = (".json", *JSONL_SUFFIXES)

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class Skip(NamedTuple):
    """A record, line or file that was left out, and why. `line` counts from 1; null where it is not known."""

    source: str
    line: int | None
    reason: str


class Value(NamedTuple):
    """One JSON value of a file. `place` is its line in a JSONL file, else its position, both from 1."""

    value: Any
    line: int | None
    place: str
    notes: tuple[str, ...]


class Line(NamedTuple):
    """One line of text, or what is wrong with it. `ended`: a line break follows."""

    number: int
    text: str
    problem: str | None
    ended: bool


class Malformed(ValueError):
    """Text that is not JSON. `line` and `column` count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line, self.column = line, column


def read_values(path: Path) -> Iterator[Value | Skip]:
    """The records of a JSON or JSONL file, in order; what cannot be read comes as a Skip.

    JSON or JSONL is told by the content. A JSON array gives its elements, except an array of messages, which is
    one record. JSONL is read line by line, so that its length does not matter.
    """
    try:
        yield from _values(path)
    except OSError as error:
        yield Skip(path.name, None, f"cannot be read: {error.strerror or error}")


def _values(path: Path) -> Iterator[Value | Skip]:
    lines = (line for line in read_lines(path) if line.problem or line.text.strip())
    first = next(lines, None)
    if first is None:
        yield Skip(path.name, None, "the file is empty")
        return
    second = next(lines, None)
    is_jsonl = path.suffix.lower() in JSONL_SUFFIXES
    found = _parsed(first)
    if found and second is None and (not is_jsonl or _is_record_list(found.value)):
        yield from _records(path, found)
        return
    if not found:
        # One document over many lines, or JSONL with a broken first line.
        document = list(_document(path))
        if not isinstance(document[0], Skip) or not (is_jsonl or (second and _parsed(second))):
            yield from document
            return
    for line in chain((first,), (second,) if second else (), lines):
        yield _of_line(path, line)


def _parsed(line: Line) -> "Parsed | None":
    """The list or object that a line is by itself, else null."""
    try:
        found = None if line.problem else parse(line.text)
    except Malformed:
        return None
    return found if found and isinstance(found.value, list | dict) else None


def _document(path: Path) -> Iterator[Value | Skip]:
    """The records of a file that is one JSON document."""
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        reason = f"one JSON document of over {MAX_DOCUMENT_BYTES // 2**20} MB; give it as JSONL, one record a line"
        yield Skip(path.name, None, reason)
        return
    texts = []
    for line in read_lines(path, limit=MAX_DOCUMENT_BYTES):
        if line.problem:
            yield Skip(path.name, line.number, line.problem)
            return
        texts.append(line.text)
    try:
        found = parse("\n".join(texts))
    except Malformed as error:
        yield Skip(path.name, error.line, f"not JSON: {error} (line {error.line} column {error.column})")
        return
    yield from _records(path, found)


def _records(path: Path, found: "Parsed") -> Iterator[Value | Skip]:
    if found.value == []:
        yield Skip(path.name, None, "an empty list: no record in it")
    for position, value in enumerate(found.value if _is_record_list(found.value) else [found.value], 1):
        yield _value(f"{path.name}#{position}", Parsed(value, found.suspect), None, position)


def _of_line(path: Path, line: Line) -> Value | Skip:
    problem = line.problem or ""
    try:
        if not problem:
            return _value(f"{path.name}#{line.number}", parse(line.text), line.number, line.number)
    except Malformed as error:
        cut = "" if line.ended else "; the file ends here, so the line may have been cut off"
        problem = f"not JSON: {error} (column {error.column}){cut}"
    return Skip(f"{path.name}#{line.number}", line.number, problem)


def _value(source: str, found: "Parsed", line: int | None, place: int) -> Value | Skip:
    value, notes = found.value, dict[str, None]()
    if found.suspect:
        try:
            value = _mended(value, notes)
        except RecursionError:
            return Skip(source, line, "nested too deeply")
    return Value(value, line, str(place), tuple(notes))


def is_message_list(value: Any) -> bool:
    """A bare list of messages, rather than a list of records."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def is_turn_list(value: Any) -> bool:
    """A bare list of turns as ShareGPT has them, rather than a list of records."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and {"from", "value"} <= set(value[0])


def _is_record_list(value: Any) -> bool:
    return isinstance(value, list) and not is_message_list(value) and not is_turn_list(value)


def value_of(text: str, source: str, place: int) -> Value | Skip:
    """The value of a JSON text that is no file of its own; `source` names it where it cannot be read."""
    try:
        return _value(source, parse(text), None, place)
    except Malformed as error:
        return Skip(source, None, f"not JSON: {error} (line {error.line} column {error.column})")


class Parsed(NamedTuple):
    """A JSON value. `suspect`: a number in it is not finite, or a text may hold a lone surrogate."""

    value: Any
    suspect: bool


def parse(text: str) -> Parsed:
    """The value of a JSON text. Raises Malformed."""
    odd: list[str] = []

    def number(word: str) -> float:
        found = float(word)
        if not math.isfinite(found):
            odd.append(word)
        return found

    try:
        # Not strict: raw control characters inside a string are kept as they are.
        value = json.loads(text, strict=False, parse_float=number, parse_constant=number)
    except json.JSONDecodeError as error:
        raise Malformed(error.msg.removesuffix(" at"), error.lineno, error.colno) from None
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except ValueError:
        raise Malformed("a number with too many digits") from None
    escaped = _SURROGATE_ESCAPE.search(text)
    return Parsed(value, bool(odd or escaped or (not text.isascii() and _SURROGATE.search(text))))


def without_surrogates(text: str) -> str:
    """Lone surrogates, which neither UTF-8 nor the database can hold, become U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _mended(value: Any, notes: dict[str, None]) -> Any:
    if isinstance(value, str):
        found = without_surrogates(value)
        if found != value:
            notes["lone surrogates were replaced by U+FFFD"] = None
        return found
    if isinstance(value, float) and not math.isfinite(value):
        notes["NaN or an infinity, which JSON does not have, was read as null"] = None
        return None
    if isinstance(value, list):
        return [_mended(element, notes) for element in value]
    if isinstance(value, dict):
        return {_mended(key, notes): _mended(element, notes) for key, element in value.items()}
    return value


def read_lines(path: Path, limit: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The lines of a text file without their line breaks: UTF-8, or UTF-16 with a byte-order mark.

    At most `limit` bytes of a line are held; a longer line comes as a problem. Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(4)
        if start == b"\xff\xfe\x00\x00" or (b"\x00" in start and start[:2] not in _UTF16):
            yield Line(1, "", "not UTF-8 text (a binary file, or UTF-16 without its mark); save it as UTF-8", False)
        elif start[:2] in _UTF16:
            file.seek(2)
            yield from _utf16_lines(io.TextIOWrapper(file, _UTF16[start[:2]], "surrogatepass", "\n"), limit)
        else:
            file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
            yield from _utf8_lines(file, limit)


def _utf8_lines(file: BinaryIO, limit: int) -> Iterator[Line]:
    """Lines end at a line feed alone. A line that is no UTF-8 is a problem of that line only."""
    for number in count(1):
        raw = file.readline(limit)
        if not raw:
            return
        ended = raw.endswith(b"\n")
        if len(raw) == limit and not ended:
            while (rest := file.readline(2**20)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, "", f"longer than {limit // 2**20} MB", ended)
            continue
        try:
            # Encoded surrogates pass here; they are replaced, and that is said, where the JSON is read.
            text = raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            where = f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
            yield Line(number, "", f"not UTF-8: {where}; save the file as UTF-8", ended)
            continue
        yield Line(number, _bare(text), None, ended)


def _utf16_lines(file: io.TextIOWrapper, limit: int) -> Iterator[Line]:
    for number in count(1):
        try:
            text = file.readline(limit)
            ended = text.endswith("\n")
            if len(text) == limit and not ended:
                while (rest := file.readline(2**20)) and not rest.endswith("\n"):
                    pass
                yield Line(number, "", f"longer than {limit // 2**20} MB", ended)
                continue
        except UnicodeDecodeError:
            yield Line(number, "", "not UTF-16 from here on, though the file begins as such; save it as UTF-8", False)
            return
        if not text:
            return
        yield Line(number, _bare(text), None, ended)


def _bare(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")
