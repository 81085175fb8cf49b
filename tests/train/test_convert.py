"""Adapters from one backend's form to the other's: the same logits, and the same adapter on the way back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loopreview.models.errors import UserError
from loopreview.runs import Run
from loopreview.train.convert import convert, read

pytestmark = pytest.mark.train

IDS = [[5, 17, 42, 9, 120, 33, 7, 61]]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]


def peft_run(folder: Path, base: Path, *, dora: bool) -> Run:
    """A run with an adapter as peft saves it, with random weights, so that it matters."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=TARGETS, use_dora=dora, task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_magnitude" in name:
                weight.mul_(torch.rand_like(weight) + 0.5)
            elif "lora_" in name:
                weight.copy_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder / "adapter")
    return Run(folder)


def torch_logits(base: Path, adapter: Path | None = None) -> np.ndarray:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor(IDS)).logits.numpy()


def mlx_logits(base: Path, adapter: Path) -> np.ndarray:
    import mlx.core as mx
    from mlx_lm.utils import load

    model, _ = load(str(base), adapter_path=str(adapter))
    return np.array(model(mx.array(IDS)))


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("family", ["tiny_model", "tiny_qwen"])
def test_logits_are_equal_both_ways_and_the_way_back_is_identical(
    family: str, dora: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("mlx_lm")
    base = request.getfixturevalue(family)
    run = peft_run(tmp_path / "r1", base, dora=dora)
    theirs = torch_logits(base, run.adapter)
    assert np.abs(theirs - torch_logits(base)).max() > 0.1, "the adapter matters"

    mlx = convert(run, "mlx", tmp_path / "r2" / "adapter")
    np.testing.assert_allclose(mlx_logits(base, mlx), theirs, atol=1e-3)
    said = json.loads((mlx / "adapter_config.json").read_text())
    assert said["lora_parameters"]["scale"] == 3 and said["base_model"] == str(base) and said["num_layers"] == 2

    back = convert(Run(tmp_path / "r2"), "peft", tmp_path / "back")
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (run.adapter, back))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(torch_logits(base, back), theirs)
    was, is_now = (json.loads((folder / "adapter_config.json").read_text()) for folder in (run.adapter, back))
    for key, value in is_now.items():
        assert sorted(value) == sorted(was[key]) if key == "target_modules" else value == was[key], key


def test_an_adapter_trained_with_mlx_says_the_same_in_torch(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlx_lm")
    pytest.importorskip("peft")
    from tests.train.mlx_run import made_plan, made_rows, run_mlx

    rows = made_rows(4)
    plan = made_plan(tiny_model, rows, rows, epochs=4, dora=True, targets=("q_proj", "up_proj"), learning_rate=5e-2)
    ran = run_mlx(tmp_path / "r1", plan, rows, rows)
    peft = convert(Run(ran.folder), "peft", tmp_path / "peft")
    found = torch_logits(tiny_model, peft)
    np.testing.assert_allclose(found, mlx_logits(tiny_model, ran.folder / "adapter"), atol=1e-3)
    assert np.abs(found - torch_logits(tiny_model)).max() > 0.1


def made(folder: Path, config: dict[str, Any], weights: dict[str, np.ndarray]) -> Run:
    (folder / "adapter").mkdir(parents=True)
    save_file(weights, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return Run(folder)


WEIGHTS = {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": np.ones((4, 8), np.float32),
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": np.ones((8, 4), np.float32),
}
CONFIG: dict[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 12, "target_modules": ["q_proj"], "bias": "none"}


def test_rank_stabilised_scaling_is_kept(tmp_path: Path) -> None:
    run = made(tmp_path / "r1", {**CONFIG, "use_rslora": True}, WEIGHTS)
    assert read(run.adapter).scale == 6, "alpha / root of the rank"


def test_bfloat16_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    run = made(tmp_path / "r1", CONFIG, WEIGHTS)
    values = {name: torch.tensor(value * -1.5, dtype=torch.bfloat16) for name, value in WEIGHTS.items()}
    save_torch(values, run.adapter / "adapter_model.safetensors")
    found = read(run.adapter).weights["model.layers.0.self_attn.q_proj.lora_a"]
    assert found.dtype == np.float32 and found.shape == (8, 4) and (found == -1.5).all()


@pytest.mark.parametrize(
    ("config", "weights", "says"),
    [
        ({**CONFIG, "rank_pattern": {"q_proj": 8}}, WEIGHTS, "rank_pattern"),
        ({**CONFIG, "modules_to_save": ["lm_head"]}, WEIGHTS, "modules_to_save"),
        ({**CONFIG, "bias": "all"}, WEIGHTS, "without trained biases"),
        ({**CONFIG, "peft_type": "IA3"}, WEIGHTS, "only LoRA and DoRA"),
        ({**CONFIG, "r": 8}, WEIGHTS, "rank of 8|rank 8"),
        (CONFIG, {**WEIGHTS, "base_model.model.lm_head.weight": np.ones((2, 2), np.float32)}, "lm_head.weight"),
    ],
)
def test_what_has_no_equal_is_refused(
    tmp_path: Path, config: dict[str, Any], weights: dict[str, np.ndarray], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        convert(made(tmp_path / "r1", config, weights), "mlx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refusals_that_a_person_sees(tmp_path: Path) -> None:
    run = made(tmp_path / "r1-tiny-lora", CONFIG, WEIGHTS)
    with pytest.raises(UserError, match="in the peft form already") as refused:
        convert(run, "peft", tmp_path / "out")
    assert refused.value.exit_code == 2
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        convert(run, "mlx", tmp_path / "taken")
    with pytest.raises(UserError, match="has no adapter yet"):
        convert(Run(tmp_path / "r2-tiny-lora"), "mlx", tmp_path / "out")
    full = tmp_path / "r3-tiny-full" / "adapter"
    full.mkdir(parents=True)
    (full / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="full run"):
        convert(Run(full.parent), "mlx", tmp_path / "out")


def test_importing_it_loads_no_trainer() -> None:
    code = "import sys, loopreview.train.convert; print([m for m in ('torch', 'mlx', 'peft') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
