"""Review: reading with a pencil."""

from typing import TYPE_CHECKING, Any, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from loopreview.models.errors import UserError
from loopreview.models.verdict import JudgeAnswer
from loopreview.tui import keys
from loopreview.tui.books import WorkspaceBooks
from loopreview.tui.review_desk import Desk, Hint
from loopreview.tui.screens.review_painting import Painting
from loopreview.tui.search import Search
from loopreview.tui.widgets.criteria import ribbon_at, rows_shown
from loopreview.tui.widgets.search_field import SearchField
from loopreview.tui.widgets.transcript_view import TranscriptView

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

VIEWS = ("card", "why", "list", "text")


class Review(Screen[None]):
    """The transcript on the left or above, what is asked about it on the right or below."""

    app: "LoopReview"
    CSS_PATH = "review.tcss"
    KEYS = keys.REVIEW
    BINDINGS = keys.bindings(keys.REVIEW)
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.view = "card"
        self.search = Search()
        self.painting = Painting(self)
        self._open = ("", "")
        """Content and id of the transcript that is shown."""
        self._top_pressed_at = 0.0
        self._keeping: Timer | None = None
        self._looking: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="top", markup=False)
        with Horizontal(id="desk"):
            with Vertical(id="left"):
                yield Static(id="ribbon", markup=False)
                yield Static(id="status", markup=False)
                yield TranscriptView(id="text")
            with Vertical(id="right"):
                yield Static(id="list", markup=False)
                yield Static(id="why", markup=False)
        yield Static(id="card", markup=False)
        yield Static(id="next", markup=False)
        yield SearchField(placeholder="search the transcript", id="search", compact=True)
        yield Static(id="foot", markup=False)

    # Opening

    def on_mount(self) -> None:
        app = self.app
        self.text = self.query_one(TranscriptView)
        self.books = WorkspaceBooks(app.workspace, app.reviewer)
        self.desk = Desk(self.books, guard=app.guard, share_shown=lambda: self.text.share_shown)
        self._version = app.workspace.store.data_version()
        self._rubric = app.workspace.file_rubric.version
        self.set_interval(1.0, self._look_around)
        self._open_place()
        # The first paint comes first: counting takes the processor for a while.
        self.set_timer(0.1, app.counter.ask)

    def on_screen_resume(self) -> None:
        sheet = self.desk.sheet
        if self.app.batch_to_review is not None or sheet is None:
            self._open_place()
        elif self._rubric != self.app.workspace.file_rubric.version:
            # Only an edit of the file: an example added here must not move the open sheet under the reviewer's hands.
            self._go_to(sheet.id, self.desk.cursor)

    def open_flips(self, flips: list[tuple[str, str]]) -> None:
        """Come back from an edit of the rubric, to the first answer that flipped."""
        self._go_to(*flips[0])
        others = ", ".join(f"{transcript} {criterion}" for transcript, criterion in flips[1:4])
        more = f" · also {others}{' …' if len(flips) > 4 else ''}" if others else ""
        self._say(f"flipped: {flips[0][0]} {flips[0][1]}{more}")

    def _go_to(self, transcript: str, criterion: str) -> None:
        self._rubric = self.app.workspace.file_rubric.version
        self.desk.start(at=self.app.key_at, transcript=transcript, criterion=criterion)
        self.repaint()

    def _open_place(self) -> None:
        """Open the batch that Loop sent us to, else the place of the last session."""
        app = self.app
        batch, app.batch_to_review = app.batch_to_review, None
        kept: dict[str, Any] = app.preferences.place(app.workspace.root)
        place = kept if batch is None else {"batch": batch}
        if isinstance(kept.get("weak"), list) and not self.books.weak:
            self.books.weak = frozenset(map(str, kept["weak"]))
        self.books.choose(place["batch"] if isinstance(place.get("batch"), int) else None)
        at = {name: str(place.get(name, "")) for name in ("transcript", "criterion")}
        try:
            self.desk.start(at=app.key_at, **at)
            if self.desk.sheet is None:
                self.books.choose(batch)
                self.desk.start(at=app.key_at)
        except UserError as error:
            self.desk.hint = Hint(str(error), "error")
        self.repaint()

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    # Painting

    def repaint(self) -> None:
        """Bring every part up to date; parts that stay as they were are not painted again."""
        sheet = self.desk.sheet
        shown = (sheet.key, sheet.id) if sheet is not None else ("-", "")
        if self._open != shown:
            self._open = shown
            self.search.clear()
            self.text.show(shown[0], sheet.sections if sheet is not None else [])
            self._start_looking()
        self.painting.light()
        self.painting.lines()
        self._keep_place()

    @on(TranscriptView.Moved)
    def _scrolled(self) -> None:
        self.painting.status()

    @on(TranscriptView.QuoteClicked)
    def _quote_clicked(self, event: TranscriptView.QuoteClicked) -> None:
        if self.search.query:
            self.search.at = event.index
        else:
            found = [n for n, stop in enumerate(self.desk.stops) if stop.span is not None]
            self.desk.quote = found[event.index]
        self.repaint()

    @on(events.Click, "#list")
    def _list_clicked(self, event: events.Click) -> None:
        rows = rows_shown(self.desk, self.query_one("#list").size.height)
        self._choose(rows[event.y] if 0 <= event.y < len(rows) else None)

    @on(events.Click, "#ribbon")
    def _ribbon_clicked(self, event: events.Click) -> None:
        self._choose(ribbon_at(self.desk, self.size.width - 2, event.x - 1))

    def _choose(self, criterion: str | None) -> None:
        if criterion is not None:
            self.desk.hint = None
            self.desk.go_to(criterion)
            self.repaint()

    # Beside the keys

    def _look_around(self) -> None:
        """Another process wrote: another reviewer, or a job."""
        if not self.is_current:
            return
        try:
            version = self.app.workspace.store.data_version()
            if version == self._version:
                return
            self._version = version
            if self.desk.sheet is None:
                self.desk.start(at=self.app.key_at)
            else:
                self.books.renew(self.desk.sheet)
        except UserError:
            return
        self.app.counter.ask()
        self.repaint()

    def _start_looking(self) -> None:
        """Check the judges' quotes one criterion at a time, between keys."""
        if self._looking is not None:
            self._looking.stop()
        sheet = self.desk.sheet
        waiting = iter(list(self.desk.rows))

        def one() -> None:
            criterion = next(waiting, None)
            if criterion is None or sheet is not self.desk.sheet or sheet is None:
                if self._looking is not None:
                    self._looking.stop()
                self.painting.lines()
                return
            sheet.lint(criterion)

        self._looking = self.set_interval(0.06, one)

    def _keep_place(self) -> None:
        if self._keeping is None and self.desk.sheet is not None:
            self._keeping = self.set_timer(0.3, self._write_place)

    def _write_place(self) -> None:
        self._keeping = None
        sheet = self.desk.sheet
        if sheet is not None:
            place = {
                "batch": self.books.batch,
                "transcript": sheet.id,
                "criterion": self.desk.cursor,
                "weak": sorted(self.books.weak),
            }
            self.app.preferences.keep_place(self.app.workspace.root, place)

    # Judging

    def _slip(self) -> bool:
        """Whether this key came too fast to be meant; says so."""
        said = self.app.guard.slip(self.app.key_name, self.app.key_before)
        if said:
            self.desk.hint = Hint(said)
            self.repaint()
        return said is not None

    def action_say(self, answer: JudgeAnswer) -> None:
        if not self._slip():
            self.desk.say(answer)
            self.repaint()

    def action_agree(self) -> None:
        if not self._slip():
            self.desk.agree()
            self.repaint()

    def action_decide(self, kind: Literal["approve", "reject"]) -> None:
        if not self._slip():
            self.desk.decide(kind, at=self.app.key_at)
            self.repaint()
            self.app.counter.ask()

    def counted(self, problem: str) -> None:
        """The numbers of the header are new, and with them the order may be."""
        if problem:
            return
        if self.books.provisional:
            self.desk.reorder()
        if self.app.agreement is None:
            self.app.agreement_counter.ask()
        self.painting.lines()

    def agreed(self, problem: str) -> None:
        """Which criteria agree weakly is known anew; the open transcript stays as it is."""
        if self.app.agreement is not None:
            self.books.weak = frozenset(self.app.agreement["weak"])

    def action_explain(self) -> None:
        self.desk.hint = Hint("A (shift) approves the transcript, R (shift) rejects it; y n x answer the criterion")
        self.repaint()

    def action_undo(self) -> None:
        self.desk.undo(at=self.app.key_at)
        self.repaint()
        self.app.counter.ask()

    def action_redo(self) -> None:
        self.desk.redo(at=self.app.key_at)
        self.repaint()
        self.app.counter.ask()

    # Moving

    def action_move(self, step: int) -> None:
        self.desk.move(step)
        self.repaint()

    def action_transcript(self, step: int) -> None:
        self.desk.move_transcript(step, at=self.app.key_at)
        self.repaint()

    def action_quote(self, step: int) -> None:
        if self.search.query:
            self.search.step(step)
        else:
            self.desk.next_quote(step)
        self.repaint()

    def action_view(self) -> None:
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        for view in VIEWS:
            self.set_class(view == self.view, f"view-{view}")
        self.desk.hint = Hint(f"view: {self.view} · z goes on")
        self.call_after_refresh(self.repaint)

    def action_scroll_why(self, step: int) -> None:
        self.painting.why_offset += 4 * step
        self.painting.lines()

    def action_blind(self) -> None:
        self.desk.set_blind(not self.desk.blind)
        self.repaint()

    # Reading

    def action_read(self, pages: int) -> None:
        if not self.text.read(pages):
            self._say("the end of the transcript" if pages > 0 else "the beginning of the transcript")

    def action_exchange(self, step: int) -> None:
        if not self.text.read_exchange(step):
            self._say("the last exchange" if step > 0 else "the first exchange")

    def action_top(self) -> None:
        now = self.app.key_at
        if now - self._top_pressed_at < 1.0:
            self.text.read_end(bottom=False)
        self._top_pressed_at = now

    def action_end(self) -> None:
        self.text.read_end(bottom=True)

    def _say(self, text: str) -> None:
        """Show a hint without painting all else anew."""
        self.desk.hint = Hint(text)
        self.painting.next_line()

    # Search and filter

    def action_search(self) -> None:
        field = self.query_one(SearchField)
        field.value = ""
        self.desk.hint = None
        self.add_class("searching")
        field.focus()

    def action_leave(self) -> None:
        """Leave the search, else the filter."""
        self.desk.hint = None
        if self.has_class("searching") or self.search.query:
            self._close_search()
            self.search.clear()
        elif self.books.filter:
            self.set_filter("")
        self.repaint()

    def _close_search(self) -> None:
        self.remove_class("searching")
        self.set_focus(None)

    @on(SearchField.Changed, "#search")
    def _search_for(self, event: SearchField.Changed) -> None:
        if self.has_class("searching") and self.desk.sheet is not None:
            self.search.run(self.desk.sheet.sections, event.value)
            self.repaint()

    @on(SearchField.Submitted, "#search")
    def _search_done(self) -> None:
        self._close_search()
        if not self.search.found:
            self.desk.hint = Hint(f"nothing found for “{self.search.query}”")
            self.search.clear()
        self.repaint()

    def set_filter(self, name: str, *, words: str = "", batch: int | None = None) -> bool:
        """Go through other transcripts; an empty name for those that wait. `words`: for the filter by text; `batch`:
        another batch than before. False, and why as the hint, where there are none."""
        books = self.books
        before = (books.filter, books.filter_criterion, books.filter_words, books.batch)
        books.filter, books.filter_criterion, books.filter_words = name, self.desk.cursor, words
        books.batch = batch or books.batch
        try:
            if (name or batch) and not books.queue():
                nothing = f"no transcript of batch {books.batch} is under “{books.filter_name}”"
                nothing = f"no message has “{words}”" if words else nothing
                still = "; they are still being counted" if books.provisional else "; nothing is changed"
                books.filter, books.filter_criterion, books.filter_words, books.batch = before
                self.desk.hint = Hint(nothing + still)
                return False
            self.desk.start(at=self.app.key_at)
        except UserError as error:
            books.filter, books.filter_criterion, books.filter_words, books.batch = before
            self.desk.hint = Hint(str(error), "error")
            return False
        finally:
            self.repaint()
        return True

    # Remarks and what else concerns the text: see screens/remarks.py

    def action_remark(self, name: str) -> None:
        from loopreview.tui.screens.remarks import REMARKS

        REMARKS[name](self)
