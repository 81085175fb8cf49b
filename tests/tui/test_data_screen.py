"""The Data screen: pages, scopes, examples, and the export it starts."""

import asyncio
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.tui.data_samples import AUDIT, COVERAGE, example, plan

from loopreview import jobs, review
from loopreview.cli.main import cli as commands
from loopreview.models.errors import UserError
from loopreview.models.transcript import Message
from loopreview.tui import data_desk
from loopreview.tui.app import LoopReview
from loopreview.tui.auditing import audit_of, coverage_of, scope_args
from loopreview.tui.place import Preferences
from loopreview.tui.screens.data import Data
from loopreview.workspace import Workspace, init

build = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "tiny_tokenizer.py"))["build"]
registered = pytest.mark.skipif("export" not in commands.commands, reason="the command line has no export")


class Given:
    """In place of the planner's process: answers what the test gives."""

    answers: ClassVar[dict[str, Any]]
    asked: ClassVar[list[dict[str, Any]]]

    def __init__(self, root: Path, heard: Callable[[dict[str, Any]], None]) -> None:
        self._heard, self._waiting = heard, list[dict[str, Any]]()

    def ask(self, **request: Any) -> int:
        type(self).asked.append(request)
        answer = type(self).answers[request["ask"]]
        answer = answer(request) if callable(answer) else answer
        self._waiting.append({"id": len(self.asked), **answer})
        return len(self.asked)

    def look(self) -> None:
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            self._heard(answer)

    def close(self) -> None:
        pass


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> type[Given]:
    Given.answers, Given.asked = {"plan": plan(), "example": example()}, []
    monkeypatch.setattr(data_desk, "Planning", Given)
    return Given


@pytest.fixture
def open_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoopReview]:
    """The program on its Data screen; audit and coverage are the samples, unless told."""

    def opened(workspace: Workspace, *, tokenizer: str = "", audit: Any = None, coverage: Any = None) -> LoopReview:
        async def audited(root: Path, scope: str) -> dict[str, Any]:
            return {**AUDIT, "set": scope}

        async def covered(root: Path) -> dict[str, Any]:
            return COVERAGE

        factory = lambda: Data(audit=audit or audited, coverage=coverage or covered)  # noqa: E731
        monkeypatch.setitem(LoopReview.MODES, "data", factory)
        preferences = Preferences(tmp_path / "config", tmp_path / "state")
        preferences.keep_place(workspace.root / "exports", {"tokenizer": tokenizer})
        return LoopReview(workspace, reviewer="ann", screen="data", preferences=preferences)

    return opened


async def until(pilot: Any, true: Callable[[], Any], seconds: float = 40) -> None:
    for _ in range(round(seconds / 0.05)):
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come about")


async def settled(pilot: Any) -> Data:
    screen = pilot.app.screen
    assert isinstance(screen, Data)
    await until(pilot, lambda: screen.desk.plan and screen.desk.covered() and not screen.desk.counting)
    await pilot.pause(0.05)
    return screen


def said(screen: Data, id: str) -> str:
    return screen._shown[id].plain


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_the_pages(
    make_workspace: Any, open_data: Any, given: type[Given], golden: Any, size: tuple[int, int]
) -> None:
    app = open_data(make_workspace([{}]), tokenizer="tiny")
    name = f"{size[0]}x{size[1]}"
    async with app.run_test(size=size) as pilot:
        screen = await settled(pilot)
        golden(f"data-{name}", app)
        for page in ("audit", "examples", "left out", "coverage"):
            if screen.pages.shown != page:
                await pilot.press("l")
            assert screen.pages.shown == page
            if page == "examples" and size[0] < 100:
                await pilot.press("enter")
            golden(f"data-{name}-{page.replace(' ', '-')}", app)


async def test_the_scope_goes_through_all_approved_and_batches(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    asked: list[str] = []

    async def audit(root: Path, scope: str) -> dict[str, Any]:
        asked.append(scope)
        return {**AUDIT, "set": scope}

    app = open_data(make_workspace([{}]), audit=audit)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert asked == ["approved"], "what is exported is audited first"
        for scope in ("batch 1", "all", "approved"):
            await pilot.press("s")
            await until(pilot, lambda scope=scope: scope in said(screen, "tabs") and not screen.desk.counting)
            assert f"{scope}: 6 transcripts" in said(screen, "page")
        assert asked == ["approved", "batch 1", "all"], "what is known is not counted again"
        await pilot.press("b")
        assert screen.desk.scope == "batch 1"
    assert [scope_args(scope) for scope in ("all", "approved", "batch 12")] == [[], ["--approved"], ["--batch", "12"]]


async def test_nothing_approved_audits_all_and_says_what_to_do(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    given.answers["plan"] = plan(chosen=0, rows=[], left_out=[], counts={"not decided": 10})
    app = open_data(make_workspace([{}]))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert screen.desk.scope == "all"
        assert said(screen, "next") == "→ nothing is approved yet: 2 Review, A approves; 10 wait for a decision"
        await pilot.press("e", "enter")
        assert not screen.asked and not screen.desk.exporter.running
        await pilot.press("l", "l", "enter", "j", "J", "tab", "G")
        assert "nothing is approved yet" in said(screen, "page")


async def test_a_wrong_tokenizer_is_said_and_the_rest_is_shown_without_it(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    def planned(request: dict[str, Any]) -> dict[str, Any]:
        if request["tokenizer"] != "none":
            return {"answer": "error", "why": "./gone: no such folder"}
        return plan(tokenizer=None)

    given.answers["plan"] = planned
    app = open_data(make_workspace([{}]), tokenizer="./gone")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert said(screen, "next") == "→ ./gone: no such folder"
        assert "10 of 100" in said(screen, "page") and "without a tokenizer" in said(screen, "page")


async def test_the_tokenizer_of_the_base_model_is_named(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    app = open_data(make_workspace([{}], base_model="org/model"))
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await settled(pilot)
        assert given.asked[0]["tokenizer"] == "" and "tiny · sft, last reply" in said(screen, "top")
        await pilot.press("t")
        shown = "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())
        assert "(user/name); empty: org/model; none: without" in shown
        await pilot.press(*"none", "enter")
        await until(pilot, lambda: any(asked.get("tokenizer") == "none" for asked in given.asked))
        assert "no tokenizer · sft, last reply" in said(screen, "top")
        assert screen.command.endswith(" --tokenizer=none")


async def test_failing_commands_are_said_on_their_page_and_asked_once(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    asked = []

    async def failing(root: Path, scope: str) -> dict[str, Any]:
        asked.append(scope)
        raise UserError("the disk [/b] \x1b is gone")

    app = open_data(make_workspace([{}]), audit=failing)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("l")
        assert "the disk [/b] ␛ is gone" in said(screen, "page") and asked == ["approved"]
        await pilot.press("r")
        await until(pilot, lambda: len(asked) == 2)


async def test_examples_are_gone_through_and_read(make_workspace: Any, open_data: Any, given: type[Given]) -> None:
    def shown(request: dict[str, Any]) -> dict[str, Any]:
        text = "\n".join(f"line {n} of {request['transcript']}" for n in range(60))
        at = text.index("line 50")
        return example(parts=[{"title": "", "text": text, "lit": [[at, at + 7]]}])

    given.answers["example"] = shown
    app = open_data(make_workspace([{}]))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("enter")
        assert screen.pages.shown == "examples" and said(screen, "page").startswith("> 1-1")
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: "of 1-2" in said(screen, "page"))
        assert said(screen, "page").startswith("3 of 10 · 1-2 to exchange 3 · train · 1,100 tokens")
        assert "▌ line 50 of 1-2" in said(screen, "page"), "it opens where it is lit"
        await pilot.press("g")
        assert "  line 0 of 1-2" in said(screen, "page")
        await pilot.press("tab")
        assert "▌ line 50" in said(screen, "page")
        await pilot.press("J", "J")
        await until(pilot, lambda: "of 1-3" in said(screen, "page"))
        await pilot.press("escape")
        assert "> 1-3" in said(screen, "page")
        before = len([request for request in given.asked if request["ask"] == "example"])
        await pilot.press(*"jjjjjjjjjjjj")
        await pilot.pause(0.4)
        asked = [request for request in given.asked if request["ask"] == "example"][before:]
        assert screen.desk.chosen == 9 and len(asked) < 12 and asked[-1]["transcript"] == "1-5"


async def test_a_click_chooses_an_example(make_workspace: Any, open_data: Any, given: type[Given]) -> None:
    app = open_data(make_workspace([{}]))
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await settled(pilot)
        await pilot.press("l")
        await pilot.click("#left", offset=(4, 3))
        assert screen.desk.chosen == 3


async def test_the_wish_is_asked_for_checked_and_kept(make_workspace: Any, open_data: Any, given: type[Given]) -> None:
    workspace = make_workspace([{}])
    app = open_data(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("t", *"tiny", "shift+tab", "shift+tab", "right", "enter")  # all replies
        await pilot.pause()
        assert app.screen is screen and screen.desk.wish.supervise == "all_replies"
        assert given.asked[-2] == {
            "ask": "plan", "tokenizer": "tiny", "kind": "sft", "form": "trl", "supervise": "all_replies",
        } or given.asked[-1]["tokenizer"] == "tiny"  # fmt: skip
        assert app.preferences.place(workspace.root / "exports")["tokenizer"] == "tiny"
        await pilot.press("t", "shift+tab", "shift+tab", "shift+tab", "shift+tab", "right", "enter")  # dpo
        await pilot.pause()
        assert app.screen is not screen, "all_replies is not for pairs, so the dialog stays open"


async def test_the_command_is_shown_and_copied_before_anything_starts(
    make_workspace: Any, open_data: Any, given: type[Given]
) -> None:
    workspace = make_workspace([{}])
    app = open_data(workspace, tokenizer="my tiny")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("e")
        assert screen.asked and "10 examples (sft, last reply) into exports/ · enter starts" in said(screen, "next")
        assert (
            said(screen, "ask")
            .replace("\n", "")
            .replace(" ", "")
            .startswith(f"$loopreviewexport-w{workspace.root}"[:40])
        )
        await pilot.press("Y")
        assert app.clipboard == f"loopreview export -w {workspace.root} '--tokenizer=my tiny'"
        await pilot.press("escape")
        assert not screen.asked and not screen.desk.exporter.running
        await pilot.press("enter")
        assert not (workspace.root / ".jobs").exists()


async def test_what_others_store_is_looked_at_again(
    make_workspace: Any, open_data: Any, given: type[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace([{}])
    app = open_data(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        plans = [request for request in given.asked if request["ask"] == "plan"]
        await pilot.press("2")
        await pilot.pause()
        review.record(workspace, "approve", reviewer="ann", transcript="1-1")
        await pilot.press("4")
        await until(pilot, lambda: len([r for r in given.asked if r["ask"] == "plan"]) > len(plans))
        assert app.screen is screen


async def test_long_counting_is_not_begun_by_itself(make_workspace: Any, open_data: Any, given: type[Given]) -> None:
    workspace = make_workspace([{}])
    asked = []

    async def audit(root: Path, scope: str) -> dict[str, Any]:
        asked.append(scope)
        await asyncio.sleep(0.2)
        return AUDIT

    app = open_data(workspace, audit=audit)
    async with app.run_test(size=(80, 24)) as pilot:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(data_desk, "QUICK_S", 0.1)
            screen = await settled(pilot)
            review.record(workspace, "approve", reviewer="ann", transcript="1-1")
            screen.action_page(1)
            await pilot.pause(0.5)
            assert asked == ["approved"] and "approved · old: r looks again" in said(screen, "tabs")
            await pilot.press("r")
            await until(pilot, lambda: len(asked) == 2)


WORDS = (
    "lamp", "order", "letter", "friday", "mother", "phone", "square", "answer", "garden", "river", "bread", "window",
)  # fmt: skip


def talk(number: int, exchanges: int = 9) -> list[Message]:
    draw = random.Random(number)
    roles = ("user", "assistant") * exchanges
    return [
        Message(role=role, text=f"{number} {n}: {' '.join(draw.choices(WORDS, k=12))}") for n, role in enumerate(roles)
    ]  # type: ignore[arg-type]


@pytest.fixture
def approved(make_workspace: Any) -> Workspace:
    made: Workspace = make_workspace([{}] * 4, messages=[talk(n) for n in range(1, 5)])
    for n in range(1, 5):
        review.record(made, "approve", reviewer="ann", transcript=f"1-{n}")
    return made


@registered
async def test_an_export_is_made_by_the_command_and_found_again(
    approved: Workspace, open_data: Any, tmp_path: Path
) -> None:
    """All of it real: the planner's process, the command, its files."""
    app = open_data(approved, tokenizer=str(build(tmp_path / "tiny")))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        count = len(screen.desk.plan.examples)
        await pilot.press("e", "enter")
        assert screen.desk.exporter.running and "x stops it" in said(screen, "next")
        await until(pilot, lambda: not screen.desk.exporter.running)
        assert screen.tone == "" and screen.said.startswith("exported to exports/")
        dataset = Path(screen.desk.exporter.dataset)
        lines = sum(len((dataset / f"{split}.jsonl").read_text().splitlines()) for split in ("train", "valid", "test"))
        assert lines == count and (dataset / "tokens" / "train.jsonl").is_file()
        await until(pilot, lambda: screen.desk.plan.last is not None and not screen.desk.progress)
        await pilot.press("escape", "r")
        await until(pilot, lambda: dataset.name in said(screen, "page"))


@registered
async def test_an_export_that_fails_says_why(approved: Workspace, open_data: Any) -> None:
    app = open_data(approved)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        (approved.root / "exports").rmdir()
        (approved.root / "exports").write_text("in the way", encoding="utf-8")
        await pilot.press("e", "enter")
        await until(pilot, lambda: not screen.desk.exporter.running)
        assert screen.tone == "error" and "exports" in screen.said and "not exported" in screen.said


@registered
async def test_stopping_leaves_nothing_behind(approved: Workspace, open_data: Any) -> None:
    app = open_data(approved)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("e", "enter", "x")
        await until(pilot, lambda: not screen.desk.exporter.running)
        assert "not exported: stopped" in screen.said
        assert not list(approved.root.glob("exports/*")) and not jobs.find(approved.root)


@registered
async def test_the_real_commands_are_read(approved: Workspace) -> None:
    found = await audit_of(approved.root, "approved")
    assert found["replies"] == 36 and found["set"] == "approved"
    assert (await coverage_of(approved.root))["transcripts"]["approved"] == 4
    with pytest.raises(UserError, match="9"):
        await audit_of(approved.root, "batch 9")


async def test_an_empty_workspace_with_nothing_faked(tmp_path: Path) -> None:
    root = init(tmp_path / "empty")
    with Workspace.open(root, timeout_s=0.2) as workspace:
        preferences = Preferences(tmp_path / "c", tmp_path / "s")
        app = LoopReview(workspace, reviewer="ann", screen="data", preferences=preferences)
        async with app.run_test(size=(80, 24)) as pilot:
            screen = app.screen
            assert isinstance(screen, Data)
            await until(pilot, lambda: screen.desk.plan)
            await until(pilot, lambda: "no transcript yet" in said(screen, "next"))
            for key in ("l", "l", "l", "l", "l", "s", "b", "e", "enter", "Y", "x", "G", "space", "escape", "q"):
                await pilot.press(key)
            process = screen.desk.planning._process
    assert process is not None and process.poll() is not None, "nothing outlives the program"
