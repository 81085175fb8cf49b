"""What memory MLX has taken, what there is, and whether a long row will fit.

A row that does not fit does not always raise: MLX on a CPU ends the process, and so may a GPU that finds out late.
So shorter ones are tried first, and what the longest takes is told from them.
"""

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx

from loopreview.train.backend import OutOfMemory
from loopreview.train.rows import Row

_SHORT = 256
"""Tokens: rows no longer than that are not tried at a smaller length."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """MLX says in words alone that memory was short."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        words = str(error).lower()
        if any(word in words for word in ("alloc", "out of memory", "outofmemory", "insufficient memory")):
            raise OutOfMemory(str(error)) from error
        raise


def peak_memory() -> int:
    """Bytes: of MLX, or of the process where MLX does not count."""
    found = int(mx.get_peak_memory())
    if found:
        return found
    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kept if sys.platform == "darwin" else kept * 1024


def free_memory() -> int | None:
    """Bytes that may be taken on top of what is; none where the machine does not say."""
    if mx.default_device() == mx.gpu:
        most = mx.device_info().get("max_recommended_working_set_size")
        return int(most) - int(mx.get_active_memory()) if most else None
    found = []
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.strip().isdigit() and used:
        found.append(int(limit) - int(used))
    most, pages = resource.getrlimit(resource.RLIMIT_AS)[0], _text("/proc/self/statm")
    if most != resource.RLIM_INFINITY and pages:
        found.append(most - int(pages.split()[0]) * resource.getpagesize())
    return min(found) if found else None


def try_longest(rows: Sequence[Row], compute: Callable[[Sequence[Row]], None]) -> None:
    """Compute on the micro-batch that takes most memory. Raises OutOfMemory where that, or what it would take by the
    memory of its last quarter and its last half, is more than there is."""
    longest, free = max(len(row.ids) for row in rows), free_memory()
    if longest > _SHORT and free is not None:
        quarter = _taken(rows, longest // 4, compute)
        needed = 4 * quarter
        # Between 4 times that and, all of it being attention, 16 times. So a half fits where 4 times do.
        if needed <= free < 2 * 16 * quarter:
            half = _taken(rows, longest // 2, compute)
            squared = max(0, half - 2 * quarter) // 2
            needed = 16 * squared + 4 * (quarter - squared)
        if needed > free:
            raise OutOfMemory(
                f"a row of {longest} tokens takes {needed / 1e9:.1f} GB or more, {free / 1e9:.1f} GB are free"
            )
    compute(rows)


def _taken(rows: Sequence[Row], length: int, compute: Callable[[Sequence[Row]], None]) -> int:
    """Bytes that the ends of the rows take; a row's end is what is supervised."""
    mx.clear_cache()
    before = int(mx.get_active_memory())
    mx.reset_peak_memory()
    compute([Row(row.ids[-length:], row.labels[-length:]) for row in rows])
    return max(0, int(mx.get_peak_memory()) - before)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
