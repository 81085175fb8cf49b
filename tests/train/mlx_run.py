"""Runs of the MLX backend on rows made up here: short ones, so that a run takes a second or two."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.models.training import Data, Outcome, Plan
from loopreview.progress import EventFile
from loopreview.train.backend import Task, trainer
from loopreview.train.report import Report
from loopreview.train.rows import IGNORED, Row

VOCABULARY = 300


def made_rows(count: int, *, seed: int = 0, longest: int = 30) -> list[Row]:
    """Rows in which the last tokens are supervised, and can be learned: each is the one before it plus 7."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        length = dice.randint(12, longest)
        asked = dice.randint(4, 8)
        ids = [dice.randrange(3, VOCABULARY) for _ in range(asked)]
        while len(ids) < length:
            ids.append(3 + (ids[-1] + 4) % 50)
        found.append(Row(ids, [IGNORED] * asked + ids[asked:]))
    return found


def made_plan(model: Path, train: Sequence[Row], valid: Sequence[Row], **given: Any) -> Plan:
    data = Data(
        folder=model, hash="h", tokens=model, tokenizer="t", train=max(1, len(train)), valid=len(valid)
    )  # fmt: skip
    values = {
        "backend": "mlx", "device": "cpu", "base": str(model), "adapter": "lora", "rank": 4, "alpha": 8, "dropout": 0.0,
        "epochs": 2, "learning_rate": 1e-2, "batch": 2, "accumulation": 2, "max_length": 64, "eval_steps": 2,
        "save_steps": 2, "gradient_checkpointing": False, "data": data,
    }  # fmt: skip
    return Plan(**{**values, **given})


class Ran(NamedTuple):
    outcome: Outcome
    events: list[dict[str, Any]]
    folder: Path

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    @property
    def adapter(self) -> dict[str, bytes]:
        """The trained weights, bit by bit."""
        from safetensors.numpy import load_file

        found = load_file(self.folder / "adapter" / "adapters.safetensors")
        return {name: value.tobytes() for name, value in sorted(found.items())}


def run_mlx(
    folder: Path,
    plan: Plan,
    train: Sequence[Row],
    valid: Sequence[Row],
    *,
    stop: Callable[[int], bool] = lambda step: False,
    resume: bool = False,
    base: Path | None = None,
) -> Ran:
    """Train in this process. `stop` is asked with the number of steps that this call has done. `base`: the model's
    folder where the plan has another name for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events.jsonl"
    events = EventFile(path)
    before = path.stat().st_size
    report = Counted(events)
    task = Task(plan, train, valid, folder, base or Path(plan.base), report, lambda: stop(report.done), resume)
    outcome = trainer("mlx").train(task)
    events.close()
    lines = path.read_bytes()[before:].decode().splitlines()
    return Ran(outcome, [json.loads(line) for line in lines], folder)


class Counted(Report):
    done = 0

    def step(self, *args: Any, **values: Any) -> None:
        self.done += 1
        super().step(*args, **values)
