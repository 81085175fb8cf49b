"""Which files of the paths that were named are imported, and under which name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loopreview.formats.huggingface import INFO_FILES, dataset_files
from loopreview.ingest.result import check_file
from loopreview.models.errors import UserError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".eval", ".parquet", ".txt")
"""The files of a folder that are imported."""
SHARDS = ("*/*.parquet", "*/*/*.parquet")
"""Where the shards of a dataset lie that was fetched as files: in `data/`, or in a folder for each part."""


class File(NamedTuple):
    """A file, and its name in the source of its transcripts: what stands after the folder that was named."""

    path: Path
    name: str


def files_of(paths: Sequence[Path]) -> list[File]:
    """The files to import, those of a folder by name. Raises UserError where a path is neither a file nor a folder
    with files of ours in it."""
    found: list[File] = []
    for path in paths:
        if not path.is_dir():
            check_file(path)
            found.append(File(path, path.name))
            continue
        try:
            inside = dataset_files(path)
            if inside is None:
                inside = sorted(_files(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        if not inside:
            raise UserError(f"{path}: no {' or '.join(SUFFIXES)} file in this folder; name the files themselves")
        found += [File(file, file.relative_to(path).as_posix()) for file in inside]
    return found


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.iterdir():
        if file.suffix.lower() in SUFFIXES and file.name not in INFO_FILES and _is_shown(file, folder):
            yield file
    for pattern in SHARDS:
        yield from (file for file in folder.glob(pattern) if _is_shown(file, folder))


def _is_shown(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.is_file()
