"""`assess`: only what is stale is asked; an error is never an answer."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

JUDGES = ("strict", "balanced", "lenient")


@pytest.fixture
def made(small, cli, once) -> Path:
    """A finished batch of three transcripts, not judged."""
    return once(small, lambda: cli("generate", "-w", small, "--seed", 7, "--count", 3))


def edit(root: Path, old: str, new: str) -> None:
    path = root / "rubrics" / "rubric.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def verdict_count(root: Path) -> int:
    with sqlite3.connect(root / "loopreview.db") as db:
        return int(db.execute("SELECT count(*) FROM verdicts").fetchone()[0])


def test_each_judge_is_asked_once_about_each_transcript(made, cli):
    judged = cli("assess", "-w", made, "--json").json
    assert judged["errors"] == []
    assert verdict_count(made) == 3 * len(JUDGES) * 2, "the check is answered by code, not by a judge"
    assert [row["id"] for row in judged["transcripts"]] == ["1-1", "1-2", "1-3"]
    assert all(row["passed"] in (True, False) and row["open"] == [] for row in judged["transcripts"])
    again = cli("assess", "-w", made, "--json").json
    assert (again["calls"], again["stale"]) == (0, 0)
    assert again["transcripts"] == judged["transcripts"]


def test_before_assessing_everything_is_open_and_unscored(made, cli):
    dry = cli("assess", "-w", made, "--dry-run", "--json").json
    assert dry["calls"] == 9 and dry["stale"] == 18 and dry["cost_usd"] == 0
    assert all(row["passed"] is None and row["unscored"] and row["open"] == ["H1", "S1"] for row in dry["transcripts"])
    assert verdict_count(made) == 0


def test_editing_one_criterion_asks_for_exactly_that_one_and_reverting_asks_for_nothing(made, cli):
    cli("assess", "-w", made)
    edit(made, "Does each reply address every topic", "Does every single reply take up every topic")
    dry = cli("assess", "-w", made, "--dry-run", "--json").json
    assert dry["stale"] == 9
    assert sorted((ask["transcript"], ask["judge"]) for ask in dry["asks"]) == sorted(
        (f"1-{n}", judge) for n in (1, 2, 3) for judge in JUDGES
    )
    assert {tuple(ask["criteria"]) for ask in dry["asks"]} == {("H1",)}
    edit(made, "Does every single reply take up every topic", "Does each reply address every topic")
    assert cli("assess", "-w", made, "--dry-run", "--json").json["calls"] == 0


def test_going_back_after_asking_anew_brings_the_old_verdicts_back(made, cli):
    before = cli("assess", "-w", made, "--json").json["transcripts"]
    edit(made, "address every topic", "take up each and every single topic")
    cli("assess", "-w", made)
    edit(made, "take up each and every single topic", "address every topic")
    after = cli("assess", "-w", made, "--json").json
    assert after["calls"] == 0 and after["transcripts"] == before


def test_an_example_makes_its_criterion_stale_but_not_where_it_came_from(made, cli):
    cli("assess", "-w", made)
    added = ("--response", "Call the bank.", "--reasoning", "It names the step.", "--transcript", "1-2")
    cli("examples", "add", "H1", "pass", *added, "-w", made)
    dry = cli("assess", "-w", made, "--dry-run", "--json").json
    assert {ask["transcript"] for ask in dry["asks"]} == {"1-1", "1-3"}
    assert {ask["criteria"][0] for ask in dry["asks"]} == {"H1"}


def test_only_asks_about_one_criterion_and_leaves_the_others_open(made, cli):
    judged = cli("assess", "-w", made, "--only", "S1", "--json").json
    assert verdict_count(made) == 9
    assert all(row["open"] == ["H1"] and row["passed"] is None for row in judged["transcripts"])


def test_an_unknown_criterion_is_named_with_the_known_ones(made, cli):
    refused = cli("assess", "-w", made, "--only", "H9", code=2)
    assert "no criterion H9" in refused.err and "H1" in refused.err


def test_criteria_per_call_divides_the_calls(made, cli):
    settings = made / "loopreview.toml"
    settings.write_text("criteria_per_call = 1\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    assert cli("assess", "-w", made, "--dry-run", "--json").json["calls"] == 18


def test_a_new_judge_is_asked_and_a_judge_that_left_no_longer_counts(made, cli):
    cli("assess", "-w", made)
    settings = made / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("[judges.lenient]", "[judges.second]"), encoding="utf-8")
    dry = cli("assess", "-w", made, "--dry-run", "--json").json
    assert {ask["judge"] for ask in dry["asks"]} == {"second"}
    cli("assess", "-w", made)
    (row, *_) = cli("show", "-w", made, "1-1", "--json").json["criteria"]
    assert sorted(row["answers"]) == ["balanced", "second", "strict"]


def test_changed_parameters_make_that_judge_stale(made, cli):
    cli("assess", "-w", made)
    settings = made / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    line = 'model = "offline/judge-strict"'
    settings.write_text(text.replace(line, line + "\nparams = {temperature = 0.5}"), encoding="utf-8")
    dry = cli("assess", "-w", made, "--dry-run", "--json").json
    assert {ask["judge"] for ask in dry["asks"]} == {"strict"} and dry["stale"] == 6


def test_an_incomplete_transcript_is_not_asked_about_and_counts_neither_way(small, cli, spawn):
    process = spawn("generate", "-w", small, "--seed", 7, "--count", 2, LOOPREVIEW_OFFLINE_LATENCY="0.4")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with sqlite3.connect(small / "loopreview.db") as db:
            if db.execute("SELECT count(*) FROM messages").fetchone()[0] >= 3:
                break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    judged = cli("assess", "-w", small, "--json")
    assert judged.json["calls"] == 0 and judged.json["incomplete"] == ["1-1", "1-2"]
    assert "not complete" in judged.err
    assert all(row["passed"] is None and row["open"] == [] for row in judged.json["transcripts"])
    (batch,) = cli("status", "-w", small, "--json").json["batches"]
    assert (batch["passed"], batch["failed"], batch["unscored"]) == (0, 0, 2)


def test_kill_9_amid_judging_keeps_what_landed_and_doubles_nothing(made, cli, spawn):
    process = spawn("assess", "-w", made, LOOPREVIEW_OFFLINE_LATENCY="0.4")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and verdict_count(made) < 4:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    landed = verdict_count(made)
    assert landed >= 4
    again = cli("assess", "-w", made, "--json").json
    assert again["errors"] == []
    with sqlite3.connect(made / "loopreview.db") as db:
        doubled = db.execute("SELECT 1 FROM verdicts GROUP BY transcript, criterion, backend HAVING count(*) > 1")
        assert doubled.fetchall() == []
    assert verdict_count(made) == 18


def test_judging_as_it_is_made_gives_the_same_as_judging_afterwards(small, tmp_path, cli):
    from loopreview.workspace import init

    other = init(tmp_path / "other", from_dir=small)
    cli("generate", "-w", small, "--seed", 7, "--count", 3, "--assess")
    cli("generate", "-w", other, "--seed", 7, "--count", 3)
    cli("assess", "-w", other)
    rows = [cli("assess", "-w", root, "--json").json["transcripts"] for root in (small, other)]
    assert rows[0] == rows[1]
    assert cli("assess", "-w", small, "--dry-run", "--json").json["calls"] == 0


def test_a_workspace_without_judges_says_so(tmp_path, cli):
    cli("init", tmp_path / "w", "--template", "blank")
    cli("generate", "-w", tmp_path / "w", "--seed", 1, "--count", 1)
    judged = cli("assess", "-w", tmp_path / "w", "--json")
    assert judged.json["calls"] == 0
    assert "no judge is configured" in judged.err


def test_nothing_to_assess_says_what_to_do(small, cli):
    refused = cli("assess", "-w", small, code=2)
    assert "loopreview generate" in refused.err


def test_a_batch_that_is_not_there_is_named(made, cli):
    assert "no batch 9" in cli("assess", "-w", made, "--batch", 9, code=2).err
