"""The command line as a process of its own that need not import everything first: it is forked from a process that
has litellm loaded already, which takes seconds of every start."""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from pathlib import Path
from typing import Self

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["loopreview.cli.main", "loopreview.loop.batch", "loopreview.llm.offline.provider"])


class Forked:
    """`loopreview ARGS…`, to be killed, interrupted and waited for as a `subprocess.Popen` is."""

    def __init__(self, *args: object, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        given = {"ARGS": list(map(str, args)), "ENVIRONMENT": {**os.environ, **environment}, "SAID": self._said}
        # By its path: how pytest imports this module, no other process can.
        self._process = _FORKS.Process(target=runpy.run_path, args=(__file__, given, "forked"))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait, and give what it wrote on stdout and on stderr."""
        assert self.wait(timeout) is not None, f"it still runs after {timeout} s"
        out, err = (path.read_text(encoding="utf-8") for path in self._said)
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.kill()
        self.wait()
        self._folder.cleanup()


def _run(args: list[str], environment: dict[str, str], said: list[Path]) -> None:
    from loopreview.cli.main import run

    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(said, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["loopreview", *args]
    run()


if __name__ == "forked":
    _run(**{name.lower(): globals()[name] for name in ("ARGS", "ENVIRONMENT", "SAID")})
