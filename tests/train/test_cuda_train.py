"""Whole runs of the CUDA backend: what is trained, how the loss is weighted, what is kept."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.cuda_made import TRAIN, VALID, events, made_plan, made_rows, made_task, run

from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.train.backend import OutOfMemory
from loopreview.train.cuda import fit, load, train
from loopreview.train.cuda.batches import collate
from loopreview.train.cuda.loss import Measured, loss_sum
from loopreview.train.order import micro_batches
from loopreview.train.rows import Row

pytestmark = pytest.mark.train


def by_hand(plan: Plan, epoch: int) -> list[tuple[float, float]]:
    """(loss, gradient norm) of each optimizer step of an epoch in which the weights stay what they are: the sum of
    transformers' own losses over the supervised tokens of all of the step's examples."""
    model = load.with_adapter(plan, load.load_base(plan, Path(plan.base)))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    order = micro_batches([len(row.ids) for row in TRAIN], plan.batch, seed=plan.seed, epoch=epoch)
    found = []
    for first in range(0, len(order), plan.accumulation):
        rows = [TRAIN[place] for batch in order[first : first + plan.accumulation] for place in batch]
        items = sum(row.supervised for row in rows)
        model.zero_grad()
        loss = 0.0
        for row in rows:
            ids, labels = torch.tensor([list(row.ids)]), torch.tensor([list(row.labels)])
            part = model(input_ids=ids, labels=labels).loss * row.supervised / items
            part.backward()
            loss += part.item()
        squares = [weight.grad.square().sum() for weight in model.parameters() if weight.grad is not None]
        found.append((loss, math.sqrt(sum(squares))))
    return found


@pytest.mark.parametrize(
    "values",
    [
        {"gradient_checkpointing": False},
        {"batch": 2, "accumulation": 3},
        {"adapter": "full"},
        {"adapter": "qlora"},
    ],
)
def test_a_step_is_weighted_by_all_its_supervised_tokens(
    tiny_model: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    # A learning rate so small that nothing moves, so that each step can be computed from the base alone.
    plan = made_plan(tiny_model, **{"epochs": 2, "learning_rate": 1e-30, "dropout": 0.0, "weight_decay": 0, **values})
    outcome = run(plan, tmp_path)
    expected = by_hand(plan, 0) + by_hand(plan, 1)
    steps = events(tmp_path, "step")
    assert [step["loss"] for step in steps] == pytest.approx([loss for loss, _ in expected], rel=1e-5)
    assert [step["grad_norm"] for step in steps] == pytest.approx([norm for _, norm in expected], rel=1e-3)
    assert outcome.rows == len(TRAIN) and outcome.tokens == 2 * sum(len(row.ids) for row in TRAIN)
    assert steps[-1]["epoch"] == 2


@pytest.mark.parametrize(
    ("base", "values"),
    [
        ("tiny_model", {"adapter": "qlora", "precision": "bf16"}),
        ("tiny_qwen", {"adapter": "qlora"}),
        ("tiny_qwen", {"adapter": "lora", "precision": "bf16", "batch": 2, "accumulation": 2}),
        ("tiny_model", {"adapter": "full"}),
    ],
)
def test_it_learns_and_what_is_on_the_disk_is_the_best(
    request: pytest.FixtureRequest, tmp_path: Path, base: str, values: dict[str, Any]
) -> None:
    plan = made_plan(request.getfixturevalue(base), **{"epochs": 2, "eval_steps": 4, "save_steps": 4, **values})
    outcome = run(plan, tmp_path)
    assert outcome.steps == 12 and outcome.rows == 21 and not outcome.cancelled
    measured = {event["step"]: event["loss"] for event in events(tmp_path, "eval")}
    assert list(measured) == [0, 4, 8, 12]
    assert outcome.base_eval_loss == measured[0] and outcome.best_eval_loss == min(list(measured.values())[1:])
    assert measured[outcome.best_step] == outcome.best_eval_loss < measured[0] - 0.05
    assert outcome.loaded_eval_loss == pytest.approx(outcome.best_eval_loss, rel=1e-3)
    assert [row for row, _ in outcome.example_losses] == [1, 2, 3, 4, 5]
    mean = sum(loss * row.supervised for (_, loss), row in zip(outcome.example_losses, VALID, strict=True))
    assert mean / sum(row.supervised for row in VALID) == pytest.approx(outcome.loaded_eval_loss, rel=1e-6)
    assert not events(tmp_path, "warning")
    kept = {folder.name for folder in (tmp_path / "checkpoints").iterdir()}
    assert kept == {f"checkpoint-{outcome.best_step}", "checkpoint-12"}
    assert [event["step"] for event in events(tmp_path, "checkpoint")] == [4, 8, 12]
    steps = events(tmp_path, "step")
    assert all(step["tokens_per_s"] > 0 and step["peak_memory"] > 1e8 for step in steps)
    assert (steps[0]["learning_rate"], max(step["learning_rate"] for step in steps)) == (0, 1e-2)
    assert outcome.first_loss == steps[0]["loss"] and outcome.last_loss == steps[-1]["loss"]
    weights = load_file(next(tmp_path.glob("adapter/*.safetensors")))
    assert all(weight.dtype == torch.float32 for weight in weights.values()), "trained weights are never rounded"
    if plan.adapter == "full":
        assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= {f.name for f in outcome.adapter.iterdir()}
    else:
        assert (
            json.loads((tmp_path / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == plan.base
        )


def test_nothing_is_printed(tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(made_plan(tiny_model), tmp_path)
    printed = capfd.readouterr()
    assert printed.out == "" and "%|" not in printed.err and "it/s" not in printed.err


def test_it_stops_when_the_validation_loss_no_longer_falls(tiny_model: Path, tmp_path: Path) -> None:
    # Validation rows that say the opposite of what is taught: the better it learns, the worse they get.
    teach = [Row([5, 6, 7, 8, 9, 10], [-100, -100, 7, 8, 9, 10])] * 21
    other = [Row([5, 6, 20, 21, 22, 23], [-100, -100, 20, 21, 22, 23])]
    plan = made_plan(
        tiny_model, epochs=5, patience=2, eval_steps=2, save_steps=2, learning_rate=0.05, warmup=0, valid=1
    )
    outcome = run(plan, tmp_path, train=teach, valid=other)
    losses = [event["loss"] for event in events(tmp_path, "eval")]
    assert outcome.stopped_early and outcome.steps < 30
    best = losses[1:].index(min(losses[1:]))
    assert (outcome.best_step, outcome.steps) == (2 * best + 2, 2 * best + 2 + 2 * 2)
    assert outcome.loaded_eval_loss == pytest.approx(min(losses[1:]), rel=1e-3)
    again = run(plan, tmp_path, train=teach, valid=other, resume=True)
    assert again == outcome, "a run that was over is not trained on"


def test_without_validation_rows_the_last_weights_are_kept(tiny_model: Path, tmp_path: Path) -> None:
    outcome = run(made_plan(tiny_model, valid=0), tmp_path)
    assert (outcome.steps, outcome.best_step, outcome.best_eval_loss) == (6, 6, None)
    assert outcome.loaded_eval_loss is None and outcome.adapter is not None
    assert "no validation examples" in events(tmp_path, "warning")[0]["text"]
    assert not events(tmp_path, "eval")


def test_it_goes_on_from_an_earlier_adapter(tiny_model: Path, tmp_path: Path) -> None:
    first = run(made_plan(tiny_model, epochs=2), tmp_path / "first")
    plan = made_plan(tiny_model, start_adapter=str(first.adapter), dropout=0.2, adapter="qlora")
    again = run(plan, tmp_path / "again")
    assert again.base_eval_loss == pytest.approx(first.best_eval_loss, rel=1e-2)
    config = json.loads((tmp_path / "again/adapter/adapter_config.json").read_text())
    assert config["lora_dropout"] == 0.2
    with pytest.raises(UserError, match="rank: 4, but start_adapter has 16"):
        run(plan.model_copy(update={"rank": 4}), tmp_path / "other")
    (first.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="can't be put on this base"):
        run(plan, tmp_path / "broken")


def test_packed_it_trains_on_the_same_tokens_in_fewer_steps(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, packing=True, accumulation=2, epochs=2, dora=True)
    outcome = run(plan, tmp_path)
    assert outcome.rows == 21 and outcome.tokens == 2 * sum(len(row.ids) for row in TRAIN)
    assert outcome.steps < 2 * 21 / 2 / 2
    assert outcome.loaded_eval_loss == pytest.approx(outcome.best_eval_loss, rel=1e-3)
    assert outcome.best_eval_loss < outcome.base_eval_loss


def test_the_longest_micro_batch_is_tried_first(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*made_rows(20, 1), Row([5] * 200, [-100] * 100 + [5] * 100)]

    def full(model: Any, batch: Any) -> torch.Tensor:
        if batch["input_ids"].shape[1] == 200:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: not enough memory: you tried …"
            )
        return loss_sum(model, batch)

    monkeypatch.setattr("loopreview.train.cuda.trainer.loss_sum", full)
    with pytest.raises(OutOfMemory, match="not enough memory"):
        run(made_plan(tiny_model, max_length=256), tmp_path, train=rows)
    assert not events(tmp_path, "step") and not events(tmp_path, "eval")
    with pytest.raises(OutOfMemory), fit._memory(made_plan(tiny_model)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_what_can_not_be_done_is_said(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no linear layer c_attn; it has down_proj, gate_proj") as raised:
        train(made_task(made_plan(tiny_model, targets=("q_proj", "c_attn")), tmp_path))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no NVIDIA GPU") as raised:
            train(made_task(made_plan(tiny_model, device="cuda"), tmp_path))
        assert raised.value.exit_code == 3
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="can't be loaded"):
        train(made_task(made_plan(empty), tmp_path))


def test_weights_in_python_pickles_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(load_file(tiny_model / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="can't be loaded"):
        load.load_base(made_plan(tmp_path), tmp_path)


def test_a_loss_that_is_no_number_is_said(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = float("nan")
    monkeypatch.setattr("loopreview.train.cuda.trainer.measure", lambda *_, **__: Measured(nan, (nan,) * 5))
    monkeypatch.setattr("loopreview.train.cuda.trainer.loss_sum", lambda *given: loss_sum(*given) * nan)
    with pytest.raises(UserError, match="learning_rate: the validation loss was no number"):
        run(made_plan(tiny_model), tmp_path)
    assert any("the loss is no number" in event["text"] for event in events(tmp_path, "warning"))
    assert not (tmp_path / "adapter").exists()


def test_padding_is_worth_nothing(tiny_model: Path) -> None:
    plan = made_plan(tiny_model)
    model = load.load_base(plan, tiny_model)
    found = [loss_sum(model, collate(TRAIN, [(0,), (1,)], pad=pad, packing=False)).item() for pad in (0, 17)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
