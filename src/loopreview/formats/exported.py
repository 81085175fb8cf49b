"""An exported dataset's folder, read back: its manifest, rows and lineage. Written by `dataset/`."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError

MANIFEST = "manifest.json"
REVOKED = "revoked.json"
"""Beside the manifest, once a transcript of the dataset was revoked."""


class Exported:
    """One dataset."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, folder: Path) -> "Exported":
        """Raises UserError where the folder is no dataset, or its manifest cannot be read."""
        folder = folder.expanduser().absolute()
        path = folder / MANIFEST
        if not path.is_file():
            raise UserError(
                f"{folder}: no exported dataset here ({MANIFEST} is missing); `loopreview export` makes one"
            )
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); export again") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("hash"), str):
            raise UserError(f"{path}: is no manifest of a dataset; export again")
        return cls(folder, manifest)

    @property
    def hash(self) -> str:
        return str(self.manifest["hash"])

    def verify(self) -> None:
        """Raises UserError for the first file that is not what the manifest says."""
        for name, said in sorted(self.manifest.get("files", {}).items()):
            path = self.folder / name
            if not path.is_file():
                raise UserError(f"{path}: is missing, the dataset is not whole; export again")
            if _digest(path) != said["sha256"]:
                raise UserError(f"{path}: was changed after it was exported; export again")

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The readable rows of a split, in order."""
        yield from _lines(self.folder / f"{split}.jsonl")

    def lineage(self) -> Iterator[dict[str, Any]]:
        """One line per example: `split`, `row` (from 1), `transcript`, `exchange`, and where they come from."""
        path = self.folder / "lineage.jsonl"
        if path.is_file():
            yield from _lines(path)

    def revoked(self) -> list[str]:
        """Transcripts of this dataset that were revoked since. Raises UserError where the mark cannot be read."""
        path = self.folder / REVOKED
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: says what was revoked, and cannot be read ({error}); mend it, or export again"
            ) from None
        return sorted(found)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise UserError(f"{path}: line {number} is not JSON; export again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export again") from None


def _digest(path: Path) -> str:
    found = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()
