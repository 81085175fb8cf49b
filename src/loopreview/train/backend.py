"""What the job asks of a backend, and what a backend asks of the job."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from loopreview.models.training import Backend, Outcome, Plan
from loopreview.train.report import Report
from loopreview.train.rows import Row


class Task(NamedTuple):
    """One training run, as a backend gets it."""

    plan: Plan
    train: Sequence[Row]
    valid: Sequence[Row]
    folder: Path
    """The run's folder. `checkpoints/` and `adapter/` in it are the backend's, nothing else."""
    base: Path
    """The folder of the base model: config.json, safetensors, tokenizer."""
    report: Report
    stop: Callable[[], bool]
    """True once the person asked to stop: save a checkpoint at the end of the step, and hand back what there is."""
    resume: bool
    """Go on from the newest complete checkpoint; from the beginning where there is none."""


class Trainer(Protocol):
    """A backend's module, `loopreview.train.<backend>`.

    Raises UserError (exit 3) where the machine does not do it, and OutOfMemory at or before the first step.
    """

    def train(self, task: Task) -> Outcome: ...

    def merge(self, plan: Plan, base: Path, adapter: Path, to: Path) -> None:
        """Write the full, unquantised weights of base and adapter to the folder `to`, with tokenizer and template."""

    def self_test(self) -> str:
        """One tiny forward and backward on this machine, 4 bits where the backend has them. Returns what was tried;
        raises an exception where it does not work."""


class OutOfMemory(Exception):
    """The device has not enough memory. Raised by a backend at or before the first step."""


def trainer(backend: Backend) -> Trainer:
    """The module that trains; importing it loads its libraries."""
    return cast(Trainer, import_module(f"loopreview.train.{backend}"))
