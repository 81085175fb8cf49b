"""The base model with its adapters, as a plan says."""

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx_lm.utils
from mlx.utils import tree_flatten, tree_map_with_path, tree_unflatten
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.utils import linear_to_lora_layers

from loopreview.models.errors import UserError
from loopreview.models.training import Plan

_GROUP, _BITS = 64, 4
_TYPES = {"bf16": mx.bfloat16, "fp32": mx.float32}


class Dice:
    """Where dropout gets its random keys: from the step that is computed, not from a state that all share. So a step
    is the same whenever it is done, and a layer that is computed again in the backward pass drops the same again."""

    def __init__(self) -> None:
        self._key: mx.array | None = None

    def draw(self) -> mx.array:
        if self._key is None:
            raise RuntimeError("dropout outside of a step")
        self._key, found = mx.random.split(self._key)
        return found

    @contextlib.contextmanager
    def thrown(self, key: mx.array) -> Iterator[None]:
        before, self._key = self._key, key
        try:
            yield
        finally:
            self._key = before


class Dropout(nn.Module):  # type: ignore[misc, unused-ignore]
    """Sets a share of the values to 0 and scales the others up, in training."""

    def __init__(self, share: float, dice: Dice) -> None:
        super().__init__()
        self._share, self._dice = share, dice

    def __call__(self, x: mx.array) -> mx.array:
        if not self.training or self._share == 0:
            return x
        keep = 1 - self._share
        return mx.random.bernoulli(keep, x.shape, key=self._dice.draw()) * (1 / keep) * x


def use_device(plan: Plan) -> None:
    if plan.device == "cpu":
        mx.set_default_device(mx.cpu)
        return
    if not mx.metal.is_available():
        raise UserError("MLX finds no Apple GPU on this machine; set device=cpu, or use backend cuda", exit_code=3)
    mx.set_default_device(mx.gpu)
    mlx_lm.utils.maybe_set_recommended_wired_limit()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What mlx-lm prints goes to standard error: standard output is the command's own."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def load_base(folder: Path, plan: Plan) -> nn.Module:
    """The base, frozen, its unquantised weights in the plan's precision. Raises UserError where mlx-lm does not know
    the architecture."""
    model, _ = _load(folder)
    in_precision(model, plan)
    mx.eval(model.parameters())
    # What it was before it was cast.
    mx.clear_cache()
    model.freeze()
    return model


def _load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Its weights are not read yet. Never with code of the model's own: that is mlx-lm's default."""
    with quiet():
        try:
            model, config = mlx_lm.utils.load_model(folder, lazy=True)
        except (ValueError, FileNotFoundError) as error:
            raise UserError(f"{folder}: mlx-lm cannot load it ({error}); use another base model", exit_code=3) from None
    return model, config


def in_precision(model: nn.Module, plan: Plan) -> None:
    """Cast what is a floating number, adapters excepted; scales of a quantised base are what it computes in."""
    wanted, may = _TYPES[plan.precision], getattr(model, "cast_predicate", lambda name: True)

    def cast(name: str, value: mx.array) -> mx.array:
        ours = name.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m")
        if ours or not mx.issubdtype(value.dtype, mx.floating) or not may(name):
            return value
        return value.astype(wanted)

    model.update(tree_map_with_path(cast, model.parameters()))


def add_adapters(model: nn.Module, plan: Plan, dice: Dice) -> dict[str, Any]:
    """Put a fresh adapter, float32, on the plan's targets in every layer, and return how, in mlx-lm's words."""
    mx.random.seed(plan.seed)
    parameters = _lora_parameters(model, plan)
    linear_to_lora_layers(model, len(model.layers), parameters, use_dora=plan.dora)
    for _, module in model.named_modules():
        if "lora_a" in module:
            module.dropout = Dropout(plan.dropout, dice)
    model.update(tree_unflatten([(name, value.astype(mx.float32)) for name, value in trained(model).items()]))
    return parameters


def _lora_parameters(model: nn.Module, plan: Plan) -> dict[str, Any]:
    """`scale` is alpha / rank (mlx-lm's own default is 20); `keys` are places within a layer."""
    places = {name for layer in model.layers for name, module in layer.named_modules() if _takes_adapter(module)}
    keys = sorted(name for name in places if name.rsplit(".", 1)[-1] in plan.targets)
    missing = sorted(set(plan.targets) - {key.rsplit(".", 1)[-1] for key in keys})
    if missing:
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in places}))
        raise UserError(f"targets: the layers of this base have no {', '.join(missing)}; they have {known}")
    return {"rank": plan.rank, "scale": plan.alpha / plan.rank, "dropout": plan.dropout, "keys": keys}


def _takes_adapter(module: nn.Module) -> bool:
    return hasattr(module, "to_lora") or isinstance(
        module, (nn.Linear, nn.QuantizedLinear, SwitchLinear, QuantizedSwitchLinear)
    )


def trained(model: nn.Module) -> dict[str, mx.array]:
    """The weights that are trained, by name."""
    return dict(tree_flatten(model.trainable_parameters()))


@contextlib.contextmanager
def recomputed(model: nn.Module, dice: Dice) -> Iterator[None]:
    """Gradient checkpointing: each layer is computed again in the backward pass.

    Not mlx-lm's `grad_checkpoint`: there dropout drops other values the second time, so gradients are of another
    function than the loss; it knows the first layer's type alone; and it stays on the class for good.
    """
    plain = {kind: kind.__call__ for kind in {type(layer) for layer in model.layers}}
    # The classes are enough: held here, the model would still take its memory when the result is checked.
    del model

    def again(call: Callable[..., Any]) -> Callable[..., Any]:
        def checkpointed(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not layer.training:
                return call(layer, *args, **kwargs)

            def inner(weights: Any, key: mx.array, *args: Any, **kwargs: Any) -> Any:
                layer.update(weights)
                with dice.thrown(mx.stop_gradient(key)):
                    return call(layer, *args, **kwargs)

            return mx.checkpoint(inner)(layer.trainable_parameters(), dice.draw(), *args, **kwargs)

        return checkpointed

    for kind, call in plain.items():
        kind.__call__ = again(call)
    try:
        yield
    finally:
        for kind, call in plain.items():
            kind.__call__ = call


def base_folder(plan: Plan, base: Path, runs: Path, note: Callable[[str], None] = lambda text: None) -> Path:
    """The base that the plan trains on: with qlora one in 4 bits, made beside the runs where it is missing, which
    `note` is told. Raises UserError where there is no room for it."""
    if plan.adapter != "qlora" or is_quantised(base):
        return base
    folder = runs / ".bases" / f"{base.name}-{_stamp(base)}-{_BITS}bit"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # What a killed job left: no two train on one device at once.
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    _room(base, folder.parent)
    note("making a copy of the base model in 4 bits, once for all runs on it")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    model, config = _load(base)
    with quiet():
        model, config = mlx_lm.utils.quantize_model(model, config, _GROUP, _BITS, mode="affine")
        mlx_lm.utils.save_model(beside, model, donate_model=True)
        mlx_lm.utils.save_config(config, beside / "config.json")
    copy_tokenizer(base, beside)
    for file in beside.iterdir():
        sync(file)
    try:
        beside.rename(folder)
    except OSError:
        # Another job was first.
        shutil.rmtree(beside, ignore_errors=True)
    sync(folder.parent)
    return folder


_SHARE = (_BITS + 2 * 16 / _GROUP) / 16
"""Of the size of 16-bit weights: 4 bits each, and a scale and an offset for each group."""


def _room(base: Path, to: Path) -> None:
    needed = int(_SHARE * sum(file.stat().st_size for file in base.glob("*.safetensors")))
    free = shutil.disk_usage(to).free
    if needed > free:
        raise UserError(
            f"{to}: the base model in 4 bits takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on the "
            "disk; make room, or name a base that is in 4 bits already",
            exit_code=3,
        )


def is_quantised(base: Path) -> bool:
    config = mlx_lm.utils.load_config(base)
    return "quantization" in config or "quantization_config" in config


def copy_tokenizer(base: Path, to: Path) -> None:
    """All of a model's folder but its weights, its configuration and its code."""
    for file in base.iterdir():
        weights = file.suffix in (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".py", ".md")
        if file.is_file() and not weights and file.name != "config.json" and not file.name.endswith(".index.json"):
            shutil.copyfile(file, to / file.name)


def sync(path: Path) -> None:
    """Return when a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stamp(base: Path) -> str:
    found = hashlib.sha256((base / "config.json").read_bytes())
    weights: Sequence[Path] = sorted(base.glob("*.safetensors"))
    for file in weights:
        stat = file.stat()
        found.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return found.hexdigest()[:12]
