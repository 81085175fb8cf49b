"""An adapter's configuration, and the weights of one that a run starts from."""

from pathlib import Path
from typing import Any

import mlx.core as mx

from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.train import convert


def adapter_config(layers: int, parameters: dict[str, Any], plan: Plan, base: Path) -> dict[str, Any]:
    """What mlx-lm reads, with the base by our names: `base_model` as the plan has it, `quantised_base` the folder that
    was trained on where it is another."""
    return {
        "fine_tune_type": "dora" if plan.dora else "lora",
        "num_layers": layers,
        "lora_parameters": parameters,
        "base_model": plan.base,
        "quantised_base": str(base.absolute()) if plan.adapter == "qlora" else None,
    }


def start_weights(folder: Path, plan: Plan, config: dict[str, Any], fresh: dict[str, mx.array]) -> dict[str, mx.array]:
    """The weights of an earlier run's adapter, of either backend. Raises UserError where they are not the plan's."""
    given = convert.read(folder, layers=config["num_layers"])
    scale, wanted = given.scale, config["lora_parameters"]["scale"]
    if abs(scale - wanted) > 1e-9 * wanted:
        raise UserError(
            f"{folder}: this adapter is scaled by {scale:g}, the plan's alpha / rank is {wanted:g}; "
            f"set alpha={scale * plan.rank:g}"
        )
    shapes = {name: tuple(value.shape) for name, value in given.weights.items()}
    if shapes != {name: tuple(value.shape) for name, value in fresh.items()}:
        raise UserError(
            f"{folder}: this adapter has another rank, other targets, another base or no dora as the plan has it; "
            "use the values of its run, as --from does"
        )
    return {name: mx.array(value) for name, value in given.weights.items()}
