"""What lies about on a machine and must not reach a run: settings of other programs, and code from the Hub."""

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_PREFIXES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "OMPI_", "PMI_", "MV2_")
"""Of accelerate, which takes precision, device, DeepSpeed and sharding from them; and of MPI, by which it counts
processes."""
_NAMES = frozenset(
    # A launcher's: with them a single process would wait for others.
    {"WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"}
    # With it transformers reports to a server that no plan names.
    | {"KUBEFLOW_TRAINER_SERVER_URL"}
)
# A tracker that the plan names gets numbers, not the weights.
_ANSWERS = {"WANDB_LOG_MODEL": "false", "HF_MLFLOW_LOG_ARTIFACTS": "false"}


@contextmanager
def alone() -> Iterator[None]:
    """The plan alone decides: variables by which others would, are not there meanwhile. And no warnings about what
    libraries will do in the future: they are for who writes this program."""
    before = dict(os.environ)
    for name in before:
        if name in _NAMES or name.startswith(_PREFIXES):
            del os.environ[name]
    os.environ.update(_ANSWERS)
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        for name in [name for name in os.environ if name not in before]:
            del os.environ[name]
        os.environ.update(before)


def import_bitsandbytes() -> None:
    """As it is imported on a CPU with AVX512-BF16 it would download and load a compiled kernel from the Hub, where
    `kernels` is installed, and warn where it is not. Training has no use for it."""
    if "bitsandbytes" in sys.modules or importlib.util.find_spec("bitsandbytes") is None:
        return
    log = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level, hidden = log.level, "kernels" not in sys.modules
    log.setLevel(logging.ERROR)
    if hidden:
        sys.modules["kernels"] = None  # type: ignore[assignment]  # to the import system: is not installed
    try:
        import bitsandbytes  # noqa: F401
    except Exception:  # each installation breaks in its own way; the one who needs it says so
        logging.getLogger(__name__).debug("bitsandbytes", exc_info=True)
    finally:
        log.setLevel(level)
        if hidden:
            del sys.modules["kernels"]


import_bitsandbytes()
