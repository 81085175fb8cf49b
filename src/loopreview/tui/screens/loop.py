"""Loop: the batches, what they say, and what to do next."""

import json
import subprocess
from typing import TYPE_CHECKING, Any

from textual import events, on
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from loopreview import jobs
from loopreview.models.errors import UserError
from loopreview.tui import keys, loop_view
from loopreview.tui.counting import run_loopreview
from loopreview.tui.live import Live
from loopreview.tui.page import clip
from loopreview.tui.review_desk import reason
from loopreview.tui.why_view import why_lines
from loopreview.tui.widgets.card import paint

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

COUNT = 5
LOOK_S = 0.5


class Loop(Screen[None]):
    CSS_PATH = "loop.tcss"
    KEYS = keys.LOOP
    BINDINGS = keys.bindings(keys.LOOP)
    AUTO_FOCUS = ""

    app: "LoopReview"

    def __init__(self) -> None:
        super().__init__()
        self.chosen: int | None = None
        """The id of the chosen batch."""
        self.said, self.tone = "", ""
        self.asked: tuple[str, list[str], float | None] | None = None
        """The job that `enter` would start, once its cost was shown: kind, arguments, dollars."""
        self._process: subprocess.Popen[bytes] | None = None
        self._process_kind = ""
        self._expected: float | None = None
        """What the job that was started here was said to cost."""
        self._room = 4
        self._version = -1
        self._shown: dict[str, Content] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="top", markup=False)
        yield Static(" reading …", id="batches", markup=False)
        yield Static(id="advice", markup=False)
        yield Static(id="live", markup=False)
        yield Static(id="space", markup=False)
        yield Static(id="next", markup=False)
        yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        app = self.app
        self.live = Live(app.workspace)
        self.repaint()
        # The first paint comes first: counting takes the processor for a while.
        self.set_timer(0.05, app.counter.ask)
        self.set_interval(LOOK_S, self._look)

    def on_screen_resume(self) -> None:
        if self.status is not None:
            self.app.counter.ask()

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    # What is going on

    @property
    def status(self) -> dict[str, Any] | None:
        return self.app.status

    def counted(self, problem: str) -> None:
        """The numbers were counted anew, or could not be."""
        if problem:
            self._say(problem, "error")
            return
        ids = [row["id"] for row in self.status["batches"]] if self.status else []
        if self.chosen not in ids:
            self.chosen = ids[-1] if ids else None
        self.repaint()

    def _look(self) -> None:
        """See what the running job, or another process, wrote."""
        if self._process is not None and self._process.poll() is not None:
            code, self._process, self._expected = self._process.returncode, None, None
            self.app.counter.ask()
            if code not in (0, 130):
                why = jobs.last_words(self.app.workspace.root, self._process_kind)
                self._say(f"{self._process_kind} ended: {why}", "error")
        if not self.is_current:
            return
        try:
            working = self.live.look()
            version = self.app.workspace.store.data_version()
        except UserError as error:
            self._say(str(error), "error")
            return
        if version != self._version:
            self._version = version
            self.app.counter.ask()
        if working:
            self.repaint()

    @property
    def chosen_row(self) -> dict[str, Any] | None:
        rows = self.status["batches"] if self.status else []
        return next((row for row in rows if row["id"] == self.chosen), None)

    # Painting

    def repaint(self) -> None:
        width, height = self.size.width, self.size.height
        if width < 20:
            return
        settings = self.app.workspace.settings
        self._put("top", loop_view.header(self.status, settings, str(self.app.workspace.root), width))
        running = self.live if self.live.job is not None else None
        status = self.status
        if status is not None:
            rows = status["batches"]
            at = next((n for n, row in enumerate(rows) if row["id"] == self.chosen), 0)
            if rows:
                self._room = max(4, height - 11 - (min(8, len(self.live.rows) + 1) if running else 0))
                table = loop_view.table(status, at, width - 1, self._room, settings.target_pass_rate)
                self._put("batches", table, layout=True)
                self._put("advice", loop_view.advice(status, width - 1), layout=True)
            else:
                self._put("batches", Content(f"\n No batch yet.\n\n {_first(settings.judges)}"), layout=True)
        if running is not None:
            row = next((r for r in (status or {"batches": []})["batches"] if r["id"] == running.batch), None)
            cost = loop_view.spent(row.get("cost_usd") if row else None, self._expected, settings.budget_usd)
            self._put("live", loop_view.live(running, cost, list(settings.judges), width - 1, 8), layout=True)
        else:
            self._put("live", Content(""), layout=True)
        # Where there is room, what lies behind the advice stands below it.
        room = self.query_one("#space", Static).size.height - 1
        behind = status is not None and status["batches"] and running is None and room >= 14
        lines = why_lines(status, min(width - 4, 90))[:room] if status is not None and behind else []
        self._put("space", paint(lines))
        text, tone = self.said, self.tone
        if not text and status is not None:
            text = loop_view.next_step(status, settings, running, self.chosen_row)
        style = {"error": "bold $text-error", "ask": "bold $text-warning"}.get(tone, "bold")
        self._put("next", Content.assemble((clip(f"→ {text}", width - 2), style)) if text else Content(""))
        self._put("foot", Content(keys.footer(keys.LOOP_FOOTER, self.app.keymap, width - 2)))

    def _put(self, id: str, content: Content, *, layout: bool = False) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.query_one(f"#{id}", Static).update(content, layout=layout)
            if layout:  # the room that is left is known once this has its place
                self.call_after_refresh(self.repaint)

    def _say(self, text: str, tone: str = "") -> None:
        self.said, self.tone = text, tone
        self.repaint()

    # Keys

    def action_choose(self, step: int) -> None:
        rows = self.status["batches"] if self.status else []
        ids = [row["id"] for row in rows]
        if self.chosen in ids:
            self.chosen = ids[max(0, min(len(ids) - 1, ids.index(self.chosen) + step))]
        self.said, self.asked = "", None
        self.repaint()

    @on(events.Click, "#batches")
    def _batch_clicked(self, event: events.Click) -> None:
        rows = self.status["batches"] if self.status else []
        at = next((n for n, row in enumerate(rows) if row["id"] == self.chosen), 0)
        place = loop_view.row_at(self.status, at, self._room, event.y) if self.status and rows else None
        if place is not None:
            self.action_choose(place - at)

    def action_why(self) -> None:
        """Show what lies behind the advice."""
        from loopreview.tui.screens.pages import Page

        status = self.status
        if status is not None:
            self.app.push_screen(Page("Why", lambda width: why_lines(status, width)))

    def action_go(self) -> None:
        """Start what was asked about, else review the chosen batch."""
        if self.asked is not None:
            self._start(*self.asked)
            return
        running = self.live if self.live.job is not None else None
        ready = next((row for row in running.rows if row.ready), None) if running else None
        batch = running.batch if running and ready else self._to_review()
        if batch is None:
            self._say("there is nothing to review yet; g makes five transcripts")
            return
        self.said = ""
        self.app.batch_to_review = batch
        self.app.switch_mode("review")

    def _to_review(self) -> int | None:
        """The chosen batch while something waits in it, else the newest where something waits, else the chosen."""
        row = self.chosen_row
        rows = self.status["batches"] if self.status else []
        if row is not None and row["n"] > (row.get("decided") or 0):
            return int(row["id"])
        waiting = [r for r in rows if r["n"] > (r.get("decided") or 0)]
        return int(waiting[-1]["id"]) if waiting and row is None else self.chosen

    def action_make(self) -> None:
        judged = ["--assess"] if self.app.workspace.settings.judges else []
        self._ask("generate", ["--count", str(COUNT), *judged], f"{COUNT} transcripts" + (", judged" if judged else ""))

    def action_judge(self) -> None:
        if self.chosen is None:
            self._say("there is nothing to judge yet; g makes five transcripts")
        elif not self.app.workspace.settings.judges:
            self._say("no judge is configured: add a section [judges.NAME] to loopreview.toml")
        else:
            self._ask("assess", ["--batch", str(self.chosen)], f"judging batch {self.chosen}")

    def _ask(self, kind: str, args: list[str], what: str) -> None:
        """Find out what it costs, then wait for `enter`."""
        if self.live.job is not None:
            self._say(f"{self.live.job.kind} is running; x stops it")
            return
        self.asked = None
        self._say(f"{what}: counting calls and cost …")
        self.run_worker(self._estimate(kind, args, what), exclusive=True, group="estimate", exit_on_error=False)

    async def _estimate(self, kind: str, args: list[str], what: str) -> None:
        # A process of its own: pricing may need the LLM layer, which takes seconds to import.
        code, out, errors = await run_loopreview(
            [kind, "-w", str(self.app.workspace.root), "--json", "--dry-run", *args]
        )
        if code:
            self._say(errors or f"{kind} could not be estimated", "error")
            return
        try:
            found = json.loads(out)
            calls, cost = int(found["calls"]), found.get("cost_usd")
        except (ValueError, KeyError, TypeError):
            self._say(f"{kind}: the estimate could not be read", "error")
            return
        if not calls:
            self._say(f"{what}: nothing to ask, every verdict is current")
            return
        price = "price unknown" if cost is None else f"about ${cost:.2f}"
        self.asked = (kind, args, cost)
        self._say(f"{what}: {calls} calls, {price} · enter starts · esc leaves", "ask")

    def _start(self, kind: str, args: list[str], expected: float | None) -> None:
        self.asked, self._expected = None, expected
        try:
            self._process, self._process_kind = jobs.start(self.app.workspace.root, kind, args), kind
        except OSError as error:
            self._say(f"{kind} could not be started: {error.strerror}", "error")
            return
        self._say("starting …")
        self.set_timer(1.5, self._started)

    def _started(self) -> None:
        if self.said == "starting …":
            self._say("")

    def action_stop(self) -> None:
        if self.live.job is None:
            self._say("no job is running")
            return
        jobs.cancel(self.live.job)
        again = "g" if self.live.job.kind == "generate" else "a"
        self._say(f"stopping; what it stored stays, {again} goes on with it")

    def action_leave(self) -> None:
        self.asked = None
        self._say("")

    def action_content(self, yes: bool) -> None:
        if self.chosen is None:
            return
        from loopreview import review

        try:
            review.record(
                self.app.workspace, "content", reviewer=self.app.reviewer, batch=self.chosen, data={"yes": yes}
            )
        except UserError as error:
            self._say(f"not saved: {reason(error)}", "error")
            return
        self._say(f"you are {'content' if yes else 'not content'} with batch {self.chosen} · u takes it back")
        self.app.counter.ask()

    def action_undo(self) -> None:
        from loopreview import review

        try:
            event = review.undo(self.app.workspace, self.app.reviewer)
        except UserError as error:
            self._say(f"not done: {reason(error)}", "error")
            return
        if event is None:
            self._say("nothing to take back")
            return
        about = f"batch {event.batch}" if event.batch else f"{event.transcript} {event.criterion or ''}".strip()
        self._say(f"taken back: your last act, on {about}")
        self.app.counter.ask()


def _first(judges: object) -> str:
    judged = " and has them judged" if judges else ""
    return f"g makes five transcripts{judged}.\n `loopreview import FILE` brings in your own."
