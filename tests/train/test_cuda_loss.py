"""What the CUDA backend computes: rows as tensors, the loss where something is supervised, packing without leakage."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.cuda_made import TRAIN, VALID, made_plan, made_rows
from transformers import AutoModelForCausalLM

from loopreview.train.cuda import loss as losses
from loopreview.train.cuda.batches import Order, collate, optimizer_steps, packed
from loopreview.train.cuda.loss import loss_sum, measure, sees_neighbours
from loopreview.train.order import micro_batches
from loopreview.train.rows import IGNORED, Row

pytestmark = pytest.mark.train


@pytest.fixture(scope="module", params=["tiny_model", "tiny_qwen"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    found = AutoModelForCausalLM.from_pretrained(request.getfixturevalue(request.param))
    with torch.no_grad():
        # Random weights of 0.02 hardly look at what came before; larger ones do.
        for weight in found.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return found


def plain_sum(model: Any, row: Row) -> torch.Tensor:
    """transformers' own loss of one row, as a sum."""
    ids, labels = torch.tensor([list(row.ids)]), torch.tensor([list(row.labels)])
    return model(input_ids=ids, labels=labels).loss * row.supervised


def test_packing_puts_each_example_once_where_it_fits_best() -> None:
    assert packed([5, 9, 4, 1, 6], 10) == [(1, 3), (4, 2), (0,)]
    lengths = [len(row.ids) for row in made_rows(200, 5)]
    rows = packed(lengths, 64)
    assert sorted(place for row in rows for place in row) == list(range(200))
    assert all(sum(lengths[place] for place in row) <= 64 for row in rows)
    assert len(rows) <= -(-sum(lengths) // 64) * 1.05


def test_the_order_is_the_one_of_both_backends(tiny_model: Path) -> None:
    plan = made_plan(tiny_model, batch=2, epochs=2, seed=3)
    order = Order(plan, TRAIN)
    assert (len(order), optimizer_steps(plan, TRAIN)) == (11, 6)
    for epoch in (0, 1):
        order.epoch = epoch
        expected = micro_batches([len(row.ids) for row in TRAIN], 2, seed=3, epoch=epoch)
        assert [[place for (place,) in batch] for batch in order] == expected


def test_a_micro_batch_is_padded_on_the_right_and_keeps_supervised_positions() -> None:
    rows = [Row([7, 8, 9], [IGNORED, 8, IGNORED]), Row([5, 6], [IGNORED, 6]), Row([4, 3, 2, 1], [4, IGNORED, 2, 1])]
    batch = collate(rows, [(0,), (1,), (2,)], pad=0, packing=False)
    assert batch["input_ids"].tolist() == [[7, 8, 9, 0], [5, 6, 0, 0], [4, 3, 2, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["keep"].tolist() == [0, 1, 2]
    assert batch["targets"].tolist() == [[8, -100, -100], [6, -100, -100], [-100, 2, 1]]
    assert (batch["items"], batch["tokens"], batch["places"]) == (4, 9, (0, 1, 2))
    one = collate(rows, [(1, 2)], pad=0, packing=True)
    assert one["position_ids"].tolist() == [[0, 1, 0, 1, 2, 3]] and "attention_mask" not in one
    # The first label of an example is predicted from nothing, least of all from the example before.
    assert (one["keep"].tolist(), one["targets"].tolist(), one["items"]) == ([0, 3, 4], [[6, 2, 1]], 3)


def test_logits_only_where_supervised_give_the_loss_of_all(model: Any) -> None:
    with torch.no_grad():
        expected = sum(plain_sum(model, row) for row in TRAIN[:4])
        batch = collate(TRAIN, [(0,), (1,), (2,), (3,)], pad=0, packing=False)
        found = losses.logits(model, batch)
        assert found.shape[1] == len(batch["keep"]) < batch["input_ids"].shape[1]
        assert loss_sum(model, batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_model_without_logits_to_keep_gives_the_same(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(TRAIN, [(0,), (1,)], pad=0, packing=False)
    with torch.no_grad():
        expected = loss_sum(model, batch).item()
        monkeypatch.setattr(losses, "_keeps_some", lambda _: False)
        assert loss_sum(model, batch).item() == pytest.approx(expected, rel=1e-6)


def gradient(model: Any, *sums: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    torch.stack(sums).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("training", [True, False])
def test_packed_equals_unpacked(model: Any, training: bool) -> None:
    model.train(training)
    batch = collate(TRAIN, [(0, 1, 2), (3, 4)], pad=0, packing=True)
    together = loss_sum(model, batch)
    alone = [plain_sum(model, TRAIN[place]) for place in range(5)]
    assert together.item() == pytest.approx(sum(alone).item(), rel=1e-5)
    one, other = gradient(model, together), gradient(model, *alone)
    assert (one - other).norm() / other.norm() < 1e-5


def test_leakage_shows_where_the_guard_is_off(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = made_plan(Path("/base"), packing=True)
    assert not sees_neighbours(model, TRAIN, [(0, 1, 2)], plan=plan, pad=0)

    batch = collate(TRAIN, [(0, 1, 2)], pad=0, packing=True)
    model.eval()
    with torch.no_grad():
        right = loss_sum(model, batch)
        # As a trainer would call it that leaves the cache on: transformers then forgets where examples begin.
        forward = model.forward
        monkeypatch.setattr(model, "forward", lambda **given: forward(**{**given, "use_cache": True}))
        wrong = loss_sum(model, batch)
    assert abs(right - wrong) / right > 1e-4
    assert sees_neighbours(model, TRAIN, [(0, 1, 2)], plan=plan, pad=0)


@pytest.mark.parametrize("values", [{}, {"batch": 2}, {"packing": True}, {"packing": True, "batch": 2}])
def test_the_validation_loss_is_over_all_tokens(model: Any, values: dict[str, Any]) -> None:
    with torch.no_grad():
        sums = [plain_sum(model, row).item() for row in VALID]
    counts = [row.supervised for row in VALID]
    state = torch.random.get_rng_state()
    found = measure(model, VALID, made_plan(Path("/base"), **values), pad=0)
    assert found is not None and torch.equal(torch.random.get_rng_state(), state)
    assert found.loss == pytest.approx(sum(sums) / sum(counts), rel=1e-5)
    assert found.examples == pytest.approx([loss / count for loss, count in zip(sums, counts, strict=True)], rel=1e-5)
    assert measure(model, VALID, made_plan(Path("/base")), pad=0, stop=lambda: True) is None
