"""Which files of a folder are imported, and what they are called."""

import json
from pathlib import Path

import pytest

from loopreview.ingest.files import File, files_of
from loopreview.models.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")


def names(*paths: Path) -> list[str]:
    return [file.name for file in files_of(paths)]


def test_a_folder_gives_its_files_by_name_and_parquet_from_the_folders_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "b.json", "a.jsonl", "d.eval", "c.txt", "e.ndjson", "f.parquet", "README.md", "x.csv", ".g.json")
    touch(tmp_path, "data/train-0.parquet", "en/test/0.parquet", ".cache/x.parquet", "data/not.json", "a/b/c/d.parquet")
    assert names(tmp_path) == [
        "a.jsonl", "b.json", "c.txt", "d.eval", "data/train-0.parquet", "e.ndjson", "en/test/0.parquet", "f.parquet"
    ]  # fmt: skip


def test_the_description_of_a_dataset_is_no_transcript(tmp_path: Path) -> None:
    touch(tmp_path, "dataset_infos.json", "data/train.parquet")
    assert names(tmp_path) == ["data/train.parquet"]


def test_a_saved_dataset_gives_the_files_of_its_list(tmp_path: Path) -> None:
    touch(tmp_path, "data-0.arrow", "cache.arrow", "dataset_info.json", "other.json")
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}), encoding="utf-8")
    assert names(tmp_path) == ["data-0.arrow"]


def test_files_named_one_by_one_keep_their_order_and_may_be_of_any_kind(tmp_path: Path) -> None:
    touch(tmp_path, "b.odd", "a.json")
    assert files_of([tmp_path / "b.odd", tmp_path / "a.json"]) == [
        File(tmp_path / "b.odd", "b.odd"), File(tmp_path / "a.json", "a.json")
    ]  # fmt: skip


def test_a_folder_without_such_files_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "README.md", "deep/chat.json")
    with pytest.raises(UserError, match=r"no \.json or .*name the files themselves"):
        files_of([tmp_path])
