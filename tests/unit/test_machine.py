"""What a machine has, read from the tools and files that say so: real ones, and ones put in their place."""

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loopreview.train import machine
from loopreview.train.machine import TESTED, Device, against_tested, look

GIB = 1 << 30
CARD = "NVIDIA L4, 23034, 22500, 8.9, GPU-aaaa1111"
SECOND = "NVIDIA A100-SXM4-80GB, 81920, 80000, 8.0, GPU-bbbb2222"


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Every package as tested, whatever is installed where the tests run; and no GPU of the machine's own."""
    versions: dict[str, str | None] = {**TESTED, "mlx-cpu": TESTED["mlx"]}
    monkeypatch.setattr(machine, "_installed", lambda name: versions.get(name))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(machine, "_card_on_bus", lambda: False)
    return versions


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program in the path that prints this."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, body: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    return make


def printing(*lines: str) -> str:
    return "\n".join(f"echo '{line}'" for line in lines)


def test_an_nvidia_gpu_is_found_with_its_memory(tool, tmp_path):
    tool("nvidia-smi", printing(CARD))
    found = look(tmp_path)
    gpu = Device("cuda", "NVIDIA L4", 23034 << 20, 22500 << 20, 8.9)
    assert found.devices[0] == gpu and found.devices[-1].kind == "cpu"
    assert found.backends["cuda"] == (True, "on NVIDIA L4", None, gpu)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("0", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA A100-SXM4-80GB", "NVIDIA L4"]),
        ("GPU-bbbb", ["NVIDIA A100-SXM4-80GB"]),
        ("1,7,0", ["NVIDIA A100-SXM4-80GB"]),
        ("", []),
        ("-1", []),
    ],
)
def test_only_the_gpus_that_the_variable_leaves_are_there(tool, tmp_path, monkeypatch, wanted, names):
    tool("nvidia-smi", printing(CARD, SECOND))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    found = look(tmp_path)
    assert [device.name for device in found.devices if device.kind == "cuda"] == names
    if not names:
        why = found.backends["cuda"]
        assert why.ready and "CUDA_VISIBLE_DEVICES" in why.why and why.fix == "unset CUDA_VISIBLE_DEVICES"


def test_a_part_of_a_gpu_has_the_memory_of_its_profile(tool, tmp_path, monkeypatch):
    listing = printing(
        "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-bbbb2222)",
        "  MIG 3g.40gb     Device  0: (UUID: MIG-11-22)",
        "  MIG 1g.10gb     Device  1: (UUID: MIG-33-44)",
    )
    tool("nvidia-smi", f'if [ "$1" = -L ]; then\n{listing}\nelse\n{printing(SECOND)}\nfi')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-33-44")
    gpu = look(tmp_path).devices[0]
    assert (gpu.kind, gpu.memory) == ("cuda", 10 * GIB) and "1g.10gb" in gpu.name


@pytest.mark.parametrize(
    "body", ["exit 9", printing("No devices were found"), printing("", "what, is, this"), "printf '\\377\\376'"]
)
def test_a_tool_that_fails_or_says_something_odd_is_no_crash(tool, tmp_path, body):
    tool("nvidia-smi", body)
    found = look(tmp_path)
    assert [device.kind for device in found.devices] == ["cpu"]
    assert found.backends["cuda"].ready and "CPU" in found.backends["cuda"].why


def test_a_tool_that_hangs_is_given_up(tool, tmp_path, monkeypatch):
    tool("nvidia-smi", "exec sleep 60")
    real = subprocess.run
    monkeypatch.setattr(machine.subprocess, "run", lambda *args, **more: real(*args, **{**more, "timeout": 0.5}))
    found = look(tmp_path).backends["cuda"]
    assert "nvidia-smi does not answer" in found.why and "driver" in (found.fix or "")


def test_memory_that_a_gpu_shares_with_the_machine_is_the_machines(tool, tmp_path):
    tool("nvidia-smi", printing("NVIDIA GB10, [N/A], [N/A], 12.1, GPU-cccc"))
    gpu, cpu = look(tmp_path).devices
    assert gpu.kind == "cuda" and gpu.memory == cpu.memory and gpu.compute == 12.1


def test_a_card_without_a_driver_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_card_on_bus", lambda: True)
    found = look(tmp_path).backends["cuda"]
    assert found.ready and "driver" in found.why and "driver" in (found.fix or "")


def test_torch_for_cpus_beside_a_gpu_is_not_ready(tool, tmp_path, all_installed):
    tool("nvidia-smi", printing(CARD))
    all_installed["torch"] = "2.13.0+cpu"
    found = look(tmp_path).backends["cuda"]
    assert (
        not found.ready and "NVIDIA L4" in found.why and (found.fix or "").startswith("pip install --force-reinstall")
    )


def test_torch_for_cpus_without_a_gpu_is_for_trying_out(tmp_path, all_installed):
    all_installed["torch"] = "2.13.0+cpu"
    found = look(tmp_path).backends["cuda"]
    assert found.ready and "for trying out" in found.why and found.device and found.device.kind == "cpu"


def test_missing_packages_are_named_with_the_one_command(tmp_path, all_installed):
    all_installed["trl"] = all_installed["peft"] = all_installed["mlx-lm"] = None
    found = look(tmp_path)
    assert found.backends["cuda"] == (False, "not installed: peft, trl", "pip install 'loopreview[cuda]'", None)
    assert found.backends["mlx"].fix == "pip install 'loopreview[mlx]'" and not found.backends["mlx"].ready
    assert found.packages["trl"] is None and found.packages["torch"] == TESTED["torch"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere mlx is one package")
def test_mlx_on_linux_needs_the_part_that_computes(tmp_path, all_installed):
    all_installed["mlx-cpu"] = None
    found = look(tmp_path).backends["mlx"]
    assert not found.ready and "mlx-cpu" in found.why


def test_a_package_that_is_too_old_is_not_ready_and_a_newer_one_is(tmp_path, all_installed):
    all_installed["trl"] = "1.9.3"
    found = look(tmp_path).backends["cuda"]
    assert not found.ready and "trl 1.9.3 (needs 1.16.0)" in found.why and "--upgrade" in (found.fix or "")
    all_installed["trl"] = "1.17.0.dev0"
    assert look(tmp_path).backends["cuda"].ready


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.13.0", "as tested"),
        ("2.13.0+cu128", "as tested"),
        ("2.13", "as tested"),
        ("2.9.1", "older"),
        ("2.13.1", "newer"),
    ],
)
def test_versions_are_compared_as_numbers(version, said):
    assert against_tested("torch", version) == said


def test_apple_silicon_has_metal_and_an_intel_mac_has_not(tmp_path, monkeypatch):
    said = {
        "hw.memsize": str(16 * GIB),
        "machdep.cpu.brand_string": "Apple M2",
        "vm_stat": "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                              100000.\nPages active:         400000.\n"
        "Pages inactive:                          300000.\nPages speculative:      5000.\n",
    }
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine, "_output", lambda command: said.get(command[-1]))
    found = look(tmp_path)
    metal = found.devices[0]
    assert (metal.kind, metal.name, metal.memory, metal.free) == ("metal", "Apple M2", 16 * GIB, 405_000 * 16_384)
    assert found.backends["mlx"] == (True, "on Apple M2", None, metal)
    assert "for trying out" in found.backends["cuda"].why
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert not look(tmp_path).backends["mlx"].ready


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_disk_are_those_of_the_machine(tmp_path):
    found = look(tmp_path / "not" / "there")
    cpu = found.devices[-1]
    assert 0 < cpu.free <= cpu.memory <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") and cpu.name
    assert abs(found.disk_free - shutil.disk_usage(tmp_path).free) < GIB


def test_a_containers_limit_counts_in_both_versions(tmp_path):
    proc, mount = tmp_path / "cgroup", tmp_path / "fs"
    proc.write_text("4:memory:/outer/inner\n0::/\n")
    inner = mount / "memory" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.limit_in_bytes").write_text(f"{4 * GIB}\n")
    (inner / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    (inner / "memory.stat").write_text(f"cache 5\ninactive_file 1\ntotal_inactive_file {GIB}\n")
    (inner.parent / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine._cgroup_limits(proc, mount) == [(4 * GIB, 2 * GIB)]
    # A container that sees its own group as the root.
    proc.write_text("0::/docker/abc\n")
    (mount / "memory.max").write_text(f"{2 * GIB}\n")
    (mount / "memory.current").write_text(f"{GIB}\n")
    assert machine._cgroup_limits(proc, mount) == [(2 * GIB, GIB)]
    (mount / "memory.max").write_text("max\n")
    assert machine._cgroup_limits(proc, mount) == []


def test_a_limit_lowers_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_cgroup_limits", lambda: [(64 << 20, 24 << 20)])
    cpu = look(tmp_path).devices[-1]
    if sys.platform == "linux":
        assert (cpu.memory, cpu.free) == (64 << 20, 40 << 20)


def test_keys_are_known_by_name_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-value")
    monkeypatch.setenv("HOUSE_API_KEY", "planted-too")
    monkeypatch.setenv("WANDB_API_KEY", "  ")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    found = look(tmp_path)
    assert (found.keys["OPENAI_API_KEY"], found.keys["HOUSE_API_KEY"]) == (True, True)
    assert (found.keys["WANDB_API_KEY"], found.keys["HF_TOKEN"]) == (False, False)
    assert "planted" not in repr(found)


def test_neither_backends_libraries_are_loaded():
    code = (
        "import sys; from pathlib import Path; from loopreview.train.machine import look; look(Path('.'));"
        "print([name for name in ('torch', 'mlx', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A self-test with this body in place of both backends' own: in a copy of the package's search path."""

    def make(body: str) -> None:
        fake = tmp_path / "sitecustomize.py"
        fake.write_text(
            "import sys, types\n"
            "module = types.ModuleType('loopreview.train.backend')\n"
            f"def self_test():\n    {body}\n"
            "module.trainer = lambda name: types.SimpleNamespace(self_test=self_test)\n"
            "sys.modules['loopreview.train.backend'] = module\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


def test_what_the_self_test_says_is_told(tmp_path, backend):
    backend("return 'a forward and a backward in 4 bits'")
    found = look(tmp_path, self_test=True).backends
    assert all(one.ready and one.why.endswith("tried: a forward and a backward in 4 bits") for one in found.values())


def test_a_self_test_that_fails_says_why_in_its_last_line(tmp_path, backend):
    backend("raise RuntimeError('no kernel image is available')")
    for found in look(tmp_path, self_test=True).backends.values():
        assert not found.ready and found.why == "the self-test failed: RuntimeError: no kernel image is available"


def test_a_self_test_that_crashes_or_hangs_is_not_ready(tmp_path, backend, monkeypatch):
    backend("import os; os.kill(os.getpid(), 11)")
    assert "signal 11" in look(tmp_path, self_test=True).backends["cuda"].why
    backend("import time; time.sleep(60)")
    monkeypatch.setattr(machine, "SELF_TEST_SECONDS", 2)
    found = look(tmp_path, self_test=True).backends["cuda"]
    assert not found.ready and "over 2 s" in found.why


def test_a_backend_that_lacks_packages_is_not_tried(tmp_path, backend, all_installed):
    backend("return 'tried'")
    all_installed["torch"] = None
    assert look(tmp_path, self_test=True).backends["cuda"].why == "not installed: torch"
