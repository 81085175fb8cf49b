"""From what a person asked for to a run: planned, written, started, followed to its end."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from loopreview import jobs, runs
from loopreview.formats.exported import MANIFEST, Exported
from loopreview.models.errors import UserError
from loopreview.progress import EventFile, read_events
from loopreview.runs import Run, write_json
from loopreview.train import device
from loopreview.train.base import Base
from loopreview.train.machine import look
from loopreview.train.plan import Planned, propose, read_plan, refuse_changed, write_plan

LISTEN_S = 0.1
MEANT_S = 1.0


class Wanted(NamedTuple):
    """What a person asked for. `given`: keys of the plan with their values; `start`: the run to go on from."""

    base: str | None = None
    dataset: Path | None = None
    given: Mapping[str, Any] = {}
    start: Run | None = None
    pass_rate: float | None = None


def dataset_of(root: Path, folder: Path | None) -> Exported:
    """The dataset named, else the workspace's newest. Raises UserError where there is none."""
    if folder is not None:
        return Exported.open(folder)
    # A dataset that is being written has a name that begins with a dot.
    found = [path for path in (root / "exports").glob("[!.]*") if (path / MANIFEST).is_file()]
    if not found:
        raise UserError(
            f"{root}: nothing is exported yet; `loopreview export` makes a dataset, or name one with --dataset"
        )
    return Exported.open(max(found, key=lambda path: path.stat().st_mtime))


@contextmanager
def planned(root: Path, wanted: Wanted, *, keep: bool) -> Iterator[tuple[Run | None, Planned]]:
    """The plan with its reasons; with `keep` in a run's folder of its own, else written nowhere.

    The folder is there for good once the block ends well. Raises UserError.
    """
    earlier = (read_plan(wanted.start.plan_file), result_of(wanted.start)) if wanted.start else None
    reference = wanted.base or (earlier[0].base if earlier else None)
    if reference is None:
        raise UserError(
            "which model is to be trained? name it with --base (a folder, or a name on the Hub), or set base_model in "
            "loopreview.toml"
        )
    dataset = dataset_of(root, wanted.dataset)
    base, machine = Base.open(reference), look(root)

    def proposed(folder: Path) -> Planned:
        return propose(
            dataset,
            base,
            machine,
            given=wanted.given,
            run_folder=folder,
            pass_rate=wanted.pass_rate,
            earlier=earlier,
        )

    if not keep:
        with TemporaryDirectory() as folder:
            yield None, proposed(Path(folder))
        return
    run = runs.make(root, Path(reference).name)
    try:
        with runs.writing(run.folder):
            found = proposed(run.folder)
        lineage = {
            "dataset": {"folder": str(dataset.folder), "hash": dataset.hash},
            "rows": [line for line in dataset.lineage() if line.get("split") in ("train", "valid")],
            "start_run": wanted.start.id if wanted.start else None,
        }
        write_json(run.lineage_file, lineage)
        yield run, found
        # The plan comes last: a folder without one is no run.
        with runs.writing(run.plan_file):
            write_plan(run.plan_file, found.plan, found.reasons)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise


def result_of(run: Run) -> Path:
    """The folder of what a run made. Raises UserError where it is not done."""
    refuse_revoked(run)
    if run.standing().state != "done" or not run.adapter.is_dir():
        raise UserError(
            f"{run.id}: is {run.standing().state}, there is no result to go on from; take a run that is done"
        )
    refuse_changed(run)
    return run.adapter


def refuse_revoked(run: Run) -> None:
    """Raises UserError (exit 1) where the run holds a conversation that was taken back."""
    if run.revoked_file.exists():
        names = ", ".join(sorted(run.read_json(run.revoked_file))) or "see revoked.json"
        raise UserError(
            f"{run.id}: holds what was revoked since ({names}); export and train again, which leaves it out",
            exit_code=1,
        )


def launch(run: Run, *, resume: bool) -> subprocess.Popen[bytes]:
    """Start the run's job, in a process group of its own.

    Raises UserError where it runs already, is done, or the device is busy.
    """
    stands = run.standing()
    refuse_revoked(run)
    if stands.state == "running":
        raise UserError(f"{run.id}: is running; `loopreview train watch {run.id}` follows it", exit_code=1)
    if stands.state == "done":
        raise UserError(f"{run.id}: is done; `loopreview train start --from {run.id}` goes on from what it made")
    if resume and stands.state == "planned":
        raise UserError(f"{run.id}: was never started; `loopreview train start {run.id}` starts it")
    if resume:
        refuse_changed(run)
    device.refuse_busy(read_plan(run.plan_file).device)
    with runs.writing(run.log_file):
        return jobs.spawn(
            ["train", "work", str(run.folder), *(["--resume"] if resume else [])], run.log_file, append=True
        )


def wait_until_it_lives(run: Run, process: subprocess.Popen[bytes], *, seconds: float = 30) -> None:
    """Until the job holds its run, or has ended already."""
    until = time.monotonic() + seconds
    while process.poll() is None and run.pid() is None and time.monotonic() < until:
        time.sleep(0.05)


def cancel(run: Run, *, now: bool) -> None:
    """Ask the job to save a checkpoint and stop; with `now` end it as it is. Raises UserError where none runs."""
    pid = run.pid()
    if pid is None:
        raise UserError(f"{run.id}: is not running, it is {run.standing().state}", exit_code=1)
    jobs.cancel(jobs.Job("train", pid, run.events_file), now=now)
    if not now:
        return
    until = time.monotonic() + 10
    while run.pid() is not None and time.monotonic() < until:
        time.sleep(0.05)
    if not run.standing().killed:
        return  # it came to its own end first
    events = EventFile(run.events_file)
    events.write("cancelled", step=run.standing().step, checkpoint=None)
    events.close()


def follow(
    run: Run, process: subprocess.Popen[bytes] | None, hear: Callable[[dict[str, Any]], None], *, offset: int = 0
) -> int:
    """Pass on every event from `offset` (bytes) until the job ends, and return its exit code (of a job that somebody
    else started: by how the run stands then)."""
    while True:
        # Looked at before reading, so that what the job wrote last is read too.
        ended = process.poll() is not None if process else run.pid() is None
        events, offset = read_events(run.events_file, offset)
        for event in events:
            hear(event)
        if ended:
            break
        time.sleep(LISTEN_S)
    if process is not None and process.returncode >= 0:
        return process.returncode
    # Who killed it (`cancel --now`) writes down that it was meant, a moment later.
    until = time.monotonic() + MEANT_S
    while run.standing().killed and time.monotonic() < until:
        time.sleep(LISTEN_S)
    return {"done": 0, "cancelled": 130}.get(run.standing().state, 3)


def summary(run: Run) -> dict[str, Any]:
    """What `train start`, `resume` and `watch` print under `--json`. `examples`: those trained on."""
    stands, metrics, plan = run.standing(), run.metrics, read_plan(run.plan_file)
    steps = [event for event in run.events() if event.get("event") == "step"]
    evals = [event.get("loss") for event in run.events() if event.get("event") == "eval"]
    losses = metrics.get("loss") or {
        "first": steps[0].get("loss") if steps else None,
        "last": steps[-1].get("loss") if steps else None,
    }
    best = (metrics.get("eval_loss") or {}).get("best")
    return {
        "run": run.id,
        "folder": str(run.folder),
        "state": stands.state,
        "reason": stands.reason or None,
        "steps": stands.step,
        "steps_planned": stands.steps,
        "stopped_early": metrics.get("stopped_early"),
        "examples": metrics.get("rows") if metrics else plan.data.train,
        "valid_examples": plan.data.valid,
        "loss": losses,
        "eval_loss": best if metrics else min((loss for loss in evals if loss is not None), default=None),
        "base_eval_loss": evals[0] if evals else None,
        "tokens_per_s": metrics.get("tokens_per_s") or (steps[-1].get("tokens_per_s") if steps else None),
        "peak_memory": metrics.get("peak_memory"),
        "adapter": str(run.adapter) if stands.state == "done" and run.adapter.is_dir() else None,
    }
