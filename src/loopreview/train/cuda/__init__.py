"""Training with transformers, peft and trl, on an NVIDIA GPU or a CPU."""

from loopreview.train.cuda.check import self_test
from loopreview.train.cuda.fit import train
from loopreview.train.cuda.merging import merge

__all__ = ["merge", "self_test", "train"]
