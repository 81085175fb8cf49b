"""The demo without a terminal: two batches, judged, and reviewed by a script that knows what the simulator planted."""

from pathlib import Path
from typing import Any

from loopreview import report, review, standing
from loopreview.audit import audit
from loopreview.dataset.examples import Wanted
from loopreview.dataset.make import make_dataset
from loopreview.llm.offline.truth import planted_truth
from loopreview.loop.batch import make_batch
from loopreview.models.errors import UserError
from loopreview.models.review import EventKind
from loopreview.models.training import Backend
from loopreview.progress import Progress
from loopreview.rules.score import judged_criteria
from loopreview.store import transcripts
from loopreview.workspace import Workspace

DEMO_SEEDS = (1, 2)
DEMO_REVIEWER = "scripted-reviewer"


def demo(workspace: Workspace, watcher: Progress) -> dict[str, Any]:
    """Two batches under fixed seeds, judged, and reviewed by a script that knows what the simulator planted.

    Returns what `demo --json` prints: `audit` over all replies, `export` of the approved ones, readable rows only,
    null with its reason under `export_reason` where too few were approved. `run`: what became of a short training of a
    tiny model on that, as `train start --json` prints it; null with its reason under `run_reason`.
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
    run = why_not = None
    try:
        run = _short_training(workspace, Path(exported["dataset"]), watcher) if exported else None
    except UserError as error:
        why_not = str(error)
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
        "run": run,
        "run_reason": why_not,
    }


def _short_training(workspace: Workspace, dataset: Path, watcher: Progress) -> dict[str, Any]:
    """Train a tiny model with random weights on the dataset, on the CPU if need be: it shows that training works here,
    and says nothing of use. Raises UserError where no trainer is installed, or the training failed."""
    from loopreview.runs import write_json
    from loopreview.train import tiny
    from loopreview.train.gates import TrainGate
    from loopreview.train.machine import look
    from loopreview.train.start import Wanted as Training
    from loopreview.train.start import follow, launch, planned, summary

    backends = look(workspace.root).backends
    preferred: tuple[Backend, ...] = ("cuda", "mlx")
    backend = next((name for name in preferred if backends[name].ready), None)
    if backend is None:
        raise UserError(f"no trainer is installed: {backends['cuda'].fix} or {backends['mlx'].fix}")
    device = backends[backend].device
    if backend == "mlx" and device and device.kind == "cpu":
        raise UserError("mlx on a CPU takes minutes for conversations of this length; `loopreview train start` does it")
    watcher.note(f"a short training of a tiny model, backend {backend} …")
    base = tiny.build(workspace.root / "tiny-model")
    given = {"backend": backend, "adapter": "lora", "epochs": 1, "learning_rate": 0.01, "accumulation": 1}
    with planned(workspace.root, Training(str(base), dataset, given), keep=True) as (run, _):
        assert run is not None
        write_json(run.gate_file, TrainGate.record({}))
    follow(run, launch(run, resume=False), lambda event: None)
    found = summary(run)
    if found["state"] != "done":
        raise UserError(f"the training {found['state']}: {found['reason']}", exit_code=3)
    return found


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
