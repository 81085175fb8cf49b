"""What fails together, where, under which traits; what can be mended; how far the taxonomy is covered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests

from loopreview import analysis, review
from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Dice, Flaw, Message, Persona, TopicSeed, Transcript, Turn
from loopreview.models.verdict import Evidence, Verdict
from loopreview.rules import traits
from loopreview.rules.association import adjusted, contrast, pairs, phi, tail
from loopreview.rules.coverage import asked_for, coverage
from loopreview.rules.dice import read_personas, read_taxonomy
from loopreview.rules.failures import mending, where
from loopreview.rules.stale import imported_key
from loopreview.rules.traits import Trait, traits_of
from loopreview.store import batches, transcripts, verdicts
from loopreview.workspace import Workspace

# --- chance ---------------------------------------------------------------------------------------------------------

tables = st.tuples(*[st.integers(0, 30)] * 4)


@given(tables)
def test_chances_are_those_of_fishers_exact_test(table):
    """Against scipy."""
    a, b, c, d = table
    assert tail(a, a + b, a + c, a + b + c + d) == pytest.approx(
        fisher_exact([[a, b], [c, d]], alternative="greater").pvalue, abs=1e-9
    )
    assert contrast(a + b, a, c + d, c).p == pytest.approx(fisher_exact([[a, b], [c, d]]).pvalue, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_corrected_chances_are_those_of_benjamini_and_hochberg(chances):
    """Against statsmodels."""
    assert adjusted(chances) == pytest.approx(list(multipletests(chances, method="fdr_bh")[1]))


def test_nothing_to_correct_is_nothing():
    assert adjusted([]) == []


def test_a_pair_has_counts_lift_and_phi():
    failed = [{"A": True, "B": True}] * 3 + [{"A": False, "B": False}] * 5 + [{"A": True, "B": False}] + [{"A": True}]
    (pair,) = pairs(failed, ["A", "B"])
    assert (pair.n, pair.first_failed, pair.second_failed, pair.both) == (9, 4, 3, 3)
    assert pair.lift == pytest.approx(3 * 9 / (4 * 3))
    assert pair.phi == pytest.approx((3 * 5 - 1 * 0) / (4 * 5 * 3 * 6) ** 0.5)


def test_criteria_that_never_fail_together_are_no_pair():
    assert pairs([{"A": True, "B": False}, {"A": False, "B": True}], ["A", "B"]) == []


def test_phi_is_null_where_one_of_the_two_always_fails():
    assert phi(3, 3, 2, 3) is None
    assert phi(2, 2, 2, 4) == 1


# --- where, and whether it can be mended ----------------------------------------------------------------------------


def criterion(id: str, **fields) -> Criterion:
    return Criterion(**{"id": id, "name": id, "category": "a", "question": "?", **fields})


U, V = criterion("U"), criterion("V")
GATE = criterion("S", gate=True)
ENDINGS = criterion("Q", kind="check", check="question_endings", question="")


def test_one_criterion_in_few_exchanges_is_fixable():
    found = mending([U], {"U"}, {"U": {4, 2}}, 12)
    assert found == ("fixable", "mending U in exchanges 2, 4 of 12 is enough")


def test_one_criterion_in_many_exchanges_is_systemic():
    assert mending([U], {"U"}, {"U": {1, 2, 5, 9}}, 40).kind == "systemic", "more than three"
    assert mending([U], {"U"}, {"U": {1, 2}}, 4).kind == "systemic", "more than a third of four"
    assert mending([U], {"U"}, {"U": {1}}, 1).kind == "fixable", "one is few, however short the transcript"


def test_several_criteria_that_each_keep_it_from_passing_are_systemic():
    found = mending([U, V], set(), {"U": {2}, "V": {2}}, 12)
    assert found.kind == "systemic" and "2 criteria" in found.why


def test_one_that_alone_makes_the_difference_is_fixable_and_the_others_are_named():
    found = mending([U, V], {"V"}, {"U": {1}, "V": {3}}, 12)
    assert found.kind == "fixable" and "V in exchange 3" in found.why and "it fails U too" in found.why


def test_the_one_in_the_fewest_exchanges_is_named():
    assert "mending V in exchange 3 " in mending([U, V], {"U", "V"}, {"U": {1, 2}, "V": {3}}, 12).why


def test_a_gate_criterion_says_so():
    assert "gate" in mending([GATE], {"S"}, {"S": {3}}, 12).why


def test_a_check_over_all_replies_cannot_be_mended_in_one():
    assert mending([ENDINGS], {"Q"}, {"Q": {10, 11, 12}}, 12) == ("systemic", "Q is about all replies together")


def test_without_a_quote_nobody_knows_where():
    assert mending([U], {"U"}, {}, 12).kind == "systemic"


def test_a_rejection_that_no_criterion_explains_is_systemic():
    assert mending([], set(), {}, 12).kind == "systemic"


def test_places_are_counted_by_thirds_once_a_transcript():
    found = where([({1, 2, 9}, 9), ({8}, 9), ({5}, 5), (set(), 7), ({99}, 3)])
    assert found.transcripts == 3 and found.thirds == (1, 0, 3) and found.first == 5


def test_a_transcript_of_one_exchange_has_a_first_third():
    assert where([({1}, 1)]).thirds == (1, 0, 0)


# --- traits ---------------------------------------------------------------------------------------------------------


def imported(persona: object) -> Transcript:
    return Transcript(id="1-1", batch=1, number=1, origin="imported", persona=persona)


def rolled(number: int = 1, **fields) -> Transcript:
    persona = Persona(
        id=f"p1-{number}", name="Ada", age_range="18-25", traits=["calm", "curt"], communication_style="direct",
        writing_style="terse", words=(30, 80), topic_seeds=[TopicSeed(topic="billing", subtopic="refund")],
        flaws=[
            Flaw(name="vague", level="primary", probability=0.5), Flaw(name="rude", level="secondary", probability=0.2),
        ],
        trajectory="stable",
    )  # fmt: skip
    dice = Dice(
        seed=1, index=number, persona=persona, dimensions={"who": "new here"}, edge_case=None, target_exchanges=1,
        turns=[Turn(mode="engage", flaws=[])],
    )  # fmt: skip
    return Transcript(
        id=f"1-{number}", batch=1, number=number, origin="generated", persona=persona.model_dump(), dice=dice, **fields
    )


def test_a_rolled_persona_and_its_dice_are_read():
    assert set(traits_of(rolled())) == {
        ("age range", "18-25"), ("communication style", "direct"), ("writing style", "terse"), ("trajectory", "stable"),
        ("trait", "calm"), ("trait", "curt"), ("primary flaw", "vague"), ("secondary flaw", "rude"),
        ("topic", "billing"), ("subtopic", "billing: refund"), ("complexity", "medium"),
        ("dimension who", "new here"), ("edge case", "none"),
    }  # fmt: skip


def test_an_imported_persona_with_other_names_for_the_same_is_read():
    persona = {
        "id": "persona_7", "name": "Soo", "personality_traits": ["skeptical"], "seed": 7, "mood": "sad",
        "communication_style": "terse",
        "flaw_patterns": [{"name": "minimizing", "level": "secondary", "category": "x"}],
        "topic_seeds": [{"category": "work", "subtopic": "stress", "complexity": "hard", "description": "A long one"}],
    }  # fmt: skip
    assert set(traits_of(imported(persona))) == {
        ("trait", "skeptical"), ("communication style", "terse"), ("secondary flaw", "minimizing"), ("mood", "sad"),
        ("topic", "work"), ("subtopic", "work: stress"), ("complexity", "hard"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "persona",
    [
        None,
        {},
        {"traits": None, "flaws": "x", "topics": [[1], None, {"topic": 3}], "age": 5, "b": "x" * 500, "c": {"d": 1}},
    ],
)
def test_a_persona_of_any_other_form_has_no_traits(persona):
    assert traits_of(imported(persona)) == []


# --- coverage -------------------------------------------------------------------------------------------------------

TAXONOMY = read_taxonomy(
    """
topics:
  - {name: billing, weight: 0.75, subtopics: {refund: 0.6, twice: 0.4}}
  - {name: delivery, weight: 0.25, subtopics: [late]}
dimensions: {who: {new here: 0.5, old friend: 0.5}}
edge_cases: {share: 0.2, cases: [asks for a person, swears]}
""",
    "taxonomy.yaml",
)
PERSONAS = read_personas(
    """
names: [Ada]
age_ranges: {18-25: 1}
traits: {calm: 0.5, curt: 0.5}
communication_styles: {direct: 1}
writing_styles: {terse: {weight: 1, words: [30, 80]}}
flaws:
  - {name: vague, level: primary, weight: 0.3}
  - {name: slow, level: primary, weight: 0.1}
  - {name: rude, level: secondary, weight: 0.6}
""",
    "personas.yaml",
)


def test_what_is_asked_for_sums_to_one_in_every_part():
    wanted = asked_for(TAXONOMY, PERSONAS)
    assert {kind: round(sum(options.values()), 9) for kind, options in wanted.items()} == dict.fromkeys(wanted, 1)
    assert wanted["subtopic"]["billing: refund"] == pytest.approx(0.45)
    assert wanted["edge case"] == {"none": 0.8, "asks for a person": 0.1, "swears": 0.1}
    assert wanted["primary flaw"] == {"vague": pytest.approx(0.75), "slow": pytest.approx(0.25)}


def rows(drawn, approved, kind):
    (part,) = [part for part in coverage(asked_for(TAXONOMY, PERSONAS), drawn, approved) if part.kind == kind]
    return {row.name: row for row in part.rows}


def test_asked_drawn_and_approved_stand_side_by_side():
    drawn = [[Trait("topic", "billing")]] * 6 + [[Trait("topic", "delivery")]] * 2
    found = rows(drawn, drawn[:3], "topic")
    billing, delivery = found["billing"], found["delivery"]
    assert (billing.asked, billing.drawn, billing.drawn_share, billing.approved, billing.approved_share) == (
        0.75,
        6,
        0.75,
        3,
        1,
    )
    assert (delivery.drawn, delivery.approved, delivery.state) == (2, 0, "missing")


def test_short_and_over_are_said_only_where_chance_does_not_explain_it():
    def made(billing: int, delivery: int):
        return [[Trait("topic", "billing")]] * billing + [[Trait("topic", "delivery")]] * delivery

    few, many = rows([], made(1, 1), "topic"), rows([], made(100, 100), "topic")
    assert few["billing"].state is None and few["delivery"].state is None
    assert many["billing"].state == "short" and many["delivery"].state == "over"


def test_what_the_taxonomy_does_not_know_is_listed_apart():
    drawn = [[Trait("topic", "gardening"), Trait("mood", "sad")]]
    assert rows(drawn, [], "topic")["gardening"].asked is None
    assert rows(drawn, [], "mood")["sad"] == ("sad", None, 1, 1.0, 0, None, None, None)


def test_nothing_approved_is_not_called_missing():
    assert {row.state for row in rows([], [], "topic").values()} == {None}


# --- over a workspace -----------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(small):
    with Workspace.open(small) as opened:
        yield opened


def bring(
    workspace: Workspace, said: list[tuple[dict, dict[str, tuple[str, list[int]]]]], exchanges: int = 6
) -> list[str]:
    """Import transcripts with verdicts of one judge: (persona, criterion → (answer, exchanges quoted)) each."""
    batch = batches.create_imported(workspace.store)
    made = []
    for number, (persona, _) in enumerate(said):
        texts = [(f"Question {number} {n}", f"Reply {number} {n}.") for n in range(1, exchanges + 1)]
        messages = [
            Message(role=role, text=t) for pair in texts for role, t in zip(("user", "assistant"), pair, strict=True)
        ]
        made.append(
            Transcript(
                id="", batch=0, number=0, origin="imported", source=f"f#{number}", persona=persona, messages=messages
            )
        )
    heads = [head for head, _ in transcripts.add_imported(workspace.store, batch.id, made)]
    for number, (head, (_, answers)) in enumerate(zip(heads, said, strict=True)):
        for id, (answer, places) in answers.items():
            judged(workspace, head.id, "ann", id, answer, [(n, f"Reply {number} {n}.") for n in places])
    return [head.id for head in heads]


def judged(
    workspace: Workspace, id: str, backend: str, criterion: str, answer: str, quotes: list[tuple[int, str]]
) -> None:
    verdicts.join_panel_imported(workspace.store, id, backend)
    key = imported_key(transcripts.get(workspace.store, id).hash, workspace.rubric.criterion(criterion), backend)
    evidence = tuple(Evidence(exchange=n, quote=quote) for n, quote in quotes)
    one = Verdict(
        transcript=id,
        criterion=criterion,
        backend=backend,
        answer=answer,
        key=key,
        origin="imported",
        evidence=evidence,
    )
    verdicts.add(workspace.store, [one])


YES, NO = ("YES", []), ("NO", [2])


def test_a_planted_trait_and_a_planted_pair_are_found_and_an_unrelated_one_is_not(workspace):
    said = []
    for n in range(80):
        rude = n % 2 == 0
        failed = rude and n % 8 != 0
        persona = {"traits": ["rude" if rude else "kind"], "mood": "sad" if n // 8 % 2 else "glad"}
        said.append((persona, {"H1": NO if failed else YES, "S1": ("NO", [6]) if failed else YES}))
    bring(workspace, said)
    found = analysis.analyse(workspace)
    (pair,) = [row for row in found["together"] if (row["first"], row["second"]) == ("H1", "S1")]
    assert (pair["both"], pair["n"], pair["phi"], pair["holds"]) == (30, 80, 1, True)
    holding = {(row["kind"], row["value"], row["criterion"]) for row in found["personas"] if row["holds"]}
    assert holding == {("trait", "rude", c) for c in (None, "H1", "S1")}, "and not again as the others' lack of it"
    rude = next(row for row in found["personas"] if row["value"] == "rude" and row["criterion"] is None)
    assert (rude["n"], rude["failed"], rude["others"], rude["others_failed"]) == (40, 30, 40, 0)


def test_failures_are_placed_by_what_the_judges_quoted(workspace):
    bring(
        workspace,
        [
            ({}, {"H1": ("NO", [1, 2]), "S1": YES}),
            ({}, {"H1": ("NO", [6, 77]), "S1": YES}),
            ({}, {"H1": YES, "S1": YES}),
        ],
    )
    row = next(row for row in analysis.analyse(workspace)["criteria"] if row["criterion"] == "H1")
    assert (row["answered"], row["failed"], row["quoted"], row["thirds"], row["first"]) == (3, 2, 2, [1, 0, 1], 3.5)
    assert row["exchanges"] == {"1": 1, "2": 1, "6": 1}, "an exchange that is not there is no place"


def test_the_quotes_of_a_judge_who_said_yes_are_no_places_of_a_fault(workspace):
    (id,) = bring(workspace, [({}, {"H1": ("NO", [2]), "S1": YES})])
    judged(workspace, id, "bob", "H1", "YES", [(5, "Reply 0 5.")])
    judged(workspace, id, "bob", "S1", "YES", [])
    (row,) = analysis.analyse(workspace)["failing"]
    assert row["exchanges"] == {"H1": [2]}


def test_each_failing_transcript_is_fixable_or_systemic(workspace):
    ids = bring(
        workspace,
        [
            ({}, {"H1": ("NO", [2]), "S1": YES}),
            ({}, {"H1": ("NO", [1, 2, 3, 4]), "S1": YES}),
            ({}, {"H1": ("NO", [2]), "S1": ("NO", [2])}),
            ({}, {"H1": YES, "S1": YES}),
        ],
    )
    found = analysis.analyse(workspace)
    assert {row["transcript"]: row["kind"] for row in found["failing"]} == dict(
        zip(ids[:3], ("fixable", "systemic", "systemic"), strict=True)
    )
    assert (found["passed"], found["failed"], found["fixable"], found["systemic"]) == (1, 3, 1, 2)


def test_a_reviewers_answer_counts_before_the_judges(workspace):
    (id,) = bring(workspace, [({}, {"H1": NO, "S1": YES})])
    review.record(workspace, "answer", reviewer="ada", transcript=id, criterion="H1", answer="YES")
    found = analysis.analyse(workspace)
    assert (found["passed"], found["failed"], found["failing"]) == (1, 0, [])


def test_a_workspace_without_answers_has_nothing_to_analyse(workspace):
    found = analysis.analyse(workspace)
    assert (found["transcripts"], found["failing"], found["together"]) == (0, [], [])


def test_coverage_counts_only_approved_transcripts_that_are_complete(workspace):
    ids = bring(workspace, [({"traits": [trait]}, {"H1": YES, "S1": YES}) for trait in ("calm", "curt")])
    batch = batches.create_imported(workspace.store)
    said = [Message(role="user", text="Hello?"), Message(role="assistant", text="Hello.")]
    cut = imported({"traits": ["calm"]}).model_copy(update={"messages": said, "target_exchanges": 9})
    ((head, _),) = transcripts.add_imported(workspace.store, batch.id, [cut])
    for id in (ids[0], head.id):
        review.record(workspace, "approve", reviewer="ada", transcript=id)
    found = analysis.coverage(workspace)
    assert found["transcripts"] == {"generated": 0, "imported": 3, "approved": 1}
    part = next(part for part in found["parts"] if part["kind"] == traits.TRAIT)
    counts = {row["name"]: (row["drawn"], row["approved"]) for row in part["rows"] if row["drawn"]}
    assert counts == {"calm": (2, 1), "curt": (1, 0)}
