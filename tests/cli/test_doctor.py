"""`doctor`: what this machine can train with. A report: it always ends well, in a workspace or not."""

import sys

import pytest

from loopreview.train import machine
from loopreview.train.machine import TESTED, Device, Machine, Ready

GB = 10**9
GPU = Device("cuda", "NVIDIA L4", 24 * GB, 20 * GB, 8.9)
CPU = Device("cpu", "A processor", 32 * GB, 16 * GB)
FOUND = Machine(
    python="3.11.9",
    backends={
        "cuda": Ready(True, "on NVIDIA L4", None, GPU),
        "mlx": Ready(False, "not installed: mlx, mlx-lm", "pip install 'loopreview[mlx]'", None),
    },
    devices=[GPU, CPU],
    packages={**TESTED, "torch": "2.14.0", "trl": "1.9.0", "mlx": None},
    disk_free=100 * GB,
    keys={"HF_TOKEN": True, "OPENAI_API_KEY": False},
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A machine of the test's own; whether each look was asked for a self-test."""
    seen: list[bool] = []

    def look(root, *, self_test=False):
        seen.append(self_test)
        return FOUND

    monkeypatch.setattr(machine, "look", look)
    return seen


def test_the_page_says_what_is_ready_and_what_mends_the_rest(asked, cli):
    said = cli("doctor").out
    assert "cuda  ready: on NVIDIA L4" in said
    assert "mlx   not ready: not installed: mlx, mlx-lm\n      to mend it: pip install 'loopreview[mlx]'" in said
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "24.0 GB" in said and "20.0 GB" in said and "100.0 GB free" in said
    assert lines["torch"].endswith("newer than tested") and lines["trl"].endswith("older than tested")
    packages = said[said.index("package ") :]
    assert "mlx           not installed  0.32.4" in packages
    assert lines["transformers"].split() == ["transformers", "5.23.0", "5.23.0"]
    assert "keys set: HF_TOKEN" in said and "not set:  OPENAI_API_KEY" in said


def test_the_self_test_is_done_unless_quick(asked, cli):
    assert "not tried out" not in cli("doctor").out
    assert "not tried out (--quick)" in cli("doctor", "--quick").out
    assert asked == [True, False]


def test_the_json_has_its_fields_and_nothing_else_on_stdout(asked, cli):
    found = cli("doctor", "--json")
    assert found.json == {
        "python": "3.11.9",
        "backends": {
            "cuda": {"ready": True, "why": "on NVIDIA L4", "fix": None},
            "mlx": {"ready": False, "why": "not installed: mlx, mlx-lm", "fix": "pip install 'loopreview[mlx]'"},
        },
        "devices": [
            {"kind": "cuda", "name": "NVIDIA L4", "memory_gb": 24.0, "free_gb": 20.0, "compute": 8.9},
            {"kind": "cpu", "name": "A processor", "memory_gb": 32.0, "free_gb": 16.0, "compute": None},
        ],
        "packages": {name: {"version": version, "tested": TESTED[name]} for name, version in FOUND.packages.items()},
        "disk_gb": 100.0,
        "keys": {"HF_TOKEN": True, "OPENAI_API_KEY": False},
    }


def test_what_a_broken_tool_says_cannot_command_the_terminal(asked, cli, monkeypatch):
    bad = FOUND._replace(backends={"cuda": Ready(False, "failed: \x1b[2Jgone", None, None)})
    monkeypatch.setattr(machine, "look", lambda root, **more: bad)
    assert "\x1b" not in cli("doctor").out


def test_outside_a_workspace_and_without_a_value_of_any_key(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-4711")
    monkeypatch.setenv("HF_TOKEN", "hf_planted_4711")
    for options in ([], ["--json"]):
        found = cli("doctor", "--quick", *options)
        assert "4711" not in found.out + found.err and "OPENAI_API_KEY" in found.out
    assert cli("doctor", "--quick", "--json").json["keys"]["HF_TOKEN"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.train
@pytest.mark.timeout(400)
def test_this_machines_own_backends_pass_their_self_test(tmp_path, cli):
    pytest.importorskip("bitsandbytes")
    found = cli("-w", tmp_path, "doctor", "--json").json["backends"]
    assert found["cuda"]["ready"], found
    if sys.platform == "linux" and machine._installed("mlx-cpu"):
        assert found["mlx"]["ready"], found
    assert "tried:" in found["cuda"]["why"]
