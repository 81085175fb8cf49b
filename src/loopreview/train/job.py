"""The training job itself: the process that `train start` and `train resume` leave behind.

It reads the run's folder, the dataset's and the base model's, and tells everything through `events.jsonl`.
"""

import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from loopreview import __version__
from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.training import Outcome, Plan
from loopreview.progress import EventFile
from loopreview.runs import Run, write_json
from loopreview.train import device
from loopreview.train.backend import OutOfMemory, Task, trainer
from loopreview.train.base import fetch
from loopreview.train.card import write_card
from loopreview.train.machine import NEEDS, look
from loopreview.train.memory import fitting
from loopreview.train.order import steps_per_epoch
from loopreview.train.plan import read_plan, refuse_changed
from loopreview.train.proposal import gigabytes
from loopreview.train.report import Report
from loopreview.train.rows import Row, read_rows

INTERRUPTED, FAILED = 130, 3
_LISTED = 5
"""Best and worst validation examples that are named."""


class Stop:
    """Whether the person asked to stop. While nothing is trained yet, asking ends the job at once; so does asking
    twice."""

    def __init__(self) -> None:
        self.asked = self.training = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        return self.asked

    def _hear(self, number: int, frame: object) -> None:
        if self.asked or not self.training:
            raise KeyboardInterrupt
        self.asked = True


def work(folder: Path, *, resume: bool) -> int:
    """Train what the run's plan says, and return the exit code: 0 done, 130 cancelled with a checkpoint, 3 the machine
    failed.

    Raises UserError, the reason of which is in the events too.
    """
    stop = Stop()
    run = Run(folder)
    with _alone(run):
        events = EventFile(run.events_file)
        try:
            outcome = _train(run, events, stop, resume=resume)
        except KeyboardInterrupt:
            events.write("cancelled", step=run.standing().step, checkpoint=None)
            return INTERRUPTED
        except UserError as error:
            events.write("failed", reason=str(error))
            raise
        except Exception as error:
            # The log has the whole of it; the event has the line that matters.
            traceback.print_exc()
            events.write("failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return FAILED
        finally:
            events.close()
        return INTERRUPTED if outcome.cancelled else 0


def _train(run: Run, events: EventFile, stop: Stop, *, resume: bool) -> Outcome:
    began = time.monotonic()
    plan = read_plan(run.plan_file)
    if resume:
        refuse_changed(run)
    with device.held(plan.device, run):
        if not resume or not run.started_file.exists():
            write_json(run.started_file, {"plan": plan.model_dump(mode="json")})
        steps = plan.epochs * steps_per_epoch(plan.micro_batches(), plan.accumulation)
        done = run.standing().step if resume else 0
        report = Report(events, steps=steps)
        events.write(
            "started", pid=os.getpid(), backend=plan.backend, device=plan.device, steps=steps, step=done, resumed=resume
        )
        write_json(run.environment_file, environment(plan, run))
        train, valid = _rows(plan)
        _disk(run, plan)
        events.write("note", text="loading the libraries")
        base = fetch(plan.base)
        backend = trainer(plan.backend)
        task = Task(plan, train, valid, run.folder, base, report, stop, resume)
        stop.training = True
        try:
            outcome = backend.train(task)
        except OutOfMemory as error:
            raise _too_big(plan, base, train, error) from error
        seconds = time.monotonic() - began
    if outcome.cancelled:
        kept = sorted(run.checkpoints.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
        events.write("cancelled", step=outcome.steps, checkpoint=str(kept[-1]) if kept else None)
        return outcome
    if outcome.rows != plan.data.train:
        report.warning(f"{outcome.rows} of {plan.data.train} examples were trained on")
    write_json(run.metrics_file, metrics(plan, outcome, seconds))
    write_card(run, plan)
    events.write(
        "done",
        steps=steps,
        step=outcome.steps,
        loss=outcome.last_loss,
        eval_loss=outcome.best_eval_loss,
        adapter=str(outcome.adapter),
    )
    return outcome


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """This run is worked on by this process and no other."""
    lock = FileLock(run.lock_file)
    try:
        lock.acquire(timeout=0.5, poll_interval=0.02)
    except Timeout:
        raise UserError(
            f"{run.id}: is running already; `loopreview train watch {run.id}` follows it", exit_code=1
        ) from None
    try:
        write_json(run.job_file, {"pid": os.getpid()})
        yield
    finally:
        lock.release()


def _rows(plan: Plan) -> tuple[list[Row], list[Row]]:
    """The rows to train on and those to measure on: exactly those that were planned, none of them too long."""
    data = plan.data
    if Exported.open(data.folder).hash != data.hash:
        raise UserError(f"{data.folder}: is another dataset than the run was planned with; plan the run again")
    train = read_rows(data.tokens / "train.jsonl")
    valid = read_rows(data.tokens / "valid.jsonl") if data.valid else []
    for split, rows, planned in (("train", train, data.train), ("valid", valid, data.valid)):
        if len(rows) != planned:
            raise UserError(
                f"{data.tokens / split}.jsonl: has {len(rows)} rows, {planned} were planned; plan the run again"
            )
        for number, row in enumerate(rows, 1):
            if len(row.ids) > plan.max_length:
                raise UserError(
                    f"{data.tokens / split}.jsonl: row {number} has {len(row.ids):,} tokens, max_length is "
                    f"{plan.max_length:,}; nothing is cut: raise max_length, or export with a smaller max_tokens"
                )
    return train, valid


def _disk(run: Run, plan: Plan) -> None:
    """Raises UserError where checkpoints and adapter would not fit on the disk."""
    from loopreview.train.base import Base
    from loopreview.train.memory import estimate

    found = estimate(Base.open(plan.base).config, plan)
    trained = found.weights if plan.adapter == "full" else found.adapters
    # Two checkpoints (weights and optimizer) stay, a third is written beside them; then the result.
    needed = 3 * (trained + found.optimizer) + trained
    free = shutil.disk_usage(run.folder).free
    if needed > free:
        raise UserError(
            f"{run.folder}: {gigabytes(free)} are free on the disk, checkpoints and result need about "
            f"{gigabytes(needed)}; make room",
            exit_code=3,
        )


def _too_big(plan: Plan, base: Path, rows: Sequence[Row], error: Exception) -> UserError:
    from loopreview.train.base import Base

    longest = max(len(row.ids) for row in rows)
    found = look(base).backends[plan.backend].device
    try:
        fit = fitting(Base.open(plan.base).config, plan, found.memory) if found else None
    except UserError:  # an architecture of which nothing can be estimated
        fit = None
    said = f"out of memory: the longest example has {longest:,} tokens, batch is {plan.batch}"
    todo = "train with fewer tokens (export with a smaller max_tokens), adapter=qlora or gradient_checkpointing=yes"
    if fit and fit.max_length:
        todo = f"about {fit.max_length:,} tokens fit at batch {plan.batch}"
        if plan.batch > 1 and fit.batch and fit.batch < plan.batch:
            todo += f", or batch {fit.batch} at {plan.max_length:,} tokens (--set batch={fit.batch})"
        todo += "; export with max_tokens to match"
    return UserError(f"{said}; {todo} ({' '.join(str(error).split())[:120]})", exit_code=3)


def environment(plan: Plan, run: Run) -> dict[str, Any]:
    """What the run was made with, as far as it may matter to somebody who repeats it."""
    found = look(run.folder)
    used = next((one for one in found.devices if one.kind == plan.device), None)
    versions: dict[str, str] = {}
    for name in NEEDS[plan.backend]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "loopreview": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": plan.device,
        "gpu": used.name if used and plan.device != "cpu" else None,
        "threads": os.environ.get("OMP_NUM_THREADS") or os.cpu_count(),
        "commit": _commit(run.folder),
    }


def _commit(folder: Path) -> str | None:
    """The commit that the workspace is at, where it is under git."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder.parent.parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def metrics(plan: Plan, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """What came of a run, in numbers."""
    ranked = sorted(outcome.example_losses, key=lambda pair: pair[1])
    named = [{"row": row, "loss": loss} for row, loss in ranked]
    # Of a few examples one half is listed as the best and the other as the worst, none as both.
    worst = min(_LISTED, len(named) // 2)
    return {
        "steps": outcome.steps,
        "rows": outcome.rows,
        "examples": {"train": plan.data.train, "valid": plan.data.valid},
        "loss": {"first": outcome.first_loss, "last": outcome.last_loss},
        "eval_loss": {
            "base": outcome.base_eval_loss,
            "best": outcome.best_eval_loss,
            "best_step": outcome.best_step,
            "loaded": outcome.loaded_eval_loss,
        },
        "tokens": outcome.tokens,
        "tokens_per_s": outcome.tokens_per_s,
        "peak_memory": outcome.peak_memory,
        "seconds": round(seconds, 1),
        "stopped_early": outcome.stopped_early,
        "best": named[: min(_LISTED, len(named) - worst)],
        "worst": named[::-1][:worst],
    }
