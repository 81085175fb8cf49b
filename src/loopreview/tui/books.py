"""What the desk reads from a workspace and writes into it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from loopreview import review, standing
from loopreview.models.review import Event, EventKind
from loopreview.models.verdict import Assessment
from loopreview.rules.queue import Waiting, transcript_order
from loopreview.store import standing as kept
from loopreview.store import transcripts
from loopreview.tui.filters import passes
from loopreview.tui.sheet import Sheet
from loopreview.workspace import Workspace

QUEUE_LIMIT = 500
"""Transcripts of one batch that are put in order at once."""


class WorkspaceBooks:
    """One batch at a time: the one asked for, else the newest that has undecided transcripts."""

    def __init__(self, workspace: Workspace, reviewer: str) -> None:
        self.workspace = workspace
        self.reviewer = reviewer
        self.batch: int | None = None
        """The batch in review."""
        self.filter = ""
        """A name of `filters.FILTERS`, or empty for what waits for a decision."""
        self.filter_criterion = ""
        self._found: dict[str, standing.Standing] = {}
        self._rubric_version = ""

    def section_notes(self, sheet: Sheet) -> dict[int, str]:
        """What stands beside a speaker: replies marked bad or rewritten, limits that a message broke."""
        found: dict[int, str] = {}
        for event in sheet.review.marks:
            number = sheet.section_of(int(event.data.get("exchange") or 0), "assistant")
            if number is not None:
                found[number] = "marked bad, rewritten" if event.data.get("better") else found.get(number, "marked bad")
        return found

    def choose(self, batch: int | None) -> None:
        """Review this batch next; null for the newest that waits."""
        self.batch = batch

    def queue(self) -> list[tuple[str, str]]:
        """The undecided transcripts of the batch, those with the most doubt first; or those the filter lets through,
        as they stand in the batch."""
        store, rubric = self.workspace.store, self.workspace.rubric
        context = standing.context(self.workspace)
        if self.batch is None or not transcripts.heads(store, batch=self.batch, limit=1):
            rows = kept.by_batch(store, context)
            undecided = [row.batch for row in rows if row.approved + row.rejected < row.n]
            every = [row.batch for row in rows if row.n]
            self.batch = next(reversed(undecided or every), None)
        if self.batch is None:
            return []
        if self.filter:
            found = self._assessments(context)
            chosen = [a.transcript for a in found if passes(self.filter, a, self.filter_criterion)]
            return [(id, "asked for") for id in chosen]
        ids = [head.id for head in transcripts.heads(store, batch=self.batch, limit=QUEUE_LIMIT + 1)]
        if len(ids) <= QUEUE_LIMIT:
            waits = review.queue(self.workspace, batch=self.batch)
        else:
            # Putting 100,000 in order would take minutes: the first few hundred that wait are enough for a day.
            some = islice((a for a in self._assessments(context) if a.decision is None), QUEUE_LIMIT)
            share = self.workspace.settings.sample_share
            waits = transcript_order(
                rubric, [Waiting(a, False) for a in some], seed=self.workspace.root.name, sample_share=share
            )
        # Where nothing waits, the batch can be looked at again.
        return waits or [(id, "asked for") for id in ids[:QUEUE_LIMIT]]

    def _assessments(self, context: str) -> Iterator[Assessment]:
        return kept.assessments(self.workspace.store, context, batch=self.batch)

    def sheet(self, transcript: str, because: str) -> Sheet:
        found = standing.of(self.workspace, transcript)
        self._found = {transcript: found}
        rubric = self.workspace.rubric
        self._rubric_version = rubric.version
        to_answer, not_asked = review.to_answer(self.workspace, found, because=because)
        return Sheet(
            transcript=found.transcript,
            rubric=rubric,
            backends=found.panel.backends,
            verdicts=found.panel.current,
            check_notes={id: result.reasoning for id, result in found.checks.items()},
            check_evidence={id: result.evidence for id, result in found.checks.items()},
            assessment=found.assessment,
            review=found.review,
            to_answer=to_answer,
            not_asked=not_asked,
            because=because,
        )

    def record(self, sheet: Sheet, kind: EventKind, **fields: Any) -> list[str]:
        done = review.record(
            self.workspace,
            kind,
            reviewer=self.reviewer,
            transcript=sheet.id,
            shown_because=sheet.because,
            found=self._found[sheet.id],
            **fields,
        )
        self.renew(sheet)
        return done.warnings

    def renew(self, sheet: Sheet) -> None:
        """Fold the events anew. What judges and code said is as it was when the transcript was opened: it must not
        move under the reviewer's hands."""
        found = self._found[sheet.id]
        found.fold(self.workspace)
        sheet.review, sheet.assessment = found.review, found.assessment

    def undo(self) -> Event | None:
        return review.undo(self.workspace, self.reviewer)

    def redo(self) -> Event | None:
        return review.redo(self.workspace, self.reviewer)
