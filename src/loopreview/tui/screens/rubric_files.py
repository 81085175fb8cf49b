"""A file that is open on the screen, while others may write it too."""

from loopreview.rules.documents import Problem
from loopreview.tui.line_merge import changes, merge
from loopreview.tui.manuscripts import Manuscript, Title, outline
from loopreview.tui.widgets.editor import Editor


class OpenFile:
    """Its text area, and what is known of its text."""

    def __init__(self, manuscript: Manuscript, editor: Editor) -> None:
        self.manuscript, self.editor = manuscript, editor
        self.problems: list[Problem] = []
        self.outline: list[tuple[int, str]] = []
        """(line, id) of a rubric's criteria."""
        self.theirs: str | None = None
        """The text on disk while it conflicts with the one here."""

    @property
    def title(self) -> Title:
        return self.manuscript.title

    @property
    def saved(self) -> bool:
        return self.editor.text == self.manuscript.disk

    @property
    def criterion(self) -> str:
        """The id of the criterion at the cursor; empty outside a rubric's criteria."""
        above = [id for line, id in self.outline if line <= self.editor.line]
        return above[-1] if above else ""

    def validate(self) -> None:
        """See what is wrong with the text, underline it, and keep the text as a draft."""
        text = self.editor.text
        self.problems = self.manuscript.problems(text)
        if self.title.kind == "rubric":
            self.outline = outline(text)
        self.editor.underline(problem.line for problem in self.problems)
        self.manuscript.keep_draft(text)

    def replace(self, text: str) -> None:
        """Put another text in its place, line by line, so that cursor and undo stay."""
        self.editor.take_in(changes(self.editor.text.split("\n"), text.split("\n")))
        self.validate()

    def take_in(self, theirs: str) -> bool:
        """Bring in what others changed on disk; False where it conflicts with what is not written here."""
        base, mine = self.manuscript.disk.split("\n"), self.editor.text.split("\n")
        found = merge(base, mine, theirs.split("\n"))
        if found is None:
            self.theirs = theirs
            return False
        self.theirs, self.manuscript.disk = None, theirs
        self.editor.take_in(found)
        self.validate()
        return True

    def take_disk(self) -> None:
        """End a conflict with the text on disk."""
        if self.theirs is not None:
            theirs, self.theirs = self.theirs, None
            self.manuscript.disk = theirs
            self.replace(theirs)

    def keep_mine(self) -> None:
        """End a conflict with the text here; writing it replaces the one on disk."""
        if self.theirs is not None:
            self.manuscript.disk, self.theirs = self.theirs, None
            self.validate()

    def problem_place(self, step: int) -> tuple[int, int] | None:
        """(line, column) of the next problem, or with -1 of the one before, going round."""
        line, places = self.editor.line, sorted({(p.line, p.column) for p in self.problems})
        if not places:
            return None
        if step > 0:
            return next((place for place in places if place[0] > line), places[0])
        return next((place for place in reversed(places) if place[0] < line), places[-1])

    def criterion_line(self, step: int) -> int | None:
        """The line of the next criterion, or with -1 of the one before."""
        here, lines = self.editor.line, [line for line, _ in self.outline]
        if step > 0:
            return next((line for line in lines if line > here), None)
        return next((line for line in reversed(lines) if line < here), None)


def open_file(manuscript: Manuscript, number: int) -> tuple[OpenFile, bool]:
    """Read a file; also whether a draft that was never written came back. Raises UserError."""
    text = manuscript.open()
    title = manuscript.title
    editor = Editor(text, language=title.language, wrap=title.kind == "prompt", id=f"text-{number}")
    return OpenFile(manuscript, editor), text != manuscript.disk
