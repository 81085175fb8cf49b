"""People's answers: `{transcript, criterion, reviewer, answer, note?}`, a line of JSONL or a row of CSV."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.fields import BadLine, answer_field, name_field, text_field
from loopreview.formats.reading import Line, Skip, read_lines, read_values, without_surrogates
from loopreview.models.errors import UserError
from loopreview.models.verdict import JudgeAnswer

COLUMNS = ("transcript", "criterion", "reviewer", "answer")
DELIMITERS = ",;\t"


class LabelLine(NamedTuple):
    """One person's answer to one criterion of one transcript."""

    source: str
    line: int | None
    transcript: str
    criterion: str
    reviewer: str
    answer: JudgeAnswer
    note: str | None


def read_labels(path: Path, *, max_chars: int) -> Iterator[LabelLine | Skip]:
    """The answers of a JSONL or CSV file, in order; a line that is none comes as a Skip.

    `.csv` and `.tsv` are CSV, `.json` and `.jsonl` are JSON, other files are told by their first character.
    Raises UserError for a CSV file whose header lacks a column.
    """
    for source, line, row in _csv_rows(path) if _is_csv(path) else _json_rows(path):
        try:
            if isinstance(row, str):
                raise BadLine(row)
            yield _label(source, line, row, max_chars)
        except BadLine as error:
            yield Skip(source, line, str(error))


def _label(source: str, line: int | None, row: Any, max_chars: int) -> LabelLine:
    if not isinstance(row, Mapping):
        raise BadLine("no object with transcript, criterion, reviewer and answer")
    return LabelLine(
        source=source,
        line=line,
        transcript=name_field(row, "transcript"),
        criterion=name_field(row, "criterion"),
        reviewer=name_field(row, "reviewer"),
        answer=answer_field(row),
        note=text_field(row, "note", max_chars).strip() or None,
    )


Row = tuple[str, int | None, Any]
"""Source, line, and the fields, or a text that says what is wrong with them."""


def _json_rows(path: Path) -> Iterator[Row]:
    for value in read_values(path):
        if isinstance(value, Skip):
            yield value.source, value.line, value.reason
        else:
            yield f"{path.name}#{value.place}", value.line, value.value


def _is_csv(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv") or suffix in (".json", ".jsonl", ".ndjson"):
        return suffix in (".csv", ".tsv")
    try:
        first = next((line for line in read_lines(path) if line.text.strip()), None)
    except OSError:
        return False
    return first is not None and first.text.lstrip()[:1] not in ("{", "[")


class _Lines:
    """The lines for the CSV reader, which knows neither encodings nor where a row began."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.number = 0
        self.problem: str | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number = line.number
        self.problem = self.problem or line.problem
        return without_surrogates(line.text) + "\n"


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        yield from _rows_of(path)
    except OSError as error:
        yield path.name, None, f"cannot be read: {error.strerror or error}"


def _rows_of(path: Path) -> Iterator[Row]:
    first = next((line for line in read_lines(path) if line.problem or line.text.strip()), None)
    if first is None or first.problem:
        yield path.name, first and first.number, (first and first.problem) or "the file is empty"
        return
    lines = _Lines(read_lines(path))
    reader = csv.reader(lines, delimiter=max(DELIMITERS, key=first.text.count), strict=True)
    header: list[str] | None = None
    while True:
        begin, lines.problem = lines.number + 1, None
        source = f"{path.name}#{begin}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield source, begin, f"not a CSV row: {error}"
            continue
        if cells is None:
            return
        if lines.problem:
            yield source, begin, lines.problem
        elif header is None and cells:
            header = _header(path, begin, cells)
        elif header is not None and any(cell.strip() for cell in cells):
            yield source, begin, dict(zip(header, cells, strict=False))


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise UserError(
            f"{path.name} line {line}: the header has no column {' and no '.join(missing)}; "
            f"it needs {', '.join(COLUMNS)}, and may have note"
        )
    return names
