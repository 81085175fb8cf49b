"""What the Train screen reads, asks for and says, without a screen."""

import asyncio
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tui.train_samples import (
    ASKED,
    NOTHING_READY,
    REFUSED,
    Commands,
    append,
    begun,
    export,
    finished,
    live,
    make_run,
    planned,
    steps,
)

from loopreview.progress import read_events
from loopreview.train import gates
from loopreview.train.start import dataset_of
from loopreview.tui.train import runs_view, starting, view
from loopreview.tui.train.curves import FINE, Curve, Series, curves, thinned, ticks
from loopreview.tui.train.desk import TrainDesk
from loopreview.tui.train.following import PIECE, Followed, Following, read_piece
from loopreview.tui.train.pages import TrainPages
from loopreview.tui.train.proposal import Proposal
from loopreview.tui.train.starting import QUESTIONS, Answer, Wish, answer_args, remembered, remembered_answers
from loopreview.tui.widgets.card import Line

HOSTILE = "[/foo] \x1b[31m\x1b]0;title\x07 \u202eabc zero\u200bwidth \x9b2J"
FORBIDDEN = set("\x1b\x07\x9b\u202e\u200b")
YES = {key: Answer("yes") for key in QUESTIONS}


def text(lines: Sequence[Line]) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def followed(run: Any) -> Followed:
    """A run with all its events read."""
    one = Followed(run)
    one.look()
    while not one.whole:
        one.read()
    return one


def make_desk(root: Path, wish: Wish | None = None, **answers: Any) -> tuple[TrainDesk, Commands, list[str]]:
    """A desk that looked once, the commands it gave, and how runs ended."""
    commands, ended = Commands(root, **answers), list[str]()
    desk = TrainDesk(
        root, wish or Wish(base="/models/tiny-llama"), lambda: None, lambda one: ended.append(view.ended_said(one)[0]),
        looking=commands, doing=commands,
    )  # fmt: skip
    desk.see_dataset()
    desk.following.look()
    return desk, commands, ended


def read_all(desk: TrainDesk) -> None:
    desk.following.look()
    while any(not one.whole for one in desk.following.runs):
        desk.following.read([], 1, all_of_them=True)
    desk.following.read([], 1, all_of_them=True)


# Reading runs


def test_a_run_is_read_as_it_grows_and_a_torn_line_waits(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1-tiny", [begun(40), *steps(1, 7, 40)])
    one = followed(run)
    assert (one.standing.step, one.standing.steps, len(one.losses), one.evals) == (7, 40, 7, {0: pytest.approx(3.3)})
    line = json.dumps(steps(8, 8, 40)[0])
    with run.events_file.open("a") as file:
        file.write(line[:30])
    assert one.look() and not one.read()
    assert one.standing.step == 7
    with run.events_file.open("a") as file:
        file.write(line[30:] + "\nno json\n[1]\n")
    assert one.look() and one.read()
    assert one.standing.step == 8 and one.losses[8] == json.loads(line)["loss"]
    assert not one.look(), "nothing new is nothing to show"


def test_steps_done_again_after_a_kill_count_once_and_those_after_them_are_gone(tmp_path: Path) -> None:
    again = [{"event": "step", "step": n, "loss": 9.0 + n} for n in range(11, 14)]
    run = make_run(tmp_path, "r1", [begun(40), *steps(1, 15, 40), begun(40, 10), *again])
    one = followed(run)
    assert list(one.losses) == list(range(1, 14)) and [one.losses[n] for n in (11, 13)] == [20.0, 22.0]
    assert one.loss_curve.points() == (list(one.losses.items()), 1) and one.standing.step == 13
    assert list(one.evals) == [0, 10]


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        ({"event": "done", "steps": 7, "step": 7}, "done", ""),
        ({"event": "cancelled", "step": 7, "checkpoint": None}, "cancelled", ""),
        ({"event": "failed", "reason": "out of memory"}, "failed", "out of memory"),
        ({"event": "note", "text": "loading"}, "failed", "the job was killed; resume goes on from its last checkpoint"),
    ],
)
def test_it_stands_as_the_run_itself_says(tmp_path: Path, last: dict[str, Any], state: str, reason: str) -> None:
    run = make_run(tmp_path, "r1", [begun(40), *steps(1, 7, 40), last])
    one = followed(run)
    assert one.standing == run.standing()
    assert (one.standing.state, one.standing.reason, one.standing.step) == (state, reason, 7)
    lock = live(run)
    one.look()
    assert one.standing.state == "running" and one.alive
    lock.release()
    assert one.look() and one.standing.state == state


def test_a_long_file_is_read_in_pieces_that_hold_up_no_key(tmp_path: Path) -> None:
    many = steps(1, 50_000, 50_000, every=1000)
    run = make_run(tmp_path, "r1", [begun(50_000), *many, {"event": "done", "steps": 50_000, "step": 50_000}])
    following = Following(tmp_path, lambda one: None)
    following.look()
    one, longest, turns = following.runs[0], 0.0, 0
    while not one.whole:
        began = time.perf_counter()
        following.read(["r1"], 0.02, all_of_them=False)
        longest, turns = max(longest, time.perf_counter() - began), turns + 1
    assert turns > 3 and longest < 0.2, f"{longest:.3f} s at a time"
    assert len(one.losses) == 50_000 and one.standing == run.standing()
    assert run.events_file.stat().st_size > 50 * PIECE


def test_pieces_give_what_reading_at_once_gives(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps({"event": "step", "step": n, "ä": "€" * n}) + "\n" for n in range(60)) + '{"to')
    found, offset = list[Any](), 0
    while True:
        events, after = read_piece(path, offset, 700)
        found += events
        if after == offset:
            break
        offset = after
    assert (found, offset) == read_events(path)


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1", [begun(4)])
    with run.events_file.open("a") as file:
        file.write('{"event": "note", "text": "' + "x" * (3 * PIECE) + '"}\n')
    append(run, steps(1, 2, 4))
    assert followed(run).standing.step == 2


def test_a_file_that_began_anew_is_read_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1", [begun(40), *steps(1, 20, 40)])
    one = followed(run)
    run.events_file.unlink()
    append(run, [begun(30), *steps(1, 3, 30)])
    one.look()
    while not one.whole:
        one.read()
    assert sorted(one.losses) == [1, 2, 3] and one.standing.steps == 30


@pytest.mark.parametrize("value", [None, "x", True, [1], {"a": 1}, 10**400, -5, 1e300, "NaN"])
def test_events_may_hold_anything(tmp_path: Path, value: Any) -> None:
    names = ("started", "step", "eval", "checkpoint", "warning", "note", "progress", "failed", value)
    keys = ("step", "steps", "loss", "epoch", "tokens_per_s", "peak_memory", "seconds_left", "text", "label", "total",
            "done", "reason", "pid")  # fmt: skip
    run = make_run(tmp_path, "r1", [{"event": name, **dict.fromkeys(keys, value)} for name in names])
    run.metrics_file.write_text(json.dumps({"eval_loss": value, "tokens_per_s": value}))
    run.plan_file.write_text(json.dumps({"base": value, "epochs": value, "data": value, "rank": [value] * 20}))
    one = followed(run)
    for lines in (view.facts(one, 60), view.plot(one, 60, 12), view.warnings(one, 60, 9), view.settings(one, 60)):
        assert all(isinstance(line, str) for line in text(lines))
    assert one.standing.state == "failed"


def test_a_plan_that_unfolds_without_end_is_no_work(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1")
    run.plan_file.write_text(
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi"))  # noqa: B905
    )
    began = time.perf_counter()
    assert all(len(line) < 100 for line in text(view.settings(followed(run), 60)))
    assert time.perf_counter() - began < 1
    run.plan_file.write_text("[" * 20_000)
    assert followed(run).plan == {}


def test_only_the_live_and_the_wanted_are_read_until_all_are_asked_for(tmp_path: Path) -> None:
    for n in range(1, 6):
        finished(tmp_path, f"r{n}-x", last=20)
    lock = live(make_run(tmp_path, "r6-x", [begun(9), *steps(1, 2, 9)]))
    desk, _, _ = make_desk(tmp_path)
    desk.choose(2)
    desk.following.read(desk.wanted, 5, all_of_them=False)
    assert [one.id for one in desk.following.runs if one.whole] == ["r4-x", "r6-x"]
    desk.following.read(desk.wanted, 5, all_of_them=True)
    assert all(one.whole for one in desk.following.runs)
    lock.release()


def test_the_end_of_a_run_that_lived_is_told_once(tmp_path: Path) -> None:
    finished(tmp_path, "r1-old")
    run = make_run(tmp_path, "r2-new", [begun(9), *steps(1, 2, 9)])
    lock = live(run)
    desk, _, ended = make_desk(tmp_path)
    read_all(desk)
    assert ended == []
    append(run, [*steps(3, 9, 9), {"event": "done", "steps": 9, "step": 9}])
    lock.release()
    read_all(desk)
    read_all(desk)
    assert ended == ["r2-new is done: validation loss 3.300 → –"] or ended == ["r2-new is done"]
    lock = live(run)
    read_all(desk)
    append(run, [begun(20, 9), {"event": "failed", "reason": "the disk is full"}])
    lock.release()
    read_all(desk)
    assert ended[1:] == ["r2-new failed: the disk is full"], "a run that was resumed can end once more"


# What is asked for


def test_the_command_is_the_one_that_is_started(tmp_path: Path) -> None:
    wish = Wish("-base", "", "mlx", "lora", "2", "rank=8 targets='q_proj,v_proj'")
    assert wish.args("/d s") == ["--base=-base", "--dataset=/d s", "--backend=mlx", "--adapter=lora", "--epochs=2",
                                 "--set=rank=8", "--set=targets=q_proj,v_proj"]  # fmt: skip
    answers = {"impact_of_mistakes": Answer("no", "a nurse reads; it's fine"), "task_stability": Answer("yes")}
    command = starting.start(tmp_path, wish, "/d s", answers)
    assert answer_args(answers) == ["--answer=task_stability=yes",
                                    "--answer=impact_of_mistakes=no: a nurse reads; it's fine"]  # fmt: skip
    assert [word for word in command.args if word != "--json"] == shlex.split(command.shown)[1:]
    assert starting.cancel(tmp_path, "r1", now=True).args[-2:] == ["--now", "r1"]
    assert starting.resume(tmp_path, "--now").args[-2:] == ["--", "--now"], "a folder's name is no option"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(epochs="0"), "whole number"), (Wish(epochs="x"), "whole number"), (Wish(base="a\nb"), "one line"),
        (Wish(settings="rank"), "rank is not KEY=VALUE"), (Wish(settings="=8"), "not KEY=VALUE"),
        (Wish(settings="a='b"), "quotation mark"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_planned_says_why(wish: Wish, why: str) -> None:
    assert why in str(wish.problem())
    assert Wish("a", "b", "cuda", "full", "3", "rank=8\nalpha=16").problem() is None


def test_what_was_kept_may_be_anything() -> None:
    kept = Wish("tiny", "/d", "mlx", "qlora", "4", "rank=8")
    assert remembered(json.loads(json.dumps(kept._asdict()))) == kept
    assert remembered({"backend": "evil"}) == remembered({"base": 3}) == remembered({"epochs": "-1"}) == Wish()
    given = {"task_stability": ["yes", ""], "impact_of_mistakes": ["no", " "], "evil": ["yes", ""],
             "required_knowledge": ["perhaps", ""], "available_examples": 3}  # fmt: skip
    assert remembered_answers(given) == {"task_stability": Answer("yes")}


def test_what_stands_in_the_way_is_said_in_order(tmp_path: Path) -> None:
    desk, commands, _ = make_desk(tmp_path, Wish(), doctor=NOTHING_READY)
    assert desk.refusal() == "nothing is exported yet: 4 Data, e exports first"
    folder = export(tmp_path)
    desk.see_dataset()
    asyncio.run(desk.find_out())
    assert desk.refusal() == "no trainer is ready here: pip install 'loopreview[cuda]'" and not commands.of("plan")
    commands.answers["doctor"] = Commands(tmp_path).answers["doctor"]
    asyncio.run(desk.find_out())
    assert "t names the base model" in str(desk.refusal()) and not commands.of("plan")
    desk.wish = Wish(base="/gone")
    commands.answers["plan"] = (2, "loopreview: /gone: no such model; name a folder")
    asyncio.run(desk.plan())
    assert desk.refusal() == "/gone: no such model; name a folder"
    commands.answers["plan"] = planned(folder, checks=REFUSED)
    asyncio.run(desk.plan())
    assert desk.refusal() == "revoked: 2 transcripts of this dataset were revoked; export again"
    commands.answers["plan"] = planned(folder)
    asyncio.run(desk.plan())
    assert desk.refusal() == "a answers the five questions before training (5 left)"
    desk.answers, desk.answered_for = dict(YES), str(folder)
    assert desk.refusal() is None
    time.sleep(0.01)
    export(tmp_path, "newer")
    desk.see_dataset()
    assert "5 left" in str(desk.refusal()), "answers about another dataset do not count"


def test_the_plan_is_asked_for_with_the_dataset_in_view_and_written_nowhere(tmp_path: Path) -> None:
    folder = export(tmp_path)
    desk, commands, _ = make_desk(tmp_path, Wish(base="b", settings="rank=8"))
    asyncio.run(desk.plan())
    assert commands.asked == [["train", "plan", "-w", str(tmp_path), "--json", "--dry-run", "--base=b",
                               f"--dataset={folder}", "--set=rank=8"]]  # fmt: skip
    assert desk.proposal is not None and list(tmp_path.iterdir()) == [tmp_path / "exports"]


def test_a_run_is_started_and_resumed_by_the_command_that_was_shown(tmp_path: Path) -> None:
    folder = export(tmp_path)
    desk, commands, ended = make_desk(tmp_path)
    commands.answers["start"] = lambda args: {"run": make_run(tmp_path, "r1-tiny", [begun(9)]).id}
    asyncio.run(desk.plan())
    desk.answers, desk.answered_for = dict(YES), str(folder)
    assert desk.ask_to_start() is None and desk.pending is not None and "36 examples" in desk.pending.said
    said, good = asyncio.run(desk.do(desk.pending))
    assert good and said == "r1-tiny has started" and desk.run is not None and desk.run.id == "r1-tiny"
    assert ["loopreview", *commands.asked[-1]] == ["loopreview", *desk.pending.command.args]
    append(desk.run.run, [{"event": "failed", "reason": "no room"}])
    read_all(desk)
    assert ended == ["r1-tiny failed: no room"], "also where it lived for less than a look"
    assert desk.ask_to_resume() is None and desk.pending.command.shown.endswith(
        "resume -w " + f"{tmp_path} --detach r1-tiny"
    )
    commands.answers["resume"] = (1, "loopreview: the GPU is busy: run r9 is training on it")
    assert asyncio.run(desk.do(desk.pending)) == ("the GPU is busy: run r9 is training on it", False)
    assert desk.busy == ""


def test_a_run_that_is_killed_on_request_is_told_as_cancelled(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1-tiny", [begun(9), *steps(1, 4, 9)])
    lock = live(run)
    desk, commands, ended = make_desk(tmp_path)
    read_all(desk)

    def cancel(args: list[str]) -> dict[str, Any]:
        lock.release()
        read_all(desk)  # the screen looks while the command is at it
        append(run, [{"event": "cancelled", "step": 4, "checkpoint": None}])
        return {"run": "r1-tiny"}

    commands.answers["cancel"] = cancel
    assert asyncio.run(desk.cancel("r1-tiny", now=True)) == ("r1-tiny: stopped as it was", True)
    read_all(desk)
    assert ended == ["r1-tiny was cancelled at step 4; R goes on with it"]
    assert commands.asked[-1][-2:] == ["--now", "r1-tiny"]


def test_a_done_run_cannot_be_resumed_and_no_run_neither(tmp_path: Path) -> None:
    desk, _, _ = make_desk(tmp_path)
    assert desk.ask_to_resume() == "there is no run yet"
    finished(tmp_path)
    read_all(desk)
    assert "is done" in str(desk.ask_to_resume()) and desk.pending is None


def test_a_start_goes_on_when_the_program_is_left(tmp_path: Path) -> None:
    """The command is in a session of its own, and not ended with its caller."""
    script = (
        "import asyncio, sys\n"
        "from loopreview.tui.train import starting\n"
        "sys.executable = sys.argv[1]\n"
        "async def main():\n"
        "    task = asyncio.create_task(starting.run_to_its_end(['x']))\n"
        "    await asyncio.sleep(0.3)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\nsleep 1\necho there > {tmp_path}/made\n")
    slow.chmod(0o755)
    subprocess.run([sys.executable, "-c", script, str(slow)], check=True, timeout=20)
    for _ in range(60):
        if (tmp_path / "made").exists():
            break
        time.sleep(0.1)
    assert (tmp_path / "made").exists()


# What is said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (55, "55 s"), (98.6, "99 s"), (150, "2 min"), (5_900, "98 min"), (6_060, "1 h 41 min"),
     (7_200, "2 h"), (86_400, "1 day"), (100_000, "1 day 4 h"), (200_000, "2 days 8 h")],
)  # fmt: skip
def test_durations_are_plain(seconds: float, said: str) -> None:
    assert view.duration(seconds) == said


def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r3-tiny", [begun(120), *steps(1, 47, 120)])
    lock = live(run)
    said = "\n".join(text(view.facts(followed(run), 78)))
    lock.release()
    assert "r3-tiny · running · cuda on cpu" in said and "47 of 120  █" in said and "epoch 1.2 of 3" in said
    assert "1,204 tokens/s · peak memory 3.1 GB" in said and "about 55 s" in said
    assert "3.300 base → 1.876 best at step 40" in said and "checkpoint at step 40" in said
    one = followed(finished(tmp_path, "r4-tiny", last=20))
    assert view.ended_said(one) == (f"r4-tiny is done: validation loss 3.300 → {one.evals[20]:.3f}", "information")
    assert "left" not in "\n".join(text(view.facts(one, 78)))


def test_what_a_job_does_before_its_first_step_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1", [begun(9), {"event": "progress", "label": "loading weights", "done": 3, "total": 8}])
    lock = live(run)
    one = followed(run)
    lock.release()
    assert "now         loading weights 3 of 8" in text(view.facts(one, 70))
    assert text(view.plot(one, 70, 12)) == ["the curves begin with the first step"]


def test_the_plan_with_reasons_checks_memory_and_questions(tmp_path: Path) -> None:
    folder = export(tmp_path)
    desk, _, _ = make_desk(tmp_path)
    asyncio.run(desk.find_out())
    desk.answers = {"task_stability": Answer("yes"), "impact_of_mistakes": Answer("no", "a nurse reads every reply")}
    desk.answered_for = str(folder)
    said = "\n".join(text(view.summary(desk, 110)))
    assert "✓ cuda on the CPU" in said and "✗ mlx mlx-lm is not installed: pip install 'loopreview[mlx]'" in said
    assert "dataset · train 36, valid 4 · the newest" in said and "2 of 5 answered · a answers them" in said
    assert f"✓ {ASKED['impact_of_mistakes']} → no: a nurse reads every reply" in said
    assert said.index("! examples: 36 to train on") < said.index("✓ dataset: its files")
    assert "about 1.9 GB of 9.5 GB free on the CPU" in said and "the longest example that fits: 8,192 tokens" in said
    lines = text(view.values(desk, 110))
    assert lines[0].split() == ["plan", "why"] and lines[1].split()[:2] == ["backend", "cuda"]
    assert any(line.startswith("rank") and "16 is usual" in line for line in lines)
    assert [line.split()[0] for line in lines if line.startswith("learning_rate")] == ["learning_rate"]
    big = planned(folder, memory={"total": 20e9, "free": 9.5e9, "device": "the GPU"})
    assert any("does not fit" in line for line in text(view._memory(Proposal(big), 78)))


def test_the_table_of_runs_and_how_plans_differ(tmp_path: Path) -> None:
    finished(tmp_path, "r1-tiny", last=20, learning_rate=1e-4)
    finished(tmp_path, "r2-tiny", last=30, start=2.5, data={"hash": "99", "train": 80})
    make_run(tmp_path, "r3-tiny", [begun(9), *steps(1, 2, 9), {"event": "failed", "reason": "out of memory"}])
    desk, _, _ = make_desk(tmp_path)
    read_all(desk)
    lines = text(runs_view.table(desk, 150, 9))
    assert [line.split()[0:2] for line in lines[1:]] == [[">", "r3-tiny"], ["r2-tiny", "done"], ["r1-tiny", "done"]]
    assert f"2.600 → {desk.following.runs[1].evals[30]:.3f}" in lines[2] and "1,190" in lines[2] and "80" in lines[2]
    assert "out of memory" in text(runs_view.about(desk.following.runs[2], 70))[1]
    desk.choose(1)
    assert desk.mark() is None
    desk.choose(1)
    assert desk.mark() is None
    found = text(runs_view.differences(desk.compared, 78))
    assert found[0].split() == ["plans", "a", "r2-tiny", "b", "r1-tiny"]
    assert {line.split()[0] for line in found[1:]} == {"learning_rate", "dataset", "examples"}
    assert next(line for line in found if line.startswith("learning_rate")).split()[1:] == ["0.0002", "0.0001"]
    picture = "\n".join(text(runs_view.beside(desk, 78, 14)))
    assert picture.startswith("validation loss by step: a r2-tiny · b r1-tiny") and {"a", "b"} <= set(picture[60:])
    assert text(runs_view.table(desk, 78, 9))[2].startswith(" a r2-tiny")
    desk.mark()
    assert [one.id for _, one in desk.compared] == ["r2-tiny"] and runs_view.differences(desk.compared, 78) == []


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_click_meets_the_run_that_is_painted_there(tmp_path: Path, count: int) -> None:
    for n in range(1, count + 1):
        make_run(tmp_path, f"r{n}-x")
    desk, _, _ = make_desk(tmp_path)
    for step in (0, 1, 7, 18):
        desk.choose(step)
        lines = text(runs_view.table(desk, 78, 8))
        ids = [one.id for one in reversed(desk.following.runs)]
        assert desk.run is not None
        for row, line in enumerate(lines):
            met = runs_view.row_at(desk, 8, row)
            if row:
                assert met is not None and ids[ids.index(desk.run.id) + met] == line[3:].split()[0]
            else:
                assert met is None
        assert any(line.startswith(f">  {desk.run.id} ") for line in lines)


def test_marks_of_curves_differ_without_colour() -> None:
    falling = [(n, 3.0 / n + 0.5) for n in range(1, 60)]
    lines = text(
        curves([Series(FINE, "", falling), Series("◆", "bold", falling[::10], joined=False)], 76, 12, steps=100)
    )
    assert len(lines) == 12 and all(len(line) <= 76 for line in lines)
    inside = "".join(lines)
    assert inside.count("◆") == 6 and any("\u2800" < c <= "\u28ff" for c in inside)
    assert lines[-1].split() == ["0", "20", "40", "60", "80", "100"] or lines[-1].split()[-1] == "100"
    styled = [piece for line in curves([Series("◆", "bold", falling)], 76, 12) for piece in line if "◆" in piece[0]]
    assert {style for _, style in styled} == {"bold"}, "also in a line with a number before it"
    right = [line[50:-1] for line in lines[1:-2]]
    assert not "".join(right).strip(), "what is not done yet is empty"


@pytest.mark.parametrize(
    "points", [[(0, 2.0)], [(5, 2.0), (6, 2.0)], [(1, -1e9), (2, 1e9)], [(1, 0.0)], [(10**9, 1e-9)]]
)
def test_any_points_make_a_picture(points: list[tuple[int, float]]) -> None:
    for width, height in ((24, 5), (76, 9), (200, 60)):
        lines = text(curves([Series("◆", "", points)], width, height))
        assert len(lines) == height and any("◆" in line for line in lines)
    assert curves([Series("◆", "", points)], 23, 9) == curves([Series("◆", "", [])], 80, 20) == []


def test_many_points_are_drawn_as_means() -> None:
    points = [(n, float(n % 2)) for n in range(1, 50_001)]
    few, size = thinned(points, 100)
    assert len(few) == 100 and size == 500 and few[-1] == (50_000, 0.5)
    assert thinned(points[:100], 100) == (points[:100], 1)
    began = time.perf_counter()
    curves([Series(FINE, "", points)], 100, 30)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(("low", "high"), [(0, 7), (0, 120), (0, 50_000), (0.31, 0.34), (2, 2)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 1 <= len(found) <= 6 and all(low - 1e-9 <= n <= high + 1e-9 for n in found)
    assert all(float(n).is_integer() for n in ticks(0, high, 5, whole=True))


@pytest.mark.parametrize("width", [20, 40, 78, 110, 158])
def test_hostile_text_is_shown_as_pictures(tmp_path: Path, width: int) -> None:
    folder = export(tmp_path)
    bad = json.loads(json.dumps(planned(folder)).replace("the CPU", "X"))
    bad["reasons"] = dict.fromkeys(bad["plan"], HOSTILE)
    bad["plan"] |= {"base": HOSTILE, HOSTILE: HOSTILE, "targets": [HOSTILE]}
    bad["checks"] = [{"name": HOSTILE, "level": HOSTILE, "text": HOSTILE}]
    bad["memory"]["device"] = HOSTILE
    bad["questions"] = [{"key": "task_stability", "asks": HOSTILE, "why": HOSTILE}]
    doctor = {"backends": {HOSTILE: {"ready": False, "why": HOSTILE, "fix": HOSTILE}},
              "devices": [{"name": HOSTILE}]}  # fmt: skip
    events = [begun(9), *steps(1, 4, 9), {"event": "warning", "text": HOSTILE}, {"event": "note", "text": HOSTILE},
              {"event": "failed", "reason": HOSTILE}]  # fmt: skip
    make_run(tmp_path, "r1-\x1b[31m\u202e", events, base=HOSTILE, data={"folder": HOSTILE, "hash": HOSTILE})
    make_run(tmp_path, "r2", [*events[:-2], *steps(5, 9, 9)], adapter=HOSTILE)
    desk, _, _ = make_desk(tmp_path, Wish(base=HOSTILE), plan=bad, doctor=doctor)
    asyncio.run(desk.find_out())
    read_all(desk)
    desk.mark()
    desk.choose(1)
    desk.mark()
    pages = TrainPages(desk)
    for wide in (False, True):
        pages.wide = wide
        for page in view.PAGES:
            pages.page = page
            shown = [*pages.window(width, 60), *pages.left(width, 60)]
            said = "\n".join(text(shown)) + view.next_step(desk, page) + view.header(desk, width).plain
            # What next and questions are made safe where they are put on the screen.
            assert not set("\n".join(text(shown)) + view.header(desk, width).plain) & FORBIDDEN
            assert said


def test_nothing_is_painted_wider_than_there_is_room(tmp_path: Path) -> None:
    folder = export(tmp_path)
    finished(tmp_path, "r1-" + "long-name-" * 6, last=20)
    make_run(tmp_path, "r2-tiny", [begun(9_000_000), *steps(1, 12, 9_000_000)], rank=8)
    desk, _, _ = make_desk(tmp_path)
    asyncio.run(desk.find_out())
    desk.answers, desk.answered_for = {"task_stability": Answer("no", "because " * 40)}, str(folder)
    read_all(desk)
    pages = TrainPages(desk)
    draws: list[Callable[[int, int], list[Line]]] = [pages.window, pages.left]
    for marked in range(3):
        if marked:
            desk.mark()
            desk.choose(1)
        for width, height in ((38, 8), (78, 20), (78, 16), (106, 30), (158, 41)):
            pages.wide = width > 100
            for pages.page in view.PAGES:
                for draw in draws:
                    lines = text(draw(width, height))
                    assert len(lines) <= height, (pages.page, width, height, draw)
                    assert max(map(len, lines), default=0) <= width, (pages.page, width, max(lines, key=len))


def test_a_long_curve_is_kept_as_means_of_all_its_points_in_any_order_of_coming() -> None:
    curve, again = Curve(), Curve()
    for step in range(1, 5001):
        curve.add(step, float(step))
    points, each = curve.points()
    assert len(points) <= Curve.MOST and each == 8 and len(curve.all) == 5000
    assert points[0] == (8, 4.5) and points[-1][0] == 5000
    for step in (*range(1, 3001), *range(2001, 5001)):
        again.back_to(step - 1)
        again.add(step, float(step))
    assert again.points() == curve.points() and list(again.all) == list(curve.all)
    again.add(7, 0.0)
    assert again.points()[0][0] == (8, (36 - 7) / 8), "a step that was measured again counts once"


def test_a_picture_is_drawn_anew_by_the_clock_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, "r1", [begun(90), *steps(1, 30, 90)])
    lock = live(run)
    desk, _, _ = make_desk(tmp_path)
    desk.following.look()
    desk.following.read([], 1, all_of_them=True)
    pages = TrainPages(desk)
    pages.page = "run"
    before = pages.window(78, 20)
    append(run, [*steps(31, 60, 90)])
    desk.following.look()
    desk.following.read([], 1, all_of_them=True)
    pages.fresh = False
    kept = pages.window(78, 20)
    assert pages.behind and kept[-8:] == before[-8:] and kept != before, "the numbers are new, the curves wait"
    pages.fresh = True
    assert pages.window(78, 20)[-8:] != before[-8:] and not pages.behind
    lock.release()


def test_going_on_from_a_run_and_a_tracker_are_asked_for(tmp_path: Path) -> None:
    wish = Wish(start="r1-tiny", track="mlflow")
    assert wish.args() == ["--from=r1-tiny", "--track=mlflow"] and remembered(wish._asdict()) == wish
    assert remembered({"track": "evil"}) == Wish()
    finished(tmp_path, "r1-tiny")
    export(tmp_path)
    desk, commands, _ = make_desk(tmp_path, wish)
    desk.following.look()
    asyncio.run(desk.plan())
    assert desk.base == "/models/tiny-llama" and "--from=r1-tiny" in commands.of("plan")[-1], "its plan names the base"


def test_without_a_gpu_the_screen_says_where_to_choose(tmp_path: Path) -> None:
    export(tmp_path)
    desk, commands, _ = make_desk(tmp_path, Wish(base="b"))
    commands.answers["plan"] = (2, "loopreview: no GPU was found; say --backend cuda or --backend mlx")
    asyncio.run(desk.find_out())
    assert "t, Who trains" in str(desk.refusal()) and "--" not in str(desk.refusal())
    commands.answers["plan"] = (2, "loopreview: /gone: no such model")
    asyncio.run(desk.find_out())
    assert desk.refusal() == "/gone: no such model"


def test_a_second_run_on_the_device_is_refused_by_name_before_it_is_asked_about(tmp_path: Path) -> None:
    folder = export(tmp_path)
    lock = live(make_run(tmp_path, "r1-x", [begun(90), *steps(1, 3, 90)]))
    desk, _, _ = make_desk(tmp_path, Wish(base="b"))
    desk.following.look()
    asyncio.run(desk.find_out())
    desk.answers, desk.answered_for = dict(YES), str(folder)
    assert str(desk.ask_to_start()).startswith("r1-x is training on this device") and desk.pending is None
    lock.release()
    desk.following.look()
    assert desk.ask_to_start() is None


def test_what_is_too_long_for_the_last_line_stands_above_it_in_full(tmp_path: Path) -> None:
    desk, _, _ = make_desk(tmp_path)
    said = "this machine's processor is busy: " + "run r2-tiny of a workspace is training " * 4
    lines, (last, _) = view.spoken(desk, "plan", said, "error", 78)
    assert " ".join(text(lines)).split() == said.split() and last and last != said
    assert view.spoken(desk, "plan", "short", "error", 78) == ([], ("short", "bold $text-error"))


def test_the_questions_and_the_newest_dataset_are_those_of_the_commands(tmp_path: Path) -> None:
    assert tuple(one.key for one in gates.QUESTIONS) == QUESTIONS
    desk, _, _ = make_desk(tmp_path)
    assert [one.why for one in desk.questions] == [one.why for one in gates.QUESTIONS], "also before there is a plan"
    folder = export(tmp_path)
    time.sleep(0.01)
    export(tmp_path, ".being-written")
    assert starting.newest_export(tmp_path) == folder == dataset_of(tmp_path, None).folder
