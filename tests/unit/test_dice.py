from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.settings import Settings
from loopreview.rules.dice import read_personas, read_taxonomy, roll
from loopreview.rules.documents import DocumentError

TAXONOMY = """\
topics:
  - {name: billing, weight: 0.3, subtopics: {a refund: 0.6, charged twice: 0.4}}
  - {name: delivery, weight: 0.7, subtopics: [late, lost, broken]}
dimensions:
  what: {facts: 0.5, help: 0.5}
  how: {calm: 1}
edge_cases: {share: 0.5, cases: [another's address, a threat]}
"""
PERSONAS = """\
names: [Marta, Kwame, Dee]
age_ranges: {18-25: 0.4, 26-40: 0.6}
traits: {patient: 0.25, dry: 0.25, anxious: 0.25, proud: 0.25}
communication_styles: {direct: 0.5, rambling: 0.5}
writing_styles:
  terse: {weight: 0.5, words: [30, 80], description: short}
  casual: {weight: 0.5, words: [80, 180]}
flaws:
  - {name: vague, level: primary, weight: 0.3, description: leaves things out}
  - {name: rude, level: primary, weight: 0.2}
  - {name: late, level: secondary, weight: 0.3}
  - {name: forgetful, level: secondary, weight: 0.2}
"""
T, P = read_taxonomy(TAXONOMY, "taxonomy.yaml"), read_personas(PERSONAS, "personas.yaml")
S = Settings()
MANY = [roll(7, i, T, P, S) for i in range(1, 801)]


def share(hits: int) -> float:
    return hits / len(MANY)


@given(st.integers(0, 2**40), st.integers(1, 500))
def test_the_same_seed_and_index_give_the_same_dice(seed: int, index: int) -> None:
    assert roll(seed, index, T, P, S) == roll(seed, index, T, P, S)


@given(st.integers(0, 2**40), st.integers(1, 500), st.integers(1, 500))
def test_another_index_or_seed_gives_other_dice(seed: int, index: int, step: int) -> None:
    first = roll(seed, index, T, P, S)
    for other in (roll(seed, index + step, T, P, S), roll(seed + step, index, T, P, S)):
        assert first.persona.id != other.persona.id
        assert first.turns != other.turns or first.persona.model_dump(exclude={"id"}) != other.persona.model_dump(
            exclude={"id"}
        )


def test_dice_are_the_same_on_every_machine_and_version() -> None:
    dice = roll(7, 1, T, P, S)
    assert dice.persona.id == "p7-1"
    assert (dice.persona.name, dice.target_exchanges, [t.mode for t in dice.turns[:3]]) == (
        "Dee",
        13,
        ["tangent", "tangent", "push_back"],
    )


@given(st.integers(0, 2**40), st.integers(1, 500))
def test_dice_keep_their_limits(seed: int, index: int) -> None:
    dice = roll(seed, index, T, P, S)
    persona = dice.persona
    assert S.exchanges[0] <= dice.target_exchanges <= S.exchanges[1]
    assert len(dice.turns) == dice.target_exchanges
    assert 2 <= len(persona.traits) <= 4
    assert len(set(persona.traits)) == len(persona.traits)
    pairs = [(s.topic, s.subtopic) for s in persona.topic_seeds]
    assert 2 <= len(pairs) <= 4
    assert len(set(pairs)) == len(pairs)
    levels = [f.level for f in persona.flaws]
    assert levels in ([], ["primary"], ["primary", "secondary"], ["primary", "secondary", "secondary"])
    assert all(f.probability == S.flaw_probability[f.level] for f in persona.flaws)
    assert {flaw for turn in dice.turns for flaw in turn.flaws} <= {f.name for f in persona.flaws}
    assert persona.words == P.writing_styles[persona.writing_style].words
    assert set(dice.dimensions) == {"what", "how"}


def test_the_distributions_are_met() -> None:
    turns = [(turn, dice) for dice in MANY for turn in dice.turns]
    modes = Counter(turn.mode for turn, _ in turns)
    for mode, wanted in S.response_modes.items():
        assert modes[mode] / len(turns) == pytest.approx(wanted, abs=0.02)
    assert share(sum(not d.persona.flaws for d in MANY)) == pytest.approx(S.flawless_share, abs=0.05)
    assert share(sum(d.edge_case is not None for d in MANY)) == pytest.approx(0.5, abs=0.06)
    assert share(sum(d.persona.age_range == "18-25" for d in MANY)) == pytest.approx(0.4, abs=0.06)
    firsts = Counter(d.persona.topic_seeds[0].topic for d in MANY)
    assert share(firsts["delivery"]) == pytest.approx(0.7, abs=0.06)
    complexity = Counter(s.complexity for d in MANY for s in d.persona.topic_seeds)
    assert complexity["medium"] / sum(complexity.values()) == pytest.approx(0.5, abs=0.05)
    for level, wanted in S.flaw_probability.items():
        rolled = [f.name in turn.flaws for turn, dice in turns for f in dice.persona.flaws if f.level == level]
        assert sum(rolled) / len(rolled) == pytest.approx(wanted, abs=0.03)
    names = Counter(d.persona.name for d in MANY)
    assert min(names.values()) / len(MANY) == pytest.approx(1 / 3, abs=0.06)
    lengths = Counter(d.target_exchanges for d in MANY)
    assert set(lengths) == set(range(8, 17))


def test_changing_one_distribution_leaves_the_other_dice() -> None:
    other = read_taxonomy(TAXONOMY.replace("[late, lost, broken]", "[late, lost]").replace("how:", "where:"), "t")
    changed = Settings(response_modes={"engage": 1.0}, flawless_share=0.0)
    for index in range(1, 30):
        a, b, c = roll(7, index, T, P, S), roll(7, index, other, P, S), roll(7, index, T, P, changed)
        assert a.persona.model_dump(exclude={"topic_seeds"}) == b.persona.model_dump(exclude={"topic_seeds"})
        assert (a.turns, a.target_exchanges, a.edge_case) == (b.turns, b.target_exchanges, b.edge_case)
        assert a.persona.topic_seeds == c.persona.topic_seeds
        assert (a.dimensions, a.target_exchanges, a.edge_case) == (c.dimensions, c.target_exchanges, c.edge_case)


def test_a_longer_transcript_begins_with_the_same_turns() -> None:
    short, long = Settings(exchanges=(5, 5)), Settings(exchanges=(9, 9))
    assert roll(3, 1, T, P, long).turns[:5] == roll(3, 1, T, P, short).turns


def test_without_flaws_and_edge_cases_there_are_none() -> None:
    personas = read_personas(PERSONAS[: PERSONAS.index("flaws:")] + "flaws: []\n", "p")
    taxonomy = read_taxonomy(TAXONOMY[: TAXONOMY.index("dimensions")], "t")
    for index in range(1, 40):
        dice = roll(1, index, taxonomy, personas, S)
        assert (dice.persona.flaws, dice.edge_case, dice.dimensions) == ([], None, {})


def test_more_topics_than_there_are_gives_all_of_them() -> None:
    taxonomy = read_taxonomy("topics: [{name: a, weight: 1, subtopics: [x]}]\ntopics_per_persona: [2, 4]", "t")
    assert len(roll(1, 1, taxonomy, P, S).persona.topic_seeds) == 1


def test_what_weighs_nothing_is_never_drawn() -> None:
    taxonomy = read_taxonomy(TAXONOMY.replace("0.3,", "0,").replace("0.7,", "1,"), "t")
    assert {s.topic for i in range(1, 100) for s in roll(1, i, taxonomy, P, S).persona.topic_seeds} == {"delivery"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight: 0.7", "weight: 0.8", "line 1: the weights of the topics sum to 1.1, not 1"),
        ("charged twice: 0.4", "charged twice: 0.5",
         "line 2: the shares of the subtopics of billing sum to 1.1, not 1"),
        ("facts: 0.5", "facts: 0.6", "line 5: the weights of what sum to 1.1, not 1"),
        ("[late, lost, broken]", "[late, late]", "line 3: `subtopics` in delivery: a subtopic is here twice"),
        ("[late, lost, broken]", "[]", "line 3: `subtopics` in delivery: must hold at least 1 entries"),
        ("weight: 0.3", "wieght: 0.3", "line 2: unknown key `wieght` in billing; did you mean `weight`?"),
        ("name: delivery", "name: billing", "line 3: billing is in topics twice; name each once"),
        ("weight: 0.3", "weight: -0.3", "line 2: `weight` in billing: should be greater than or equal to 0"),
        ("edge_cases: {share: 0.5", "topics_per_persona: [4, 2]\nedge_cases: {share: 0.5",
         "line 7: `topics_per_persona`: [4, 2] must be two whole numbers from 1, the smaller first"),
        ("dimensions:", "complexity: {easy: 0.9}\ndimensions:", "line 4: the shares of complexity sum to 0.9, not 1"),
    ],
)  # fmt: skip
def test_a_wrong_taxonomy_says_what_and_where(old: str, new: str, message: str) -> None:
    assert TAXONOMY.count(old) == 1
    with pytest.raises(DocumentError) as caught:
        read_taxonomy(TAXONOMY.replace(old, new), "taxonomy.yaml")
    assert str(caught.value).startswith(f"taxonomy.yaml {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("18-25: 0.4", "18-25: 0.3", "line 2: the weights of age_ranges sum to 0.9, not 1"),
        ("dry: 0.25", "dry: 0.2", "line 3: the weights of traits sum to 0.95, not 1"),
        ("terse: {weight: 0.5", "terse: {weight: 0.4", "line 5: the weights of writing_styles sum to 0.9, not 1"),
        ("level: primary, weight: 0.2", "level: primary, weight: 0.3", "line 8: the weights of the flaws sum to 1.1"),
        ("level: primary, weight: 0.2", "level: main, weight: 0.2",
         "line 10: `level` in rude: should be 'primary' or 'secondary', not 'main'"),
        ("[80, 180]", "[180, 80]", "line 7: `words` in casual: [180, 80] must be two whole numbers"),
        ("[Marta, Kwame, Dee]", "[]", "line 1: `names`: must hold at least 1 entries"),
        ("names: [Marta, Kwame, Dee]\n", "", "line 1: `names` is missing"),
        ("name: rude", "name: vague", "line 10: vague is in flaws twice; name each once"),
    ],
)  # fmt: skip
def test_wrong_personas_say_what_and_where(old: str, new: str, message: str) -> None:
    assert PERSONAS.count(old) == 1
    with pytest.raises(DocumentError) as caught:
        read_personas(PERSONAS.replace(old, new), "personas.yaml")
    assert str(caught.value).startswith(f"personas.yaml {message}")


def test_all_wrong_sums_come_at_once() -> None:
    with pytest.raises(DocumentError) as caught:
        read_personas(PERSONAS.replace("18-25: 0.4", "18-25: 0.3").replace("dry: 0.25", "dry: 0.2"), "p")
    assert [p.line for p in caught.value.problems] == [2, 3]
