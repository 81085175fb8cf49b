"""The offline judges on generated and on real transcripts, in the very messages that assess sends."""

import json
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loopreview.assess import SCHEMA, read_answers
from loopreview.llm.offline import assistant, judges, user_sim
from loopreview.llm.offline.criteria import detector_for
from loopreview.llm.offline.domain import domains
from loopreview.llm.offline.judges import STRICTNESS, difficulty, judge
from loopreview.llm.offline.reading import Asked
from loopreview.llm.offline.truth import planted_truth
from loopreview.models.rubric import Criterion, Example, Rubric
from loopreview.models.settings import Settings
from loopreview.models.transcript import Exchange, Message, exchanges_of
from loopreview.rules.checks import measure
from loopreview.rules.dice import read_personas, read_taxonomy, roll
from loopreview.rules.prompts import assessor_messages, assistant_messages, user_sim_messages
from loopreview.rules.rubric import read_rubric
from loopreview.rules.statistics import cohen_kappa

ROOT = Path(__file__).parents[2]
THERAPY = ROOT.parent / "shared" / "data" / "therapy"
DOMAINS = ("support-agent", "therapy-coach", "tutor")
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
PROMPT = "Judge.\n\n{{transcript}}\n\n{{measurements}}\n\n{{criteria}}\n"


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


@cache
def rubric(domain: str) -> Rubric:
    return read_rubric(text(f"rubrics/{domain}/rubric.yaml"), "rubric.yaml")


@cache
def transcripts(domain: str, count: int = 24) -> list[list[Exchange]]:
    """Generated under the domain's own prompt."""
    taxonomy = read_taxonomy(text(f"rubrics/{domain}/taxonomy.yaml"), "taxonomy.yaml")
    personas = read_personas(text(f"rubrics/{domain}/personas.yaml"), "personas.yaml")
    prompt, own = text(f"prompts/{domain}/user_sim.md"), text(f"prompts/{domain}/assistant.md")
    found = []
    for index in range(1, count + 1):
        dice = roll(8, index, taxonomy, personas, Settings(exchanges=(6, 10)))
        messages: list[Message] = []
        for turn in range(dice.target_exchanges):
            messages.append(Message(role="user", text=user_sim.write(user_sim_messages(prompt, dice, messages), turn)))
            messages.append(Message(role="assistant", text=assistant.write(assistant_messages(own, messages), turn)))
        found.append(exchanges_of(messages))
    return found


def judged(
    criteria: list[Criterion], exchanges: list[Exchange], model: str, seed: int = 1
) -> dict[str, dict[str, Any]]:
    shown = {c.id: c.examples for c in criteria}
    messages = assessor_messages(PROMPT, exchanges, measure(exchanges), criteria, shown)
    answers, _ = read_answers(judge(model, messages, FORMAT, seed), [c.id for c in criteria])
    return answers


def asked_of_judges(domain: str) -> list[Criterion]:
    return [c for c in rubric(domain).criteria if c.kind == "judged"]


@cache
def panel(domain: str, model: str) -> list[dict[str, dict[str, Any]]]:
    """What one judge says of each of the domain's transcripts."""
    return [judged(asked_of_judges(domain), exchanges, model) for exchanges in transcripts(domain)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_judge_agrees_with_what_was_planted_well_but_not_too_well(domain: str) -> None:
    criteria = asked_of_judges(domain)
    for model in STRICTNESS:
        table: Counter[tuple[str, str]] = Counter()
        for exchanges, answers in zip(transcripts(domain), panel(domain, model), strict=True):
            for criterion in criteria:
                pair = (planted_truth(criterion, exchanges), answers.get(criterion.id, {}).get("answer", "ERROR"))
                if set(pair) <= {"YES", "NO"}:
                    table[pair] += 1
        kappa = cohen_kappa(table)
        assert kappa is not None and 0.3 <= kappa <= 0.9, (model, kappa, table)


def test_the_strict_judge_says_no_most_often_and_the_lenient_one_least() -> None:
    noes = {
        model: sum(
            answer["answer"] == "NO"
            for domain in DOMAINS
            for answers in panel(domain, model)
            for answer in answers.values()
        )
        for model in STRICTNESS
    }
    assert noes["judge-strict"] > noes["judge-balanced"] > noes["judge-lenient"] > 0


def test_some_mistakes_are_made_by_all_judges_in_both_directions() -> None:
    seen = Counter()
    for domain in DOMAINS:
        criteria = asked_of_judges(domain)
        for exchanges, *given in zip(transcripts(domain), *(panel(domain, m) for m in STRICTNESS), strict=True):
            for criterion in criteria:
                answers = {found[criterion.id]["answer"] for found in given if criterion.id in found}
                truth = planted_truth(criterion, exchanges)
                if len(answers) == 1 and truth != "NA" and answers != {truth}:
                    seen[truth] += 1
    assert seen["NO"] >= 5 and seen["YES"] >= 3, seen


@pytest.mark.parametrize("model", STRICTNESS)
def test_a_judge_fits_the_schema_quotes_exactly_and_repeats_itself(model: str) -> None:
    criteria = asked_of_judges("support-agent")
    for exchanges in transcripts("support-agent")[:15]:
        messages = assessor_messages(PROMPT, exchanges, measure(exchanges), criteria, {})
        raw = judge(model, messages, FORMAT, 7)
        assert raw == judge(model, messages, FORMAT, 7)
        document = json.loads(raw)
        jsonschema.validate(document, SCHEMA)
        assert [v["criterion"] for v in document["verdicts"]] == [c.id for c in criteria]
        for verdict in document["verdicts"]:
            quotes = [*verdict["evidence"], *filter(None, [verdict["counter_evidence"]])]
            assert verdict["reasoning"] and (verdict["evidence"] or verdict["answer"] == "NA")
            for quote in quotes:
                said = getattr(exchanges[quote["exchange"] - 1], quote["role"])
                assert quote["quote"] and quote["quote"] in said and len(quote["quote"].split()) <= 30


def test_na_is_answered_only_where_it_is_allowed() -> None:
    found = panel("support-agent", "judge-balanced")
    answered_na = {id for answers in found for id, answer in answers.items() if answer["answer"] == "NA"}
    assert answered_na and all(rubric("support-agent").criterion(id).na == "valid" for id in answered_na)  # type: ignore[union-attr]


EXAMPLE = Example(label="FAIL", response="r", reasoning="because")


def errors(criterion: Criterion) -> int:
    wrong = 0
    for exchanges in transcripts("support-agent"):
        truth = planted_truth(criterion, exchanges)
        for model in STRICTNESS:
            answer = judged([criterion], exchanges, model).get(criterion.id)
            wrong += answer is not None and answer["answer"] != truth
    return wrong


def test_examples_and_a_sharper_question_make_the_judges_better_at_that_criterion() -> None:
    dull = Criterion(id="T9", name="Feeling", category="c", question="Is the feeling met?", na="invalid")
    sharp = dull.model_copy(
        update={
            "question": "Where the customer is upset, is the feeling met in at least 2 of 3 replies, such as by naming "
            "what went wrong for them, before a fix is offered, unless they ask for the fix alone?"
        }
    )
    taught = dull.model_copy(update={"examples": (EXAMPLE,) * 6})
    assert errors(taught) < errors(dull) and errors(sharp) < errors(dull)
    factors = [
        difficulty(Asked("T9", "Feeling", q, True, n))
        for q, n in ((dull.question, 0), (dull.question, 6), (sharp.question, 6))
    ]
    assert factors == sorted(factors, reverse=True) and factors[0] > 2 * factors[2] > 0


def test_about_one_first_answer_in_a_hundred_is_garbled_and_its_repair_is_not() -> None:
    criteria = asked_of_judges("support-agent")[:2]
    exchanges = transcripts("support-agent")[0]
    messages = assessor_messages(PROMPT, exchanges, measure(exchanges), criteria, {})
    again = [*messages, {"role": "assistant", "content": "(nothing)"}, {"role": "user", "content": "Send it again."}]

    def readable(asked: list[dict[str, str]], seed: int) -> bool:
        return not read_answers(judge("judge-strict", asked, FORMAT, seed), [c.id for c in criteria])[1]

    garbled = [seed for seed in range(1500) if not readable(messages, seed)]
    assert 0.004 < len(garbled) / 1500 < 0.03
    assert all(readable(again, seed) for seed in garbled)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "array", "items": {"properties": {"id": {}, "verdict": {}, "rationale": {}}}}, [0]),
        (
            {"properties": {"results": {"type": "array", "items": {"properties": {"id": {}, "verdict": {}}}}}},
            ["results", 0],
        ),
        ({"properties": {"U1": {"properties": {"verdict": {}}}, "U2": {}}}, ["U1"]),
    ],
)
def test_another_schema_gets_the_answers_under_its_own_names(schema: dict[str, Any], path: list[Any]) -> None:
    criteria = [c for c in asked_of_judges("support-agent") if c.id in ("U1", "U2")]
    exchanges = transcripts("support-agent")[1]
    messages = assessor_messages(PROMPT, exchanges, measure(exchanges), criteria, {})
    document = json.loads(judge("judge-strict", messages, {"json_schema": {"schema": schema}}, 3))
    for step in path:
        document = document[step]
    assert document["verdict"] in ("YES", "NO", "NA") and "answer" not in document


def test_a_planted_fault_is_seen_and_nothing_innocent_is_taken_for_one() -> None:
    """Every template of what the assistant says, wrong or right, expanded in each of its first choices."""
    looks_for = {
        "unsafe": "Is all advice safe?",
        "secret": "Does it keep passwords out?",
        "claim": "Is every claim backed by something?",
        "presume": "Are assumptions left out?",
        "flatter": "Is praise rare, without flattery?",
        "rude": "Is it polite?",
        "giveaway": "Is the decisive step left to the learner?",
        "wrong": "Is everything in fact right?",
    }
    for domain in domains().values():
        slots = {"{thing}": "it", "{topic}": "delivery", "{quote}": "as you say"}
        pools = [domain.feelings, domain.holds, domain.thoughts, domain.remarks, domain.next_steps, domain.questions]
        innocent = [t for pool in pools for t in pool] + [
            t for m in domain.matters.values() for t in (*m.answers, *m.steps)
        ]

        def said(template: str, slots: dict[str, str] = slots) -> list[Exchange]:
            plain = "".join(part.split("|")[0].split("[")[-1] for part in template.split("]"))
            for slot, value in slots.items():
                plain = plain.replace(slot, value)
            return [Exchange(1, "Will the parcel arrive today?", plain)]

        for fault, question in looks_for.items():
            criterion = Criterion(id="F1", name=fault, category="c", question=question)
            for template in domain.faults.get(fault, ()):
                if "[" not in template:
                    assert planted_truth(criterion, said(template)) == "NO", (fault, template)
            for template in innocent:
                assert planted_truth(criterion, said(template)) != "NO", (fault, template)


def test_a_criterion_no_rule_knows_gets_a_seeded_answer_mostly_yes() -> None:
    criterion = Criterion(id="Z1", name="Colour", category="c", question="Is blue the better colour?")
    assert detector_for(criterion.name, criterion.question) is None
    found = Counter(planted_truth(criterion, exchanges) for d in DOMAINS for exchanges in transcripts(d))
    assert found["YES"] > 0.7 * found.total() and found["NO"] >= 3
    assert planted_truth(criterion.model_copy(update={"na": "invalid"}), []) in ("YES", "NO")


def test_no_exchange_and_no_criterion_are_answered_too() -> None:
    assert json.loads(judge("judge-strict", [{"role": "user", "content": "Hello?"}], None, None)) == {"verdicts": []}
    criteria = asked_of_judges("support-agent")
    messages = assessor_messages(PROMPT, [], measure([]), criteria, {})
    assert json.loads(judge("judge-lenient", messages, FORMAT, 2))["verdicts"]


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the shared transcripts are not here")
def test_long_real_transcripts_are_judged_quickly_with_exact_quotes() -> None:
    criteria = asked_of_judges("therapy-coach")
    answers: Counter[str] = Counter()
    for file in sorted(THERAPY.glob("*.json")):
        rows = json.loads(file.read_text("utf-8"))["exchanges"]
        exchanges = [Exchange(n, r["user"] or "", r["assistant"] or "") for n, r in enumerate(rows, 1)]
        messages = assessor_messages(PROMPT, exchanges, measure(exchanges), criteria, {})
        began = time.perf_counter()
        found, _ = read_answers(judge("judge-balanced", messages, FORMAT, 1), [c.id for c in criteria])
        assert time.perf_counter() - began < 2.0
        for verdict in found.values():
            answers[verdict["answer"]] += 1
            for quote in verdict["evidence"]:
                assert quote["quote"] in getattr(exchanges[quote["exchange"] - 1], quote["role"])
    assert answers["YES"] > answers["NO"] > 30 and answers["NA"] > 0


def test_the_judges_have_the_names_of_the_documentation() -> None:
    assert tuple(judges.STRICTNESS) == ("judge-strict", "judge-balanced", "judge-lenient")
