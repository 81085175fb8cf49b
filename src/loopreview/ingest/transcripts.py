"""Transcripts from elsewhere, each file in one transaction."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from loopreview.formats.conversation import Record
from loopreview.formats.detect import check_format, read_transcripts
from loopreview.formats.reading import Skip
from loopreview.ingest.files import File, files_of
from loopreview.ingest.result import Result, noted, skipped
from loopreview.ingest.scores import Scores
from loopreview.models.transcript import Transcript
from loopreview.progress import Progress, Silent, counted
from loopreview.store import batches, transcripts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

PIECE_RECORDS, PIECE_CHARACTERS = 256, 2_000_000
"""What is read before it is written."""


def import_transcripts(
    workspace: Workspace, paths: Sequence[Path], *, format: str = "auto", progress: Progress | None = None
) -> Result:
    """Bring in the transcripts of files and folders as one batch, and the answers that came with them.

    Each file is one transaction and is read piece by piece, so that neither the files' number nor their length
    matters. The same content is stored once; answers to it are taken all the same.

    Returns `{imported: [{id, source, exchanges, complete}], skipped: [{source, line, reason, duplicate}], notes:
    [{source, note}], batch, verdicts, reviews, backends, reviewers}`, in input order; `batch` is null where nothing
    went in, `verdicts` and `reviews` count new answers of judges and of people. Raises UserError for an unknown
    format, where a path is neither a file nor a folder with such files, and for an invalid rubric where there are
    answers.
    """
    check_format(format)
    files = files_of(paths)
    progress = progress or Silent()
    result: Result = {"imported": [], "skipped": [], "notes": [], "batch": None}
    scores = Scores(workspace)
    each_record = len(files) == 1
    with counted(progress, "import", None if each_record else len(files)):
        for file in files:
            _import_file(workspace, file, format, scores, result, progress if each_record else None)
            if not each_record:
                progress.advance()
    return {**result, **scores.counted()}


def _import_file(
    workspace: Workspace, file: File, format: str, scores: Scores, result: Result, progress: Progress | None
) -> None:
    limit = workspace.settings.max_message_chars
    records = read_transcripts(file.path, format=format, max_message_chars=limit, name=file.name)
    with workspace.store.writing():
        for piece in _pieces(records, progress):
            _import_piece(workspace.store, piece, scores, result)
    result["notes"] += [noted(file.name, note) for note in scores.notes()]


def _pieces(records: Iterator[Record | Skip], progress: Progress | None) -> Iterator[list[Record | Skip]]:
    piece: list[Record | Skip] = []
    characters = 0
    for record in records:
        if progress:
            progress.advance()
        piece.append(record)
        if isinstance(record, Record):
            characters += sum(len(message.text) for message in record.transcript.messages)
        if len(piece) == PIECE_RECORDS or characters >= PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def _import_piece(store: Store, piece: list[Record | Skip], scores: Scores, result: Result) -> None:
    stored = iter(_add(store, [record.transcript for record in piece if isinstance(record, Record)], result))
    for record in piece:
        if isinstance(record, Skip):
            result["skipped"].append(skipped(*record))
            continue
        head, earlier = next(stored)
        source = head.source or ""
        if record.answers:
            said = scores.take(record, earlier or head.id, head.hash, is_known=earlier is not None)
            result["notes"] += [noted(source, note) for note in said]
        if earlier:
            reason = f"a duplicate: already there as {earlier}"
            result["skipped"].append(skipped(source, record.line, reason, duplicate=True))
            continue
        row = {"id": head.id, "source": head.source, "exchanges": head.exchanges, "complete": head.complete}
        result["imported"].append(row)
        result["notes"] += [noted(source, note) for note in _notes(record)]


class _NothingNew(Exception):
    """Takes back the batch that was made for transcripts none of which went in."""


def _add(store: Store, given: list[Transcript], result: Result) -> list[tuple[transcripts.Head, str | None]]:
    """Store what is new in the result's batch, which is made for the first of it."""
    if not given or result["batch"] is not None:
        return transcripts.add_imported(store, result["batch"], given) if given else []
    found: list[tuple[transcripts.Head, str | None]] = []
    try:
        with store.writing():
            batch = batches.create_imported(store).id
            found = transcripts.add_imported(store, batch, given)
            if all(earlier for _, earlier in found):
                raise _NothingNew
            result["batch"] = batch
    except _NothingNew:
        pass
    return found


def _notes(record: Record) -> tuple[str, ...]:
    transcript = record.transcript
    if transcript.complete:
        return record.notes
    exchanges, target = len(transcript.exchanges), transcript.target_exchanges
    return (*record.notes, f"not complete: {exchanges} of {target} exchanges; it gets no score")
