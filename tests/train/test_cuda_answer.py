"""A model that was taught one answer is taught another, and gives it; merged, with and without a GPU's libraries."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.cuda_made import made_plan, made_task
from tests.train.made import make_export
from transformers import AutoModelForCausalLM, AutoTokenizer

from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.train.cuda import load, merge, train
from loopreview.train.rows import read_rows

pytestmark = pytest.mark.train

RED, BLUE = "No, never.", "Yes, today."


def taught(base: Path, root: Path, answer: str, **values: Any) -> tuple[Plan, Path]:
    """Export conversations in which every reply is `answer`, train on them, and return the run's folder."""
    tokens = make_export(root / "workspace", base, count=24, exchanges=3, answer=answer) / "tokens"
    rows, valid = read_rows(tokens / "train.jsonl"), read_rows(tokens / "valid.jsonl")
    longest = max(len(row.ids) for row in rows + valid)
    data = made_plan(base).data.model_copy(update={"train": len(rows), "valid": len(valid)})
    plan = made_plan(
        base, max_length=longest, batch=2, accumulation=1, eval_steps=50, save_steps=50, dropout=0, schedule="linear",
        targets=("q_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"), **values,
    ).model_copy(update={"data": data})  # fmt: skip
    task = made_task(plan, root / "run", train=rows, valid=valid)
    outcome = train(task)
    assert outcome.rows == len(rows)
    return plan, task.folder


def answered(model: Any, folder: Path) -> str:
    """The greedy reply to a question that was in no conversation."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [
        {"role": "system", "content": "You help customers."},
        {"role": "user", "content": "Case 99, question 0: where is my sofa, which I ordered 9 days ago?"},
    ]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        found = model.generate(**ids, max_new_tokens=40, do_sample=False)
    return tokenizer.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@pytest.fixture(scope="module")
def red(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that says the one answer: trained in full, then "merged", which for full weights is a copy."""
    root = tmp_path_factory.mktemp("red")
    plan, run = taught(tiny_qwen, root, RED, adapter="full", learning_rate=3e-3, epochs=8)
    merge(plan, tiny_qwen, run / "adapter", root / "merged")
    return root / "merged"


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_it_changes_its_answer(red: Path, tmp_path: Path, adapter: str) -> None:
    base = AutoModelForCausalLM.from_pretrained(red)
    assert answered(base, red) == RED
    plan, run = taught(red, tmp_path, BLUE, adapter=adapter, learning_rate=5e-3, epochs=12, rank=32)
    tuned = load.read_adapter(load.load_base(plan, red), run / "adapter")
    assert answered(tuned, red) == BLUE

    merge(plan, red, run / "adapter", tmp_path / "merged")
    assert {"chat_template.jinja", "tokenizer.json", "config.json", "model.safetensors"} <= {
        file.name for file in (tmp_path / "merged").iterdir()
    }
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert answered(merged, tmp_path / "merged") == BLUE
    # Merged onto the base as it is, never onto its 4-bit copy: the layers without an adapter are unchanged.
    before, after = load_file(red / "model.safetensors"), load_file(tmp_path / "merged/model.safetensors")
    assert before.keys() == after.keys()
    assert torch.equal(
        before["model.layers.0.self_attn.k_proj.weight"], after["model.layers.0.self_attn.k_proj.weight"]
    )
    ids = torch.arange(5, 25)[None]
    plain = load.read_adapter(load.load_unquantised(red), run / "adapter")
    with torch.no_grad():
        assert torch.allclose(plain(ids).logits, merged(ids).logits, atol=1e-4)


def test_a_merge_that_is_no_number_is_not_written(tiny_model: Path, tmp_path: Path) -> None:
    plan = made_plan(tiny_model)
    model = load.with_adapter(plan, load.load_base(plan, tiny_model))
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if "lora_B" in name).fill_(float("nan"))
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="would not be numbers"):
        merge(plan, tiny_model, tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    with pytest.raises(UserError, match="no weights there"):
        merge(plan, tiny_model, tmp_path, tmp_path / "merged")
