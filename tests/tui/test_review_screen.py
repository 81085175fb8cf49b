"""The Review screen as it is painted and driven."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from loopreview.models.transcript import Message
from loopreview.store import events, examples
from loopreview.store.database import Store
from loopreview.tui.screens.dialog import Dialog, Words
from loopreview.tui.screens.review import Review
from loopreview.tui.widgets.transcript_view import TranscriptView

SPLIT = {"U1": "NNY", "T1": "YNY"}
HOSTILE = (
    "[/foo] [bold red]x[/] \x1b[31mred\x1b]0;title\x07 \u202eabc\u202c zero\u200bwidth \ud800 ]]> ${x} \x9b2J tab\there"
)


def text_of(app: Any) -> str:
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


def review_of(app: Any) -> Review:
    assert isinstance(app.screen, Review)
    return app.screen


async def until(pilot: Any, true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, text_of(pilot.app)
        await pilot.pause(0.05)


async def test_the_narrow_screen(make_workspace: Any, make_app: Any, golden: Any) -> None:
    app = make_app(make_workspace([SPLIT, SPLIT]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        golden("review-80x24", app)
        await pilot.press("y", "enter", "n")
        golden("review-80x24-answered", app)


async def test_the_wide_screen(make_workspace: Any, make_app: Any, golden: Any) -> None:
    app = make_app(make_workspace([SPLIT, SPLIT]))
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause(0.2)
        golden("review-160x45", app)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45)])
async def test_the_views_in_turn(make_workspace: Any, make_app: Any, size: tuple[int, int]) -> None:
    app = make_app(make_workspace([SPLIT]))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        seen = []
        for _ in range(4):
            await pilot.press("z")
            await pilot.pause()
            seen.append(review_of(app).view)
            assert "Reply 2 of talk 1" in text_of(app)
        assert seen == ["why", "list", "text", "card"]


async def test_a_judgment_is_stored_before_it_is_painted(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        stored_when_painted = []
        screen = review_of(app)
        paint = screen.painting.lines

        def watched() -> None:
            with Store.open(workspace.store.path) as other:
                stored_when_painted.append(len(events.all(other)))
            paint()

        say = screen.action_say

        def said(answer: str) -> None:
            stored_when_painted.clear()  # what was painted before the key is of no interest
            say(answer)  # type: ignore[arg-type]

        screen.painting.lines = watched  # type: ignore[method-assign]
        screen.action_say = said  # type: ignore[method-assign, assignment]
        await pilot.press("y")
        assert stored_when_painted[0] == 1


async def test_a_locked_database_is_said_and_nothing_is_painted(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    locked, done = threading.Event(), threading.Event()

    def hold(path: Path) -> None:
        with Store.open(path) as other, other.writing():
            locked.set()
            done.wait(20)

    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        thread = threading.Thread(target=hold, args=(workspace.store.path,))
        thread.start()
        locked.wait(10)
        try:
            await pilot.press("y")
            assert "not saved" in text_of(app) and "U1?" in text_of(app) and "I say" not in text_of(app)
        finally:
            done.set()
            thread.join()
        await pilot.press("y")
        assert "U1y" in text_of(app) and "false negative" in text_of(app)


async def test_hostile_text_is_shown_as_text(make_workspace: Any, make_app: Any) -> None:
    talk = [Message(role="user", text=HOSTILE), Message(role="assistant", text=HOSTILE * 3)]
    workspace = make_workspace([SPLIT], messages=[talk], reasoning=HOSTILE, quote=HOSTILE)
    app = make_app(workspace)
    for size in ((80, 24), (160, 45)):
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for key in (
                "tab",
                "z",
                "z",
                "z",
                "z",
                "v",
                "escape",
                "slash",
                "f",
                "escape",
                "m",
                "escape",
                "c",
                "escape",
                "?",
            ):
                await pilot.press(key)
                shown = text_of(app)
                assert not any(c in shown for c in "\x1b\x07\x9b\u202e\u200b\ud800")
            await pilot.press("escape")
            assert "[/foo]" in text_of(app)
        app = make_app(workspace)


@pytest.mark.parametrize(
    "talk",
    [
        [Message(role="user", text="q"), Message(role="assistant", text="word " * 40_000)],
        [Message(role="user", text="q"), Message(role="assistant", text="漢字" * 100_000)],
        [Message(role="user" if n % 2 == 0 else "assistant", text=f"line {n}\n" * 20) for n in range(1000)],
    ],
    ids=["200 kB", "200,000 wide characters", "500 exchanges"],
)
async def test_long_transcripts_do_not_freeze(make_workspace: Any, make_app: Any, talk: list[Message]) -> None:
    app = make_app(make_workspace([SPLIT], messages=[talk]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        view = app.screen.query_one(TranscriptView)
        for act in (lambda: view.read(1), lambda: view.read_end(True), lambda: view.read_exchange(-1), view.on_resize):
            began = time.perf_counter()
            act()
            view.render_lines(view.size.region)
            assert time.perf_counter() - began < 0.2


async def test_resizing_keeps_the_lit_quote_in_view(make_workspace: Any, make_app: Any) -> None:
    long = [Message(role="user" if n % 2 == 0 else "assistant", text=f"say {n} " * 400) for n in range(20)]
    long[9] = Message(role="assistant", text="x " * 3000 + "the very words" + " y" * 3000)
    app = make_app(make_workspace([SPLIT], messages=[long], quote="the very words"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen = review_of(app)
        # The quote was given for exchange 2: it is not there, so nothing is lit.
        assert all(stop.span is None for stop in screen.desk.stops)
        await pilot.press("slash", *"very", "enter")
        for width in (160, 100, 61, 80):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            assert "the very words" in text_of(app)


async def test_reading_never_writes(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for key in ("space", "pageup", "J", "K", "G", "g", "g", "tab", "shift+tab", "j", "k", "l", "h", "z", "a", "r"):
            await pilot.press(key)
        assert events.all(workspace.store) == []


async def test_command_keys_do_nothing_in_a_text_field(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("slash", "y", "n", "A")
        assert app.screen.query_one("#search", Input).value == "ynA"
        await pilot.press("escape", "f", "y", "R", "q")
        assert isinstance(app.screen, Dialog)
        assert events.all(workspace.store) == []


async def test_a_dialog_saves_with_enter_and_keeps_its_draft(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("f", "a", "b", "ctrl+j", "c", "escape")
        assert events.all(workspace.store) == []
        await pilot.press("f")
        assert app.screen.query_one(Words).text == "ab\nc"
        await pilot.press("enter")
        found = events.all(workspace.store)
        assert [(e.kind, e.note) for e in found] == [("gap", "ab\nc")]
        await pilot.press("f")
        assert app.screen.query_one(Words).text == "", "what was saved is no draft any more"


async def test_remarks_are_events_of_their_kind(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("m", "h", "i", "enter", "b", "s", "d", "w", "!", "enter")
        found = events.all(workspace.store)
        assert [e.kind for e in found] == ["note", "blame", "mark", "mark"]
        assert [e.criterion for e in found] == ["U1", "U1", None, None]
        assert found[1].data == {"blame": "user_sim"} and found[2].data == {"exchange": 2}
        assert found[3].data["better"].endswith("!")
        assert "2 assistant · marked bad, rewritten" in text_of(app)


async def test_what_was_kept_outside_its_limits_says_so_beside_its_speaker(make_workspace: Any, make_app: Any) -> None:
    def said(role: Any, *marks: str) -> Message:
        return Message(role=role, text=f"The words of {role}.", extra={"marks": list(marks)} if marks else {})

    long = "210 words, at most 84 (2 times the user's)"
    talk = [
        said("user"),
        said("assistant"),
        said("user", "cut off", "3 words, asked for 20 to 60"),
        said("assistant", long),
    ]
    app = make_app(make_workspace([SPLIT], messages=[talk]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("G", "d")
        shown = [line.strip("─┄ ▂\n") for line in text_of(app).split("\n")]
        assert "2 user · kept outside its limits: cut off, 3 words, asked for 20 to 60" in shown
        assert "2 assistant · marked bad · kept outside its limits: 210 words, at most 84" in shown
        assert text_of(app).count("outside its limits") == 2
        await pilot.press("B")
        assert "limits" not in text_of(app), "blind: a judge of lengths would be told"


async def test_an_example_takes_two_keys_and_the_words(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("n", "k", "c", "w", "h", "y", "enter")
        (_, criterion, example), *rest = examples.listed(workspace.store)
        assert not rest and criterion == "U1"
        assert example.label == "FAIL" and example.reasoning == "why" and example.origin == "1-1"
        assert example.response.startswith("Reply 2 of talk 1")


async def test_two_presses_of_g_go_to_the_top(make_workspace: Any, make_app: Any) -> None:
    talk = [Message(role="user", text="q"), Message(role="assistant", text="a\n" * 300)] * 3
    app = make_app(make_workspace([SPLIT], messages=[talk]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        view = app.screen.query_one(TranscriptView)
        await pilot.press("G")
        assert view.scroll_y > 100 and view.share_shown < 0.2
        await pilot.press("g")
        assert view.scroll_y > 100
        await pilot.press("g")
        assert view.scroll_y == 0


async def test_the_place_is_kept_for_the_next_session(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT, SPLIT, SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("l", "j")
        here = (review_of(app).desk.sheet.id, review_of(app).desk.cursor)  # type: ignore[union-attr]
        await pilot.pause(0.5)
    again = make_app(workspace)
    async with again.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        desk = review_of(again).desk
        assert desk.sheet is not None and (desk.sheet.id, desk.cursor) == here


async def test_another_reviewers_answer_is_seen(make_workspace: Any, make_app: Any) -> None:
    from loopreview import review
    from loopreview.workspace import Workspace

    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        with Workspace.open(workspace.root) as other:
            review.record(other, "answer", reviewer="bob", transcript="1-1", criterion="U1", answer="YES")
        sheet = review_of(app).desk.sheet
        assert sheet is not None
        await until(pilot, lambda: sheet.assessment.human.get("U1") == {"bob": "YES"})


async def test_keys_can_be_moved(make_workspace: Any, make_app: Any, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('[keys]\n"review.yes" = "t"\n', encoding="utf-8")
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("y")
        assert events.all(workspace.store) == []
        await pilot.press("t")
        assert [e.answer for e in events.all(workspace.store)] == ["YES"]
        assert "t n x say" in text_of(app)


async def test_the_mouse_chooses_a_criterion_and_a_quote(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([SPLIT]))
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        desk = review_of(app).desk
        await pilot.click("#list", offset=(5, 2))
        assert desk.cursor == "T1"
        await pilot.click("#list", offset=(5, 3))
        assert desk.cursor == "T1", "the rule between the sections is no criterion"
        await pilot.click("#list", offset=(5, 4))
        assert desk.cursor == "U2"


async def test_five_transcripts_take_at_most_twenty_keys(make_workspace: Any, make_app: Any) -> None:
    """Two corrections, one example, five decisions: a key per agreement and per decision, two per example beside its
    words, one more to leave a correction, none to find the way."""
    workspace = make_workspace([{"U1": "NNY"}] * 3 + [{"U1": "NNY", "T1": "YNY"}] * 2)
    app = make_app(workspace)
    keys = 0
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)

        async def press(*names: str) -> None:
            nonlocal keys
            keys += len(names)
            await pilot.press(*names)

        for corrected in (True, True, False, False, False):
            desk = review_of(app).desk
            while desk.left:
                if corrected and desk.merged(desk.cursor) == "NO":
                    corrected = False
                    await press("y")
                    assert desk.hint is not None and "false negative" in desk.hint.text
                    if not examples.listed(workspace.store):
                        await press("c")
                        await pilot.press(*"words")
                        await press("enter")
                await press("enter")
            await press("R")
        said = events.all(workspace.store)
    assert [e.kind for e in said].count("reject") == 5 and len(examples.listed(workspace.store)) == 1
    assert [e.answer for e in said].count("YES") == 2
    assert keys <= 20


async def test_the_mouse_chooses_a_criterion_in_the_ribbon(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([SPLIT]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        desk = review_of(app).desk
        shown = text_of(app).split("\n")[1]
        for criterion in ("T2", "T1", "S1", "U1"):
            await pilot.click("#ribbon", offset=(shown.index(criterion), 0))
            assert desk.cursor == criterion
        await pilot.click("#ribbon", offset=(shown.index("│"), 0))
        assert desk.cursor == "U1", "the rule between the sections is no criterion"


async def test_words_are_found_in_all_transcripts(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([SPLIT] * 3))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("F", "t", *'"talk 3"', "enter")
        await pilot.pause()
        desk = review_of(app).desk
        assert [id for id, _ in desk.queue] == ["1-3"] and "in all batches" in text_of(app)
        await pilot.press("F", "t", *["backspace"] * 8, *"zebra", "enter")
        assert "no message has “zebra”" in text_of(app)
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert len(desk.queue) == 3 and "filter" not in text_of(app)


async def test_another_batch_is_chosen_by_its_number(make_workspace: Any, make_app: Any) -> None:
    from loopreview.store import batches, transcripts

    workspace = make_workspace([SPLIT])
    second = batches.create_imported(workspace.store)
    transcripts.add_imported(
        workspace.store,
        second.id,
        [
            transcripts.get(workspace.store, "1-1").model_copy(
                update={"messages": [Message(role="user", text="other"), Message(role="assistant", text="yes")]}
            )
        ],
    )
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        assert review_of(app).books.batch == 2
        await pilot.press("F", "b", "9", "enter")
        assert "there is no batch 9" in text_of(app)
        await pilot.press("backspace", "1", "enter")
        assert review_of(app).desk.sheet.id == "1-1"  # type: ignore[union-attr]


async def test_agreement_is_shown_by_criterion(make_workspace: Any, make_app: Any, golden: Any) -> None:
    from loopreview import review

    workspace = make_workspace([{"U1": "NNY"}] * 4, labels_needed=3, full_share=1.0)
    for n in range(1, 5):
        for criterion in ("U1", "U2", "T1", "T2", "S1"):
            for name in ("ann", "bob"):
                answer = "NO" if (criterion, n) == ("U2", 2) or (criterion == "U1" and n == 1) else "YES"
                review.record(
                    workspace, "answer", reviewer=name, transcript=f"1-{n}", criterion=criterion, answer=answer
                )
    for size in ((80, 24), (160, 45)):
        app = make_app(workspace)
        async with app.run_test(size=size) as pilot:
            await pilot.pause(0.3)
            await pilot.press("i")
            await pilot.pause(0.3)
            golden(f"agreement-{size[0]}x{size[1]}", app)
            await pilot.press("k", "k", "k", "k", "j")
            assert app.screen.chosen == "U2"
            await pilot.press("escape", "B", "i")
            assert "blind: agreement would tell" in text_of(app)


async def test_weak_criteria_are_asked(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([{}, {}]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        screen = review_of(app)
        assert screen.desk.to_answer == []
        app.agreement = {**app.agreement, "weak": ["T2"]}
        screen.agreed("")
        assert screen.desk.to_answer == [], "the open transcript stays as it is"
        await pilot.press("l")
        assert screen.desk.to_answer == ["T2"]
        await pilot.pause(0.5)
        assert app.preferences.place(app.workspace.root)["weak"] == ["T2"]


async def test_a_hidden_repeat_looks_like_a_new_transcript(make_workspace: Any, make_app: Any) -> None:
    from loopreview import report, review

    workspace = make_workspace([SPLIT] * 14, repeat_share=0.5)
    for n in range(1, 12):
        review.record(workspace, "answer", reviewer="ann", transcript=f"1-{n}", criterion="U1", answer="YES")
        review.record(workspace, "reject", reviewer="ann", transcript=f"1-{n}")
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        desk = review_of(app).desk
        assert ("1-1", "repeat") in desk.queue and len(desk.queue) == 4
        desk.open("1-1")
        review_of(app).repaint()
        await pilot.pause()
        shown = text_of(app)
        assert desk.mine("U1") is None and desk.my_decision() is None and "rejected" not in shown
        assert "repeat" not in shown and "U1?" in shown
        await pilot.press("n")
        assert "U1n" in text_of(app)
        await pilot.press("A")
        said = events.all(workspace.store)[-2:]
        assert [(e.kind, e.data["repeat"]) for e in said] == [("answer", True), ("approve", True)]
        await pilot.press("u")
        assert desk.sheet is not None and desk.sheet.id == "1-1" and desk.my_decision() is None
    found = report.agreement(workspace, with_intervals=False)
    assert [(r["criterion"], r["names"], r["items"], r["raw"]) for r in found["repeats"]] == [("U1", ["ann"], 1, 0.0)]
    from loopreview import standing

    stands = standing.of(workspace, "1-1").assessment
    assert stands.human["U1"] == {"ann": "YES"} and stands.decision == "rejected", "a repeat changes no label"


async def test_a_better_reply_is_drawn_after_its_cost_and_kept_when_it_is_taken(
    make_workspace: Any, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def run(args: list[str]) -> tuple[int, str, str]:
        asked.append(args)
        dry = "--dry-run" in args
        return (
            0,
            json.dumps({"text": None if dry else f"drawn\x1b[2J {len(asked)}", "model": "m", "cost_usd": 0.02}),
            "",
        )

    monkeypatch.setattr("loopreview.tui.screens.better.run_loopreview", run)
    workspace = make_workspace([SPLIT])
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("w", "ctrl+r")
        await pilot.pause()
        assert "1 call, about $0.0200" in text_of(app) and asked[0][:4] == ["review", "redraw", "1-1", "2"]
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert app.screen.query_one(Words).text == "drawn␛[2J 2" and "enter takes it" in text_of(app)
        assert events.all(workspace.store) == []
        await pilot.press("enter")
        (mark,) = events.all(workspace.store)
        assert mark.data == {"exchange": 2, "better": "drawn␛[2J 2", "drawn_from": "m"}


async def test_why_no_reply_could_be_drawn_is_said_and_the_text_stays(make_workspace: Any, make_app: Any) -> None:
    workspace = make_workspace([SPLIT])
    (workspace.root / "loopreview.toml").write_text("", encoding="utf-8")
    app = make_app(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("w", "ctrl+r")
        await until(pilot, lambda: "no model for assistant" in text_of(app))
        assert app.screen.query_one(Words).text.startswith("Reply 2 of talk 1")


async def test_e_edits_this_criterion_and_q_comes_back(make_workspace: Any, make_app: Any) -> None:
    app = make_app(make_workspace([SPLIT]))
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        desk = review_of(app).desk
        transcript, criterion = desk.sheet.id, desk.cursor
        await pilot.press("e")
        await until(pilot, lambda: app.current_mode == "rubric" and app.screen.is_current)
        await pilot.press("q")
        await until(pilot, lambda: app.current_mode == "review" and app.screen.is_current)
        assert (desk.sheet.id, desk.cursor) == (transcript, criterion)
