"""Answers of judges that ran elsewhere: `{transcript, criterion, backend, answer, reasoning?, evidence?}` a line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.fields import BadLine, answer_field, name_field, text_field
from loopreview.formats.reading import Skip, Value, read_values
from loopreview.models.settings import RESERVED_BACKENDS
from loopreview.models.verdict import Evidence, JudgeAnswer

MAX_QUOTES = 100
"""Quotes kept of one line."""


class VerdictLine(NamedTuple):
    """One answer. A quote that came without its exchange has exchange 0, one without a role has role null."""

    source: str
    line: int | None
    transcript: str
    criterion: str
    backend: str
    answer: JudgeAnswer
    reasoning: str
    evidence: tuple["Quote", ...]
    counter_evidence: "Quote | None"
    notes: tuple[str, ...]


class Quote(NamedTuple):
    """A quote as it came, before it has been looked for in the transcript."""

    exchange: int
    role: str | None
    text: str
    occurrence: int

    def evidence(self) -> Evidence:
        return Evidence(
            exchange=self.exchange,
            role="user" if self.role == "user" else "assistant",
            quote=self.text,
            occurrence=self.occurrence,
        )


def read_verdicts(path: Path, *, max_chars: int) -> Iterator[VerdictLine | Skip]:
    """The answers of a JSONL file (a JSON array does as well), in order; a line that is none comes as a Skip."""
    for value in read_values(path):
        if isinstance(value, Skip):
            yield value
            continue
        source = f"{path.name}#{value.place}"
        try:
            yield _verdict(source, value, max_chars)
        except BadLine as error:
            yield Skip(source, value.line, str(error))


def _verdict(source: str, value: Value, max_chars: int) -> VerdictLine:
    row = value.value
    if not isinstance(row, Mapping):
        raise BadLine("no object with transcript, criterion, backend and answer")
    backend = name_field(row, "backend")
    if backend in RESERVED_BACKENDS:
        raise BadLine(f"the backend `{backend}` has a meaning of its own; name it otherwise")
    notes = list(value.notes)
    counter = _quotes(row.get("counter_evidence"), "counter_evidence", max_chars, notes)
    return VerdictLine(
        source=source,
        line=value.line,
        transcript=name_field(row, "transcript"),
        criterion=name_field(row, "criterion"),
        backend=backend,
        answer=answer_field(row),
        reasoning=text_field(row, "reasoning", max_chars),
        evidence=_quotes(row.get("evidence"), "evidence", max_chars, notes),
        counter_evidence=counter[0] if counter else None,
        notes=tuple(notes),
    )


def _quotes(value: Any, key: str, max_chars: int, notes: list[str]) -> tuple[Quote, ...]:
    """The quotes of one line. One that cannot be used is left out and noted: the answer counts without it."""
    given = value if isinstance(value, list) else [] if value is None else [value]
    found = [quote for element in given[:MAX_QUOTES] if (quote := _quote(element, max_chars))]
    if len(found) < len(given):
        notes.append(f"{len(given) - len(found)} of {len(given)} quotes in `{key}` could not be used and were left out")
    return tuple(found)


def _quote(value: Any, max_chars: int) -> Quote | None:
    row = value if isinstance(value, Mapping) else {"quote": value}
    text, role = row.get("quote"), row.get("role")
    if not isinstance(text, str) or not text.strip() or len(text) > max_chars:
        return None
    if role not in (None, "user", "assistant"):
        return None
    return Quote(_whole(row.get("exchange"), 0), role, text, _whole(row.get("occurrence"), 1))


def _whole(value: Any, default: int) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 1 <= value <= 1_000_000 else default
