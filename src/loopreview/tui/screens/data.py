"""Data: what the approved transcripts give, what the audit finds in them, and the export."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from loopreview.models.errors import UserError
from loopreview.rules.safe_text import safe
from loopreview.tui import data_view, keys
from loopreview.tui.auditing import audit_of, coverage_of
from loopreview.tui.data_desk import Audit, Coverage, DataDesk
from loopreview.tui.data_pages import DataPages
from loopreview.tui.exporting import Wish, remembered
from loopreview.tui.page import clip
from loopreview.tui.screens.dialog import Dialog, Field
from loopreview.tui.widgets.card import paint

if TYPE_CHECKING:
    from loopreview.tui.app import LoopReview

LISTEN_S, LOOK_S, SETTLE_S = 0.1, 0.5, 0.12
WIDE = 100


class Data(Screen[None]):
    CSS_PATH = "data.tcss"
    KEYS = keys.DATA
    BINDINGS = keys.bindings(keys.DATA)
    AUTO_FOCUS = ""

    app: "LoopReview"

    def __init__(self, *, audit: Audit = audit_of, coverage: Coverage = coverage_of) -> None:
        """`audit` and `coverage` give what the commands of that name print under `--json`."""
        super().__init__()
        self._sources: dict[str, Any] = {"audit": audit, "coverage": coverage}
        self.said, self.tone = "", ""
        self.asked = False
        """Whether `enter` starts the export, its command having been shown."""
        self._opened: dict[str, Any] | None = None
        self._settling: Timer | None = None
        self._shown: dict[str, Content] = {}

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
        wish = remembered(self.app.preferences.place(workspace.root / "exports"))
        self.desk = DataDesk(workspace, wish, self._changed, **self._sources)
        self.pages = DataPages(self.desk)
        self.repaint()
        # The first paint comes first.
        self.set_timer(0.05, self.desk.look)
        self.set_interval(LISTEN_S, self.desk.planning.look)
        self.set_interval(LOOK_S, self._look)

    def on_unmount(self) -> None:
        self.desk.close()

    def on_screen_resume(self) -> None:
        self.desk.look_if_changed(apart=0)

    def on_resize(self) -> None:
        self.call_after_refresh(self.repaint)

    # Finding out

    def _changed(self) -> None:
        if self.desk.example is not self._opened:
            self._opened = self.desk.example
            self._to_lit(0)
        self._count()
        self.repaint()

    def _count(self) -> None:
        if self.desk.missing() is not None and not self.desk.counting:
            self.desk.counting = True
            self.run_worker(self.desk.count(), group="counting", exit_on_error=False)

    def _look(self) -> None:
        """See what the export wrote, and whether something was stored meanwhile."""
        ended = self.desk.exporter.look()
        if ended:
            self._exported()
        if not self.is_current:
            return
        self.desk.look_if_changed()
        if self.desk.exporter.running or ended:
            self.repaint()

    # Painting

    def repaint(self) -> None:
        width, desk, pages = self.size.width, self.desk, self.pages
        page = self.query_one("#page", Static).content_size
        left = self.query_one("#left", Static).content_size
        if width < 20 or page.height < 1:
            return
        self._put("top", data_view.header(desk.workspace.root.name, desk.plan, desk.wish, width))
        pages.wide = width >= WIDE
        self._put("page", paint(pages.window(page.width, page.height)))
        if pages.wide:
            self._put("left", paint(list(pages.left(left.width, left.height))))
        self._put("tabs", paint([data_view.tabs(pages.names, pages.shown, pages.beside(), width - 1)]))
        self._put_ask(width - 2)
        text, tone = self.said, self.tone
        if not text or desk.exporter.running:
            text, tone = data_view.next_step(desk.plan, desk.wish, desk.audited(), desk.exporter), ""
            if desk.trouble and not desk.exporter.running:
                text, tone = desk.trouble, "error"
        style = {"error": "bold $text-error", "ask": "bold $text-warning"}.get(tone, "bold")
        text = text or desk.progress
        self._put("next", Content.assemble((clip(f"→ {text}", width - 2), style)) if text else Content(""))
        foot = keys.DATA_READ_FOOTER if pages.reading else keys.DATA_FOOTER
        self._put("foot", Content(keys.footer(foot, self.app.keymap, width - 2)))

    def _put_ask(self, width: int) -> None:
        ask = self.query_one("#ask", Static)
        showing = self.asked or self.desk.exporter.running
        if showing:
            self._put("ask", paint(data_view.command_lines(self.command, width)), layout=True)
        if ask.has_class("said") != showing:
            ask.set_class(showing, "said")
            self.call_after_refresh(self.repaint)

    def _put(self, id: str, content: Content, *, layout: bool = False) -> None:
        if self._shown.get(id) != content:
            self._shown[id] = content
            self.query_one(f"#{id}", Static).update(content, layout=layout)

    def _say(self, text: str, tone: str = "") -> None:
        self.said, self.tone = text, tone
        self.repaint()

    def _quiet(self) -> None:
        self.asked, self.said, self.tone = False, "", ""

    # Keys: going through

    def action_page(self, step: int) -> None:
        self.pages.go(step)
        self._quiet()
        self.repaint()

    def action_move(self, step: int) -> None:
        if self.pages.shown == "examples" and not self.pages.reading:
            self.action_example(step)
        else:
            self._scroll(step)

    def action_read(self, pages: int) -> None:
        height = self.query_one("#page", Static).content_size.height
        if self.pages.shown == "examples" and not self.pages.previewing:
            self.action_example(pages * max(1, height - 1))
        else:
            self._scroll(pages * max(1, height - 3))

    def action_end(self, bottom: bool) -> None:
        if self.pages.shown == "examples" and not self.pages.reading:
            self.action_example(10**9 if bottom else -(10**9))
        else:
            self._scroll(10**9 if bottom else -(10**9))

    def _scroll(self, lines: int) -> None:
        self._quiet()
        self.pages.scroll(lines)
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(-3)

    def on_click(self, event: events.Click) -> None:
        """A click on an example chooses it."""
        number = self.pages.clicked(getattr(event.widget, "id", None) or "", event.y)
        if number is not None:
            self.action_example(number - self.desk.chosen)

    def action_example(self, step: int) -> None:
        """Choose another example, and see it once the key rests."""
        self._quiet()
        self.desk.choose(self.desk.chosen + step)
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_S, self.desk.ask_for_example)
        self.repaint()

    def action_supervised(self, step: int) -> None:
        self._to_lit(step)
        self.repaint()

    def _to_lit(self, step: int) -> None:
        size = self.query_one("#page", Static).content_size
        self.pages.to_lit(step, size.width, size.height)

    def action_scope(self) -> None:
        try:
            self._audit(self.desk.next_scope())
        except UserError as error:
            self._say(str(error), "error")

    def action_batch(self, step: int) -> None:
        try:
            scope = self.desk.other_batch(step)
        except UserError as error:
            self._say(str(error), "error")
            return
        if scope is None:
            self._say("there is no batch yet: 1 Loop, g makes five; or `loopreview import FILE`")
        else:
            self._audit(scope)

    def _audit(self, scope: str) -> None:
        self.desk.scope = scope
        self.pages.show_audit()
        self._quiet()
        self._count()
        self.repaint()

    def action_look(self) -> None:
        self._quiet()
        self.desk.look_anew()

    def action_leave(self) -> None:
        if not self.asked:
            self.pages.reading = False
        self._quiet()
        self.repaint()

    def action_go(self) -> None:
        """Start the export that was asked about, else read the chosen example, or leave it."""
        if self.asked:
            self._start()
        elif self.pages.shown == "examples":
            self.pages.reading = not self.pages.reading and self.desk.plan is not None and bool(self.desk.plan.examples)
        else:
            self.pages.page = "examples"
        self.repaint()

    # Keys: exporting

    @property
    def command(self) -> str:
        """What one would type into a shell to export the same."""
        return self.desk.wish.command(self.app.workspace.root)

    def action_what(self) -> None:
        """Ask for tokenizer, kind, format and what is supervised."""
        wish = self.desk.wish
        kinds = "Kind: examples, pairs with a better reply, replies with a verdict"
        fields = [
            Field("kind", kinds, wish.kind, ("sft", "dpo", "kto")),
            Field("form", "Whose files", wish.form, ("trl", "mlx", "openai", "sharegpt")),
            Field("supervise", "What is learnt of an example", wish.supervise, ("last_reply", "all_replies")),
            Field("to", "Folder (empty: exports/ in the workspace)", wish.to),
            Field("tokenizer", self._about_tokenizer(), wish.tokenizer),
        ]
        self.app.push_screen(Dialog("What is exported", fields, save=self._wished))

    def _about_tokenizer(self) -> str:
        base = self.app.workspace.settings.base_model
        otherwise = f"; empty: {base}; none: without" if base else ""
        return f"Tokenizer: a model's folder, or its name on the Hub (user/name){otherwise}"

    def _wished(self, texts: dict[str, str]) -> str | None:
        wish = Wish(**{name: text.strip() for name, text in texts.items()})
        why = wish.problem()
        if why is None and wish != self.desk.wish:
            self.desk.wish = wish
            self.app.preferences.keep_place(self.app.workspace.root / "exports", wish._asdict())
            self._quiet()
            self.desk.trouble = ""
            self.desk.look()
        return why

    def action_export(self) -> None:
        """Show what would be written and the command, and wait for `enter`."""
        desk, plan = self.desk, self.desk.plan
        if desk.exporter.running:
            self._say("an export is running; x stops it")
        elif plan is None:
            self._say(desk.trouble or "still looking; a moment", "error" if desk.trouble else "")
        elif not plan.examples or plan.problem:
            self._say(data_view.next_step(plan, desk.wish, None, desk.exporter), "error")
        else:
            self.asked = True
            self._say(data_view.asked(plan, desk.wish), "ask")

    def _start(self) -> None:
        self._quiet()
        try:
            self.desk.exporter.start(self.desk.wish.args)
        except OSError as error:
            self._say(f"the export could not be started: {error.strerror}", "error")

    def _exported(self) -> None:
        exporter = self.desk.exporter
        if exporter.dataset:
            folder = Path(exporter.dataset)
            root = self.app.workspace.root
            name = folder.relative_to(root) if folder.is_relative_to(root) else folder
            self._say(f"exported to {name} · its README.md says what is in it")
        else:
            self._say(f"not exported: {exporter.failed}", "error")
        self.desk.look()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(safe(self.command, keep_newlines=False))
        if not self.asked:
            self._say(f"copied: {self.command}")

    def action_stop(self) -> None:
        if self.desk.exporter.running:
            self.desk.exporter.stop()
            self._say("stopping …")
        else:
            self._say("no export is running")
