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
from loopreview.tui import keys
from loopreview.tui.agreeing import agreement_of
from loopreview.tui.counting import Counter
from loopreview.tui.manuscripts import Manuscript, Title, all_valid, titles
from loopreview.tui.screens import rubric_painting as painting
from loopreview.tui.screens.rubric_files import OpenFile, open_file
from loopreview.tui.screens.rubric_trial import TrialRunner
from loopreview.tui.screens.rubric_versions import show_difference, show_versions
from loopreview.tui.shield import shield, unshield
from loopreview.tui.widgets.editor import Editor

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

VALIDATE_S, POLL_S, LOOK_S = 0.15, 1.0, 0.5
CONFLICT = "changed on disk and here · d shows it · D takes the disk's · M keeps mine"


def edit_criterion(app: App[Any], criterion: str, *, back_to: str = "") -> None:
    """Go to this screen with the cursor on a criterion; `q` then leads back to the mode `back_to`. Where that screen
    has a method `open_flips`, it is told what flipped: (transcript, criterion) pairs, broken ones first."""
    app.switch_mode("rubric")
    screen = app.screen_stack[0]
    if isinstance(screen, Rubric):
        screen.open_at(criterion, back_to=back_to)


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
        self.titles: list[Title] = []
        self.files: dict[str, OpenFile] = {}
        self.number = 0
        self.said, self.tone = "", ""
        self.agreement: dict[str, Any] | None = None
        self.back_to = ""
        self._open_at = ""
        self.unreadable = ""
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
        if all_valid(self.app.workspace.root, self.titles):
            # They may have been edited elsewhere since they were read; a faulty one stays as it was read.
            self.app.workspace.refresh()
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
            self.forget_labels()
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
        self.unreadable = ""
        title = self.titles[self.number]
        if title.name not in self.files:
            try:
                file, draft = open_file(Manuscript(self.app.workspace.root, title), self.number)
            except UserError as error:
                self.unreadable = str(error)
            else:
                self.files[title.name] = file
                self.query_one("#texts", Container).mount(file.editor)
                file.validate()
                if draft:
                    self.say("a text that was not written is back · w writes it · d shows what it changes")
        for name, file in self.files.items():
            file.editor.display = name == title.name and not self.unreadable
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
        if self.unreadable or not self.titles:
            return None
        return self.files.get(self.titles[self.number].name)

    @property
    def criterion(self) -> str:
        """The id of the criterion at the cursor; empty outside the rubric's criteria."""
        return self.file.criterion if self.file is not None else ""

    # Painting

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    def repaint(self) -> None:
        width, height = self.size.width, self.size.height
        if width < 20 or not self.titles:
            return
        self.set_class(self.trial.shown is not None, "trial")
        self._put("top", painting.top(self, width))
        side = self.query_one("#side", Static)
        if side.display:
            self._put("side", painting.side(self, side.size.width - 1, side.size.height))
        elif self.trial.shown is not None:
            self._put("below", painting.below(self, width - 2, height), layout=True)
        self._put("next", painting.next_line(self, width - 2))
        self._put("foot", painting.foot(self, width - 2))

    def _put(self, id: str, content: Content, *, layout: bool = False) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.query_one(f"#{id}", Static).update(content, layout=layout)

    def say(self, text: str, tone: str = "") -> None:
        """What the line above the footer says until the next key that moves."""
        self.said, self.tone = text, tone
        self.repaint()

    def labels_on(self, criterion: str) -> int:
        """How many transcripts have a label on it."""
        if criterion not in self._labels:
            self._labels[criterion] = len(labels(self.app.workspace, criterion))
        return self._labels[criterion]

    def forget_labels(self) -> None:
        """They are to be counted anew."""
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
        if isinstance(self.focused, Editor):
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
        if self.file is not None:
            self.file.editor.scroll_to(x=0, animate=False)
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
        name, saved = file.title.name, file.saved
        if not file.take_in(theirs):
            self.say(f"{name}: {CONFLICT}", "error")
            return
        self.trial.changed(
            file, "changed elsewhere, taken in" + ("" if saved else "; your own changes are still there")
        )

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
            self.say(f"not written: {CONFLICT}", "error")
            return
        file.validate()
        if file.problems:
            n = len(file.problems)
            self.say(f"not written, {n} problem{'' if n == 1 else 's'}; the text is kept · ] goes to the next", "error")
            return
        if file.saved and file.manuscript.path.exists():
            self.say("nothing to write: the file is as it stands here")
            return
        self.trial.write(file)

    def action_problem(self, step: int) -> None:
        place = self.file.problem_place(step) if self.file is not None else None
        if self.file is None or place is None:
            self.say("no problem in this text")
            return
        self.said = ""
        self.file.editor.go_to_line(place[0] or 1, max(0, place[1] - 1))
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
        line = self.file.criterion_line(step) if self.file is not None else None
        if self.file is not None and line:
            self.file.editor.go_to_line(line)

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
        file.take_disk()
        self.trial.changed(file, "the text is the disk's now, u brings yours back")

    def action_keep_mine(self) -> None:
        file = self.file
        if file is None or file.theirs is None:
            self.say("nothing conflicts here")
            return
        file.keep_mine()
        self.say("your text stays; w now writes it over what is on disk · d shows what that changes")

    def action_editor(self) -> None:
        """The text in the user's own editor; what comes back is not written yet."""
        file = self.file
        if file is None:
            return
        suffix = Path(file.title.name).suffix
        text = self.app.edit_text(unshield(file.editor.text), suffix)
        if text is not None:
            file.replace(shield(text))
        self.repaint()

    def action_diff(self) -> None:
        show_difference(self)

    def action_versions(self) -> None:
        show_versions(self)

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
