"""One training job on a device at a time, whatever workspace it is of."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from loopreview.jobs import locked
from loopreview.models.errors import UserError
from loopreview.models.training import Device
from loopreview.runs import Run


def refuse_busy(device: Device) -> None:
    """Raises UserError (exit 1) with the name of the run that trains on the device now."""
    lock = _lock(device)
    if lock.exists() and locked(lock):
        raise _busy(device)


@contextmanager
def held(device: Device, run: Run) -> Iterator[None]:
    """Hold the device for a run. The operating system frees it when the process ends, however it ends.

    Raises UserError (exit 1) with the name of the run that has it.
    """
    path = _lock(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        # `refuse_busy` holds the lock for an instant to see whether it is free.
        lock.acquire(timeout=0.5, poll_interval=0.02)
    except Timeout:
        raise _busy(device) from None
    try:
        path.with_suffix(".json").write_text(json.dumps({"run": str(run.folder), "pid": os.getpid()}), encoding="utf-8")
        yield
    finally:
        lock.release()


def _busy(device: Device) -> UserError:
    try:
        holder = Path(json.loads(_lock(device).with_suffix(".json").read_text(encoding="utf-8"))["run"])
        who, which = f"run {holder.name} of {holder.parent.parent}", f" {shlex.quote(str(holder))}"
    except (OSError, ValueError, KeyError, TypeError):
        who, which = "another run", ""
    name = {"cuda": "the GPU", "metal": "the GPU", "cpu": "this machine's processor"}[device]
    return UserError(
        f"{name} is busy: {who} is training on it; wait for it, or cancel it with `loopreview train cancel{which}`",
        exit_code=1,
    )


def _lock(device: Device) -> Path:
    # The first visible GPU is the one that is trained on.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() if device == "cuda" else ""
    return Path(platformdirs.user_state_dir("loopreview")) / "devices" / f"{device}{visible}.lock"
