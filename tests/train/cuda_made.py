"""Small runs of the CUDA backend on a CPU."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopreview.models.training import Data, Outcome, Plan
from loopreview.progress import EventFile, read_events
from loopreview.train.backend import Task
from loopreview.train.cuda import train
from loopreview.train.report import Report
from loopreview.train.rows import IGNORED, Row


def made_rows(count: int, seed: int, *, shortest: int = 12, longest: int = 48) -> list[Row]:
    """Rows of unequal lengths, each with two supervised parts."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        length = dice.randint(shortest, longest)
        ids = [dice.randrange(5, 60) for _ in range(length)]
        cut = dice.randint(2, length - 4)
        found.append(Row(ids, [id if cut <= n < cut + 3 or n == length - 1 else IGNORED for n, id in enumerate(ids)]))
    return found


TRAIN, VALID = made_rows(21, 1), made_rows(5, 2)


def made_plan(base: Path, **values: Any) -> Plan:
    """21 examples in 6 steps an epoch, the last of one micro-batch."""
    data = Data(folder=base, hash="x", tokens=base, tokenizer="x", train=21, valid=values.pop("valid", len(VALID)))
    return Plan.model_validate(
        {
            "backend": "cuda",
            "device": "cpu",
            "base": str(base),
            "adapter": "lora",
            "max_length": 128,
            "epochs": 1,
            "accumulation": 4,
            "eval_steps": 3,
            "save_steps": 3,
            "learning_rate": 1e-2,
            "data": data,
            **values,
        }
    )


def made_task(
    plan: Plan,
    folder: Path,
    *,
    train: list[Row] = TRAIN,
    valid: list[Row] = VALID,
    stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
) -> Task:
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(EventFile(folder / "events.jsonl"))
    return Task(plan, train, valid if plan.data.valid else [], folder, Path(plan.base), report, stop, resume)


def run(plan: Plan, folder: Path, **options: Any) -> Outcome:
    return train(made_task(plan, folder, **options))


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder / "events.jsonl")[0] if event["event"] == name]


def stop_once(folder: Path, name: str, count: int = 1) -> Callable[[], bool]:
    """A person who asks to stop when the run has told of `count` such events."""
    return lambda: len(events(folder, name)) >= count
