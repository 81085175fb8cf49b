"""Where each transcript stands: values derived from messages, verdicts, panel and events, kept so that counting
100,000 of them is one query. A row counts only under the context it was made in (a hash of all else it derives from:
rubric, examples, prompt, merge rule) and while its transcript has the revision it was made from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from loopreview.models.transcript import Origin
from loopreview.models.verdict import Assessment
from loopreview.store.database import Row, Store
from loopreview.store.values import dump, load, storable

_COLUMNS = (
    "transcript", "context", "revision", "judged", "judged_score", "passed", "score", "unscored", "decision",
    "false_positive", "false_negative", "na", "gaps", "transcript_false_positive", "transcript_false_negative",
    "rules", "letters",
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
    letters: str = ""
    """One letter per criterion of the rubric, in its order (rules/tally.py)."""


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


def newest_waiting(store: Store, context: str) -> int | None:
    """The newest batch with a transcript that nobody has decided, else the newest that has any; None without one.
    Batches are looked at one by one, the newest first: the others cost nothing."""
    waits = f"SELECT 1 FROM transcripts t LEFT JOIN {_CURRENT} WHERE t.batch = b.id AND s.decision IS NULL"
    row = store.row(f"SELECT b.id FROM batches b WHERE EXISTS ({waits}) ORDER BY b.id DESC LIMIT 1", (context,))
    row = row or store.row("SELECT batch FROM transcripts ORDER BY batch DESC LIMIT 1")
    return None if row is None else int(row[0])


def waiting(store: Store, context: str, batch: int, limit: int) -> list[tuple[str, bool]]:
    """(id, whether it has a current row) of the first complete transcripts of a batch that nobody has decided, as far
    as is known; those without a current row are among them."""
    rows = store.rows(
        f"SELECT t.id, s.transcript IS NOT NULL FROM transcripts t LEFT JOIN {_CURRENT}"
        " WHERE t.batch = ? AND t.complete AND s.decision IS NULL ORDER BY t.number LIMIT ?",
        (context, batch, limit),
    )
    return [(id, bool(known)) for id, known in rows]


class Outcomes(NamedTuple):
    """Of many transcripts. `rules`: merging rule → (judged passes, scored); `letters`: those of each transcript."""

    rules: dict[str, tuple[int, int]]
    letters: list[str]


def outcomes(store: Store, context: str, batches: Iterable[int]) -> Outcomes:
    """What the current rows of these batches say, in one reading."""
    rows = store.rows(
        f"SELECT s.rules, s.letters FROM transcripts t JOIN {_CURRENT}"
        " WHERE t.batch IN (SELECT value FROM json_each(?))",
        (context, dump(list(batches))),
    )
    rules: dict[str, tuple[int, int]] = {}
    # Few outcomes differ: each is taken apart once.
    for body, n in Counter(body for body, _ in rows).items():
        for rule, passed in load(body).items():
            before = rules.get(rule, (0, 0))
            rules[rule] = (before[0] + n * (passed is True), before[1] + n * (passed is not None))
    return Outcomes(rules, [found for _, found in rows])


def _row(context: str, row: Standing) -> Row:
    made = row.assessment
    return (
        made.transcript, context, row.revision, made.judged, made.judged_score, made.passed, made.score, made.unscored,
        made.decision, *row[2:-2], dump(dict(row.rules)), row.letters,
    )  # fmt: skip
