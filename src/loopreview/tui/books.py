"""What the desk reads from a workspace and writes into it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from loopreview import review, standing
from loopreview.models.review import Event, EventKind
from loopreview.models.verdict import Assessment
from loopreview.rules.lint import addresses_judge
from loopreview.rules.queue import Waiting
from loopreview.rules.repeats import REPEAT
from loopreview.store import search, transcripts
from loopreview.store import standing as kept
from loopreview.tui.filters import TEXT, passes
from loopreview.tui.page import broken_limits
from loopreview.tui.sheet import Sheet
from loopreview.workspace import Workspace

QUEUE_LIMIT = 300
"""Transcripts of one batch that are put in order at once."""
FILTER_LIMIT = 2000
"""Transcripts that a filter finds at most."""
COUNT_LIMIT = 40
"""Transcripts whose numbers are derived before the first paint; of more, the order comes once they are counted."""


class WorkspaceBooks:
    """One batch at a time: the one asked for, else the newest that has undecided transcripts."""

    def __init__(self, workspace: Workspace, reviewer: str) -> None:
        self.workspace = workspace
        self.reviewer = reviewer
        self.batch: int | None = None
        """The batch in review."""
        self.filter = ""
        """A name of `filters.FILTERS`, `filters.TEXT`, or empty for what waits for a decision."""
        self.filter_criterion = ""
        self.filter_words = ""
        self.weak: frozenset[str] = frozenset()
        """Criteria on which judges and people agree weakly, as last counted: they are to be answered."""
        self.provisional = False
        """The queue stands as the transcripts were made, since their numbers are not counted yet."""
        self._drawn = False
        self._found: dict[str, standing.Standing] = {}
        self._noted: dict[int, str] = {}
        """What the program has to say about a section of the open transcript."""

    @property
    def filter_name(self) -> str:
        """The filter in words; empty without one."""
        about = {"failing": f" {self.filter_criterion}", TEXT: f" “{self.filter_words}” in all batches"}
        return self.filter + about.get(self.filter, "")

    def section_notes(self, sheet: Sheet) -> dict[int, str]:
        """What stands beside a speaker: broken limits, words meant for a judge, replies marked bad or rewritten."""
        marked: dict[int, str] = {}
        for event in sheet.review.marks:
            number = sheet.section_of(int(event.data.get("exchange") or 0), "assistant")
            if number is not None:
                marked[number] = (
                    "marked bad, rewritten" if event.data.get("better") else marked.get(number, "marked bad")
                )
        return {
            number: " · ".join(note for note in (marked.get(number), self._noted.get(number)) if note)
            for number in marked.keys() | self._noted.keys()
        }

    def choose(self, batch: int | None) -> None:
        """Review this batch next; null for the newest that waits."""
        self.batch = batch

    def queue(self) -> list[tuple[str, str]]:
        """The undecided transcripts of the batch, those with the most doubt first; or those the filter lets through,
        as they stand in the batch."""
        store = self.workspace.store
        self.provisional = False
        if self.filter == TEXT:
            return [(id, "asked for") for id in search.transcripts_with(store, self.filter_words)]
        context = standing.context(self.workspace)
        if self.batch is None or not transcripts.heads(store, batch=self.batch, limit=1):
            self.batch = kept.newest_waiting(store, context)
        if self.batch is None:
            return []
        waiting = kept.waiting(store, context, self.batch, QUEUE_LIMIT)
        unknown = sum(not known for _, known in waiting)
        if 0 < unknown <= COUNT_LIMIT:
            standing.refresh(self.workspace, batch=self.batch, limit=COUNT_LIMIT)
        self.provisional = unknown > COUNT_LIMIT
        if self.filter:
            found = self._assessments(context)
            chosen = (a.transcript for a in found if passes(self.filter, a, self.filter_criterion))
            return [(id, "asked for") for id in islice(chosen, FILTER_LIMIT)]
        # Drawing from 100,000 takes a while, too: the first paint does without.
        early = len(waiting) == QUEUE_LIMIT and not self._drawn
        self.provisional = self.provisional or early
        # Putting 100,000 in order would take minutes: the first few hundred that wait are enough for a day.
        assessed = [a for id, _ in waiting if (a := kept.get(store, context, id))]
        self._drawn = True
        full = set() if early else review.full_ids(self.workspace, [self.batch])
        order = review.in_order(
            self.workspace, [Waiting(a, a.transcript in full) for a in assessed], reviewer=self.reviewer
        )
        known = {a.transcript for a in assessed}
        order += [(id, "asked for") for id, _ in waiting if id not in known]
        # Where nothing waits, the batch can be looked at again.
        every = transcripts.heads(store, batch=self.batch, limit=QUEUE_LIMIT) if not order else []
        return order or [(head.id, "asked for") for head in every]

    def _assessments(self, context: str) -> Iterator[Assessment]:
        return kept.assessments(self.workspace.store, context, batch=self.batch)

    def sheet(self, transcript: str, because: str) -> Sheet:
        found = standing.of(self.workspace, transcript)
        if because == REPEAT:
            found.fold(self.workspace, repeat_of=self.reviewer)
        self._found = {transcript: found}
        rubric = self.workspace.rubric
        to_answer, not_asked = review.to_answer(self.workspace, found, because=because, weak=self.weak)
        sheet = Sheet(
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
        # Once an opening: searching a long transcript is too slow for each key.
        notes = list(broken_limits(found.transcript.messages).items())
        notes += [((quote.exchange, quote.role), "speaks to a judge") for quote in addresses_judge(found.exchanges)]
        self._noted = {}
        for place, note in notes:
            number = sheet.section_of(*place)
            if number is not None and note not in self._noted.get(number, ""):
                self._noted[number] = " · ".join(filter(None, (self._noted.get(number), note)))
        return sheet

    def record(self, sheet: Sheet, kind: EventKind, **fields: Any) -> list[str]:
        if sheet.because == REPEAT and kind in ("answer", "approve", "reject"):
            fields["data"] = {**fields.get("data", {}), REPEAT: True}
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
        found.fold(self.workspace, repeat_of=self.reviewer if sheet.because == REPEAT else None)
        sheet.review, sheet.assessment = found.review, found.assessment

    def undo(self) -> Event | None:
        return review.undo(self.workspace, self.reviewer)

    def redo(self) -> Event | None:
        return review.redo(self.workspace, self.reviewer)
