"""Rubric and prompts: the files of a workspace, edited where their effect is seen."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static, TextArea

from loopreview.loop.rubric_flips import labels
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion
from loopreview.rules.documents import Problem
from loopreview.tui import keys, rubric_view
from loopreview.tui.counting import Counter, run_loopreview
from loopreview.tui.line_merge import changes, merge
from loopreview.tui.manuscripts import Manuscript, outline, titles
from loopreview.tui.rubric_view import Aside, FileState
from loopreview.tui.screens.rubric_trial import TrialRunner
from loopreview.tui.shield import unshield
from loopreview.tui.widgets.editor import Editor

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

VALIDATE_S, POLL_S, LOOK_S = 0.15, 1.0, 0.5


def edit_criterion(app: App[Any], criterion: str, *, back_to: str = "") -> None:
    """Go to this screen with the cursor on a criterion; `q` then leads back to the mode `back_to`. Where that screen
    has a method `open_flips`, it is told what flipped: (transcript, criterion) pairs, broken ones first."""
    app.switch_mode("rubric")
    screen = app.screen_stack[0]
    if isinstance(screen, Rubric):
        screen.open_at(criterion, back_to=back_to)


async def agreement_of(root: Path) -> dict[str, Any]:
    """What `loopreview agreement --json` prints, from a process of its own. Raises UserError."""
    import json

    code, out, errors = await run_loopreview(["agreement", "--json", "-w", str(root)])
    try:
        found = json.loads(out) if code == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(errors or "agreement could not be counted; try `loopreview agreement`")
    return found


class OpenFile:
    """A file that was opened on the screen: its text area, and what is known of its text."""

    def __init__(self, manuscript: Manuscript, editor: Editor) -> None:
        self.manuscript, self.editor = manuscript, editor
        self.problems: list[Problem] = []
        self.outline: list[tuple[int, str]] = []
        self.theirs: str | None = None
        """The text on disk while it conflicts with the one here."""

    @property
    def saved(self) -> bool:
        return self.editor.text == self.manuscript.disk

    def validate(self) -> None:
        text = self.editor.text
        self.problems = self.manuscript.problems(text)
        if self.manuscript.title.kind == "rubric":
            self.outline = outline(text)
        self.editor.underline(problem.line for problem in self.problems)
        self.manuscript.keep_draft(text)


class Rubric(Screen[None]):
    """One file at a time, full width; from 100 columns what is known of the criterion at the cursor beside it."""

    CSS_PATH = "rubric.tcss"
    KEYS = keys.RUBRIC
    BINDINGS = keys.bindings(keys.RUBRIC)
    AUTO_FOCUS = ""
    COUNT_AGREEMENT: ClassVar[Callable[[Path], Awaitable[dict[str, Any]]]] = staticmethod(agreement_of)

    app: "LoopReview"

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, OpenFile] = {}
        self.number = 0
        self.said, self.tone = "", ""
        self.agreement: dict[str, Any] | None = None
        self.back_to = ""
        self._open_at = ""
        self._unreadable = ""
        self._shown: dict[str, Content] = {}
        self._validating: Timer | None = None
        self._labels: dict[str, int] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="top", markup=False)
        with Horizontal(id="desk"):
            yield Container(id="texts")
            yield Static(id="side", markup=False)
        yield Static(id="below", markup=False)
        yield Static(id="next", markup=False)
        yield Static(id="foot", markup=False)

    # Opening

    def on_mount(self) -> None:
        self.titles = titles(self.app.workspace)
        self.trial = TrialRunner(self)
        self.counter = Counter(self.app.workspace.root, self._agreed, lambda why: None, type(self).COUNT_AGREEMENT)
        self.set_interval(POLL_S, self.poll)
        self.set_interval(LOOK_S, self.trial.look)
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._follow_theme())
        self._open_file(0)
        self.set_timer(0.2, self.counter.ask)

    async def on_unmount(self) -> None:
        await self.counter.stop()

    def on_screen_resume(self) -> None:
        if self.files:
            self._labels.clear()
            self.trial.resume()
            self.poll()
            self.repaint()

    def open_at(self, criterion: str, *, back_to: str = "") -> None:
        """Show the rubric with the cursor on a criterion; `q` then leads back to the mode `back_to`."""
        self._open_at, self.back_to = criterion, back_to
        if self.files:
            self._open_file(0)

    def _open_file(self, number: int) -> None:
        self.number = number % len(self.titles)
        self._unreadable = ""
        title = self.titles[self.number]
        if title.name not in self.files:
            manuscript = Manuscript(self.app.workspace.root, title)
            try:
                text = manuscript.open()
            except UserError as error:
                self._unreadable = str(error)
            else:
                editor = Editor(
                    text, language=title.language, wrap=title.kind == "prompt", id=f"text-{self.number}"
                )
                self.files[title.name] = OpenFile(manuscript, editor)
                self.query_one("#texts", Container).mount(editor)
                self.files[title.name].validate()
                if text != manuscript.disk:
                    self.say("a text that was not written is back · w writes it · d shows what it changes")
        for name, file in self.files.items():
            file.editor.display = name == title.name and not self._unreadable
        self.call_after_refresh(self._opened)

    def _opened(self) -> None:
        if self._open_at and self.file is not None and self.number == 0:
            line = next((line for line, id in self.file.outline if id == self._open_at), 0)
            if line:
                self.file.editor.go_to_line(line)
            else:
                self.say(f"{self._open_at} is not in the file")
            self._open_at = ""
        self.repaint()

    @property
    def file(self) -> OpenFile | None:
        """The file that is shown; None where it cannot be read."""
        return None if self._unreadable else self.files.get(self.titles[self.number].name)

    @property
    def criterion(self) -> str:
        """The id of the criterion at the cursor; empty outside the rubric's criteria."""
        file = self.file
        if file is None or file.manuscript.title.kind != "rubric":
            return ""
        above = [id for line, id in file.outline if line <= file.editor.line]
        return above[-1] if above else ""

    # Painting

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    def repaint(self) -> None:
        width, height = self.size.width, self.size.height
        if width < 20 or not self.is_mounted:
            return
        self._put("top", rubric_view.header(self._state(), width))
        trial = self.trial.shown
        wide = self.query_one("#side").display
        self.set_class(trial is not None, "trial")
        if wide:
            side = self.query_one("#side", Static).size
            self._put("side", rubric_view.paint(self._side(side.width - 1, side.height)))
        elif trial is not None:
            most = max(5, min(11, height * 2 // 5))
            lines = rubric_view.trial_lines(trial, width - 2, most)
            self._put("below", rubric_view.paint(lines), layout=True)
        self._put("next", self._next(width - 2))
        self._put("foot", Content(self._foot(width - 2)))

    def _put(self, id: str, content: Content, *, layout: bool = False) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.query_one(f"#{id}", Static).update(content, layout=layout)

    def _state(self) -> FileState:
        title, file = self.titles[self.number], self.file
        if file is None:
            return FileState(title, self.number + 1, len(self.titles), True, (), "", problem=self._unreadable)
        version = content_hash(unshield(file.manuscript.disk))
        if title.kind == "rubric":
            version = self.trial.rubric_version or version
        return FileState(
            title, self.number + 1, len(self.titles), file.saved, file.problems, version, file.theirs is not None
        )

    def _next(self, width: int) -> Content:
        file = self.file
        if self._unreadable:
            return rubric_view.message(self._unreadable, "error", width)
        asked = self.trial.question
        if asked:
            return rubric_view.message(asked, "ask", width)
        if self.said:
            return rubric_view.message(self.said, self.tone, width)
        if file is not None and file.problems:
            return rubric_view.problem_line(file.problems, file.editor.line, width)
        return rubric_view.message(self.trial.hint or self._hint(), "", width)

    def _hint(self) -> str:
        file, id = self.file, self.criterion
        if file is None:
            return ""
        if not file.saved:
            return "not written yet: w writes, d shows what changed"
        found = self.app.workspace.rubric.criterion(id) if id else None
        if found is None:
            return "enter edits this file · l next file"
        return f"{found.id} {found.name} · enter edits · t tests it against labels"

    def _foot(self, width: int) -> str:
        if isinstance(self.focused, Editor):
            return "esc leaves the text"
        footer = keys.RUBRIC_TRIAL_FOOTER if self.trial.shown is not None else keys.RUBRIC_FOOTER
        return keys.footer(footer, self.app.keymap, width)

    def _side(self, width: int, height: int) -> list[rubric_view.Line]:
        id = self.criterion
        try:
            workspace = self.app.workspace
            found: Criterion | None = workspace.rubric.criterion(id) if id else None
            own = workspace.file_rubric.criterion(id) if id else None
        except UserError:
            found = own = None
        trial = self.trial.shown
        if found is None:
            if trial is not None:
                return rubric_view.trial_lines(trial, width, height)
            said = f"{id} is not in the rubric that was written last" if id else self._about()
            return [((line, "dim"),) for line in rubric_view.fold(said, width)]
        if id not in self._labels:
            self._labels[id] = len(labels(workspace, id))
        in_file = len(own.examples) if own else 0
        return rubric_view.side_lines(Aside(found, in_file, self._labels[id], self.agreement, trial), width, height)

    def _about(self) -> str:
        title = self.titles[self.number]
        return rubric_view.ABOUT.get(title.part or title.kind, "")

    def say(self, text: str, tone: str = "") -> None:
        """What the line above the footer says until the next key that moves."""
        self.said, self.tone = text, tone
        self.repaint()

    def forget_labels(self) -> None:
        """Labels and agreement are to be read anew."""
        self._labels.clear()

    def _agreed(self, found: dict[str, Any]) -> None:
        self.agreement = found
        self.repaint()

    def _follow_theme(self) -> None:
        for file in self.files.values():
            file.editor.follow_theme()

    # The text

    @on(TextArea.Changed)
    def _typed(self) -> None:
        self.said = ""
        if self._validating is not None:
            self._validating.stop()
        self._validating = self.set_timer(VALIDATE_S, self._validate)

    def _validate(self) -> None:
        if self.file is not None:
            self.file.validate()
            self.repaint()

    @on(TextArea.SelectionChanged)
    def _moved(self) -> None:
        self.call_later(self.repaint)

    @on(Editor.Left)
    def _left(self) -> None:
        self.set_focus(None)
        self._validate()

    def on_descendant_focus(self) -> None:
        self.said = ""
        self.repaint()

    def on_descendant_blur(self) -> None:
        self.call_later(self.repaint)

    def poll(self) -> None:
        """Take in what others changed in the files that are open."""
        for file in self.files.values():
            try:
                theirs = file.manuscript.look()
            except UserError as error:
                if file is self.file and self.said != str(error):
                    self.say(str(error), "error")
                continue
            if theirs is not None and theirs != file.theirs:
                self._take_in(file, theirs)

    def _take_in(self, file: OpenFile, theirs: str) -> None:
        base, mine = file.manuscript.disk.split("\n"), file.editor.text.split("\n")
        found = merge(base, mine, theirs.split("\n"))
        name = file.manuscript.title.name
        if found is None:
            file.theirs = theirs
            self.say(f"{name} was changed on disk, and here: d shows it · D takes the disk's · M keeps mine", "error")
            return
        saved = file.saved
        file.theirs, file.manuscript.disk = None, theirs
        file.editor.take_in(found)
        file.validate()
        self.say(f"{name} was changed elsewhere and taken in" + ("" if saved else "; your own changes are still there"))
        self.trial.changed(file)

    def replace_text(self, file: OpenFile, text: str) -> None:
        """Put another text in the editor, line by line, so that cursor and undo stay."""
        file.editor.take_in(changes(file.editor.text.split("\n"), text.split("\n")))
        file.validate()

    # Keys

    def action_edit(self) -> None:
        if self.file is not None:
            self.said = ""
            self.file.editor.focus()

    def action_write(self) -> None:
        self.poll()
        file = self.file
        if file is None:
            return
        if file.theirs is not None:
            self.say("not written: the file was changed on disk too · d shows it · D takes the disk's · M keeps mine", "error")
            return
        file.validate()
        if file.problems:
            n = len(file.problems)
            self.say(f"not written, {n} problem{'' if n == 1 else 's'} · ] goes to {'it' if n == 1 else 'the next'}", "error")
            return
        if file.saved and file.manuscript.path.exists():
            self.say("nothing to write: the file is as it stands here")
            return
        self.trial.write(file)

    def action_problem(self, step: int) -> None:
        file = self.file
        if file is None or not file.problems:
            self.say("no problem in this text")
            return
        self.said = ""
        line, lines = file.editor.line, sorted({(p.line, p.column) for p in file.problems})
        if step > 0:
            goal = next((place for place in lines if place[0] > line), lines[0])
        else:
            goal = next((place for place in reversed(lines) if place[0] < line), lines[-1])
        file.editor.go_to_line(goal[0] or 1, max(0, goal[1] - 1))
        self.repaint()

    def action_file(self, step: int) -> None:
        self.said = ""
        self._open_file(self.number + step)

    def action_line(self, step: int) -> None:
        if self.file is not None:
            self.said = ""
            self.file.editor.go_on(step)

    def action_page(self, step: int) -> None:
        if self.file is not None:
            self.file.editor.go_on(step * max(1, self.file.editor.size.height - 2))

    def action_criterion(self, step: int) -> None:
        file = self.file
        if file is None or not file.outline:
            return
        here = file.editor.line
        lines = [line for line, _ in file.outline]
        if step > 0:
            goal = next((line for line in lines if line > here), None)
        else:
            goal = next((line for line in reversed(lines) if line < here), None)
        if goal:
            file.editor.go_to_line(goal)

    def action_end(self, bottom: bool) -> None:
        if self.file is not None:
            self.file.editor.go_to_line(self.file.editor.document.line_count if bottom else 1)

    def action_undo(self) -> None:
        if self.file is not None:
            self.file.editor.undo()

    def action_redo(self) -> None:
        if self.file is not None:
            self.file.editor.redo()

    def action_take_disk(self) -> None:
        file = self.file
        if file is None or file.theirs is None:
            self.say("nothing conflicts here")
            return
        theirs, file.theirs = file.theirs, None
        file.manuscript.disk = theirs
        self.replace_text(file, theirs)
        self.say("the text is the disk's now · u brings yours back")
        self.trial.changed(file)

    def action_keep_mine(self) -> None:
        file = self.file
        if file is None or file.theirs is None:
            self.say("nothing conflicts here")
            return
        file.manuscript.disk, file.theirs = file.theirs, None
        file.validate()
        self.say("your text stays; w now writes it over what is on disk · d shows what that changes")

    def action_editor(self) -> None:
        """The text in the user's own editor; what comes back is not written yet."""
        file = self.file
        if file is None:
            return
        suffix = Path(file.manuscript.title.name).suffix
        text = self.app.edit_text(unshield(file.editor.text), suffix)
        if text is not None:
            from loopreview.tui.shield import shield

            self.replace_text(file, shield(text))
        self.repaint()

    def action_diff(self) -> None:
        self.trial.show_difference()

    def action_versions(self) -> None:
        self.trial.show_versions()

    def action_test(self, twice: bool) -> None:
        self.trial.test(twice=twice)

    def action_ask(self) -> None:
        self.trial.ask()

    def action_keep(self) -> None:
        self.trial.keep()

    def action_go_back(self) -> None:
        self.trial.go_back()

    def action_stop(self) -> None:
        self.trial.stop()

    def action_leave(self) -> None:
        self.said = ""
        self.trial.leave()

    def action_back(self) -> None:
        """To the screen we came from, at what flipped."""
        flips = [(flip.transcript, flip.criterion) for flip in self.trial.flips]
        goal, self.back_to = self.back_to or "review", ""
        self.app.switch_mode(goal)
        opened = getattr(self.app.screen_stack[0], "open_flips", None)
        if opened is not None and flips:
            opened(list(dict.fromkeys(flips)))
