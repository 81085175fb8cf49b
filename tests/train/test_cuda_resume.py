"""Stopping, being killed, and going on as if nothing had been."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.cuda_made import events, made_plan, run, stop_once

from loopreview.models.training import Outcome, Plan
from loopreview.train.cuda.checkpoints import MARKER, Checkpoints, Progress

pytestmark = pytest.mark.train

# Dropout, an epoch that ends in the middle, and measurements in between: all that could disturb the random numbers.
VALUES = {"epochs": 2, "dropout": 0.2, "eval_steps": 3, "save_steps": 3, "patience": 0}


def same(one: Path, other: Path, *, checkpoint: int) -> None:
    """Weights and optimizer of two runs, bit by bit."""
    for name in ("adapter_model.safetensors", "model.safetensors"):
        for folder in ("adapter", f"checkpoints/checkpoint-{checkpoint}"):
            if (one / folder / name).is_file():
                first, second = load_file(one / folder / name), load_file(other / folder / name)
                assert first.keys() == second.keys()
                assert all(torch.equal(first[key], second[key]) for key in first)
    a, b = (torch.load(run / f"checkpoints/checkpoint-{checkpoint}/optimizer.pt") for run in (one, other))
    for key, state in a["state"].items():
        assert all(torch.equal(state[name], b["state"][key][name]) for name in state)


def told(folder: Path) -> list[tuple[int, float, float]]:
    """The last word on each step."""
    found = {event["step"]: event for event in events(folder, "step")}
    return [(step, found[step]["loss"], found[step]["learning_rate"]) for step in sorted(found)]


@pytest.fixture(scope="module", params=["lora", "qlora"])
def plan(request: pytest.FixtureRequest, tiny_model: Path) -> Plan:
    precision = "bf16" if request.param == "qlora" else "fp32"
    return made_plan(tiny_model, adapter=request.param, precision=precision, **VALUES)


@pytest.fixture(scope="module")
def whole(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The run that nobody interrupts: 12 steps."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(plan, folder)


@pytest.mark.parametrize(
    ("event", "count", "at"),
    [
        ("checkpoint", 1, 4),  # a step that is not measured
        ("step", 6, 6),  # while it is measured, at the end of an epoch
        ("step", 1, 2),  # before there is any checkpoint
    ],
)
def test_stopped_and_resumed_is_the_same_bit_by_bit(
    plan: Plan, whole: tuple[Path, Outcome], tmp_path: Path, event: str, count: int, at: int
) -> None:
    first = run(plan, tmp_path, stop=stop_once(tmp_path, event, count))
    assert first.cancelled and first.steps == at
    assert Checkpoints(tmp_path / "checkpoints").newest().step == at
    outcome = run(plan, tmp_path, resume=True)
    same(whole[0], tmp_path, checkpoint=12)
    assert told(tmp_path) == told(whole[0])
    steady = {"peak_memory": None, "tokens_per_s": None, "adapter": None}
    assert outcome.model_copy(update=steady) == whole[1].model_copy(update=steady)
    assert [event["step"] for event in events(tmp_path, "eval")] == [0, 3, 6, 9, 12], "each is measured once"


def test_full_weights_resume_too(tiny_qwen: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_qwen, adapter="full", **VALUES)
    run(plan, tmp_path / "whole")
    part = tmp_path / "part"
    assert run(plan, part, stop=stop_once(part, "checkpoint")).steps == 4
    run(plan, part, resume=True)
    same(tmp_path / "whole", part, checkpoint=12)


def test_stopped_before_anything(tiny_model: Path, tmp_path: Path) -> None:
    outcome = run(made_plan(tiny_model), tmp_path, stop=lambda: True)
    assert (outcome.cancelled, outcome.steps, outcome.adapter) == (True, 0, None)
    assert not (tmp_path / "adapter").exists()
    again = run(made_plan(tiny_model), tmp_path, resume=True)
    assert not again.cancelled and again.steps == 6


def test_patience_survives_a_resume(tiny_model: Path, tmp_path: Path) -> None:
    # At this learning rate the loss only rises: it stops two measurements after the first.
    plan = made_plan(tiny_model, epochs=3, eval_steps=2, save_steps=2, learning_rate=3.0, warmup=0, patience=2)
    whole = run(plan, tmp_path / "whole")
    assert whole.stopped_early
    part = tmp_path / "part"
    first = run(plan, part, stop=stop_once(part, "checkpoint", 2))
    assert first.cancelled and first.steps == 5
    outcome = run(plan, part, resume=True)
    assert (outcome.stopped_early, outcome.steps) == (True, whole.steps)
    assert (outcome.best_step, outcome.best_eval_loss) == (whole.best_step, whole.best_eval_loss)


class TestMarkers:
    """A checkpoint counts only when it is whole."""

    def made(self, folder: Path, step: int, **values: Any) -> Checkpoints:
        saved = Checkpoints(folder)
        saved.at(step).mkdir(parents=True)
        (saved.at(step) / "adapter_model.safetensors").write_bytes(b"weights" * 100)
        (saved.at(step) / "optimizer.pt").write_bytes(b"moments" * 100)
        saved.complete(step, Progress(step=step, **values))
        return saved

    def test_what_was_said_is_read_again(self, tmp_path: Path) -> None:
        progress = Progress(step=5, seen=(1 << 10_000) | 5, best_loss=0.25, best_step=3, worse=2, finished=True)
        saved = self.made(tmp_path, 5)
        saved.complete(5, progress)
        assert saved.newest() == progress and dataclasses.asdict(progress)["worse"] == 2

    @pytest.mark.parametrize("harm", ["no marker", "torn marker", "cut file", "missing file", "empty folder"])
    def test_the_newest_whole_one_is_taken_and_the_others_removed(self, tmp_path: Path, harm: str) -> None:
        self.made(tmp_path, 3)
        saved = self.made(tmp_path, 10)
        newest = saved.at(10)
        if harm == "no marker":
            (newest / MARKER).unlink()
        elif harm == "torn marker":
            (newest / MARKER).write_text('{"files": {"adap')
        elif harm == "cut file":
            os.truncate(newest / "optimizer.pt", 50)
        elif harm == "missing file":
            (newest / "optimizer.pt").unlink()
        else:
            shutil.rmtree(newest)
            newest.mkdir()
        found = saved.newest()
        assert found is not None and found.step == 3
        assert not newest.exists() and saved.at(3).is_dir()

    def test_only_the_named_stay(self, tmp_path: Path) -> None:
        for step in (2, 4, 6, 12):
            saved = self.made(tmp_path, step)
        saved.keep(12, 4, None)
        assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-12", "checkpoint-4"]

    def test_the_older_ones_go_after_the_marker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        saved = self.made(tmp_path, 3)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("loopreview.train.cuda.checkpoints.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            self.made(tmp_path, 6)
        assert saved.at(3).is_dir() and saved.newest().step == 3


def test_the_marker_comes_after_all_files(tiny_model: Path, tmp_path: Path) -> None:
    run(made_plan(tiny_model), tmp_path)
    folder = tmp_path / "checkpoints/checkpoint-6"
    said = json.loads((folder / MARKER).read_text())["files"]
    there = {file.name: file.stat().st_size for file in folder.iterdir() if file.name != MARKER}
    assert said == there
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", "trainer_state.json"} <= set(
        said
    )
    assert (folder / MARKER).stat().st_mtime_ns >= max((folder / name).stat().st_mtime_ns for name in said)


def test_killed_at_any_time_it_can_be_resumed(tiny_model: Path, tmp_path: Path) -> None:
    """One process that trains and is killed, again and again; the last one gets to the end."""
    values = {**VALUES, "epochs": 3, "eval_steps": 2, "save_steps": 2}
    plan = made_plan(tiny_model, **values)
    whole = run(plan, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    # Forks of one process that has loaded all libraries: a new interpreter for each kill would take seconds.
    script = textwrap.dedent(
        """
        import os, signal, sys, time, random
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from loopreview.models.training import Plan
        from tests.train.cuda_made import events, run
        plan, folder = Plan.model_validate_json(sys.argv[2]), Path(sys.argv[3])
        dice = random.Random(1)
        for n in range(3):
            before = len(events(folder, "checkpoint"))
            child = os.fork()
            if not child:
                run(plan, folder, resume=True)
                os._exit(0)
            while len(events(folder, "checkpoint")) < before + 2:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.2))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        """
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", script, str(root), plan.model_dump_json(), str(folder)], check=True, timeout=120
    )
    assert Checkpoints(folder / "checkpoints").newest().step < 18
    outcome = run(plan, folder, resume=True)
    assert outcome.steps == 18
    same(tmp_path / "whole", folder, checkpoint=18)
    assert outcome.best_eval_loss == whole.best_eval_loss
