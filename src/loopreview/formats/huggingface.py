"""Hugging Face datasets: parquet and Arrow files, the folders of `save_to_disk`, and prompt with completion."""

import importlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from loopreview.formats.conversation import Unusable
from loopreview.formats.messages import transcript_of_messages
from loopreview.formats.reading import Skip, Value
from loopreview.models.transcript import Transcript

COLUMNS = ("messages", "conversations", "conversation", "exchanges", "prompt", "completion")
BESIDE = ("id", "persona", "target_exchanges", "model", "metadata", "system", "tools")
"""The columns that are read; others, pictures say, are never loaded."""
ROWS_AT_A_TIME = 64
INFO_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files of a dataset that hold no transcripts."""


def dataset_files(folder: Path) -> list[Path] | None:
    """The Arrow files of a dataset that `save_to_disk` wrote, in order, or null where the folder is none.

    Files that its own lists name outside of the folder are not looked at. Raises OSError.
    """
    splits = _listed(folder / "dataset_dict.json", "splits")
    if splits is None:
        return _shards(folder)
    return [file for name in splits if _is_name(name) for file in _shards(folder / name) or ()]


def _shards(folder: Path) -> list[Path] | None:
    files = _listed(folder / "state.json", "_data_files")
    if files is None:
        return None
    names = [row.get("filename") for row in files if isinstance(row, dict)]
    return [folder / name for name in names if _is_name(name)]


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def _listed(path: Path, key: str) -> list[Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    listed = found.get(key) if isinstance(found, dict) else None
    return listed if isinstance(listed, list) else None


def read_rows(path: Path) -> Iterator[Value | Skip]:
    """The rows of a parquet or Arrow file, a few at a time; a file that cannot be read comes as a Skip."""
    try:
        arrow = importlib.import_module("pyarrow")
    except ImportError:
        yield Skip(path.name, None, "reading datasets needs pyarrow: pip install 'loopreview[data]'")
        return
    position = 0
    try:
        for row in _parquet_rows(path) if path_begins(path, b"PAR1") else _arrow_rows(path, arrow):
            position += 1
            yield _value(row, path, position)
    except Unusable as error:
        yield Skip(path.name, None, str(error))
    except (arrow.ArrowException, ImportError, OSError, ValueError) as error:
        after = f" after row {position}" if position else ""
        yield Skip(path.name, None, f"cannot be read as a dataset{after}: {' '.join(str(error).split())[:200]}")


def path_begins(path: Path, mark: bytes) -> bool:
    """Whether a file begins with these bytes. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    parquet = importlib.import_module("pyarrow.parquet")
    with parquet.ParquetFile(path, memory_map=True) as file:
        wanted = _wanted(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=wanted, use_threads=False):
            yield from batch.to_pylist()


def _arrow_rows(path: Path, arrow: Any) -> Iterator[dict[str, Any]]:
    ipc = importlib.import_module("pyarrow.ipc")
    with arrow.memory_map(str(path)) as file:
        if path_begins(path, b"ARROW1"):
            reader = ipc.open_file(file)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = reader = ipc.open_stream(file)
        wanted = _wanted(reader.schema.names)
        for batch in batches:
            table = batch.select(wanted)
            for start in range(0, table.num_rows, ROWS_AT_A_TIME):
                yield from table.slice(start, ROWS_AT_A_TIME).to_pylist()


def _wanted(columns: Sequence[str]) -> list[str]:
    """Raises Unusable where no column holds a conversation."""
    if not any(name in columns for name in COLUMNS):
        raise Unusable(
            f"no column messages, conversations, exchanges or prompt and completion; it has {', '.join(columns)[:200]}"
        )
    return [name for name in (*COLUMNS, *BESIDE) if name in columns]


def _value(row: dict[str, Any], path: Path, position: int) -> Value | Skip:
    try:
        # A column has no value where a row lacks it.
        found = {key: _column(key, value) for key, value in row.items() if value is not None}
    except RecursionError:
        return Skip(f"{path.name}#{position}", None, "nested too deeply")
    return Value(found, None, str(position), ())


def _column(key: str, value: Any) -> Any:
    if key in COLUMNS and isinstance(value, Mapping):
        value = _by_row(value)
    if key in ("messages", "conversations", "exchanges", "tools", "metadata") and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return _plain(value)


def _by_row(value: Mapping[str, Any]) -> Any:
    """`{"from": […], "value": […]}`, as older versions kept lists of objects, as a list of objects."""
    lists = list(value.values())
    if not lists or not all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists):
        return value
    return [dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)]


def _plain(value: Any) -> Any:
    """What JSON can hold. Fields without a value are dropped: in Arrow every object has the fields of all."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)[:1_000]


def has_prompt(record: Mapping[str, Any]) -> bool:
    """Whether a record is a prompt with its completion."""
    return "prompt" in record and "completion" in record


def transcript_of_prompt(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of `prompt` and `completion`, each a text or a list of messages. Raises Unusable."""
    if not isinstance(value, Mapping) or not has_prompt(value):
        raise Unusable("no `prompt` and `completion`")
    messages = [*_side(value, "prompt", "user"), *_side(value, "completion", "assistant")]
    system = value.get("system")
    if isinstance(system, str) and system.strip():
        messages.insert(0, {"role": "system", "content": system})
    return transcript_of_messages({**value, "messages": messages}, notes, max_chars)


def _side(record: Mapping[str, Any], key: str, role: str) -> list[Any]:
    found = record[key]
    if isinstance(found, str):
        return [{"role": role, "content": found}]
    if isinstance(found, list) and found:
        return found
    raise Unusable(f"`{key}` is neither a text nor a list of messages")
