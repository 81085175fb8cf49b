"""What follows from writing a file: what became stale, what asking costs, what flipped, and the way back."""

import json
import subprocess
from typing import TYPE_CHECKING, Any

from loopreview import jobs
from loopreview.loop.rubric_flips import Flip
from loopreview.loop.rubric_versions import changes, find_version, rubric_versions, unified
from loopreview.models.errors import UserError
from loopreview.models.rubric import Rubric
from loopreview.store import batches, versions
from loopreview.tui.counting import run_loopreview
from loopreview.tui.live import Live
from loopreview.tui.manuscripts import Title
from loopreview.tui.rewording import Rewording, Trial, assessor_trial, earlier_trial, rubric_trial
from loopreview.tui.rubric_view import diff_lines
from loopreview.tui.screens.pages import Page, Version, Versions
from loopreview.tui.shield import shield, unshield
from loopreview.workspace import Workspace

if TYPE_CHECKING:
    from loopreview.tui.screens.rubric import OpenFile
    from loopreview.tui.screens.rubric import Rubric as RubricScreen


class TrialRunner:
    """Belongs to one screen. Nothing is asked before its calls and cost were shown and a key of its own was pressed."""

    def __init__(self, screen: "RubricScreen") -> None:
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
        self._live = Live(self.workspace)
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
        if self._process is not None or (self._live.job is not None and self.shown is not None):
            total = f" of {self._live.total}" if self._live.total else ""
            return f"asking the judges: {self._live.done}{total} · x stops, what was answered stays"
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

    def changed(self, file: "OpenFile") -> None:
        """A file has another content on disk, written here or elsewhere: say what follows."""
        manuscript, screen = file.manuscript, self.screen
        if manuscript.problems(manuscript.disk):
            return
        judges = dict(self.workspace.settings.judges)
        try:
            self.workspace.refresh()
            before, self._generation = self._generation, self._generation_now()
            screen.forget_labels()
            found = self._trial(file)
        except UserError as error:
            screen.say(f"written, but {error}", "error")
            return
        screen.app.counter.ask()
        screen.counter.ask()
        self._job, self.question = None, ""
        if found is None:
            if self.rewording is not None and self.rewording.name == manuscript.title.name:
                self.rewording = self.shown = None
            screen.say(self._consequence(file, before, judges))
            manuscript.settled = manuscript.disk
            return
        self.rewording = self.shown = found
        found.look()
        self._estimate("assess", found.job, found.title)

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
            return "written · it is the system message of the next export; nothing is judged or made anew"
        if generation != self._generation and self._generation is not None:
            made = [b.id for b in batches.listed(self.workspace.store) if b.generation_version == self._generation]
            if made:
                return f"written · back on an earlier line of the gate: batch {', '.join(map(str, made[-4:]))}"
            needed = self.workspace.settings.stable_batches
            return f"written · a new line in the gate begins, 0 of {needed} batches · 1 Loop: g makes five"
        if judges != dict(self.workspace.settings.judges):
            return "written · the judges changed: 1 Loop: a shows what asking them costs"
        return "written" if title.kind == "settings" else "written · no question changed, so nothing is to be asked"

    # Asking

    def _estimate(self, kind: str, args: list[str], what: str) -> None:
        """Find out calls and cost, then wait for `a`."""
        if not self.workspace.settings.judges:
            self.screen.say(f"{what} · no judge is configured, so nobody can be asked", "flag")
            return
        self.screen.say(f"written · {what}: counting calls and cost …")
        self.screen.run_worker(self._count(kind, args, what), exclusive=True, group="estimate", exit_on_error=False)

    async def _count(self, kind: str, args: list[str], what: str) -> None:
        root = str(self.workspace.root)
        code, out, errors = await run_loopreview([kind, "-w", root, "--json", *args, "--dry-run"])
        found = _document(out) if code == 0 else None
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
            if self.workspace.settings.judges:
                screen.say(f"{what}: counting calls and cost …")

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
        ended = self._process is not None and self._process.poll() is not None
        if self.shown is None and self._process is None:
            return
        try:
            working = self._live.look()
            changed = self.shown.look() if self.shown is not None else False
        except UserError as error:
            self.screen.say(str(error), "error")
            return
        if ended and self._process is not None:
            code, self._process = self._process.returncode, None
            self.screen.app.counter.ask()
            self.screen.counter.ask()
            if code not in (0, 130):
                why = jobs.last_words(self.workspace.root, self._kind)
                self.screen.say(why.removeprefix("loopreview: ") or f"{self._kind} ended early", "error")
        if (working or changed or ended) and self.screen.is_current:
            self.screen.repaint()

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
        self.screen.replace_text(file, rewording.before)
        self._close()
        self.write(file)

    def _close(self) -> None:
        self._last = self.shown
        self.rewording = self.shown = None
        self.question, self._job = "", None

    def stop(self) -> None:
        if self._process is None or self._live.job is None:
            self.screen.say("no judge is being asked")
            return
        jobs.cancel(self._live.job)
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

    # Versions

    def show_difference(self) -> None:
        """Against the disk where there is something unwritten, else against the text before."""
        file = self.screen.file
        if file is None:
            return
        manuscript, text = file.manuscript, file.editor.text
        if file.theirs is not None:
            self._show(file.theirs, text, "on disk", "here, not written")
        elif not file.saved:
            self._show(manuscript.disk, text, "on disk", "here, not written")
        elif manuscript.settled != manuscript.disk:
            self._show(manuscript.settled, text, "before the edit", "now")
        else:
            known = [v for v in self._versions(manuscript.title) if v.text and shield(v.text) != text]
            if not known:
                self.screen.say("nothing differs: no other version of this file was used")
                return
            self._show(shield(known[0].text), text, f"version {known[0].hash[:8]}", "now")

    def _show(self, before: str, after: str, before_name: str, after_name: str) -> None:
        name = self.screen.titles[self.screen.number].name
        lines = unified(unshield(before), unshield(after), before_name, after_name)
        if not lines:
            self.screen.say("nothing differs")
            return
        title = f" {name}: {before_name} (-) and {after_name} (+)"
        self.screen.app.push_screen(Page(title, lambda width: diff_lines(lines, width)))

    def show_versions(self) -> None:
        """The versions of this file that were used; the rates come when they are counted."""
        file = self.screen.file
        if file is None:
            return
        title = file.manuscript.title
        listed = Versions(f" {title.name}: versions that were used", self._versions(title))

        def chosen(answer: tuple[str, Version] | None) -> None:
            if answer is None or self.screen.file is None:
                return
            what, version = answer
            if what == "diff":
                self._show(shield(version.text), self.screen.file.editor.text, f"version {version.hash[:8]}", "the text")
            else:
                self.screen.replace_text(self.screen.file, shield(version.text))
                self.screen.say(f"version {version.hash[:8]} is in the text, not written · w writes it · u takes it out")

        self.screen.app.push_screen(listed, chosen)
        if title.kind in ("rubric", "prompt"):
            self.screen.run_worker(self._rates(listed, title), exclusive=True, group="rates", exit_on_error=False)

    async def _rates(self, listed: Versions, title: Title) -> None:
        code, out, _ = await run_loopreview(["rubric", "history", "--json", "-w", str(self.workspace.root)])
        found = _document(out) if code == 0 else None
        rows = (found or {}).get("versions" if title.kind == "rubric" else "prompts", [])
        listed.rates = {"": ""}
        for row in rows:
            if title.kind == "rubric" or row["role"] == title.part:
                listed.rates[row["version"]] = f"{row['passed']} of {row['n']}" if row["n"] else "–"
        if listed.is_current:
            listed.show()

    def _versions(self, title: Title) -> list[Version]:
        """The latest first. A rubric's say what they changed."""
        store = self.workspace.store
        if title.kind == "rubric":
            found, before = [], None
            for version in rubric_versions(self.workspace):
                now = version.hash == self.rubric_version
                found.append(Version(version.hash, version.at, now, _changed(before, version.rubric), version.text))
                before = version.rubric or before
            return found[::-1]
        kind, name = ("prompt", title.part) if title.kind == "prompt" else ("file", title.name)
        file = self.screen.file
        disk = file.manuscript.disk if file is not None else ""
        listed = [(hash, at, versions.get(store, hash) or "") for hash, n, at in versions.listed(store, kind) if n == name]
        return [Version(hash, at, shield(text) == disk, "", text) for hash, at, text in reversed(listed)]


def _changed(before: Rubric | None, after: Rubric | None) -> str:
    if after is None:
        return "cannot be read any more"
    found = [f"{change['criterion']} {change['change']}".strip() for change in changes(before, after)]
    return "; ".join(found) if found or before is not None else "the first"


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
