"""The Train screen: pages, the questions, a run that is started, followed, stopped and resumed."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tui.train_samples import (
    ASKED,
    NOTHING_READY,
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

from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.tui.screens.train import Train
from loopreview.workspace import Workspace

HOSTILE = "[/foo] [bold red] \x1b[31m\x1b]0;title\x07 \u202eabc\u202c \x9b2J"
FORBIDDEN = set("\x1b\x07\x9b\u202e")


@pytest.fixture
def root(make_workspace: Any) -> Path:
    return Path(make_workspace([{}]).root)


@pytest.fixture
def open_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[LoopReview, Commands]]:
    """The program on its Train screen, with a stand-in for our own commands."""

    def opened(
        workspace: Workspace, *, base: str = "/models/tiny-llama", screen: str = "train", **answers: Any
    ) -> tuple[LoopReview, Commands]:
        commands = Commands(workspace.root, **answers)
        monkeypatch.setitem(LoopReview.MODES, "train", lambda: Train(looking=commands, doing=commands))
        preferences = Preferences(tmp_path / "config", tmp_path / "state")
        if base:
            preferences.keep_place(workspace.root / "runs", {"base": base})
        return LoopReview(workspace, reviewer="ann", screen=screen, preferences=preferences), commands

    return opened


async def until(pilot: Any, true: Callable[[], Any], seconds: float = 20) -> None:
    for _ in range(round(seconds / 0.05)):
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come about")


async def settled(pilot: Any) -> Train:
    """The screen once it has found out what there is to know of plan and runs in view."""
    screen = pilot.app.screen
    assert isinstance(screen, Train)
    desk = screen.desk
    await until(pilot, lambda: desk.machine is not None and not desk.at_work and desk.following.looked)
    await until(pilot, lambda: all(one.whole for id in desk.wanted if (one := desk.following.get(id))))
    screen.repaint()
    await pilot.pause()
    return screen


def said(screen: Train, id: str) -> str:
    return screen._shown[id].plain


def text_of(app: LoopReview) -> str:
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


async def answer_all(pilot: Any) -> None:
    """yes to four questions, a no with its reason to the fifth."""
    await pilot.press("a")
    for _ in range(4):
        await pilot.press("right", "tab", "tab")
    await pilot.press("right", "right", "tab", *"a nurse", "enter")
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_the_pages(make_workspace: Any, open_train: Any, golden: Any, size: tuple[int, int]) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    finished(workspace.root, rank=8)
    finished(workspace.root, "r2-tiny-llama", start=2.9, learning_rate=1e-4)
    warned = {"event": "warning", "text": "the loss of \x1b[31m step 12 [/b] is far above those before"}
    lock = live(make_run(workspace.root, "r3-tiny-llama", [begun(120), *steps(1, 47, 120), warned]))
    app, _ = open_train(workspace)
    name = f"train-{size[0]}x{size[1]}"
    async with app.run_test(size=size) as pilot:
        screen = await settled(pilot)
        assert screen.pages.page == "run", "a run that lives is what one comes for"
        golden(f"{name}-run", app)
        await pilot.press("h")
        golden(name, app)
        await pilot.press("l", "l")
        await until(pilot, lambda: all(one.whole for one in screen.desk.following.runs))
        await pilot.press("j", "space", "j", "space")
        golden(f"{name}-runs", app)
    lock.release()


async def test_an_empty_workspace_says_what_comes_first(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    app, commands = open_train(workspace, base="")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert said(screen, "next") == "→ nothing is exported yet: 4 Data, e exports first"
        await pilot.press("enter", "enter")
        assert screen.desk.pending is None
        await pilot.press("l")
        assert "no run yet: on page plan, enter starts one" in said(screen, "page")
        await pilot.press("R", "x", "j", "enter", "l", "space", "j", "G", "pagedown", "x")
        assert said(screen, "next") == "→ no run is running" and not commands.of("plan")
        export(workspace.root)
        await pilot.press("l")
        await until(pilot, lambda: "t names the base model" in said(screen, "next"))
        assert "train 36, valid 4" in said(screen, "page")


async def test_without_a_trainer_the_command_that_mends_it_is_named(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    app, _ = open_train(workspace, doctor=NOTHING_READY)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert said(screen, "next") == "→ no trainer is ready here: pip install 'loopreview[cuda]'"
        assert "✗ mlx mlx-lm is not installed: pip install 'loopreview[mlx]'" in said(screen, "page")


async def test_what_is_trained_is_asked_for_checked_kept_and_planned(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    folder = export(workspace.root)
    app, commands = open_train(workspace, base="")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("t", *"/m/x", "tab", "tab", "tab", "tab", *"rank", "enter")
        await pilot.pause()
        assert app.screen is not screen and "rank is not KEY=VALUE" in text_of(app)
        await pilot.press(*"=8", "shift+tab", "shift+tab", "right", "right", "enter")
        await until(pilot, lambda: app.screen is screen and screen.desk.proposal is not None)
        assert commands.of("plan")[-1][5:] == ["--dry-run", "--base=/m/x", f"--dataset={folder}", "--adapter=lora",
                                               "--set=rank=8"]  # fmt: skip
        assert app.preferences.place(workspace.root / "runs")["settings"] == "rank=8"


async def test_a_no_without_a_reason_is_refused(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert "5 left" in said(screen, "next")
        await pilot.press("a", "right", "right", "enter")
        await pilot.pause()
        assert app.screen is not screen and "task stability: a no needs a reason" in text_of(app)
        await pilot.press("tab", *"soon over", "enter")
        await until(pilot, lambda: "4 left" in said(screen, "next"))
        assert "no: soon over" in said(screen, "page")
        await pilot.press("enter", "enter")
        assert screen.desk.pending is None, "four questions are open"


async def test_the_whole_gate_is_answered_with_letters_and_each_why_is_read_there(
    make_workspace: Any, open_train: Any
) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("a")
        for n, asks in enumerate(ASKED.values()):
            await pilot.pause()
            seen = text_of(app)
            assert asks in seen and "it matters" in seen and "enter saves" in seen
            assert "draft kept" not in seen
            words = ("n", "tab", *"sure") if n == 1 else ("y", "tab")
            await pilot.press(*words, *(["tab"] if n < len(ASKED) - 1 else []))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen and len(screen.desk.given) == len(ASKED))
        assert [one.answer for one in screen.desk.given.values()] == ["yes", "no", "yes", "yes", "yes"]


async def test_enter_shows_the_command_and_a_second_one_starts_it(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    folder = export(workspace.root)
    app, commands = open_train(workspace)
    locks = []

    def start(args: list[str]) -> dict[str, Any]:
        run = make_run(workspace.root, "r1-tiny-llama", [begun(40)])
        locks.append(live(run))
        return {"run": run.id}

    commands.answers["start"] = start
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await answer_all(pilot)
        assert "enter shows the command" in said(screen, "next")
        await pilot.press("enter")
        assert "trains a LoRA adapter on 36 examples, 3 epochs · enter starts" in said(screen, "next")
        assert said(screen, "ask").startswith("$ loopreview train start -w")
        await pilot.press("Y")
        assert app.clipboard.endswith("'--answer=necessary_evaluation=no: a nurse'") and str(folder) in app.clipboard
        await pilot.press("escape", "j")
        assert screen.desk.pending is None and not commands.of("start")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: screen.desk.run is not None and screen.pages.page == "run")
        args = commands.of("start")[0]
        assert args[:6] == ["train", "start", "-w", str(workspace.root), "--json", "--detach"]
        assert "--answer=task_stability=yes" in args and "r1-tiny-llama running" in said(screen, "top")
        await until(pilot, lambda: "x stops r1-tiny-llama" in said(screen, "next"))
    locks[0].release()


async def test_a_held_enter_starts_nothing(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}], guard=True)
    export(workspace.root)
    app, commands = open_train(workspace, start={"run": "r1"})
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await answer_all(pilot)
        app.screen.action_go()
        app.key_before = ("enter", 0.05)
        screen.action_go()
        await pilot.pause(0.1)
        assert screen.desk.pending is not None and not commands.of("start")
        app.key_before = ("enter", 1.0)
        screen.action_go()
        await until(pilot, lambda: commands.of("start"))


async def test_a_refused_start_says_why(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    app, _ = open_train(workspace, start=(1, f"loopreview: the GPU is busy: run {HOSTILE}"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await answer_all(pilot)
        await pilot.press("enter", "enter")
        await until(pilot, lambda: "the GPU is busy" in said(screen, "next"))
        assert not set(text_of(app)) & FORBIDDEN and screen.pages.page == "plan"


async def test_a_run_is_followed_live_and_its_end_rings_once(
    make_workspace: Any, open_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace([{}])
    finished(workspace.root, "r1-old")
    run = make_run(workspace.root, "r2-new", [begun(40), *steps(1, 5, 40)])
    lock = live(run)
    rung, told = [], []
    monkeypatch.setattr(LoopReview, "bell", lambda self: rung.append(1))
    monkeypatch.setattr(LoopReview, "notify", lambda self, message, **other: told.append((message, other)))
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert "5 of 40" in said(screen, "page") and not rung
        append(run, steps(6, 23, 40))
        await until(pilot, lambda: "23 of 40" in said(screen, "page"))
        assert "◆" in said(screen, "page") and "best at step 20" in said(screen, "page")
        await pilot.press("2")
        await pilot.pause(0.1)
        append(run, [*steps(24, 40, 40), {"event": "done", "steps": 40, "step": 40}])
        lock.release()
        await until(pilot, lambda: rung)
        assert app.screen is not screen, "the end of a run is told wherever one is"
        await pilot.press("5")
        await until(pilot, lambda: "r2-new · done" in said(screen, "page"))
        await pilot.pause(0.6)
        assert len(rung) == 1 and told[0][0].startswith("r2-new is done: validation loss 3.300 → ")
        assert told[0][1]["markup"] is False and told[0][1]["severity"] == "information"


async def test_a_running_job_is_painted_at_most_twice_a_second(
    make_workspace: Any, open_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace([{}])
    run = make_run(workspace.root, "r1-new", [begun(900), *steps(1, 5, 900)])
    lock = live(run)
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        painted = []
        before = screen.repaint
        monkeypatch.setattr(screen, "repaint", lambda **how: (painted.append(time.monotonic()), before(**how))[1])
        await pilot.pause(0.7)
        assert len(painted) <= 1, "nothing new, nothing to paint"
        began = time.monotonic()
        for n in range(6, 46):
            append(run, steps(n, n, 900))
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        assert 2 <= len(painted) <= 2 * took + 2
    lock.release()


@pytest.mark.parametrize(("key", "rest"), [("s", ["r2-new"]), ("n", ["--now", "r2-new"])])
async def test_stopping_asks_how_and_names_the_run(
    make_workspace: Any, open_train: Any, key: str, rest: list[str]
) -> None:
    workspace = make_workspace([{}])
    finished(workspace.root, "r1-old")
    run = make_run(workspace.root, "r2-new", [begun(40), *steps(1, 5, 40)])
    lock = live(run)
    app, commands = open_train(workspace)

    def cancel(args: list[str]) -> dict[str, Any]:
        append(run, [{"event": "cancelled", "step": 5, "checkpoint": None}])
        lock.release()
        return {"run": run.id}

    commands.answers["cancel"] = cancel
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("j")
        assert screen.desk.run is not None and screen.desk.run.id == "r1-old"
        await pilot.press("x")
        assert "Stop r2-new?" in text_of(app), "the one that runs, not the one in view"
        await pilot.press("x", "enter", "y")
        assert app.screen is not screen and not commands.of("cancel")
        await pilot.press("escape")
        assert app.screen is screen and not commands.of("cancel")
        await pilot.press("x", key)
        await until(pilot, lambda: commands.of("cancel"))
        assert commands.of("cancel") == [["train", "cancel", "-w", str(workspace.root), "--json", *rest]]
        await pilot.press("k")
        await until(pilot, lambda: "r2-new · cancelled" in said(screen, "page"))


async def test_a_cancelled_run_goes_on_after_a_second_key(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    stopped = [begun(40), *steps(1, 12, 40), {"event": "cancelled", "step": 12, "checkpoint": "c"}]
    run = make_run(workspace.root, "r1-new", stopped)
    app, commands = open_train(workspace, resume={"run": "r1-new"})
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("l")
        assert "r1-new · cancelled" in said(screen, "page") and said(screen, "next") == "→ R goes on with r1-new"
        await pilot.press("R")
        assert "goes on with r1-new from step 10 · enter starts" in said(screen, "next")
        assert not commands.of("resume")
        await pilot.press("enter")
        await until(pilot, lambda: commands.of("resume"))
        assert commands.of("resume")[0][-2:] == ["--detach", run.id]


async def test_runs_are_marked_compared_and_clicked(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    for n, rank in enumerate((8, 16, 32), 1):
        finished(workspace.root, f"r{n}-tiny", last=20, start=2.0 + n, rank=rank)
    app, _ = open_train(workspace)
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await settled(pilot)
        await pilot.press("h")
        assert screen.pages.page == "runs"
        await until(pilot, lambda: all(one.whole for one in screen.desk.following.runs))
        await pilot.press("space", "j", "j", "space")
        page = said(screen, "page")
        assert "validation loss by step: a r3-tiny · b r1-tiny" in page
        assert [line.split() for line in page.split("\n") if line.startswith("rank")] == [["rank", "32", "8"]]
        await pilot.click("#page", offset=(5, 2))
        assert screen.desk.run is not None and screen.desk.run.id == "r2-tiny"
        await pilot.press("enter")
        assert screen.pages.page == "run" and "r2-tiny · done" in said(screen, "left")
        await pilot.press("Y")
        assert app.clipboard == f"loopreview train watch -w {workspace.root} r2-tiny"


async def test_keys_wait_for_no_long_file(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    many = [begun(50_000), *steps(1, 50_000, 50_000, every=1000), {"event": "done", "steps": 50_000, "step": 50_000}]
    make_run(workspace.root, "r1-long", many)
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.screen
        await until(pilot, lambda: screen.desk.following.looked)
        assert not screen.desk.following.runs[0].whole
        longest = 0.0
        for key in ("l", "h", "l", "j", "k"):
            began = time.perf_counter()
            await pilot.press(key)
            longest = max(longest, time.perf_counter() - began)
        assert longest < 0.4, f"{longest:.2f} s"
        await until(pilot, lambda: screen.desk.following.runs[0].whole)
        await until(pilot, lambda: "50,000 of 50,000" in said(screen, "page"))


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_no_place_obeys_or_fails(make_workspace: Any, open_train: Any, size: tuple[int, int]) -> None:
    workspace = make_workspace([{}])
    folder = export(workspace.root)
    plan = planned(folder)
    plan["plan"] = {**plan["plan"], "base": HOSTILE, HOSTILE: HOSTILE}
    plan["checks"] = [{"name": HOSTILE, "level": "warning", "text": HOSTILE}]
    plan["questions"] = [{**one, "asks": HOSTILE} for one in plan["questions"]]
    doctor = {"backends": {"cuda": {"ready": True, "why": HOSTILE, "fix": HOSTILE}}, "devices": [{"name": HOSTILE}]}
    events = [begun(9), *steps(1, 4, 9), {"event": "warning", "text": HOSTILE}, {"event": "failed", "reason": HOSTILE}]
    make_run(workspace.root, "r1-\x1b[31m[b]", events, base=HOSTILE, data={"folder": HOSTILE})
    lock = live(make_run(workspace.root, "r2-\u202e[x]", events[:-1], adapter=HOSTILE))
    app, _ = open_train(workspace, base=HOSTILE, plan=plan, doctor=doctor, cancel=(1, HOSTILE), start=(1, HOSTILE))
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot)
        for key in (
            "h", "a", "escape", "t", "escape", "enter", "Y", "escape", "l", "j", "R", "Y", "escape", "k", "x", "s", "x",
            "escape", "l", "space", "j", "space", "pagedown", "question_mark", "escape", "r",
        ):  # fmt: skip
            await pilot.press(key)
            await pilot.pause()
            assert not set(text_of(app)) & FORBIDDEN, key
        append(app.screen.desk.following.live[0].run, [{"event": "failed", "reason": HOSTILE}])
        lock.release()
        await until(pilot, lambda: "Training" in text_of(app) and "[/foo]" in text_of(app))
        assert not set(text_of(app)) & FORBIDDEN


@pytest.mark.parametrize("theme", ["textual-light", "ansi-dark"])
async def test_themes_and_sizes_paint_the_same_words(make_workspace: Any, open_train: Any, theme: str) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    finished(workspace.root)
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        app.theme = theme
        for size in ((160, 45), (100, 24), (60, 16), (40, 10), (80, 24)):
            await pilot.resize_terminal(*size)
            for _ in range(3):
                await pilot.press("l")
                await pilot.pause()
                assert "Train" in text_of(app)
        await pilot.press("l")
        assert "◆" in said(screen, "page") and "r1-tiny-llama · done" in said(screen, "page")


async def test_the_screen_writes_nothing_into_the_workspace(make_workspace: Any, open_train: Any) -> None:
    workspace = make_workspace([{}])
    export(workspace.root)
    finished(workspace.root)
    lock = live(make_run(workspace.root, "r2-new", [begun(9), *steps(1, 2, 9)]))
    files = lambda: {path: path.stat().st_mtime_ns for path in (workspace.root / "runs").rglob("*")}  # noqa: E731
    before, version = files(), workspace.store.data_version()
    app, _ = open_train(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("l", "j", "space", "l", "enter", "escape", "r", "h")
        await pilot.pause(0.6)
        assert files() == before and workspace.store.data_version() == version
    lock.release()
