"""A tiny Llama or Qwen2 with random weights, built in a second: for demonstrations and tests, without a network."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loopreview.models.errors import UserError
from loopreview.tokens import tiny as tokenizer

Family = Literal["llama", "qwen2"]


def build(
    folder: Path,
    *,
    family: Family = "llama",
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    vocabulary: int = 300,
    positions: int = 32_768,
    seed: int = 0,
    template: str = tokenizer.TEMPLATE,
    text: str = tokenizer.TEXT,
) -> Path:
    """Write a model's folder as transformers and mlx-lm read it, with a tokenizer of about `vocabulary` pieces, and
    return it. The same arguments give the same weights (float32). Raises UserError without a trainer installed."""
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise UserError("no trainer is installed; `pip install 'loopreview[cuda]'` or `[mlx]`") from None
    tokenizer.build(folder, template=template, vocabulary=vocabulary, text=text)
    read = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in read["added_tokens"]} | read["model"]["vocab"]
    eos = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]
    size = max(ids.values()) + 1
    config = {
        "architectures": ["LlamaForCausalLM" if family == "llama" else "Qwen2ForCausalLM"],
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "vocab_size": size,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "max_position_embeddings": positions,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": ids[eos],
        "pad_token_id": ids["<|pad|>"],
        "torch_dtype": "float32",
        **({"attention_bias": False, "mlp_bias": False} if family == "llama" else {"use_sliding_window": False}),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generation = {"eos_token_id": ids[eos], "pad_token_id": ids["<|pad|>"]}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    save_file(_weights(config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _weights(config: dict[str, Any], seed: int) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    found: dict[str, Any] = {}

    def normal(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = dice.normal(0, 0.02, shape).astype(np.float32)

    def ones(name: str) -> None:
        found[f"{name}.weight"] = np.ones(hidden, np.float32)

    normal("model.embed_tokens", config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        here = f"model.layers.{layer}"
        ones(f"{here}.input_layernorm")
        ones(f"{here}.post_attention_layernorm")
        for name, width in (("q", hidden), ("k", keys), ("v", keys)):
            normal(f"{here}.self_attn.{name}_proj", width, hidden)
            if config["model_type"] == "qwen2":
                found[f"{here}.self_attn.{name}_proj.bias"] = np.zeros(width, np.float32)
        normal(f"{here}.self_attn.o_proj", hidden, hidden)
        normal(f"{here}.mlp.gate_proj", inner, hidden)
        normal(f"{here}.mlp.up_proj", inner, hidden)
        normal(f"{here}.mlp.down_proj", hidden, inner)
    ones("model.norm")
    normal("lm_head", config["vocab_size"], hidden)
    return found
