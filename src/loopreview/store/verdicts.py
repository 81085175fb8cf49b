"""What judges said, only appended, and the panels that are expected to answer."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loopreview.models.verdict import PanelMember, Verdict
from loopreview.store.database import Row, Store
from loopreview.store.transcripts import bump
from loopreview.store.values import dump, dump_or_none, load, now, storable, storable_or_none

_COLUMNS = (
    "transcript, criterion, backend, answer, key, origin, at, reason, reasoning, evidence, counter_evidence, asked_with"
)


class Given(NamedTuple):
    """A usable answer without its words."""

    criterion: str
    backend: str
    answer: str
    key: str
    asked_with: tuple[str, ...]


def add(store: Store, verdicts: Sequence[Verdict]) -> None:
    """Append `verdicts`, all or none. One without a time gets the present one."""
    if not verdicts:
        return
    at = now()
    with store.writing():
        store.executemany(
            f"INSERT INTO verdicts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_row(verdict, at) for verdict in verdicts),
        )
        bump(store, {verdict.transcript for verdict in verdicts})


def of(store: Store, transcript: str) -> list[Verdict]:
    """Every verdict on a transcript, stale ones too, oldest first."""
    rows = store.rows(f"SELECT {_COLUMNS} FROM verdicts WHERE transcript = ? ORDER BY id", (storable(transcript),))
    return [_verdict(row) for row in rows]


def keys(store: Store, transcript: str) -> set[str]:
    """The keys under which there is a usable answer; an ERROR is none."""
    rows = store.rows(
        "SELECT DISTINCT key FROM verdicts WHERE transcript = ? AND answer IN ('YES', 'NO', 'NA')",
        (storable(transcript),),
    )
    return {key for (key,) in rows}


def answers(store: Store, transcript: str, criterion: str | None = None) -> list[Given]:
    """The usable answers on a transcript, or to one criterion of it, oldest first; an ERROR is none."""
    rows = store.rows(
        "SELECT criterion, backend, answer, key, asked_with FROM verdicts WHERE transcript = ?"
        " AND answer IN ('YES', 'NO', 'NA') AND criterion = coalesce(?, criterion) ORDER BY id",
        (storable(transcript), storable_or_none(criterion)),
    )
    return [Given(about, who, answer, key, tuple(load(group) or ())) for about, who, answer, key, group in rows]


def begin_panel(store: Store, transcript: str, members: Iterable[PanelMember]) -> None:
    """Expect `members`, in their order, instead of those asked before; imported backends stay."""
    asked = [(storable(member.backend), storable(member.asked_as)) for member in members if member.origin == "asked"]
    with store.writing():
        before = store.rows(
            "SELECT backend, asked_as FROM panels WHERE transcript = ? AND origin = 'asked' ORDER BY id", (transcript,)
        )
        if before == asked:
            return
        store.execute("DELETE FROM panels WHERE transcript = ? AND origin = 'asked'", (transcript,))
        store.executemany(
            "INSERT INTO panels (transcript, backend, origin, asked_as) VALUES (?, ?, 'asked', ?)",
            [(transcript, *member) for member in asked],
        )
        bump(store, [transcript])


def join_panel_imported(store: Store, transcript: str, backend: str) -> None:
    """Expect a backend whose verdicts were imported for this transcript."""
    backend = storable(backend)
    with store.writing():
        known = store.row(
            "SELECT 1 FROM panels WHERE transcript = ? AND backend = ? AND origin = 'imported'", (transcript, backend)
        )
        if known is None:
            store.execute(
                "INSERT INTO panels (transcript, backend, origin, asked_as) VALUES (?, ?, 'imported', '')",
                (transcript, backend),
            )
            bump(store, [transcript])


def panel(store: Store, transcript: str) -> list[PanelMember]:
    """Those asked, in their order, then imported ones. A backend that is both is there once, as asked."""
    rows = store.rows(
        "SELECT backend, origin, asked_as FROM panels WHERE transcript = ? ORDER BY origin, id", (storable(transcript),)
    )
    members: dict[str, PanelMember] = {}
    for backend, origin, asked_as in rows:
        members.setdefault(backend, PanelMember(backend=backend, origin=origin, asked_as=asked_as))
    return list(members.values())


def _row(verdict: Verdict, at: str) -> Row:
    counter = verdict.counter_evidence
    return (
        verdict.transcript,
        storable(verdict.criterion),
        storable(verdict.backend),
        verdict.answer,
        verdict.key,
        verdict.origin,
        verdict.at or at,
        storable_or_none(verdict.reason),
        storable(verdict.reasoning),
        dump_or_none([evidence.model_dump() for evidence in verdict.evidence]),
        None if counter is None else dump(counter.model_dump()),
        dump_or_none(verdict.asked_with),
    )


def _verdict(row: Row) -> Verdict:
    (
        transcript, criterion, backend, answer, key, origin, at, reason, reasoning, evidence, counter, asked_with,
    ) = row  # fmt: skip
    return Verdict(
        transcript=transcript,
        criterion=criterion,
        backend=backend,
        answer=answer,
        key=key,
        origin=origin,
        at=at,
        reason=reason,
        reasoning=reasoning,
        evidence=load(evidence) or (),
        counter_evidence=load(counter),
        asked_with=load(asked_with) or (),
    )
