"""The folder of a dataset: written beside its place, then moved there whole, or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import REVOKED
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash

MANIFEST = "manifest.json"


class Written(NamedTuple):
    lines: int
    sha256: str


class File:
    """A file that is being written, line by line; ends each with a line break alone, on every system."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = sha256()
        self.lines = 0

    def line(self, text: str) -> None:
        self.text(text + "\n")

    def text(self, text: str) -> None:
        data = text.encode()
        self._file.write(data)
        self._hash.update(data)
        self.lines += text.count("\n")

    def close(self) -> Written:
        """Put it on the disk and say what is in it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Written(self.lines, self._hash.hexdigest())

    def abandon(self) -> None:
        with suppress(OSError):  # what is still in memory may not fit on the disk, and need not
            self._file.close()


class Folder:
    """A dataset's folder while it is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[str, File] = {}

    def file(self, name: str) -> File:
        """The file of that name, which may lie in a folder below; made when it is first asked for."""
        if name not in self._open:
            (self.path / name).parent.mkdir(exist_ok=True)
            self._open[name] = File(self.path / name)
        return self._open[name]

    def finish(self, manifest: dict[str, Any]) -> str:
        """Close every file, write the manifest with what is in them, and return the hash of all of it."""
        files = {name: file.close()._asdict() for name, file in sorted(self._open.items())}
        self._open.clear()
        manifest = {**manifest, "files": files}
        manifest = {"hash": content_hash(manifest), **manifest}
        last = File(self.path / MANIFEST)
        last.text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        last.close()
        return str(manifest["hash"])

    def abandon(self) -> None:
        """Let go of what was written."""
        for name, file in self._open.items():
            file.abandon()
            (self.path / name).unlink(missing_ok=True)
        self._open.clear()


@contextmanager
def writing(beside: Path) -> Iterator[Folder]:
    """A folder to write into, next to `beside`. Whatever is still in it at the end is removed.

    Raises UserError (exit 3) where the disk is full or cannot be written.
    """
    parent = beside.parent
    path = parent / f".{beside.name}.{os.getpid()}.partial"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        folder = Folder(path)
        try:
            yield folder
        finally:
            folder.abandon()
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{parent}: the dataset could not be written ({error.strerror or error}); nothing is left of it: make "
            "room, or check the permissions, and export again",
            exit_code=3,
        ) from error


def put(written: Path, target: Path) -> bool:
    """Move a finished folder to its place; False where the very same dataset is there already.

    Raises UserError where something else is there.
    """
    refuse_other(target)
    if not target.exists() or not any(target.iterdir()):
        written.rename(target)
        return True
    different = differing(written, target)
    if different is None:
        return False
    same = _hash_of(written) == _hash_of(target)
    raise UserError(
        f"{target}: was changed after it was exported ({different}); move it away and export again"
        if same
        else f"{target}: another dataset is there already; choose another place with --to"
    )


def refuse_other(target: Path) -> None:
    """Raises UserError where something is at `target` that is neither a dataset nor an empty folder."""
    is_folder = target.is_dir()
    if target.exists() and not (is_folder and ((target / MANIFEST).is_file() or not any(target.iterdir()))):
        raise UserError(f"{target}: something else is there; choose another place with --to")


def differing(one: Path, other: Path) -> str | None:
    """The first file that is not the same in both folders, or null. What was revoked since is no part of a dataset."""
    names = sorted(
        {file.relative_to(base).as_posix() for base in (one, other) for file in base.rglob("*") if file.is_file()}
        - {REVOKED}
    )
    return next((name for name in names if _digest(one / name) != _digest(other / name)), None)


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _hash_of(folder: Path) -> Any:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("hash")
    except (OSError, ValueError, AttributeError):
        return None
