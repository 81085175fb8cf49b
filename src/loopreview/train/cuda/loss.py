"""The loss: the sum over supervised tokens, with logits only where a token is supervised."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from loopreview.models.training import Plan
from loopreview.train.cuda.batches import Batch, Unit, collate, units
from loopreview.train.rows import IGNORED, Row

LOGITS = 1 << 28
"""Logits that are held at a time: 1 GB of them. Where more tokens of a micro-batch are supervised, they are computed in
pieces, which takes the head's time once more."""


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """(B, K, vocabulary): at the kept positions alone. The head over all tokens of a long prompt would cost more time
    and memory than anything else."""
    given = _given(batch)
    # With a cache, transformers takes position ids that begin anew for one sequence, and examples see each other.
    if _keeps_some(model):
        kept: torch.Tensor = model(**given, use_cache=False, logits_to_keep=batch["keep"]).logits
        return kept
    found: torch.Tensor = model(**given, use_cache=False).logits
    return found[:, batch["keep"]]


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """(B * K,), float32; 0 where nothing is supervised."""
    targets = batch["targets"].flatten()
    whole = _whole(model)
    piece = max(1, LOGITS // whole.get_input_embeddings().num_embeddings)
    if len(targets) > piece and (parts := _body_and_head(whole)):
        body, head = parts
        hidden = body(**_given(batch), use_cache=False).last_hidden_state[:, batch["keep"]].flatten(0, 1)
        # Each piece's logits are computed again in the backward pass, so that no two pieces are held at once.
        losses = [
            checkpoint(
                lambda some, wanted: _cross_entropy(head(some), wanted),
                *pair,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for pair in zip(hidden.split(piece), targets.split(piece), strict=True)
        ]
        return torch.cat(losses)
    return _cross_entropy(logits(model, batch).flatten(0, 1), targets)


def loss_sum(model: Any, batch: Batch) -> torch.Tensor:
    """Over the supervised tokens of a micro-batch."""
    return token_losses(model, batch).sum()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="none")


def _body_and_head(whole: Any) -> tuple[Any, Any] | None:
    """What computes hidden states, and what makes logits of them; none where the model does more to its logits."""
    body, head = whole.base_model, whole.get_output_embeddings()
    if whole not in _PLAIN:
        _PLAIN[whole] = body is not whole and isinstance(head, torch.nn.Linear) and _is_plain(whole, body, head)
    return (body, head) if _PLAIN[whole] else None


_PLAIN: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Models that were asked."""


def _is_plain(whole: Any, body: Any, head: Any) -> bool:
    # Some architectures scale or cap their logits: asking both ways tells, whatever the architecture.
    was_training = whole.training
    whole.eval()
    try:
        with torch.no_grad():
            ids = torch.arange(1, 9, device=head.weight.device)[None]
            asked = whole(input_ids=ids, use_cache=False).logits.float()
            ours = head(body(input_ids=ids, use_cache=False).last_hidden_state).float()
    except (TypeError, ValueError, AttributeError):
        return False
    finally:
        whole.train(was_training)
    return torch.allclose(asked, ours, rtol=1e-5, atol=1e-6)


def _given(batch: Batch) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}


def _whole(model: Any) -> Any:
    """The model itself, without what peft puts around it; adapters are within."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _keeps_some(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(type(_whole(model)).forward).parameters


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
