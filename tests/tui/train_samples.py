"""Run folders as a training job leaves them, and what `doctor` and `train plan` answer."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from loopreview.runs import Run

DOCTOR: dict[str, Any] = {
    "python": "3.11.9",
    "backends": {
        "cuda": {"ready": True, "why": "on the CPU (slow; for trying out): there is no NVIDIA GPU", "fix": None},
        "mlx": {"ready": False, "why": "mlx-lm is not installed", "fix": "pip install 'loopreview[mlx]'"},
    },
    "devices": [{"kind": "cpu", "name": "the CPU", "memory_gb": 16.0, "free_gb": 9.5}],
    "packages": {}, "disk_gb": 41.0, "keys": {},
}  # fmt: skip
NOTHING_READY = {
    **DOCTOR,
    "backends": {
        "cuda": {"ready": False, "why": "torch is not installed", "fix": "pip install 'loopreview[cuda]'"},
        "mlx": {"ready": False, "why": "mlx-lm is not installed", "fix": "pip install 'loopreview[mlx]'"},
    },
}

VALUES: dict[str, Any] = {
    "backend": "cuda", "device": "cpu", "base": "/models/tiny-llama", "method": "sft", "adapter": "lora", "dora": False,
    "rank": 16, "alpha": 32.0, "dropout": 0.05, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"], "epochs": 3,
    "learning_rate": 2e-4, "schedule": "cosine", "warmup": 0.1, "batch": 1, "accumulation": 8, "weight_decay": 0.01,
    "max_grad_norm": 1.0, "seed": 0, "max_length": 512, "packing": False, "eval_steps": 10, "save_steps": 10,
    "patience": 3, "track": [], "start_adapter": None,
}  # fmt: skip
REASONS = {
    "backend": "the only trainer that is ready here", "adapter": "4 bits help on a GPU; on the CPU they only slow down",
    "rank": "16 is usual; 4 to 8 for a format, 32 to 64 for another domain", "epochs": "three passes over few examples",
    "max_length": "the longest example has 412 tokens", "eval_steps": "a tenth of all steps",
}  # fmt: skip
ASKED = {
    "task_stability": "Will the task still be the same in some months?",
    "required_knowledge": "Does the model know enough of the field already?",
    "available_examples": "Are there enough examples that a person approved?",
    "impact_of_mistakes": "Is a wrong answer bearable, or seen before it does harm?",
    "necessary_evaluation": "Is it settled how the result will be measured?",
}


def data_of(where: Path, **other: Any) -> dict[str, Any]:
    return {
        "folder": str(where), "hash": "4f2a9c", "tokens": str(where / "tokens"), "tokenizer": "77aa", "train": 36,
        "valid": 4, **other,
    }  # fmt: skip


def planned(dataset: Path = Path("/w/exports/dataset"), **other: Any) -> dict[str, Any]:
    """What `train plan --dry-run --json` answers."""
    return {
        "run": None, "folder": None, "plan": {**VALUES, "data": data_of(dataset)}, "reasons": REASONS,
        "checks": [
            {"name": "dataset", "level": "ok", "text": "its files are as they were exported"},
            {"name": "examples", "level": "warning", "text": "36 to train on; 1,000 are a beginning, 10,000 are ideal"},
            {"name": "length", "level": "ok", "text": "the longest has 412 tokens, max_length is 512"},
        ],
        "memory": {"weights": 1_200_000_000, "adapters": 40_000_000, "gradients": 40_000_000, "optimizer": 80_000_000,
                   "activations": 300_000_000, "logits": 260_000_000, "total": 1_920_000_000, "device": "the CPU",
                   "free": 9_500_000_000, "max_length": 8192, "batch": 4},
        "questions": [{"key": key, "asks": asks, "why": "it matters"} for key, asks in ASKED.items()],
        "command": "loopreview train start", **other,
    }  # fmt: skip


REFUSED = [{"name": "revoked", "level": "error", "text": "2 transcripts of this dataset were revoked; export again"}]


def export(root: Path, name: str = "dataset", train: int = 36) -> Path:
    """An exported dataset, as far as the screen reads it."""
    folder = root / "exports" / name
    folder.mkdir(parents=True)
    manifest = {"hash": "4f2a9c", "kind": "sft", "examples": {"train": train, "valid": 4, "test": 0},
                "tokenizer": {"name": "tiny-llama"}}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def steps(first: int, last: int, of: int, *, start: float = 3.2, every: int = 10) -> list[dict[str, Any]]:
    """Events of optimizer steps whose loss falls, with a measurement and a checkpoint each `every` steps."""
    found: list[dict[str, Any]] = []
    if first == 1:
        found.append({"event": "eval", "step": 0, "loss": start + 0.1, "perplexity": 27.1})
    for n in range(first, last + 1):
        loss = round(start * (0.35 + 0.65 * 0.97**n) + (0.08 if n % 3 else -0.05), 4)
        found.append(
            {"event": "step", "step": n, "steps": of, "epoch": round(3 * n / of, 4), "loss": loss,
             "learning_rate": 1e-4, "grad_norm": 0.8, "tokens_per_s": 1204.5, "tokens": 900 * n,
             "peak_memory": 3_100_000_000,
             "seconds_left": (of - n) * 0.75}
        )  # fmt: skip
        if n % every == 0:
            found.append({"event": "eval", "step": n, "loss": round(start * (0.4 + 0.63 * 0.97**n), 4)})
            found.append({"event": "checkpoint", "step": n, "path": f"checkpoints/checkpoint-{n}"})
    return found


def begun(of: int, step: int = 0) -> dict[str, Any]:
    return {"event": "started", "pid": 4711, "backend": "cuda", "device": "cpu", "steps": of, "step": step}


def append(run: Run, events: Iterable[Mapping[str, Any]]) -> None:
    with run.events_file.open("a", encoding="utf-8") as file:
        for event in events:
            file.write(json.dumps({"at": 1_790_000_000, **event}) + "\n")


def make_run(
    root: Path,
    name: str,
    events: Iterable[Mapping[str, Any]] = (),
    *,
    data: Mapping[str, Any] | None = None,
    **plan: Any,
) -> Run:
    """A run's folder with its plan and events; `plan`: values other than VALUES."""
    run = Run(root / "runs" / name)
    run.folder.mkdir(parents=True)
    document = {**VALUES, **plan, "data": data_of(root / "exports" / "dataset", **(data or {}))}
    # JSON is YAML.
    run.plan_file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    append(run, events)
    return run


def finished(root: Path, name: str = "r1-tiny-llama", *, last: int = 60, start: float = 3.2, **plan: Any) -> Run:
    """A run that is done, with its metrics."""
    events = [begun(last), *steps(1, last, last, start=start), {"event": "done", "steps": last, "step": last}]
    run = make_run(root, name, events, **plan)
    measured = [event["loss"] for event in events if event["event"] == "eval"]
    metrics = {"steps": last, "eval_loss": {"base": measured[0], "best": min(measured)}, "tokens_per_s": 1190.2}
    run.metrics_file.write_text(json.dumps(metrics), encoding="utf-8")
    return run


def live(run: Run) -> FileLock:
    """Make a run live as its job does; releasing the lock ends it."""
    run.job_file.write_text(json.dumps({"pid": 4711}), encoding="utf-8")
    lock = FileLock(run.lock_file)
    lock.acquire()
    return lock


class Commands:
    """In place of our own commands: answers what the test gives, and keeps what was asked."""

    def __init__(self, root: Path, **answers: Any) -> None:
        """`answers`: `doctor`, `plan`, `start`, … → a document, (code, narration), or a function of the arguments."""
        self.answers: dict[str, Any] = {
            "doctor": DOCTOR, "plan": lambda args: planned(root / "exports" / "dataset"), **answers,
        }  # fmt: skip
        self.asked: list[list[str]] = []

    async def __call__(self, args: list[str]) -> tuple[int, str, str]:
        self.asked.append(args)
        answer = self.answers.get(args[1] if args[0] == "train" else args[0], (2, "loopreview: no such command"))
        answer = answer(args) if callable(answer) else answer
        if isinstance(answer, tuple):
            return answer[0], "", answer[1]
        refused = any(check.get("level") == "error" for check in answer.get("checks", ()))
        return int(refused), json.dumps(answer), ""

    def of(self, verb: str) -> list[list[str]]:
        return [args for args in self.asked if verb in args[:2]]
