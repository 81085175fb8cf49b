"""What is loaded when, what is shipped, and the exit codes of the program itself."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "textual",
    "rich",
    "litellm",
    "torch",
    "transformers",
    "pydantic",
    "sqlite_utils",
    "sqlite3",
    "numpy",
    "pandas",
)


def loaded_after(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(name.partition('.')[0] for name in sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_the_command_line_loads_nothing_heavy():
    assert loaded_after("import loopreview.cli.main").isdisjoint(HEAVY)


def test_reports_do_not_load_litellm_or_the_terminal_toolkit(small):
    code = (
        "from pathlib import Path\nfrom loopreview import report\nfrom loopreview.workspace import Workspace\n"
        f"report.status(Workspace.open(Path({str(small)!r})))"
    )
    assert loaded_after(code).isdisjoint({"litellm", "textual", "rich", "numpy", "pandas", "torch"})


def test_help_and_version():
    for argument, part in (("--help", "generate"), ("--version", "loopreview 0")):
        ran = subprocess.run([sys.executable, "-m", "loopreview", argument], capture_output=True, text=True, check=True)
        assert part in ran.stdout


@pytest.mark.parametrize("arguments", [["no-such-command"], ["generate", "--count", "none"], ["show"]])
def test_a_wrong_call_exits_2_without_a_traceback(arguments):
    ran = subprocess.run([sys.executable, "-m", "loopreview", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and ran.stdout == "" and "Traceback" not in ran.stderr


def test_a_reader_that_goes_away_is_no_error(root):
    ran = subprocess.run(
        f"{sys.executable} -m loopreview config -w {root} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert "Traceback" not in ran.stderr and "Exception" not in ran.stderr


def test_the_wheel_carries_the_starters_and_an_installed_copy_finds_them(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        names = archive.namelist()
    for template in ("blank", "support-agent"):
        assert f"loopreview/starters/rubrics/{template}/rubric.yaml" in names
        assert f"loopreview/starters/prompts/{template}/assessor.md" in names
    assert any(name.endswith(".tcss") for name in names), "the style sheets travel too"
    made = subprocess.run(
        [sys.executable, "-m", "loopreview", "init", str(tmp_path / "w"), "--template", "blank"],
        cwd=tmp_path / "installed",
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    found = subprocess.run(
        [sys.executable, "-c", "from loopreview.workspace import starters; print(starters())"],
        cwd=tmp_path / "installed",
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == tmp_path / "installed" / "loopreview" / "starters"


def test_an_editable_install_finds_the_starters_at_the_repository():
    from loopreview.workspace import starters

    assert starters() == ROOT


def test_ctrl_c_is_heard_although_a_script_started_us_in_the_background():
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['loopreview', '--version'];"
        "from loopreview.cli import main; main.cli.main = lambda **_: os.kill(os.getpid(), signal.SIGINT); main.run()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 130, ran.stderr
