"""The model card: what a run's files say, and nothing else."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.train.made import make_export
from tests.unit.lineage_samples import finish, make_plan, make_run

from loopreview.runs import Run, write_json
from loopreview.train.card import card
from loopreview.train.plan_file import read_plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("card") / "workspace", None, count=12)


def head(text: str) -> dict:
    _, found, _ = text.split("---\n", 2)
    return yaml.safe_load(found)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_head_is_the_hubs_own(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset, adapter="lora", dora=True)
    assert head(card(run, read_plan(run.plan_file))) == {
        "base_model": "org/tiny-llama",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["loopreview", "sft", "lora", "dora"],
    }
    mlx = make_plan(dataset, backend="mlx", base="/models/my base")
    found = card(run, mlx)
    assert head(found)["library_name"] == "mlx" and "base_model" not in head(found)
    assert "/models" not in found and "`my base`" in found
    assert head(card(run, make_plan(dataset, adapter="full")))["library_name"] == "transformers"


def test_every_value_of_the_plan_is_there(tmp_path: Path, dataset: Path) -> None:
    run = make_run(
        tmp_path, dataset, rank=48, alpha=96, dropout=0.07, epochs=7, learning_rate=3e-4, schedule="linear",
        warmup=0.25, batch=6, accumulation=9, weight_decay=0.03, max_grad_norm=0.5, seed=1234, max_length=777,
        packing=True, precision="bf16", eval_steps=13, save_steps=13, patience=5, targets=("q_proj", "up_proj"),
    )  # fmt: skip
    found = section(card(run, read_plan(run.plan_file)), "Training")
    for part in (
        "rank | 48", "alpha | 96", "dropout | 0.07", "epochs | 7", "0.0003, linear, warm-up 25%", "6 × 9",
        "weight decay | 0.03", "gradient norm | 0.5", "777 tokens", "packing | yes", "bf16", "every 13 steps",
        "after 5 measurements", "seed | 1234", "q\\_proj, up\\_proj",
    ):  # fmt: skip
        assert part in found, part


def test_results_are_those_of_the_files(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset)
    write_json(run.gate_file, {"answered": True, "by": "ann", "at": "2026-02-03", "answers": {
        "task_stability": {"answer": "yes", "reason": ""},
        "impact_of_mistakes": {"answer": "no", "reason": "a nurse reads every reply"},
    }})  # fmt: skip
    text = card(run, read_plan(run.plan_file))
    found = section(text, "Results")
    for part in ("3.0000 → 2.0000", "| 3.2000 |", "| 2.6000 |", "| 2.6001 |", "| 24.5300 |", "| 13.4600 |",
                 "best step | 2", "stopped early | yes", "| 12,345 |", "1.50 GB"):  # fmt: skip
        assert part in found, part
    rows = {
        (line["row"]): line
        for line in json.loads(run.lineage_file.read_text(encoding="utf-8"))["rows"]
        if line["split"] == "valid"
    }
    assert f"| best | 1 | 1.2500 | {rows[1]['transcript']} | 3 |" in text
    gate = section(text, "Should this have been fine-tuned?")
    assert "Answered by ann, 2026-02-03." in gate and "| no | a nurse reads every reply |" in gate
    assert gate.count("not answered") == 3
    data = section(text, "Data")
    assert read_plan(run.plan_file).data.hash in data and "| ann |" in data and "No judge was asked" in data
    assert "torch | 2.13.0" in section(text, "Environment") and "platform | not recorded" in section(
        text, "Environment"
    )


def test_what_is_missing_is_said_and_no_number_is_made_up(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset, finished=False)
    run.lineage_file.unlink()
    text = card(run, read_plan(run.plan_file))
    assert "No results are recorded" in text and "not recorded with the run" in text
    assert "gate were not answered" in text and "The loss of single examples is not recorded" in text
    assert section(text, "Environment").strip() == "Not recorded." and "The run is planned." in text
    finish(run, make_plan(dataset), eval_loss={}, loss=None, tokens_per_s=None, stopped_early=None, peak_memory=None)
    run.events_file.write_text("", encoding="utf-8")
    results = section(card(run, read_plan(run.plan_file)), "Results")
    # All that is left are the numbers of the metrics.
    assert set(re.findall(r"\| ([\d.,]+)", results)) == {
        "4",
        str(read_plan(run.plan_file).data.train),
        "12,345",
        "60.5",
    }
    assert results.count("not measured") >= 6


def test_words_of_people_and_models_are_only_words(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset)
    kept = json.loads(run.lineage_file.read_text(encoding="utf-8"))
    for line in kept["rows"]:
        line["reviewers"] = ["![x](http://a.example/t.png) | <b>\x1b[31m\n# Big"]
    write_json(run.lineage_file, kept)
    write_json(run.revoked_file, {"1-1": {"at": "now", "by": "ann`", "reason": "[click](javascript:x)\n\n# Title"}})
    text = card(run, read_plan(run.plan_file))
    assert "\x1b" not in text and "<b>" not in text and "\n# Big" not in text and "\n# Title" not in text
    assert r"\!\[x\](http" in text and r"\[click\](javascript" in text and r"\| &lt;b&gt;" in text
    assert "**Do not use this model" in text


def test_the_ways_to_load_it_are_code_that_compiles(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset)
    for values in ({}, {"backend": "mlx"}, {"adapter": "full"}, {"base": '/a/it\'s "here"'}):
        text = card(Run(run.folder), make_plan(dataset, **values))
        (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
        compile(code, "card", "exec")
        assert "import" in code and '"adapter"' in code


def test_the_same_files_give_the_same_card(tmp_path: Path, dataset: Path) -> None:
    run = make_run(tmp_path, dataset)
    plan = read_plan(run.plan_file)
    assert card(run, plan) == card(run, plan)
