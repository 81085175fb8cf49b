"""A training run from the base model to weights that were read back from the disk."""

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from loopreview.models.errors import UserError
from loopreview.models.training import Outcome, Plan
from loopreview.train.backend import OutOfMemory, Task
from loopreview.train.cuda import load
from loopreview.train.cuda.checkpoints import Checkpoints, Progress, publish
from loopreview.train.cuda.loss import Measured, measure
from loopreview.train.cuda.surroundings import alone
from loopreview.train.cuda.trainer import LoopTrainer, Stopped

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)


def train(task: Task) -> Outcome:
    """Train as the plan says, and hand back what became of it."""
    plan = task.plan
    load.check_machine(plan)
    saved = Checkpoints(task.folder / "checkpoints")
    adapter = task.folder / "adapter"
    shutil.rmtree(adapter.with_name("adapter.partial"), ignore_errors=True)
    progress = saved.newest() if task.resume else None
    if progress is None:
        saved.clear()
        shutil.rmtree(adapter, ignore_errors=True)
        progress = Progress()
    if not task.valid:
        task.report.warning("no validation examples: no early stopping, and the last weights are kept, not the best")
    with _memory(plan), alone():
        cancelled = False
        if not progress.finished:
            progress, cancelled = _fit(task, progress)
        _free()
        if progress.finished and progress.best_step is None:
            raise UserError("learning_rate: the validation loss was no number at any step; try a lower one")
        if progress.best_step is not None:
            publish(saved.at(progress.best_step), adapter)
            if plan.adapter == "full":
                add_tokenizer(task.base, adapter)
        if cancelled or task.stop():
            return _outcome(progress, adapter, cancelled=True)
        proof = _proof(task, progress, adapter)
        return _outcome(progress, adapter, cancelled=bool(task.valid) and proof is None, proof=proof)


def _fit(task: Task, progress: Progress) -> tuple[Progress, bool]:
    """Train from `progress` on. Returns how far it came, and whether the person stopped it."""
    plan = task.plan
    if task.stop():
        return progress, True
    task.report.note(f"loading the base model{' in 4 bits' if plan.adapter == 'qlora' else ''}")
    model = load.with_adapter(plan, load.load_base(plan, task.base))
    trainer = LoopTrainer(task, model, load.tokenizer(task.base), progress)
    saved = str(trainer.saved.at(progress.step)) if progress.step else None
    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        trainer.train(resume_from_checkpoint=saved)
    except Stopped:
        trainer.cancelled = not progress.finished
    return progress, trainer.cancelled and not progress.finished


def _proof(task: Task, progress: Progress, adapter: Path) -> Measured | None:
    """The validation loss of what lies on the disk, read onto a base that was never trained."""
    if not task.valid:
        return None
    plan = task.plan
    task.report.note("checking the result: reading it back from the disk")
    model = load.load_base(plan, adapter if plan.adapter == "full" else task.base)
    if plan.adapter != "full":
        model = load.read_adapter(model, adapter)
    found = measure(model, task.valid, plan, pad=load.pad_id(model), stop=task.stop)
    best = progress.best_loss
    if found is not None and best is not None and not abs(found.loss - best) <= 1e-3 * abs(best):
        task.report.warning(
            f"{adapter}: read back, the validation loss is {found.loss:.4f}; in training it was {best:.4f}"
        )
    return found


def _outcome(progress: Progress, adapter: Path, *, cancelled: bool = False, proof: Measured | None = None) -> Outcome:
    return Outcome(
        cancelled=cancelled,
        stopped_early=progress.stopped_early,
        steps=progress.step,
        rows=progress.seen.bit_count(),
        first_loss=progress.first_loss,
        last_loss=progress.last_loss,
        base_eval_loss=progress.base_loss,
        best_eval_loss=progress.best_loss,
        best_step=progress.best_step,
        adapter=adapter if progress.best_step is not None else None,
        loaded_eval_loss=proof.loss if proof else None,
        example_losses=tuple(enumerate(proof.examples, 1)) if proof else (),
        peak_memory=progress.peak_memory or None,
        tokens=progress.tokens,
        tokens_per_s=progress.tokens / progress.seconds if progress.seconds else None,
    )


def add_tokenizer(base: Path, to: Path) -> None:
    """The tokenizer and chat template of the base beside full weights."""
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, to / name)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_FULL = ("not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In what torch, CUDA's own libraries and bitsandbytes say when there is no memory left."""


@contextmanager
def _memory(plan: Plan) -> Iterator[None]:
    """What the device says when its memory is full, in our word."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(_line(error)) from error
    except RuntimeError as error:
        if any(words in str(error) for words in _FULL):
            raise OutOfMemory(_line(error)) from error
        raise
    except MemoryError as error:
        raise OutOfMemory(f"not enough memory on {plan.device}") from error


def _line(error: Any) -> str:
    return str(error).strip().splitlines()[0]
