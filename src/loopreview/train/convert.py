"""Adapters from peft's form to mlx-lm's and back, without either library.

peft  adapter_model.safetensors   base_model.model.<path>.lora_A.weight (r, in), .lora_B.weight (out, r),
                                  .lora_magnitude_vector (out)          scaled by lora_alpha / r
mlx   adapters.safetensors        <path>.lora_a (in, r), .lora_b (r, out), .m (out)       scaled by `scale`
"""

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from loopreview.models.errors import UserError
from loopreview.runs import Run, writing

Form = Literal["peft", "mlx"]

_FILES: dict[Form, str] = {"peft": "adapter_model.safetensors", "mlx": "adapters.safetensors"}
_CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")
_PARTS = {"lora_A.weight": "lora_a", "lora_B.weight": "lora_b", "lora_magnitude_vector": "m"}


class Adapter(NamedTuple):
    """An adapter in no backend's form. `weights` have mlx-lm's names and shapes, float32."""

    base: str
    rank: int
    scale: float
    dropout: float
    dora: bool
    layers: int
    """Of the base model."""
    weights: dict[str, np.ndarray]

    @property
    def keys(self) -> list[str]:
        """The places within a layer that have an adapter: `self_attn.q_proj`."""
        return sorted({_place(name)[1] for name in self.weights})


def convert(run: Run, to: Form, target: Path) -> Path:
    """Write the adapter of a run to the folder `target` in the other backend's form, and return the folder.

    Raises UserError where the run has no adapter, its adapter is in that form already, or `target` is there."""
    have = _form(run.adapter)
    if have is None:
        if any(run.adapter.glob("model*.safetensors")):
            raise UserError(f"{run.id}: a full run has no adapter to convert; its adapter/ holds the whole model")
        raise UserError(f"{run.id}: has no adapter yet; `loopreview train resume {run.id}` finishes the run")
    if have == to:
        raise UserError(f"{run.id}: its adapter is in the {to} form already: {run.adapter}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: is there already; name another folder")
    with writing(target):
        write(read(run.adapter), to, target)
    return target


def read(folder: Path, *, layers: int | None = None) -> Adapter:
    """An adapter's folder in either form. `layers`: how many the base has, where that is known; else up to the last
    one that has an adapter. Raises UserError where it cannot be read, or has what only its own library knows."""
    form = _form(folder)
    if form is None:
        raise UserError(f"{folder}: no adapter here ({_FILES['peft']} or {_FILES['mlx']} is missing)")
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        weights = _weights(folder / _FILES[form])
        return _from_mlx(config, weights) if form == "mlx" else _from_peft(folder, config, weights, layers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: cannot be read as an adapter ({error})") from None


def write(adapter: Adapter, form: Form, folder: Path) -> None:
    """Whole or not at all."""
    from safetensors.numpy import save_file

    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    names = {ours: theirs for theirs, ours in _PARTS.items()}
    if form == "mlx":
        config, weights = _mlx_config(adapter), adapter.weights
    else:
        config, weights = _peft_config(adapter), {}
        for name, value in adapter.weights.items():
            path, part = name.rsplit(".", 1)
            weights[f"{_PREFIX}{path}.{names[part]}"] = np.ascontiguousarray(value.T)
    save_file(weights, beside / _FILES[form], metadata={"format": "pt" if form == "peft" else "mlx"})
    (beside / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if folder.is_dir():
        folder.rmdir()
    beside.rename(folder)


def _form(folder: Path) -> Form | None:
    for form, name in _FILES.items():
        if (folder / name).is_file():
            return form
    return None


def _from_mlx(config: dict[str, Any], weights: dict[str, np.ndarray]) -> Adapter:
    given = config["lora_parameters"]
    return Adapter(
        base=str(config.get("base_model") or config.get("model") or ""),
        rank=int(given["rank"]),
        scale=float(given["scale"]),
        dropout=float(given.get("dropout", 0)),
        dora=config.get("fine_tune_type") == "dora",
        layers=int(config["num_layers"]),
        weights=_checked(weights, int(given["rank"])),
    )


def _from_peft(folder: Path, config: dict[str, Any], given: dict[str, np.ndarray], layers: int | None) -> Adapter:
    # What mlx-lm has no word for.
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "fan_in_fan_out"):
        if config.get(key):
            raise UserError(f"{folder}: {key} cannot be said in mlx-lm's form; only plain LoRA and DoRA convert")
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise UserError(f"{folder}: only LoRA and DoRA without trained biases convert")
    weights = {}
    for name, value in given.items():
        short = name.removeprefix(_PREFIX).removesuffix(".default")
        for theirs, ours in _PARTS.items():
            path = short.removesuffix(".weight").removesuffix("." + theirs.removesuffix(".weight"))
            if path != short.removesuffix(".weight"):
                weights[f"{path}.{ours}"] = np.ascontiguousarray(value.T)
                break
        else:
            raise UserError(f"{folder}: {name} is no weight of LoRA or DoRA; only those convert")
    rank = int(config["r"])
    root = math.sqrt(rank) if config.get("use_rslora") else rank
    last = max(_place(name)[0] for name in weights)
    return Adapter(
        base=str(config.get("base_model_name_or_path") or ""),
        rank=rank,
        scale=float(config["lora_alpha"]) / root,
        dropout=float(config.get("lora_dropout", 0)),
        dora=bool(config.get("use_dora")),
        layers=layers or last + 1,
        weights=_checked(weights, rank),
    )


def _mlx_config(adapter: Adapter) -> dict[str, Any]:
    return {
        "fine_tune_type": "dora" if adapter.dora else "lora",
        "num_layers": adapter.layers,
        "lora_parameters": {
            "rank": adapter.rank,
            "scale": adapter.scale,
            "dropout": adapter.dropout,
            "keys": adapter.keys,
        },
        "base_model": adapter.base,
        "quantised_base": None,
    }


def _peft_config(adapter: Adapter) -> dict[str, Any]:
    alpha = adapter.scale * adapter.rank
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "r": adapter.rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": sorted({key.rsplit(".", 1)[-1] for key in adapter.keys}),
        "use_dora": adapter.dora,
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "revision": None,
    }


def _checked(weights: dict[str, np.ndarray], rank: int) -> dict[str, np.ndarray]:
    for name, value in weights.items():
        part = name.rsplit(".", 1)[-1]
        _place(name)
        wanted = {"lora_a": (2, -1), "lora_b": (2, 0), "m": (1, None)}.get(part)
        if wanted is None or value.ndim != wanted[0] or (wanted[1] is not None and value.shape[wanted[1]] != rank):
            raise ValueError(f"{name} of shape {value.shape} is not of a LoRA or DoRA of rank {rank} on a linear layer")
    return weights


def _place(name: str) -> tuple[int, str]:
    """(layer, place within it) of a weight's name."""
    found = _LAYER.search(name.rsplit(".", 1)[0])
    if not found:
        raise ValueError(f"{name} is in no layer")
    return int(found.group(1)), found.group(2)


def _weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file as float32; numpy has no bfloat16 of its own."""
    import safetensors

    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    found = {}
    reader: Any = safetensors.deserialize
    for name, tensor in reader(path.read_bytes()):
        kind, data = tensor["dtype"], bytes(tensor["data"])
        if kind == "BF16":
            values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif kind in kinds:
            values = np.frombuffer(data, kinds[kind]).astype(np.float32)
        else:
            raise ValueError(f"{name} is of type {kind}")
        found[name] = values.reshape(tensor["shape"])
    return found
