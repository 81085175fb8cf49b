"""Answers that came with transcripts (the scores of an Inspect log) as verdicts and review events."""

from collections import Counter

from loopreview.formats.conversation import GivenAnswer, Record
from loopreview.formats.fields import BadLine
from loopreview.ingest.answers import criterion_of, judged_criterion, same
from loopreview.ingest.result import Result
from loopreview.models.review import Event
from loopreview.models.rubric import Criterion
from loopreview.models.verdict import Verdict
from loopreview.rules.stale import imported_key
from loopreview.store import events, verdicts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

Act = tuple[str, str | None, str | None, str | None]
NAMED = 12
"""Names of scores that a note gives before it only counts."""


class Scores:
    """Takes the answers of one transcript after the other, and counts what was new in them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._verdicts = self._reviews = 0
        self._backends: dict[str, None] = {}
        self._reviewers: dict[str, None] = {}
        self._unknown: Counter[str] = Counter()

    def counted(self) -> Result:
        return {
            "verdicts": self._verdicts,
            "reviews": self._reviews,
            "backends": list(self._backends),
            "reviewers": list(self._reviewers),
        }

    def notes(self) -> list[str]:
        """What the scores of the last file were not in the rubric."""
        if not self._unknown:
            return []
        named = ", ".join(f"{name} ({count})" for name, count in self._unknown.most_common(NAMED))
        more = f" and {len(self._unknown) - NAMED} more" if len(self._unknown) > NAMED else ""
        self._unknown.clear()
        return [f"scores that answer no judged criterion of the rubric were left out: {named}{more}"]

    def take(self, record: Record, id: str, hash: str, *, is_known: bool) -> list[str]:
        """Store the answers to the transcript `id`, and say which of them are neither yes nor no. `hash`: of its
        content; `is_known`: it was there before, and may have these answers already. Inside its file's transaction."""
        store, rubric = self._workspace.store, self._workspace.rubric
        latest, acts = _known(store, id) if is_known else ({}, set())
        scored: dict[tuple[str, str, str], Verdict] = {}
        made: list[Event] = []
        notes: list[str] = []
        for answer in record.answers:
            try:
                find = criterion_of if answer.reviewer else judged_criterion
                criterion = find(rubric, answer.criterion)
            except BadLine:
                self._unknown[answer.criterion] += 1
                continue
            if answer.problem:
                notes.append(f"the score {answer.criterion} {answer.problem}; it was left out")
            elif answer.reviewer:
                event = self._event(answer, id, hash, criterion, record.transcript.source)
                if (act := _act(event)) not in acts:
                    acts.add(act)
                    made.append(event)
            elif answer.answer:
                verdict = _verdict(answer, id, hash, criterion)
                # Where a score was corrected, the last one counts.
                scored[verdict.criterion, verdict.backend, verdict.key] = verdict
        given = [verdict for place, verdict in scored.items() if not same(latest.get(place), verdict)]
        for backend in dict.fromkeys(verdict.backend for verdict in given):
            verdicts.join_panel_imported(store, id, backend)
            self._backends[backend] = None
        verdicts.add(store, given)
        events.append_many(store, made)
        self._reviewers |= dict.fromkeys(event.reviewer for event in made)
        self._verdicts += len(given)
        self._reviews += len(made)
        return notes

    def _event(self, answer: GivenAnswer, id: str, hash: str, criterion: Criterion, source: str | None) -> Event:
        return Event(
            at=answer.at,
            reviewer=answer.reviewer,
            kind="answer" if answer.answer else "note",
            transcript=id,
            criterion=criterion.id,
            answer=answer.answer,
            origin="imported",
            transcript_hash=hash,
            rubric_version=self._workspace.rubric_version,
            criterion_version=criterion.version,
            note=answer.text or None,
            data={"source": source},
        )


def _verdict(answer: GivenAnswer, id: str, hash: str, criterion: Criterion) -> Verdict:
    return Verdict(
        transcript=id,
        criterion=criterion.id,
        backend=answer.backend,
        answer=answer.answer or "ERROR",
        reasoning=answer.text,
        key=imported_key(hash, criterion, answer.backend),
        origin="imported",
    )


def _known(store: Store, id: str) -> tuple[dict[tuple[str, str, str], Verdict], set[Act]]:
    latest = {(v.criterion, v.backend, v.key): v for v in verdicts.of(store, id) if v.origin == "imported"}
    return latest, {_act(event) for event in events.of(store, id) if event.origin == "imported"}


def _act(event: Event) -> Act:
    """What tells one act from another; a log may come in again with more acts than before."""
    return event.reviewer, event.criterion, event.answer, event.at or event.note
