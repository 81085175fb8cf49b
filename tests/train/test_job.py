"""The training job as a person has it: started, followed, cancelled, killed, resumed, on both backends."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from loopreview import runs
from loopreview.runs import Run

pytestmark = pytest.mark.train
BACKENDS = ("cuda", "mlx")
STEPS = ["--epochs=2", "--set=accumulation=4", "--set=dropout=0", "--set=eval_steps=3", "--set=save_steps=3"]


@pytest.fixture
def place(exported: Path, tmp_path: Path) -> Path:
    """A workspace's folder with a dataset; the job needs no more of it."""
    return copied(exported, tmp_path / "place")


def copied(exported: Path, folder: Path) -> Path:
    shutil.copytree(exported.parents[1], folder, ignore=shutil.ignore_patterns("runs", ".jobs"))
    return folder


Whole = Callable[[str], tuple[Run, Any]]


@pytest.fixture(scope="session")
def whole(exported: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run that nobody disturbed, by backend, with what `train start --json` printed of it."""
    done: dict[str, tuple[Run, Any]] = {}

    def of(backend: str) -> tuple[Run, Any]:
        if backend not in done:
            folder = copied(exported, tmp_path_factory.mktemp("whole") / "place")
            found = start(folder, tiny_model, backend)
            done[backend] = runs.named(folder, found["run"]), found
        return done[backend]

    return of


def loopreview(*args: object, code: int = 0) -> Any:
    """Run the command and return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "loopreview", *map(str, args), "--json"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == code, done.stderr[-3000:]
    return json.loads(done.stdout) if done.stdout.strip() else done.stderr


def start(place: Path, base: Path, backend: str, *more: str, code: int = 0) -> Any:
    given = ("--backend", backend, "--base", base, "--set=adapter=lora", *STEPS, "--yes", *more)
    return loopreview("train", "start", "-w", place, *given, code=code)


def until(holds: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def step_of(run: Run) -> int:
    return max((event["step"] for event in run.events() if event["event"] == "step"), default=0)


def weights(run: Run) -> dict[str, np.ndarray[Any, Any]]:
    (file,) = run.adapter.glob("adapter*.safetensors")
    return load_file(file)


def same(one: Run, other: Run) -> None:
    mine, others = weights(one), weights(other)
    assert mine.keys() == others.keys()
    for name, value in mine.items():
        assert np.array_equal(value, others[name]), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_from_start_to_end(exported: Path, whole: Whole, backend: str) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    run, found = whole(backend)
    assert found["state"] == "done"
    assert found["loss"]["last"] < found["loss"]["first"]
    assert found["eval_loss"] < found["base_eval_loss"]
    assert found["examples"] == manifest["examples"]["train"], "rows trained are the rows of the manifest"
    assert Path(found["adapter"]).is_dir()
    events = run.events()
    assert (events[0]["event"], events[-1]["event"]) == ("started", "done")
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, found["steps"] + 1))
    assert all(event["tokens_per_s"] > 0 and event["peak_memory"] > 0 for event in steps)
    assert steps[0]["learning_rate"] < max(event["learning_rate"] for event in steps)
    assert run.metrics["eval_loss"]["loaded"] == pytest.approx(run.metrics["eval_loss"]["best"], rel=1e-3)
    assert {row["row"] for row in run.metrics["best"] + run.metrics["worst"]} <= {1, 2, 3, 4, 5, 6}
    environment = run.read_json(run.environment_file)
    assert environment["packages"] and environment["device"] == "cpu"
    assert "TRAIN gate" in run.card_file.read_text()
    assert run.read_json(run.gate_file)["answered"] is False
    assert {line["transcript"] for line in run.read_json(run.lineage_file)["rows"]}


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelled_and_resumed_is_as_if_never_cancelled(
    place: Path, tiny_model: Path, whole: Whole, backend: str
) -> None:
    undisturbed, _ = whole(backend)
    begun = start(place, tiny_model, backend, "--detach")
    run = runs.named(place, begun["run"])
    assert begun["state"] == "running"
    until(lambda: step_of(run) >= 4)
    pid = run.pid()
    assert pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: run.pid() is None)
    assert run.standing().state == "cancelled"
    stopped = step_of(run)
    assert 4 <= stopped < step_of(undisturbed)
    found = loopreview("train", "resume", run.id, "-w", place)
    assert (found["state"], found["steps"]) == ("done", step_of(undisturbed))
    same(run, undisturbed)
    assert run.metrics["eval_loss"] == undisturbed.metrics["eval_loss"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_and_resumed_from_the_last_checkpoint(place: Path, tiny_model: Path, whole: Whole, backend: str) -> None:
    undisturbed, _ = whole(backend)
    run = runs.named(place, start(place, tiny_model, backend, "--detach")["run"])
    until(lambda: step_of(run) >= 5)
    pid = run.pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.pid() is None)
    standing = run.standing()
    assert standing.state == "failed" and "resume" in standing.reason
    loopreview("train", "resume", run.id, "-w", place)
    second = [event for event in run.events() if event["event"] == "started"][-1]
    assert second["resumed"] is True
    after = run.events()
    after = after[after.index(second) :]
    assert min(event["step"] for event in after if event["event"] == "step") >= 4, "it went on from step 3 or 6"
    same(run, undisturbed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_random_kills_never_leave_a_run_that_cannot_be_resumed(
    place: Path, tiny_model: Path, whole: Whole, backend: str
) -> None:
    dice = random.Random(backend)
    undisturbed, _ = whole(backend)
    began = time.monotonic()
    run = runs.named(place, start(place, tiny_model, backend, "--detach")["run"])
    usual = max(2.0, time.monotonic() - began)
    for kill in range(20):
        # Some while it trains and saves, the others in the beginning of its life: torch alone takes seconds to load.
        if kill % (4 if backend == "cuda" else 2):
            time.sleep(dice.random() * usual)
        else:
            seen = len(run.events())
            until(lambda seen=seen: run.pid() is None or len(run.events()) > seen + 3)
            time.sleep(dice.random() * 0.3)
        pid = run.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            until(lambda: run.pid() is None)
        if run.standing().state == "done":
            break
        if kill < 19:
            process = subprocess.run(
                [sys.executable, "-m", "loopreview", "train", "resume", run.id, "-w", str(place), "--detach"],
                capture_output=True, text=True,
            )  # fmt: skip
            assert process.returncode == 0 or run.standing().state == "done", process.stderr
    if run.standing().state != "done":
        assert loopreview("train", "resume", run.id, "-w", place)["state"] == "done"
    same(run, undisturbed)


def test_a_second_job_on_the_device_is_refused_with_the_name_of_the_first(place: Path, tiny_model: Path) -> None:
    first = start(place, tiny_model, "mlx", "--detach", "--epochs=40")["run"]
    try:
        said = start(place, tiny_model, "cuda", code=1)
        assert first in said and "busy" in said
        assert len(runs.listed(place)) == 1, "a refused start leaves nothing behind"
    finally:
        loopreview("train", "cancel", first, "-w", place, "--now")
    assert runs.named(place, first).standing().state == "cancelled"
