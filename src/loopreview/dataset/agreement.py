"""How far judges and people agree, for a dataset's card: read one transcript at a time, however many there are."""

from collections.abc import Iterator

from loopreview import standing
from loopreview.rules.agreement import MERGED, Judged, JudgeRow, judge_rows
from loopreview.rules.review import TranscriptReview, fold
from loopreview.store import batches, events, transcripts
from loopreview.store import standing as kept
from loopreview.workspace import Workspace


def merged_rows(workspace: Workspace) -> list[JudgeRow]:
    """The panel's merged answers against people's, by criterion and population, over all that people reviewed."""
    rows = judge_rows(workspace.rubric, _reviewed(workspace), with_intervals=False)
    return [row for row in rows if row.backend == MERGED]


def _reviewed(workspace: Workspace) -> Iterator[Judged]:
    store = workspace.store
    context = standing.refresh(workspace)
    reviewed = set(events.reviewed(store))
    versions = {batch.id: batch.generation_version for batch in batches.listed(store)}
    taught: dict[str, set[str]] = {}
    for criterion in workspace.rubric.criteria:
        for example in criterion.examples:
            if example.origin:
                taught.setdefault(example.origin, set()).add(criterion.id)
    for assessment in kept.assessments(store, context):
        id = assessment.transcript
        if id not in reviewed:
            continue
        head = transcripts.head(store, id)
        review = fold(events.of(store, id)).transcripts.get(id, TranscriptReview())
        gave = taught.get(id, set()) | taught.get(head.source or "", set())
        yield Judged(id, assessment, review, head.source, versions[head.batch], frozenset(gave))
