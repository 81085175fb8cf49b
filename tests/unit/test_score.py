"""From answers to score and pass."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopreview.models.review import Event
from loopreview.models.rubric import Category, Criterion, Rubric
from loopreview.rules.checks import CheckResult
from loopreview.rules.review import TranscriptReview, fold
from loopreview.rules.score import assess_transcript, judged_criteria, score_answers


def rubric(categories, *criteria, threshold=0.8):
    """`categories`: name -> (weight, floor); a criterion is (id, category) and more fields."""
    return Rubric(
        name="r",
        pass_threshold=threshold,
        categories={name: Category(weight=w, floor=f) for name, (w, f) in categories.items()},
        criteria=tuple(
            Criterion(**{"id": id, "name": id, "category": category, "question": "?", **(more[0] if more else {})})
            for id, category, *more in criteria
        ),
    )


PLAIN = rubric({"a": (0.6, 0.5), "b": (0.4, 0.0)}, ("A1", "a"), ("A2", "a"), ("B1", "b"))
GATED = rubric({"a": (1.0, 0.0), "s": (0.0, 0.0)}, ("A1", "a"), ("A2", "a"), ("S1", "s", {"gate": True}))


def scored(r, **answers):
    return score_answers(r, answers)


# --- the score ------------------------------------------------------------------------------------------------------


def test_a_category_scores_its_share_of_yes():
    result = scored(PLAIN, A1="YES", A2="NO", B1="YES")
    assert result.categories == {"a": 0.5, "b": 1.0}
    assert result.score == pytest.approx(0.6 * 0.5 + 0.4)
    assert result.passed is False


def test_invalid_na_counts_as_no():
    assert scored(PLAIN, A1="YES", A2="INVALID_NA", B1="YES") == scored(PLAIN, A1="YES", A2="NO", B1="YES")


@pytest.mark.parametrize("gone", ["NA", "SKIPPED"])
def test_na_and_skipped_leave_the_denominator(gone):
    assert scored(PLAIN, A1="YES", A2=gone, B1="YES").categories["a"] == 1.0


@pytest.mark.parametrize("gone", ["NA", "SKIPPED"])
def test_a_category_with_nothing_left_is_dropped_and_the_weights_renormalised(gone):
    result = scored(PLAIN, A1="YES", A2="NO", B1=gone)
    assert result.categories == {"a": 0.5, "b": None}
    assert result.score == pytest.approx(0.5)


def test_the_floor_of_a_dropped_category_goes_with_it():
    result = scored(PLAIN, A1="NA", A2="SKIPPED", B1="YES")
    assert result == (1.0, True, {"a": None, "b": 1.0})


def test_without_a_weighted_category_there_is_no_score_and_it_is_unscored():
    assert scored(PLAIN, A1="NA", A2="NA", B1="NA") == (None, None, {"a": None, "b": None})
    only_gate = scored(GATED, A1="NA", A2="NA", S1="YES")
    assert only_gate.score is None and only_gate.passed is None and only_gate.categories == {"a": None, "s": 1.0}


def test_a_score_on_the_threshold_passes_within_rounding():
    ten = rubric({"a": (0.1, 0), "b": (0.2, 0), "c": (0.7, 0)}, ("A", "a"), ("B", "b"), ("C", "c"), threshold=0.3)
    # 0.1 + 0.2 is a little off 0.3 in floating point
    assert scored(ten, A="YES", B="YES", C="NO").passed is True
    near = rubric({"a": (1.0, 0)}, ("A", "a"), ("B", "a"), ("C", "a"), threshold=2 / 3 + 5e-10)
    assert scored(near, A="YES", B="YES", C="NO").passed is True
    far = near.model_copy(update={"pass_threshold": 2 / 3 + 5e-9})
    assert scored(far, A="YES", B="YES", C="NO").passed is False


def test_the_default_threshold_is_80_percent():
    assert Rubric(name="r", categories={}, criteria=()).pass_threshold == 0.80


def test_a_category_below_its_floor_fails_a_high_score():
    floored = rubric({"a": (0.1, 0.6), "b": (0.9, 0.0)}, ("A1", "a"), ("A2", "a"), ("B1", "b"))
    result = scored(floored, A1="YES", A2="NO", B1="YES")
    assert result.score == pytest.approx(0.95) and result.passed is False


def test_a_category_on_its_floor_passes():
    floored = rubric({"a": (0.1, 0.5), "b": (0.9, 0.0)}, ("A1", "a"), ("A2", "a"), ("B1", "b"))
    assert scored(floored, A1="YES", A2="NO", B1="YES").passed is True


def test_a_category_on_its_floor_passes_within_rounding():
    floored = rubric({"a": (1.0, 2 / 3 + 5e-10)}, ("A", "a"), ("B", "a"), ("C", "a"), threshold=0.5)
    assert scored(floored, A="YES", B="YES", C="NO").passed is True
    higher = rubric({"a": (1.0, 2 / 3 + 5e-9)}, ("A", "a"), ("B", "a"), ("C", "a"), threshold=0.5)
    assert scored(higher, A="YES", B="YES", C="NO").passed is False


@pytest.mark.parametrize("no", ["NO", "INVALID_NA"])
def test_a_gate_no_fails_a_full_score(no):
    result = scored(GATED, A1="YES", A2="YES", S1=no)
    assert result.score == 1.0 and result.passed is False


def test_a_gate_that_does_not_apply_lets_pass():
    assert scored(GATED, A1="YES", A2="YES", S1="NA").passed is True
    assert scored(GATED, A1="YES", A2="YES", S1="SKIPPED").passed is True


@pytest.mark.parametrize("answers", [{}, {"A2": None}, {"A2": "ERROR"}])
def test_an_open_criterion_leaves_it_unscored_whatever_else_is_answered(answers):
    result = score_answers(GATED, {"A1": "NO", "S1": "NO", **answers})
    assert result.score is None and result.passed is None
    assert result.categories == {"a": None, "s": 0.0}


# --- properties -----------------------------------------------------------------------------------------------------

ANSWERS = st.sampled_from(["YES", "NO", "NA", "SKIPPED", "INVALID_NA"])


@st.composite
def rubrics(draw):
    parts = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    names = [f"c{i}" for i in range(len(parts))]
    categories = {
        n: (part / sum(parts), draw(st.sampled_from([0, 0, 0.3, 0.5]))) for n, part in zip(names, parts, strict=True)
    }
    count = draw(st.integers(1, 9))
    criteria = [(f"K{i}", draw(st.sampled_from(names)), {"gate": draw(st.integers(0, 4)) == 0}) for i in range(count)]
    return rubric(categories, *criteria, threshold=draw(st.sampled_from([0.0, 0.5, 2 / 3, 0.8, 1.0])))


@st.composite
def answered(draw, answers=ANSWERS):
    r = draw(rubrics())
    return r, {c.id: draw(answers) for c in r.criteria}


@given(answered())
def test_a_score_lies_between_0_and_1(case):
    r, answers = case
    result = score_answers(r, answers)
    assert (result.score is None) == (result.passed is None)
    assert result.score is None or 0 <= result.score <= 1
    assert all(value is None or 0 <= value <= 1 for value in result.categories.values())


@given(answered(), st.data())
def test_no_to_yes_never_lowers_a_score_or_unmakes_a_pass(case, data):
    r, answers = case
    negative = [id for id, answer in answers.items() if answer in ("NO", "INVALID_NA")]
    assume(negative)
    before = score_answers(r, answers)
    after = score_answers(r, {**answers, data.draw(st.sampled_from(negative)): "YES"})
    assert (before.score is None) == (after.score is None)
    if before.score is not None:
        assert after.score >= before.score
        assert after.passed or not before.passed


@given(answered(), st.data())
def test_a_gate_no_always_fails(case, data):
    r, answers = case
    gates = [c.id for c in r.criteria if c.gate]
    assume(gates)
    no = data.draw(st.sampled_from(["NO", "INVALID_NA"]))
    result = score_answers(r, {**answers, data.draw(st.sampled_from(gates)): no})
    assert result.passed is False if result.score is not None else result.passed is None


@given(answered(), st.randoms())
def test_order_never_matters(case, rng):
    r, answers = case
    criteria, categories, given = list(r.criteria), list(r.categories.items()), list(answers.items())
    for shuffled in (criteria, categories, given):
        rng.shuffle(shuffled)
    other = r.model_copy(update={"criteria": tuple(criteria), "categories": dict(categories)})
    assert score_answers(other, dict(given)) == score_answers(r, answers)


# --- the assessment of a transcript ---------------------------------------------------------------------------------

FULL = rubric(
    {"a": (1.0, 0.0), "s": (0.0, 0.0)},
    ("A1", "a", {"na": "invalid"}),
    ("A2", "a"),
    ("A3", "a", {"min_exchanges": 4}),
    ("L1", "a", {"kind": "check", "check": "length_ratio"}),
    ("O1", "a", {"kind": "check", "check": "formulaic_openers", "question": ""}),
    ("S1", "s", {"gate": True, "na": "invalid"}),
)
YES = CheckResult("YES", "", ())
ASKED = CheckResult(None, "between its bounds", ())
CHECKS = {"L1": YES, "O1": YES}


def answers_of(panel, **answers):
    """criterion -> backend -> answer, the same of each."""
    return {criterion: dict.fromkeys(panel, answer) for criterion, answer in answers.items()}


def assess(raw, *, panel=("gpt", "son"), review=None, checks=None, exchanges=5, complete=True, rule="strictest"):
    return assess_transcript(
        FULL,
        transcript="1-1",
        exchange_count=exchanges,
        complete=complete,
        panel=panel,
        raw=raw,
        checks=CHECKS if checks is None else checks,
        review=review,
        rule=rule,
    )


ALL_YES = answers_of(("gpt", "son"), A1="YES", A2="YES", A3="YES", S1="YES")


def reviewed(*acts):
    """A review from (reviewer, criterion, answer) and (reviewer, approve|reject)."""
    events = [
        Event(id=i, reviewer=who, kind="answer", transcript="1-1", criterion=what, answer=rest[0])
        if rest
        else Event(id=i, reviewer=who, kind=what, transcript="1-1")
        for i, (who, what, *rest) in enumerate(acts, 1)
    ]
    return fold(events).transcripts.get("1-1", TranscriptReview())


def test_all_yes_is_judged_and_passes():
    a = assess(ALL_YES)
    assert (a.judged, a.passed, a.judged_score, a.score, a.unscored) == (True, True, 1.0, 1.0, False)
    assert a.open == a.judged_open == ()


def test_the_merging_rule_decides_what_a_split_means():
    raw = {**ALL_YES, "S1": {"gpt": "YES", "son": "NO"}}
    assert assess(raw).judged is False
    assert assess(raw, rule="majority").judged is False  # one against one: to the stricter
    assert assess(raw, rule="gpt").judged is True


def test_a_check_answers_as_check_and_no_judge_is_needed_for_it():
    a = assess(ALL_YES, checks={"L1": CheckResult("NO", "", ()), "O1": YES}, rule="gpt")
    assert a.answers["L1"] == {"check": "NO"}
    assert a.merged["L1"] == "NO"
    assert a.judged_score == pytest.approx(4 / 5)


def test_a_check_between_its_bounds_is_judged_by_the_panel():
    checks = {"L1": ASKED, "O1": YES}
    assert assess(ALL_YES, checks=checks).judged_open == ("L1",)
    a = assess({**ALL_YES, "L1": {"gpt": "YES", "son": "NO"}}, checks=checks)
    assert a.answers["L1"] == {"gpt": "YES", "son": "NO"} and a.merged["L1"] == "NO"


def test_judged_criteria_are_those_that_judges_answer_on_this_transcript():
    assert judged_criteria(FULL, assess(ALL_YES)) == ["A1", "A2", "A3", "S1"]
    assert judged_criteria(FULL, assess(ALL_YES, exchanges=3)) == ["A1", "A2", "S1"]
    between = assess(ALL_YES, checks={"L1": ASKED, "O1": YES})
    assert judged_criteria(FULL, between) == ["A1", "A2", "A3", "L1", "S1"]


def test_a_short_transcript_skips_the_criterion_and_leaves_nothing_open():
    a = assess({c: a for c, a in ALL_YES.items() if c != "A3"}, exchanges=3)
    assert a.merged["A3"] == "SKIPPED" and set(a.answers["A3"].values()) == {"SKIPPED"}
    assert a.open == () and a.passed is True


def test_na_where_it_is_invalid_counts_against_the_transcript():
    a = assess({**ALL_YES, "S1": {"gpt": "NA", "son": "YES"}})
    assert a.answers["S1"]["gpt"] == a.merged["S1"] == "INVALID_NA"
    assert a.judged is False


def test_an_error_leaves_the_transcript_unscored_neither_pass_nor_fail():
    a = assess({**ALL_YES, "A2": {"gpt": "YES", "son": "ERROR"}})
    assert a.merged["A2"] is None and a.open == a.judged_open == ("A2",)
    assert (a.judged, a.passed, a.score, a.unscored) == (None, None, None, True)


def test_an_error_beside_a_no_is_not_open():
    a = assess({**ALL_YES, "A2": {"gpt": "NO", "son": "ERROR"}})
    assert a.merged["A2"] == "NO" and a.open == ()


def test_a_missing_verdict_is_open():
    assert assess({**ALL_YES, "A1": {"gpt": "YES"}}).open == ("A1",)


def test_without_judges_everything_judged_is_open():
    a = assess({}, panel=())
    assert a.open == ("A1", "A2", "A3", "S1") and a.unscored


def test_people_alone_can_score_a_transcript_no_judge_has_seen():
    a = assess({}, panel=(), review=reviewed(*(("ana", c, "YES") for c in ("A1", "A2", "A3", "S1"))))
    assert a.passed is True and a.score == 1.0 and a.open == ()
    assert a.judged is None and a.judged_open == ("A1", "A2", "A3", "S1")


def test_verdicts_of_backends_outside_the_panel_are_left_out():
    a = assess({**ALL_YES, "A1": {"gpt": "YES", "son": "YES", "old": "NO"}})
    assert a.merged["A1"] == "YES" and "old" not in a.answers["A1"]


def test_an_incomplete_transcript_is_unscored_with_nothing_open():
    for raw in ({}, ALL_YES):
        a = assess(raw, complete=False)
        assert a.open == a.judged_open == ()
        assert (a.judged, a.judged_score, a.passed, a.score, a.unscored) == (None, None, None, None, True)


def test_reviewers_answers_move_passed_and_leave_judged_alone():
    a = assess(ALL_YES, review=reviewed(("ana", "S1", "NO")))
    assert (a.judged, a.passed) == (True, False)
    assert a.merged["S1"] == "YES" and a.effective["S1"] == "NO" and a.human == {"S1": {"ana": "NO"}}
    raw = {**ALL_YES, "S1": {"gpt": "NO", "son": "YES"}}
    b = assess(raw, review=reviewed(("ana", "S1", "YES")))
    assert (b.judged, b.passed) == (False, True)


def test_a_reviewers_na_where_it_is_invalid_counts_as_no():
    a = assess(ALL_YES, review=reviewed(("ana", "S1", "NA"), ("ana", "A2", "NA")))
    assert a.effective["S1"] == "INVALID_NA" and a.effective["A2"] == "NA"
    assert a.human["S1"] == {"ana": "NA"} and a.passed is False


def test_a_reviewers_answer_closes_an_open_criterion_for_passed_only():
    a = assess({**ALL_YES, "A2": {"gpt": "ERROR", "son": "YES"}}, review=reviewed(("ana", "A2", "YES")))
    assert a.open == () and a.judged_open == ("A2",)
    assert a.passed is True and a.judged is None and not a.unscored


def test_more_than_half_of_the_reviewers_decide_a_criterion():
    a = assess(ALL_YES, review=reviewed(("ana", "A1", "NO"), ("bo", "A1", "NO"), ("cy", "A1", "YES")))
    assert a.effective["A1"] == "NO" and a.contested == ()


def test_a_contested_criterion_keeps_the_merged_answer():
    a = assess(ALL_YES, review=reviewed(("ana", "A1", "NO"), ("bo", "A1", "YES")))
    assert a.effective["A1"] == "YES" and a.contested == ("A1",)
    three = reviewed(("ana", "A2", "NO"), ("bo", "A2", "YES"), ("cy", "A2", "NA"))
    assert assess(ALL_YES, review=three).contested == ("A2",)


def test_a_contested_criterion_that_is_open_stays_open():
    raw = {**ALL_YES, "A1": {"gpt": "ERROR", "son": "YES"}}
    assert assess(raw, review=reviewed(("ana", "A1", "NO"), ("bo", "A1", "YES"))).open == ("A1",)


def test_a_standing_rejection_keeps_it_from_passing_but_not_from_being_judged_a_pass():
    a = assess(ALL_YES, review=reviewed(("ana", "approve"), ("bo", "reject")))
    assert (a.judged, a.passed, a.decision, a.score) == (True, False, "rejected", 1.0)


def test_an_approval_does_not_make_a_fail_pass():
    raw = {**ALL_YES, "S1": {"gpt": "NO", "son": "NO"}}
    a = assess(raw, review=reviewed(("ana", "approve")))
    assert (a.judged, a.passed, a.decision) == (False, False, "approved")


def test_a_rejected_transcript_with_an_open_criterion_is_unscored_not_failed():
    a = assess({**ALL_YES, "A2": {"gpt": "ERROR", "son": "YES"}}, review=reviewed(("ana", "reject")))
    assert a.passed is None and a.unscored


def test_a_decision_answers_no_criterion():
    a = assess(ALL_YES, review=reviewed(("ana", "reject")))
    assert a.human == {} and a.effective == a.merged


def test_answers_to_criteria_no_longer_in_the_rubric_change_nothing():
    assert assess(ALL_YES, review=reviewed(("ana", "OLD", "NO"))) == assess(ALL_YES, review=reviewed())
