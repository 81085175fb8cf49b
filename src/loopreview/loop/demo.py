"""The demo without a terminal: two batches, judged, and reviewed by a script that knows what the simulator planted."""

from typing import Any

from loopreview import report, review, standing
from loopreview.audit import audit
from loopreview.dataset.examples import Wanted
from loopreview.dataset.make import make_dataset
from loopreview.llm.offline.truth import planted_truth
from loopreview.loop.batch import make_batch
from loopreview.models.errors import UserError
from loopreview.models.review import EventKind
from loopreview.progress import Progress
from loopreview.rules.score import judged_criteria
from loopreview.store import transcripts
from loopreview.workspace import Workspace

DEMO_SEEDS = (1, 2)
DEMO_REVIEWER = "scripted-reviewer"


def demo(workspace: Workspace, watcher: Progress) -> dict[str, Any]:
    """Two batches under fixed seeds, judged, and reviewed by a script that knows what the simulator planted.

    Returns what `demo --json` prints: `audit` over all replies, `export` of the approved ones, readable rows only,
    null with its reason under `export_reason` where too few were approved. Training is not built yet: `run` is null.
    """
    for seed in DEMO_SEEDS:
        batch = make_batch(workspace, count=5, seed=seed, judged=True, watcher=watcher)["batch"]
        _scripted_review(workspace, batch)
    found = report.status(workspace)
    audited = audit(workspace, progress=watcher)
    exported, why = None, None
    try:
        exported = make_dataset(workspace, Wanted(), watcher=watcher)
    except UserError as error:
        why = str(error)
    return {
        "workspace": str(workspace.root),
        "batches": found["batches"],
        "gate": found["gate"],
        "flags": found["flags"],
        "transcript_flags": found["transcript_flags"],
        "panel_ceiling": found["panel_ceiling"],
        "rules": found["rules"],
        "reviewer": DEMO_REVIEWER,
        "audit": {name: audited[name] for name in ("replies", "length_ratio", "gate")},
        "export": exported,
        "export_reason": why,
        "run": None,
    }


def _scripted_review(workspace: Workspace, batch: int) -> None:
    """Answer every judged criterion by the planted truth, then approve what passes and reject what does not."""

    def say(kind: EventKind, transcript: str, **fields: Any) -> None:
        review.record(workspace, kind, reviewer=DEMO_REVIEWER, transcript=transcript, origin="scripted", **fields)

    for id in transcripts.ids(workspace.store, batch):
        stands = standing.of(workspace, id)
        for criterion in workspace.rubric.criteria:
            if criterion.id in judged_criteria(workspace.rubric, stands.assessment):
                say("answer", id, criterion=criterion.id, answer=planted_truth(criterion, stands.exchanges))
        passed = standing.assessment(workspace, id).passed
        if passed is not None:
            say("approve" if passed else "reject", id)
    rate = next(row["pass_rate"] for row in report.status(workspace)["batches"] if row["id"] == batch)
    content = rate is not None and rate >= workspace.settings.target_pass_rate
    review.record(workspace, "content", reviewer=DEMO_REVIEWER, batch=batch, origin="scripted", data={"yes": content})
