"""What this machine can train on: its backends, devices, packages, disk and keys.

Neither torch nor mlx is imported here: that takes seconds, and a broken installation would take this process with it.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from loopreview.models.training import Backend
from loopreview.models.training import Device as Kind

TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "trl": "1.16.0",
    "bitsandbytes": "0.50.2",
    "datasets": "5.2.0",
    "accelerate": "1.15.0",
    "mlx": "0.32.4",
    "mlx-lm": "0.32.2",
}
"""The versions this program was tested with. An older one is refused, as pip would."""
NEEDS: dict[Backend, tuple[str, ...]] = {
    "cuda": ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "accelerate"),
    "mlx": ("mlx", "mlx-lm"),
}
KEYS = (
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "HF_TOKEN",
    "MLFLOW_TRACKING_URI",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "WANDB_API_KEY",
)
"""Looked for in the environment, with every other name that ends in `_API_KEY`."""
SELF_TEST_SECONDS = 180
"""Loading torch from a cold disk alone can take a minute."""
_TRY_OUT = "slow; for trying out"


class Device(NamedTuple):
    """Something to train on. `memory` and `free` are in bytes."""

    kind: Kind
    name: str
    memory: int
    free: int
    compute: float | None = None
    """Compute capability of an NVIDIA GPU; it has bf16 from 8.0 on."""


class Ready(NamedTuple):
    """Whether a backend can train here, why in a sentence, and the one command that mends it, if there is one."""

    ready: bool
    why: str
    fix: str | None
    device: Device | None


class Machine(NamedTuple):
    python: str
    backends: dict[Backend, Ready]
    devices: list[Device]
    """GPUs first, the CPU last."""
    packages: dict[str, str | None]
    """Installed versions of all in TESTED; None where not installed."""
    disk_free: int
    """Bytes, where `root` is."""
    keys: dict[str, bool]
    """Environment variables by name: is one set? Values are never kept."""


def look(root: Path, *, self_test: bool = False) -> Machine:
    """What is here now. With `self_test` each backend that looks ready does one tiny forward and backward, in a
    process of its own; that takes seconds to a minute. Raises nothing for what is missing or broken."""
    packages = {name: _installed(name) for name in TESTED}
    cpu = _cpu()
    gpus, trouble = _nvidia(cpu)
    metal = _metal(cpu)
    backends: dict[Backend, Ready] = {"cuda": _cuda(packages, gpus, trouble, cpu), "mlx": _mlx(packages, metal, cpu)}
    if self_test:
        with ThreadPoolExecutor() as pool:
            tested = {name: pool.submit(_tested, name, found) for name, found in backends.items()}
        backends = {name: future.result() for name, future in tested.items()}
    return Machine(
        python=platform.python_version(),
        backends=backends,
        devices=[*gpus, *metal, cpu],
        packages=packages,
        disk_free=_disk(root),
        keys=_keys(os.environ),
    )


def against_tested(name: str, version: str) -> Literal["as tested", "newer", "older"]:
    """How an installed version stands to the tested one."""
    here, tested = _numbers(version), _numbers(TESTED[name])
    return "as tested" if here == tested else "newer" if here > tested else "older"


def _numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` -> (2, 13, 0); what follows the numbers does not count."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    return tuple(numbers + [0] * (3 - len(numbers)))


def _installed(name: str) -> str | None:
    try:
        # None for a damaged installation without a version.
        return importlib.metadata.version(name) or None
    except importlib.metadata.PackageNotFoundError:
        return None


# Backends


def _cuda(packages: Mapping[str, str | None], gpus: list[Device], trouble: "_Trouble | None", cpu: Device) -> Ready:
    lacking = _lacking("cuda", packages)
    if lacking:
        return lacking
    if not gpus:
        if trouble:
            return Ready(True, f"on the CPU ({_TRY_OUT}): {trouble.text}", trouble.fix, cpu)
        return Ready(True, f"on the CPU ({_TRY_OUT}): there is no NVIDIA GPU", None, cpu)
    version = packages["torch"] or ""
    if version.endswith("+cpu"):
        # The registry's build for Linux is the one with CUDA; pip would not replace an equal version by itself.
        fix = f"pip install --force-reinstall torch=={TESTED['torch']}"
        return Ready(False, f"torch {version} is built for CPUs, and there is an NVIDIA GPU: {gpus[0].name}", fix, None)
    return Ready(True, f"on {gpus[0].name}", None, gpus[0])


def _mlx(packages: Mapping[str, str | None], metal: list[Device], cpu: Device) -> Ready:
    if platform.system() == "Darwin" and not metal:
        return Ready(False, "MLX needs Apple Silicon; this Mac has an Intel processor", None, None)
    lacking = _lacking("mlx", packages)
    if lacking:
        return lacking
    if metal:
        return Ready(True, f"on {metal[0].name}", None, metal[0])
    return Ready(True, f"on the CPU ({_TRY_OUT}): there is no Apple Silicon", None, cpu)


def _lacking(backend: Backend, packages: Mapping[str, str | None]) -> Ready | None:
    versions = {name: packages[name] for name in NEEDS[backend]}
    missing = [name for name, version in versions.items() if version is None]
    if backend == "mlx" and not missing and platform.system() == "Linux":
        # On Linux the package `mlx` has no computation of its own.
        missing = [] if any(_installed(f"mlx-{kind}") for kind in ("cpu", "cuda-12", "cuda-13")) else ["mlx-cpu"]
    if missing:
        return Ready(False, f"not installed: {', '.join(missing)}", f"pip install 'loopreview[{backend}]'", None)
    old = [
        f"{name} {version} (needs {TESTED[name]})"
        for name, version in versions.items()
        if version and against_tested(name, version) == "older"
    ]
    if old:
        return Ready(False, f"too old: {', '.join(old)}", f"pip install --upgrade 'loopreview[{backend}]'", None)
    return None


def _tested(backend: Backend, found: Ready) -> Ready:
    if not found.ready:
        return found
    code = f"from loopreview.train.backend import trainer; print(trainer({backend!r}).self_test())"
    # Tiny matrices: a second thread only costs time. -P: a file of the current folder is no package.
    env = {"OMP_NUM_THREADS": "1", **os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    # Files, not pipes: what the process may leave running cannot keep us waiting.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            code_left = subprocess.run(
                [sys.executable, "-P", "-c", code], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env,
                timeout=SELF_TEST_SECONDS,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return found._replace(ready=False, why=f"the self-test took over {SELF_TEST_SECONDS} s", fix=None)
        except OSError as error:
            return found._replace(ready=False, why=f"the self-test did not start: {error}", fix=None)
        out.seek(0)
        err.seek(0)
        said, wrong = _last_line(out.read()), _last_line(err.read())
    if code_left == 0:
        return found._replace(why=f"{found.why}; tried: {said}" if said else found.why)
    why = wrong or (f"ended by signal {-code_left}" if code_left < 0 else f"exit code {code_left}")
    return found._replace(ready=False, why=f"the self-test failed: {why}", fix=None)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


# Devices


class _Trouble(NamedTuple):
    """Why a card that is there cannot be used."""

    text: str
    fix: str | None


def _nvidia(cpu: Device) -> tuple[list[Device], _Trouble | None]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in nvidia-smi's order."""
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if tool is None:
        if _card_on_bus():
            return [], _Trouble("an NVIDIA card is there, its driver is not (no nvidia-smi)", _driver_fix())
        return [], None
    columns = "name,memory.total,memory.free,compute_cap,uuid"
    said = _output([tool, f"--query-gpu={columns}", "--format=csv,noheader,nounits"])
    if said is None:
        return [], _Trouble("nvidia-smi does not answer, so the driver does not work", _driver_fix())
    cards = [card for line in said.splitlines() if (card := _card(line, cpu))]
    if not cards:
        return [], None
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = cards if wanted is None else _visible(cards, wanted, tool)
    if not chosen:
        return [], _Trouble(f"CUDA_VISIBLE_DEVICES={wanted!r} hides the NVIDIA GPU", "unset CUDA_VISIBLE_DEVICES")
    return [device for device, _ in chosen], None


def _card(line: str, cpu: Device) -> tuple[Device, str] | None:
    """(GPU, its UUID) of a line of nvidia-smi; None where the line is none."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) < 4 or not cells[0] or cells[0].startswith("["):
        return None
    name, total, free, compute, uuid, *_ = [*cells, ""]
    # A GPU that shares the memory of the machine reports "[N/A]".
    memory = int(total) << 20 if total.isdecimal() else cpu.memory
    left = int(free) << 20 if free.isdecimal() else min(memory, cpu.free)
    capability = float(compute) if re.fullmatch(r"\d+(\.\d+)?", compute) else None
    return Device("cuda", name, memory, left, capability), uuid


def _visible(cards: list[tuple[Device, str]], wanted: str, tool: str) -> list[tuple[Device, str]]:
    """As CUDA reads the variable: numbers, or beginnings of UUIDs; the first that is wrong ends the list."""
    chosen = []
    for entry in (part.strip() for part in wanted.split(",")):
        if entry.isdecimal() and int(entry) < len(cards):
            chosen.append(cards[int(entry)])
        elif entry.startswith("GPU-") and any(uuid.startswith(entry) for _, uuid in cards):
            chosen.append(next(card for card in cards if card[1].startswith(entry)))
        elif entry.startswith("MIG-") and (part := _mig(entry, cards, tool)):
            chosen.append(part)
        else:
            break
    return chosen


def _mig(uuid: str, cards: list[tuple[Device, str]], tool: str) -> tuple[Device, str] | None:
    """A part of a GPU; its profile (`3g.40gb`) says how much memory it has."""
    card = None
    for line in (_output([tool, "-L"]) or "").splitlines():
        if owner := re.search(r"UUID: (GPU-[^)]+)", line):
            card = next((device for device, known in cards if known == owner[1]), None)
        found = re.search(r"MIG (\d+g\.(\d+)gb\S*).*UUID: (MIG-[^)]+)", line)
        if card and found and found[3].startswith(uuid):
            memory = int(found[2]) << 30
            return card._replace(name=f"{card.name} MIG {found[1]}", memory=memory, free=memory), found[3]
    return None


def _card_on_bus() -> bool:
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        # 0x03: display controllers, those without a display included.
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _driver_fix() -> str:
    if shutil.which("ubuntu-drivers"):
        return "sudo ubuntu-drivers install"
    return "install NVIDIA's driver: https://www.nvidia.com/drivers"


def _metal(cpu: Device) -> list[Device]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    # Metal works well with two thirds of a small memory, three quarters of a large one (its
    # recommendedMaxWorkingSetSize).
    working_set = cpu.memory * 2 // 3 if cpu.memory <= 36 << 30 else cpu.memory * 3 // 4
    return [Device("metal", cpu.name, cpu.memory, min(cpu.free, working_set))]


def _cpu() -> Device:
    if platform.system() == "Darwin":
        total = int(_sysctl("hw.memsize") or 0)
        return Device("cpu", _sysctl("machdep.cpu.brand_string") or platform.machine(), total, _mac_free(total))
    meminfo = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE))
    total = int(meminfo.get("MemTotal", 0)) << 10 or _sysconf("SC_PHYS_PAGES")
    free = int(meminfo.get("MemAvailable", 0)) << 10 or _sysconf("SC_AVPHYS_PAGES") or total
    for limit, used in _cgroup_limits():
        total, free = min(total, limit), min(free, max(0, limit - used))
    name = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return Device("cpu", name[1].strip() if name else platform.machine() or "CPU", total, min(free, total))


def _mac_free(total: int) -> int:
    said = _output(["vm_stat"]) or ""
    size = re.search(r"page size of (\d+) bytes", said)
    pages = dict(re.findall(r"^Pages ([\w ]+):\s+(\d+)\.", said, re.MULTILINE))
    counted = sum(int(pages.get(kind, 0)) for kind in ("free", "inactive", "speculative", "purgeable"))
    return min(total, counted * int(size[1])) if size else total


def _cgroup_limits(
    proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> list[tuple[int, int]]:
    """(limit, used) in bytes of this process's control group and of each above it; those without a limit left out.

    A container may see its own group's path, or the root with its group mounted there: both are tried.
    """
    found = []
    for line in _text(proc).splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            base, names = mount, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = mount / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.strip("/")
        folders = [group, *(parent for parent in group.parents if parent.is_relative_to(base))]
        for folder in dict.fromkeys([*folders, base]):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            # "max", or in version 1 a number near 2**63, is no limit.
            if not limit.isdecimal() or int(limit) >= 1 << 60:
                continue
            cache = re.search(rf"^{names[2]} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            # Pages of files that nobody uses just now are given back when memory is short.
            found.append((int(limit), max(0, int(used or 0) - int(cache[1] if cache else 0))))
    return found


def _sysconf(name: str) -> int:
    try:
        return max(0, os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return 0


def _sysctl(name: str) -> str | None:
    return (_output(["sysctl", "-n", name]) or "").strip() or None


def _output(command: list[str]) -> str | None:
    """What a small tool prints; None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# Disk and keys


def _disk(root: Path) -> int:
    """Free bytes at `root`, or at the nearest folder above it that exists."""
    root = root.absolute()
    for folder in (root, *root.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return 0


def _keys(environment: Mapping[str, str]) -> dict[str, bool]:
    names = {*KEYS, *(name for name in environment if name.endswith("_API_KEY"))}
    return {name: bool(environment.get(name, "").strip()) for name in sorted(names)}
