"""Ingest: transcripts, verdicts and labels that were made elsewhere come into the store."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from loopreview.formats.conversation import Record
from loopreview.formats.detect import check_format, read_transcripts
from loopreview.formats.fields import BadLine
from loopreview.formats.labels import LabelLine, read_labels
from loopreview.formats.reading import Skip
from loopreview.formats.verdicts import Quote, VerdictLine, read_verdicts
from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.transcript import Exchange, Transcript
from loopreview.models.verdict import Evidence, JudgeAnswer, Verdict
from loopreview.progress import Progress, Silent, counted
from loopreview.rules.quotes import locate
from loopreview.rules.review import TranscriptReview, fold
from loopreview.rules.safe_text import safe
from loopreview.rules.stale import imported_key
from loopreview.store import batches, events, transcripts, verdicts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

SUFFIXES = (".json", ".jsonl")
"""The files of a folder that are imported."""
KEPT_IN_MIND = 500
"""Transcripts that an import of answers remembers at a time; a file may name them in any order."""

Result = dict[str, Any]
Known = TypeVar("Known")
Line = TypeVar("Line", VerdictLine, LabelLine)


def import_transcripts(
    workspace: Workspace, paths: Sequence[Path], *, format: str = "auto", progress: Progress | None = None
) -> Result:
    """Bring in the transcripts of files, and of the *.json and *.jsonl files of folders, as one batch.

    Each file is one transaction and is read record by record, so that neither their number nor their length matters.
    The same content is stored once. Returns `{imported: [{id, source, exchanges, complete}], skipped: [{source,
    line, reason, duplicate}], notes: [{source, note}], batch}`, in input order; `batch` is null where nothing went
    in. Raises UserError for an unknown format, and where a path is neither a file nor a folder with such files.
    """
    check_format(format)
    files = _files(paths)
    progress = progress or Silent()
    result: Result = {"imported": [], "skipped": [], "notes": [], "batch": None}
    each_record = len(files) == 1
    with counted(progress, "import", None if each_record else len(files)):
        for file in files:
            _import_file(workspace, file, format, result, progress if each_record else None)
            if not each_record:
                progress.advance()
    return result


def import_verdicts(workspace: Workspace, path: Path, *, progress: Progress | None = None) -> Result:
    """Bring in the answers of judges that ran elsewhere, in one transaction. Their backends join the panels.

    An answer that the same backend gave before to the same wording is a duplicate; another answer takes its place.
    Returns `{imported: count, skipped, notes, transcripts: count, backends: [name]}`. Raises UserError for a
    missing file or an invalid rubric.
    """
    _check_file(path)
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
        judged, criterion = known.get(line.transcript), _judged_criterion(rubric, line.criterion)
        verdict = judged.verdict(line, criterion)
        place = (verdict.criterion, verdict.backend, verdict.key)
        if _same(judged.latest.get(place), verdict):
            return f"{line.backend} gave this answer to {criterion.id} on {judged.id} before"
        judged.latest[place] = verdict
        if line.backend not in judged.joined:
            verdicts.join_panel_imported(store, judged.id, line.backend)
            judged.joined.add(line.backend)
        pending.append(verdict)
        result["notes"] += [_note(line.source, note) for note in line.notes]
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
    _check_file(path)
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
        labelled, criterion = known.get(line.transcript), _criterion(rubric, line.criterion)
        place = (criterion.id, line.reviewer)
        answer, note = labelled.current.get(place, (None, None))
        if answer == line.answer and line.note in (None, note):
            return f"{line.answer} is {line.reviewer}'s answer to {criterion.id} on {labelled.id} already"
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
            result["skipped"].append(_skipped(*line))
            continue
        try:
            duplicate = take(line)
        except BadLine as error:
            result["skipped"].append(_skipped(line.source, line.line, str(error)))
            continue
        if duplicate:
            result["skipped"].append(_skipped(line.source, line.line, f"a duplicate: {duplicate}", duplicate=True))
        else:
            result["imported"] += 1


class _NothingIn(Exception):
    """Takes back the batch that was made for a file none of whose transcripts went in."""


def _import_file(workspace: Workspace, file: Path, format: str, result: Result, progress: Progress | None) -> None:
    store = workspace.store
    records = read_transcripts(file, format=format, max_message_chars=workspace.settings.max_message_chars)
    skips: list[tuple[int, Result]] = []
    lines: list[int | None] = []
    notes: list[tuple[str, ...]] = []

    def usable() -> Iterator[Transcript]:
        for record in records:
            if progress:
                progress.advance()
            if isinstance(record, Skip):
                skips.append((len(lines), _skipped(*record)))
            else:
                lines.append(record.line)
                notes.append(_notes(record))
                yield record.transcript

    found: list[tuple[transcripts.Head, str | None]] = []
    batch = result["batch"]
    try:
        with store.writing():
            batch = batch or batches.create_imported(store).id
            found = transcripts.add_imported(store, batch, usable())
            if all(earlier for _, earlier in found) and result["batch"] is None:
                raise _NothingIn
    except _NothingIn:
        batch = None
    result["batch"] = batch
    for place, (head, earlier) in enumerate(found):
        if earlier:
            reason = f"a duplicate: already there as {earlier}"
            skips.append((place, _skipped(head.source or file.name, lines[place], reason, duplicate=True)))
            continue
        row = {"id": head.id, "source": head.source, "exchanges": head.exchanges, "complete": head.complete}
        result["imported"].append(row)
        result["notes"] += [_note(head.source or file.name, note) for note in notes[place]]
    result["skipped"] += [skip for _, skip in sorted(skips, key=lambda skip: skip[0])]


def _notes(record: Record) -> tuple[str, ...]:
    transcript = record.transcript
    if transcript.complete:
        return record.notes
    exchanges, target = len(transcript.exchanges), transcript.target_exchanges
    return (*record.notes, f"not complete: {exchanges} of {target} exchanges; it gets no score")


def _skipped(source: str, line: int | None, reason: str, *, duplicate: bool = False) -> Result:
    return {"source": source, "line": line, "reason": safe(reason, keep_newlines=False), "duplicate": duplicate}


def _note(source: str, note: str) -> Result:
    return {"source": source, "note": safe(note, keep_newlines=False)}


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            _check_file(path)
            found.append(path)
            continue
        try:
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
            )
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        if not inside:
            raise UserError(f"{path}: no {' or '.join(SUFFIXES)} file in this folder; name the files themselves")
        found += inside
    return found


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name")


def _criterion(rubric: Rubric, id: str) -> Criterion:
    """Raises BadLine where the rubric has none of that id."""
    found = rubric.criterion(id)
    if found is None:
        known = ", ".join(criterion.id for criterion in rubric.criteria[:20])
        raise BadLine(f"unknown criterion `{id}`; the rubric has {known}{', …' if len(rubric.criteria) > 20 else ''}")
    return found


def _judged_criterion(rubric: Rubric, id: str) -> Criterion:
    """A criterion that judges answer; a check has a question only where code may leave it open. Raises BadLine."""
    found = _criterion(rubric, id)
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


def _same(one: Verdict | None, other: Verdict) -> bool:
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

    @classmethod
    def load(cls, store: Store, id: str) -> "_Labelled":
        review = fold(events.of(store, id)).transcripts.get(id, TranscriptReview())
        current = {
            (criterion, reviewer): (event.answer, event.note)
            for criterion, given in review.answers.items()
            for reviewer, event in given.items()
        }
        return cls(id, transcripts.head(store, id).hash, current)

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
