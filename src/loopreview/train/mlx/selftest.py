"""One tiny forward and backward pass on this machine."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers
from mlx_lm.tuner.lora import LoRALinear


def self_test() -> str:
    """An adapter on a layer in 4 bits takes a step. Returns what was tried; raises RuntimeError where the result is
    wrong, and whatever MLX raises where it does not run."""
    mx.random.seed(0)
    plain = nn.Linear(64, 64, bias=False)
    layer = LoRALinear.from_base(nn.QuantizedLinear.from_linear(plain, 64, 4), r=4, scale=2.0)
    layer.linear.freeze()
    x = mx.random.normal((8, 64))
    apart = float(mx.abs(layer(x) - plain(x)).max().item())
    if apart > 0.5:
        raise RuntimeError(f"a layer in 4 bits computes something else than the layer it was made of ({apart:.2f} off)")
    optimizer = mlx.optimizers.AdamW(learning_rate=1e-2, bias_correction=True)
    step = nn.value_and_grad(layer, lambda: mx.square(layer(x)).mean())
    losses = []
    for _ in range(5):
        loss, gradient = step()
        optimizer.update(layer, gradient)
        losses.append(float(loss.item()))
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"the loss of a tiny layer did not fall ({losses[0]:.4f} to {losses[-1]:.4f})")
    device = "Apple GPU" if mx.default_device() == mx.gpu else "CPU"
    return f"forward and backward through a 4-bit layer with an adapter, on the {device}"
