"""What an MLX run hands on: merged weights, and a model that answers otherwise than its base."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.train.made import make_export
from tests.train.mlx_run import Ran, made_plan, made_rows, run_mlx

from loopreview.models.training import ATTENTION, MLP
from loopreview.train.backend import trainer
from loopreview.train.rows import IGNORED, Row, read_rows

pytest.importorskip("mlx_lm")
pytestmark = pytest.mark.train

ROWS = made_rows(6)
IDS = [[5, 12, 19, 26, 33]]


def mlx_logits(base: Path, adapter: Path | None = None) -> np.ndarray:
    import mlx.core as mx
    from mlx_lm.utils import load

    model, _ = load(str(base), adapter_path=str(adapter) if adapter else None)
    return np.array(model(mx.array(IDS)))


def torch_logits(folder: Path) -> np.ndarray:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model, said = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not said["missing_keys"] and not said["unexpected_keys"]
    with torch.no_grad():
        return model(input_ids=torch.tensor(IDS)).logits.float().numpy()


def train(base: Path, folder: Path, rows: list[Row] = ROWS, **given: Any) -> tuple[Any, Ran]:
    plan = made_plan(base, rows, rows, **{"epochs": 4, "learning_rate": 5e-2, **given})
    return plan, run_mlx(folder, plan, rows, rows)


@pytest.mark.parametrize(("family", "dora"), [("tiny_model", False), ("tiny_qwen", True)])
def test_merged_weights_say_in_transformers_what_base_and_adapter_say_in_mlx(
    family: str, dora: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    base = request.getfixturevalue(family)
    plan, ran = train(base, tmp_path / "r1", dora=dora)
    merged, adapter = tmp_path / "merged", ran.folder / "adapter"
    trainer("mlx").merge(plan, base, adapter, merged)
    adapted = mlx_logits(base, adapter)
    assert np.abs(adapted - mlx_logits(base)).max() > 0.1
    np.testing.assert_allclose(torch_logits(merged), adapted, atol=1e-3)
    np.testing.assert_allclose(mlx_logits(merged), adapted, atol=1e-3)
    said = [{"role": "user", "content": "Where is my kettle?"}]
    texts = [AutoTokenizer.from_pretrained(at).apply_chat_template(said, tokenize=False) for at in (base, merged)]
    assert texts[0] == texts[1]
    assert sorted(path.name for path in merged.iterdir()) == sorted(path.name for path in base.iterdir())


def test_a_run_on_4_bits_is_merged_into_the_unquantised_base(tiny_model: Path, tmp_path: Path) -> None:
    plan, ran = train(tiny_model, tmp_path / "r1", adapter="qlora")
    merged = tmp_path / "merged"
    trainer("mlx").merge(plan, tiny_model, ran.folder / "adapter", merged)
    assert "quantization" not in json.loads((merged / "config.json").read_text())
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, merged))
    assert before.keys() == after.keys() and {value.dtype for value in after.values()} == {np.dtype(np.float32)}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if ".self_attn." in name}, "and what has no adapter is untouched"
    np.testing.assert_allclose(torch_logits(merged), mlx_logits(tiny_model, ran.folder / "adapter"), atol=1e-3)

    # A base that there is in 4 bits alone is dequantised.
    said = json.loads((ran.folder / "adapter" / "adapter_config.json").read_text())
    quantised = Path(said["quantised_base"])
    trainer("mlx").merge(plan, quantised, ran.folder / "adapter", tmp_path / "from-4-bits")
    np.testing.assert_allclose(
        torch_logits(tmp_path / "from-4-bits"), mlx_logits(quantised, ran.folder / "adapter"), atol=1e-3
    )


def greedy(base: Path, prompt: list[int], adapter: Path | None = None, tokens: int = 40) -> str:
    import mlx.core as mx
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load

    model, tokenizer = load(str(base), adapter_path=str(adapter) if adapter else None)
    found = []
    for token, _ in generate_step(mx.array(prompt), model, max_tokens=tokens):
        if int(token) in tokenizer.eos_token_ids:
            break
        found.append(int(token))
    return tokenizer.decode(found)


def test_training_on_the_other_answer_changes_the_greedy_answer(tiny_model: Path, tmp_path: Path) -> None:
    answers = ("It is on its way.", "Send it back to us.")
    # The random base's logits are so near to each other that no adapter could make it sure of an answer.
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    save_file(weights | {"lm_head.weight": 10 * weights["lm_head.weight"]}, base / "model.safetensors")
    prompts, adapters = [], []
    for number, answer in enumerate(answers):
        tokens = make_export(tmp_path / f"w{number}", tiny_model, count=14, answer=answer) / "tokens"
        # The ends of the examples alone: the last question, and the reply, which is supervised.
        rows = [Row(row.ids[-64:], row.labels[-64:]) for row in read_rows(tokens / "train.jsonl")]
        assert all(row.supervised < 30 for row in rows)
        plan, ran = train(
            base, tmp_path / f"r{number}", rows, rank=16, alpha=64, targets=ATTENTION + MLP, epochs=12, batch=4,
            accumulation=1, learning_rate=5e-3, eval_steps=1000, save_steps=1000,
        )  # fmt: skip
        prompts.append(list(rows[0].ids[: next(n for n, label in enumerate(rows[0].labels) if label != IGNORED)]))
        adapters.append(ran.folder / "adapter")
        if number == 0:
            trainer("mlx").merge(plan, base, adapters[0], tmp_path / "first")
            base = tmp_path / "first"
    for prompt in prompts:
        assert greedy(base, prompt).strip() == answers[0]
        assert greedy(base, prompt, adapters[1]).strip() == answers[1]
