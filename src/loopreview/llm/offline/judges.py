"""The offline judges: they read by the detectors' rules, each with mistakes and a strictness of its own."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loopreview.llm.offline import reading
from loopreview.llm.offline.chance import share
from loopreview.llm.offline.criteria import conversation_key, examine
from loopreview.llm.offline.detectors import Answer, Finding, Place, place
from loopreview.llm.offline.reading import Asked
from loopreview.models.transcript import Exchange


class Strictness(NamedTuple):
    """Rates of a judge's own mistakes on a criterion without examples: a NO taken for YES, a YES taken for NO."""

    false_yes: float
    false_no: float


STRICTNESS = {
    "judge-strict": Strictness(0.06, 0.06),
    "judge-balanced": Strictness(0.14, 0.03),
    "judge-lenient": Strictness(0.28, 0.015),
}
SHARED = Strictness(0.55, 0.015)
"""Mistakes that all judges make on the same transcript and criterion."""
GARBLED = 0.012
"""Share of first answers that are not JSON."""
_WITHOUT_SEED = 0.85
"""Share of a judge's own mistakes that it makes whenever it is asked; the others depend on the seed."""


def judge(
    model: str, messages: Sequence[Mapping[str, str]], response_format: Mapping[str, Any] | None, seed: int | None
) -> str:
    """Verdicts on the criteria of the last criteria block, as JSON in the form the schema asks for."""
    found = reading.blocks(messages)
    exchanges = reading.read_transcript(found.get("transcript", ""))
    key = conversation_key(exchanges)
    verdicts = [
        _verdict(model, key, asked, exchanges, seed) for asked in reading.read_criteria(found.get("criteria", ""))
    ]
    text = json.dumps(_shaped(verdicts, response_format), ensure_ascii=False, indent=1)
    first_try = not any(m.get("role") == "assistant" for m in messages)
    if first_try and share("garbled", model, key, seed) < GARBLED:
        return text[: int(len(text) * 0.6)] if share("how", key) < 0.5 else f"Here are my answers.\n{text[:-3]},"
    return text


def difficulty(asked: Asked) -> float:
    """What the rates of mistakes are multiplied by: each example helps, and so does a longer, sharper question."""
    words = len(asked.question.split())
    factor = 1.35 if words < 8 else 1.0 if words < 16 else 0.85 if words < 26 else 0.7
    if re.search(
        r"\d|[\"“”]|\b(?:for (?:example|instance)|such as|answer no|counts?|even where|unless|only)\b",
        asked.question,
        re.I,
    ):
        factor *= 0.85
    return factor / (1 + 0.15 * min(asked.examples, 8))


def _verdict(model: str, key: str, asked: Asked, exchanges: Sequence[Exchange], seed: int | None) -> dict[str, Any]:
    finding = examine(asked, exchanges)
    answer = _answer(model, key, asked, finding.answer, seed)
    pro, contra = (finding.in_favour, finding.against) if answer != "NO" else (finding.against, finding.in_favour)
    if answer == "NA":
        pro, contra = (), ()
    elif not pro:
        pro = _any_place(exchanges, key, asked.id, model)
    return {
        "criterion": asked.id,
        "reasoning": _reasoning(model, answer, finding, pro),
        "answer": answer,
        "evidence": [p._asdict() for p in pro[: 1 + int(share("many", key, asked.id, model) * 2.5)]],
        "counter_evidence": contra[0]._asdict() if contra else None,
    }


def _answer(model: str, key: str, asked: Asked, truth: Answer, seed: int | None) -> Answer:
    own, factor = STRICTNESS[model], difficulty(asked)
    common = share("shared mistake", key, asked.id)
    steady = share("mistake", key, asked.id, model)
    moody = share("mistake", key, asked.id, model, seed)
    if truth == "NA":
        return "YES" if steady < 0.05 * factor else "NA"
    shared_rate, own_rate = (SHARED.false_yes, own.false_yes) if truth == "NO" else (SHARED.false_no, own.false_no)
    wrong = (
        common < shared_rate * factor
        or steady < own_rate * _WITHOUT_SEED * factor
        or moody < own_rate * (1 - _WITHOUT_SEED) * factor
    )
    if not wrong:
        return truth
    return "YES" if truth == "NO" else "NO"


def _any_place(exchanges: Sequence[Exchange], key: str, id: str, model: str) -> tuple[Place, ...]:
    if not exchanges:
        return ()
    exchange = exchanges[int(share("where", key, id, model) * len(exchanges))]
    sentences = reading.sentences(exchange.assistant) or (exchange.assistant,)
    found = place(exchange, sentences[int(share("which", key, id, model) * len(sentences))])
    return (found,) if found else ()


_MANNER = {
    "judge-strict": ("Read strictly", "Taking the question at its word", "Looking for the weakest place"),
    "judge-balanced": ("Weighing both sides", "On the whole", "Taking the conversation together"),
    "judge-lenient": ("Giving the benefit of the doubt", "As a reader would take it", "In good faith"),
}


def _reasoning(model: str, answer: Answer, finding: Finding, pro: Sequence[Place]) -> str:
    manner = _MANNER[model][int(share("manner", finding.why, answer, model) * 3)]
    if answer == "NA":
        why = finding.why if finding.answer == "NA" else "what the question is about hardly comes up"
        return f"{manner}, {why}, so the question does not apply."
    where = f" Exchange {pro[0].exchange} shows it." if pro else ""
    if answer == finding.answer:
        return f"{manner}, {finding.why}.{where}"
    if answer == "YES":
        return f"{manner}, what could be held against it weighs little here.{where}"
    return f"{manner}, this passage does not do what the question asks.{where}"


def _shaped(verdicts: list[dict[str, Any]], response_format: Mapping[str, Any] | None) -> Any:
    """The verdicts under the names of the schema; under `verdicts` where there is none."""
    schema = ((response_format or {}).get("json_schema") or {}).get("schema") or {}
    if schema.get("type") == "array":
        return [_with_names(v, schema.get("items", {})) for v in verdicts]
    properties = schema.get("properties") or {}
    lists = [name for name, part in properties.items() if part.get("type") == "array"]
    if properties and not lists:
        by_id = {v["criterion"]: v for v in verdicts}
        if set(properties) & set(by_id):
            return {id: _with_names(v, properties.get(id, {})) for id, v in by_id.items()}
        return _with_names(verdicts[0], schema) if verdicts else {}
    name = lists[0] if lists else "verdicts"
    return {name: [_with_names(v, (properties.get(name) or {}).get("items", {})) for v in verdicts]}


_OTHER_NAMES = {
    "criterion": ("criterion_id", "id"),
    "reasoning": ("reason", "rationale", "explanation"),
    "answer": ("verdict", "label"),
    "evidence": ("quotes",),
    "counter_evidence": ("counter-evidence", "counterevidence", "counter"),
}


def _with_names(verdict: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    wanted = schema.get("properties")
    if not wanted:
        return verdict
    shaped = {}
    for name, value in verdict.items():
        known = next((n for n in (name, *_OTHER_NAMES.get(name, ())) if n in wanted), None)
        if known:
            shaped[known] = value
    return shaped
