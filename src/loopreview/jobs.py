"""Long jobs as processes of our own command: start one, find those that run, follow and cancel them.

A job is the very command a person would type (`loopreview generate …`). Whoever started it, it holds the lock of its
kind and appends to `.jobs/<kind>-<time>-<pid>.jsonl`, so that any other process can find and follow it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.models.errors import UserError
from loopreview.progress import EventFile, read_events

KINDS = ("generate", "assess", "export")


class Job(NamedTuple):
    kind: str
    pid: int
    path: Path
    """Its JSON-lines file."""


def folder(root: Path) -> Path:
    return root / ".jobs"


@contextmanager
def exclusive(root: Path, kind: str, **started: Any) -> Iterator[EventFile]:
    """Hold the workspace's lock for jobs of this kind and open this job's event file.

    Raises UserError (exit 1) where another one runs. The operating system frees the lock of a killed process.
    """
    from filelock import FileLock, Timeout  # here, since the first paint does without it

    where = folder(root)
    try:
        where.mkdir(exist_ok=True)
        lock = FileLock(where / f"{kind}.lock")
        # `find` holds the lock for an instant to see whether it is free.
        lock.acquire(timeout=0.3, poll_interval=0.02)
    except Timeout:
        running = next((job for job in find(root) if job.kind == kind), None)
        who = f" (process {running.pid})" if running else ""
        raise UserError(
            f"{root}: `loopreview {kind}` is already running here{who}; wait for it, or cancel it in the terminal "
            "program or with ctrl+c where it runs",
            exit_code=1,
        ) from None
    except OSError as error:
        raise UserError(
            f"{where}: cannot be written ({error.strerror}); check the folder's permissions", exit_code=3
        ) from None
    try:
        path = where / f"{kind}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.jsonl"
        (where / f"{kind}.running").write_text(json.dumps({"pid": os.getpid(), "file": path.name}), encoding="utf-8")
        events = EventFile(path)
        events.write("started", kind=kind, pid=os.getpid(), **started)
        try:
            yield events
        except KeyboardInterrupt:
            events.write("cancelled")
            raise
        except BaseException as error:
            events.write("failed", reason=str(error))
            raise
        finally:
            events.close()
            (where / f"{kind}.running").unlink(missing_ok=True)
            _forget_old(where)
    finally:
        lock.release()


def start(root: Path, kind: str, args: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `loopreview <kind> <args>` beside this process, in a process group of its own, so that leaving the
    terminal program does not end it. Its narration goes to `.jobs/<kind>.log`."""
    folder(root).mkdir(exist_ok=True)
    return spawn([kind, "-w", str(root), "--json", *args], folder(root) / f"{kind}.log")


def spawn(args: Sequence[str], log: Path, *, append: bool = False) -> subprocess.Popen[bytes]:
    """Start `loopreview ARGS` in a process group of its own; what it prints goes to `log`."""
    with log.open("ab" if append else "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "loopreview", *args],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def last_words(root: Path, kind: str) -> str:
    """The last line a started job narrated, for saying why it ended."""
    return last_line(folder(root) / f"{kind}.log")


def last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def find(root: Path) -> list[Job]:
    """The jobs that run in this workspace now, whoever started them."""
    found = []
    for kind in KINDS:
        try:
            marker = json.loads((folder(root) / f"{kind}.running").read_text(encoding="utf-8"))
            job = Job(kind, int(marker["pid"]), folder(root) / str(marker["file"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if locked(folder(root) / f"{kind}.lock"):
            found.append(job)
    return found


def tail(job: Job, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """What the job wrote since `offset`, and where to go on."""
    return read_events(job.path, offset)


def cancel(job: Job, *, now: bool = False) -> None:
    """Ask the job to stop as ctrl+c would, or end it `now`; what it has stored stays. A job that is gone already is no
    error."""
    try:
        os.kill(job.pid, signal.SIGKILL if now else signal.SIGINT)
    except ProcessLookupError:
        return


def locked(path: Path) -> bool:
    """Whether a living process holds this lock file."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _forget_old(where: Path, keep: int = 20) -> None:
    for path in sorted(where.glob("*.jsonl"), key=lambda p: p.stat().st_mtime)[:-keep]:
        path.unlink(missing_ok=True)
