"""A person withdraws their conversation: what holds it is found and marked, and no export takes it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import REVOKED
from loopreview.lineage.known import Known, holding, is_of
from loopreview.models.errors import UserError
from loopreview.runs import Run, write_json
from loopreview.store import revocations, transcripts
from loopreview.store.revocations import Revocation
from loopreview.workspace import Workspace


class Holder(NamedTuple):
    """A dataset or run that holds the transcript. `ids`: what the transcript is called there."""

    document: dict[str, Any]
    folder: Path
    ids: tuple[str, ...]


class Found(NamedTuple):
    datasets: list[Holder]
    runs: list[Holder]
    unknown: list[str]
    """A line for each dataset or run of which it cannot be told."""


def find(known: Known, transcript: str, hash: str | None) -> Found:
    """Every dataset and run that holds the transcript; `hash`: of its content."""
    held, unknown = holding(known, transcript, hash)
    datasets = []
    for dataset in known.datasets.values():
        rows = known.lines(dataset.hash)
        mine = [line for line in rows.lines if is_of(line, transcript, hash)]
        if not mine and not rows.lines and dataset.folders:
            unknown.append(f"{dataset.folders[0]}: {rows.problem}")
        splits = [str(line.get("split")) for line in mine]
        for folder in dataset.folders if mine else ():
            counts = {split: splits.count(split) for split in dict.fromkeys(splits)}
            ids = tuple(dict.fromkeys(str(line.get("transcript")) for line in mine))
            datasets.append(Holder({"hash": dataset.hash, "folder": str(folder), "examples": counts}, folder, ids))
    found = []
    for one in held:
        document = {
            "run": one.run.id,
            "folder": str(one.run.folder),
            "state": one.run.standing().state,
            "learnt": one.learnt,
            "measured": one.measured,
            "through": list(one.through),
        }
        found.append(Holder(document, one.run.folder, one.ids))
    return Found(datasets, found, unknown)


def revoke(
    workspace: Workspace, transcript: str, *, reviewer: str, reason: str | None = None, also: Sequence[Path] = ()
) -> dict[str, Any]:
    """Record that a transcript is withdrawn and mark each dataset and run that holds it.

    `also`: datasets and runs that lie elsewhere. Revoking again records nothing, but marks what was not marked.
    Returns what `revoke --json` prints; `failed` has a line for each folder that could not be marked.
    """
    known, hash = Known(workspace.root, also), transcripts.head(workspace.store, transcript).hash
    with workspace.store.writing():
        stands = revocations.standing(workspace.store).get(transcript)
        act = stands or revocations.add(
            workspace.store, transcript, reviewer=reviewer, revoked=True, reason=(reason or "").strip() or None
        )
    return _document(workspace, known, act, hash, already=stands is not None)


def restore(
    workspace: Workspace, transcript: str, *, reviewer: str, reason: str | None = None, also: Sequence[Path] = ()
) -> dict[str, Any]:
    """Take a revocation back, and its marks. Returns what `revoke --undo --json` prints."""
    known, hash = Known(workspace.root, also), transcripts.head(workspace.store, transcript).hash
    with workspace.store.writing():
        past = [act for act in revocations.log(workspace.store) if act.transcript == transcript]
        if not past:
            raise UserError(f"{transcript}: is not revoked; `loopreview revoke --list` lists those that are")
        act = past[-1]
        if act.revoked:
            act = revocations.add(
                workspace.store, transcript, reviewer=reviewer, revoked=False, reason=(reason or "").strip() or None
            )
    return _document(workspace, known, act, hash, already=act is past[-1])


def _document(workspace: Workspace, known: Known, act: Revocation, hash: str, *, already: bool) -> dict[str, Any]:
    found = find(known, act.transcript, hash)
    failed: list[str] = []
    with workspace.store.writing():  # two at once would lose one of two marks
        for holder in (*found.datasets, *found.runs):
            problem = _mark(holder, act)
            holder.document["marked"] = act.revoked if problem is None else None
            if problem:
                failed.append(problem)
    return {
        "transcript": act.transcript,
        "revoked": act.revoked,
        "already": already,
        "at": act.at,
        "by": act.reviewer,
        "reason": act.reason,
        "datasets": [holder.document for holder in found.datasets],
        "runs": [holder.document for holder in found.runs],
        "unknown": found.unknown,
        "failed": failed,
    }


def _mark(holder: Holder, act: Revocation) -> str | None:
    """Write the mark, or remove it. Returns why it could not be done."""
    path = holder.folder / REVOKED
    marks = Run(holder.folder).read_json(path)
    if path.exists() and not marks:
        return f"{path}: cannot be read; move it away, and say the same again"
    before = dict(marks)
    for id in holder.ids:
        if act.revoked:
            marks.setdefault(id, {"at": act.at, "reason": act.reason, "by": act.reviewer})
        else:
            marks.pop(id, None)
    if marks == before:
        return None
    try:
        if marks:
            write_json(path, marks)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return f"{path}: could not be written ({error.strerror or error}); mend that, and say the same again"
    return None


def listed(workspace: Workspace) -> dict[str, Any]:
    """What `revoke --list --json` prints: what is revoked now, and every act."""
    standing = revocations.standing(workspace.store).values()
    return {
        "revoked": [
            {"transcript": act.transcript, "at": act.at, "by": act.reviewer, "reason": act.reason} for act in standing
        ],
        "log": [
            {
                "transcript": act.transcript,
                "revoked": act.revoked,
                "at": act.at,
                "by": act.reviewer,
                "reason": act.reason,
            }
            for act in revocations.log(workspace.store)
        ],
    }
