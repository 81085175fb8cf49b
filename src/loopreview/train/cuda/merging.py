"""Full weights of a base and an adapter."""

import shutil
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.train.cuda.fit import add_tokenizer
from loopreview.train.cuda.load import load_unquantised, read_adapter


def merge(plan: Plan, base: Path, adapter: Path, to: Path) -> None:
    """Write the full, unquantised weights of base and adapter to the folder `to`, with tokenizer and template: whole or
    not at all. What `full` trained is full already, and copied."""
    if not any(adapter.glob("*.safetensors")):
        raise UserError(f"{adapter}: no weights there; train first")
    partial = to.with_name(f"{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if plan.adapter == "full":
        shutil.copytree(adapter, partial)
    else:
        _merged(base, adapter).save_pretrained(partial)
        add_tokenizer(base, partial)
    shutil.rmtree(to, ignore_errors=True)
    partial.replace(to)


def _merged(base: Path, adapter: Path) -> Any:
    # Never onto the 4-bit base that was trained with: its rounding errors would be written down as weights.
    model = read_adapter(load_unquantised(base), adapter)
    try:
        return model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise UserError(f"{adapter}: not merged, for weights would not be numbers ({error})") from error
