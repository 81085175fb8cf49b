"""Review: what a person says about transcripts, one event at a time, and what they should read next."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from loopreview import standing
from loopreview.models.errors import UserError
from loopreview.models.review import Event, EventKind
from loopreview.rules import repeats
from loopreview.rules import review as rules
from loopreview.rules.queue import Waiting, criteria_order, drawn_full, transcript_order
from loopreview.store import batches, events, transcripts
from loopreview.store import standing as kept
from loopreview.workspace import Workspace

Answer = Literal["YES", "NO", "NA"]


class Recorded(NamedTuple):
    event: Event
    warnings: list[str]


def record(
    workspace: Workspace,
    kind: EventKind,
    *,
    reviewer: str,
    transcript: str | None = None,
    criterion: str | None = None,
    answer: Answer | None = None,
    batch: int | None = None,
    note: str | None = None,
    blind: bool = False,
    origin: Literal["typed", "imported", "scripted"] = "typed",
    shown_because: str | None = None,
    data: dict[str, Any] | None = None,
    found: standing.Standing | None = None,
) -> Recorded:
    """Append one act of `reviewer` and return it with what they should be warned of.

    `found`: how the transcript stands, where the caller has just read it. Raises UserError where the criterion,
    transcript or batch is not there (exit 2), and where an approval meets a
    gate that says NO and that this reviewer has not answered (exit 1).
    """
    warnings: list[str] = []
    merged = transcript_hash = criterion_version = None
    if batch is not None:
        batches.get(workspace.store, batch)
    if transcript is not None:
        found = found or standing.of(workspace, transcript)
        transcript_hash = found.transcript.hash
    if criterion is not None:
        known = workspace.rubric.criterion(criterion)
        if known is None:
            ids = ", ".join(c.id for c in workspace.rubric.criteria)
            raise UserError(f"{workspace.settings.rubric}: no criterion {criterion}; it has {ids}")
        criterion_version = known.version
        if found:
            merged = found.assessment.merged.get(criterion)
    if kind == "approve" and found:
        gate = standing_gate(workspace, found, reviewer)
        if gate:
            raise UserError(
                f"{transcript}: {gate} is a gate and says NO; answer it yourself first "
                f"(`loopreview review answer {transcript} {gate} yes|no|na`), then approve",
                exit_code=1,
            )
        if not found.transcript.complete:
            target = found.transcript.target_exchanges
            warnings.append(
                f"not complete ({len(found.exchanges)} of {target} exchanges): no score, and not for training"
            )
    workspace.keep_rubric()
    event = Event(
        reviewer=reviewer,
        kind=kind,
        transcript=transcript,
        batch=batch,
        criterion=criterion,
        answer=answer,
        merged=merged,
        blind=blind,
        origin=origin,
        transcript_hash=transcript_hash,
        rubric_version=workspace.rubric_version,
        criterion_version=criterion_version,
        shown_because=shown_because,
        note=note,
        data=data or {},
    )
    return Recorded(events.append(workspace.store, event), warnings)


def standing_gate(workspace: Workspace, found: standing.Standing, reviewer: str) -> str | None:
    """The first gate criterion that says NO and that this reviewer has not answered."""
    for criterion in workspace.rubric.criteria:
        says_no = found.assessment.effective.get(criterion.id) in ("NO", "INVALID_NA")
        if criterion.gate and says_no and reviewer not in found.assessment.human.get(criterion.id, {}):
            return criterion.id
    return None


def undo(workspace: Workspace, reviewer: str) -> Event | None:
    """Take back this reviewer's last act; null where there is none. The log keeps both."""
    return _turn(workspace, reviewer, "undo")


def redo(workspace: Workspace, reviewer: str) -> Event | None:
    """Bring back what this reviewer took back last; null where there is nothing, or they acted since."""
    return _turn(workspace, reviewer, "redo")


def _turn(workspace: Workspace, reviewer: str, kind: Literal["undo", "redo"]) -> Event | None:
    with workspace.store.writing():
        target = _target(workspace, reviewer, kind)
        if target is None:
            return None
        turned = Event(
            reviewer=reviewer,
            kind=kind,
            transcript=target.transcript,
            batch=target.batch,
            criterion=target.criterion,
            answer=target.answer,
            target=target.id,
            rubric_version=workspace.rubric_version,
            data={"of": target.kind},
        )
        return events.append(workspace.store, turned)


def _target(workspace: Workspace, reviewer: str, kind: Literal["undo", "redo"]) -> Event | None:
    """Read back as far as is needed: years of events must not slow a key."""
    limit = 100
    while True:
        own = events.log(workspace.store, reviewer=reviewer, limit=limit)
        target = rules.undo_target(own, reviewer) if kind == "undo" else rules.redo_target(own, reviewer)
        known = {event.id for event in own}
        whole = len(own) < limit
        if whole or (all(event.target in known for event in own if event.target) and (target or kind == "redo")):
            return target
        limit *= 4


def log(workspace: Workspace, *, reviewer: str | None = None) -> list[dict[str, Any]]:
    """All events, oldest first, with whether each has been taken back."""
    found = events.all(workspace.store)
    undone = rules.fold(found).undone
    return [
        {
            "id": event.id,
            "at": event.at,
            "reviewer": event.reviewer,
            "kind": event.kind,
            "transcript": event.transcript,
            "batch": event.batch,
            "criterion": event.criterion,
            "answer": event.answer,
            "merged": event.merged,
            "note": event.note,
            "blind": event.blind,
            "origin": event.origin,
            "target": event.target,
            "data": event.data,
            "undone": event.id in undone,
        }
        for event in found
        if reviewer in (None, event.reviewer)
    ]


def queue(workspace: Workspace, *, batch: int | None = None, reviewer: str | None = None) -> list[tuple[str, str]]:
    """(transcript, why it is shown) for all undecided, complete transcripts, those with the most doubt first; for a
    `reviewer`, with hidden repeats among them where the settings want them."""
    context = standing.refresh(workspace, batch=batch)
    heads = transcripts.heads(workspace.store, batch=batch)
    complete = {head.id for head in heads if head.complete}
    full = full_ids(workspace, {head.batch for head in heads})
    waiting = [
        Waiting(assessment, assessment.transcript in full)
        for assessment in kept.assessments(workspace.store, context, batch=batch)
        if assessment.transcript in complete
    ]
    return in_order(workspace, waiting, reviewer=reviewer)


def in_order(workspace: Workspace, waiting: Sequence[Waiting], *, reviewer: str | None = None) -> list[tuple[str, str]]:
    """The order in which these are shown, with hidden repeats for `reviewer`."""
    settings, seed = workspace.settings, workspace.root.name
    order = transcript_order(workspace.rubric, waiting, seed=seed, sample_share=settings.sample_share)
    if reviewer is None or not settings.repeat_share:
        return order
    again = repeats.candidates(events.decisions(workspace.store, reviewer), reviewer)
    return repeats.mixed(order, again, seed=f"{seed}/{reviewer}", share=settings.repeat_share)


def full_ids(workspace: Workspace, of_batches: Iterable[int]) -> set[str]:
    """The transcripts of these batches on which every criterion is to be answered."""
    share = workspace.settings.full_share
    return {id for batch in of_batches for id in drawn_full(batch, transcripts.ids(workspace.store, batch), share)}


def to_answer(
    workspace: Workspace, found: standing.Standing, *, because: str, weak: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """The criteria of a transcript that are asked of the reviewer, most needed first, and the others."""
    return criteria_order(
        workspace.rubric,
        found.assessment,
        full=because == "full",
        weak=weak,
        seed=str(found.transcript.batch),
        sample_share=workspace.settings.sample_share,
    )
