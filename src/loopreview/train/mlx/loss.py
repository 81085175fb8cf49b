"""The loss of supervised tokens, and the loss over all of a set of rows."""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from loopreview.train.mlx.batches import Batch, batch
from loopreview.train.rows import Row

_LOGITS = 1 << 27
"""Logits that are held at a time: 512 MB of them."""

Head = Callable[[mx.array], mx.array]


class TokenLosses:
    """The cross entropy of each supervised token of a batch."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._head = model, _head(model)

    def __call__(self, given: Batch | Sequence[mx.array]) -> mx.array:
        """(P,), float32. The head is computed where a token is supervised, not for every token, where the
        architecture lets us; in pieces, where there would be very many logits at once."""
        ids, places, targets = given[:3]
        if self._head is None:
            logits = self._model(ids)
            return _cross_entropy(logits.reshape(-1, logits.shape[-1])[places], targets)
        head = self._head
        hidden = self._model.model(ids)
        hidden = hidden.reshape(-1, hidden.shape[-1])[places]
        piece = max(32, _LOGITS // _vocabulary(self._model))
        if len(places) <= piece:
            return _cross_entropy(head(hidden), targets)
        # Each piece's logits are computed again in the backward pass, so that no two pieces are held at once.
        part = mx.checkpoint(lambda hidden, targets: _cross_entropy(head(hidden), mx.stop_gradient(targets)))
        return mx.concatenate(
            [part(hidden[n : n + piece], targets[n : n + piece]) for n in range(0, len(places), piece)]
        )


def _cross_entropy(logits: mx.array, targets: mx.array) -> mx.array:
    found: mx.array = nn.losses.cross_entropy(logits.astype(mx.float32), targets, reduction="none")
    return found


def _vocabulary(model: nn.Module) -> int:
    return int(model.model.embed_tokens.weight.shape[0])


def _head(model: nn.Module) -> Head | None:
    """What turns the hidden states of `model.model` into logits, where that is all the model does with them."""
    body: Any = getattr(model, "model", None)
    if not hasattr(body, "embed_tokens"):
        return None
    head: Head = model.lm_head if "lm_head" in model else body.embed_tokens.as_linear
    # Some architectures scale or cap their logits: asking both ways tells, whatever the architecture.
    model.eval()
    ids = mx.array([[1, 2, 3, 4, 5, 6, 7, 8]])
    try:
        whole, ours = model(ids), head(body(ids))
    except (TypeError, ValueError, AttributeError):
        return None
    same = whole.shape == ours.shape and bool(mx.allclose(whole, ours, rtol=1e-5, atol=1e-6))
    return head if same else None


def row_losses(
    losses: Callable[[Batch], mx.array], rows: Sequence[Row], size: int, stop: Callable[[], bool] = lambda: False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Of each row the sum of its supervised tokens' losses, and how many they are; none where stopped."""
    sums, counts = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].ids))
    for first in range(0, len(order), size):
        if stop():
            return None
        some = order[first : first + size]
        given = batch([rows[n] for n in some])
        found = np.array(losses(given))[: given.supervised].astype(np.float64)
        sums[some] = np.bincount(given.rows, found, len(some))
        counts[some] = np.bincount(given.rows, minlength=len(some))
    return sums, counts
