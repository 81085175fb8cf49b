"""Checkpoints that can be trusted: one counts only with its marker, which is written last."""

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopreview.runs import Run, write_json

MARKER = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass
class Progress:
    """What a run has seen so far, beside what the trainer keeps itself. Saved with each checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0
    """Spent in optimizer steps: no loading, measuring or saving."""
    seen: int = 0
    """Bit n is set once example n has been trained on."""
    first_loss: float | None = None
    last_loss: float | None = None
    base_loss: float | None = None
    """Validation loss before the first step."""
    best_loss: float | None = None
    best_step: int | None = None
    worse: int = 0
    """Measurements in a row without a better validation loss."""
    measured: int = -1
    """The step that was measured last."""
    stopped_early: bool = False
    finished: bool = False
    peak_memory: int = 0


class Checkpoints:
    """`checkpoint-<step>` folders. Their names are the trainer's, the markers in them ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def complete(self, step: int, progress: Progress) -> Path:
        """Mark a checkpoint as complete, once all of its files are on the disk. May be said again with other
        progress."""
        folder = self.at(step)
        sizes = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != MARKER:
                _to_disk(file)
                sizes[str(file.relative_to(folder))] = file.stat().st_size
        _to_disk(folder)
        write_json(folder / MARKER, {"files": sizes, "progress": {**asdict(progress), "seen": f"{progress.seen:x}"}})
        _to_disk(folder)
        _to_disk(self.folder)
        return folder

    def progress(self, step: int) -> Progress | None:
        """Of a complete checkpoint; none where a file is missing, cut, or the marker is not there."""
        folder = self.at(step)
        found = Run(self.folder).read_json(folder / MARKER)
        try:
            for name, size in found["files"].items():
                if (folder / name).stat().st_size != size:
                    return None
            values: dict[str, Any] = found["progress"]
            return Progress(**{**values, "seen": int(values["seen"], 16)})
        except (KeyError, TypeError, ValueError, AttributeError, OSError):
            return None

    def newest(self) -> Progress | None:
        """Of the newest complete one. All that are not complete are removed."""
        best: Progress | None = None
        for step in self._steps():
            found = self.progress(step)
            if found is None or found.step != step:
                self._remove(step)
            else:
                best = found
        return best

    def keep(self, *steps: int | None) -> None:
        """Remove all others."""
        for step in self._steps():
            if step not in steps:
                self._remove(step)

    def clear(self) -> None:
        self.keep()

    def _steps(self) -> list[int]:
        try:
            names = [_NAME.fullmatch(folder.name) for folder in self.folder.iterdir()]
        except OSError:
            return []
        return sorted(int(name.group(1)) for name in names if name)

    def _remove(self, step: int) -> None:
        # The marker first: what is left after a kill in between is then not taken for a checkpoint.
        (self.at(step) / MARKER).unlink(missing_ok=True)
        shutil.rmtree(self.at(step), ignore_errors=True)


def publish(source: Path, target: Path) -> None:
    """The weights and settings of a checkpoint as the folder `target`: all of it or nothing."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt") and file.name not in _TRAINER_FILES:
            _link(file, partial / file.name)
            _to_disk(partial / file.name)
    _to_disk(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    _to_disk(target.parent)


_TRAINER_FILES = (MARKER, "trainer_state.json")


def _link(file: Path, to: Path) -> None:
    """Full weights need not lie on the disk twice; nothing writes into a file that is there."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copy2(file, to)


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
