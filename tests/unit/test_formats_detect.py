"""`--format auto` tells the forms apart by content, and refuses what is not certain."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats.conversation import Record
from loopreview.formats.detect import FORMATS, forms_of, read_transcripts
from loopreview.formats.reading import Skip
from loopreview.models.errors import UserError

CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
TURNS = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]
PAIRS = [{"user": "hello", "assistant": "hi"}]
SAMPLE = {"id": 1, "epoch": 1, "input": "hello", "target": "", "messages": CHAT}
LOG = {"version": 2, "status": "success", "eval": {"task": "t"}, "samples": [SAMPLE]}


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", json.dumps({"eval": {}}))
        file.writestr("samples/1_epoch_1.json", json.dumps(SAMPLE))


def parquet(path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist([{"messages": CHAT}]), path)


def arrow(path: Path) -> None:
    found = pytest.importorskip("pyarrow")
    table = found.Table.from_pylist([{"conversations": TURNS}])
    with found.OSFile(str(path), "wb") as file, found.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def written(text: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    return lambda path: path.write_text(text, encoding=encoding) and None


def dumped(value: Any, **options: Any) -> Callable[[Path], None]:
    return written(json.dumps(value, **options))


FILES: dict[str, Callable[[Path], None]] = {
    "messages.jsonl": dumped({"messages": CHAT}),
    "messages.json": dumped(CHAT, indent=1),
    "messages.txt": dumped({"messages": CHAT}),  # JSON under another name
    "messages": dumped([{"messages": CHAT}], indent=1),
    "sharegpt.jsonl": dumped({"conversations": TURNS}),
    "sharegpt.json": dumped([{"conversations": TURNS}], indent=1),
    "turns.json": dumped(TURNS),
    "sharegpt-as-openai.jsonl": dumped({"conversations": CHAT}),
    "exchanges.json": dumped({"exchanges": PAIRS}, indent=1),
    "prompt.jsonl": dumped({"prompt": "hello", "completion": "hi"}),
    "log.eval": archive,
    "log.zip": archive,
    "log.json": dumped(LOG, indent=1),
    "log-on-a-line.json": dumped(LOG),
    "log-in-json.eval": dumped(LOG, indent=1),
    "sample.json": dumped(SAMPLE),
    "chat.txt": written("User: hello\n\nAssistant: hi\n"),
    "chat.md": written("**User:** hello\n\n**Assistant:** hi\n"),
    "chat": written("[10:02] User: hello\n[10:03] Assistant: hi\n"),
    "chat16.txt": written("User: hello\nAssistant: hi", "utf-16"),
    "rows.parquet": parquet,
    "rows.json": parquet,  # told by its content
    "rows.arrow": arrow,
    "empty-beside.jsonl": dumped({"messages": CHAT, "conversations": [], "exchanges": None}),
    "with-more.jsonl": dumped({"prompt": "hello", "messages": CHAT, "samples": [], "eval": 0.3, "items": ["a"]}),
}


@pytest.mark.parametrize("name", FILES)
def test_one_file_of_each_kind_is_told_apart(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    (found,) = read_transcripts(tmp_path / name, max_message_chars=99)
    assert isinstance(found, Record), found
    assert [(m.role, m.text) for m in found.transcript.messages] == [("user", "hello"), ("assistant", "hi")]
    assert found.transcript.source == f"{name}#1" and found.notes == ()


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("a.json", written("User: hello\nAssistant: hi"), "not JSON"),  # a name that says JSON is believed
        ("a.jsonl", dumped("User: hello\nAssistant: hi"), "unknown form"),
        ("a.txt", written("Some prose: nothing else."), "no conversation between two speakers"),
        ("a.txt", written('{"messages": ['), "not JSON"),
        ("a.csv", written("user,assistant\nhello,hi\n"), "no conversation between two speakers"),
        ("a.json", dumped({"messages": "hello"}), "`messages` is no list"),
        ("a.json", dumped({"messages": []}), "`messages` is no list"),
        ("a.json", dumped({"conversations": "hello"}), "`conversations` is no list"),
        ("a.json", dumped({"items": [{"name": "parcel"}]}), "unknown form"),
        ("a.json", dumped({"samples": [SAMPLE]}), "unknown form"),
        ("a.json", dumped({"eval": {"task": "t"}, "status": "success"}), "an Inspect log without samples"),
        ("a.json", dumped({"eval": {"loss": 1}, "samples": []}), "unknown form"),
        ("a.json", dumped({"prompt": "hello"}), "unknown form"),
        ("a.json", dumped({"prompt": "hello", "chosen": "a", "rejected": "b"}), "unknown form"),
        ("a.json", dumped({"instruction": "hello", "output": "hi"}), "unknown form"),
        ("a.jsonl", dumped(CHAT[0]), "unknown form"),
        ("a.json", dumped([[CHAT]]), "unknown form"),
        ("a.json", dumped({"messages": CHAT, "conversations": TURNS}), "messages or sharegpt; say which with --format"),
        ("a.json", dumped({"messages": CHAT, "exchanges": PAIRS}), "messages or exchanges; say which"),
        ("a.eval", written("no archive at all"), "not JSON"),
        ("a.bin", lambda path: path.write_bytes(b"\x00\x01\x02" * 9) and None, "not UTF-8 text (a binary file"),
        ("a.jsonl.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08\x00" * 9) and None, "not UTF-8"),
        ("a.txt", lambda path: path.write_bytes(b"") and None, "the file is empty"),
    ],
)
def test_near_misses_are_refused_and_not_misread(
    tmp_path: Path, name: str, made: Callable[[Path], None], reason: str
) -> None:
    made(tmp_path / name)
    (found,) = read_transcripts(tmp_path / name, max_message_chars=99)
    assert isinstance(found, Skip) and reason in found.reason, found


@pytest.mark.parametrize(("format", "texts"), [("messages", "hello"), ("sharegpt", "other")])
def test_a_record_that_may_be_two_forms_is_read_as_told(tmp_path: Path, format: str, texts: str) -> None:
    other = [{"from": "human", "value": "other"}, {"from": "gpt", "value": "hi"}]
    dumped({"messages": CHAT, "conversations": other})(tmp_path / "a.json")
    (found,) = read_transcripts(tmp_path / "a.json", format=format, max_message_chars=99)
    assert isinstance(found, Record) and found.transcript.messages[0].text == texts


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("text", "inspect")])
def test_a_format_asked_for_is_held_to_record_by_record(tmp_path: Path, format: str) -> None:
    records = {
        "messages": {"messages": CHAT}, "sharegpt": {"conversations": TURNS}, "exchanges": {"exchanges": PAIRS},
        "huggingface": {"prompt": "hello", "completion": "hi"},
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records.values())), encoding="utf-8")
    found = list(read_transcripts(tmp_path / "a.jsonl", format=format, max_message_chars=99))
    # A dataset's rows have any of these columns.
    expected = [True] * 4 if format == "huggingface" else [name == format for name in records]
    assert [isinstance(one, Record) for one in found] == expected


def test_text_asked_for_is_read_whatever_the_name_says(tmp_path: Path) -> None:
    written("User: hello\nAssistant: hi")(tmp_path / "a.json")
    (found,) = read_transcripts(tmp_path / "a.json", format="text", max_message_chars=99)
    assert isinstance(found, Record)


def test_an_unknown_format_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--format alpaca: .*auto, messages, sharegpt, exchanges, inspect, text, hugg"):
        read_transcripts(tmp_path / "a.json", format="alpaca", max_message_chars=99)


def test_a_file_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    (found,) = read_transcripts(tmp_path / "gone.json", max_message_chars=99)
    assert isinstance(found, Skip) and (found.source, found.reason) == (
        "gone.json", "cannot be read: No such file or directory"
    )  # fmt: skip


def test_the_source_has_the_name_that_the_file_is_given(tmp_path: Path) -> None:
    dumped({"messages": CHAT})(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("{", encoding="utf-8")
    (good,) = read_transcripts(tmp_path / "a.jsonl", max_message_chars=99, name="train/a.jsonl")
    (bad,) = read_transcripts(tmp_path / "b.jsonl", max_message_chars=99, name="train/b.jsonl")
    assert isinstance(good, Record) and good.transcript.source == "train/a.jsonl#1"
    assert isinstance(bad, Skip) and bad.source == "train/b.jsonl#1"


@pytest.mark.parametrize("value", [None, 7, "text", [], [[]], ["a"], {}, {"messages": None, "turns": []}])
def test_a_value_that_is_no_record_has_no_form_or_one_that_says_what_is_wrong(value: Any) -> None:
    assert forms_of(value) in ([], ["messages"])
