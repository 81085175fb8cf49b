"""Training with transformers, peft and trl, on an NVIDIA GPU or a CPU.

A resumed run has the weights, optimizer state, order of examples and random numbers of one that was never stopped. On a
CPU with as many threads it ends with the same bits. On a GPU not even two undisturbed runs do: the kernels of
attention's backward pass add up in whatever order their parts come.
"""

# The first of all, for it says how the libraries are to be imported.
from loopreview.train.cuda import surroundings  # noqa: F401
from loopreview.train.cuda.check import self_test
from loopreview.train.cuda.fit import train
from loopreview.train.cuda.merging import merge

__all__ = ["merge", "self_test", "train"]
