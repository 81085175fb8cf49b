"""Training on this CPU: tokens a second against trl's and mlx-lm's own commands on the same data with the same
settings, the time to the first step, and what the events cost."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.dataset.examples import Wanted
from loopreview.dataset.make import make_dataset
from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.progress import EventFile, Silent
from loopreview.runs import Run
from loopreview.store import batches, events, transcripts
from loopreview.train.report import Report
from loopreview.train.rows import read_rows
from loopreview.train.tiny import build
from loopreview.workspace import Workspace, init

TRANSCRIPTS, EXCHANGES, ROUNDS = 40, 4, 3
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
RANK, ALPHA, RATE, ACCUMULATION = 16, 32, 2e-4, 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


class Measured(NamedTuple):
    tokens_per_s: float
    first_step_s: float
    """From the command to its first step, the loading of libraries included."""


def dataset(root: Path, tokenizer: Path) -> Path:
    """An export of short conversations, with token rows."""
    with Workspace.open(init(root)) as workspace:
        (root / "prompts" / "system.md").write_text("You help customers.\n", encoding="utf-8")
        store = workspace.store
        words = re.findall(r"\w+", "when will the parcel with my new lamp come and what do I do if it is broken")
        talks = []
        for number in range(TRANSCRIPTS):
            messages = []
            for turn in range(EXCHANGES):
                picked = [words[(number * 7 + turn * 3 + i * i) % len(words)] for i in range(20)]
                messages.append(Message(role="user", text=f"{number} {turn} " + " ".join(picked)))
                messages.append(Message(role="assistant", text=" ".join(reversed(picked)) + f" {number}"))
            source = f"bench.jsonl#{number}"
            talks.append(Transcript(id="", batch=0, number=0, origin="imported", source=source, messages=messages))
        with store.writing():
            stored = transcripts.add_imported(store, batches.create_imported(store).id, iter(talks))
            approvals = (Event(reviewer="bench", kind="approve", transcript=head.id) for head, _ in stored)
            events.append_many(store, approvals)
        return Path(make_dataset(workspace, Wanted(), tokenizer=str(tokenizer), watcher=Silent())["dataset"])


def ours(root: Path, base: Path, backend: str) -> Measured:
    settings = (
        f"rank={RANK}", f"alpha={ALPHA}", "dropout=0", f"learning_rate={RATE}", f"accumulation={ACCUMULATION}",
        "batch=1", "gradient_checkpointing=no", "eval_steps=1000", "save_steps=1000", "precision=fp32",
    )  # fmt: skip
    command = [
        sys.executable, "-m", "loopreview", "train", "start", "-w", str(root), "--backend", backend,
        "--base", str(base), "--adapter", "lora", "--epochs", "1", "--yes", "--json",
        *(f"--set={pair}" for pair in settings),
    ]  # fmt: skip
    began = time.time()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout)
    first = next(event["at"] for event in Run(Path(found["folder"])).events() if event["event"] == "step")
    shutil.rmtree(found["folder"])
    return Measured(found["tokens_per_s"], first - began)


def trl(data: Path, base: Path, tokens: int, out: Path) -> Measured:
    """trl's own command line. Its clock is its `train_runtime`."""
    plain = out / "plain"
    plain.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "train.jsonl", plain / "train.jsonl")
    command = [
        sys.executable, "-m", "trl.cli.main", "sft", "--model_name_or_path", str(base), "--dataset_name", str(plain),
        "--output_dir", str(out / "trl"), "--use_peft", "--lora_r", str(RANK), "--lora_alpha", str(ALPHA),
        "--lora_dropout", "0", "--lora_target_modules", *TARGETS, "--learning_rate", str(RATE),
        "--num_train_epochs", "1", "--per_device_train_batch_size", "1",
        "--gradient_accumulation_steps", str(ACCUMULATION), "--gradient_checkpointing", "False", "--bf16", "False",
        "--use_cpu", "True", "--max_length", "None", "--logging_steps", "1", "--save_strategy", "no",
        "--eval_strategy", "no", "--report_to", "none", "--lr_scheduler_type", "cosine",
    ]  # fmt: skip
    lines, first = _lines(command, "'loss'")
    runtime = float(re.findall(r"'train_runtime': '?([\d.]+)", lines)[-1])
    return Measured(tokens / runtime, first)


def mlx_lm(data: Path, base: Path, rows: int, out: Path) -> Measured:
    """mlx-lm's own command line. Its clock is the tokens a second that it prints, here of every token."""
    out.mkdir(parents=True, exist_ok=True)
    config = out / "lora.yaml"
    keys = ", ".join(f"self_attn.{name}" for name in TARGETS)
    parameters = f"{{keys: [{keys}], rank: {RANK}, scale: {ALPHA / RANK}, dropout: 0.0}}"
    config.write_text(f"lora_parameters: {parameters}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "mlx_lm", "lora", "--model", str(base), "--train", "--data", str(data), "-c", str(config),
        "--iters", str(rows), "--batch-size", "1", "--num-layers", "-1", "--learning-rate", str(RATE),
        "--grad-accumulation-steps", str(ACCUMULATION), "--steps-per-report", str(ACCUMULATION), "--val-batches", "1",
        "--steps-per-eval", "100000", "--save-every", "100000", "--adapter-path", str(out / "mlx"),
    ]  # fmt: skip
    lines, first = _lines(command, "▼")
    plain = re.sub(r"\x1b\[[\d;]*m", "", lines)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"^ *\d+ +[\d.]+ [▼▲=·]? +([\d.,]+) ", plain, re.M)]
    # A report covers as many rows each time, so that their rates count alike by the time they took.
    return Measured(len(rates) / sum(1 / rate for rate in rates), first)


def _lines(command: list[str], mark: str) -> tuple[str, float]:
    """What a command prints, and the seconds until the first line with `mark`."""
    began, first, lines = time.time(), 0.0, []
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if not first and mark in line:
                first = time.time() - began
    if process.returncode or not first:
        raise RuntimeError("".join(lines)[-2000:])
    return "".join(lines), first


def cost_of_an_event(folder: Path, count: int = 5_000) -> float:
    """Seconds that the report of one step takes."""
    report = Report(EventFile(folder / "events.jsonl"), steps=count)
    began = time.perf_counter()
    for step in range(1, count + 1):
        report.step(
            step, epoch=step / 100, loss=1 / step, learning_rate=1e-4, grad_norm=0.5, tokens_per_s=900.0,
            tokens=step * 900, peak_memory=10**9,
        )  # fmt: skip
    return (time.perf_counter() - began) / count


def main() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        base = build(place / "base", hidden=128, layers=3, vocabulary=2_000)
        root = place / "workspace"
        data = dataset(root, base)
        rows = read_rows(data / "tokens" / "train.jsonl")
        tokens = sum(len(row.ids) for row in rows)
        found: dict[str, list[Measured]] = {"cuda": [], "trl": [], "mlx": [], "mlx-lm": []}
        for round in range(ROUNDS):  # in turn, since these machines are noisy
            found["cuda"].append(ours(root, base, "cuda"))
            found["trl"].append(trl(data, base, tokens, place / f"trl{round}"))
            found["mlx"].append(ours(root, base, "mlx"))
            found["mlx-lm"].append(mlx_lm(data, base, len(rows), place / f"mlx{round}"))
        event = cost_of_an_event(place)
    best = {name: max(one.tokens_per_s for one in all) for name, all in found.items()}
    first = {name: min(one.first_step_s for one in all) for name, all in found.items()}
    step = ACCUMULATION * tokens / len(rows) / max(best["cuda"], best["mlx"])
    return [
        *(_against(name, other, best, budget="at least 1.0 times") for name, other in _PAIRS),
        *(
            {
                "claim": f"from the command to the first step, {name}",
                "measured": f"{first[name]:.1f} s; {other}'s own command {first[other]:.1f} s",
                "budget": "",
            }
            for name, other in _PAIRS
        ),
        {
            "claim": "writing the event of a step, of the step's time",
            "measured": f"{100 * event / step:.4f} % ({1e6 * event:.0f} µs)",
            "budget": "under 1 %",
        },
    ]


_PAIRS = (("cuda", "trl"), ("mlx", "mlx-lm"))


def _against(name: str, other: str, best: dict[str, float], *, budget: str) -> dict[str, Any]:
    measured = f"{best[name]:,.0f} against {best[other]:,.0f}: {best[name] / best[other]:.2f} times"
    return {"claim": f"tokens a second, {name} against {other}'s own command", "measured": measured, "budget": budget}


if __name__ == "__main__":
    print(main())
