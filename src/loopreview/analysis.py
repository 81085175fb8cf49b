"""Why transcripts fail, and how far the approved ones cover what was asked for."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from loopreview import standing
from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Transcript
from loopreview.models.verdict import Answer, Assessment
from loopreview.progress import Progress, Silent, counted
from loopreview.rules import association, failures, traits
from loopreview.rules import coverage as rules
from loopreview.rules.merge import NEGATIVE
from loopreview.rules.score import score_answers
from loopreview.rules.statistics import wilson
from loopreview.rules.traits import Trait
from loopreview.store import batches, transcripts
from loopreview.store import standing as kept
from loopreview.workspace import Workspace

FEWEST = 4
"""A trait is compared where at least this many transcripts have it, and as many have not."""
FEWEST_FAILED = 3
"""A criterion that failed in fewer transcripts is not compared."""
SURE = 0.1
"""A finding holds where at most this share of such findings would be false (the corrected p value, `q`)."""


class Looked(NamedTuple):
    """One complete transcript that has answers."""

    id: str
    exchanges: int
    passed: bool | None
    failed: dict[str, bool]
    """criterion → whether it failed; those answered YES or NO."""
    enough: frozenset[str]
    """Failed criteria without which alone it would pass."""
    cited: dict[str, set[int]]
    """Failed criterion → the exchanges quoted against it."""
    traits: frozenset[Trait]


def analyse(workspace: Workspace, *, batch: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Which criteria fail together, in which exchanges and under which traits and topics, and which failing transcripts
    can be mended: what `analyse --json` prints. Raises UserError for a batch that is not there."""
    if batch is not None:
        batches.get(workspace.store, batch)
    looked, incomplete = _look(workspace, batch, progress or Silent())
    criteria = workspace.rubric.criteria
    failing = [one for one in looked if one.passed is False]
    mendings = [_mending_row(one, criteria) for one in failing]
    counts = Counter(row["kind"] for row in mendings)
    pairs = association.pairs([one.failed for one in looked], [c.id for c in criteria])
    return {
        "set": "all" if batch is None else f"batch {batch}",
        "transcripts": len(looked),
        "passed": sum(one.passed is True for one in looked),
        "failed": len(failing),
        "unscored": sum(one.passed is None for one in looked),
        "incomplete": incomplete,
        "criteria": [_criterion_row(c, looked) for c in criteria],
        "together": [
            {**pair._asdict(), "q": q, "holds": q <= SURE}
            for pair, q in zip(pairs, association.adjusted([pair.p for pair in pairs]), strict=True)
        ],
        **_contrasts(looked, [c.id for c in criteria]),
        "failing": mendings,
        "fixable": counts["fixable"],
        "systemic": counts["systemic"],
    }


def _look(workspace: Workspace, batch: int | None, progress: Progress) -> tuple[list[Looked], int]:
    """The complete transcripts with answers; and how many are not complete."""
    context = standing.refresh(workspace)
    complete = {head.id: head.complete for head in transcripts.heads(workspace.store, batch=batch)}
    looked = []
    with counted(progress, "analyse", len(complete)):
        for assessment in kept.assessments(workspace.store, context, batch=batch):
            progress.advance()
            if not complete[assessment.transcript]:
                continue
            failed = {c: answer in NEGATIVE for c, answer in assessment.effective.items() if _told(answer)}
            if failed:
                looked.append(_looked(workspace, assessment, failed))
    return looked, sum(not there for there in complete.values())


def _told(answer: Answer | None) -> bool:
    return answer == "YES" or answer in NEGATIVE


def _looked(workspace: Workspace, assessment: Assessment, failed: dict[str, bool]) -> Looked:
    id = assessment.transcript
    if any(failed.values()):
        stands = standing.of(workspace, id)
        transcript, cited = stands.transcript, _cited(stands, [c for c, no in failed.items() if no])
    else:
        transcript, cited = transcripts.get(workspace.store, id), {}
    enough = {c for c in cited if _would_pass(workspace, assessment, c)} if assessment.passed is False else set()
    found = frozenset(traits.traits_of(transcript))
    return Looked(id, len(transcript.exchanges), assessment.passed, failed, frozenset(enough), cited, found)


def _would_pass(workspace: Workspace, assessment: Assessment, criterion: str) -> bool:
    mended: dict[str, Answer | None] = {**assessment.effective, criterion: "YES"}
    return score_answers(workspace.rubric, mended).passed is True


def _cited(stands: standing.Standing, criteria: list[str]) -> dict[str, set[int]]:
    """The exchanges quoted by the judges that said NO, by a check, or named by a reviewer who did."""
    numbers = {exchange.number for exchange in stands.exchanges}
    found: dict[str, set[int]] = {}
    for criterion in criteria:
        places: set[int] = set()
        for backend, verdict in stands.panel.current.get(criterion, {}).items():
            if backend in stands.panel.backends and verdict.answer == "NO":
                places |= {quote.exchange for quote in verdict.evidence}
        check = stands.checks.get(criterion)
        if check is not None and check.answer == "NO":
            places |= {quote.exchange for quote in check.evidence}
        for event in stands.review.answers.get(criterion, {}).values():
            exchange = event.data.get("exchange")
            if event.answer == "NO" and isinstance(exchange, int):
                places.add(exchange)
        found[criterion] = places & numbers
    return found


def _criterion_row(criterion: Criterion, looked: list[Looked]) -> dict[str, Any]:
    answered = [one for one in looked if criterion.id in one.failed]
    failed = [one for one in answered if one.failed[criterion.id]]
    whole = failures.of_the_whole(criterion)
    quoted = [] if whole else [(one.cited.get(criterion.id, set()), one.exchanges) for one in failed]
    where = failures.where(quoted)
    places = Counter(place for cited, _ in quoted for place in cited)
    return {
        "criterion": criterion.id,
        "name": criterion.name,
        "gate": criterion.gate,
        "answered": len(answered),
        "failed": len(failed),
        "rate": len(failed) / len(answered) if answered else None,
        "interval": wilson(len(failed), len(answered)),
        "over_all_replies": whole,
        "quoted": where.transcripts,
        "thirds": list(where.thirds),
        "first": where.first,
        "exchanges": {str(place): n for place, n in sorted(places.items())},
    }


def _contrasts(looked: list[Looked], criteria: list[str]) -> dict[str, Any]:
    """Each trait against all transcripts without it, for failing at all and for each criterion. Among many comparisons
    some look striking by chance: p is corrected for those of whole transcripts, and for those of criteria."""
    overall = list(_rows([one for one in looked if one.passed is not None], None))
    single = [row for c in criteria for row in _rows([one for one in looked if c in one.failed], c)]
    for family in (overall, single):
        for row, q in zip(family, association.adjusted([row["p"] for row in family]), strict=True):
            row["q"], row["holds"] = q, q <= SURE
    rows = overall + single
    rows.sort(key=lambda row: (row["p"], -row["n"], row["kind"], row["value"], row["criterion"] or ""))
    topical = (traits.TOPIC, traits.SUBTOPIC, traits.COMPLEXITY, traits.EDGE_CASE)
    return {
        "compared": len(rows),
        "topics": [row for row in rows if row["kind"] in topical],
        "personas": [row for row in rows if row["kind"] not in topical],
    }


def _rows(looked: list[Looked], criterion: str | None) -> Iterator[dict[str, Any]]:
    """`criterion` None: the transcript as a whole."""
    bad = {one.id for one in looked if (one.passed is False if criterion is None else one.failed[criterion])}
    if min(len(bad), len(looked) - len(bad)) < FEWEST_FAILED:
        return
    having: dict[Trait, set[str]] = {}
    for one in looked:
        for trait in one.traits:
            having.setdefault(trait, set()).add(one.id)
    everybody = {one.id for one in looked}
    told: set[tuple[str, frozenset[str]]] = set()
    for trait, ids in sorted(having.items(), key=lambda pair: (-len(bad & pair[1]) / len(pair[1]), pair[0])):
        others = len(looked) - len(ids)
        if (trait.kind, frozenset(everybody - ids)) in told:
            continue  # of two options that divide all transcripts, the one under which more fail says it
        if len(ids) >= FEWEST and others >= FEWEST:
            told.add((trait.kind, frozenset(ids)))
            failed = len(bad & ids)
            found = association.contrast(len(ids), failed, others, len(bad) - failed)
            yield {
                "kind": trait.kind,
                "value": trait.value,
                "criterion": criterion,
                "n": found.n,
                "failed": found.failed,
                "rate": found.failed / found.n,
                "others": found.others,
                "others_failed": found.others_failed,
                "others_rate": found.others_failed / found.others,
                "p": found.p,
            }


def _mending_row(one: Looked, criteria: tuple[Criterion, ...]) -> dict[str, Any]:
    failed = [c for c in criteria if one.failed.get(c.id)]
    found = failures.mending(failed, one.enough, one.cited, one.exchanges)
    return {
        "transcript": one.id,
        "kind": found.kind,
        "why": found.why,
        "criteria": [c.id for c in failed],
        "exchanges": {c.id: sorted(one.cited.get(c.id, ())) for c in failed},
    }


def coverage(workspace: Workspace, *, progress: Progress | None = None) -> dict[str, Any]:
    """The taxonomy's options: asked for (weights), drawn (dice, and what imported personas say), approved. What
    `coverage --json` prints."""
    context = standing.refresh(workspace)
    drawn: list[list[Trait]] = []
    approved: list[list[Trait]] = []
    origins: Counter[str] = Counter()
    total = len(transcripts.ids(workspace.store))
    progress = progress or Silent()
    with counted(progress, "coverage", total):
        for assessment in kept.assessments(workspace.store, context):
            transcript: Transcript = transcripts.get(workspace.store, assessment.transcript)
            found = traits.traits_of(transcript)
            drawn.append(found)
            origins[transcript.origin] += 1
            if assessment.decision == "approved" and transcript.complete:
                approved.append(found)
            progress.advance()
    parts = rules.coverage(rules.asked_for(workspace.taxonomy, workspace.personas), drawn, approved)
    return {
        "transcripts": {"generated": origins["generated"], "imported": origins["imported"], "approved": len(approved)},
        "parts": [_part_row(part) for part in parts],
        **{state: _in_state(parts, state) for state in ("missing", "short")},
    }


def _part_row(part: rules.Part) -> dict[str, Any]:
    return {**part._asdict(), "rows": [row._asdict() for row in part.rows]}


def _in_state(parts: list[rules.Part], state: str) -> list[dict[str, Any]]:
    rows = ((part.kind, row) for part in parts for row in part.rows if row.state == state)
    return [
        {"kind": kind, "name": row.name, "asked": row.asked, "drawn": row.drawn, "approved": row.approved}
        for kind, row in rows
    ]
