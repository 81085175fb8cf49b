"""Run folders as `train start` leaves them, of a real dataset, without training anything."""

import json
from pathlib import Path
from typing import Any

from loopreview import runs
from loopreview.formats.exported import Exported
from loopreview.models.training import Data, Plan
from loopreview.runs import Run, write_json
from loopreview.train.plan_file import write_plan


def make_plan(dataset: Path, **values: Any) -> Plan:
    found = Exported.open(dataset)
    counts = found.manifest["examples"]
    data = Data(
        folder=found.folder,
        hash=found.hash,
        tokens=found.folder / "tokens",
        tokenizer=values.pop("tokenizer", "0123456789abcdef"),
        train=counts["train"],
        valid=counts["valid"],
    )
    given = {"backend": "cuda", "device": "cpu", "base": "org/tiny-llama", "max_length": 512, **values}
    return Plan(**given, data=data)


def make_run(root: Path, dataset: Path, *, start: Run | None = None, finished: bool = True, **values: Any) -> Run:
    """A run with plan and lineage; with `finished` it has the events and metrics of a run that is done."""
    run = runs.make(root, "tiny-llama")
    plan = make_plan(dataset, **values)
    found = Exported.open(dataset)
    write_json(
        run.lineage_file,
        {
            "dataset": {"folder": str(found.folder), "hash": found.hash},
            "rows": [line for line in found.lineage() if line["split"] in ("train", "valid")],
            "start_run": start.id if start else None,
        },
    )
    write_plan(run.plan_file, plan, {})
    if finished:
        finish(run, plan)
    return run


def finish(run: Run, plan: Plan, **metrics: Any) -> None:
    events = [
        {"event": "started", "at": 1_760_000_000.0, "steps": 4, "step": 0},
        {"event": "eval", "step": 0, "loss": 3.2, "perplexity": 24.53},
        {"event": "step", "step": 1, "loss": 3.0, "tokens_per_s": 90.0},
        {"event": "step", "step": 2, "loss": 2.5, "tokens_per_s": 95.0},
        {"event": "eval", "step": 2, "loss": 2.6, "perplexity": 13.46},
        {"event": "step", "step": 3, "loss": 2.2, "tokens_per_s": 96.0},
        {"event": "step", "step": 4, "loss": 2.0, "tokens_per_s": 97.0},
        {"event": "eval", "step": 4, "loss": 2.75, "perplexity": 15.64},
        {"event": "done", "at": 1_760_000_060.0, "steps": 4, "step": 4, "loss": 2.0, "eval_loss": 2.6},
    ]
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    run.adapter.mkdir(exist_ok=True)
    made = {
        "steps": 4,
        "rows": plan.data.train,
        "examples": {"train": plan.data.train, "valid": plan.data.valid},
        "loss": {"first": 3.0, "last": 2.0},
        "eval_loss": {"base": 3.2, "best": 2.6, "best_step": 2, "loaded": 2.6001},
        "tokens": 12_345,
        "tokens_per_s": 97.0,
        "peak_memory": 1_500_000_000,
        "seconds": 60.5,
        "stopped_early": True,
        "best": [{"row": 1, "loss": 1.25}],
        "worst": [{"row": 2, "loss": 4.75}],
    }
    write_json(run.metrics_file, {**made, **metrics})
    write_json(
        run.environment_file,
        {"loopreview": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.13.0"}, "device": "cpu", "gpu": None},
    )
