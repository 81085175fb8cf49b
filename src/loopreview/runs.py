"""The folders of training runs: where each thing lies, how a run stands, and which run a person means."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.jobs import locked
from loopreview.models.errors import UserError
from loopreview.models.training import State
from loopreview.progress import read_events

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_NUMBER = re.compile(r"r(\d+)(?:-|$)")


class Run:
    """One run's folder. Nothing is read before it is asked for; all of it may be half there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self.plan_file = folder / "plan.yaml"
        self.gate_file = folder / "gate.json"
        """The answers to the TRAIN gate."""
        self.started_file = folder / "started.json"
        """{"plan": …}: the plan that the run was first started with; what it does from then on is that."""
        self.events_file = folder / "events.jsonl"
        self.log_file = folder / "log.txt"
        """What the job's libraries printed."""
        self.lock_file = folder / ".lock"
        """Held by the job while it lives."""
        self.job_file = folder / "job.json"
        """{"pid": …} of the job."""
        self.checkpoints = folder / "checkpoints"
        self.adapter = folder / "adapter"
        self.metrics_file = folder / "metrics.json"
        self.environment_file = folder / "environment.json"
        self.lineage_file = folder / "lineage.json"
        self.card_file = folder / "README.md"
        self.revoked_file = folder / "revoked.json"
        self.merged = folder / "merged"

    @property
    def number(self) -> int:
        found = _NUMBER.match(self.id)
        return int(found.group(1)) if found else 0

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.events_file)[0]

    def read_json(self, path: Path) -> dict[str, Any]:
        """A file of the run; empty where it is missing or torn."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def metrics(self) -> dict[str, Any]:
        return self.read_json(self.metrics_file)

    def pid(self) -> int | None:
        """The job's process, while it lives."""
        pid = self.read_json(self.job_file).get("pid")
        return pid if isinstance(pid, int) and self.lock_file.exists() and locked(self.lock_file) else None

    def standing(self) -> "Standing":
        """How the run stands, by its events and by whether its job lives."""
        return standing(self.events(), alive=self.pid() is not None)


class Standing(NamedTuple):
    """`reason`: why a run failed, in a line."""

    state: State
    reason: str = ""
    step: int = 0
    steps: int = 0
    killed: bool = False
    """It failed without a word of its own."""


def standing(events: list[dict[str, Any]], *, alive: bool) -> Standing:
    """How a run stands, of all its events."""
    last: dict[str, Any] | None = None
    step = steps = 0
    for event in events:
        name = event.get("event")
        if name in ("started", "done", "cancelled", "failed"):
            last = event
            steps = int(event.get("steps") or steps)
            step = int(event.get("step") or step)
        elif name == "step":
            step, steps = int(event.get("step") or 0), int(event.get("steps") or steps)
    name = last.get("event") if last else None
    if alive:
        return Standing("running", "", step, steps)
    if name == "done":
        return Standing("done", "", step, steps)
    if name == "cancelled":
        return Standing("cancelled", "", step, steps)
    if name == "failed":
        return Standing("failed", str((last or {}).get("reason", "")), step, steps)
    if name == "started":
        return Standing("failed", "the job was killed; resume goes on from its last checkpoint", step, steps, True)
    return Standing("planned", "", 0, 0)


def listed(root: Path) -> list[Run]:
    """The runs of a workspace, oldest first."""
    return sorted(_runs(root), key=lambda run: (run.number, run.id))


def _runs(root: Path) -> Iterator[Run]:
    try:
        folders = list((root / "runs").iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.is_dir() and (folder / "plan.yaml").is_file():
            yield Run(folder)


def named(root: Path, name: str | None) -> Run:
    """The run that a person means: its id, the beginning of one, its number, its folder; without a name the newest.

    Raises UserError where there is none, or more than one.
    """
    runs = listed(root)
    if not runs and not (name and Path(name).is_dir()):
        raise UserError(f"{root}: no run yet; `loopreview train start` makes one")
    if not name:
        return runs[-1]
    for run in runs:
        if name in (run.id, f"r{run.number}", str(run.number)):
            return run
    begin = [run for run in runs if run.id.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    folder = Path(name).expanduser()
    if (folder / "plan.yaml").is_file():
        return Run(folder.absolute())
    if begin:
        raise UserError(f"{name}: {len(begin)} runs begin so ({', '.join(run.id for run in begin[:5])}); say which")
    known = ", ".join(run.id for run in runs[-5:])
    raise UserError(f"{name}: no such run; there are {known}")


def make(root: Path, about: str) -> Run:
    """A new run's folder, `r<number>-<about>`; two at once get two numbers."""
    where = root / "runs"
    with writing(where):
        where.mkdir(exist_ok=True)
    words = re.sub(r"[^A-Za-z0-9.]+", "-", about).strip("-.").lower()[:40] or "run"
    number = max((Run(folder).number for folder in where.iterdir()), default=0) + 1
    while True:
        # The number alone is taken first: it is what must not be given twice.
        if any(Run(folder).number == number for folder in where.iterdir()):
            number += 1
            continue
        folder = where / f"r{number}-{words}"
        try:
            with writing(folder):
                folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return Run(folder)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk or a folder that is not ours is said in a line: UserError, exit 3. Other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); make room on the disk, or check the folder's "
            "permissions",
            exit_code=3,
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all, and on the disk when this returns. Raises UserError where it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
