"""Checkpoints of a run: whole or not there, the newest and the best kept."""

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx

from loopreview.train.mlx.model import sync

ADAPTER, ADAPTER_CONFIG = "adapters.safetensors", "adapter_config.json"
_OPTIMIZER, _STATE = "optimizer.safetensors", "state.json"
_NAME = re.compile(r"checkpoint-(\d+)")

Weights = dict[str, mx.array]


@dataclass
class State:
    """How far a run is. The order of examples and the random keys follow from the step and the plan's seed."""

    step: int = 0
    """Optimizer steps done."""
    epoch: float = 0
    micro_batch: int = 0
    """Micro-batches done since the very beginning."""
    measured: bool = True
    """Whether the validation loss after this step is known, where the plan wants it."""
    best_step: int | None = None
    best_loss: float | None = None
    waited: int = 0
    """Measurements since the best one."""
    first_loss: float | None = None
    last_loss: float | None = None
    base_loss: float | None = None
    tokens: int = 0


class Checkpoint(NamedTuple):
    state: State
    weights: Weights
    optimizer: dict[str, Any]


class Checkpoints:
    """The folder `checkpoints/` of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, step: int) -> Path:
        return self._folder / f"checkpoint-{step}"

    def save(self, state: State, weights: Weights, optimizer: dict[str, Any], config: dict[str, Any]) -> Path:
        """Write one beside its place, and move it there when all of it is on the disk; then delete those that are
        neither the newest nor the best."""
        self._folder.mkdir(exist_ok=True)
        place = self.path(state.step)
        beside = place.with_name(f"{place.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        mx.save_safetensors(str(beside / ADAPTER), weights, metadata={"format": "mlx"})
        mx.save_safetensors(str(beside / _OPTIMIZER), _flat(optimizer))
        write_config(beside, config)
        files = {file.name: file.stat().st_size for file in beside.iterdir()}
        (beside / _STATE).write_text(json.dumps({**asdict(state), "files": files}, indent=2) + "\n", encoding="utf-8")
        move_whole(beside, place)
        self._rotate({state.step, state.best_step})
        return place

    def newest(self) -> Checkpoint | None:
        """The newest one that is whole. All that is not whole is removed."""
        found = []
        for folder in list(self._folder.glob("checkpoint-*")):
            state = _whole(folder)
            if state is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                found.append((state.step, folder, state))
        if not found:
            return None
        _, folder, state = max(found)
        read: Any = mx.load(str(folder / _OPTIMIZER))
        weights: Any = mx.load(str(folder / ADAPTER))
        optimizer: dict[str, Any] = {}
        for name, value in read.items():
            weight, part = name.rsplit("/", 1) if "/" in name else (name, "")
            if part:
                optimizer.setdefault(weight, {})[part] = value
            else:
                optimizer[weight] = value
        return Checkpoint(state, weights, optimizer)

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _rotate(self, keep: set[int | None]) -> None:
        for folder in list(self._folder.glob("checkpoint-*")):
            named = _NAME.fullmatch(folder.name)
            if named and int(named.group(1)) not in keep:
                shutil.rmtree(folder, ignore_errors=True)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """The configuration that mlx-lm reads an adapter with."""
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def move_whole(beside: Path, place: Path) -> None:
    """Replace a folder by one whose files are on the disk."""
    for file in beside.iterdir():
        sync(file)
    sync(beside)
    if place.exists():
        shutil.rmtree(place)
    beside.rename(place)
    sync(place.parent)


def _flat(optimizer: dict[str, Any]) -> Weights:
    """{name: {"m", "v"}, "step", "learning_rate"} as one level, `name/m`."""
    found: Weights = {}
    for name, value in optimizer.items():
        if isinstance(value, dict):
            found.update({f"{name}/{part}": array for part, array in value.items()})
        else:
            found[name] = value
    return found


def _whole(folder: Path) -> State | None:
    named = _NAME.fullmatch(folder.name)
    try:
        said = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        files = said.pop("files")
        sizes = {name: (folder / name).stat().st_size for name in files}
        state = State(**said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return state if named and int(named.group(1)) == state.step and sizes == files and _OPTIMIZER in files else None
