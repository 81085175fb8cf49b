"""One tiny forward and backward on this machine."""

import importlib.util
import math
from typing import Any

import torch
from torch.nn import functional

from loopreview.train.cuda.load import keep_weights_as_they_are


def self_test() -> str:
    """Returns what was tried. Raises an exception where a gradient is wrong or nothing runs at all."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(0)
        inputs = torch.randn(8, 64, device=device)
        layer = torch.nn.Linear(64, 64, device=device)
        loss = functional.cross_entropy(layer(inputs), torch.arange(8, device=device))
        torch.autograd.backward(loss)
        if layer.weight.grad is None or not torch.isfinite(layer.weight.grad).all():
            raise RuntimeError(f"a linear layer's gradient on {device} is not a number")
        name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        if importlib.util.find_spec("bitsandbytes") is None:
            return f"forward and backward on {name}; bitsandbytes is not installed"
        error = four_bit_error(device, torch.randn(64, 64), inputs)
    if not error < 1e-3:
        raise RuntimeError(f"the gradient through a 4-bit layer on {device} is off by {error:.1%}")
    return f"forward and backward on {name}, also through a 4-bit layer"


def four_bit_error(device: str, weight: torch.Tensor, inputs: torch.Tensor, *, guard: bool = True) -> float:
    """How far, relatively, the gradient through an NF4 layer is from that through its own weights unpacked.

    `weight`: (out, in); `inputs`: (n, in). Measured after a forward without gradients, as training measures between
    its steps. `guard`: without bitsandbytes' rearranged weights.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    layer = Linear4bit(  # type: ignore[no-untyped-call]
        weight.shape[1], weight.shape[0], bias=False, compute_dtype=torch.float32, quant_type="nf4"
    )
    layer.weight = Params4bit(weight.clone(), requires_grad=False, quant_type="nf4", module=layer)
    layer = layer.to(device)
    packed: Any = layer.weight
    unpacked = dequantize_4bit(packed.data, packed.quant_state).float()
    if guard:
        keep_weights_as_they_are(layer)
    layer.eval()
    with torch.no_grad():
        layer(inputs)
    layer.train()
    given = inputs.clone().requires_grad_()
    torch.autograd.backward(layer(given).square().sum())
    expected = inputs.clone().requires_grad_()
    torch.autograd.backward((expected @ unpacked.T).square().sum())
    if given.grad is None or expected.grad is None:
        return math.inf
    return float((given.grad - expected.grad).norm() / expected.grad.norm())
