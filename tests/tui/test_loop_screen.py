"""The Loop screen: numbers, advice, and jobs."""

import copy
from pathlib import Path
from typing import Any

import pytest

from loopreview import jobs
from loopreview.models.settings import Settings
from loopreview.store import events, transcripts
from loopreview.tui import loop_view
from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.tui.screens.loop import Loop
from loopreview.tui.why_view import why_lines
from loopreview.tui.widgets.card import paint
from loopreview.tui.widgets.interval import interval_bar, scale_line
from loopreview.workspace import Workspace, init


def row(id: int, passed: int, of: int, version: str, decided: int, **more: Any) -> dict[str, Any]:
    return {
        "id": id, "origin": "generated", "n": of, "passed": passed, "failed": of - passed, "unscored": 0,
        "pass_rate": passed / of, "interval": [max(0, passed / of - 0.35), min(1, passed / of + 0.2)], "content": None,
        "generation_version": version, "decided": decided, "cost_usd": 0.41 + id / 100, **more,
    }  # fmt: skip


STATUS: dict[str, Any] = {
    "batches": [
        row(1, 2, 5, "aa", 5), row(3, 3, 5, "bb", 5), row(4, 3, 5, "cc", 5), row(5, 4, 5, "cc", 3),
    ],
    "gate": {
        "advice": "iterate", "n": 10, "passed": 7, "pass_rate": 0.7, "interval": [0.397, 0.892], "p_reaches": 0.43,
        "more_needed": None, "why": "Batch 4 passed 3 of 5, under 70 %.",
    },
    "rules": {"strictest": 0.7}, "panel_ceiling": 0.21, "cost_usd": 1.8,
    "rule_counts": {rule: {"passed": k, "n": 10} for rule, k in (("strictest", 7), ("majority", 8), ("gpt", 9))},
    "flags": {"false_positive": 3, "false_negative": 1, "na": 0, "gaps": 2},
    "generation_version": "cc", "rubric": "therapy-coach", "rubric_version": "4f2a9055",
}  # fmt: skip


def test_an_interval_is_asymmetric_and_marks_the_target() -> None:
    assert interval_bar(0.4, (0.12, 0.77), 41).plain == "     ├──────────●───────────┼──┤         "
    assert interval_bar(0.1, (0.0, 0.2), 21).plain == "├─●─┤         │      "
    assert interval_bar(None, None, 21).plain == " " * 14 + "│" + " " * 6
    assert interval_bar(1.0, (0.5, 1.0), 2).plain == ""


@pytest.mark.parametrize("width", [0, 3, 14, 28, 60])
def test_the_scale_is_as_wide_as_the_bars(width: int) -> None:
    assert len(scale_line(width)) == width


@pytest.mark.parametrize("width", [79, 100, 159])
def test_no_line_of_the_table_is_too_wide(width: int) -> None:
    lines = loop_view.table(STATUS, 3, width, 20, 0.7).plain.split("\n")
    assert len(lines) == 6 and max(map(len, lines)) <= width
    assert lines[-1].startswith(" p3, 4+5") and "7/10" in lines[-1] and "40–89" in lines[-1]
    assert max(map(len, loop_view.advice(STATUS, width).plain.split("\n"))) <= width


def test_many_batches_are_shown_around_the_chosen_one() -> None:
    many = {**STATUS, "batches": [row(n, 3, 5, "cc", 5) for n in range(1, 101)]}
    lines = loop_view.table(many, 49, 79, 10, 0.7).plain.split("\n")
    assert len(lines) == 10 and any(line.startswith(">   50") for line in lines)


def test_the_advice_has_its_numbers_rules_flags_and_ceiling() -> None:
    said = loop_view.advice(STATUS, 79).plain
    assert "advice: iterate · Batch 4 passed 3 of 5" in said
    assert "7 of 10 passed, P(≥ 70 %) .43 · at this rate no number settles it" in said
    assert "strictest 7/10 · majority 8/10 · gpt alone 9/10" in said and "flags: 3 FP  1 FN  2 gaps" in said
    assert "only 21 % of perfect transcripts" in said


FORK = {
    "side": "prompt", "criterion": "U1", "upheld": 3, "overturned": 1, "blames": {"assistant": 2},
    "why": "U1: 3 NOs upheld, 2 put down to the assistant: mend prompts/assistant.md",
}  # fmt: skip


def criterion(id: str, alarm: str | None = None, **counts: int) -> dict[str, Any]:
    zero = dict.fromkeys(("yes", "no", "na", "open", "upheld", "false_positive", "false_negative", "na_flags"), 0)
    return {"id": id, "name": f"Name of {id}", "gate": False, "alarm": alarm, **zero, **counts}


def test_what_comes_next_names_the_fork_and_a_batch_that_stopped() -> None:
    model = {"model": "offline/x"}
    settings = Settings.model_validate({"assistant": model, "judges": {"a": model}})
    done = copy.deepcopy({**STATUS, "fork": FORK})
    done["batches"][3] |= {"decided": 5, "content": True}
    assert loop_view.next_step(done, settings, None, None).startswith(FORK["why"] + ", then g makes five")
    done["batches"][3]["incomplete"] = 2
    assert loop_view.next_step(done, settings, None, None) == "batch 5 stopped halfway, 2 to finish: g goes on with it"
    done["generation_version"] = "dd"
    assert "halfway" not in loop_view.next_step(done, settings, None, None), "another prompt would not go on with it"


def test_why_has_what_each_judge_adds_each_criterion_and_the_alarm() -> None:
    numbers = {
        **STATUS, "fork": FORK, "without": {"gpt": {"passed": 9, "n": 10}, "son": {"passed": 7, "n": 10}},
        "criteria": [criterion("U1", yes=6, no=4, upheld=3), criterion("T2", "nearly always passes", yes=10)],
        "budget_usd": 5.0,
    }  # fmt: skip
    text = "\n".join(paint([line]).plain for line in why_lines(numbers, 78))
    assert "without gpt 9 of 10 would pass: gpt alone fails 2" in text
    assert "without son 7 of 10 would pass: it changes no outcome" in text
    assert "panel ceiling: 21 % of perfect transcripts would pass: too strict" in text
    assert "spent so far: $1.80; a job stops at $5.00" in text
    assert text.index("U1  Name of U1") < text.index("T2  Name of T2") < text.index("alarm: nearly always passes")
    assert max(map(len, text.split("\n"))) <= 78
    assert "alarm: T2 nearly always passes" in loop_view.advice(numbers, 79).plain


@pytest.mark.parametrize(
    ("cost", "expected", "budget", "said"),
    [(0.31, 0.47, 5.0, "$0.31 of about $0.47"), (0.31, None, 5.0, "$0.31 of at most $5.00"),
     (0.31, None, None, "$0.31"),
     (0.0, 0.0, 5.0, ""), (None, 0.47, None, "price ? of about $0.47")],
)  # fmt: skip
def test_what_a_job_has_spent(cost: float | None, expected: float | None, budget: float | None, said: str) -> None:
    assert loop_view.spent(cost, expected, budget) == said


async def test_why_opens_and_the_mouse_chooses_a_batch(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([{}]), screen="loop", numbers={**STATUS, "fork": FORK})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.click("#batches", offset=(5, 2))
        assert app.screen.chosen == 3
        await pilot.click("#batches", offset=(5, 0))
        await pilot.click("#batches", offset=(5, 5))
        assert app.screen.chosen == 3, "head and sum are no batches"
        await pilot.press("w")
        await pilot.pause()
        lines = ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]
        assert any("upheld NOs, which point at a prompt: 3" in line for line in lines)


def test_what_comes_next() -> None:
    model = {"model": "offline/x"}
    settings = Settings.model_validate({"assistant": model, "judges": {"a": model}})
    chosen = STATUS["batches"][3]
    assert loop_view.next_step(STATUS, settings, None, chosen) == "enter reviews batch 5: 2 left"
    assert "enter reviews batch 5" in loop_view.next_step(STATUS, settings, None, STATUS["batches"][0])
    done = copy.deepcopy(STATUS)
    done["batches"][3]["decided"] = 5
    assert "content with batch 5? c yes" in loop_view.next_step(done, settings, None, None)
    done["batches"][3]["content"] = True
    assert "mend" in loop_view.next_step(done, settings, None, None)
    assert "first five" in loop_view.next_step({**STATUS, "batches": []}, settings, None, None)
    unjudged = copy.deepcopy(STATUS)
    unjudged["batches"][3]["unscored"] = 5
    assert "a judges it" in loop_view.next_step(unjudged, settings, None, None)


async def test_the_screen(make_workspace: Any, make_app: Any, golden: Any) -> None:
    workspace = make_workspace([{}])
    for size in ((80, 24), (160, 45)):
        app = make_app(workspace, screen="loop", numbers=STATUS)
        async with app.run_test(size=size) as pilot:
            for _ in range(100):  # a busy machine counts late
                await pilot.pause(0.05)
                if app.status is not None:
                    break
            await pilot.pause(0.3)
            golden(f"loop-{size[0]}x{size[1]}", app)


async def test_content_is_recorded_and_taken_back(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([{}])
    app = make_app(workspace, screen="loop")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("c", "u")
        assert [(e.kind, e.batch) for e in events.all(workspace.store)] == [("content", 1), ("undo", 1)]


async def test_enter_reviews_the_chosen_batch(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([{"U1": "NYY"}]), screen="loop")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.desk.sheet.id == "1-1"
        await pilot.press("1")
        assert isinstance(app.screen, Loop)


@pytest.fixture
def offline(tmp_path: Path) -> Any:
    root = init(tmp_path / "made", template="support-agent")
    with Workspace.open(root, timeout_s=0.2) as workspace:
        yield LoopReview(workspace, reviewer="ann", preferences=Preferences(tmp_path / "c", tmp_path / "s"))


async def until(pilot: Any, true: Any, seconds: float = 40) -> None:
    for _ in range(round(seconds / 0.2)):
        if true():
            return
        await pilot.pause(0.2)
    raise AssertionError("it did not come about")


async def test_five_are_made_after_their_cost_was_shown(offline: LoopReview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPREVIEW_OFFLINE_LATENCY", "0.2")
    store = offline.workspace.store
    async with offline.run_test(size=(80, 24)) as pilot:
        loop = offline.screen
        assert isinstance(loop, Loop)
        await pilot.press("g")
        await until(pilot, lambda: loop.asked is not None)
        assert "calls, about $0.00 · enter starts" in loop.said
        assert transcripts.ids(store) == [], "nothing is made before it was agreed to"
        await pilot.press("enter")
        await until(pilot, lambda: any(row.done for row in loop.live.rows))
        await pilot.press("x")
        await until(pilot, lambda: not jobs.find(offline.workspace.root))
        assert len(transcripts.ids(store)) == 5
        # Stopped, the batch is finished by the same command.
        assert any(not head.complete for head in transcripts.heads(store))


async def test_what_a_job_said_last_is_shown_when_it_fails(offline: LoopReview) -> None:
    (offline.workspace.root / "prompts" / "assistant.md").write_text("", encoding="utf-8")
    async with offline.run_test(size=(80, 24)) as pilot:
        loop = offline.screen
        assert isinstance(loop, Loop)
        await pilot.press("g")
        await until(pilot, lambda: loop.tone == "error")
        assert "assistant.md" in loop.said
