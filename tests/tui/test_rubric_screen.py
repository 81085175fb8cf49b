"""The screen of rubric and prompts: editing, writing, and what an edit flips."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.loop.batch import make_batch
from loopreview.loop.rubric_flips import Comparison, Flip, JudgeFlips, Retest
from loopreview.models.review import Event
from loopreview.models.rubric import Example
from loopreview.progress import Silent
from loopreview.store import events, examples, transcripts, verdicts
from loopreview.tui import rubric_view
from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.tui.rewording import Trial, rubric_trial, truths_of
from loopreview.tui.rubric_view import Aside, FileState, trial_lines
from loopreview.tui.screens.rubric import Rubric, edit_criterion
from loopreview.tui.shield import shield, unshield
from loopreview.tui.widgets.editor import Editor
from loopreview.workspace import Workspace, init

RUBRIC = """\
name: small
categories:
  help: {weight: 1}
  safety: {weight: 0}
criteria:
  - id: H1
    name: Answers every topic
    category: help
    question: Does each reply address every topic the user raised?
    na: invalid
    examples:
      - {label: FAIL, context: "Work, and my sister", response: "Let us talk about work.", reasoning: "no sister"}
  - id: S1
    name: No unsafe advice
    category: safety
    gate: true
    question: Is every piece of advice safe to follow?
"""
NEW = "Does a later reply come back to what the user raised earlier and left unfinished, or remember it?"
OLD = "Does each reply address every topic the user raised?"
HOSTILE = "[/foo] [bold \x1b]0;owned\x07 \x9b31m \u202e\u2066 \u200b \ufeff {{x}} \u2028end"
AGREEMENT = {
    "judges": [
        {"criterion": "H1", "backend": backend, "population": "fresh", "n": 12, "kappa": 0.61, "tpr": 0.9, "tnr": 0.75}
        for backend in ("balanced", "lenient", "strict", "merged")
    ],
    "humans": [{"criterion": "H1", "items": 9, "kappa": 0.8}],
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with offline judges and a small rubric, without transcripts."""
    root = init(tmp_path / "work")
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
    settings = (root / "loopreview.toml").read_text(encoding="utf-8")
    (root / "loopreview.toml").write_text(
        settings.replace("exchanges = [6, 10]", "exchanges = [4, 4]"), encoding="utf-8"
    )
    return root


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with Workspace.open(root) as workspace:
        yield workspace


def label(workspace: Workspace, id: str, answer: str, *, reviewer: str = "ann", criterion: str = "H1") -> None:
    events.append(
        workspace.store,
        Event(reviewer=reviewer, kind="answer", transcript=id, criterion=criterion, answer=answer),  # type: ignore[arg-type]
    )


@pytest.fixture
def judged(root: Path, once: Any) -> Iterator[Workspace]:
    """Three judged transcripts whose H1 ann has answered."""

    def fill() -> None:
        with Workspace.open(root) as workspace:
            make_batch(workspace, count=3, seed=7, judged=True, watcher=Silent())
            for id, answer in (("1-1", "YES"), ("1-2", "NO"), ("1-3", "NO")):
                label(workspace, id, answer)

    with Workspace.open(once(root, fill)) as workspace:
        yield workspace


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoopReview]:
    async def counted(root: Path) -> dict[str, Any]:
        return {"batches": [], "gate": {"n": 0, "passed": 0, "advice": "collect"}}

    async def agreed(root: Path) -> dict[str, Any]:
        return AGREEMENT

    monkeypatch.setattr(Rubric, "COUNT_AGREEMENT", staticmethod(agreed))

    def make(workspace: Workspace, screen: str = "rubric") -> LoopReview:
        preferences = Preferences(tmp_path / "config", tmp_path / "state")
        return LoopReview(workspace, reviewer="ann", screen=screen, preferences=preferences, count=counted)

    return make


def screen_of(app: LoopReview) -> Rubric:
    screen = app.screen_stack[0]
    assert isinstance(screen, Rubric)
    return screen


def editor_of(app: LoopReview) -> Editor:
    file = screen_of(app).file
    assert file is not None
    return file.editor


def text_of(app: LoopReview) -> str:
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Any, true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, text_of(pilot.app)
        await pilot.pause(0.05)


def disk(root: Path, name: str = "rubrics/rubric.yaml") -> str:
    return (root / name).read_text(encoding="utf-8")


# What is painted, without a program


def state(**more: Any) -> FileState:
    from loopreview.tui.manuscripts import Title

    given = {"saved": True, "problems": (), "version": "4f2a9055", **more}
    return FileState(Title("rubric", "rubrics/rubric.yaml", "", "yaml"), 1, 8, **given)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, " Rubric  rubrics/rubric.yaml · disk 4f2a"),
        ({"problems": [1, 2], "saved": False}, "· 2 problems, not saved · disk 4f2a"),
        ({"saved": False}, "· valid, not saved · disk 4f2a"),
        ({"saved": False, "conflict": True}, "not saved · changed on disk too · disk 4f2a"),
        ({"problem": "gone", "version": ""}, "· cannot be read · not on disk"),
    ],
)
@pytest.mark.parametrize("width", [70, 80, 160])
def test_the_header_says_how_the_file_stands(more: dict[str, Any], says: str, width: int) -> None:
    line = rubric_view.header(state(**more), width).plain
    assert width < 80 or says in line
    assert len(line) <= width and line.rstrip().endswith("1/8")


def flip(truth: str | None, before: str, after: str, id: str = "1-1") -> Flip:
    return Flip(id, "H1", "strict", truth, before, after)  # type: ignore[arg-type]


def comparison(**more: Any) -> Comparison:
    row = JudgeFlips("strict", 1, 2, 3, 4, None)
    given = {"criterion": "H1", "labelled": 10, "judges": [row, JudgeFlips("merged", 0, 2, 8, 0, None)],
             "fixed": [flip("YES", "NO", "YES")], "broken": [flip("NO", "NO", "YES"), flip("NO", "NO", "YES", "1-2")],
             "kept": [], "moved": [flip(None, "YES", "NO", "1-9")], "waiting": 3, "unlike": 0}  # fmt: skip
    return Comparison(**{**given, **more})


def trial_of(workspace: Workspace, *comparisons: Comparison) -> Trial:
    trial = Trial(workspace, "H1 reworded", [])
    trial.comparisons = list(comparisons)
    return trial


def plain(lines: Any) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_the_table_of_flips_names_broken_ones_first(workspace: Workspace) -> None:
    lines = plain(trial_lines(trial_of(workspace, comparison()), 78, 12))
    assert lines[0] == "H1 reworded · 10 labels · 3 to come"
    assert lines[2].split() == ["strict", "10", "1", "2", "7", "1.00", "not", "measured"]
    assert lines[3].split() == ["panel", "10", "0", "2", "8", "0.50"]
    assert lines[4:] == [
        "broken 1-1 strict NO → YES · label NO",
        "broken 1-2 strict NO → YES · label NO",
        "fixed 1-1 strict NO → YES · label YES",
        "moved 1-9 strict YES → NO · no label",
    ]


@pytest.mark.parametrize("width", [24, 43, 60, 90])
@pytest.mark.parametrize("height", [5, 8, 20])
def test_no_table_leaves_its_place(workspace: Workspace, width: int, height: int) -> None:
    panel = JudgeFlips("merged", 1, 2, 3, 4, None)
    measured = comparison(judges=[JudgeFlips("漢字" * 9, 1, 2, 3, 4, Retest(13, 12)), panel], unlike=7)
    for trial in (trial_of(workspace, measured), trial_of(workspace, *[measured] * 9), trial_of(workspace)):
        lines = plain(trial_lines(trial, width, height))
        assert len(lines) <= height
        if width >= 43:
            from rich.cells import cell_len

            assert max(map(cell_len, lines)) <= width


def test_the_judges_own_steadiness_stands_beside(workspace: Workspace) -> None:
    measured = comparison(judges=[JudgeFlips("strict", 0, 0, 10, 0, Retest(13, 12))])
    assert "12 of 13 the same" in plain(trial_lines(trial_of(workspace, measured), 78, 12))[2]
    assert rubric_view.steady(trial_of(workspace, measured)) == "asked twice, the same: strict 12 of 13"
    assert "not measured" in rubric_view.steady(trial_of(workspace, comparison()))


def test_nothing_labelled_is_said(workspace: Workspace) -> None:
    lines = plain(trial_lines(trial_of(workspace, comparison(labelled=0, fixed=[], broken=[], moved=[])), 78, 12))
    assert "nobody has labelled" in lines[1]


def test_the_side_pane_shows_examples_agreement_and_tests(workspace: Workspace) -> None:
    example = Example(label="BORDERLINE_FAIL", response=HOSTILE, reasoning="x")
    examples.add(workspace.store, "H1", example, "ann")
    workspace.refresh()
    criterion = workspace.rubric.criterion("H1")
    assert criterion is not None
    lines = plain(rubric_view.side_lines(Aside(criterion, 1, 3, AGREEMENT, None), 42, 40))
    assert lines[:2] == ["H1 Answers every topic", "help · NA counts as NO"]
    assert "Examples  1 in the file, 1 from review" in lines and "3 or more help the judges" in lines
    assert any(line.startswith(" ~FAIL [/foo] [bold ␛]0;owned␇") for line in lines)
    split = [line.split() for line in lines]
    assert ["strict", "12", "0.61", "0.90", "0.75"] in split and ["people", "9", "0.80"] in split
    assert "Tests  3 labels" in lines
    assert " counting …" in plain(rubric_view.side_lines(Aside(criterion, 1, 3, None, None), 42, 40))
    assert max(map(len, lines)) <= 42


def test_a_difference_is_folded_and_keeps_its_signs() -> None:
    lines = plain(rubric_view.diff_lines(["--- a", "+++ b", "@@ -1 +1 @@", "-" + "old " * 20, "+new\x1b"], 40))
    assert lines[:3] == ["--- a", "+++ b", "@@ -1 +1 @@"] and lines[-1] == "+new␛"
    assert len(lines) > 5 and all(line.startswith("-") for line in lines[3:-1]) and max(map(len, lines)) <= 40


# What an edit changed


def test_only_changed_questions_are_on_trial(judged: Workspace, root: Path) -> None:
    path = root / "rubrics" / "rubric.yaml"
    path.write_text(RUBRIC.replace("help: {weight: 1}", "help: {weight: 1, floor: 0.5}"), encoding="utf-8")
    judged.refresh()
    assert rubric_trial(judged, "rubrics/rubric.yaml", RUBRIC, RUBRIC, "ann") is None
    path.write_text(RUBRIC.replace(OLD, NEW), encoding="utf-8")
    judged.refresh()
    found = rubric_trial(judged, "rubrics/rubric.yaml", RUBRIC, RUBRIC, "ann")
    assert found is not None and found.changed == ["H1"] and found.job == ["--all", "--only", "H1"]
    path.write_text(RUBRIC.replace(OLD, NEW).replace("safe to follow", "safe"), encoding="utf-8")
    judged.refresh()
    found = rubric_trial(judged, "rubrics/rubric.yaml", RUBRIC, RUBRIC, "ann")
    assert found is not None and found.changed == ["H1", "S1"] and found.job == ["--all"]


def test_an_edit_is_held_against_ones_own_labels_or_else_everybodys(judged: Workspace) -> None:
    label(judged, "1-1", "NO", reviewer="bob")
    assert truths_of(judged, "H1", "ann") == {"1-1": "YES", "1-2": "NO", "1-3": "NO"}
    assert truths_of(judged, "H1", "cleo") == {"1-2": "NO", "1-3": "NO"}, "1-1 is contested"


# Keys


async def test_keys_are_text_while_the_text_has_the_focus(workspace: Workspace, make: Any, root: Path) -> None:
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("enter", "w", "d", "q", "3", "question_mark", "b", "y", "a", "x")
        assert editor_of(app).text.startswith("wdq3?byax") and disk(root) == RUBRIC
        assert text_of(app).splitlines()[-1].startswith(" esc leaves the text")
        await pilot.press("escape")
        await pilot.pause(0.3)
        assert "not saved" in text_of(app) and "w write" in text_of(app)


async def test_a_text_with_problems_is_not_written_and_kept(workspace: Workspace, make: Any, root: Path) -> None:
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen_of(app).file.replace(RUBRIC.replace("question: Does", "questoin: Does"))  # type: ignore[union-attr]
        await pilot.press("w")
        assert "not written, 1 problem; the text is kept" in text_of(app) and disk(root) == RUBRIC
        await pilot.press("right_square_bracket")
        assert editor_of(app).line == 9
        assert "line 9: unknown key `questoin` in H1; did you mean `question`?" in text_of(app)
        assert any(span.style == "underline" for span in editor_of(app).get_line(8).spans)
        assert not editor_of(app).get_line(7).spans
    again = make(workspace)
    async with again.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "questoin" in editor_of(again).text and "not written is back" in text_of(again)


async def test_validation_waits_for_the_last_key(workspace: Workspace, make: Any) -> None:
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        seen = []
        file = screen_of(app).file
        assert file is not None
        validate = file.validate
        file.validate = lambda: (seen.append(time.monotonic()), validate())[1]  # type: ignore[method-assign,func-returns-value]
        await pilot.press("enter", "a", "b", "c")
        assert seen == []
        await until(pilot, lambda: "1 problem, not saved" in text_of(app))
        assert len(seen) == 1


async def test_what_is_typed_is_written_to_the_byte(workspace: Workspace, make: Any, root: Path) -> None:
    path = root / "rubrics" / "rubric.yaml"
    odd = RUBRIC.replace("name: small\n", "name:   small   # kept\u2028 \x85\n\n").replace("\n", "\r\n").encode()
    path.write_bytes(odd)
    workspace.refresh()
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("enter", *"# x", "enter", "escape", "w")
        assert path.read_bytes() == b"# x\r\n" + odd
        assert "no question changed" in text_of(app)


async def test_what_others_write_is_taken_in_with_cursor_and_undo(workspace: Workspace, make: Any, root: Path) -> None:
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        editor = editor_of(app)
        editor.go_to_line(13)
        await pilot.press("enter", "X", "escape")
        (root / "rubrics" / "rubric.yaml").write_text("# theirs\n# more\n" + RUBRIC, encoding="utf-8")
        screen_of(app).poll()
        assert editor.text.startswith("# theirs\n# more\nname: small") and "X  - id: S1" in editor.text
        assert editor.cursor_location == (14, 1)
        await pilot.pause()
        assert "taken in; your own changes are still there" in text_of(app)
        editor.undo()
        editor.undo()
        assert editor.text == RUBRIC


async def test_a_conflict_is_shown_and_nothing_is_overwritten(workspace: Workspace, make: Any, root: Path) -> None:
    app = make(workspace)
    theirs = RUBRIC.replace("name: small", "name: theirs")
    mine = RUBRIC.replace("name: small", "name: mine")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        file = screen_of(app).file
        assert file is not None
        file.replace(mine)
        (root / "rubrics" / "rubric.yaml").write_text(theirs, encoding="utf-8")
        screen_of(app).poll()
        await pilot.press("w")
        assert disk(root) == theirs and editor_of(app).text == mine
        assert "changed on disk too" in text_of(app) and "D takes the disk's" in text_of(app)
        await pilot.press("d")
        await pilot.pause()
        assert "-name: theirs" in text_of(app) and "+name: mine" in text_of(app)
        await pilot.press("escape", "D")
        assert editor_of(app).text == theirs
        await pilot.press("u")
        assert editor_of(app).text == mine
        await pilot.press("w")
        assert disk(root) == mine, "the disk's text was seen and left"


async def test_keeping_ones_own_text_needs_its_own_key(workspace: Workspace, make: Any, root: Path) -> None:
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen_of(app).file.replace(RUBRIC.replace("name: small", "name: mine"))  # type: ignore[union-attr]
        (root / "rubrics" / "rubric.yaml").write_text(RUBRIC.replace("small", "theirs"), encoding="utf-8")
        await pilot.press("w", "M")
        assert disk(root) == RUBRIC.replace("small", "theirs")
        await pilot.press("w")
        assert disk(root) == RUBRIC.replace("small", "mine")


async def test_a_file_that_is_gone_or_no_text_is_said(workspace: Workspace, make: Any, root: Path) -> None:
    (root / "prompts" / "user_sim.md").write_bytes(b"\xff")
    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("l")
        await pilot.pause()
        assert "cannot be read" in text_of(app) and "is not UTF-8 text" in text_of(app)
        for key in ("enter", "w", "d", "v", "t", "u", "o", "right_square_bracket", "J", "G", "b", "y", "a", "x", "D"):
            await pilot.press(key)
        await pilot.press("h")
        (root / "rubrics" / "rubric.yaml").unlink()
        screen_of(app).poll()
        assert "rubrics/rubric.yaml: cannot be read" in text_of(app)
        await pilot.press("w")
        assert disk(root) == RUBRIC


async def test_hostile_text_is_shown_as_text(judged: Workspace, make: Any, root: Path) -> None:
    text = RUBRIC.replace("no sister", HOSTILE.replace("\x1b", "").replace("\x07", "").replace("\ufeff", ""))
    text = text.replace("name: small", f"# {HOSTILE}\nname: small".replace("\x1b", "").replace("\x07", ""))
    (root / "rubrics" / "rubric.yaml").write_text(text, encoding="utf-8")
    (root / "prompts" / "system.md").write_text(HOSTILE, encoding="utf-8")
    judged.refresh()
    for size in ((80, 24), (160, 45)):
        app = make(judged)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for key in ("J", "v", "d", "escape", "l", "l", "l", "enter", "escape", "d", "v", "escape", "h", "h", "h"):
                await pilot.press(key)
                shown = text_of(app)
                assert not any(c in shown for c in "\x1b\x07\x9b\u202e\u2066\u200b\ufeff\u2028\x85")
            await pilot.press("g")
            assert "[/foo] [bold" in text_of(app)


async def test_a_pasted_control_character_becomes_a_picture(workspace: Workspace, make: Any) -> None:
    from textual import events as textual_events

    app = make(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("enter")
        app.post_message(textual_events.Paste("# \x1b]0;x\x07\r\nb\u2028c "))
        await pilot.pause()
        assert unshield(editor_of(app).text).startswith("# \x1b]0;x\x07\nb\u2028c name")
        assert "# ␛]0;x␇" in text_of(app)


# The trial of an edit


def write(app: LoopReview, text: str) -> None:
    file = screen_of(app).file
    assert file is not None
    file.replace(text)
    screen_of(app).action_write()


async def test_an_edit_shows_calls_first_then_what_flips_and_can_be_taken_back(
    judged: Workspace, make: Any, root: Path
) -> None:
    def count() -> int:
        return sum(len(verdicts.of(judged.store, id)) for id in transcripts.ids(judged.store))

    app = make(judged)
    had = count()
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        screen = screen_of(app)
        screen.open_at("H1")
        await pilot.pause()
        before = {id: verdicts.answers(judged.store, id, "H1") for id in ("1-1", "1-2", "1-3")}
        write(app, RUBRIC.replace(OLD, NEW))
        await until(pilot, lambda: "H1 reworded: 9 calls, about $0.00 · a asks" in text_of(app))
        await pilot.press("w", "enter", "escape")
        assert count() == had, "neither writing again nor enter asks anybody"
        await pilot.press("a")
        await until(pilot, lambda: screen.trial.shown is not None and screen.trial.shown.waiting == 0)
        assert count() == had + 9, "one criterion, three judges, three transcripts"
        truth = {"1-1": "YES", "1-2": "NO", "1-3": "NO"}
        expected = set()
        for id, given in before.items():
            now = {a.backend: a.answer for a in verdicts.answers(judged.store, id, "H1")}
            expected |= {(id, a.backend) for a in given if (a.answer == truth[id]) != (now[a.backend] == truth[id])}
        assert expected and {(f.transcript, f.backend) for f in screen.trial.flips} == expected
        await until(pilot, lambda: "y keeps the edit · b goes back" in text_of(app))
        shown = text_of(app)
        assert "H1 reworded · 3 labels" in shown and "asked twice: not measured" in shown
        await pilot.press("b")
        assert disk(root) == RUBRIC and "the earlier verdicts count again" in text_of(app)
    assert judged.rubric.criterion("H1").question == OLD  # type: ignore[union-attr]
    from loopreview import assess

    assert assess.make_plan(judged, transcripts.ids(judged.store)).stale == 0


async def test_asking_can_be_stopped_and_goes_on_where_it_was(
    judged: Workspace, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPREVIEW_OFFLINE_LATENCY", "0.5")
    settings = judged.root / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    strict = 'model = "offline/judge-strict"'
    settings.write_text(text.replace(strict, f"{strict}\nconcurrency = 1"), encoding="utf-8")
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        trial = screen_of(app).trial
        write(app, RUBRIC.replace(OLD, NEW))
        await until(pilot, lambda: "9 calls" in text_of(app))
        await pilot.press("a")
        await until(pilot, lambda: trial.shown is not None and trial.shown.waiting < 9)
        await pilot.press("x")
        await until(pilot, lambda: trial._process is None)
        assert trial.shown is not None and 0 < trial.shown.waiting < 9
        monkeypatch.setenv("LOOPREVIEW_OFFLINE_LATENCY", "0")
        await pilot.press("a")
        await until(pilot, lambda: trial.shown is not None and trial.shown.waiting == 0)


async def test_an_edit_that_is_kept_stays(judged: Workspace, make: Any, root: Path) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        write(app, RUBRIC.replace(OLD, NEW))
        await until(pilot, lambda: "a asks" in text_of(app))
        await pilot.press("escape")
        assert "not asked now" in text_of(app)
        await pilot.press("y")
        assert "kept" in text_of(app) and NEW in disk(root)
        await pilot.press("b")
        assert "no edit on trial" in text_of(app) and NEW in disk(root)


async def test_a_second_edit_goes_back_to_before_the_first(judged: Workspace, make: Any, root: Path) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        write(app, RUBRIC.replace(OLD, NEW))
        write(app, RUBRIC.replace(OLD, "Is it so?"))
        await until(pilot, lambda: "a asks" in text_of(app))
        await pilot.press("enter", "Z", "escape", "b")
        assert "not written" in text_of(app) and "Is it so?" in disk(root)
        await pilot.press("u", "b")
        assert disk(root) == RUBRIC


async def test_a_test_of_the_criterion_compares_with_the_version_before(
    judged: Workspace, make: Any, root: Path
) -> None:
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC.replace(OLD, NEW), encoding="utf-8")
    judged.refresh()
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("t")
        assert "put the cursor on a criterion" in text_of(app)
        await pilot.press("J", "t")
        await until(pilot, lambda: "test of H1: 9 calls" in text_of(app))
        await pilot.press("a")
        await until(pilot, lambda: screen_of(app).trial.hint.startswith("esc closes"))
        shown = text_of(app)
        assert "H1 against" in shown and "· 3 labels" in shown and "y keep" not in shown
        await pilot.press("T")
        await until(pilot, lambda: "H1, asked twice: 9 calls" in text_of(app))


async def test_a_test_without_an_earlier_wording_says_so(judged: Workspace, make: Any) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("J", "t")
        await until(pilot, lambda: "no earlier wording" in text_of(app))


async def test_a_changed_prompt_begins_a_new_line_in_the_gate(judged: Workspace, make: Any) -> None:
    app = make(judged)
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.pause()
        await pilot.press("l", "l")
        await pilot.pause()
        before = editor_of(app).text
        write(app, before + "\nNever give unsafe advice.\n")
        assert "a new line in the gate begins, 0 of 2 batches" in text_of(app)
        write(app, before)
        await pilot.pause()
        assert "back on an earlier line of the gate: batch 1" in text_of(app)
        await pilot.press("l")
        await pilot.pause()
        write(app, editor_of(app).text + "\nBe brief.\n")
        assert "nothing is judged or made anew" in text_of(app)


async def test_a_changed_judges_prompt_makes_everything_stale(judged: Workspace, make: Any) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        screen_of(app).action_file(4)
        await pilot.pause()
        write(app, editor_of(app).text + "\nBe strict.\n")
        await until(pilot, lambda: "judges' prompt changed: 9 calls" in text_of(app))
        assert "3 labels" in text_of(app)


async def test_versions_are_listed_and_one_can_be_taken_into_the_text(judged: Workspace, make: Any, root: Path) -> None:
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC.replace(OLD, NEW), encoding="utf-8")
    judged.refresh()
    judged.keep_rubric()
    app = make(judged)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("v")
        await pilot.pause()
        shown = text_of(app)
        assert "now · H1 reworded" in shown and "the first" in shown
        await until(pilot, lambda: "of 3" in text_of(app))
        await pilot.press("j", "enter")
        await pilot.pause()
        assert editor_of(app).text == RUBRIC and "not written" in text_of(app) and NEW in disk(root)
        await pilot.press("u")
        assert NEW in editor_of(app).text


async def test_an_edit_made_elsewhere_is_on_trial_too(judged: Workspace, make: Any, root: Path) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        (root / "rubrics" / "rubric.yaml").write_text(RUBRIC.replace(OLD, NEW), encoding="utf-8")
        await until(pilot, lambda: "H1 reworded: 9 calls" in text_of(app))
        await pilot.press("b")
        assert disk(root) == RUBRIC


async def test_review_leads_here_and_back_to_what_flipped(
    judged: Workspace, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopreview.tui.screens.review import Review

    told: list[list[tuple[str, str]]] = []
    monkeypatch.setattr(Review, "open_flips", lambda self, places: told.append(places), raising=False)
    app = make(judged, screen="review")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        edit_criterion(app, "S1", back_to="review")
        await until(pilot, lambda: isinstance(app.screen, Rubric) and screen_of(app).criterion == "S1")
        screen_of(app).trial.shown = trial_of(judged, comparison())
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, Review) and told == [[("1-1", "H1"), ("1-2", "H1"), ("1-9", "H1")]]


async def test_leaving_while_the_judges_are_asked_leaves_nothing_behind(judged: Workspace, make: Any) -> None:
    app = make(judged)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        write(app, RUBRIC.replace(OLD, NEW))
        await until(pilot, lambda: "a asks" in text_of(app))
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
async def test_the_screen_is_painted_so(
    workspace: Workspace, make: Any, golden: Any, size: tuple[int, int], root: Path
) -> None:
    app = make(workspace)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        file = screen_of(app).file
        assert file is not None
        wrong = RUBRIC.replace("question: Does", "questoin: Does").replace("help: {weight: 1}", "help: {weight: 0.5}")
        file.replace(shield(wrong))
        editor_of(app).go_to_line(9, 6)
        screen_of(app).agreement = AGREEMENT
        await pilot.pause()
        screen_of(app).repaint()
        await pilot.pause()
        golden(f"rubric-{size[0]}x{size[1]}", app)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
async def test_a_trial_is_painted_so(workspace: Workspace, make: Any, golden: Any, size: tuple[int, int]) -> None:
    app = make(workspace)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = screen_of(app)
        screen.agreement = AGREEMENT
        screen.open_at("H1")
        screen.trial.shown = trial_of(workspace, comparison())
        screen.trial.shown.look = lambda: False  # type: ignore[method-assign]
        screen.trial.question = "H1 reworded: 9 calls, about $0.02 · a asks the judges · esc not now"
        await pilot.pause()
        screen.repaint()
        await pilot.pause()
        golden(f"rubric-trial-{size[0]}x{size[1]}", app)
