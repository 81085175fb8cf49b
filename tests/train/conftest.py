"""A tiny model, and a real server that answers with it."""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.train.made import make_export

from loopreview.train.tiny import Family, build


class ServedModel(NamedTuple):
    """Where the server listens, and the name its model has there (litellm: `openai/NAME` with this `api_base`)."""

    api_base: str
    name: str


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama with random weights."""
    return _tiny(tmp_path_factory, "llama")


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Qwen2 with random weights."""
    return _tiny(tmp_path_factory, "qwen2")


def _tiny(made: pytest.TempPathFactory, family: Family) -> Path:
    if importlib.util.find_spec("safetensors") is None:
        pytest.skip("no trainer is installed (extras: cuda, mlx)")
    return build(made.mktemp("tiny") / f"tiny-{family}", family=family)


@pytest.fixture(scope="session")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 40 short conversations, exported with the tiny model's tokenizer; most of them to train on."""
    return make_export(tmp_path_factory.mktemp("workspace") / "workspace", tiny_model)


@pytest.fixture(scope="session")
def served_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """`mlx_lm.server` with the tiny model, on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [
        sys.executable,
        "-m",
        "mlx_lm",
        "server",
        "--model",
        str(tiny_model),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait_until_it_answers(server, port, log)
        yield ServedModel(f"http://127.0.0.1:{port}/v1", "default_model")
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"mlx_lm.server did not come up:\n{log.read_text(errors='replace')[-2000:]}")
