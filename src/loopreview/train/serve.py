"""A run's base and tuned model behind one server on loopback: `mlx_lm.server` or `transformers serve`.

Both answer OpenAI's chat requests and one request at a time. `mlx_lm.server` holds one model, and loads anew where the
adapter changes; `transformers serve` knows no adapters, takes merged weights, and keeps both models loaded.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loopreview.models.errors import UserError
from loopreview.models.training import Plan

Side = Literal["base", "tuned"]
SIDES: tuple[Side, ...] = ("base", "tuned")
START_SECONDS = 180
"""A first import of torch from a cold disk takes a minute."""
_IDLE_SECONDS = 3600
"""After which `transformers serve` drops a model that nobody asks; the next request loads it again."""
_ROOM = 1.2
"""Weights, with what their use takes beside them."""
# A proxy of the environment is not for our own loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Served(NamedTuple):
    """Where the server listens (with `/v1`), the name of each model there, and what each request to one carries."""

    api_base: str
    base_model: str
    tuned_model: str
    extra: dict[Side, dict[str, Any]]
    one_at_a_time: bool
    """Both models do not fit into the memory at once: `unload` before the other one is asked."""
    server: "Server"

    def model(self, side: Side) -> str:
        return self.base_model if side == "base" else self.tuned_model

    def unload(self) -> None:
        """Drop the models that are loaded."""
        request = urllib.request.Request(f"{self.api_base.removesuffix('/v1')}/reset", data=b"", method="POST")
        with suppress(OSError):
            _DIRECT.open(request, timeout=60).close()


@contextmanager
def serving(
    base: Path,
    plan: Plan,
    adapter: Path,
    merged: Path,
    *,
    log: Path,
    sides: tuple[Side, ...] = SIDES,
    free: int | None = None,
) -> Iterator[Served]:
    """Start a server for the folders of a run, wait until it answers, and end it at the end; it ends with this process
    in any case. Nothing is loaded before it is asked for. What it prints goes to `log`.

    `free`: bytes of memory for the models; without it both may be loaded at once. Raises UserError (exit 3) where the
    server does not start.
    """
    models: dict[Side, Path] = {}
    extra: dict[Side, dict[str, Any]] = {side: {} for side in SIDES}
    if plan.backend == "mlx":
        # Adapters of a 4-bit base were trained on that very base.
        models["base"] = quantised_base(adapter) or base
        extra["tuned"] = {"adapters": str(adapter.absolute())}
        names: dict[Side, str] = {"base": "base", "tuned": "base"}
    else:
        models |= {side: folder for side, folder in (("base", base), ("tuned", merged)) if side in sides}
        names = {"base": "base", "tuned": "tuned"}
    one_at_a_time = free is not None and len(models) > 1 and sum(map(weights, models.values())) * _ROOM > free
    for _ in range(3):
        port = _free_port()
        server = Server(_command(plan, port), models, base, log)
        try:
            server.wait_until_it_answers(port)
        except _PortTaken:
            server.end()
            continue
        except BaseException:
            server.end()
            raise
        break
    else:
        raise UserError(f"no port of 127.0.0.1 could be had for the server; its log: {log}", exit_code=3)
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", names["base"], names["tuned"], extra, one_at_a_time, server)
    finally:
        server.end()


def quantised_base(adapter: Path) -> Path | None:
    """The 4-bit base that an MLX adapter was trained on; none where it was trained on the base as it is."""
    try:
        named = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("quantised_base")
    except (OSError, ValueError, AttributeError):
        return None
    if not named:
        return None
    folder = adapter / Path(named)
    if not folder.is_dir():
        raise UserError(f"{folder}: the 4-bit base of the run is gone; train the run again", exit_code=3)
    return folder


def weights(folder: Path) -> int:
    """Bytes of a model's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _command(plan: Plan, port: int) -> list[str]:
    here = ["--host", "127.0.0.1", "--port", str(port)]
    if plan.backend == "mlx":
        return [sys.executable, "-P", "-m", "mlx_lm", "server", *here, "--allowed-origins", f"http://127.0.0.1:{port}"]
    start = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    device = ["--device", "cpu"] if plan.device == "cpu" else []
    return [sys.executable, "-P", "-c", start, "serve", *here, *device, "--model-timeout", str(_IDLE_SECONDS)]


class _PortTaken(Exception):
    pass


class Server:
    """The process of a server."""

    def __init__(self, command: list[str], models: Mapping[Side, Path], tokenizer: Path, log: Path) -> None:
        folders = {name: [str(folder.absolute()), str(tokenizer.absolute())] for name, folder in models.items()}
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "loopreview.train.watched",
                 json.dumps({"models": folders, "command": command})],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
                     "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )  # fmt: skip

    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until_it_answers(self, port: int) -> None:
        until = time.monotonic() + START_SECONDS
        while self.runs():
            with suppress(OSError), _DIRECT.open(f"http://127.0.0.1:{port}/health", timeout=5):
                return
            if time.monotonic() > until:
                raise UserError(
                    f"the server does not answer after {START_SECONDS} s ({self.last_words()}); its log: {self.log}",
                    exit_code=3,
                )
            time.sleep(0.1)
        if "ddress already in use" in self._log():
            raise _PortTaken
        said = self.last_words()
        mend = "pip install 'transformers[serving]'; " if "transformers[serving]" in said else ""
        raise UserError(f"the server did not start: {said}; {mend}its log: {self.log}", exit_code=3)

    def last_words(self) -> str:
        """The last line of the log that says something."""
        lines = self._log().splitlines()
        return next((line.strip()[:200] for line in reversed(lines) if any(map(str.isalpha, line))), "it said nothing")

    def _log(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def end(self) -> None:
        """Kill it, with all that it started."""
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
