"""The job that runs now, read from the store as rows land and from the job's own file."""

import time
from typing import Any, NamedTuple

from loopreview import jobs
from loopreview.store import transcripts, verdicts
from loopreview.store.transcripts import Head
from loopreview.workspace import Workspace


class LiveRow(NamedTuple):
    """One transcript of the batch that is worked on. `judges`: name → ok, –, E!, or how many criteria it answered."""

    id: str
    name: str
    done: int
    target: int | None
    judges: dict[str, str]
    ready: bool
    """Complete, and every judge has answered."""


class Live:
    """What a running job does. `rows` are of the batch it names; an assessment of many names none."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.job: jobs.Job | None = None
        self.batch: int | None = None
        self.started = 0.0
        self.label, self.done, self.total = "", 0, None
        self.note = ""
        self.rows: list[LiveRow] = []
        self._offset = 0
        self._known: dict[str, tuple[int, LiveRow]] = {}

    def look(self) -> bool:
        """Read what is new; True where there is something to paint anew. Raises UserError."""
        running = jobs.find(self._workspace.root)
        job = next((j for j in running if j.kind == "generate"), next(iter(running), None))
        if job is None:
            ended = self.job is not None
            self.job, self.rows, self._known = None, [], {}
            return ended
        if self.job is None or job.path != self.job.path:
            self.job, self._offset = job, 0
            self.batch, self.note, self._known = None, "", {}
            self.started, self.label, self.done, self.total = time.time(), "", 0, None
        events, self._offset = jobs.tail(job, self._offset)
        for event in events:
            self._take(event)
        if self.batch is not None:
            self.rows = self._read(self.batch)
        return True

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "started":
                self.started = float(event.get("at") or self.started)
                if isinstance(event.get("batch"), int):
                    self.batch = event["batch"]
            case "batch":
                self.batch = int(event["batch"])
            case "progress":
                self.label, self.done = str(event.get("label", "")), int(event.get("done") or 0)
                self.total = event.get("total")
            case "note":
                self.note = str(event.get("text", ""))

    def _read(self, batch: int) -> list[LiveRow]:
        store = self._workspace.store
        rows = []
        for head in transcripts.heads(store, batch=batch, limit=60):
            known = self._known.get(head.id)
            if known is None or known[0] != head.revision:
                known = self._known[head.id] = (head.revision, self._row(head))
            rows.append(known[1])
        return rows

    def _row(self, head: Head) -> LiveRow:
        judges = list(self._workspace.settings.judges)
        given: dict[str, set[str]] = {}
        failed: dict[str, set[str]] = {}
        for verdict in verdicts.of(self._workspace.store, head.id):
            answered = failed if verdict.answer == "ERROR" else given
            answered.setdefault(verdict.backend, set()).add(verdict.criterion)
            if verdict.answer != "ERROR":
                failed.get(verdict.backend, set()).discard(verdict.criterion)
        most = max((len(criteria) for criteria in given.values()), default=0)
        states = {}
        for judge in judges:
            count = len(given.get(judge, ()))
            states[judge] = "E!" if failed.get(judge) else "–" if not count else "ok" if count == most else str(count)
        ready = head.complete and bool(judges) and all(state != "–" for state in states.values())
        return LiveRow(head.id, head.persona_name, head.exchanges, head.target_exchanges, states, ready)

    @property
    def seconds(self) -> float:
        return max(0.0, time.time() - self.started)
