"""The terminal program: one workspace, one screen per digit."""

import gc
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import platformdirs
from textual import events
from textual.app import App, SystemCommand
from textual.screen import Screen

from loopreview.tui import keys
from loopreview.tui.agreeing import agreement_of
from loopreview.tui.counting import Counter, status_of
from loopreview.tui.guard import Guard
from loopreview.tui.place import Preferences
from loopreview.workspace import Workspace

WRITE_TIMEOUT_S = 0.2
"""How long a key waits for another process's write before it says so."""


def open_app(root: Path, *, screen: str = "loop", reviewer: str | None = None) -> None:
    """Open the terminal program in the workspace `root`, on the screen `loop` or `review`.

    Raises UserError where the workspace can't be opened.
    """
    with Workspace.open(root, timeout_s=WRITE_TIMEOUT_S) as workspace:
        LoopReview(workspace, reviewer=workspace.reviewer(reviewer), screen=screen).run()


def _loop() -> Screen[None]:
    from loopreview.tui.screens.loop import Loop

    return Loop()


def _review() -> Screen[None]:
    from loopreview.tui.screens.review import Review

    return Review()


def _rubric() -> Screen[None]:
    from loopreview.tui.screens.rubric import Rubric

    return Rubric()


def _data() -> Screen[None]:
    from loopreview.tui.screens.data import Data

    return Data()


def _train() -> Screen[None]:
    from loopreview.tui.screens.train import Train

    return Train()


def _collect_garbage() -> None:
    """Begin to, where the command line put it off. What was made until now stays until the end: looking through it
    with each collection would hold up a key for tens of milliseconds."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


class LoopReview(App[None]):
    """Holds the workspace, the reviewer and the guard; screens hold everything else."""

    TITLE = "loopreview"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "loop": _loop, "review": _review, "rubric": _rubric, "data": _data, "train": _train,
    }  # fmt: skip
    BINDINGS = keys.bindings(keys.APP)
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (140, "widest")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "short"), (20, "tall")]  # noqa: RUF012

    def __init__(
        self,
        workspace: Workspace,
        *,
        reviewer: str,
        screen: str = "loop",
        preferences: Preferences | None = None,
        count: Callable[[Path], Awaitable[dict[str, Any]]] = status_of,
        agree: Callable[[Path], Awaitable[dict[str, Any]]] = agreement_of,
    ) -> None:
        """`count` gives the workspace in numbers, as `status --json` does; `agree` as `agreement --json` does."""
        super().__init__()
        self.workspace = workspace
        self.reviewer = reviewer
        self.first_screen = screen
        self.guard = Guard(on=workspace.settings.guard)
        self.key_before: tuple[str, float] = ("", float("inf"))
        """The key before the present one, and the seconds between the two."""
        self.key_at = 0.0
        self.key_name = ""
        self.preferences = preferences or Preferences(
            Path(platformdirs.user_config_dir("loopreview")), Path(platformdirs.user_state_dir("loopreview"))
        )
        self.status: dict[str, Any] | None = None
        """The workspace in numbers, as last counted; screens with a method `counted` are told."""
        self.counter = Counter(workspace.root, self._counted, self._uncounted, count)
        self.agreement: dict[str, Any] | None = None
        """How far judges and people agree, as last counted; screens with a method `agreed` are told."""
        self.agreement_counter = Counter(workspace.root, self._agreed, self._not_agreed, agree)
        self.batch_to_review: int | None = None
        """The batch that Loop sent the reviewer to."""

    def on_mount(self) -> None:
        keymap, problems = keys.read_keymap(self.preferences.config_file)
        if keymap:
            self.set_keymap(keymap)
        for problem in problems:
            self.notify(problem, severity="warning", markup=False)
        theme = self.preferences.theme()
        if theme in self.available_themes:
            self.theme = theme
        self.switch_mode(self.first_screen)
        self.set_timer(0.2, _collect_garbage)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            self.key_at, self.key_name = event.time, keys.key_names(event.key)
            self.key_before = self.guard.pressed(event.key, event.time)
        await super().on_event(event)

    async def on_unmount(self) -> None:
        await self.counter.stop()
        await self.agreement_counter.stop()

    @property
    def keymap(self) -> dict[str, str]:
        return dict(self._keymap)

    def watch_theme(self, theme: str) -> None:
        if self.is_running:
            self.preferences.keep_theme(theme)

    def _counted(self, status: dict[str, Any]) -> None:
        self.status = status
        self._tell("")

    def _uncounted(self, why: str) -> None:
        self._tell(why)

    def _tell(self, problem: str) -> None:
        counted = getattr(self.screen_stack[0], "counted", None) if self.is_running else None
        if counted is not None:
            counted(problem)

    def _agreed(self, found: dict[str, Any]) -> None:
        self.agreement = found
        self._tell_agreement("")

    def _not_agreed(self, why: str) -> None:
        self._tell_agreement(why)

    def _tell_agreement(self, problem: str) -> None:
        if not self.is_running:
            return
        for screen in self.screen_stack:
            agreed = getattr(screen, "agreed", None)
            if agreed is not None:
                agreed(problem)

    # Actions

    def action_agreement(self) -> None:
        """Show how far judges and people agree, and count it anew."""
        from loopreview.tui.screens.agreement import AgreementView

        names = {criterion.id: criterion.name for criterion in self.workspace.rubric.criteria}
        chosen = getattr(getattr(self.screen, "desk", None), "cursor", "")
        self.push_screen(AgreementView(names, self.agreement, chosen=chosen))
        self.agreement_counter.ask()

    def action_help(self) -> None:
        from loopreview.tui.screens.help import Help

        self.push_screen(Help(self.current_keys(), self.keymap))

    def current_keys(self) -> tuple[keys.Key, ...]:
        """The keys of the screen that is up, and those that work everywhere."""
        return (*getattr(self.screen, "KEYS", ()), *keys.APP)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action with its key, found by name."""
        for key in (*getattr(screen, "KEYS", ()), *keys.APP):
            if key.id == "app.palette":
                continue
            name = keys.key_names(self.keymap.get(key.id, key.keys))
            yield SystemCommand(key.does, f"{key.group} · key {name}", self._runner(screen, key))

    def _runner(self, screen: Screen[Any], key: keys.Key) -> Callable[[], None]:
        def run() -> None:
            # The palette is no key pressed in haste.
            self.key_before = ("", float("inf"))
            namespace = self if key.action.startswith("app.") else screen
            self.call_later(self.run_action, key.action, namespace)

        return run

    def edit_text(self, text: str, suffix: str = ".md") -> str | None:
        """Open `text` in the user's editor and return what it became; null where no editor could be started."""
        import shlex
        import subprocess
        import tempfile

        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"loopreview{suffix}"
            path.write_text(text, encoding="utf-8", errors="replace")
            try:
                with self.suspend():
                    done = subprocess.run([*shlex.split(editor), str(path)], check=False)
            except (OSError, ValueError) as error:
                self.notify(f"{editor}: {error}; set EDITOR to an editor", severity="error", markup=False)
                return None
            if done.returncode:
                return None
            return path.read_text(encoding="utf-8", errors="replace")
