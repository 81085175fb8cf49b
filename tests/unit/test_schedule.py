"""The learning rate of each step."""

import math

import pytest

from loopreview.models.training import Data, Plan
from loopreview.train.schedule import learning_rate, warmup_steps


def planned(**given: object) -> Plan:
    data = Data.model_construct(folder=".", hash="h", tokens=".", tokenizer="t", train=1, valid=0)
    values = {"backend": "mlx", "device": "cpu", "base": "b", "max_length": 8, "data": data, "learning_rate": 1e-3}
    return Plan.model_validate({**values, **given})


def test_the_warm_up_rises_from_nothing_to_the_planned_rate() -> None:
    plan = planned(warmup=0.25, schedule="constant")
    assert warmup_steps(plan, 10) == 3, "rounded up"
    assert [learning_rate(plan, step, 10) for step in range(5)] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])


def test_cosine_and_linear_fall_to_nothing() -> None:
    cosine, linear = planned(warmup=0, schedule="cosine"), planned(warmup=0, schedule="linear")
    assert learning_rate(cosine, 0, 8) == learning_rate(linear, 0, 8) == 1e-3
    assert learning_rate(cosine, 2, 8) == pytest.approx(1e-3 * (1 + math.sqrt(0.5)) / 2)
    assert learning_rate(linear, 2, 8) == pytest.approx(1e-3 * 0.75)
    assert learning_rate(cosine, 8, 8) == pytest.approx(0) == learning_rate(linear, 8, 8)


@pytest.mark.train
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("total", "warmup"), [(1, 0.1), (7, 0.0), (23, 0.1), (40, 0.5)])
def test_it_is_the_schedule_that_transformers_has(schedule: str, total: int, warmup: float) -> None:
    torch = pytest.importorskip("torch")
    from transformers import get_scheduler

    plan = planned(schedule=schedule, warmup=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=plan.learning_rate)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup_steps(plan, total), num_training_steps=total)
    for step in range(total):
        assert learning_rate(plan, step, total) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()
