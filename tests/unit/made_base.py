"""A base model's folder for the planning tests: config, tokenizer, and the head of a safetensors file, no weights."""

import json
import struct
from pathlib import Path
from typing import Any

from loopreview.tokens import tiny

HIDDEN, LAYERS = 64, 2


def make_base(folder: Path, *, layers: tuple[str, ...] | None = None, config: Any = (), **tokenizer: Any) -> Path:
    """Write it and return the folder. `layers`: the linear layers of a block; `config`: keys of config.json to set, or
    with None to leave out; `tokenizer`: as `tiny.build` takes it."""
    tiny.build(folder, **tokenizer)
    found = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 700,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": False,
        **dict(config),
    }
    found = {key: value for key, value in found.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(found), encoding="utf-8")
    layers = layers or ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    names = [f"model.layers.{n}.part.{name}.weight" for n in range(LAYERS) for name in layers]
    shapes = {name: [HIDDEN, HIDDEN] for name in names}
    shapes |= {f"model.layers.{n}.input_layernorm.weight": [HIDDEN] for n in range(LAYERS)}
    shapes |= {f"model.layers.{n}.conv.weight": [HIDDEN, 1, 4] for n in range(LAYERS)}  # no linear layer
    shapes |= {"model.embed_tokens.weight": [700, HIDDEN], "lm_head.weight": [700, HIDDEN]}
    head = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    data = json.dumps({"__metadata__": {"format": "pt"}, **head}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    return folder
