"""What stops a run before or amid its training: each says one line, and nothing is trained on the quiet."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopreview import runs
from loopreview.progress import EventFile, read_events
from loopreview.runs import Run
from loopreview.train.plan import read_plan

pytestmark = pytest.mark.train
Go = Callable[..., tuple[int, str]]


@pytest.fixture
def place(exported: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    shutil.copytree(exported.parents[1], folder, ignore=shutil.ignore_patterns("runs", ".jobs"))
    return folder


@pytest.fixture
def go(place: Path) -> Go:
    """Run a training command in the workspace; its exit code and the last line on stderr."""

    def run(*args: object) -> tuple[int, str]:
        command = [sys.executable, "-m", "loopreview", "train", *map(str, args), "-w", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return done.returncode, lines[-1] if lines else ""

    return run


@pytest.fixture
def planned(place: Path, go: Go, tiny_model: Path) -> Run:
    """A run that is planned, and not started."""
    code, said = go("plan", "--base", tiny_model, "--backend", "mlx", "--set=accumulation=4")
    assert code == 0, said
    return runs.named(place, None)


def edit(run: Run, **values: Any) -> None:
    plan = yaml.safe_load(run.plan_file.read_text(encoding="utf-8"))
    run.plan_file.write_text(yaml.safe_dump({**plan, **values}), encoding="utf-8")


def test_an_example_above_max_length_is_refused_before_anything_is_loaded(planned: Run, go: Go) -> None:
    edit(planned, max_length=200)
    code, said = go("start", planned.id, "--yes")
    assert code == 1 and "200" in said and "max_length" in said
    assert not planned.events_file.exists()
    # The job itself looks too: who starts it need not have.
    done = subprocess.run(
        [sys.executable, "-m", "loopreview", "train", "work", str(planned.folder)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "nothing is cut" in done.stderr
    assert planned.events()[-1]["event"] == "failed"
    assert not planned.checkpoints.exists() and not planned.adapter.exists()


def test_a_dataset_that_was_changed_since_is_refused(planned: Run, go: Go) -> None:
    tokens = read_plan(planned.plan_file).data.tokens / "train.jsonl"
    rows = tokens.read_text(encoding="utf-8").splitlines(keepends=True)
    tokens.write_text("".join(rows[:-1]), encoding="utf-8")
    code, said = go("start", planned.id, "--yes")
    assert code == 1 and "train.jsonl" in said


def test_an_unknown_key_in_the_plan_is_refused_with_its_line(planned: Run, go: Go) -> None:
    planned.plan_file.write_text(
        planned.plan_file.read_text(encoding="utf-8") + "lerning_rate: 0.1\n", encoding="utf-8"
    )
    lines = planned.plan_file.read_text(encoding="utf-8").splitlines()
    code, said = go("start", planned.id, "--yes")
    assert code == 2 and "lerning_rate" in said and "learning_rate" in said and str(len(lines)) in said


def test_without_answers_to_the_questions_nothing_starts(place: Path, go: Go, tiny_model: Path) -> None:
    code, said = go("start", "--base", tiny_model, "--backend", "mlx")
    assert code == 1 and "TRAIN" in said and "--answer" in said
    assert runs.listed(place) == []
    code, said = go("start", "--base", tiny_model, "--backend", "mlx", "--answer", "impact_of_mistakes=no", "--yes")
    assert (code, runs.listed(place)) == (1, []), "a no without a reason"


def test_a_revoked_run_is_not_gone_on_with(planned: Run, go: Go) -> None:
    planned.revoked_file.write_text(json.dumps({"1-1": {"at": "now"}}), encoding="utf-8")
    code, said = go("start", planned.id, "--yes")
    assert code == 1 and "1-1" in said and "revoked" in said
    assert not planned.events_file.exists()


def test_commands_that_do_not_fit_how_the_run_stands(planned: Run, go: Go) -> None:
    assert go("resume", planned.id) == (2, f"loopreview: {planned.id}: was never started; `loopreview train start "
                                           f"{planned.id}` starts it")  # fmt: skip
    code, said = go("cancel", planned.id)
    assert code == 1 and "not running" in said
    code, said = go("merge", planned.id)
    assert code == 2 and "planned" in said
    code, said = go("watch", "r99")
    assert code == 2 and planned.id in said


def test_no_room_on_the_disk_is_found_before_loading(planned: Run, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopreview.models.errors import UserError
    from loopreview.train import job

    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(job.shutil, "disk_usage", lambda path: free)
    with pytest.raises(UserError, match="make room"):
        job._disk(planned, read_plan(planned.plan_file))


def test_asking_to_stop_while_the_model_is_loaded_ends_at_once(planned: Run) -> None:
    edit(planned, epochs=500)
    process = subprocess.Popen(
        [sys.executable, "-m", "loopreview", "train", "work", str(planned.folder)], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(event["event"] == "note" for event in planned.events()):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 130
    assert planned.standing().state == "cancelled"


def test_what_follows_a_torn_line_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = EventFile(path)
    first.write("started")
    first.close()
    with path.open("ab") as file:
        file.write(b'{"event": "ste')  # killed here
    second = EventFile(path)
    second.write("started", resumed=True)
    second.close()
    events, _ = read_events(path)
    assert [event["event"] for event in events] == ["started", "started"] and events[1]["resumed"]
