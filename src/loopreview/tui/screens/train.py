"""Train: what this machine can run, the plan, the running job, and all runs beside each other."""

import time
from typing import TYPE_CHECKING, Any, Literal, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from loopreview.rules.safe_text import safe
from loopreview.tui import keys
from loopreview.tui.data_view import tabs
from loopreview.tui.page import clip
from loopreview.tui.screens.dialog import Dialog, Field, OneOf
from loopreview.tui.train import runs_view, starting, view
from loopreview.tui.train.desk import RESUMABLE, TrainDesk
from loopreview.tui.train.following import Followed
from loopreview.tui.train.pages import TrainPages
from loopreview.tui.train.starting import ADAPTERS, ANY, BACKENDS, NO_TRACKER, QUESTIONS, TRACKERS, Answer, Runner, Wish
from loopreview.tui.widgets.card import Line, paint

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

READ_S, READING_S = 0.1, 0.02
"""How often events are read, and for how long at most: keys wait behind it."""
LOOK_S, PAINT_S, ALL_S = 0.5, 0.5, 2.0
"""How often live runs are looked at, they are painted anew at most, all runs and exports are looked at."""
HELD_S = 0.4
"""A key that is held down must not start what its first press asked about."""
WIDE = 100
_UNANSWERED = "unanswered"
FROM_BASE = "the base model"


class Train(Screen[None]):
    CSS_PATH = "train.tcss"
    KEYS = keys.TRAIN
    BINDINGS = keys.bindings(keys.TRAIN)
    AUTO_FOCUS = ""

    app: "LoopReview"

    def __init__(self, *, looking: Runner = starting.LOOKING, doing: Runner = starting.DOING) -> None:
        """`looking` and `doing` run our own commands: those that only look, and those that start and stop runs."""
        super().__init__()
        self._runners = {"looking": looking, "doing": doing}
        self.said, self.tone = "", ""
        self._shown: dict[str, Content] = {}
        self._looked = self._looked_at_all = self._drawn = self._exports = 0.0
        self._above = 0
        """Lines between the page and the line that says what next."""
        self._stale = False
        """Whether there is something to show that is not painted yet."""

    def compose(self) -> ComposeResult:
        yield Static(id="top", markup=False)
        yield Static(id="tabs", markup=False)
        with Horizontal(id="desk"):
            yield Static(id="left", markup=False)
            yield Static(id="page", markup=False)
        yield Static(id="ask", markup=False)
        yield Static(id="next", markup=False)
        yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        workspace = self.app.workspace
        kept = self.app.preferences.place(workspace.root / "runs")
        base_model = str(getattr(workspace.settings, "base_model", None) or "")
        wish = starting.remembered(kept)
        self.desk = TrainDesk(
            workspace.root, wish, self.repaint, self._ended, base_model=base_model, **cast(Any, self._runners)
        )
        answers = kept.get("answers")
        self.desk.answers = starting.remembered_answers(answers if isinstance(answers, dict) else {})
        self.desk.answered_for = str(kept.get("answered_for", ""))
        self.desk.see_dataset()
        self.pages = TrainPages(self.desk)
        self.repaint()
        # The first paint comes first.
        self.set_timer(0.05, self._find_out)
        self.set_timer(0.06, self._first_look)
        self.set_interval(READ_S, self._read)

    def on_screen_resume(self) -> None:
        self._exports = self._looked_at_all = 0.0
        self.call_after_refresh(self.repaint)

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    # Finding out

    def _find_out(self) -> None:
        self.run_worker(self.desk.find_out(), exclusive=True, group="plan", exit_on_error=False)

    def _plan(self) -> None:
        self.desk.pending = None
        self.run_worker(self.desk.plan(), exclusive=True, group="plan", exit_on_error=False)

    def _first_look(self) -> None:
        """A run that lives is what one comes for."""
        self._looked = self._looked_at_all = time.monotonic()
        self.desk.following.look()
        if self.desk.following.live:
            self.pages.page = "run"
        self.repaint()

    def _read(self) -> None:
        """See what runs did. Goes on while another screen is up: the end of a run is told wherever one is."""
        desk, now = self.desk, time.monotonic()
        if not self._looked:
            return
        if now - self._looked >= LOOK_S:
            self._looked = now
            every = now - self._looked_at_all >= ALL_S
            self._looked_at_all = now if every else self._looked_at_all
            self._stale = desk.following.look(at_live=not every) or self._stale
        beyond = self.is_current and self.pages.page == "runs"
        self._stale = desk.following.read(desk.wanted, READING_S, all_of_them=beyond) or self._stale
        if not self.is_current:
            return
        if now - self._exports >= ALL_S:
            self._exports = now
            if desk.see_dataset():
                self._plan()
        if self._stale and now - self._drawn >= PAINT_S:
            self._drawn = now
            self.repaint(draw=True)

    def _ended(self, one: Followed) -> None:
        text, severity = view.ended_said(one)
        self.app.bell()
        self.app.notify(
            safe(text, keep_newlines=False), title="Training",
            severity=cast(Literal["information", "warning", "error"], severity), markup=False,
        )  # fmt: skip
        if self.desk.pending is None:
            self._quiet()  # that it was asked to stop
        self._stale = True

    # Painting

    def repaint(self, *, draw: bool = False) -> None:
        """`draw`: also the curves anew that are in view already; a key does not wait for that."""
        width, desk, pages = self.size.width, self.desk, self.pages
        left, right = self.query_one("#left", Static), self.query_one("#page", Static)
        if width < 20 or right.content_size.height < 1:
            return
        pages.fresh = draw
        pages.wide = width >= WIDE
        if left.has_class("said") != pages.twofold:
            left.set_class(pages.twofold, "said")
            self.call_after_refresh(self.repaint)
            return
        self._put("top", view.header(desk, width))
        self._put("page", paint(pages.window(right.content_size.width, right.content_size.height)))
        if pages.twofold and left.content_size.height:
            self._put("left", paint(pages.left(left.content_size.width, left.content_size.height)))
        # What a key left behind is drawn by the clock.
        self._stale = pages.behind
        self._put("tabs", paint([tabs(view.PAGES, pages.page, pages.beside(), width - 1)]))
        text, tone = self.said, self.tone
        if not text or desk.busy:
            text, tone = view.next_step(desk, pages.page), ""
        above, (text, style) = view.spoken(desk, pages.page, text, tone, width - 2)
        self._put_ask(above)
        self._put("next", Content.assemble((clip(f"→ {text}", width - 2), style)) if text else Content(""))
        foot = {"plan": keys.TRAIN_FOOTER, "run": keys.TRAIN_RUN_FOOTER, "runs": keys.TRAIN_RUNS_FOOTER}[pages.page]
        self._put("foot", Content(keys.footer(foot, self.app.keymap, width - 2)))

    def _put_ask(self, lines: list[Line]) -> None:
        ask = self.query_one("#ask", Static)
        if lines:
            self._put("ask", paint(lines), layout=len(lines) != self._above)
        if len(lines) != self._above:
            self._above = len(lines)
            ask.set_class(bool(lines), "said")
            self.call_after_refresh(self.repaint)

    def _put(self, id: str, content: Content, *, layout: bool = False) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.query_one(f"#{id}", Static).update(content, layout=layout)

    def _say(self, text: str, tone: str = "") -> None:
        self.said, self.tone = text, tone
        self.repaint()

    def _quiet(self) -> None:
        self.desk.pending, self.said, self.tone = None, "", ""

    # Keys: going through

    def action_page(self, step: int) -> None:
        self._quiet()
        self.pages.go(step)
        self.repaint()

    def action_move(self, step: int) -> None:
        self._quiet()
        if self.pages.page == "plan":
            self.pages.scroll(step)
        else:
            self.desk.choose(step)
        self.repaint()

    def action_read(self, pages: int) -> None:
        height = self.query_one("#page", Static).content_size.height
        self._scroll(pages * max(1, height - 3))

    def action_end(self, bottom: bool) -> None:
        if self.pages.page == "plan":
            self._scroll(10**6 if bottom else -(10**6))
        else:
            self.action_move(10**6 if bottom else -(10**6))

    def _scroll(self, lines: int) -> None:
        self._quiet()
        self.pages.scroll(lines)
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(-3)

    def on_click(self, event: events.Click) -> None:
        """A click on a row of the table chooses that run."""
        if self.pages.page == "runs" and getattr(event.widget, "id", None) == "page":
            step = runs_view.row_at(self.desk, self.pages.table_height, event.y)
            if step is not None:
                self.action_move(step)

    def action_mark(self) -> None:
        if self.pages.page != "runs":
            self.action_read(1)
            return
        self._quiet()
        why = self.desk.mark()
        self._say(why or "")

    def action_look(self) -> None:
        self._quiet()
        self.desk.see_dataset()
        self._find_out()

    def action_leave(self) -> None:
        self._quiet()
        self.repaint()

    # Keys: what is asked for

    def action_what(self) -> None:
        """Ask for base model, dataset, and what the plan shall hold."""
        wish = self.desk.wish
        desk, wish = self.desk, self.desk.wish
        planned = f" (empty: {desk.base_model})" if desk.base_model else ""
        done = [one.id for one in reversed(desk.following.runs) if one.is_done]
        starts = (FROM_BASE, *dict.fromkeys([*([wish.start] if wish.start else []), *done[:50]]))
        fields = [
            Field("base", f"Base model: a folder, or its name on the Hub (user/name){planned}", wish.base, height=2),
            Field("backend", "Who trains", wish.backend or ANY, BACKENDS),
            Field("adapter", "What of it is trained", wish.adapter or ANY, ADAPTERS),
            Field("epochs", "Epochs (empty: as planned)", wish.epochs, height=1),
            Field("settings", "Other values of the plan, such as rank=8 learning_rate=1e-4", wish.settings, height=1),
            Field("start", "Begins with", wish.start or FROM_BASE, starts),
            Field("track", "Experiment tracker that is told", wish.track or NO_TRACKER, TRACKERS),
            Field("dataset", "Dataset: the folder of an export (empty: the newest)", wish.dataset, height=1),
        ]
        self.app.push_screen(Dialog("The next run", fields, save=self._wished, focus="base"))

    def _wished(self, texts: dict[str, str]) -> str | None:
        given = {name: text.strip() for name, text in texts.items()}
        wish = Wish(**{name: "" if text in (ANY, FROM_BASE, NO_TRACKER) else text for name, text in given.items()})
        why = wish.problem()
        if why is None and wish != self.desk.wish:
            self.desk.wish = wish
            self._keep()
            self._quiet()
            self.desk.see_dataset()
            self.desk.proposal = None
            self._plan()
        return why

    def _keep(self) -> None:
        desk = self.desk
        answers = {"answers": {key: list(one) for key, one in desk.answers.items()}, "answered_for": desk.answered_for}
        self.app.preferences.keep_place(self.app.workspace.root / "runs", {**desk.wish._asdict(), **answers})

    def action_answer(self) -> None:
        """Ask the five questions of the TRAIN gate."""
        asked = {one.key: one for one in self.desk.questions if one.key in QUESTIONS}
        fields = []
        for key in asked:
            before = self.desk.answers.get(key, Answer())
            fields += [
                Field(key, safe(asked[key].asks, keep_newlines=False), before.answer or _UNANSWERED,
                      (_UNANSWERED, "yes", "no"), hint=safe(asked[key].why, keep_newlines=False)),
                Field(f"{key}_why", "", before.reason, height=1),
            ]  # fmt: skip
        left = [key for key in asked if not self.desk.answers.get(key, Answer()).answer]
        title = "Before training: y or n, and tab for why; a no needs a reason"
        self.app.push_screen(Dialog(title, fields, save=self._answered, focus=(left or list(asked))[0]))

    def _answered(self, texts: dict[str, str]) -> str | None:
        found = {}
        for key in QUESTIONS:
            given, reason = texts.get(key, _UNANSWERED), " ".join(texts.get(f"{key}_why", "").split())
            if given == _UNANSWERED:
                continue
            found[key] = Answer(given, reason)
            if why := found[key].problem():
                return f"{key.replace('_', ' ')}: {why}"
        self.desk.answers, self.desk.answered_for = found, self.desk.dataset_named
        self._keep()
        self._quiet()
        self.call_after_refresh(self.repaint)
        return None

    # Keys: starting and stopping

    def action_go(self) -> None:
        """Start what was asked about; else ask, or look at the chosen run."""
        desk = self.desk
        if desk.pending is not None:
            before, seconds = self.app.key_before
            if self.app.guard.on and before == "enter" and seconds < HELD_S:
                return
            self._do()
        elif self.pages.page == "runs":
            self.pages.page = "run"
            self.repaint()
        elif self.pages.page == "run" and desk.run is not None and desk.run.standing.state in ("planned", *RESUMABLE):
            self.action_resume()
        elif self.pages.page == "run":
            self._say("a new run starts from page plan: h")
        else:
            self._asked(desk.ask_to_start())

    def action_resume(self) -> None:
        self._quiet()
        self._asked(self.desk.ask_to_resume())

    def _asked(self, why: str | None) -> None:
        pending = self.desk.pending
        if why is None and pending is not None:
            self._say(f"{pending.said} · enter starts · Y copies · esc", "ask")
        else:
            self._say(why or "", "error")

    def _do(self) -> None:
        pending = self.desk.pending
        self._quiet()
        if pending is not None and not self.desk.busy:
            self.run_worker(self._doing(pending), group="doing", exit_on_error=False)

    async def _doing(self, pending: Any) -> None:
        said, good = await self.desk.do(pending)
        if good:
            self.pages.page = "run"
        # The page and the line at the top say that it runs.
        self._say("" if good else said, "" if good else "error")

    def action_stop(self) -> None:
        """Ask how the run is to be stopped. It is named: another one may be in view."""
        one = self.desk.to_cancel()
        if self.desk.busy or one is None:
            self._say(self.desk.busy or "no run is running")
            return
        self._quiet()
        answers = {
            "s": ("save", "save a checkpoint, and stop"),
            "n": ("now", "stop now, without saving: the steps since the last checkpoint are lost"),
        }
        id = one.id
        self.app.push_screen(OneOf(f"Stop {id}?", answers), lambda how: self._stop(id, how))

    def _stop(self, id: str, how: str | None) -> None:
        if how is not None and not self.desk.busy:
            self.run_worker(self._stopping(id, how == "now"), group="doing", exit_on_error=False)

    async def _stopping(self, id: str, now: bool) -> None:
        said, good = await self.desk.cancel(id, now=now)
        self._say(said, "" if good else "error")

    def action_copy(self) -> None:
        """The command that waits, else the one that does what the page is about."""
        desk, run = self.desk, self.desk.run
        if desk.pending is not None:
            command = desk.pending.command
        elif self.pages.page == "plan" or run is None:
            command = desk.start
        elif run.standing.state in RESUMABLE:
            command = starting.resume(desk.root, run.id)
        elif run.standing.state == "planned":
            command = starting.start_planned(desk.root, run.id, desk.given)
        else:
            command = starting.watch(desk.root, run.id)
        text = safe(command.shown, keep_newlines=False)
        self.app.copy_to_clipboard(text)
        if desk.pending is None:
            self._say(f"copied: {text}")
