"""The learning rate of each optimizer step, as transformers' schedules of the same names have it."""

import math

from loopreview.models.training import Plan


def warmup_steps(plan: Plan, total: int) -> int:
    """Steps in which the learning rate rises, of `total` optimizer steps."""
    return math.ceil(plan.warmup * total)


def learning_rate(plan: Plan, step: int, total: int) -> float:
    """The learning rate of the optimizer step that comes after `step` others (the first is step 0), of `total`.

    With a warm-up the first step's is 0, as transformers has it.
    """
    warmup = warmup_steps(plan, total)
    if step < warmup:
        return plan.learning_rate * (step / max(1, warmup))
    done = (step - warmup) / max(1, total - warmup)
    if plan.schedule == "cosine":
        return plan.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * done)))
    if plan.schedule == "linear":
        return plan.learning_rate * max(0.0, (total - step) / max(1, total - warmup))
    return plan.learning_rate
