"""Text that a terminal would obey, or that markup would trip over, in every place where text of others is shown."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from loopreview import report, review
from loopreview.models.rubric import Example
from loopreview.models.settings import ModelSettings
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, examples, transcripts
from loopreview.tui import agreement_view, loop_view
from loopreview.tui.page import PageCache, clip, fold, sections_of
from loopreview.tui.why_view import why_lines
from loopreview.tui.widgets.card import paint

HOSTILE = "[/foo] [bold red] \x1b[31m\x1b]0;title\x07 \u202eabc\u202c zero\u200bwidth \x9b2J $x ]]> {y}"
FORBIDDEN = "\x1b\x07\x9b\u202e\u200b"


def text_of(app: Any) -> str:
    return "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())


@pytest.fixture
def poisoned(make_workspace: Any) -> Iterator[Any]:
    """A workspace whose every name is hostile: persona, file, judge's words, reviewer, note, example, model."""
    talk = [Message(role="user", text=HOSTILE), Message(role="assistant", text=HOSTILE * 2, model=HOSTILE)]
    workspace = make_workspace([{"U1": "NNY"}] * 2, messages=[talk], reasoning=HOSTILE, quote=HOSTILE)
    batch = batches.create_imported(workspace.store)
    named = Transcript(
        id="", batch=0, number=0, origin="imported", source=f"{HOSTILE}.json#{HOSTILE}",
        persona={"name": HOSTILE, HOSTILE: HOSTILE}, messages=[Message(role="assistant", text=HOSTILE * 3), *talk],
    )  # fmt: skip
    transcripts.add_imported(workspace.store, batch.id, [named])
    model = ModelSettings(model=f"offline/{HOSTILE}")
    workspace.settings = workspace.settings.model_copy(update={"assistant": model, "judges": {HOSTILE: model}})
    for id in ("1-1", "1-2", "2-1"):
        for criterion in ("U1", "U2", "T1", "T2", "S1"):
            for name in (HOSTILE, "bob"):
                review.record(workspace, "answer", reviewer=name, transcript=id, criterion=criterion, answer="YES")
        review.record(workspace, "note", reviewer=HOSTILE, transcript=id, criterion="U1", note=HOSTILE)
        review.record(workspace, "gap", reviewer=HOSTILE, transcript=id, note=HOSTILE)
        data = {"exchange": 1, "better": HOSTILE}
        review.record(workspace, "mark", reviewer=HOSTILE, transcript=id, note=HOSTILE, data=data)
        review.record(workspace, "blame", reviewer="bob", transcript=id, criterion="U1", data={"blame": HOSTILE})
    example = Example(label="FAIL", context=HOSTILE, response=HOSTILE, reasoning=HOSTILE)
    examples.add(workspace.store, "U1", example, HOSTILE)
    yield workspace


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_no_place_of_review_obeys_or_fails(poisoned: Any, make_app: Any, size: tuple[int, int]) -> None:
    app = make_app(poisoned)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        for key in (
            "l", "h", "z", "z", "z", "z", "v", "escape", "c", "escape", "m", "escape", "f", "escape", "b", "escape",
            "w", "escape", "F", "escape", "i", "j", "escape", "question_mark", "escape", "slash", "f", "escape",
            "y", "u", "U", "B", "B", "Y", "tab",
        ):  # fmt: skip
            await pilot.press(key)  # waits until it is painted
            assert not set(text_of(app)) & set(FORBIDDEN), key
        app.screen.set_filter("text", words=HOSTILE)
        await pilot.pause()
        assert not set(text_of(app)) & set(FORBIDDEN)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_no_place_of_loop_obeys_or_fails(poisoned: Any, make_app: Any, size: tuple[int, int]) -> None:
    app = make_app(poisoned, screen="loop", numbers=report.status(poisoned) | {"rubric": HOSTILE})
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        for key in ("j", "k", "w", "space", "escape", "i", "j", "escape", "c", "u", "question_mark", "escape"):
            await pilot.press(key)  # waits until it is painted
            assert not set(text_of(app)) & set(FORBIDDEN), key
        app.screen._say(HOSTILE, "error")
        app.notify(HOSTILE, markup=False)
        await pilot.pause()
        assert "[/foo]" in text_of(app)


def test_lines_made_of_others_words_are_safe_at_any_width(poisoned: Any) -> None:
    found, numbers = report.agreement(poisoned, with_intervals=True), report.status(poisoned)
    found = {**found, "repeats": [{**row, "reviewers": 1, "names": [HOSTILE]} for row in found["humans"]]}
    numbers["without"] = {HOSTILE: {"passed": 1, "n": 2}}
    names = {"U1": HOSTILE * 3}
    for width in (20, 40, 79, 100, 159):
        for lines in (
            agreement_view.detail(found, names, "U1", width),
            agreement_view.table(found, names, "U1", width, 9),
            why_lines(numbers, width),
        ):
            assert not set(paint(lines).plain) & set(FORBIDDEN)
        assert not set(loop_view.advice(numbers, width).plain) & set(FORBIDDEN)


@pytest.mark.parametrize(
    "text", ["\u0301" * 200_000, "\x1b[31m" * 40_000, "\u200b" * 200_000, "👩‍👩‍👧‍👦" * 25_000, "[" * 200_000]
)
def test_200_kilobytes_of_anything_are_laid_out_in_a_blink(text: str) -> None:
    sections = sections_of([Message(role="user", text="q"), Message(role="assistant", text=text)])
    began = time.perf_counter()
    PageCache().page("k", sections, 78)
    clip(text, 60)
    fold(text[:6000], 38)
    assert time.perf_counter() - began < 0.2
