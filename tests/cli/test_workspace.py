"""Making and opening workspaces; what goes wrong is one line."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from loopreview.workspace import NEEDED, starters


def test_init_makes_a_workspace_that_is_ready_to_use(tmp_path, cli):
    made = cli("init", tmp_path / "w", "--json").json
    root = Path(made["workspace"])
    assert root.is_absolute()
    for name in (
        "loopreview.toml",
        "loopreview.db",
        "rubrics/rubric.yaml",
        "taxonomy.yaml",
        "personas.yaml",
        "exports",
        "runs",
    ):
        assert (root / name).exists(), name
    for role in ("user_sim", "assistant", "system", "assessor"):
        assert (root / "prompts" / f"{role}.md").is_file()
    assert cli("rubric", "check", "-w", root, "--json").json["valid"] is True


def test_a_workspace_is_not_initialised_twice(root, cli):
    cli("init", root, code=2).says("is a workspace already")


def test_an_unknown_template_is_refused_with_the_known_ones(tmp_path, cli):
    cli("init", tmp_path / "w", "--template", "lawyer", code=2).says(
        "no template called lawyer", "support-agent", "blank"
    )
    assert not (tmp_path / "w").exists()


def test_init_from_a_folder_of_ones_own(tmp_path, cli):
    own = tmp_path / "own"
    own.mkdir()
    for name in NEEDED:
        kind = "prompts" if name.endswith(".md") else "rubrics"
        (own / name).write_text((starters() / kind / "blank" / name).read_text(encoding="utf-8"), encoding="utf-8")
    (own / "system.md").write_text("My own.", encoding="utf-8")
    cli("init", tmp_path / "w", "--from", own)
    assert (tmp_path / "w" / "prompts" / "system.md").read_text(encoding="utf-8") == "My own."
    (own / "taxonomy.yaml").unlink()
    cli("init", tmp_path / "v", "--from", own, code=2).says("taxonomy.yaml is missing")
    assert not (tmp_path / "v").exists()


def test_init_from_a_folder_with_a_mistake_makes_nothing(tmp_path, cli):
    own = tmp_path / "own"
    cli("init", own, "--template", "blank")
    (own / "rubrics" / "rubric.yaml").write_text("name: a: b", encoding="utf-8")
    cli("init", tmp_path / "w", "--from", own, code=2).says("rubric.yaml", "line 1")
    assert not (tmp_path / "w").exists()


def test_init_never_overwrites_a_file(tmp_path, cli):
    (tmp_path / "taxonomy.yaml").write_text("mine", encoding="utf-8")
    cli("init", tmp_path, code=2).says("taxonomy.yaml: exists already")
    assert (tmp_path / "taxonomy.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("command", [("status",), ("generate",), ("assess",), ("agreement",), ("show", "1-1")])
def test_a_missing_workspace_says_how_to_make_one(tmp_path, cli, command):
    cli(*command, "-w", tmp_path, code=2).says("no workspace here", "loopreview init")


def test_the_workspace_is_named_before_or_after_the_command_or_in_the_environment(root, cli, monkeypatch):
    before = cli("-w", root, "--json", "status").out
    after = cli("status", "-w", root, "--json").out
    monkeypatch.setenv("LOOPREVIEW_WORKSPACE", str(root))
    inherited = cli("status", "--json").out
    monkeypatch.delenv("LOOPREVIEW_WORKSPACE")
    monkeypatch.chdir(root)
    assert before == after == inherited == cli("status", "--json").out


def test_a_file_that_is_no_database_is_said(root, cli):
    for leftover in root.glob("loopreview.db*"):
        leftover.unlink()
    (root / "loopreview.db").write_text("this is a diary, not a database. " * 100, encoding="utf-8")
    result = cli("status", "-w", root, code=None)
    assert result.code in (2, 3)
    result.says("loopreview.db")
    assert (root / "loopreview.db").read_text(encoding="utf-8").startswith("this is a diary")


def test_a_database_of_a_newer_program_is_refused(root, cli):
    with sqlite3.connect(root / "loopreview.db") as db:
        db.execute("PRAGMA user_version = 9999")
    result = cli("status", "-w", root, code=None)
    assert result.code in (2, 3)
    result.says("newer")


def test_a_database_locked_by_another_process_is_said(small, cli, monkeypatch):
    cli("generate", "-w", small, "--seed", 1, "--count", 1, "--assess")
    locker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()",
            str(small / "loopreview.db"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert locker.stdout is not None and locker.stdout.readline() == "locked\n"
    from loopreview.store.database import Store

    opened = Store.open
    monkeypatch.setattr(Store, "open", lambda path, **given: opened(path, **{**given, "timeout_s": 0.2}))
    try:
        cli("review", "answer", "1-1", "H1", "yes", "-w", small, code=3).says("loopreview.db")
    finally:
        locker.communicate("")
    cli("review", "answer", "1-1", "H1", "yes", "-w", small)
    assert len(cli("review", "log", "-w", small, "--json").json["events"]) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path, cli):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert cli("init", tmp_path / "file" / "w", code=2).says("cannot be written") is None


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("stable_batchs = 2", ("loopreview.toml line 1", "stable_batchs", "stable_batches")),
        ("stable_batches = 9", ("loopreview.toml line 1", "stable_batches")),
        ("exchanges = [9, 2]", ("loopreview.toml line 1", "exchanges")),
        ("merge = 'loudest'", ("loopreview.toml", "loudest", "strictest")),
        ("reviewer = ", ("loopreview.toml", "line 1")),
    ],
)
def test_a_mistake_in_the_settings_names_its_line(root, cli, line, parts):
    settings = root / "loopreview.toml"
    text = "\n".join(
        row for row in settings.read_text(encoding="utf-8").splitlines() if not row.startswith("exchanges")
    )
    settings.write_text(line + "\n" + text, encoding="utf-8")
    cli("status", "-w", root, code=2).says(*parts)


def test_a_key_in_the_settings_is_refused_and_not_repeated(root, cli):
    settings = root / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    line = 'model = "offline/assistant"'
    settings.write_text(text.replace(line, line + '\nparams = {api_key = "sk-very-secret"}'), encoding="utf-8")
    refused = cli("status", "-w", root, code=2)
    refused.says("api_key_env")
    assert "sk-very-secret" not in refused.err


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("name: a: b", "line 1"),
        ("name: x\ncategories: {a: {weight: 1}}\ncriterions: []\n", "criterions"),
    ],
)
def test_rubric_check_gives_all_problems_and_exit_2(root, cli, text, part):
    (root / "rubrics" / "rubric.yaml").write_text(text, encoding="utf-8")
    checked = cli("rubric", "check", "-w", root, "--json", code=2).json
    assert checked["valid"] is False
    assert any(part in problem["message"] or part in f"line {problem['line']}" for problem in checked["problems"])
    cli("status", "-w", root, code=2).says("rubric.yaml")


def test_config_says_where_each_setting_comes_from(root, cli):
    settings = cli("config", "-w", root, "--json").json["settings"]
    assert settings["exchanges"] == {"value": [6, 10], "from": "loopreview.toml"}
    assert settings["stable_batches"] == {"value": 2, "from": "default"}


def test_paths_are_absolute(root, cli):
    assert all(Path(path).is_absolute() for path in cli("paths", "-w", root, "--json").json.values())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(cli, shell):
    assert "_LOOPREVIEW_COMPLETE" in cli("completion", shell).out


def test_completion_completes(root):
    completed = subprocess.run(
        [sys.executable, "-m", "loopreview"],
        env={"_LOOPREVIEW_COMPLETE": "bash_complete", "COMP_WORDS": "loopreview agr", "COMP_CWORD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "agreement" in completed.stdout
