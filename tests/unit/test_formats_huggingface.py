"""Datasets of Hugging Face: parquet, Arrow files, folders, and prompts with completions."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats import huggingface
from loopreview.formats.conversation import Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.huggingface import dataset_files
from loopreview.formats.reading import Skip

CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
TURNS = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]


def parquet(path: Path, *rows: Any, **columns: Any) -> Path:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table(columns) if columns else arrow.Table.from_pylist(list(rows))
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    return path


def arrow_stream(path: Path, *rows: Any) -> Path:
    """As `save_to_disk` writes them."""
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pylist(list(rows))
    with arrow.OSFile(str(path), "wb") as file, arrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return path


def saved(folder: Path, **shards: list[Any]) -> Path:
    """A dataset folder with one Arrow file a shard."""
    folder.mkdir(parents=True)
    names = [arrow_stream(folder / f"{name}.arrow", *rows).name for name, rows in shards.items()]
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def read(path: Path, **options: Any) -> list[Record | Skip]:
    return list(read_transcripts(path, max_message_chars=1_000, **options))


def records(path: Path, **options: Any) -> list[Record]:
    found = read(path, **options)
    assert all(isinstance(one, Record) for one in found), found
    return [one for one in found if isinstance(one, Record)]


def said(found: Record) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in found.transcript.messages]


@pytest.mark.parametrize("format", ["auto", "huggingface"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT},
        {"conversations": TURNS},
        {"conversations": CHAT},
        {"exchanges": [{"user": "hello", "assistant": "hi"}]},
        {"prompt": "hello", "completion": "hi"},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"messages": json.dumps(CHAT)},
        {"conversations": {"from": ["human", "gpt"], "value": ["hello", "hi"]}},
    ],
)
def test_every_usual_column_is_read(tmp_path: Path, row: dict[str, Any], format: str) -> None:
    for path in (parquet(tmp_path / "a.parquet", row), arrow_stream(tmp_path / "a.arrow", row)):
        (found,) = records(path, format=format)
        assert said(found) == [("user", "hello"), ("assistant", "hi")]
        assert found.transcript.source == f"{path.name}#1" and found.line is None


def test_rows_are_read_in_order_and_named_by_id_or_place(tmp_path: Path) -> None:
    rows = [{"id": "x" if n == 1 else None, "messages": [CHAT[0] | {"content": f"{n}"}, CHAT[1]]} for n in range(250)]
    for path in (parquet(tmp_path / "a.parquet", *rows), arrow_stream(tmp_path / "a.arrow", *rows)):
        found = records(path)
        assert [record.transcript.messages[0].text for record in found] == [str(n) for n in range(250)]
        assert [record.transcript.source for record in found[:3]] == [f"{path.name}#{n}" for n in ("1", "x", "3")]


def test_an_arrow_file_that_is_no_stream_is_read_too(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pylist([{"messages": CHAT}])
    with arrow.OSFile(str(tmp_path / "a.arrow"), "wb") as file, arrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert len(records(tmp_path / "a.arrow")) == 1


def test_fields_that_only_other_rows_have_are_dropped(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call], "weight": 0}
    rows = [
        {"messages": CHAT, "persona": None},
        {"messages": [CHAT[0], calling, *CHAT], "persona": {"name": "Mo"}},
    ]
    plain, called = records(parquet(tmp_path / "a.parquet", *rows))
    assert [m.extra for m in plain.transcript.messages] == [{}, {}] and plain.transcript.persona is None
    assert called.transcript.messages[1].extra == {"tool_calls": [call], "weight": 0}
    assert called.transcript.persona == {"name": "Mo"}


def test_what_json_cannot_hold_becomes_a_text_and_other_columns_are_not_read(tmp_path: Path) -> None:
    import datetime

    row = {
        "messages": [m | {"at": datetime.date(2026, 3, 1)} for m in CHAT],
        "metadata": {"raw": b"\xff", "persona": {"name": "Mo", "age": float("nan")}},
        "picture": b"x" * 100,
    }
    (found,) = records(parquet(tmp_path / "a.parquet", row))
    assert found.transcript.messages[0].extra == {"at": "2026-03-01"}
    assert found.transcript.persona == {"name": "Mo", "age": None}
    json.dumps(found.transcript.model_dump())


def test_a_bad_row_loses_only_itself(tmp_path: Path) -> None:
    rows = [{"messages": CHAT}, {"messages": CHAT[:1]}, {"messages": None}, {"messages": []}, {"messages": CHAT}]
    found = read(parquet(tmp_path / "a.parquet", *rows))
    assert [isinstance(one, Record) for one in found] == [True, False, False, False, True]
    assert isinstance(found[1], Skip) and (found[1].source, found[1].reason) == ("a.parquet#2", "no assistant message")


def test_a_table_without_conversations_is_said_with_its_columns(tmp_path: Path) -> None:
    (found,) = read(parquet(tmp_path / "a.parquet", {"text": "hello", "label": 1}))
    assert isinstance(found, Skip) and "no column messages" in found.reason and "it has text, label" in found.reason


def test_a_damaged_file_is_said_in_a_line(tmp_path: Path) -> None:
    rows = [{"messages": [CHAT[0] | {"content": f"{n}" * 99}, CHAT[1]]} for n in range(1_000)]
    for path in (parquet(tmp_path / "a.parquet", *rows), arrow_stream(tmp_path / "a.arrow", *rows)):
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2])
        *_, last = read(path)
        assert isinstance(last, Skip) and "cannot be read as a dataset" in last.reason and "\n" not in last.reason
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    (found,) = read(tmp_path / "a.parquet")
    assert isinstance(found, Skip) and "cannot be read as a dataset" in found.reason


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (found,) = read(tmp_path / "a.parquet")
    assert isinstance(found, Skip) and found.reason.endswith("pip install 'loopreview[data]'")


def test_pyarrow_is_imported_only_for_datasets(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": CHAT}), encoding="utf-8")
    code = (
        "import sys, pathlib; from loopreview.formats.detect import read_transcripts;"
        f"print(len(list(read_transcripts(pathlib.Path({str(tmp_path / 'a.jsonl')!r}), max_message_chars=99))),"
        " 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


# Folders


def test_a_dataset_folder_gives_the_files_that_its_list_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "data", b=[{"messages": CHAT}], a=[{"messages": CHAT}])
    (folder / "cache-1.arrow").write_bytes(b"not ours")
    found = dataset_files(folder)
    assert found is not None and [path.name for path in found] == ["b.arrow", "a.arrow"]


def test_a_folder_of_splits_gives_those_of_each(tmp_path: Path) -> None:
    for split in ("train", "test", "old"):
        saved(tmp_path / "data" / split, part=[{"messages": CHAT}])
    (tmp_path / "data" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = dataset_files(tmp_path / "data")
    assert found == [tmp_path / "data" / split / "part.arrow" for split in ("train", "test")]


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder = saved(tmp_path / "data", a=[{"messages": CHAT}])
    names = [{"filename": name} for name in ("../../secret.arrow", "/etc/passwd", "..", "", 7)]
    (folder / "state.json").write_text(json.dumps({"_data_files": [*names, "odd", {"filename": "a.arrow"}]}))
    assert dataset_files(folder) == [folder / "a.arrow"]
    (folder / "dataset_dict.json").write_text('{"splits": ["../..", "/", "..", ".", "", 7]}')
    assert dataset_files(folder) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"_data_files": 7}', "[" * 100_000])
def test_a_folder_whose_list_is_none_is_no_dataset(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert dataset_files(tmp_path) is None


# Prompts with completions, in JSON


def test_a_prompt_with_its_completion_is_read_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"prompt": "hello", "completion": "hi", "system": "Be kind.", "id": "x"},
        {"prompt": [{"role": "system", "content": "s"}, CHAT[0]], "completion": CHAT[1:]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    one, two = records(path)
    assert [role for role, _ in said(one)] == ["system", "user", "assistant"] and one.transcript.source == "a.jsonl#x"
    assert [role for role, _ in said(two)] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": 7, "completion": "hi"}, "`prompt` is neither a text nor a list of messages"),
        ({"prompt": "hello", "completion": {"a": 1}}, "`completion` is neither"),
        ({"prompt": "hello", "completion": CHAT[:1]}, "no assistant message"),
        ({"prompt": "hello", "chosen": "a", "rejected": "b"}, "unknown form"),
        (7, "unknown form"),
    ],
)
def test_what_is_no_prompt_with_a_completion_is_skipped(tmp_path: Path, row: Any, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (found,) = read(tmp_path / "a.jsonl")
    assert isinstance(found, Skip) and reason in found.reason
    if isinstance(row, dict):
        (found,) = read(tmp_path / "a.jsonl", format="huggingface")
        assert isinstance(found, Skip) and reason in found.reason


def test_few_rows_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"messages": [CHAT[0] | {"content": f"{n}"}, CHAT[1]]} for n in range(500)]
    sizes = []
    plain = huggingface._value

    def counting(row: Any, path: Path, position: int) -> Any:
        sizes.append(position)
        return plain(row, path, position)

    monkeypatch.setattr(huggingface, "_value", counting)
    reading = read_transcripts(parquet(tmp_path / "a.parquet", *rows), max_message_chars=99)
    next(reading)
    assert sizes == [1]
