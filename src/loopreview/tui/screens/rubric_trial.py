"""What follows from writing a file: what became stale, what asking costs, what flipped, and the way back."""

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from loopreview import jobs
from loopreview.loop.rubric_flips import Flip
from loopreview.loop.rubric_versions import find_version
from loopreview.models.errors import UserError
from loopreview.store import batches
from loopreview.tui.counting import run_loopreview
from loopreview.tui.manuscripts import titles, words_of
from loopreview.tui.rewording import Rewording, Trial, assessor_trial, earlier_trial, rubric_trial
from loopreview.tui.shield import unshield
from loopreview.workspace import Workspace

if TYPE_CHECKING:
    from loopreview.tui.screens.rubric import Rubric
    from loopreview.tui.screens.rubric_files import OpenFile


class TrialRunner:
    """Belongs to one screen. Nothing is asked before its calls and cost were shown and a key of its own was pressed."""

    def __init__(self, screen: "Rubric") -> None:
        self.screen = screen
        self.workspace: Workspace = screen.app.workspace
        self.shown: Trial | None = None
        self.rewording: Rewording | None = None
        """The edit that was neither kept nor taken back yet."""
        self.question = ""
        """What `a` would ask, and what it costs."""
        self._job: tuple[str, list[str]] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._kind = ""
        self._done, self._total, self._offset = 0, 0, 0
        self._last: Trial | None = None
        self._generation = self._generation_now()

    # What is

    @property
    def rubric_version(self) -> str:
        """The version of the rubric that was written last; empty while it cannot be read."""
        try:
            return self.workspace.rubric_version
        except UserError:
            return ""

    @property
    def flips(self) -> list[Flip]:
        trial = self.shown or self._last
        return trial.flips if trial is not None else []

    @property
    def hint(self) -> str:
        """What to do next; empty where this has no say."""
        if self._process is not None:
            total = f" of {self._total}" if self._total else ""
            return f"asking the judges: {self._done}{total} · x stops, what was answered stays"
        if self.shown is None:
            return ""
        ways = ["y keeps the edit", "b goes back to the text before"] if self.rewording is not None else ["esc closes"]
        if self._job is not None:
            ways.insert(0, "a asks the judges")
        return " · ".join([*ways, "q back to review"])

    def _generation_now(self) -> str | None:
        try:
            return self.workspace.generation_version
        except UserError:
            return None

    # Writing

    def write(self, file: "OpenFile") -> None:
        try:
            file.manuscript.write(file.editor.text)
        except UserError as error:
            self.screen.say(str(error), "error")
            return
        self.changed(file)

    def changed(self, file: "OpenFile", how: str = "written") -> None:
        """A file has another content on disk, written here or elsewhere: say what follows."""
        manuscript, screen = file.manuscript, self.screen
        if problems := manuscript.problems(manuscript.disk):
            screen.say(f"{how} · {words_of(problems[0])}", "error")
            return
        judges = dict(self.workspace.settings.judges)
        try:
            self.workspace.refresh()
            before, self._generation = self._generation, self._generation_now()
            screen.titles = titles(self.workspace)
            screen.forget_labels()
            found = self._trial(file)
        except UserError as error:
            screen.say(f"{how} · {error}", "error")
            return
        screen.app.counter.ask()
        screen.counter.ask()
        self._job, self.question = None, ""
        if found is None:
            if self.rewording is not None and self.rewording.name == manuscript.title.name:
                self.rewording = self.shown = None
            screen.say(f"{how} · {self._consequence(file, before, judges)}")
            manuscript.settled = manuscript.disk
            return
        self.rewording = self.shown = found
        found.look()
        self._estimate("assess", found.job, found.title, how)

    def _trial(self, file: "OpenFile") -> Rewording | None:
        manuscript = file.manuscript
        name, before = manuscript.title.name, manuscript.settled
        if before == manuscript.disk:
            return None
        if manuscript.title.kind == "rubric":
            return rubric_trial(self.workspace, name, before, unshield(before), self.screen.app.reviewer)
        if manuscript.title.part == "assessor":
            return assessor_trial(self.workspace, name, before, unshield(before), self.screen.app.reviewer)
        return None

    def _consequence(self, file: "OpenFile", generation: str | None, judges: dict[str, Any]) -> str:
        """What a written file means where no verdict became stale by its wording."""
        title = file.manuscript.title
        if file.manuscript.settled == file.manuscript.disk:
            return "as before: the earlier verdicts count again, nothing is asked"
        if title.part == "system":
            return "it is the system message of the next export; nothing is judged or made anew"
        if generation != self._generation and self._generation is not None:
            made = [b.id for b in batches.listed(self.workspace.store) if b.generation_version == self._generation]
            if made:
                return f"back on an earlier line of the gate: batch {', '.join(map(str, made[-4:]))}"
            needed = self.workspace.settings.stable_batches
            return f"a new line in the gate begins, 0 of {needed} batches · 1 Loop: g makes five"
        if judges != dict(self.workspace.settings.judges):
            return "the judges changed: 1 Loop: a shows what asking them costs"
        return "in force now" if title.kind == "settings" else "no question changed, so nothing is to be asked"

    # Asking

    def _estimate(self, kind: str, args: list[str], what: str, how: str = "") -> None:
        """Find out calls and cost, then wait for `a`."""
        if not self.workspace.settings.judges:
            self.screen.say(f"{what} · no judge is configured, so nobody can be asked", "flag")
            return
        self.screen.say(f"{how} · {what}: counting calls and cost …" if how else f"{what}: counting calls and cost …")

        async def count() -> None:
            await self._count(kind, args, what)

        self.screen.run_worker(count, exclusive=True, group="estimate", exit_on_error=False)  # type: ignore[arg-type]

    async def _count(self, kind: str, args: list[str], what: str) -> None:
        root = str(self.workspace.root)
        code, out, errors = await run_loopreview([kind, "-w", root, "--json", *args, "--dry-run"])
        found = document(out) if code == 0 else None
        if found is None:
            self.screen.say(errors.removeprefix("loopreview: ") or f"{kind} could not be estimated", "error")
            return
        if kind == "rubric" and not self._take_test(found):
            return
        calls, cost = int(found["calls"]), found.get("cost_usd")
        self.screen.said = ""
        if not calls:
            self._job, self.question = None, ""
            self.screen.said = f"{what}: every answer is there already, 0 calls"
        else:
            price = "price unknown" if cost is None else f"about ${cost:.2f}"
            self._job = (kind, args)
            self.question = f"{what}: {calls} calls, {price} · a asks the judges · esc not now"
        self.screen.repaint()

    def ask(self) -> None:
        """Start what was asked about."""
        if self._job is None:
            self.screen.say("nothing to ask: w writes an edit, t tests the criterion at the cursor")
            return
        if self._process is not None:
            self.screen.say("the judges are being asked already; x stops")
            return
        kind, args = self._job
        self.question, self._job = "", None
        try:
            self._process, self._kind = jobs.start(self.workspace.root, kind, args), kind
        except OSError as error:
            self.screen.say(f"{kind} could not be started: {error.strerror}", "error")
            return
        self._done = self._total = self._offset = 0
        self.screen.said = ""
        self.screen.repaint()

    def test(self, *, twice: bool) -> None:
        """Hold the criterion at the cursor and its earlier wording against the labels."""
        screen, file, id = self.screen, self.screen.file, self.screen.criterion
        if not id or file is None:
            screen.say("put the cursor on a criterion of the rubric first")
        elif not file.saved or file.problems:
            screen.say("write the text first (w): what is tested is what the file says")
        else:
            what = f"{id}, asked twice" if twice else f"test of {id}"
            args = ["test", id, *(["--retest"] if twice else [])]
            self.question, self._job = "", None
            self._estimate("rubric", args, what)

    def _take_test(self, found: dict[str, Any]) -> bool:
        row = found["criteria"][0]
        try:
            version = find_version(self.workspace, row["old"]["version"])
            old = version.rubric.criterion(row["criterion"]) if version.rubric else None
            reviewer = self.screen.app.reviewer
            trial = None
            if old is not None:
                trial = earlier_trial(self.workspace, old, version.hash, row["fresh"], reviewer)
            if trial is None:
                self.screen.say(f"{row['criterion']}: the earlier wording cannot be read any more", "error")
                return False
            trial.look()
        except UserError as error:
            self.screen.say(str(error), "error")
            return False
        self.shown = trial
        return True

    def look(self) -> None:
        """See what a running job wrote, and count the flips anew."""
        process = self._process
        if process is None and (self.shown is None or not self.screen.is_current):
            return
        ended = process is not None and process.poll() is not None
        working = process is not None and self._follow(process.pid)
        try:
            changed = self.shown.look() if self.shown is not None else False
        except UserError as error:
            self.screen.say(str(error), "error")
            return
        if ended and self._process is not None:
            code, self._process = self._process.returncode, None
            self.screen.app.counter.ask()
            self.screen.counter.ask()
            if code not in (0, 130, -signal.SIGINT):
                why = jobs.last_words(self.workspace.root, self._kind)
                self.screen.say(why.removeprefix("loopreview: ") or f"{self._kind} ended early", "error")
        if (working or changed or ended) and self.screen.is_current:
            self.screen.repaint()

    def _follow(self, pid: int) -> bool:
        """Read how far our job is; True where it went on."""
        job = next((job for job in jobs.find(self.workspace.root) if job.pid == pid), None)
        if job is None:
            return False
        before = self._done
        found, self._offset = jobs.tail(job, self._offset)
        for event in found:
            if event.get("event") == "progress":
                self._done, self._total = int(event.get("done") or 0), int(event.get("total") or 0)
        return self._done != before

    def resume(self) -> None:
        """Labels may have been given since."""
        if self.shown is not None:
            self.shown.relabel(self.screen.app.reviewer)
            self.look()

    # After it

    def keep(self) -> None:
        if self.rewording is None:
            self.screen.say("there is no edit on trial")
            return
        file = self.screen.files.get(self.rewording.name)
        if file is not None:
            file.manuscript.settled = file.manuscript.disk
        self._close()
        self.screen.say("kept · q goes to what flipped" if self.flips else "kept")

    def go_back(self) -> None:
        """Write the text from before the edit again: its verdicts are in the store and count once more."""
        rewording = self.rewording
        if rewording is None:
            self.screen.say("there is no edit on trial")
            return
        file = self.screen.files[rewording.name]
        self.screen.poll()
        if file.theirs is not None or not file.saved:
            self.screen.say("the text has changes that are not written: w writes them, u takes them back")
            return
        if self._process is not None:
            self.stop()
        file.replace(rewording.before)
        self._close()
        self.write(file)

    def _close(self) -> None:
        self._last = self.shown
        self.rewording = self.shown = None
        self.question, self._job = "", None

    def stop(self) -> None:
        if self._process is None:
            self.screen.say("no judge is being asked")
            return
        self._process.send_signal(signal.SIGINT)
        self.screen.say("stopping; what was answered stays, a goes on with it")
        if self.rewording is not None:
            self._job = ("assess", self.rewording.job)

    def leave(self) -> None:
        """Leave the question; once more: leave the table."""
        if self.question:
            self.question = ""
            self.screen.say("not asked now; a asks")
            return
        if self.shown is not None and self._process is None:
            self._last, self.shown = self.shown, None
        self.screen.repaint()


def document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
