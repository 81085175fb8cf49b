"""Counting a workspace beside the screen: the numbers of 100,000 transcripts must not hold up a key."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from loopreview.models.errors import UserError

APART_S = 2.0
"""Counting again and again beside a running job would take its processor."""


async def status_of(root: Path) -> dict[str, Any]:
    """What `loopreview status --json` prints. A process of its own: it takes neither the screen's thread nor a second
    connection in this process, and ends with it. Raises UserError with what it said instead."""
    code, out, errors = await run_loopreview(["status", "--json", "-w", str(root)])
    try:
        if code == 0:
            found = json.loads(out)
            if isinstance(found, dict):
                return found
    except ValueError:
        pass
    raise UserError(errors or "the workspace could not be counted; try `loopreview status`")


async def run_loopreview(args: list[str]) -> tuple[int, str, str]:
    """Run our own command; its exit code, what it printed, and the last line it narrated. It ends with its caller."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as narration:
        # Not asyncio's subprocess: its pipes outlive a loop that is closed while the command runs.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "loopreview", *args], stdin=subprocess.DEVNULL, stdout=out, stderr=narration
        )
        try:
            while process.poll() is None:
                await asyncio.sleep(0.03)
        finally:
            process.kill()
            process.wait()
        printed, said = (_read(file) for file in (out, narration))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return process.returncode, printed, lines[-1] if lines else ""


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


class Counter:
    """Counts when asked; asked again meanwhile, it counts once more after that."""

    def __init__(
        self,
        root: Path,
        done: Callable[[dict[str, Any]], None],
        failed: Callable[[str], None],
        how: Callable[[Path], Awaitable[dict[str, Any]]] = status_of,
    ) -> None:
        """`done` gets the numbers, `failed` the reason."""
        self._root, self._done, self._failed, self._how = root, done, failed, how
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def ask(self) -> None:
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End what is under way, so that nothing outlives the screen."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            self._again = False
            began = time.monotonic()
            try:
                found = await self._how(self._root)
            except (UserError, OSError) as error:
                self._failed(str(error))
            else:
                self._done(found)
            if not self._again:
                return
            await asyncio.sleep(max(0.0, APART_S - (time.monotonic() - began)))
