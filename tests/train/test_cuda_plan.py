"""Each value of a plan arrives in the trainer, and each trap of the libraries is guarded."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.train.cuda_made import TRAIN, VALID, made_plan, made_task
from transformers.trainer_utils import IntervalStrategy
from trl import SFTConfig, SFTTrainer

from loopreview.models.training import Plan
from loopreview.train.backend import trainer as backend_module
from loopreview.train.cuda import load, self_test, settings
from loopreview.train.cuda.batches import optimizer_steps
from loopreview.train.cuda.check import four_bit_error
from loopreview.train.cuda.checkpoints import Progress
from loopreview.train.cuda.trainer import LoopTrainer

pytestmark = pytest.mark.train


def built(plan: Plan, folder: Path) -> LoopTrainer:
    """A trainer as `train` builds it, its optimizer and schedule made."""
    base = Path(plan.base)
    model = load.with_adapter(plan, load.load_base(plan, base))
    found = LoopTrainer(made_task(plan, folder), model, load.tokenizer(base), Progress())
    found.create_optimizer_and_scheduler(optimizer_steps(plan, TRAIN))
    return found


def layers(trainer: LoopTrainer) -> set[str]:
    return {
        name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in trainer.model.named_parameters() if "lora_A" in name
    }


def group(trainer: LoopTrainer) -> dict[str, Any]:
    """The optimizer's settings for weights that decay."""
    return trainer.optimizer.param_groups[0]


def warmed_up(trainer: LoopTrainer) -> int:
    """The steps after which the learning rate is whole."""
    rate = trainer.lr_scheduler.lr_lambdas[0]
    return next(step for step in range(1000) if rate(step) == 1)


def schedule(trainer: LoopTrainer) -> str:
    """By the share of the learning rate that is left halfway and three quarters of the way down."""
    rate, first = trainer.lr_scheduler.lr_lambdas[0], warmed_up(trainer)
    steps = optimizer_steps(trainer.plan, TRAIN)
    found = [round(rate(first + share * (steps - first)), 6) for share in (0.5, 0.75)]
    known = {
        (1.0, 1.0): "constant",
        (0.5, 0.25): "linear",
        (0.5, round(0.5 * (1 + math.cos(math.pi * 0.75)), 6)): "cosine",
    }
    return known[tuple(found)]


ADAPTER: Callable[[LoopTrainer], Any] = lambda trainer: trainer.model.peft_config["default"]  # noqa: E731
# Where each value is found once the trainer is built. A field of Plan that is not here fails the test.
ARRIVED: dict[str, Callable[[LoopTrainer], Any]] = {
    "backend": lambda t: "cuda" if backend_module("cuda").__name__ == "loopreview.train.cuda" else None,
    "device": lambda t: t.args.device.type,
    "base": lambda t: ADAPTER(t).base_model_name_or_path,
    "method": lambda t: "sft" if isinstance(t, SFTTrainer) else None,
    "adapter": lambda t: "qlora" if getattr(t.model, "is_loaded_in_4bit", False) else "lora",
    "dora": lambda t: any("lora_magnitude_vector" in name for name, _ in t.model.named_parameters()),
    "rank": lambda t: next(weight.shape[0] for name, weight in t.model.named_parameters() if "lora_A" in name),
    "alpha": lambda t: first_layer(t).scaling["default"] * first_layer(t).r["default"],
    "dropout": lambda t: first_layer(t).lora_dropout["default"].p,
    "targets": lambda t: tuple(sorted(layers(t))),
    "epochs": lambda t: t.args.num_train_epochs,
    "learning_rate": lambda t: group(t)["initial_lr"],
    "schedule": schedule,
    "warmup": lambda t: warmed_up(t) / optimizer_steps(t.plan, TRAIN),
    "batch": lambda t: len(next(iter(t.get_train_dataloader()))["input_ids"]),
    "accumulation": lambda t: t.args.gradient_accumulation_steps,
    "weight_decay": lambda t: group(t)["weight_decay"],
    "max_grad_norm": lambda t: t.args.max_grad_norm,
    "seed": lambda t: t.args.seed,
    "max_length": lambda t: None,  # see test_packed_rows_are_no_longer_than_max_length; else checked before hand-off
    "packing": lambda t: "position_ids" in next(iter(t.get_train_dataloader())),
    "gradient_checkpointing": lambda t: t.args.activation_checkpointing and t.args.gradient_checkpointing,
    "precision": lambda t: {"bf16": "bf16", "no": "fp32"}[t.accelerator.mixed_precision],
    "eval_steps": lambda t: t.args.eval_steps,
    "save_steps": lambda t: t.args.save_steps,
    "patience": lambda t: t.plan.patience,
    "track": lambda t: tuple(t.args.report_to),
    "start_adapter": lambda t: None,  # see test_it_goes_on_from_an_earlier_adapter
    "data": lambda t: (len(t.train_dataset), len(t.eval_dataset)),
}


def first_layer(trainer: LoopTrainer) -> Any:
    return next(module for module in trainer.model.modules() if hasattr(module, "lora_A"))


@pytest.mark.parametrize(
    "values",
    [
        {
            "adapter": "qlora", "precision": "bf16", "dora": True, "rank": 3, "alpha": 12.0, "dropout": 0.25,
            "targets": ("gate_proj", "v_proj"), "epochs": 4, "learning_rate": 3e-3, "schedule": "linear",
            "warmup": 0.25, "batch": 2, "accumulation": 3, "weight_decay": 0.07, "max_grad_norm": 0.3,
            "seed": 11, "eval_steps": 7, "save_steps": 7, "gradient_checkpointing": False,
        },
        {"adapter": "lora", "schedule": "cosine", "warmup": 0.5, "epochs": 2, "packing": True, "patience": 1},
        {"adapter": "lora", "schedule": "constant", "warmup": 0.5, "epochs": 2},
    ],
)  # fmt: skip
def test_every_value_arrives(tiny_model: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    assert set(ARRIVED) == set(Plan.model_fields), "a value of the plan that nobody looks for"
    plan = made_plan(tiny_model, **values)
    trainer = built(plan, tmp_path)
    for name, where in ARRIVED.items():
        said: Any = getattr(plan, name)
        if name in ("max_length", "start_adapter"):
            continue
        if name == "targets":
            said = tuple(sorted(said))
        if name == "data":
            said = (plan.data.train, plan.data.valid)
        assert where(trainer) == said, name
    assert {(group["betas"], group["eps"]) for group in trainer.optimizer.param_groups} == {((0.9, 0.999), 1e-8)}
    assert type(trainer.optimizer).__name__ == "AdamW"


def test_packed_rows_are_no_longer_than_max_length(tiny_model: Path, tmp_path: Path) -> None:
    for length in (48, 96):
        widths = built(made_plan(tiny_model, packing=True, max_length=length), tmp_path).order._widths
        assert length * 0.6 < max(widths) <= length


def test_the_seed_decides_the_first_weights(tiny_model: Path, tmp_path: Path) -> None:
    first, again, other = (
        first_layer(built(made_plan(tiny_model, seed=seed), tmp_path)).lora_A["default"].weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_trl_does_not_touch_the_rows(tiny_model: Path, tmp_path: Path) -> None:
    """Its truncation keeps the start, and drops rows whose reply is cut, without a word."""
    trainer = built(made_plan(tiny_model, max_length=8), tmp_path)
    assert len(trainer.train_dataset) == len(TRAIN) and trainer.args.max_length is None
    batches = list(trainer.get_train_dataloader())
    assert sorted(place for batch in batches for place in batch["places"]) == list(range(len(TRAIN)))
    assert sum(batch["tokens"] for batch in batches) == sum(len(row.ids) for row in TRAIN)
    assert sum(batch["items"] for batch in batches) == sum(row.supervised for row in TRAIN)


def test_trying_the_longest_micro_batch_leaves_no_trace(tiny_model: Path, tmp_path: Path) -> None:
    trainer = built(made_plan(tiny_model, dropout=0.5), tmp_path)
    before = torch.random.get_rng_state()
    trainer.model.train()
    trainer.probe()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(weight.grad is None for weight in trainer.model.parameters())
    assert trainer.progress == Progress()


def test_nothing_leaves_the_machine(tiny_model: Path) -> None:
    found = settings.arguments(made_plan(tiny_model), steps=6, folder=Path("checkpoints"), name="r1")
    assert found.push_to_hub is False and found.trust_remote_code is False and found.report_to == []


def test_trackers_are_told(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = made_plan(tiny_model, track=("mlflow", "trackio"))
    found = settings.arguments(plan, steps=6, folder=tmp_path, name="r7-tiny")
    assert (found.report_to, found.run_name) == (["mlflow", "trackio"], "r7-tiny")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trackio" else ModuleType(name))
    with pytest.raises(load.UserError, match="track: trackio is not installed; `pip install trackio`") as raised:
        load.check_machine(plan)
    assert raised.value.exit_code == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_the_default_precision_would_raise_without_a_gpu(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bf16"):
        SFTConfig(output_dir=str(tmp_path))
    for precision in ("fp32", "bf16"):
        plan = made_plan(tiny_model, precision=precision)
        assert settings.arguments(plan, steps=6, folder=tmp_path, name="r1").bf16 is (precision == "bf16")


def test_checkpoints_and_measurements_fall_together(tiny_model: Path, tmp_path: Path) -> None:
    found = settings.arguments(made_plan(tiny_model), steps=6, folder=tmp_path, name="r1")
    assert found.eval_strategy == found.save_strategy == IntervalStrategy.STEPS
    assert found.eval_steps == found.save_steps == 3 and found.save_total_limit is None


def test_adapters_of_a_four_bit_base_are_not_rounded(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model, adapter="qlora")
    drawn = load.with_adapter(plan, load.load_base(plan, tiny_model))
    exact = {name: weight.data.clone() for name, weight in drawn.named_parameters() if weight.requires_grad}
    trainer = built(plan, tmp_path)
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert all(weight.dtype == torch.float32 for weight in trained.values())
    assert all(torch.equal(weight, exact[name]) for name, weight in trained.items())
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in trained.values()), "bf16 would show"


def test_four_bit_layers_keep_their_weights_on_a_cpu(tiny_model: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    model = load.load_base(made_plan(tiny_model, adapter="qlora", precision="bf16"), tiny_model)
    found = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(found) == 14 and not any(module.support_avx512bf16_for_cpu for module in found)
    assert {(m.weight.quant_type, m.weight.compress_statistics, m.compute_dtype) for m in found} == {
        ("nf4", True, torch.bfloat16)
    }


def test_gradients_through_four_bits() -> None:
    from bitsandbytes.functional import has_avx512bf16

    torch.manual_seed(0)
    weight, inputs = torch.randn(64, 64), torch.randn(8, 64)
    assert four_bit_error("cpu", weight, inputs) < 1e-3
    if has_avx512bf16():
        assert four_bit_error("cpu", weight, inputs, guard=False) > 0.1, "the guard would be needless"


def test_the_machine_tests_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "4-bit layer" in self_test()
    monkeypatch.setattr("loopreview.train.cuda.check.four_bit_error", lambda *_: 0.63)
    with pytest.raises(RuntimeError, match="off by 63"):
        self_test()


def test_importing_it_is_all_that_loads_the_libraries() -> None:
    module = sys.modules["loopreview.train.cuda"]
    assert {"train", "merge", "self_test"} <= set(vars(module)) and len(VALID) == 5
