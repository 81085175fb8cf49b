"""Answers of judges and people that come in files of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from loopreview.formats.fields import BadLine
from loopreview.formats.labels import LabelLine, read_labels
from loopreview.formats.reading import Skip
from loopreview.formats.verdicts import Quote, VerdictLine, read_verdicts
from loopreview.ingest.result import Result, check_file, noted, skipped
from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.transcript import Exchange
from loopreview.models.verdict import Evidence, JudgeAnswer, Verdict
from loopreview.progress import Progress, Silent, counted
from loopreview.rules.quotes import locate
from loopreview.rules.review import TranscriptReview, fold
from loopreview.rules.stale import imported_key
from loopreview.store import events, transcripts, verdicts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

KEPT_IN_MIND = 500
"""Transcripts that an import of answers remembers at a time; a file may name them in any order."""

Known = TypeVar("Known")
Line = TypeVar("Line", VerdictLine, LabelLine)


def import_verdicts(workspace: Workspace, path: Path, *, progress: Progress | None = None) -> Result:
    """Bring in the answers of judges that ran elsewhere, in one transaction. Their backends join the panels.

    An answer that the same backend gave before to the same wording is a duplicate; another answer takes its place.
    Returns `{imported: count, skipped, notes, transcripts: count, backends: [name]}`. Raises UserError for a
    missing file or an invalid rubric.
    """
    check_file(path)
    store, rubric = workspace.store, workspace.rubric
    result: Result = {"imported": 0, "skipped": [], "notes": []}
    pending: list[Verdict] = []
    touched: set[str] = set()
    backends: dict[str, None] = {}

    def write() -> None:
        verdicts.add(store, pending)
        pending.clear()

    known = _Cache(store, lambda id: _Judged.load(store, id), write)

    def take(line: VerdictLine) -> str | None:
        judged, criterion = known.get(line.transcript), judged_criterion(rubric, line.criterion)
        verdict = judged.verdict(line, criterion)
        place = (verdict.criterion, verdict.backend, verdict.key)
        if same(judged.latest.get(place), verdict):
            return f"{line.backend} gave this answer to {criterion.id} on {judged.id} before"
        judged.latest[place] = verdict
        if line.backend not in judged.joined:
            verdicts.join_panel_imported(store, judged.id, line.backend)
            judged.joined.add(line.backend)
        pending.append(verdict)
        result["notes"] += [noted(line.source, note) for note in line.notes]
        touched.add(judged.id)
        backends[line.backend] = None
        return None

    lines = read_verdicts(path, max_chars=workspace.settings.max_message_chars)
    with counted(progress or Silent(), "import verdicts", None), store.writing():
        _take_all(lines, take, result, progress or Silent())
        write()
    return {**result, "transcripts": len(touched), "backends": list(backends)}


def import_labels(workspace: Workspace, path: Path, *, progress: Progress | None = None) -> Result:
    """Bring in people's answers, each as an event of its reviewer, in one transaction.

    A label that says what is its reviewer's current answer already is a duplicate; another answer takes its place.
    Returns `{imported: count, skipped, transcripts: count, reviewers: [name]}`. Raises UserError for a missing file,
    a CSV header without the needed columns, or an invalid rubric.
    """
    check_file(path)
    workspace.keep_rubric()
    store, rubric, rubric_version = workspace.store, workspace.rubric, workspace.rubric_version
    result: Result = {"imported": 0, "skipped": []}
    pending: list[Event] = []
    touched: set[str] = set()
    reviewers: dict[str, None] = {}

    def write() -> None:
        events.append_many(store, pending)
        pending.clear()

    known = _Cache(store, lambda id: _Labelled.load(store, id), write)

    def take(line: LabelLine) -> str | None:
        labelled, criterion = known.get(line.transcript), criterion_of(rubric, line.criterion)
        place = (criterion.id, line.reviewer)
        answer, note = labelled.current.get(place, (None, None))
        if answer == line.answer and line.note in (None, note):
            return f"{line.answer} is {line.reviewer}'s answer to {criterion.id} on {labelled.id} already"
        if (*place, line.answer) in labelled.overruled:
            return f"{line.reviewer} changed that answer to {criterion.id} on {labelled.id} here since"
        labelled.current[place] = (line.answer, line.note)
        pending.append(labelled.event(line, criterion, rubric_version))
        touched.add(labelled.id)
        reviewers[line.reviewer] = None
        return None

    lines = read_labels(path, max_chars=workspace.settings.max_message_chars)
    with counted(progress or Silent(), "import labels", None), store.writing():
        _take_all(lines, take, result, progress or Silent())
        write()
    return {**result, "transcripts": len(touched), "reviewers": list(reviewers)}


def _take_all(
    lines: Iterator[Line | Skip], take: Callable[[Line], str | None], result: Result, progress: Progress
) -> None:
    """Take each line in. `take` says of what earlier answer a line is a duplicate, and raises BadLine."""
    for line in lines:
        progress.advance()
        if isinstance(line, Skip):
            result["skipped"].append(skipped(*line))
            continue
        try:
            duplicate = take(line)
        except BadLine as error:
            result["skipped"].append(skipped(line.source, line.line, str(error)))
            continue
        if duplicate:
            result["skipped"].append(skipped(line.source, line.line, f"a duplicate: {duplicate}", duplicate=True))
        else:
            result["imported"] += 1


def criterion_of(rubric: Rubric, id: str) -> Criterion:
    """Raises BadLine where the rubric has none of that id."""
    found = rubric.criterion(id)
    if found is None:
        known = ", ".join(criterion.id for criterion in rubric.criteria[:20])
        raise BadLine(f"unknown criterion `{id}`; the rubric has {known}{', …' if len(rubric.criteria) > 20 else ''}")
    return found


def judged_criterion(rubric: Rubric, id: str) -> Criterion:
    """A criterion that judges answer; a check has a question only where code may leave it open. Raises BadLine."""
    found = criterion_of(rubric, id)
    if found.kind == "check" and not found.question:
        raise BadLine(f"criterion `{id}` is answered by code ({found.check}), not by judges")
    return found


class _Cache(Generic[Known]):
    """What is known of the transcripts named last; `write` is called before anything is forgotten."""

    def __init__(self, store: Store, load: Callable[[str], Known], write: Callable[[], None]) -> None:
        self._store, self._load, self._write = store, load, write
        self._ids: dict[str, str | BadLine] = {}
        self._known: dict[str, Known] = {}

    def get(self, reference: str) -> Known:
        """Raises BadLine where the reference names no transcript, or several."""
        if len(self._ids) >= KEPT_IN_MIND and reference not in self._ids:
            self._write()
            self._ids.clear()
            self._known.clear()
        if reference not in self._ids:
            try:
                self._ids[reference] = transcripts.resolve(self._store, reference)
            except UserError as error:
                if error.exit_code != 2:
                    raise  # the database, not the line
                self._ids[reference] = BadLine(str(error))
        id = self._ids[reference]
        if isinstance(id, BadLine):
            raise id
        if id not in self._known:
            self._known[id] = self._load(id)
        return self._known[id]


class _Judged(NamedTuple):
    """A transcript, and the latest imported verdicts on it by criterion, backend and key."""

    id: str
    hash: str
    exchanges: list[Exchange]
    latest: dict[tuple[str, str, str], Verdict]
    joined: set[str]

    @classmethod
    def load(cls, store: Store, id: str) -> "_Judged":
        transcript = transcripts.get(store, id)
        latest = {(v.criterion, v.backend, v.key): v for v in verdicts.of(store, id) if v.origin == "imported"}
        return cls(id, transcript.hash, transcript.exchanges, latest, set())

    def verdict(self, line: VerdictLine, criterion: Criterion) -> Verdict:
        counter = line.counter_evidence
        return Verdict(
            transcript=self.id,
            criterion=criterion.id,
            backend=line.backend,
            answer=line.answer,
            reasoning=line.reasoning,
            evidence=tuple(_placed(quote, self.exchanges) for quote in line.evidence),
            counter_evidence=_placed(counter, self.exchanges) if counter else None,
            key=imported_key(self.hash, criterion, line.backend),
            origin="imported",
        )


def same(one: Verdict | None, other: Verdict) -> bool:
    return one is not None and (one.answer, one.reasoning, one.evidence, one.counter_evidence) == (
        other.answer, other.reasoning, other.evidence, other.counter_evidence
    )  # fmt: skip


def _placed(quote: Quote, exchanges: list[Exchange]) -> Evidence:
    """A quote that came without its exchange or role is looked for, first in the replies. One that is nowhere points
    at the first exchange, where the lint will say that it is not there."""
    roles = (quote.role,) if quote.role else ("assistant", "user")
    for role in roles:
        for exchange in exchanges:
            if quote.exchange in (0, exchange.number):
                text = exchange.user if role == "user" else exchange.assistant
                if locate(quote.text, text, quote.occurrence):
                    return quote._replace(exchange=exchange.number, role=role).evidence()
    return quote._replace(exchange=quote.exchange or 1).evidence()


class _Labelled(NamedTuple):
    """A transcript, and its reviewers' current answers with their notes by criterion and reviewer."""

    id: str
    hash: str
    current: dict[tuple[str, str], tuple[JudgeAnswer | None, str | None]]
    overruled: frozenset[tuple[str, str, JudgeAnswer]]
    """Labels that came in before and that their reviewer changed since: the same file again must not undo that."""

    @classmethod
    def load(cls, store: Store, id: str) -> "_Labelled":
        log = events.of(store, id)
        review = fold(log).transcripts.get(id, TranscriptReview())
        typed = {
            (criterion, reviewer)
            for criterion, given in review.answers.items()
            for reviewer, event in given.items()
            if event.origin == "typed"
        }
        overruled = frozenset(
            (event.criterion, event.reviewer, event.answer)
            for event in log
            if event.origin == "imported" and event.criterion and event.answer
            if (event.criterion, event.reviewer) in typed
        )
        current = {
            (criterion, reviewer): (event.answer, event.note)
            for criterion, given in review.answers.items()
            for reviewer, event in given.items()
        }
        return cls(id, transcripts.head(store, id).hash, current, overruled)

    def event(self, line: LabelLine, criterion: Criterion, rubric_version: str) -> Event:
        return Event(
            reviewer=line.reviewer,
            kind="answer",
            transcript=self.id,
            criterion=criterion.id,
            answer=line.answer,
            origin="imported",
            transcript_hash=self.hash,
            rubric_version=rubric_version,
            criterion_version=criterion.version,
            note=line.note,
            data={"source": line.source},
        )
