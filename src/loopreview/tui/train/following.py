"""Runs as their folders tell of them: what is new is read bit by bit, so that no key waits for a long file."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from loopreview import runs
from loopreview.progress import read_events
from loopreview.runs import Run, Standing
from loopreview.tui.train.curves import Curve

PIECE = 1 << 17
"""Bytes of events that are read at a time: a few milliseconds of work."""
MOST_PLAN = 1 << 15
"""Bytes. A longer plan.yaml is none of ours."""
_LAST = ("started", "done", "cancelled", "failed")


def number(value: object) -> float | None:
    """A finite number of a file that anybody may have written; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        return None
    return float(value) if math.isfinite(value) else None


def count(value: object) -> int:
    """The same as a count; 0 where it is none."""
    return max(0, int(number(value) or 0))


class Followed:
    """One run. `look` sees whether anything is new, `read` reads a piece of it."""

    def __init__(self, run: Run) -> None:
        self.run, self.id = run, run.id
        self.loss_curve, self.eval_curve = Curve(), Curve()
        self.latest: Mapping[str, Any] = {}
        """The last `step` event."""
        self.started: Mapping[str, Any] = {}
        self.checkpoint: int | None = None
        """The step of the last checkpoint."""
        self.warnings: list[str] = []
        self.doing = ""
        """What the job is at before its first step."""
        self.alive = self.whole = False
        """Whether its job lives; whether all that was written is read."""
        self.lived = False
        """Whether it lived while somebody watched, and its end is not told yet."""
        self.version = 0
        """Another one whenever something is to be shown anew."""
        self._kept: list[dict[str, Any]] = []
        self._offset = 0
        self._stamp: tuple[int, ...] = (-1,)
        self._plan: tuple[int, Mapping[str, Any]] | None = None
        self._metrics: tuple[int, Mapping[str, Any]] | None = None
        self._best: tuple[int, tuple[int, float] | None] | None = None

    @property
    def losses(self) -> dict[int, float]:
        """Step → training loss, in the order of the steps."""
        return self.loss_curve.all

    @property
    def evals(self) -> dict[int, float]:
        """Step → validation loss, in the order it was measured."""
        return self.eval_curve.all

    @property
    def standing(self) -> Standing:
        """As `Run.standing`, of what was read until now."""
        return runs.standing(self._kept, alive=self.alive)

    @property
    def is_done(self) -> bool:
        """Also of a run whose events are not read yet."""
        return self.standing.state == "done" if self.whole else not self.alive and self.run.metrics_file.exists()

    @property
    def plan(self) -> Mapping[str, Any]:
        """What plan.yaml says, as it stands there; empty where it cannot be read."""
        found = _stamp(self.run.plan_file)[0]
        if self._plan is None or self._plan[0] != found:
            self._plan = (found, _plan(self.run.plan_file))
        return self._plan[1]

    @property
    def data(self) -> Mapping[str, Any]:
        """The plan's dataset."""
        found = self.plan.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def metrics(self) -> Mapping[str, Any]:
        found = _stamp(self.run.metrics_file)[0]
        if self._metrics is None or self._metrics[0] != found:
            self._metrics = (found, self.run.metrics if found > 0 else {})
        return self._metrics[1]

    @property
    def base_loss(self) -> float | None:
        """Validation loss of the base model."""
        return self._measured("base") if 0 not in self.evals else self.evals[0]

    @property
    def best(self) -> tuple[int | None, float] | None:
        """(step, validation loss) of the best measurement of the trained model."""
        if self._best is None or self._best[0] != self.version:
            trained = ((loss, step) for step, loss in self.evals.items() if step)
            found = min(trained, default=None)
            self._best = (self.version, (found[1], found[0]) if found else None)
        if self._best[1] is not None:
            return self._best[1]
        loss = self._measured("best")
        return None if loss is None else (None, loss)

    def _measured(self, name: str) -> float | None:
        found = self.metrics.get("eval_loss")
        return number(found.get(name)) if isinstance(found, dict) else None

    @property
    def tokens_per_s(self) -> float | None:
        own = number(self.metrics.get("tokens_per_s"))
        return number(self.latest.get("tokens_per_s")) if own is None else own

    def look(self) -> bool:
        """See whether the files grew or the job came or went; True where one of these did."""
        stamp = (*_stamp(self.run.events_file), _stamp(self.run.job_file)[0])
        if stamp == self._stamp and not self.alive:
            return False
        # Whether it lives is seen before its events are read: what an ended job wrote last is there by then.
        alive = self.run.pid() is not None
        changed = stamp != self._stamp or alive != self.alive
        self._stamp = stamp
        self.lived = self.lived or alive
        if changed:
            self.alive, self.whole = alive, False
            self.version += 1
        return changed

    def read(self) -> bool:
        """Read one more piece; True where it held something."""
        if self.whole:
            return False
        try:
            size = self.run.events_file.stat().st_size
        except OSError:
            size = 0
        if size < self._offset:
            self._forget()
        events, offset = read_piece(self.run.events_file, self._offset)
        for event in events:
            self._take(event)
        self.whole = offset == self._offset or offset >= size
        self._offset = offset
        if events:
            self.version += 1
        return bool(events)

    def _forget(self) -> None:
        """The file is another one than before."""
        self.loss_curve, self.eval_curve, self.warnings, self._kept = Curve(), Curve(), [], []
        self._best = None
        self.latest, self.started, self.checkpoint, self._offset = {}, {}, None, 0

    def _take(self, event: Mapping[str, Any]) -> None:
        name, step = event.get("event"), count(event.get("step"))
        loss = number(event.get("loss"))
        if name in _LAST:
            # All that `runs.standing` asks for, as numbers; without steps it keeps those of before.
            steps = count(event.get("steps")) or self.standing.steps
            self._kept = [{"event": name, "step": step or self.standing.step, "steps": steps,
                           "reason": str(event.get("reason", ""))}]  # fmt: skip
            if name == "started":
                # Speed and time left of before say nothing of now.
                self.started, self.doing, self.latest = event, "", {}
        elif name == "step":
            self.latest, self.doing = event, ""
            self._kept = [*self._kept[:1], {"event": name, "step": step, "steps": count(event.get("steps"))}]
            if loss is not None:
                self.loss_curve.back_to(step - 1)
                self.loss_curve.add(step, loss)
        elif name == "eval" and loss is not None:
            self.eval_curve.add(step, loss)
        elif name == "checkpoint":
            self.checkpoint = step
        elif name == "warning":
            self.warnings = [*self.warnings[-19:], str(event.get("text", ""))[:2000]]
        elif name == "note":
            self.doing = str(event.get("text", ""))[:500]
        elif name == "progress":
            total = count(event.get("total"))
            of = f" {count(event.get('done')):,} of {total:,}" if total else ""
            self.doing = f"{str(event.get('label', ''))[:500]}{of}"


def read_piece(path: Path, offset: int, most: int = PIECE) -> tuple[list[dict[str, Any]], int]:
    """As `progress.read_events`, but of about `most` bytes. A line longer than that is passed over."""
    import json

    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(most)
    except OSError:
        return [], offset
    if len(data) < most:
        return read_events(path, offset)
    end = data.rfind(b"\n") + 1 or len(data)
    found = []
    for line in data[:end].splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found, offset + end


def _stamp(path: Path) -> tuple[int, int]:
    """Another pair whenever the file was written; (0, 0) where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _plan(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MOST_PLAN:
            return {}
        # The faster loader in C ends the process where brackets are nested too deeply.
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


class Following:
    """All runs of a workspace, oldest first."""

    def __init__(self, root: Path, ended: Callable[[Followed], None]) -> None:
        """`ended` is called once for each run that lived while somebody watched, when all it wrote is read."""
        self._root, self._ended = root, ended
        self.runs: list[Followed] = []
        self.looked = False
        """Whether the folder was looked at."""
        self.waiting: set[str] = set()
        """Runs whose end is not told yet, because a command of ours is about to say more of it."""

    def look(self, *, at_live: bool = False) -> bool:
        """See which runs there are, and which of them did something; `at_live`: only at those that live, or did."""
        if at_live:
            return any([one.look() for one in self.runs if one.alive or one.lived])
        known = {one.id: one for one in self.runs}
        found = [known.get(run.id) or Followed(run) for run in runs.listed(self._root)]
        changed = not self.looked or [one.id for one in found] != list(known)
        self.runs, self.looked = found, True
        for one in found:
            changed = one.look() or changed
        return changed

    def get(self, id: str) -> Followed | None:
        return next((one for one in self.runs if one.id == id), None)

    @property
    def live(self) -> list[Followed]:
        return [one for one in self.runs if one.alive]

    def expect(self, id: str) -> None:
        """A run that was just started here: its end is told even where it lives for less than a look."""
        one = self.get(id)
        if one is not None:
            one.lived = True

    def read(self, first: Sequence[str], seconds: float, *, all_of_them: bool) -> bool:
        """Read for about `seconds`: the live runs, those named, and then all others where they are wanted. True where
        something is to be shown anew."""
        until, changed = time.monotonic() + seconds, False
        for one in self._order(first, all_of_them):
            while not one.whole:
                changed = one.read() or changed
                if one.whole:
                    changed = True
                    # Read here and not while painting, where a key waits.
                    _ = one.plan, one.metrics
                elif time.monotonic() > until:
                    return True
            changed = self._tell(one) or changed
            if time.monotonic() > until:
                break
        return changed

    def _order(self, first: Sequence[str], all_of_them: bool) -> list[Followed]:
        wanted = [one for id in first if (one := self.get(id)) is not None]
        rest = list(reversed(self.runs)) if all_of_them else []
        lived = [one for one in self.runs if one.alive or one.lived]
        return list(dict.fromkeys((*lived, *wanted, *rest)))

    def _tell(self, one: Followed) -> bool:
        if not one.lived or one.alive or one.id in self.waiting or one.standing.state == "planned":
            return False
        one.lived = False
        self._ended(one)
        return True
