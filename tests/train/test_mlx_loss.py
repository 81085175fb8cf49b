"""The loss of the MLX backend, and its gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.mlx_run import made_plan, made_rows

from loopreview.train.rows import IGNORED, Row

pytest.importorskip("mlx_lm")
pytestmark = pytest.mark.train

ROWS = made_rows(3)


@pytest.fixture
def model(tiny_model: Path) -> Any:
    from loopreview.train.mlx.model import load_base

    return load_base(tiny_model, made_plan(tiny_model, ROWS, []))


def mean(losses: Any, rows: list[Row]) -> float:
    from loopreview.train.mlx.loss import row_losses

    sums, counts = row_losses(losses, rows, 2)
    assert counts.tolist() == [row.supervised for row in rows]
    return float(sums.sum() / counts.sum())


@pytest.mark.parametrize("family", ["tiny_model", "tiny_qwen"])
def test_it_is_what_transformers_computes(family: str, request: pytest.FixtureRequest) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from loopreview.train.mlx.loss import TokenLosses
    from loopreview.train.mlx.model import load_base

    base = request.getfixturevalue(family)
    # The first token's label is nothing that can be predicted; a supervised token in the middle, and the last.
    rows = [*ROWS, Row([5, 6, 7, 8, 9], [5, IGNORED, 7, IGNORED, 9])]
    theirs = AutoModelForCausalLM.from_pretrained(base)
    total, count = 0.0, 0
    for row in rows:
        with torch.no_grad():
            loss = theirs(input_ids=torch.tensor([list(row.ids)]), labels=torch.tensor([list(row.labels)])).loss
        total, count = total + loss.item() * row.supervised, count + row.supervised
    ours = mean(TokenLosses(load_base(base, made_plan(base, rows, []))), rows)
    assert ours == pytest.approx(total / count, rel=1e-5)


def test_no_padding_is_trained_where_mlx_lm_trains_a_token_of_it_per_row(model: Any) -> None:
    import mlx.core as mx
    from mlx_lm.tuner.trainer import default_loss

    from loopreview.train.mlx.batches import batch
    from loopreview.train.mlx.loss import TokenLosses

    rows = [Row(ROWS[0].ids[:20], [IGNORED] * 6 + list(ROWS[0].ids[6:20])), Row([7] * 9, [IGNORED] * 5 + [7] * 4)]
    given = batch(rows)
    assert given.ids.shape == (2, 32) and given.supervised == 18 and given.tokens == 29
    assert float(given.weights.sum()) == 18
    padded = np.zeros((2, 33), np.int32)
    for n, row in enumerate(rows):
        padded[n, : len(row.ids)] = row.ids
    _, trained = default_loss(model, mx.array(padded), mx.array([[6, 20], [5, 9]]))
    assert int(trained) == 18 + 2, "mlx-lm trains two tokens of padding; when it no longer does, say so in __init__"

    # Ours does not even see what the padding holds.
    losses = TokenLosses(model)
    before = np.array(losses(given))[: given.supervised]
    ids = np.array(given.ids)
    ids[0, 19:], ids[1, 8:] = 11, 12
    after = np.array(losses(given._replace(ids=mx.array(ids))))[: given.supervised]
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_the_head_alone_and_in_pieces_gives_the_same_loss_and_gradient(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx

    from loopreview.train.mlx import loss
    from loopreview.train.mlx.batches import batch

    given = batch([*ROWS, *made_rows(6, seed=3)])
    assert len(given.places) > 64
    found = []
    for head, logits in ((True, 1 << 27), (True, 1), (False, 1 << 27)):
        monkeypatch.setattr(loss, "_LOGITS", logits)
        losses = loss.TokenLosses(model)
        assert losses._head is not None
        if not head:
            losses._head = None
        weight = model.model.layers[0].self_attn.q_proj.weight

        def summed(weight: Any, losses: Any = losses) -> Any:
            model.model.layers[0].self_attn.q_proj.weight = weight
            return (losses(given) * given.weights).sum()

        value, gradient = mx.value_and_grad(summed)(weight)
        model.model.layers[0].self_attn.q_proj.weight = weight
        found.append((value.item(), np.array(gradient)))
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-6)
        np.testing.assert_allclose(gradient, found[0][1], atol=1e-5)


def test_a_model_that_changes_its_logits_gets_no_head_of_ours(model: Any) -> None:
    from loopreview.train.mlx.batches import batch
    from loopreview.train.mlx.loss import TokenLosses

    given, plain = batch(ROWS), type(model)
    assert TokenLosses(model)._head is not None
    before = np.array(TokenLosses(model)(given))
    model.__class__ = type("Halved", (plain,), {"__call__": lambda self, ids: 0.5 * plain.__call__(self, ids)})
    halved = TokenLosses(model)
    assert halved._head is None
    assert not np.allclose(np.array(halved(given)), before, rtol=1e-4)


@pytest.mark.parametrize("ours", [True, False])
def test_gradients_with_checkpointing_are_those_of_the_loss_with_dropout(
    model: Any, tiny_model: Path, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A numerical derivative says what the gradient is. With mlx-lm's own `grad_checkpoint` it is another: dropout
    drops other values when the layer is computed again."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_unflatten
    from mlx_lm.tuner.trainer import grad_checkpoint

    from loopreview.train.mlx.batches import batch
    from loopreview.train.mlx.loop import random_key
    from loopreview.train.mlx.loss import TokenLosses
    from loopreview.train.mlx.model import Dice, add_adapters, recomputed, trained

    dice = Dice()
    add_adapters(model, made_plan(tiny_model, ROWS, [], dropout=0.5), dice)
    losses, given = TokenLosses(model), batch(ROWS)
    layer = type(model.layers[0])
    monkeypatch.setattr(layer, "__call__", layer.__call__)  # put back afterwards, whatever mlx-lm does to it
    if not ours:
        for _, module in model.named_modules():
            if "lora_a" in module:
                module.dropout = nn.Dropout(0.5)
    model.train()
    dealt = np.random.default_rng(0)
    weights = {name: mx.array(dealt.normal(0, 0.3, value.shape), mx.float32) for name, value in trained(model).items()}

    def summed(weights: Any) -> Any:
        model.update(tree_unflatten(list(weights.items())))
        mx.random.seed(4)
        with dice.thrown(random_key(0, 0, 0)):
            return (losses(given) * given.weights).sum()

    def derivative() -> tuple[float, float]:
        _, gradient = mx.value_and_grad(summed)(weights)
        norm = float(np.sqrt(sum(float(mx.square(value).sum()) for value in gradient.values())))
        moved = [
            {name: value + sign * 1e-3 * gradient[name] / norm for name, value in weights.items()} for sign in (1, -1)
        ]
        measured = (summed(moved[0]).item() - summed(moved[1]).item()) / 2e-3
        return norm, measured

    if ours:
        with recomputed(model, dice):
            said, measured = derivative()
        assert measured == pytest.approx(said, rel=0.02)
        assert layer.__call__.__qualname__ == "TransformerBlock.__call__", "the class is as it was"
    else:
        grad_checkpoint(model.layers[0])
        said, measured = derivative()
        assert measured != pytest.approx(said, rel=0.02), "mlx-lm mended it: `recomputed` could go"


def test_micro_batches_weigh_by_their_supervised_tokens(tiny_model: Path, tmp_path: Path) -> None:
    """Rows of very different lengths, one by one and all at once: the same step (mlx-lm's mean of means is not)."""
    from tests.train.mlx_run import run_mlx

    rows = [*made_rows(3, longest=14), *made_rows(1, seed=9, longest=60)]
    ends = []
    for batch, accumulation in ((1, 4), (4, 1)):
        plan = made_plan(
            tiny_model, rows, rows, batch=batch, accumulation=accumulation, epochs=2, warmup=0.0, weight_decay=0.0
        )
        ran = run_mlx(tmp_path / f"{batch}", plan, rows, rows)
        steps = [(event["loss"], event["grad_norm"]) for event in ran.named("step")]
        assert len(steps) == 2
        assert steps[0][0] == pytest.approx(ran.outcome.base_eval_loss, rel=1e-5), "no dropout: the loss over all rows"
        ends.append(steps)
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-3)
