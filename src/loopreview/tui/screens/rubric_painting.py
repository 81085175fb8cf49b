"""The parts of the screen of rubric and prompts, painted from what it knows."""

from typing import TYPE_CHECKING

from textual.content import Content

from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.tui import keys, rubric_view
from loopreview.tui.page import fold
from loopreview.tui.rubric_view import Aside, FileState
from loopreview.tui.shield import unshield
from loopreview.tui.widgets.card import Line, paint
from loopreview.tui.widgets.editor import Editor

if TYPE_CHECKING:
    from loopreview.tui.screens.rubric import Rubric


def top(screen: "Rubric", width: int) -> Content:
    title, file = screen.titles[screen.number], screen.file
    number, of = screen.number + 1, len(screen.titles)
    if file is None:
        return rubric_view.header(FileState(title, number, of, True, (), "", problem=screen.unreadable), width)
    version = content_hash(unshield(file.manuscript.disk))
    if title.kind == "rubric":
        version = screen.trial.rubric_version or version
    state = FileState(title, number, of, file.saved, file.problems, version, file.theirs is not None)
    return rubric_view.header(state, width)


def below(screen: "Rubric", width: int, height: int) -> Content:
    """The trial under the text, where there is no side pane."""
    trial = screen.trial.shown
    return (
        Content("") if trial is None else paint(rubric_view.trial_lines(trial, width, max(5, min(11, height * 2 // 5))))
    )


def side(screen: "Rubric", width: int, height: int) -> Content:
    return paint(_side(screen, width, height))


def _side(screen: "Rubric", width: int, height: int) -> list[Line]:
    id, trial, workspace = screen.criterion, screen.trial.shown, screen.app.workspace
    try:
        found = workspace.rubric.criterion(id) if id else None
        own = workspace.file_rubric.criterion(id) if id else None
    except UserError:
        found = own = None
    if found is not None:
        in_file = len(own.examples) if own else 0
        aside = Aside(found, in_file, screen.labels_on(id), screen.agreement, trial)
        return rubric_view.side_lines(aside, width, height)
    if trial is not None:
        return rubric_view.trial_lines(trial, width, height)
    title = screen.titles[screen.number]
    about = rubric_view.ABOUT.get(title.part or title.kind, "")
    said = f"{id} is not in the rubric that was written last" if id else about
    return [((line, "dim"),) for line in fold(said, width)]


def next_line(screen: "Rubric", width: int) -> Content:
    """What was said or asked, else a problem, else what can be done."""
    if screen.unreadable:
        return rubric_view.message(screen.unreadable, "error", width)
    if screen.said:
        return rubric_view.message(screen.said, screen.tone, width)
    if screen.trial.question:
        return rubric_view.message(screen.trial.question, "ask", width)
    file = screen.file
    if file is not None and file.problems:
        return rubric_view.problem_line(file.problems, file.editor.line, width)
    return rubric_view.message(screen.trial.hint or _hint(screen), "", width)


def _hint(screen: "Rubric") -> str:
    file, id = screen.file, screen.criterion
    if file is None:
        return ""
    if not file.saved:
        return "not written yet: w writes, d shows what changed"
    try:
        found = screen.app.workspace.rubric.criterion(id) if id else None
    except UserError:
        found = None
    if found is None:
        return "enter edits this file · l next file"
    return f"{found.id} {found.name} · enter edits · t tests it on labels"


def foot(screen: "Rubric", width: int) -> Content:
    if isinstance(screen.focused, Editor):
        return Content("esc leaves the text")
    if screen.trial.shown is None:
        return Content(keys.footer(keys.RUBRIC_FOOTER, screen.app.keymap, width))
    footer = keys.RUBRIC_TEST_FOOTER if screen.trial.rewording is None else keys.RUBRIC_TRIAL_FOOTER
    return Content(keys.footer(footer, screen.app.keymap, width))
