"""Where each transcript stands: values derived from messages, verdicts, panel and events, kept so that counting
100,000 of them is one query. A row counts only under the context it was made in (a hash of all else it derives from:
rubric, examples, prompt, merge rule) and while its transcript has the revision it was made from."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from loopreview.models.transcript import Origin
from loopreview.models.verdict import Assessment
from loopreview.store.database import Row, Store
from loopreview.store.values import dump, load, storable

_COLUMNS = (
    "transcript", "context", "revision", "judged", "judged_score", "passed", "score", "unscored", "decision",
    "false_positive", "false_negative", "na", "gaps", "transcript_false_positive", "transcript_false_negative", "rules",
)  # fmt: skip
_CURRENT = "standing s ON s.transcript = t.id AND s.revision = t.revision AND s.context = ?"


class Standing(NamedTuple):
    """One transcript's derived values. `revision`: that of the transcript before its parts were read (`stale` gives
    it). The counts are of criteria; the last two concern the transcript as a whole."""

    assessment: Assessment
    revision: int
    false_positive: int = 0
    false_negative: int = 0
    na: int = 0
    gaps: int = 0
    transcript_false_positive: bool = False
    transcript_false_negative: bool = False
    rules: Mapping[str, bool | None] = MappingProxyType({})
    """Merging rule or backend → judged pass under it alone; None where unscored."""


class BatchStanding(NamedTuple):
    """Counts over the transcripts of a batch. `n` counts all; `missing` those without a current row, which count
    nowhere else. judged_passed and judged_failed come from merged answers only."""

    batch: int
    origin: Origin
    generation_version: str | None
    n: int
    missing: int
    passed: int
    failed: int
    unscored: int
    judged_passed: int
    judged_failed: int
    approved: int
    rejected: int
    false_positive: int
    false_negative: int
    na: int
    gaps: int
    transcript_false_positive: int
    transcript_false_negative: int


def stale(store: Store, context: str, *, batch: int | None = None, limit: int | None = None) -> dict[str, int]:
    """id → present revision of the transcripts without a current row, in the order of batch and number."""
    rows = store.rows(
        f"SELECT t.id, t.revision FROM transcripts t LEFT JOIN {_CURRENT}"
        f" WHERE s.transcript IS NULL{'' if batch is None else ' AND t.batch = ?'} ORDER BY t.batch, t.number LIMIT ?",
        [context, *([] if batch is None else [batch]), -1 if limit is None else limit],
    )
    return dict(rows)


def save(store: Store, context: str, rows: Iterable[Standing]) -> None:
    """Keep derived values in place of those kept before."""
    made = list(rows)
    with store.writing():
        store.executemany(
            f"INSERT OR REPLACE INTO standing ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
            (_row(context, row) for row in made),
        )
        store.executemany(
            "INSERT OR REPLACE INTO assessments (transcript, body) VALUES (?, ?)",
            ((row.assessment.transcript, dump(row.assessment.model_dump())) for row in made),
        )


def get(store: Store, context: str, transcript: str) -> Assessment | None:
    """The kept assessment, or None where there is none that is current."""
    row = store.row(
        f"SELECT a.body FROM transcripts t JOIN {_CURRENT} JOIN assessments a ON a.transcript = t.id WHERE t.id = ?",
        (context, storable(transcript)),
    )
    return None if row is None else Assessment.model_validate(load(row[0]))


def assessments(store: Store, context: str, *, batch: int | None = None, page: int = 500) -> Iterator[Assessment]:
    """The current assessments in the order of batch and number, `page` at a time in memory."""
    last: tuple[Any, Any] = (-1, -1)
    while True:
        rows = store.rows(
            f"SELECT t.batch, t.number, a.body FROM transcripts t JOIN {_CURRENT}"
            " JOIN assessments a ON a.transcript = t.id WHERE (t.batch, t.number) > (?, ?)"
            f"{'' if batch is None else ' AND t.batch = ?'} ORDER BY t.batch, t.number LIMIT ?",
            [context, *last, *([] if batch is None else [batch]), page],
        )
        for *last_read, body in rows:
            last = (last_read[0], last_read[1])
            yield Assessment.model_validate(load(body))
        if len(rows) < page:
            return


def by_batch(store: Store, context: str) -> list[BatchStanding]:
    """Counts for every batch, oldest first."""
    rows = store.rows(
        "SELECT b.id, b.origin, b.generation_version, count(t.id), count(t.id) - count(s.transcript),"
        " total(s.passed = 1), total(s.passed = 0), total(s.unscored), total(s.judged = 1), total(s.judged = 0),"
        " total(s.decision = 'approved'), total(s.decision = 'rejected'), total(s.false_positive),"
        " total(s.false_negative), total(s.na), total(s.gaps), total(s.transcript_false_positive),"
        " total(s.transcript_false_negative)"
        f" FROM batches b LEFT JOIN transcripts t ON t.batch = b.id LEFT JOIN {_CURRENT} GROUP BY b.id ORDER BY b.id",
        (context,),
    )
    return [BatchStanding(*row[:3], *map(int, row[3:])) for row in rows]


def by_rule(store: Store, context: str, batches: Iterable[int]) -> dict[str, tuple[int, int]]:
    """Merging rule → (judged passes, scored) over the current rows of these batches."""
    rows = store.rows(
        "SELECT r.key, total(r.value), count(r.value)"
        f" FROM transcripts t JOIN {_CURRENT} JOIN json_each(s.rules) r"
        " WHERE t.batch IN (SELECT value FROM json_each(?)) GROUP BY r.key ORDER BY min(r.id), r.key",
        (context, dump(list(batches))),
    )
    return {rule: (int(passed), scored) for rule, passed, scored in rows}


def _row(context: str, row: Standing) -> Row:
    made = row.assessment
    return (
        made.transcript, context, row.revision, made.judged, made.judged_score, made.passed, made.score, made.unscored,
        made.decision, *row[2:-1], dump(dict(row.rules)),
    )  # fmt: skip
