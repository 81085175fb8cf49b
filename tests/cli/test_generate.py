"""`generate`: a batch is named by its seed, survives kill -9, and is never made twice."""

import json
import os
import signal
import sqlite3
import time
from pathlib import Path

from loopreview.store import transcripts
from loopreview.workspace import Workspace, init


def dice_of(root: Path) -> list[object]:
    with Workspace.open(root) as workspace:
        ids = transcripts.ids(workspace.store)
        return [transcripts.get(workspace.store, id).dice for id in ids]


def message_count(root: Path) -> int:
    with sqlite3.connect(root / "loopreview.db") as db:
        return int(db.execute("SELECT count(*) FROM messages").fetchone()[0])


def test_a_batch_is_made_whole(small, cli):
    made = cli("generate", "-w", small, "--seed", 7, "--count", 3, "--json").json
    assert made["batch"] == 1
    assert [row["id"] for row in made["transcripts"]] == ["1-1", "1-2", "1-3"]
    assert all(row["complete"] and 2 <= row["exchanges"] <= 3 and row["persona"] for row in made["transcripts"])
    assert made["calls"] >= sum(2 * row["exchanges"] for row in made["transcripts"])
    assert made["cost_usd"] == 0
    assert made["errors"] == []


def test_the_same_seed_gives_the_same_personas_and_dice(small, tmp_path, cli):
    other = init(tmp_path / "other", from_dir=small)
    cli("generate", "-w", small, "--seed", 7)
    cli("generate", "-w", other, "--seed", 7)
    assert dice_of(small) == dice_of(other)
    third = init(tmp_path / "third", from_dir=small)
    cli("generate", "-w", third, "--seed", 8)
    assert dice_of(small) != dice_of(third)


def test_the_same_command_returns_a_finished_batch_without_calls(small, cli):
    first = cli("generate", "-w", small, "--seed", 7, "--json").json
    again = cli("generate", "-w", small, "--seed", 7, "--json").json
    assert again["calls"] == 0
    assert (again["batch"], again["transcripts"]) == (first["batch"], first["transcripts"])


def test_without_a_seed_a_fresh_batch_is_made_each_time(small, cli):
    batches = [cli("generate", "-w", small, "--count", 1, "--json").json["batch"] for _ in range(2)]
    assert batches == [1, 2]


def test_changed_prompts_make_a_new_batch_under_the_same_seed(small, cli):
    cli("generate", "-w", small, "--seed", 7, "--count", 1)
    prompt = small / "prompts" / "assistant.md"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "\nBe brief.\n", encoding="utf-8")
    assert cli("generate", "-w", small, "--seed", 7, "--count", 1, "--json").json["batch"] == 2


def test_each_version_used_is_kept_in_the_store(small, cli):
    cli("generate", "-w", small, "--seed", 7, "--count", 1)
    with sqlite3.connect(small / "loopreview.db") as db:
        kept = {(kind, name) for kind, name in db.execute("SELECT kind, name FROM versions")}
    assert {("prompt", "assistant"), ("prompt", "user_sim"), ("rubric", "small"), ("file", "taxonomy.yaml")} <= kept


def test_dry_run_says_calls_and_cost_and_makes_nothing(small, cli):
    asked = cli("generate", "-w", small, "--dry-run", "--assess", "--json").json
    assert asked["calls"] > 0 and asked["cost_usd"] == 0
    assert message_count(small) == 0


def wait_for_messages(root: Path, at_least: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if message_count(root) >= at_least:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.02)
    raise AssertionError("no messages landed")


def test_kill_9_costs_only_the_calls_in_flight_and_doubles_nothing(small, cli, spawn):
    process = spawn("generate", "-w", small, "--seed", 7, LOOPREVIEW_OFFLINE_LATENCY="0.3")
    wait_for_messages(small, 6)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    landed = message_count(small)
    with sqlite3.connect(small / "loopreview.db") as db:
        before = db.execute("SELECT transcript, position, text FROM messages ORDER BY 1, 2").fetchall()
    again = cli("generate", "-w", small, "--seed", 7, "--json").json
    assert again["batch"] == 1
    assert all(row["complete"] for row in again["transcripts"])
    with sqlite3.connect(small / "loopreview.db") as db:
        after = db.execute("SELECT transcript, position, text FROM messages ORDER BY 1, 2").fetchall()
        assert db.execute("SELECT count(*) FROM batches").fetchone() == (1,)
    assert landed >= 6 and set(before) <= set(after)
    assert len(after) == sum(2 * row["exchanges"] for row in again["transcripts"])


def test_an_unfinished_batch_is_finished_first_without_a_seed(small, cli, spawn):
    process = spawn("generate", "-w", small, "--seed", 7, LOOPREVIEW_OFFLINE_LATENCY="0.3")
    wait_for_messages(small, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = cli("generate", "-w", small, "--json").json
    assert again["batch"] == 1 and all(row["complete"] for row in again["transcripts"])


def test_ctrl_c_leaves_with_130_and_keeps_what_was_stored(small, cli, spawn):
    process = spawn("generate", "-w", small, "--seed", 7, LOOPREVIEW_OFFLINE_LATENCY="0.3")
    wait_for_messages(small, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert message_count(small) >= 2


def test_a_second_generation_in_the_same_workspace_is_refused(small, cli, spawn):
    spawn("generate", "-w", small, "--seed", 7, LOOPREVIEW_OFFLINE_LATENCY="1")
    wait_for_messages(small, 1)
    refused = cli("generate", "-w", small, "--seed", 8, code=1)
    assert "already running" in refused.err


def test_a_running_job_is_found_followed_and_cancelled(small, spawn):
    from loopreview import jobs

    process = spawn("generate", "-w", small, "--seed", 7, LOOPREVIEW_OFFLINE_LATENCY="0.5")
    wait_for_messages(small, 1)
    (job,) = jobs.find(small)
    assert (job.kind, job.pid) == ("generate", process.pid)
    events, offset = jobs.tail(job)
    assert events[0]["event"] == "started" and offset > 0
    jobs.cancel(job)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert jobs.find(small) == []
    assert jobs.tail(job, offset)[0][-1]["event"] == "cancelled"


def test_messages_outside_their_limits_are_asked_again_then_kept_and_marked(small, cli):
    settings = small / "loopreview.toml"
    settings.write_text("reply_ratio = 0.01\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
    made = cli("generate", "-w", small, "--seed", 7, "--count", 1, "--json").json
    exchanges = made["transcripts"][0]["exchanges"]
    assert made["calls"] >= exchanges * (1 + 3), "each reply is drawn three times"
    shown = cli("show", "-w", small, "1-1", "--json").json
    replies = [message for message in shown["messages"] if message["role"] == "assistant"]
    assert all("words, at most" in message["extra"]["marks"][0] for message in replies)


def test_the_job_log_is_json_lines(small, cli):
    cli("generate", "-w", small, "--seed", 7, "--count", 1)
    (path,) = (small / ".jobs").glob("generate-*.jsonl")
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "done"
