"""Asking the planner, a process beside the screen."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from loopreview.models.errors import UserError


class Planning:
    """Starts the planner when it is first asked, and ends it with `close`.

    `heard` gets each answer: `progress`, `plan`, `example`, or `error` with why.
    """

    def __init__(self, root: Path, heard: Callable[[dict[str, Any]], None]) -> None:
        self._root, self._heard = root, heard
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: IO[bytes] | None = None
        self._rest = b""
        self._words = ""
        self._asked = 0

    def ask(self, **request: Any) -> int:
        """Send a request; the number that its answers have. Raises UserError where no process can be started."""
        self._asked += 1
        line = json.dumps({"id": self._asked, **request}).encode() + b"\n"
        for _ in range(2):  # a planner that has ended is started anew
            if self._process is None:
                self._start()
            assert self._process is not None and self._process.stdin is not None
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError:
                self.close()
            else:
                return self._asked
        raise UserError(f"the planner could not be asked: {self._words or 'it ended'}")

    def _start(self) -> None:
        self.close()
        self._words = ""
        try:
            with tempfile.NamedTemporaryFile(prefix="loopreview-") as out:
                # A file, not a pipe: reading must never wait, and what is not read holds nobody up.
                self._answers = Path(out.name).open("rb")  # noqa: SIM115
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "loopreview.tui.planner", str(self._root)],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            raise UserError(f"the planner could not be started: {error.strerror}") from None

    def look(self) -> None:
        """Hand on what was answered since the last look."""
        if self._process is None or self._answers is None:
            return
        code = self._process.poll()
        lines = (self._rest + self._answers.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._take(line)
        if code is not None:
            self.close()
            self._heard({"answer": "error", "id": self._asked, "why": self._words or f"the planner ended ({code})"})

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            self._heard(answer)
        elif line.strip():
            self._words = line.decode("utf-8", "replace").strip().removeprefix("loopreview: ")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            process.wait()
        if self._answers is not None:
            self._answers.close()
            self._answers = None
        self._rest = b""
