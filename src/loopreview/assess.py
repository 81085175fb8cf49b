"""Assess: several judges answer each criterion on each transcript; only what is stale is asked."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jsonschema

from loopreview import standing
from loopreview.llm.client import About, CallFailed, Client
from loopreview.llm.together import run_all
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Transcript
from loopreview.models.verdict import Evidence, PanelMember, Verdict
from loopreview.progress import Progress
from loopreview.rules.checks import measure
from loopreview.rules.prompts import assessor_messages
from loopreview.rules.stale import shown_examples
from loopreview.store import calls, transcripts, verdicts
from loopreview.workspace import Workspace

REPAIRS = 2
_QUOTE = {
    "type": "object",
    "properties": {
        "exchange": {"type": "integer"},
        "role": {"type": "string", "enum": ["user", "assistant"]},
        "quote": {"type": "string"},
    },
    "required": ["exchange", "role", "quote"],
    "additionalProperties": False,
}
_VERDICT = {
    "type": "object",
    "properties": {
        "criterion": {"type": "string"},
        "reasoning": {"type": "string"},
        "answer": {"type": "string", "enum": ["YES", "NO", "NA"]},
        "evidence": {"type": "array", "items": _QUOTE},
        "counter_evidence": {"anyOf": [_QUOTE, {"type": "null"}]},
    },
    "required": ["criterion", "reasoning", "answer", "evidence", "counter_evidence"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"verdicts": {"type": "array", "items": _VERDICT}},
    "required": ["verdicts"],
    "additionalProperties": False,
}
_CHECK_VERDICT = jsonschema.Draft202012Validator(
    # A judge without a strict schema may leave these out; lint shows missing evidence to the reviewer.
    {**_VERDICT, "required": ["criterion", "answer"], "additionalProperties": True}
)


class Ask(NamedTuple):
    """One call: one judge, one transcript, the criteria that are stale there."""

    transcript: str
    judge: str
    criteria: tuple[str, ...]


class Plan(NamedTuple):
    asks: list[Ask]
    scope: list[str]
    incomplete: list[str]
    """Not asked about."""
    stale_imported: list[Verdict]
    """Imported answers to an earlier wording: nobody here can be asked again."""

    @property
    def stale(self) -> int:
        return sum(len(ask.criteria) for ask in self.asks)


def scope_of(workspace: Workspace, *, batch: int | None = None, every: bool = False) -> list[str]:
    """The ids of a batch, of all transcripts, or (by default) of the latest batch."""
    if every:
        return transcripts.ids(workspace.store)
    if batch is None:
        heads = transcripts.ids(workspace.store)
        if not heads:
            raise UserError("no transcripts yet; make some with `loopreview generate`, or `loopreview import FILE`")
        batch = int(heads[-1].partition("-")[0])
    found = transcripts.ids(workspace.store, batch)
    if not found:
        raise UserError(f"no batch {batch} with transcripts here; `loopreview status` lists the batches")
    return found


def make_plan(workspace: Workspace, scope: Sequence[str], *, only: str | None = None) -> Plan:
    """What would be asked: for each complete transcript and judge the criteria without a current, usable verdict."""
    rubric, settings = workspace.rubric, workspace.settings
    if only and rubric.criterion(only) is None:
        known = ", ".join(criterion.id for criterion in rubric.criteria)
        raise UserError(f"{settings.rubric}: no criterion {only}; it has {known}")
    asks: list[Ask] = []
    incomplete: list[str] = []
    stale_imported: list[Verdict] = []
    for id in scope:
        transcript = transcripts.get(workspace.store, id)
        if not transcript.complete:
            incomplete.append(id)
            continue
        panel = standing.Panel(workspace, transcript)
        stale_imported += [verdict for verdict in panel.stale_imported if verdict.backend not in settings.judges]
        open_criteria = judged_criteria(workspace, transcript)
        for judge in settings.judges:
            stale = [
                criterion.id
                for criterion in open_criteria
                if only in (None, criterion.id) and not panel.has_answer(criterion.id, judge)
            ]
            size = settings.criteria_per_call or len(stale) or 1
            asks += [Ask(id, judge, tuple(stale[i : i + size])) for i in range(0, len(stale), size)]
    return Plan(asks, list(scope), incomplete, stale_imported)


def judged_criteria(workspace: Workspace, transcript: Transcript) -> list[Criterion]:
    """The criteria that judges answer on this transcript: not the checks that code decides, not the skipped ones."""
    checks = standing.run_checks(workspace, transcript)
    exchanges = len(transcript.exchanges)
    return [
        criterion
        for criterion in workspace.rubric.criteria
        if exchanges >= criterion.min_exchanges and (criterion.kind == "judged" or checks[criterion.id].answer is None)
    ]


def estimate(workspace: Workspace, client: Client, plan: Plan) -> float | None:
    """Dollars for the plan; null where a price is unknown. Repairs are not counted."""
    total: float | None = 0.0
    sizes: dict[str, int] = {}
    for ask in plan.asks:
        if ask.transcript not in sizes:
            sizes[ask.transcript] = sum(len(m.text) for m in transcripts.get(workspace.store, ask.transcript).messages)
        criteria = [c for c in workspace.rubric.criteria if c.id in ask.criteria]
        text = sum(
            len(c.question) + sum(len(e.context + e.response + e.reasoning) for e in c.examples) for c in criteria
        )
        tokens_in = round((sizes[ask.transcript] + text + len(workspace.prompts["assessor"])) / 4)
        cost = client.estimate(ask.judge, tokens_in, 150 * len(ask.criteria))
        total = None if total is None or cost is None else total + cost
    return None if total is None else round(total, 4)


def estimate_new(workspace: Workspace, client: Client, *, count: int) -> dict[str, Any]:
    """Calls and dollars of judging `count` transcripts that are not made yet, of average length."""
    settings = workspace.settings
    criteria = [c for c in workspace.rubric.criteria if c.kind == "judged"]
    calls_each = -(-len(criteria) // (settings.criteria_per_call or len(criteria) or 1))
    words = [sum(style.words) / 2 for style in workspace.personas.writing_styles.values()]
    read = sum(settings.exchanges) / 2 * 2.5 * 1.4 * sum(words) / len(words) + len(workspace.prompts["assessor"]) / 4
    text = sum(len(c.question) + sum(len(e.context + e.response + e.reasoning) for e in c.examples) for c in criteria)
    total: float | None = 0.0
    for judge in settings.judges:
        cost = client.estimate(judge, round(calls_each * read + text / 4), 150 * len(criteria))
        total = None if total is None or cost is None else total + cost * count
    return {"calls": count * calls_each * len(settings.judges), "cost_usd": total}


def begin(workspace: Workspace, scope: Iterable[str]) -> None:
    """Set the panel of each complete transcript in scope to the judges of today."""
    members = [
        PanelMember(backend=name, origin="asked", asked_as=judge.fingerprint)
        for name, judge in workspace.settings.judges.items()
    ]
    for id in scope:
        known = [member for member in verdicts.panel(workspace.store, id) if member.origin == "asked"]
        if sorted(known, key=str) != sorted(members, key=str):
            verdicts.begin_panel(workspace.store, id, members)


async def ask_all(workspace: Workspace, client: Client, plan: Plan, progress: Progress) -> None:
    """Ask the plan's questions. Each call's verdicts are stored as they land. Raises UserError for what stops all."""
    begin(workspace, [id for id in plan.scope if id not in plan.incomplete])
    workspace.keep_versions()
    progress.start("judge calls", len(plan.asks))
    try:
        await run_all(_ask(workspace, client, ask, progress) for ask in plan.asks)
    finally:
        progress.finish()


def result(workspace: Workspace, plan: Plan, before: calls.Cost) -> dict[str, Any]:
    """What `assess` prints once its calls are done. `before`: the costs when it began."""
    after = calls.cost(workspace.store)
    found, errors = rows(workspace, plan.scope)
    return {
        "calls": after.calls - before.calls,
        "stale": plan.stale,
        "cost_usd": None if after.unknown > before.unknown else round(after.known_usd - before.known_usd, 6),
        "errors": errors,
        "transcripts": found,
        "incomplete": plan.incomplete,
        "stale_imported": imported_rows(plan),
    }


def rows(workspace: Workspace, scope: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How each transcript in scope stands, and the judges' errors that are left."""
    found, errors = [], []
    for id in scope:
        stands = standing.of(workspace, id)
        assessment = stands.assessment
        found.append(
            {
                "id": id,
                "passed": assessment.passed,
                "score": assessment.score,
                "unscored": assessment.unscored,
                "open": list(assessment.open),
                "judged": assessment.judged,
                "judged_score": assessment.judged_score,
            }
        )
        errors += [
            {"transcript": id, "criterion": verdict.criterion, "backend": verdict.backend, "reason": verdict.reason}
            for by_backend in stands.panel.current.values()
            for verdict in by_backend.values()
            if verdict.answer == "ERROR"
        ]
    return found, errors


def imported_rows(plan: Plan) -> list[dict[str, Any]]:
    return [{"transcript": v.transcript, "criterion": v.criterion, "backend": v.backend} for v in plan.stale_imported]


async def _ask(workspace: Workspace, client: Client, ask: Ask, progress: Progress) -> None:
    transcript = transcripts.get(workspace.store, ask.transcript)
    criteria = [criterion for criterion in workspace.rubric.criteria if criterion.id in ask.criteria]
    answers, reason = await ask_judge(workspace, client, ask.judge, transcript, criteria)
    fingerprint = workspace.settings.judges[ask.judge].fingerprint
    made = [
        verdict_of(
            answers.get(criterion.id),
            reason,
            transcript=ask.transcript,
            criterion=criterion.id,
            backend=ask.judge,
            asked_with=ask.criteria,
            key=standing.wanted_key(workspace, transcript, criterion, fingerprint),
        )
        for criterion in criteria
    ]
    verdicts.add(workspace.store, made)
    failed = [verdict for verdict in made if verdict.answer == "ERROR"]
    if failed:
        progress.note(f"{ask.transcript}: {ask.judge} gave no usable answer to {len(failed)} of {len(made)}: {reason}")
    progress.advance()


def verdict_of(answer: dict[str, Any] | None, reason: str, **named: Any) -> Verdict:
    """What a judge answered as a verdict; an ERROR with its `reason` where there is no usable answer. `named`:
    transcript, criterion, backend, asked_with and key."""
    if answer is None:
        return Verdict(answer="ERROR", reason=reason, **named)
    return Verdict(
        answer=answer["answer"],
        reasoning=str(answer.get("reasoning", "")),
        evidence=tuple(_quotes(answer.get("evidence"))),
        counter_evidence=next(iter(_quotes([answer.get("counter_evidence")])), None),
        **named,
    )


async def ask_judge(
    workspace: Workspace,
    client: Client,
    judge: str,
    transcript: Transcript,
    criteria: Sequence[Criterion],
    *,
    needed: Sequence[str] | None = None,
    repeat: int = 0,
) -> tuple[dict[str, dict[str, Any]], str]:
    """The usable answers by criterion, after at most two repairs, and why the others are missing.

    `needed`: the criteria for whose answers it is asked again; all by default. `repeat`: another number is another
    seed, for asking the very same thing twice.
    """
    needed = [criterion.id for criterion in criteria] if needed is None else needed
    exchanges = transcript.exchanges
    shown = {c.id: shown_examples(c, transcript.id, transcript.source) for c in criteria}
    messages = assessor_messages(workspace.prompts["assessor"], exchanges, measure(exchanges), criteria, shown)
    usable: dict[str, dict[str, Any]] = {}
    reason = ""
    asked = list(messages)
    for attempt in range(1 + REPAIRS):
        salt = [repeat] if repeat else []
        seed = int(content_hash(transcript.hash, attempt, *salt), 16) % 2**31
        try:
            reply = await client.complete(
                judge, asked, seed=seed, schema=SCHEMA, about=About("assess", transcript.batch, transcript.id)
            )
        except CallFailed as error:
            return usable, error.reason
        if reply.refused:
            return usable, "the judge refused to answer"
        found, reason = read_answers(reply.text, [c.id for c in criteria])
        usable = {**found, **usable}
        missing = [id for id in needed if id not in usable]
        if not missing:
            return usable, ""
        reason = reason or f"no answer to {', '.join(missing)}"
        if reply.finish == "length":
            reason = f"the answer was cut off at the model's token limit ({reason})"
        again = (
            f"That could not be used: {reason}. Send the JSON object again, complete and nothing else, "
            f"with a verdict for each of: {', '.join(c.id for c in criteria)}."
        )
        asked = [
            *messages,
            {"role": "assistant", "content": reply.text[:20_000] or "(nothing)"},
            {"role": "user", "content": again},
        ]
    return usable, reason


def read_answers(text: str, ids: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str]:
    """The valid verdicts in a judge's answer by criterion, and what was wrong with the rest (empty: nothing)."""
    if not text.strip():
        return {}, "an empty answer"
    document = _json_in(text)
    if document is None:
        return {}, "no JSON in the answer"
    listed = document.get("verdicts") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        return {}, "the JSON has no list `verdicts`"
    found: dict[str, dict[str, Any]] = {}
    wrong = ""
    for item in listed:
        if isinstance(item, dict) and isinstance(item.get("answer"), str):
            item = {**item, "answer": item["answer"].strip().upper().replace("N/A", "NA")}
        error = next(_CHECK_VERDICT.iter_errors(item), None)
        if error is not None:
            place = ".".join(str(part) for part in error.absolute_path) or "verdict"
            wrong = wrong or f"{place}: {error.message[:120]}"
        elif item["criterion"] in ids and item["criterion"] not in found:
            found[item["criterion"]] = item
    return found, wrong


def _json_in(text: str) -> Any:
    """The first JSON document in a text that may have a code fence or words around it."""
    text = text.strip()
    fence = re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL)
    for candidate in filter(None, (text, fence and fence.group(1), text[text.find("{") : text.rfind("}") + 1])):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    return None


def _quotes(items: Any) -> list[Evidence]:
    found = []
    for item in items or []:
        if isinstance(item, dict) and isinstance(item.get("quote"), str) and item["quote"].strip():
            found.append(Evidence(exchange=item["exchange"], role=item.get("role", "assistant"), quote=item["quote"]))
    return found
