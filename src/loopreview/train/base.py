"""The model that training starts from: found, looked at, and refused early where it cannot be trained."""

import json
import math
import struct
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError
from loopreview.tokens import hub
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.train import memory

INDEX = "model.safetensors.index.json"
"""Names the file of each tensor, where the weights are in several."""
_LOOKED_AT = (*hub.FILES, "config.json", INDEX)
_TRAINED_ON = (
    *_LOOKED_AT,
    "generation_config.json",
    "*.safetensors",
    "*.model",
    "*.txt",
    "*.jinja",
    "added_tokens.json",
)
_HEADER = 100_000_000
"""Bytes; the safetensors library refuses a header that is longer."""


class Base:
    """A base model's config and tokenizer; its weights are not read.

    `reference`: the absolute folder, or the name on the Hub. `folder`: where config and tokenizer lie.
    """

    def __init__(self, reference: str, folder: Path, config: Mapping[str, Any], tokenizer: ChatTokenizer) -> None:
        self.reference, self.folder, self.config, self.tokenizer = reference, folder, dict(config), tokenizer

    @classmethod
    def open(cls, reference: str) -> "Base":
        """From a folder, or the Hub. Raises UserError for what cannot be trained, and says why."""
        local = hub.local(reference)
        if local is None:
            folder, name = hub.fetched(reference, _LOOKED_AT), reference
        else:
            folder = local.absolute()
            name = str(folder)
        config = _config(folder, name, weights_here=local is not None)
        return cls(name, folder, config, ChatTokenizer.load(folder, name=None if local else reference))

    @property
    def name(self) -> str:
        """For a run's name and for people: the last part of the reference."""
        return self.reference.rstrip("/").rsplit("/", 1)[-1]

    @property
    def positions(self) -> int | None:
        """The most tokens that the model can take, where its config says so."""
        for key in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
            found = self.config.get(key)
            if isinstance(found, int) and found > 0:
                return found
        return None

    @property
    def quantised(self) -> bool:
        """Whether its weights are in fewer bits already, as MLX writes them."""
        return bool(self.config.get("quantization"))

    @cached_property
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Name → shape of every tensor; an empty shape where only the name is known, nothing where not even that is
        (a model of the Hub in one file that is not here)."""
        found: dict[str, tuple[int, ...]] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            found |= _header(file)
        index = self.folder / INDEX
        if not found and index.is_file():
            names = _json(index).get("weight_map")
            found = dict.fromkeys(names, ()) if isinstance(names, dict) else {}
        return found

    @cached_property
    def parameters(self) -> int:
        """How many weights it has: counted, else reckoned from the config. Raises UserError where neither can be."""
        if self.tensors and all(self.tensors.values()):
            return sum(math.prod(shape) for shape in self.tensors.values())
        return memory.shape(self.config).parameters

    @cached_property
    def linear_layers(self) -> tuple[str, ...]:
        """The names of the linear layers in its blocks (`q_proj`, …): of the weights, else as the config's family has
        them."""
        names: dict[str, None] = {}
        for tensor, shape in self.tensors.items():
            parts = tensor.split(".")
            inside = any(part.isdigit() for part in parts)
            if inside and parts[-1] == "weight" and len(shape) in (0, 2) and "norm" not in parts[-2]:
                names[parts[-2]] = None
        return tuple(names or memory.shape(self.config).linears)


def fetch(reference: str) -> Path:
    """The folder with all that training needs; from the Hub what is not here yet. Weights as safetensors alone.

    Raises UserError where they come in no such file.
    """
    local = hub.local(reference)
    folder = local.absolute() if local else hub.fetched(reference, _TRAINED_ON)
    _config(folder, reference, weights_here=True)
    return folder


def _config(folder: Path, name: str, *, weights_here: bool) -> dict[str, Any]:
    """Of a model that can be trained. Raises UserError."""
    file = folder / "config.json"
    gguf = any(folder.glob("*.gguf"))
    if not file.is_file():
        why = (
            "holds GGUF files, which are made for running a model; name the folder or Hub model they were made from"
            if gguf
            else "no config.json in it; name the folder of a whole model"
        )
        raise UserError(f"{name}: {why}")
    config = _json(file)
    architectures = config.get("architectures")
    named = [one for one in architectures if isinstance(one, str)] if isinstance(architectures, list) else []
    if not any(one.endswith(("ForCausalLM", "LMHeadModel")) for one in named):
        raise UserError(
            f"{name}: {', '.join(named) or 'a config.json without an architecture'} is no causal language model, which "
            "is what can be trained; name one whose architecture ends with ForCausalLM"
        )
    if config.get("auto_map") and not _known(str(config.get("model_type", ""))):
        raise UserError(
            f"{name}: needs code of its own (`auto_map` in config.json), which is never run; name a model whose "
            "architecture the trainer knows"
        )
    if config.get("quantization_config") and not config.get("quantization"):
        raise UserError(f"{name}: its weights are quantised already; name the model it was made from")
    if weights_here and not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
            why = "has its weights as pickle files only: pickle files are not read; convert to safetensors"
        elif gguf:
            why = "has its weights as GGUF only; name the folder or Hub model it was made from"
        else:
            why = "has no weights (*.safetensors); name the folder of a whole model"
        raise UserError(f"{name}: {why}")
    return config


def _known(model_type: str) -> bool:
    """Whether an installed trainer has this architecture itself, so that a model's own code is not needed. Looks at
    the libraries' files; nothing is imported."""
    places = {"transformers": ("models/{}",), "mlx_lm": ("models/{}.py",)}
    if not model_type.replace("_", "").replace("-", "").isalnum():
        return False
    for library, shapes in places.items():
        spec = find_spec(library)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if any((Path(place) / shape.format(model_type.replace("-", "_"))).exists() for shape in shapes):
                return True
    return False


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape, from the head of a safetensors file: 8 bytes of length, then JSON."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > _HEADER:
                raise ValueError("header too long")
            found = json.loads(opened.read(length))
        return {name: tuple(about["shape"]) for name, about in found.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: is no safetensors file; fetch the model again") from None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    return found if isinstance(found, dict) else {}
