"""The two backends learn the same: the same ids and labels, the same order, the same loss at the first step."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.train.made import make_export

from loopreview import runs
from loopreview.train.plan import read_plan
from loopreview.train.rows import read_rows

pytestmark = pytest.mark.train


def trained(place: Path, base: Path, backend: str, *more: str) -> dict[str, Any]:
    command = ["train", "start", "-w", place, "--backend", backend, "--base", base, "--yes", "--json", *more]
    done = subprocess.run(
        [sys.executable, "-m", "loopreview", *map(str, command)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_first_steps_are_the_same(
    family: str, tiny_model: Path, tiny_qwen: Path, exported: Path, tmp_path: Path
) -> None:
    base = tiny_model if family == "llama" else tiny_qwen
    place = tmp_path / "place"
    shutil.copytree(exported.parents[1], place)
    settings = ("--adapter", "lora", "--epochs", "1", "--set=dropout=0", "--set=accumulation=4", "--set=warmup=0")
    found = {name: runs.named(place, trained(place, base, name, *settings)["run"]) for name in ("cuda", "mlx")}
    losses = {
        name: [event["loss"] for event in run.events() if event["event"] == "step"] for name, run in found.items()
    }
    norms = {
        name: [event["grad_norm"] for event in run.events() if event["event"] == "step"] for name, run in found.items()
    }
    evals = {name: run.metrics["eval_loss"]["base"] for name, run in found.items()}
    assert losses["cuda"][0] == pytest.approx(losses["mlx"][0], abs=1e-3)
    assert evals["cuda"] == pytest.approx(evals["mlx"], abs=1e-3)
    # The adapters begin with other random numbers, so that later losses part slowly.
    assert len(losses["cuda"]) == len(losses["mlx"]) == 9
    assert losses["cuda"] == pytest.approx(losses["mlx"], abs=0.02)
    assert all(norm > 0 for both in norms.values() for norm in both)


def test_both_are_given_the_very_same_rows(tiny_model: Path, exported: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(exported.parents[1], place)
    plans = {}
    for backend in ("cuda", "mlx"):
        command = ["train", "plan", "-w", place, "--backend", backend, "--base", tiny_model, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "loopreview", *map(str, command)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        plans[backend] = read_plan(Path(json.loads(done.stdout)["folder"]) / "plan.yaml")
    for split in ("train", "valid"):
        rows = {name: read_rows(plan.data.tokens / f"{split}.jsonl") for name, plan in plans.items()}
        assert rows["cuda"] == rows["mlx"]
        assert len(rows["cuda"]) == getattr(plans["cuda"].data, split)


def test_a_dataset_without_token_rows_gives_the_same_ones(tiny_model: Path, exported: Path, tmp_path: Path) -> None:
    plain = make_export(tmp_path / "plain", None)
    command = ["train", "plan", "-w", tmp_path / "plain", "--backend", "mlx", "--base", tiny_model, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "loopreview", *map(str, command)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    plan = read_plan(Path(json.loads(done.stdout)["folder"]) / "plan.yaml")
    assert not (plain / "tokens").exists()
    for split in ("train", "valid"):
        assert (plan.data.tokens / f"{split}.jsonl").read_bytes() == (
            exported / "tokens" / f"{split}.jsonl"
        ).read_bytes()
