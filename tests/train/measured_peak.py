"""Measure what one training step of a random-weight model takes: `python measured_peak.py JSON`, JSON on stdout.

{backend: cuda|mlx, adapter, precision, gradient_checkpointing, dora, batch, max_length, targets, dropout, config: {…}}
-> {peak, parameters, trainable, kept}: bytes above what the process had before the model was there (`peak`), and of
the tensors that the forward pass kept (`kept`, torch without gradient checkpointing only). A script of its own, since
a peak is a process's.
"""

import ctypes
import json
import os
import re
import sys
from pathlib import Path
from typing import Any


def resident(name: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure_torch(point: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    config = dict(point["config"])
    config = AutoConfig.for_model(config.pop("model_type"), **config)
    bf16 = point["precision"] == "bf16"
    small = AutoConfig.for_model("llama", hidden_size=64, intermediate_size=64, num_hidden_layers=1, vocab_size=64)
    libraries: Any = None
    if point["adapter"] != "full":
        import bitsandbytes
        import peft

        libraries = (bitsandbytes, peft)

    def built(config: Any) -> Any:
        # Trained weights are fp32; frozen ones of the precision of the computation.
        dtype = torch.bfloat16 if bf16 and point["adapter"] != "full" else torch.float32
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
        if point["adapter"] == "full":
            return model
        bitsandbytes, peft = libraries
        if point["adapter"] == "qlora":
            _quantise(model, bitsandbytes, dtype)
        targets = [name for name in point["targets"] if any(part.endswith(name) for part, _ in model.named_modules())]
        model = peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=point["rank"],
                lora_alpha=32,
                lora_dropout=point["dropout"],
                use_dora=point["dora"],
                target_modules=targets,
                task_type="CAUSAL_LM",
            ),
            autocast_adapter_dtype=True,
        )
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        return model

    def steps(model: Any, batch: int, length: int, vocabulary: int, count: int) -> None:
        if point["gradient_checkpointing"]:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        model.train()
        optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
        share = point["supervised"]
        for _ in range(count):
            for _ in range(2):
                ids = torch.randint(0, vocabulary, (batch, length))
                labels = ids.clone()
                labels[:, : int(length * (1 - share))] = -100
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss(model, ids, labels, share < 1).backward()
            optimizer.step()
            optimizer.zero_grad()

    def loss(model: Any, ids: Any, labels: Any, sliced: bool) -> Any:
        if not sliced:
            return model(input_ids=ids, labels=labels, use_cache=False).loss
        decoder = model.base_model.model if libraries else model
        hidden = decoder.model(input_ids=ids, use_cache=False).last_hidden_state
        shifted = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
        kept = shifted != -100
        logits = decoder.lm_head(hidden[kept]).float()
        return torch.nn.functional.cross_entropy(logits, shifted[kept])

    steps(built(small), 1, 64, 64, 1)
    kept: list[Any] = []
    before = resident("VmRSS")
    model = built(config)
    _trim()
    reset_peak()
    steps(model, point["batch"], point["max_length"], config.vocab_size, 2)
    peak = resident("VmHWM") - before
    if point.get("explain"):
        ids = torch.zeros((point["batch"], point["max_length"]), dtype=torch.long)
        kept = _kept(lambda: loss(model, ids, ids, False), model)
    count = sum(weight.numel() for weight in model.parameters())
    return {"peak": peak, "parameters": count, "trainable": _trainable(model), "kept": kept}


def _trainable(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def _trim() -> None:
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _quantise(model: Any, bitsandbytes: Any, dtype: Any) -> None:
    """NF4 with double quantisation for every linear layer but the output layer, as transformers does it."""
    import torch

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            new = bitsandbytes.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=module.bias is not None,
                compute_dtype=dtype,
                compress_statistics=True,
                quant_type="nf4",
            )
            new.weight = bitsandbytes.nn.Params4bit(
                module.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
            )
            new.bias = module.bias
            new = new.to("cpu")
            new.support_avx512bf16_for_cpu = False
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], new)
    for weight in model.parameters():
        weight.requires_grad = False


def _kept(run: Any, model: Any) -> list[Any]:
    """(shape, dtype, bytes, times) of what autograd saves, weights and second views of the same memory left out."""
    import collections

    import torch

    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    seen: dict[int, tuple[str, int]] = {}
    alive = []

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = (f"{tuple(tensor.shape)} {tensor.dtype}", storage.nbytes())
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    counts = collections.Counter(seen.values())
    return sorted(([*what, times] for what, times in counts.items()), key=lambda row: -row[1] * row[2])


def measure_mlx(point: dict[str, Any]) -> dict[str, Any]:
    from functools import partial

    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim
    from mlx.utils import tree_flatten, tree_map
    from mlx_lm.tuner.trainer import grad_checkpoint
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import _get_classes

    mx.random.seed(0)
    config = dict(point["config"])
    kind, args = _get_classes(config)
    model = kind(args.from_dict(config))
    dtype = mx.bfloat16 if point["precision"] == "bf16" else mx.float32
    model.set_dtype(dtype)
    if point["adapter"] == "qlora":
        nn.quantize(model, group_size=64, bits=4)
    model.freeze()
    targets = {name for name, _ in model.layers[0].named_modules() if name.rpartition(".")[2] in point["targets"]}
    linear_to_lora_layers(
        model,
        len(model.layers),
        {"rank": point["rank"], "scale": 2.0, "dropout": point["dropout"], "keys": list(targets)},
        use_dora=point["dora"],
    )
    mx.eval(model.parameters())
    if point["gradient_checkpointing"]:
        grad_checkpoint(model.layers[0])
    optimizer = optim.AdamW(learning_rate=1e-4)
    share = point["supervised"]

    def loss(model: Any, ids: Any) -> Any:
        if share < 1:
            start = int((ids.shape[1] - 1) * (1 - share))
            hidden = model.model(ids[:, :-1])[:, start:]
            logits = model.model.embed_tokens.as_linear(hidden) if args.tie_word_embeddings else model.lm_head(hidden)
            return nn.losses.cross_entropy(logits.astype(mx.float32), ids[:, 1 + start :]).mean()
        return nn.losses.cross_entropy(model(ids[:, :-1]).astype(mx.float32), ids[:, 1:]).mean()

    graded = nn.value_and_grad(model, loss)
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(ids: Any, earlier: Any, update: bool) -> Any:
        value, grad = graded(model, ids)
        if earlier is not None:
            grad = tree_map(lambda x, y: x + y, grad, earlier)
        if update:
            optimizer.update(model, grad)
            grad = None
        return value, grad

    model.train()
    mx.clear_cache()
    mx.reset_peak_memory()
    for _ in range(2):
        earlier = None
        for update in (False, True):
            ids = mx.random.randint(0, config["vocab_size"], (point["batch"], point["max_length"] + 1))
            value, earlier = step(ids, earlier, update)
            mx.eval(state, value, earlier)
    count = sum(value.size for _, value in tree_flatten(model.parameters()))
    trainable = sum(value.size for _, value in tree_flatten(model.trainable_parameters()))
    return {"peak": mx.get_peak_memory(), "parameters": count, "trainable": trainable, "kept": []}


if __name__ == "__main__":
    asked = {
        "adapter": "lora", "precision": "fp32", "gradient_checkpointing": False, "dora": False, "batch": 1, "rank": 16,
        "dropout": 0.05, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"], "supervised": 1.0,
        **json.loads(sys.argv[1]),
    }  # fmt: skip
    measure = measure_torch if asked["backend"] == "cuda" else measure_mlx
    print(json.dumps(measure(asked)))
