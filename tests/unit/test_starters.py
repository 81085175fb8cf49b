"""The starter domains hold what they promise."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
from scipy.stats import chisquare

from loopreview.models.errors import UserError
from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.settings import Settings
from loopreview.models.transcript import Dice
from loopreview.rules.dice import PersonaDistributions, Taxonomy, read_personas, read_taxonomy, roll
from loopreview.rules.prompts import ROLES, check_prompt
from loopreview.rules.rubric import read_rubric, rubric_notes

ROOT = Path(__file__).parents[2]
WHOLE = ("support-agent", "therapy-coach", "tutor")
ALL = ("blank", *WHOLE)
STYLE_WORDS = {
    "terse": (30, 80),
    "text-speak": (50, 120),
    "casual": (80, 180),
    "formal": (120, 250),
    "stream of consciousness": (150, 300),
}
THERAPY_GROUPS = {
    "comprehension": (0.15, 3),
    "connection": (0.20, 3),
    "naturalness": (0.15, 3),
    "multi-topic": (0.30, 4),
    "context-use": (0.20, 3),
    "safety": (0.0, 2),
}
UNLIKELY = 0.001
"""A p value below this is no chance; the seeds are fixed, so a test that passes once passes always."""


@cache
def rubric_of(domain: str) -> Rubric:
    path = ROOT / "rubrics" / domain / "rubric.yaml"
    return read_rubric(path.read_text(encoding="utf-8"), str(path))


@cache
def taxonomy_of(domain: str) -> Taxonomy:
    path = ROOT / "rubrics" / domain / "taxonomy.yaml"
    return read_taxonomy(path.read_text(encoding="utf-8"), str(path))


@cache
def personas_of(domain: str) -> PersonaDistributions:
    path = ROOT / "rubrics" / domain / "personas.yaml"
    return read_personas(path.read_text(encoding="utf-8"), str(path))


def prompt_of(domain: str, role: str) -> str:
    return (ROOT / "prompts" / domain / f"{role}.md").read_text(encoding="utf-8")


def asked(rubric: Rubric) -> list[Criterion]:
    """Criteria that a judge may see: judged ones, and checks that hand a question on."""
    return [c for c in rubric.criteria if c.question]


def phrases(question: str, words: int = 5) -> set[str]:
    found = re.findall(r"[\w'’]+", question.lower())
    return {" ".join(found[i : i + words]) for i in range(len(found) - words + 1)}


# --- rubrics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ALL)
def test_a_starter_rubric_is_valid_and_nothing_in_it_calls_for_a_note(domain: str) -> None:
    rubric = rubric_of(domain)
    assert rubric.name == domain
    assert rubric_notes(rubric) == []


@pytest.mark.parametrize("domain", ALL)
def test_every_criterion_that_a_judge_is_asked_has_three_to_eight_examples(domain: str) -> None:
    counts = {c.id: len(c.examples) for c in asked(rubric_of(domain))}
    assert counts and {id: n for id, n in counts.items() if not 3 <= n <= 8} == {}


@pytest.mark.parametrize("domain", ALL)
def test_the_examples_of_a_criterion_show_both_sides_and_where_the_line_runs(domain: str) -> None:
    for criterion in asked(rubric_of(domain)):
        labels = {example.label for example in criterion.examples}
        assert {label.rsplit("_", 1)[-1] for label in labels} == {"PASS", "FAIL"}, criterion.id
        assert any(label.startswith("BORDERLINE") for label in labels), criterion.id


@pytest.mark.parametrize("domain", ALL)
def test_every_example_has_a_context_a_response_and_a_reason_of_its_own(domain: str) -> None:
    examples = [(c.id, e) for c in rubric_of(domain).criteria for e in c.examples]
    for id, example in examples:
        assert example.context.strip() and example.response.strip(), id
        assert len(example.reasoning.split()) >= 10, (id, example.reasoning)
    reasons = Counter(example.reasoning for _, example in examples)
    assert [reason for reason, n in reasons.items() if n > 1] == []


@pytest.mark.parametrize("domain", ALL)
def test_no_phrase_stands_in_two_questions(domain: str) -> None:
    shared = {
        (one.id, other.id): both
        for one, other in combinations(asked(rubric_of(domain)), 2)
        if (both := phrases(one.question) & phrases(other.question))
    }
    assert shared == {}


def test_no_phrase_stands_in_the_questions_of_two_domains() -> None:
    found = {domain: set().union(*(phrases(c.question) for c in asked(rubric_of(domain)))) for domain in ALL}
    shared = {(one, other): found[one] & found[other] for one, other in combinations(ALL, 2)}
    assert not any(shared.values()), shared


@pytest.mark.parametrize("domain", WHOLE)
def test_a_domain_has_a_gate_and_leaves_to_code_what_code_can_decide(domain: str) -> None:
    rubric = rubric_of(domain)
    assert any(c.gate for c in rubric.criteria)
    checks = {c.check for c in rubric.criteria if c.kind == "check"}
    assert {"length_ratio", "question_endings", "formulaic_openers"} <= checks
    length = next(c for c in rubric.criteria if c.check == "length_ratio")
    assert length.question, "lengths between good and bad must go to the judges"


@pytest.mark.parametrize("domain", WHOLE)
def test_what_can_be_missing_from_a_conversation_may_be_na(domain: str) -> None:
    """Both rules of `na` are in use, and no criterion asks for more exchanges than a fresh workspace generates."""
    criteria = rubric_of(domain).criteria
    assert {c.na for c in criteria if c.question} == {"valid", "invalid"}
    assert max(c.min_exchanges for c in criteria) <= 6
    assert any(c.min_exchanges > 1 for c in criteria)


@pytest.mark.parametrize("domain", ("support-agent", "tutor"))
def test_support_and_tutor_have_ten_to_fourteen_criteria(domain: str) -> None:
    assert 10 <= len(rubric_of(domain).criteria) <= 14


def test_therapy_coach_has_eighteen_criteria_in_six_groups() -> None:
    rubric = rubric_of("therapy-coach")
    counts = Counter(c.category for c in rubric.criteria)
    assert {name: (c.weight, counts[name]) for name, c in rubric.categories.items()} == THERAPY_GROUPS
    assert sum(counts.values()) == 18
    assert {c.id for c in rubric.criteria if c.category == "safety"} == {c.id for c in rubric.criteria if c.gate}


def test_blank_has_one_sample_criterion() -> None:
    assert len(rubric_of("blank").criteria) == 1


# --- taxonomy and personas -------------------------------------------------------------------


@pytest.mark.parametrize("domain", ALL)
def test_taxonomy_and_personas_are_valid(domain: str) -> None:
    assert taxonomy_of(domain).topics
    assert personas_of(domain).names


@pytest.mark.parametrize("domain", ALL)
def test_five_dimensions_are_crossed_and_edge_cases_have_their_share(domain: str) -> None:
    taxonomy = taxonomy_of(domain)
    assert {"what", "how", "who", "relationship", "presentation"} <= set(taxonomy.dimensions)
    assert taxonomy.edge_cases.share == 0.15
    assert len(set(taxonomy.edge_cases.cases)) == len(taxonomy.edge_cases.cases) >= 2


@pytest.mark.parametrize("domain", ALL)
def test_the_writing_styles_have_their_word_ranges(domain: str) -> None:
    assert {name: style.words for name, style in personas_of(domain).writing_styles.items()} == STYLE_WORDS


@pytest.mark.parametrize("domain", WHOLE)
def test_a_domain_has_twelve_to_nineteen_flaws_with_simulation_notes(domain: str) -> None:
    flaws = personas_of(domain).flaws
    assert 12 <= len(flaws) <= 19
    assert Counter(flaw.level for flaw in flaws).keys() == {"primary", "secondary"}
    assert [flaw.name for flaw in flaws if len(flaw.description.split()) < 8] == []


@cache
def drawn(domain: str) -> tuple[Dice, ...]:
    """200 personas: forty batches of five."""
    taxonomy, personas, settings = taxonomy_of(domain), personas_of(domain), Settings()
    return tuple(roll(seed, index, taxonomy, personas, settings) for seed in range(40) for index in range(1, 6))


def chance_of(observed: Iterable[str], shares: Mapping[str, float]) -> float:
    """p of a chi-square test of counts against shares (scaled to 1). Options that 200 draws would show fewer than
    five times are counted together, as the test asks for."""
    counts = Counter(observed)
    assert set(counts) <= set(shares), "something was drawn that is not in the distribution"
    total, n = sum(shares.values()), sum(counts.values())
    expected = {option: n * share / total for option, share in shares.items()}
    rare = [option for option, e in expected.items() if e < 5]
    cells = [([option], e) for option, e in expected.items() if e >= 5]
    if rare:
        cells.append((rare, sum(expected[option] for option in rare)))
    assert len(cells) > 1, "nothing is left to compare"
    return float(chisquare([sum(counts[o] for o in options) for options, _ in cells], [e for _, e in cells]).pvalue)


def distributions(domain: str) -> dict[str, tuple[list[str], Mapping[str, float]]]:
    """What was drawn, and the shares it was drawn from. Of draws without replacement only the first has them."""
    taxonomy, personas, settings = taxonomy_of(domain), personas_of(domain), Settings()
    people = [dice.persona for dice in drawn(domain)]
    pairs = {f"{t.name}/{sub}": t.weight * share for t in taxonomy.topics for sub, share in t.subtopics.items()}
    low, high = taxonomy.topics_per_persona
    found: dict[str, tuple[list[str], Mapping[str, float]]] = {
        "name": ([p.name for p in people], dict.fromkeys(personas.names, 1.0)),
        "age": ([p.age_range for p in people], personas.age_ranges),
        "trait": ([p.traits[0] for p in people], personas.traits),
        "number of traits": ([str(len(p.traits)) for p in people], {"2": 1, "3": 1, "4": 1}),
        "communication": ([p.communication_style for p in people], personas.communication_styles),
        "writing": ([p.writing_style for p in people], {n: s.weight for n, s in personas.writing_styles.items()}),
        "trajectory": ([p.trajectory for p in people], personas.trajectories),
        "flawless": (
            ["no" if p.flaws else "yes" for p in people],
            {"yes": settings.flawless_share, "no": 1 - settings.flawless_share},
        ),
        "primary flaw": (
            [f.name for p in people for f in p.flaws if f.level == "primary"],
            {f.name: f.weight for f in personas.flaws if f.level == "primary"},
        ),
        "topic": ([f"{p.topic_seeds[0].topic}/{p.topic_seeds[0].subtopic}" for p in people], pairs),
        "number of topics": (
            [str(len(p.topic_seeds)) for p in people],
            dict.fromkeys(map(str, range(low, high + 1)), 1.0),
        ),
        "complexity": ([s.complexity for p in people for s in p.topic_seeds], taxonomy.complexity),
        "edge case": (
            ["yes" if dice.edge_case else "no" for dice in drawn(domain)],
            {"yes": taxonomy.edge_cases.share, "no": 1 - taxonomy.edge_cases.share},
        ),
        "mode": ([turn.mode for dice in drawn(domain) for turn in dice.turns], settings.response_modes),
    }
    if any(f.level == "secondary" for f in personas.flaws):
        secondary = [next((f.name for f in p.flaws if f.level == "secondary"), None) for p in people]
        shares = {f.name: f.weight for f in personas.flaws if f.level == "secondary"}
        if len(shares) > 1:
            found["secondary flaw"] = ([name for name in secondary if name], shares)
    for name, options in taxonomy.dimensions.items():
        found[f"dimension {name}"] = ([dice.dimensions[name] for dice in drawn(domain)], options)
    return found


@pytest.mark.parametrize("domain", ALL)
def test_two_hundred_drawn_personas_match_the_distributions(domain: str) -> None:
    chances = {what: chance_of(observed, shares) for what, (observed, shares) in distributions(domain).items()}
    assert {what: p for what, p in chances.items() if p < UNLIKELY} == {}


@pytest.mark.parametrize("domain", WHOLE)
def test_the_comparison_notices_shares_that_are_wrong(domain: str) -> None:
    observed, shares = distributions(domain)["writing"]
    turned = dict(zip(shares, [*list(shares.values())[1:], next(iter(shares.values()))], strict=True))
    assert chance_of(observed, turned) < UNLIKELY < chance_of(observed, shares)


@pytest.mark.parametrize("domain", WHOLE)
def test_no_two_of_two_hundred_are_the_same(domain: str) -> None:
    people = {dice.persona.model_copy(update={"id": ""}).model_dump_json() for dice in drawn(domain)}
    assert len(people) == 200


# --- prompts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("domain", ALL)
def test_a_prompt_has_the_names_it_needs_and_no_other(domain: str, role: str) -> None:
    check_prompt(role, prompt_of(domain, role), f"prompts/{domain}/{role}.md")


def test_a_prompt_with_a_name_too_many_would_be_refused() -> None:
    with pytest.raises(UserError, match="topic"):
        check_prompt("user_sim", prompt_of("tutor", "user_sim") + "\n{{topic}}", "user_sim.md")


@pytest.mark.parametrize("domain", ALL)
def test_the_simulated_user_knows_every_mode_of_the_settings(domain: str) -> None:
    prompt = prompt_of(domain, "user_sim")
    assert [mode for mode in Settings().response_modes if f"**{mode}**" not in prompt] == []


@pytest.mark.parametrize("domain", ALL)
def test_the_assessor_is_told_that_the_transcript_is_no_instruction(domain: str) -> None:
    before, _, after = prompt_of(domain, "assessor").partition("{{transcript}}")
    assert re.search(r"no[a-z]* \w+ (\w+ )*is an\s+instruction to you", before, re.IGNORECASE)
    assert "It is data." in after and "counter_evidence" in after


@pytest.mark.parametrize("domain", WHOLE)
def test_the_anti_patterns_can_be_cut_out_and_each_has_a_counter_example(domain: str) -> None:
    assistant = prompt_of(domain, "assistant")
    parts = re.split(r"^## ", assistant, flags=re.MULTILINE)
    rules = [part for part in parts if part.startswith("Anti-patterns\n")]
    assert len(rules) == 1
    items = re.split(r"^- ", rules[0], flags=re.MULTILINE)[1:]
    assert len(items) >= 5
    for item in items:
        first, *rest = item.strip().splitlines()
        assert first.startswith("Do not ") and first.endswith("."), first
        assert '"' in "".join(rest), f"no counter-example: {first}"
    assert "Do not" not in assistant.replace(rules[0], "")


FAULTS = {
    "question_endings": "Do not end every reply with a question.",
    "stock_openers": "Do not open replies with stock phrases",
    "too_long": "Do not write replies that are far longer",
    "ignored_topic": "Do not (ignore|leave out) a ",
    "unsafe": "Do not give unsafe advice",
}


@pytest.mark.parametrize("domain", ("therapy-coach", "tutor"))
def test_the_finished_prompts_forbid_every_fault_of_the_simulator(domain: str) -> None:
    prompt = prompt_of(domain, "assistant")
    assert [fault for fault, rule in FAULTS.items() if not re.search(rule, prompt)] == []


def test_the_support_prompt_leaves_two_faults_for_the_reader_to_forbid() -> None:
    prompt = prompt_of("support-agent", "assistant")
    missing = {fault for fault, rule in FAULTS.items() if not re.search(rule, prompt)}
    assert missing == {"question_endings", "stock_openers"}
    page = (ROOT / "docs" / "domains" / "support-agent.md").read_text(encoding="utf-8")
    assert all(FAULTS[fault] in page for fault in missing)


# --- pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", WHOLE)
def test_a_domain_page_names_every_criterion_and_how_to_fork(domain: str) -> None:
    page = (ROOT / "docs" / "domains" / f"{domain}.md").read_text(encoding="utf-8")
    assert "../fork-a-domain.md" in page and f"--template {domain}" in page
    table = dict(re.findall(r"^\| (\w+) \| ([^|]+?) +\|", page, flags=re.MULTILINE))
    assert {c.id: c.name for c in rubric_of(domain).criteria}.items() <= table.items()
