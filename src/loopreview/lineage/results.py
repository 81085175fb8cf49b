"""Runs as a list, side by side, and as curves."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from loopreview.lineage.known import plan_of
from loopreview.models.errors import UserError
from loopreview.runs import Run

_RESULTS = (
    "steps", "loss.first", "loss.last", "eval_loss.base", "eval_loss.best", "eval_loss.best_step", "eval_loss.loaded",
    "tokens_per_s", "peak_memory", "seconds", "stopped_early",
)  # fmt: skip
_PLACES = ("data.folder", "data.tokens")
"""Of a plan, where its data lie: no difference in what was done."""

Curve = list[tuple[int, float]]


def summary(run: Run) -> dict[str, Any]:
    """A run in short, as far as it has come; null for what is not known."""
    events, metrics, standing = run.events(), run.metrics, run.standing()
    try:
        plan, problem = plan_of(run), None
    except UserError as error:
        plan, problem = None, str(error)
    measured = curves(run)
    loss, evals = measured["loss"], measured["eval_loss"]
    best = min(evals, key=lambda point: point[1], default=None)
    steps = [event for event in events if event.get("event") == "step"]
    started = next((number(event.get("at")) for event in events if event.get("event") == "started"), None)
    return {
        "run": run.id,
        "folder": str(run.folder),
        "state": standing.state,
        "reason": standing.reason or problem,
        "base": plan.base if plan else None,
        "backend": plan.backend if plan else None,
        "adapter": plan.adapter if plan else None,
        "method": plan.method if plan else None,
        "dataset": plan.data.hash if plan else None,
        "examples": {"train": plan.data.train, "valid": plan.data.valid} if plan else None,
        "steps": standing.step,
        "steps_planned": standing.steps or None,
        "loss": _part(metrics, "loss", first=loss[0][1] if loss else None, last=loss[-1][1] if loss else None),
        "eval_loss": _part(
            metrics,
            "eval_loss",
            base=evals[0][1] if evals and evals[0][0] == 0 else None,
            best=best[1] if best else None,
            best_step=best[0] if best else None,
            loaded=None,
        ),
        "tokens_per_s": number(metrics.get("tokens_per_s") or (steps[-1].get("tokens_per_s") if steps else None)),
        "peak_memory": number(metrics.get("peak_memory")),
        "seconds": number(metrics.get("seconds")),
        "stopped_early": metrics.get("stopped_early"),
        "adapter_folder": str(run.adapter) if run.adapter.is_dir() else None,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds") if started else None,
        "start_run": plan.start_adapter.parent.name if plan and plan.start_adapter else None,
        "revoked": sorted(run.read_json(run.revoked_file)),
        "plan": plan.model_dump(mode="json") if plan else None,
    }


def curves(run: Run) -> dict[str, Curve]:
    """Loss of each step, and validation loss of each measurement. Steps that were done again after a job was killed
    count once, as they came out last."""
    found: dict[str, dict[int, float]] = {"loss": {}, "eval_loss": {}}
    for event in run.events():
        name = {"step": "loss", "eval": "eval_loss"}.get(str(event.get("event")))
        step, loss = event.get("step"), number(event.get("loss"))
        if name and isinstance(step, int) and loss is not None:
            found[name][step] = loss
    return {name: sorted(points.items()) for name, points in found.items()}


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Two runs or more: what differs in plan and environment, what came of each, and whether that may be compared."""
    rows = [summary(run) for run in runs]
    plans = [_flat(row["plan"] or {}) for row in rows]
    made = [_flat(run.read_json(run.environment_file)) for run in runs]
    same_dataset, why = _comparable(rows)
    return {
        "runs": rows,
        "differs": _differing(plans, leave_out=_PLACES),
        "environment": _differing(made, leave_out=()),
        "results": {key: [_flat(row).get(key) for row in rows] for key in _RESULTS},
        "same_dataset": same_dataset,
        "comparable": why is None,
        "why": why,
    }


def number(value: Any) -> float | int | None:
    """`value` where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _comparable(rows: Sequence[dict[str, Any]]) -> tuple[bool, str | None]:
    """Whether all used the same dataset, and why their validation losses cannot be compared."""
    unread = [row["run"] for row in rows if row["plan"] is None]
    if unread:
        return False, f"the plan of {unread[0]} cannot be read"
    same = len({row["dataset"] for row in rows}) == 1
    if not same:
        return False, "they were made with different datasets, so each was measured on other examples"
    if len({row["plan"]["data"]["tokenizer"] for row in rows}) > 1:
        return True, "they have different tokenizers or chat templates, so a token is not the same thing to each"
    unmeasured = [row["run"] for row in rows if row["eval_loss"]["best"] is None]
    return True, f"{unmeasured[0]} has no validation loss" if unmeasured else None


def _differing(found: Sequence[dict[str, Any]], *, leave_out: Sequence[str]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for one in found for key in one if key not in leave_out)
    values = {key: [one.get(key) for one in found] for key in keys}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """Values by dotted keys."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            found |= {f"{key}.{below}": each for below, each in _flat(one).items()}
        else:
            found[key] = one
    return found


def _part(metrics: dict[str, Any], key: str, **so_far: Any) -> dict[str, Any]:
    """That part of the metrics; of a run that has none yet, what its events say so far."""
    kept = metrics.get(key)
    return {name: number(kept.get(name)) if isinstance(kept, dict) else value for name, value in so_far.items()}
