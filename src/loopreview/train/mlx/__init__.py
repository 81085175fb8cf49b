"""The MLX backend: adapters trained with mlx-lm's models on Apple Silicon, or on a CPU.

The loop is our own. `mlx_lm.lora.run()` replaces the callback it is given, and `mlx_lm.tuner.trainer.train` evaluates
before its step, drops the last partial batch, averages the means of micro-batches, trains a token of padding per row,
clips no gradient, and cannot be resumed exactly.
"""

from loopreview.train.mlx.loop import train
from loopreview.train.mlx.merge import merge
from loopreview.train.mlx.selftest import self_test

__all__ = ["merge", "self_test", "train"]
