"""Base and adapter as one model's full weights."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx_lm.utils
from mlx.utils import tree_unflatten
from mlx_lm.tuner.utils import load_adapters

from loopreview.models.training import Plan
from loopreview.train.mlx.model import copy_tokenizer, is_quantised, quiet, sync, use_device


def merge(plan: Plan, base: Path, adapter: Path, to: Path) -> None:
    """Write the folder `to`: unquantised weights as transformers and mlx-lm read them, tokenizer, template.

    The base is not the one in 4 bits but the one it was made of; where that is quantised itself, it is dequantised."""
    use_device(plan)
    with quiet():
        model, config = mlx_lm.utils.load_model(base, lazy=True)
        load_adapters(model, str(adapter))
    fused = {name: module.fuse(dequantize=True) for name, module in model.named_modules() if hasattr(module, "fuse")}
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    made = {f"{name}.weight": module.weight for name, module in fused.items()}
    if is_quantised(base) or not _rewrite(base, made, beside):
        _save(model, config, fused, beside)
    copy_tokenizer(base, beside)
    for file in beside.iterdir():
        sync(file)
    shutil.rmtree(to, ignore_errors=True)
    beside.rename(to)


def _rewrite(base: Path, fused: dict[str, mx.array], to: Path) -> bool:
    """Copy the base's files with the fused weights in their places: all else stays as transformers knows it, also
    where mlx-lm has other names or shapes for it. False where a fused weight has no place there."""
    files = sorted(base.glob("*.safetensors"))
    weights: dict[Path, Any] = {file: mx.load(str(file)) for file in files}
    known = {name: value for found in weights.values() for name, value in found.items()}
    if any(name not in known or known[name].shape != value.shape for name, value in fused.items()):
        return False
    for file, found in weights.items():
        made = {name: fused[name].astype(value.dtype) if name in fused else value for name, value in found.items()}
        mx.save_safetensors(str(to / file.name), made, metadata={"format": "pt"})
    for index in base.glob("*.safetensors.index.json"):
        shutil.copyfile(index, to / index.name)
    shutil.copyfile(base / "config.json", to / "config.json")
    return True


def _save(model: nn.Module, config: dict[str, Any], fused: dict[str, nn.Module], to: Path) -> None:
    """As mlx-lm's own `fuse --dequantize` does."""
    model.update_modules(tree_unflatten(list(fused.items())))
    model = mlx_lm.utils.dequantize_model(model)
    config = {key: value for key, value in config.items() if key not in ("quantization", "quantization_config")}
    mlx_lm.utils.save_model(to, model)
    (to / "config.json").write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n", encoding="utf-8")
