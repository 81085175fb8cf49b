"""Checkpoints of the MLX backend: whole or not there; a resumed run ends where an uninterrupted one does."""

import json
import shutil
from pathlib import Path

import pytest
from tests.train.mlx_run import Ran, made_plan, made_rows, run_mlx

from loopreview.train.rows import IGNORED, Row

pytest.importorskip("mlx_lm")
pytestmark = pytest.mark.train

TRAIN, VALID = made_rows(11), made_rows(3, seed=1)
"""6 micro-batches of 2, the last of one; 3 steps of 2 in an epoch."""


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_stopped_between_two_measurements_ends_with_the_same_weights(
    tiny_model: Path, tmp_path: Path, dropout: float
) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID, dropout=dropout, gradient_checkpointing=dropout > 0)
    whole = run_mlx(tmp_path / "a", plan, TRAIN, VALID)
    assert whole.outcome.steps == 6

    first = run_mlx(tmp_path / "b", plan, TRAIN, VALID, stop=lambda done: done == 3)
    assert first.outcome.cancelled and first.outcome.steps == 3 and first.outcome.adapter is None
    assert [event["step"] for event in first.named("eval")] == [0, 2], "3 is no step to measure at"
    assert "checkpoint-3" in checkpoints(first.folder)
    rest = run_mlx(first.folder, plan, TRAIN, VALID, resume=True)
    assert [event["step"] for event in rest.named("step")] == [4, 5, 6]
    assert rest.adapter == whole.adapter
    for name in (
        "first_loss", "last_loss", "base_eval_loss", "best_eval_loss", "best_step", "tokens", "rows", "example_losses",
    ):  # fmt: skip
        assert getattr(rest.outcome, name) == getattr(whole.outcome, name), name
    assert _losses(first) + _losses(rest) == _losses(whole)


def _losses(ran: Ran) -> list[tuple[float, float, float]]:
    return [(event["loss"], event["learning_rate"], event["grad_norm"]) for event in ran.named("step")]


def test_a_fresh_optimizer_would_end_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    import mlx.core as mx

    plan = made_plan(tiny_model, TRAIN, VALID)
    whole = run_mlx(tmp_path / "a", plan, TRAIN, VALID)
    run_mlx(tmp_path / "b", plan, TRAIN, VALID, stop=lambda done: done == 2)
    folder = tmp_path / "b" / "checkpoints" / "checkpoint-2"
    kept = mx.load(str(folder / "optimizer.safetensors"))
    assert int(kept["step"]) == 2
    fresh = {name: mx.zeros_like(value) if name.endswith(("/m", "/v")) else value for name, value in kept.items()}
    mx.eval(fresh)
    mx.save_safetensors(str(folder / "optimizer.safetensors"), fresh)
    state = json.loads((folder / "state.json").read_text())
    state["files"]["optimizer.safetensors"] = (folder / "optimizer.safetensors").stat().st_size
    (folder / "state.json").write_text(json.dumps(state))
    rest = run_mlx(tmp_path / "b", plan, TRAIN, VALID, resume=True)
    assert [event["step"] for event in rest.named("step")] == [3, 4, 5, 6]
    assert rest.adapter != whole.adapter


def test_what_is_not_whole_is_removed_and_the_one_before_it_taken(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID)
    whole = run_mlx(tmp_path / "a", plan, TRAIN, VALID)
    folder = tmp_path / "b"
    run_mlx(folder, plan, TRAIN, VALID, stop=lambda done: done == 2)
    kept = folder / "checkpoints" / "checkpoint-2"
    for name in ("checkpoint-4.partial", "checkpoint-6"):
        shutil.copytree(kept, folder / "checkpoints" / name)
    (folder / "checkpoints" / "checkpoint-8").mkdir()
    torn = shutil.copytree(kept, folder / "checkpoints" / "checkpoint-4")
    state = json.loads((torn / "state.json").read_text())
    (torn / "state.json").write_text(json.dumps({**state, "step": 4}))
    (torn / "optimizer.safetensors").write_bytes((torn / "optimizer.safetensors").read_bytes()[:-1])

    rest = run_mlx(folder, plan, TRAIN, VALID, resume=True)
    assert [event["step"] for event in rest.named("step")] == [3, 4, 5, 6]
    assert rest.adapter == whole.adapter
    assert all("partial" not in name and name != "checkpoint-8" for name in checkpoints(folder))


def test_a_stop_while_measuring_measures_on_resume(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID)
    whole = run_mlx(tmp_path / "a", plan, TRAIN, VALID)
    asked = []

    def during_the_measurement(done: int) -> bool:
        # Not right after the step but when the validation loss is being computed.
        asked.append(done)
        return done == 2 and asked.count(2) == 2

    first = run_mlx(tmp_path / "b", plan, TRAIN, VALID, stop=during_the_measurement)
    assert first.outcome.cancelled and [event["step"] for event in first.named("eval")] == [0]
    rest = run_mlx(tmp_path / "b", plan, TRAIN, VALID, resume=True)
    assert [event["step"] for event in rest.named("eval")] == [2, 4, 6]
    assert (rest.adapter, rest.outcome.best_step) == (whole.adapter, whole.outcome.best_step)


def test_the_newest_and_the_best_are_kept_and_a_new_start_takes_none(tiny_model: Path, tmp_path: Path) -> None:
    # Validation rows of tokens that no training row has: the loss on them rises as training goes on.
    strange = list(range(200, 215))
    other = [Row([*row.ids[:6], *strange], [IGNORED] * 6 + strange) for row in VALID]
    plan = made_plan(tiny_model, TRAIN, other, epochs=4, learning_rate=5e-2, patience=0)
    ran = run_mlx(tmp_path / "a", plan, TRAIN, other)
    best = ran.outcome.best_step
    assert best is not None and best < 12
    assert checkpoints(ran.folder) == sorted([f"checkpoint-{best}", "checkpoint-12"])
    kept = ran.folder / "checkpoints" / f"checkpoint-{best}" / "adapters.safetensors"
    assert kept.read_bytes() == (ran.folder / "adapter" / "adapters.safetensors").read_bytes()

    again = run_mlx(ran.folder, plan, TRAIN, other, stop=lambda done: done == 1)
    assert [event["step"] for event in again.named("step")] == [1]
    assert checkpoints(ran.folder) == ["checkpoint-1"]


def test_no_checkpoint_yet_starts_from_the_beginning(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID, epochs=1)
    first = run_mlx(tmp_path / "a", plan, TRAIN, VALID, stop=lambda done: True)
    assert (first.outcome.cancelled, first.outcome.steps, first.named("checkpoint")) == (True, 0, [])
    ran = run_mlx(tmp_path / "a", plan, TRAIN, VALID, resume=True)
    assert ran.outcome.steps == 3 and not ran.outcome.cancelled


def test_a_stop_that_comes_after_a_step_was_asked_about_loses_no_step(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID, eval_steps=10, save_steps=10)
    asked = []

    def once_step_1_was_let_pass(done: int) -> bool:
        asked.append(done)
        return asked.count(1) > 1 or done > 1

    ran = run_mlx(tmp_path / "a", plan, TRAIN, VALID, stop=once_step_1_was_let_pass)
    assert ran.outcome.cancelled and checkpoints(ran.folder) == [f"checkpoint-{ran.outcome.steps}"]
