"""The loss: the sum over supervised tokens, with logits only where a token is supervised."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from loopreview.models.training import Plan
from loopreview.train.cuda.batches import Batch, Unit, collate, units
from loopreview.train.rows import IGNORED, Row


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """(B, K, vocabulary): at the kept positions alone. The head over all tokens of a long prompt would cost more time
    and memory than anything else."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
    # With a cache, transformers takes position ids that begin anew for one sequence, and examples see each other.
    if _keeps_some(model):
        kept: torch.Tensor = model(**given, use_cache=False, logits_to_keep=batch["keep"]).logits
        return kept
    found: torch.Tensor = model(**given, use_cache=False).logits
    return found[:, batch["keep"]]


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """(B * K,), float32; 0 where nothing is supervised."""
    found = logits(model, batch).float().flatten(0, 1)
    return functional.cross_entropy(found, batch["targets"].flatten(), ignore_index=IGNORED, reduction="none")


def loss_sum(model: Any, batch: Batch) -> torch.Tensor:
    """Over the supervised tokens of a micro-batch."""
    found = logits(model, batch).float().flatten(0, 1)
    return functional.cross_entropy(found, batch["targets"].flatten(), ignore_index=IGNORED, reduction="sum")


def _keeps_some(model: Any) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(type(inner).forward).parameters


class Measured(NamedTuple):
    loss: float
    """Sum over all supervised tokens / their number: not the mean of the batches' means."""
    examples: tuple[float, ...]
    """Each example's own, by its place."""


def measure(
    model: Any, rows: Sequence[Row], plan: Plan, *, pad: int, stop: Callable[[], bool] = lambda: False
) -> Measured | None:
    """The loss over all `rows`; none where `stop` turned true before it was there. Draws no random number."""
    device = next(model.parameters()).device
    sums = torch.zeros(len(rows), dtype=torch.float64, device=device)
    order = sorted(units(plan, rows), key=lambda unit: sum(len(rows[place].ids) for place in unit))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), computing(plan):
            for first in range(0, len(order), plan.batch):
                if stop():
                    return None
                batch = on_device(
                    collate(rows, order[first : first + plan.batch], pad=pad, packing=plan.packing), device
                )
                sums.index_add_(0, batch["owners"].flatten(), token_losses(model, batch).double())
    finally:
        model.train(was_training)
    counts = [row.supervised for row in rows]
    each = sums.tolist()
    total = sum(each) / sum(counts)
    return Measured(total, tuple(loss / count for loss, count in zip(each, counts, strict=True)))


def on_device(batch: Batch, device: torch.device | str) -> Batch:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def computing(plan: Plan) -> AbstractContextManager[Any]:
    """Mixed precision where the plan computes in bf16."""
    return torch.autocast(plan.device, dtype=torch.bfloat16) if plan.precision == "bf16" else nullcontext()


def sees_neighbours(model: Any, rows: Sequence[Row], batch: Sequence[Unit], *, plan: Plan, pad: int) -> bool:
    """Whether an example of a packed row changes with the tokens of those before it, as it must not.

    `batch`: packed units of which at least one holds two examples, else there is nothing to see.
    """
    unit = next((unit for unit in batch if len(unit) > 1), None)
    if unit is None:
        return False
    device = next(model.parameters()).device
    tensors = on_device(collate(rows, [unit], pad=pad, packing=True), device)
    first = len(rows[unit[0]].ids)
    after = tensors["keep"] >= first
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), computing(plan):
            before = token_losses(model, tensors)[after]
            ids = tensors["input_ids"].clone()
            ids[:, :first] = (ids[:, :first] + 1) % model.get_input_embeddings().num_embeddings
            changed = token_losses(model, {**tensors, "input_ids": ids})[after]
    finally:
        model.train(was_training)
    return not torch.allclose(before, changed, rtol=1e-4, atol=1e-4)
