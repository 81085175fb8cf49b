"""Reports: how one transcript and the whole workspace stand, and how far judges and people agree."""

from collections import Counter
from typing import Any

from loopreview import standing
from loopreview.models.rubric import Criterion
from loopreview.models.verdict import Verdict
from loopreview.rules import agreement as rules
from loopreview.rules.diagnosis import diagnose
from loopreview.rules.gate import BatchCount, gate
from loopreview.rules.lint import addresses_judge, lint_verdict
from loopreview.rules.review import fold
from loopreview.rules.self_agreement import repeat_rows
from loopreview.rules.statistics import wilson
from loopreview.rules.tally import fork, tallies
from loopreview.store import batches, calls, events, transcripts
from loopreview.store import standing as kept
from loopreview.workspace import Workspace


def show(workspace: Workspace, id: str) -> dict[str, Any]:
    """One transcript with everything that is known about it: what `show --json` prints."""
    found = standing.of(workspace, id)
    transcript, assessment = found.transcript, found.assessment
    return {
        "id": transcript.id,
        "batch": transcript.batch,
        "origin": transcript.origin,
        "source": transcript.source,
        "complete": transcript.complete,
        "exchanges": len(found.exchanges),
        "target_exchanges": transcript.target_exchanges,
        "persona": transcript.persona,
        "messages": [message.model_dump(mode="json") for message in transcript.messages],
        "passed": assessment.passed,
        "score": assessment.score,
        "judged": assessment.judged,
        "judged_score": assessment.judged_score,
        "unscored": assessment.unscored,
        "open": list(assessment.open),
        "categories": assessment.categories,
        "criteria": [_criterion_row(found, criterion) for criterion in workspace.rubric.criteria],
        "decision": assessment.decision,
        "notes": [{"reviewer": e.reviewer, "criterion": e.criterion, "note": e.note} for e in found.review.notes],
        "gaps": [{"reviewer": e.reviewer, "note": e.note, **e.data} for e in found.review.gaps],
        "addresses_judge": [quote.model_dump() for quote in addresses_judge(found.exchanges)],
        "marks": [{"reviewer": e.reviewer, "note": e.note, **e.data} for e in found.review.marks],
    }


def _criterion_row(found: standing.Standing, criterion: Criterion) -> dict[str, Any]:
    assessment = found.assessment
    given = [v for b, v in found.panel.current.get(criterion.id, {}).items() if b in found.panel.backends]
    check = found.checks.get(criterion.id)
    evidence = [{"backend": v.backend, **quote.model_dump()} for v in given for quote in v.evidence]
    reasoning = {verdict.backend: verdict.reasoning for verdict in given}
    if check is not None and check.answer is not None:
        evidence += [{"backend": "check", **quote.model_dump()} for quote in check.evidence]
        reasoning["check"] = check.reasoning
    return {
        "id": criterion.id,
        "name": criterion.name,
        "category": criterion.category,
        "gate": criterion.gate,
        "merged": assessment.merged[criterion.id],
        "answers": assessment.answers[criterion.id],
        "human": assessment.human.get(criterion.id, {}),
        "effective": assessment.effective[criterion.id],
        "contested": criterion.id in assessment.contested,
        "reasoning": reasoning,
        "evidence": evidence,
        "counter_evidence": [
            {"backend": v.backend, **v.counter_evidence.model_dump()} for v in given if v.counter_evidence
        ],
        "errors": {v.backend: v.reason for v in given if v.answer == "ERROR"},
        "lint": [f"{v.backend}: {problem}" for v in given for problem in _lint(v, found)],
    }


def _lint(verdict: Verdict, found: standing.Standing) -> list[str]:
    return [] if verdict.answer == "ERROR" else lint_verdict(verdict, found.exchanges)


def status(workspace: Workspace) -> dict[str, Any]:
    """Batches, gate and flags: what `status --json` prints."""
    context = standing.refresh(workspace)
    store = workspace.store
    contents = fold(events.of_batches(store)).contents
    known = {batch.id: batch for batch in batches.listed(store)}
    incomplete = transcripts.incomplete(store)
    counts: list[BatchCount] = []
    rows = []
    flags = dict.fromkeys(("false_positive", "false_negative", "na", "gaps"), 0)
    transcript_flags = dict.fromkeys(("false_positive", "false_negative"), 0)
    for tally in kept.by_batch(store, context):
        batch = known[tally.batch]
        said = contents.get(batch.id, {}).values()
        content = None if not said else all(said)
        count = BatchCount(
            batch.id,
            batch.origin,
            batch.generation_version,
            tally.n,
            tally.passed,
            tally.failed,
            tally.unscored,
            content,
        )
        counts.append(count)
        rows.append(
            {
                **{
                    name: getattr(count, name)
                    for name in ("id", "origin", "n", "passed", "failed", "unscored", "pass_rate")
                },
                "interval": wilson(count.passed, count.passed + count.failed),
                "content": content,
                "generation_version": batch.generation_version,
                "seed": batch.seed,
                "created_at": batch.created_at,
                "decided": tally.approved + tally.rejected,
                "incomplete": incomplete.get(batch.id, 0),
                "cost_usd": dollars(calls.cost(store, batch.id)),
            }
        )
        for name in flags:
            flags[name] += getattr(tally, name)
        transcript_flags["false_positive"] += tally.transcript_false_positive
        transcript_flags["false_negative"] += tally.transcript_false_negative
    version = workspace.generation_version
    own = [count.id for count in counts if count.origin == "generated" and count.generation_version == version]
    scope = own or [count.id for count in counts]
    compared, letters = kept.outcomes(store, context, scope)
    alone = {rule: found for rule, found in compared.items() if not rule.startswith("-")}
    without = {rule[1:]: found for rule, found in compared.items() if rule.startswith("-")}
    criteria = tallies(workspace.rubric, letters)
    ceiling = _ceiling(workspace)
    return {
        "batches": rows,
        "gate": gate(counts, generation_version=version, settings=workspace.settings).model_dump(mode="json"),
        "rules": {rule: passed / n if n else None for rule, (passed, n) in alone.items()},
        "rule_counts": {rule: {"passed": passed, "n": n} for rule, (passed, n) in alone.items()},
        "without": {judge: {"passed": passed, "n": n} for judge, (passed, n) in without.items()},
        "panel_ceiling": ceiling,
        "criteria": [tally.model_dump(mode="json") for tally in criteria],
        "fork": fork(criteria, _blames(workspace)).model_dump(mode="json"),
        "budget_usd": workspace.settings.budget_usd,
        "flags": flags,
        "transcript_flags": transcript_flags,
        "cost_usd": dollars(calls.cost(store)),
        "generation_version": version,
        "rubric": workspace.rubric.name,
        "rubric_version": workspace.rubric_version,
    }


def _blames(workspace: Workspace) -> dict[str, int]:
    """Who reviewers put faults down to, and how often."""
    found = fold(events.blames(workspace.store)).transcripts.values()
    return dict(Counter(str(event.data.get("blame")) for review in found for event in review.blames))


def agreement(workspace: Workspace, *, with_intervals: bool = True) -> dict[str, Any]:
    """Judges against people, and people among themselves: what `agreement --json` prints."""
    judged = _judged(workspace)
    judge_rows = rules.judge_rows(workspace.rubric, judged, with_intervals=with_intervals)
    corrected = rules.corrected_pass_rate(
        judged, generation_version=workspace.generation_version, with_intervals=with_intervals
    )
    weak = rules.weak_criteria(judge_rows)
    human_rows = rules.human_rows(workspace.rubric, judged)
    repeated = repeat_rows(workspace.rubric, [item.review for item in judged])
    # Where two people rated the same, that says more of the question than one person twice.
    diagnoses = diagnose(
        workspace.rubric, judge_rows, [*repeated, *human_rows], labels_needed=workspace.settings.labels_needed
    )
    return {
        "judges": [row.model_dump(mode="json") for row in judge_rows],
        "humans": [row.model_dump(mode="json") for row in human_rows],
        "repeats": [row.model_dump(mode="json") for row in repeated],
        "criteria": [diagnosis.model_dump(mode="json") for diagnosis in diagnoses],
        "corrected_pass_rate": corrected.model_dump(mode="json"),
        "weak": sorted(weak),
        "gate": {"passed": not weak, "why": "a merged kappa under 0.6" if weak else ""},
    }


def dollars(cost: calls.Cost) -> float | None:
    """Dollars spent; null where the price of any call is unknown."""
    return None if cost.unknown else round(cost.known_usd, 6)


def _ceiling(workspace: Workspace) -> float | None:
    panel = list(workspace.settings.judges)
    rows = rules.judge_rows(workspace.rubric, _labelled(workspace), with_intervals=False)
    rates = rules.true_positive_rates(workspace.rubric, panel, rows)
    return rules.panel_ceiling(workspace.rubric, panel, rates, workspace.settings.merge)


def _labelled(workspace: Workspace) -> list[rules.Judged]:
    return _judged_of(workspace, events.reviewed(workspace.store))


def _judged(workspace: Workspace) -> list[rules.Judged]:
    """The transcripts that agreement is about: those people spoke of, and all of the present generation version."""
    version = workspace.generation_version
    ids = dict.fromkeys(events.reviewed(workspace.store))
    for batch in batches.listed(workspace.store):
        if batch.generation_version == version:
            ids |= dict.fromkeys(transcripts.ids(workspace.store, batch.id))
    return _judged_of(workspace, list(ids))


def _judged_of(workspace: Workspace, ids: list[str]) -> list[rules.Judged]:
    versions = {batch.id: batch.generation_version for batch in batches.listed(workspace.store)}
    gave: dict[str, set[str]] = {}
    for criterion in workspace.rubric.criteria:
        for example in criterion.examples:
            if example.origin:
                gave.setdefault(example.origin, set()).add(criterion.id)
    found = []
    for id in ids:
        stands = standing.of(workspace, id)
        transcript = stands.transcript
        taught = gave.get(id, set()) | gave.get(transcript.source or "", set())
        found.append(
            rules.Judged(
                id, stands.assessment, stands.review, transcript.source, versions[transcript.batch], frozenset(taught)
            )
        )
    return found
