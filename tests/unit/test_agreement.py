"""Judges against people, people among themselves, the corrected pass rate, the panel ceiling."""

from collections import Counter
from random import Random
from time import perf_counter

import numpy
import pytest
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from loopreview.models.review import Event
from loopreview.models.rubric import Category, Criterion, Example, Rubric
from loopreview.rules.agreement import (
    Judged,
    corrected_pass_rate,
    human_rows,
    judge_rows,
    panel_ceiling,
    true_positive_rates,
    weak_criteria,
)
from loopreview.rules.checks import CheckResult
from loopreview.rules.review import TranscriptReview, fold
from loopreview.rules.score import assess_transcript

RUBRIC = Rubric(
    name="r",
    categories={"a": Category(weight=1.0), "s": Category(weight=0.0)},
    criteria=(
        Criterion(id="A1", name="x", category="a", question="Is it?"),
        Criterion(id="A2", name="x", category="a", question="Does it?", na="invalid"),
        Criterion(id="A3", name="x", category="a", question="Later?", min_exchanges=9),
        Criterion(id="K1", name="x", category="a", kind="check", check="artifacts"),
    ),
)
PANEL = ("gpt", "son")


def says(who, *, start=1, origin="typed", blind=False, versions=None, rubric_version="r1", **answers):
    """Answer events of one reviewer, to the present wording unless `versions` says otherwise."""
    return [
        Event(
            id=start + i,
            reviewer=who,
            kind="answer",
            transcript="t",
            criterion=criterion,
            answer=value,
            origin=origin,
            blind=blind,
            rubric_version=rubric_version,
            criterion_version=(versions or {}).get(criterion, RUBRIC.criterion(criterion).version),
        )
        for i, (criterion, value) in enumerate(answers.items())
    ]


def decides(who, kind, id=90):
    return [Event(id=id, reviewer=who, kind=kind, transcript="t")]


def judged(
    events=(), *, id="t", exchanges=5, panel=PANEL, version="v1", examples=(), check="YES", rubric=RUBRIC, **raw
):
    """A transcript; `raw`: criterion -> one answer for all judges or one each; YES where not told."""
    answers = {}
    for criterion in ("A1", "A2", "A3"):
        given = raw.get(criterion, "YES")
        each = dict.fromkeys(panel, given) if isinstance(given, str) else dict(zip(panel, given, strict=True))
        answers[criterion] = {backend: answer for backend, answer in each.items() if answer is not None}
    review = fold(events).transcripts.get("t", TranscriptReview())
    assessment = assess_transcript(
        rubric,
        transcript=id,
        exchange_count=exchanges,
        complete=True,
        panel=panel,
        raw=answers,
        checks={"K1": CheckResult(check, "", ())},
        review=review,
        rule="strictest",
    )
    return Judged(id, assessment, review, None, version, frozenset(examples))


def cells(*items, population="fresh", rubric=RUBRIC, **more):
    """(criterion, backend) -> (tp, fp, tn, fn, na) of one population."""
    rows = judge_rows(rubric, items, with_intervals=False, **more)
    return {(r.criterion, r.backend): (r.tp, r.fp, r.tn, r.fn, r.na) for r in rows if r.population == population}


TP, FP, TN, FN, NA = ((*[0] * i, 1, *[0] * (4 - i)) for i in range(5))
BOTH = says("ana", A1="YES", A2="YES")


# --- fresh: who counts ----------------------------------------------------------------------------------------------


def test_answers_count_where_the_reviewer_answered_every_judged_criterion():
    assert cells(judged(BOTH)) == {(c, b): TP for c in ("A1", "A2") for b in ("gpt", "son", "merged")}


def test_corrections_alone_yield_no_fresh_row_nor_a_seen_one():
    items = [judged(says("ana", A1="NO"), id=f"t{i}") for i in range(30)]
    assert judge_rows(RUBRIC, items) == []


def test_a_decision_does_not_make_corrections_count():
    items = [judged([*says("ana", A1="NO"), *decides("ana", "reject")], id=f"t{i}") for i in range(30)]
    assert cells(*items) == {} and cells(*items, population="seen") == {}


def test_rates_are_not_spoilt_by_the_corrections_on_other_transcripts():
    # A judge that is right in 17 of 20; on 100 more transcripts only its mistakes were corrected.
    rng = Random(1)
    truth = [("YES", "NO")[i % 2] for i in range(120)]
    said = [t if rng.random() < 0.85 else ("NO" if t == "YES" else "YES") for t in truth]
    full = [judged(says("ana", A1=truth[i], A2="YES"), id=f"f{i}", A1=said[i]) for i in range(20)]
    wrong = [i for i in range(20, 120) if truth[i] != said[i]]
    corrected = [judged(says("ana", A1=truth[i]), id=f"c{i}", A1=said[i]) for i in wrong]
    assert len(corrected) > 5
    assert judge_rows(RUBRIC, [*full, *corrected]) == judge_rows(RUBRIC, full)


def test_skipped_criteria_and_checks_need_no_answer():
    assert ("A1", "gpt") in cells(judged(BOTH, exchanges=5))  # A3 skipped, K1 a check
    assert cells(judged(BOTH, exchanges=9)) == {}  # A3 is judged now


def test_a_criterion_on_which_judges_failed_must_be_answered_too():
    assert cells(judged(says("ana", A1="YES"), A2="ERROR")) == {}
    assert cells(judged(says("ana", A1="YES"), A2=(None, None))) == {}
    assert cells(judged(BOTH, A2="ERROR")) == {("A1", b): TP for b in ("gpt", "son", "merged")}


def test_a_check_that_went_to_the_judges_is_a_judged_criterion():
    length = Criterion(id="K1", name="x", category="a", kind="check", check="length_ratio", question="Too long?")
    rubric = RUBRIC.model_copy(update={"criteria": (*RUBRIC.criteria[:3], length)})
    assert cells(judged(BOTH, rubric=rubric, check=None), rubric=rubric) == {}
    assert cells(judged(BOTH, rubric=rubric, check="YES"), rubric=rubric) != {}


def test_answering_in_full_is_each_reviewers_own_doing():
    events = [*BOTH, *says("bo", start=10, A1="NO")]
    assert cells(judged(events))["A1", "gpt"] == TP


def test_a_criterion_answered_by_two_halves_of_a_team_is_not_answered_in_full():
    assert cells(judged([*says("ana", A1="NO"), *says("bo", start=10, A2="NO")])) == {}


def test_an_undone_answer_is_no_answer():
    undo = Event(id=50, reviewer="ana", kind="undo", transcript="t", target=2)
    assert cells(judged([*BOTH, undo])) == {}


def test_answers_to_pure_checks_are_flags_and_no_part_of_a_rate():
    found = cells(judged([*BOTH, *says("ana", start=10, K1="NO")]))
    assert not any(criterion == "K1" for criterion, _ in found)


def test_imported_labels_count_without_the_others():
    assert cells(judged(says("ana", origin="imported", A1="YES"))) == {("A1", b): TP for b in ("gpt", "son", "merged")}
    assert cells(judged(says("ana", origin="imported", K1="NO")))["K1", "check"] == FP


def test_an_imported_label_is_one_of_the_answers_of_its_reviewer():
    events = [*says("ana", A1="YES"), *says("ana", start=10, origin="imported", A2="NO")]
    assert set(cells(judged(events))) == {(c, b) for c in ("A1", "A2") for b in ("gpt", "son", "merged")}


# --- fresh or seen --------------------------------------------------------------------------------------------------


def test_an_answer_to_an_earlier_wording_is_seen():
    events = says("ana", versions={"A1": "older"}, A1="YES", A2="YES")
    assert set(cells(judged(events))) == {("A2", b) for b in ("gpt", "son", "merged")}
    assert set(cells(judged(events), population="seen")) == {("A1", b) for b in ("gpt", "son", "merged")}


def test_an_imported_label_of_an_earlier_or_unknown_wording_is_seen():
    for version in ("older", None):
        item = judged(says("ana", origin="imported", versions={"A1": version}, A1="NO"))
        assert cells(item) == {} and cells(item, population="seen")["A1", "merged"] == FP


def test_rewording_moves_labels_from_fresh_to_seen_and_back():
    reworded = RUBRIC.criteria[0].model_copy(update={"question": "Is it really?"})
    rubric = RUBRIC.model_copy(update={"criteria": (reworded, *RUBRIC.criteria[1:])})
    assert ("A1", "gpt") in cells(judged(BOTH), population="seen", rubric=rubric)
    assert ("A2", "gpt") in cells(judged(BOTH), rubric=rubric)
    assert ("A1", "gpt") in cells(judged(BOTH), rubric=RUBRIC)


def test_adding_an_example_is_no_rewording():
    example = Example(label="PASS", response="r", reasoning="w")
    taught = RUBRIC.criteria[0].model_copy(update={"examples": (example,)})
    rubric = RUBRIC.model_copy(update={"criteria": (taught, *RUBRIC.criteria[1:])})
    assert cells(judged(BOTH), rubric=rubric) == cells(judged(BOTH))


def test_a_transcript_that_gave_a_criterion_an_example_is_seen_for_that_criterion():
    item = judged(BOTH, examples={"A1"})
    assert {c for c, _ in cells(item)} == {"A2"}
    assert {c for c, _ in cells(item, population="seen")} == {"A1"}
    imported = judged(says("ana", origin="imported", A1="YES"), examples={"A1"})
    assert cells(imported) == {} and ("A1", "son") in cells(imported, population="seen")


def test_a_correction_is_not_even_seen():
    item = judged(says("ana", versions={"A1": "older"}, A1="NO"), examples={"A1"})
    assert judge_rows(RUBRIC, [item]) == []


def test_a_criterion_added_since_does_not_undo_a_full_answer_nor_come_in_by_it():
    new = Criterion(id="N1", name="x", category="a", question="New?")
    rubric = RUBRIC.model_copy(update={"criteria": (*RUBRIC.criteria, new)})
    asked_then = {"r1": {"A1", "A2", "A3"}}
    item = judged(BOTH, rubric=rubric)
    assert cells(item, rubric=rubric) == {}
    assert {c for c, _ in cells(item, rubric=rubric, earlier=asked_then)} == {"A1", "A2"}
    later = Event(
        id=60, reviewer="ana", kind="answer", transcript="t", criterion="N1", answer="NO", rubric_version="r2",
        criterion_version=new.version,
    )  # fmt: skip
    corrected = judged([*says("ana", A1="YES", A2="YES"), later], rubric=rubric)
    then = {**asked_then, "r2": {"A1", "A2", "A3", "N1"}}
    assert {c for c, _ in cells(corrected, rubric=rubric, earlier=then)} == {"A1", "A2"}


# --- implied --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_untouched_criteria_of_a_decided_transcript_are_taken_as_agreed(decision):
    found = cells(judged(decides("ana", decision), A2="NO"), population="implied")
    assert found == {("A1", b): TP for b in ("gpt", "son", "merged")} | {
        ("A2", b): TN for b in ("gpt", "son", "merged")
    }


def test_nothing_is_implied_without_a_decision():
    assert judge_rows(RUBRIC, [judged()]) == []


def test_an_answered_criterion_is_not_implied_whoever_answered_it():
    item = judged([*says("bo", A1="NO"), *decides("ana", "approve")])
    assert {c for c, _ in cells(item, population="implied")} == {"A2"}


def test_what_is_implied_is_the_merged_answer():
    item = judged(decides("ana", "approve"), A1=("YES", "NO"))
    found = cells(item, population="implied")
    assert (found["A1", "gpt"], found["A1", "son"], found["A1", "merged"]) == (FP, TN, TN)


def test_open_skipped_and_checked_criteria_are_not_implied():
    item = judged(decides("ana", "approve"), A1=("YES", "ERROR"))
    assert {c for c, _ in cells(item, population="implied")} == {"A2"}


def test_implied_agreement_never_enters_the_other_populations():
    item = judged(decides("ana", "approve"))
    assert cells(item) == {} and cells(item, population="seen") == {}


# --- pairs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "judge, person, cell",
    [("YES", "YES", TP), ("YES", "NO", FP), ("NO", "NO", TN), ("NO", "YES", FN),
     ("NA", "YES", NA), ("NA", "NO", NA), ("NA", "NA", NA), ("YES", "NA", NA), ("NO", "NA", NA)],
)  # fmt: skip
def test_positive_is_yes_the_person_is_the_truth_and_na_counts_apart(judge, person, cell):
    assert cells(judged(says("ana", A1=person, A2="YES"), A1=judge))["A1", "gpt"] == cell


@pytest.mark.parametrize("person, cell", [("YES", FN), ("NO", TN), ("NA", NA)])
def test_an_invalid_na_is_a_no(person, cell):
    assert cells(judged(says("ana", A1="YES", A2=person), A2="NA"))["A2", "gpt"] == cell


def test_pairs_with_na_are_in_no_rate():
    items = [judged(says("ana", A1=a, A2="YES"), id=f"t{i}") for i, a in enumerate(["YES", "NO", "NA", "NA"])]
    row = next(r for r in judge_rows(RUBRIC, items) if (r.criterion, r.backend) == ("A1", "gpt"))
    assert (row.n, row.na, row.raw, row.prevalence) == (2, 2, 0.5, 0.5)


def test_errors_missing_and_skipped_answers_are_compared_with_nothing():
    found = cells(judged(BOTH, A1=("YES", "ERROR"), A2=("YES", None)))
    assert set(found) == {("A1", "gpt"), ("A2", "gpt")}
    label = says("ana", origin="imported", A3="NO")
    assert cells(judged(label, exchanges=5)) == {}


def test_each_backend_and_the_merged_panel_have_their_own_row():
    found = cells(judged(BOTH, A1=("YES", "NO")))
    assert (found["A1", "gpt"], found["A1", "son"], found["A1", "merged"]) == (TP, FN, FN)


# --- several reviewers ----------------------------------------------------------------------------------------------


def test_the_truth_is_the_majority_of_the_reviewers():
    votes = {"ana": "NO", "bo": "NO", "cy": "YES"}
    events = [e for i, (who, vote) in enumerate(votes.items()) for e in says(who, start=10 * i + 1, A1=vote, A2="YES")]
    assert cells(judged(events))["A1", "gpt"] == FP


def test_contested_items_are_left_out():
    events = [*says("ana", A1="NO", A2="YES"), *says("bo", start=10, A1="YES", A2="YES")]
    assert {c for c, _ in cells(judged(events))} == {"A2"}


def test_a_correction_neither_votes_nor_removes_an_item():
    events = [*says("ana", A1="NO", A2="YES"), *says("bo", start=10, A1="YES"), *says("cy", start=20, A1="YES")]
    assert cells(judged(events))["A1", "gpt"] == FP


def test_the_populations_vote_apart():
    events = [*says("ana", A1="NO", A2="YES"), *says("bo", start=10, versions={"A1": "older"}, A1="YES", A2="YES")]
    assert cells(judged(events))["A1", "gpt"] == FP
    assert cells(judged(events), population="seen")["A1", "gpt"] == TP


# --- blind ----------------------------------------------------------------------------------------------------------


def test_the_blind_answer_enters_agreement_and_the_final_one_is_effective():
    item = judged([*says("ana", blind=True, A1="NO", A2="YES"), *says("ana", start=10, A1="YES")])
    assert cells(item)["A1", "gpt"] == FP
    assert item.assessment.effective["A1"] == "YES" and item.review.changes_of_mind == 1


def test_after_a_rewording_the_later_answer_enters():
    blind = says("ana", blind=True, versions={"A1": "older"}, A1="NO", A2="YES")
    assert cells(judged([*blind, *says("ana", start=10, A1="YES")]))["A1", "gpt"] == TP


# --- rates and intervals --------------------------------------------------------------------------------------------


def pairs(*, tp=0, fp=0, tn=0, fn=0):
    """Transcripts with these counts on A1, answered in full."""
    kinds = [("YES", "YES")] * tp + [("YES", "NO")] * fp + [("NO", "NO")] * tn + [("NO", "YES")] * fn
    return [judged(says("ana", A1=t, A2="YES"), id=f"t{i}", A1=s) for i, (s, t) in enumerate(kinds)]


def row_of(items, criterion="A1", backend="gpt", **more):
    return next(r for r in judge_rows(RUBRIC, items, **more) if (r.criterion, r.backend) == (criterion, backend))


def test_rates_equal_their_definitions_and_kappa_equals_statsmodels():
    row = row_of(pairs(tp=14, fp=4, tn=9, fn=3))
    assert (row.n, row.tp, row.fp, row.tn, row.fn, row.na) == (30, 14, 4, 9, 3, 0)
    assert (row.tpr, row.tnr, row.precision) == (14 / 17, 9 / 13, 14 / 18)
    assert (row.raw, row.prevalence) == (23 / 30, 17 / 30)
    assert row.kappa == pytest.approx(cohens_kappa(numpy.array([[14, 4], [3, 9]]), return_results=False))


def test_every_rate_has_its_n_and_a_wilson_interval():
    row = row_of(pairs(tp=14, fp=4, tn=9, fn=3))
    assert row.ns == {"tpr": 17, "tnr": 13, "precision": 18, "raw": 30, "prevalence": 30, "kappa": 30}
    for name, k in (("tpr", 14), ("tnr", 9), ("precision", 14), ("raw", 23), ("prevalence", 17)):
        assert row.intervals[name] == pytest.approx(proportion_confint(k, row.ns[name], method="wilson"))


def test_kappas_interval_is_a_bootstrap_over_transcripts_that_repeats():
    items = pairs(tp=14, fp=4, tn=9, fn=3)
    low, high = row_of(items).intervals["kappa"]
    rng, drawn = Random(0), []
    cell = ["tp"] * 14 + ["fp"] * 4 + ["tn"] * 9 + ["fn"] * 3
    for _ in range(2000):
        c = Counter(rng.choices(cell, k=30))
        drawn.append(cohens_kappa(numpy.array([[c["tp"], c["fp"]], [c["fn"], c["tn"]]]), return_results=False))
    assert (low, high) == pytest.approx(numpy.quantile(drawn, [0.025, 0.975]), abs=0.05)
    assert row_of(items[::-1]).intervals["kappa"] == (low, high)


def test_what_cannot_be_compared_is_null_and_not_0():
    only_yes = row_of(pairs(tp=6))
    assert (only_yes.tpr, only_yes.tnr, only_yes.kappa) == (1.0, None, None)
    assert only_yes.intervals["tnr"] is None and only_yes.intervals["kappa"] is None
    never_yes = row_of(pairs(tn=6))
    assert (never_yes.tpr, never_yes.precision, never_yes.tnr) == (None, None, 1.0)
    only_na = row_of([judged(says("ana", A1="NA", A2="YES"))])
    assert (only_na.n, only_na.na) == (0, 1)
    assert [only_na.tpr, only_na.tnr, only_na.precision, only_na.kappa, only_na.raw, only_na.prevalence] == [None] * 6


def test_intervals_can_be_left_out():
    row = row_of(pairs(tp=3, fp=2, tn=2), with_intervals=False)
    assert row.intervals == {} and row.kappa is not None


def test_rows_have_the_documented_fields():
    row = row_of(pairs(tp=3, fp=2, tn=2)).model_dump(mode="json")
    assert {"criterion", "backend", "population", "n", "tp", "fp", "tn", "fn", "na"} <= set(row)
    assert {"tpr", "tnr", "precision", "kappa", "raw", "prevalence", "intervals"} <= set(row)
    assert all(len(interval) == 2 for interval in row["intervals"].values())


def test_rows_stand_in_the_order_of_the_rubric_with_merged_last():
    items = [judged([*BOTH], id="a"), judged(decides("ana", "approve"), id="b")]
    keys = [(r.criterion, r.backend, r.population) for r in judge_rows(RUBRIC, items, with_intervals=False)]
    backends = ("gpt", "son", "merged")
    assert keys == [(c, b, p) for c in ("A1", "A2") for b in backends for p in ("fresh", "implied")]


def test_weak_criteria_are_those_of_low_fresh_kappa_of_the_merged_panel():
    rows = judge_rows(RUBRIC, pairs(tp=5, fp=5, tn=5, fn=5), with_intervals=False)
    assert weak_criteria(rows) == {"A1"}
    assert weak_criteria(judge_rows(RUBRIC, pairs(tp=10, tn=9, fn=1), with_intervals=False)) == frozenset()
    seen = [r.model_copy(update={"population": "seen"}) for r in rows]
    assert weak_criteria(seen) == frozenset()


# --- people among themselves ----------------------------------------------------------------------------------------


def rated(rows, names=("ana", "bo", "cy")):
    """Transcripts that reviewers rated on A1: one row of answers a transcript, '' where somebody did not."""
    items = []
    for k, row in enumerate(rows):
        events = []
        for i, given in enumerate(row):
            if given:
                events += says(names[i], start=10 * i + 1, A1=given)
        items.append(judged(events, id=f"t{k}"))
    return items


Y, N, X = "YES", "NO", "NA"


def test_two_reviewers_are_compared_by_cohens_kappa_with_na_a_category():
    rows = [(Y, Y), (Y, N), (N, N), (X, X), (X, Y), (N, N), (Y, Y)]
    (found,) = human_rows(RUBRIC, rated(rows))
    table = numpy.zeros((3, 3))
    for a, b in rows:
        table[[Y, N, X].index(a), [Y, N, X].index(b)] += 1
    assert (found.criterion, found.items, found.reviewers, found.names) == ("A1", 7, 2, ("ana", "bo"))
    assert found.kappa == pytest.approx(cohens_kappa(table, return_results=False))
    assert found.raw == pytest.approx(5 / 7)


def test_more_reviewers_are_compared_by_fleiss_kappa():
    rows = [(Y, Y, Y), (Y, N, X), (N, N, N), (Y, Y, N), (X, X, N)]
    (found,) = human_rows(RUBRIC, rated(rows))
    table = numpy.array([[row.count(answer) for answer in (Y, N, X)] for row in rows])
    assert found.reviewers == 3 and found.kappa == pytest.approx(fleiss_kappa(table))


def test_each_item_has_its_own_number_of_raters_and_one_rater_is_no_item():
    rows = [(Y, Y, ""), (N, N, Y), (Y, "", ""), ("", N, N), ("", "", X)]
    (found,) = human_rows(RUBRIC, rated(rows))
    assert (found.items, found.reviewers) == (3, 3)
    assert found.raw == pytest.approx((1 + 1 / 3 + 1) / 3)


def test_without_two_raters_there_is_no_human_row():
    assert human_rows(RUBRIC, rated([(Y, "", ""), ("", N, "")])) == []


def test_people_who_all_say_the_same_agree_fully_and_have_no_kappa():
    (found,) = human_rows(RUBRIC, rated([(Y, Y), (Y, Y)]))
    assert (found.raw, found.kappa, found.alpha) == (1.0, None, None)


def test_blind_answers_are_compared_before_final_ones():
    events = [*says("ana", blind=True, A1="NO"), *says("ana", start=5, A1="YES"), *says("bo", start=10, A1="YES")]
    (found,) = human_rows(RUBRIC, [judged(events)])
    assert found.raw == 0


# --- corrected pass rate --------------------------------------------------------------------------------------------


def outcome(passes, decision=None, id="t", version="v1"):
    """A transcript judged a pass or a fail (None: open), and decided or not."""
    events = decides("ana", decision) if decision else ()
    answer = {True: "YES", False: "NO", None: "ERROR"}[passes]
    return judged(events, id=id, version=version, A1=answer, A2=answer)


def outcomes(*counts):
    return [outcome(passes, decision) for passes, decision, n in counts for _ in range(n)]


DECIDED = [(True, "approve", 9), (False, "approve", 1), (True, "reject", 2), (False, "reject", 8)]
UNDECIDED = [(True, None, 60), (False, None, 20)]


def test_the_corrected_rate_is_rogan_gladens_over_all_scored_transcripts():
    found = corrected_pass_rate(outcomes(*DECIDED, *UNDECIDED), generation_version="v1")
    assert (found.n, found.approved, found.rejected) == (100, 10, 10)
    assert (found.judged_rate, found.tpr, found.tnr) == (0.71, 0.9, 0.8)
    assert found.rate == pytest.approx((0.71 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.interval[0] < found.rate < found.interval[1]


def test_unscored_transcripts_are_not_counted():
    with_open = outcomes(*DECIDED, *UNDECIDED, (None, None, 7), (None, "approve", 3), (None, "reject", 2))
    assert corrected_pass_rate(with_open, generation_version="v1") == corrected_pass_rate(
        outcomes(*DECIDED, *UNDECIDED), generation_version="v1"
    )


def test_other_generation_versions_and_imports_are_not_counted():
    mine = outcomes(*DECIDED)
    others = [outcome(True, "reject", version=v) for v in ("v0", None) for _ in range(20)]
    expected = corrected_pass_rate(mine, generation_version="v1")
    assert corrected_pass_rate([*mine, *others], generation_version="v1") == expected
    nothing = corrected_pass_rate(others, generation_version=None)
    assert (nothing.n, nothing.rate, nothing.judged_rate) == (0, None, None)


@pytest.mark.parametrize("approved, rejected, known", [(5, 5, True), (4, 6, False), (6, 4, False), (0, 0, False)])
def test_it_needs_five_approvals_and_five_rejections(approved, rejected, known):
    items = outcomes((True, "approve", approved), (False, "reject", rejected), (True, None, 10))
    found = corrected_pass_rate(items, generation_version="v1")
    assert (found.rate is not None) == (found.interval is not None) == known


def test_it_is_null_for_a_panel_no_better_than_chance():
    items = outcomes((True, "approve", 5), (False, "approve", 5), (True, "reject", 5), (False, "reject", 5))
    found = corrected_pass_rate(items, generation_version="v1")
    assert (found.tpr, found.tnr, found.rate, found.interval) == (0.5, 0.5, None, None)


def test_it_is_clipped_to_0_and_1():
    items = outcomes((True, "approve", 8), (False, "approve", 2), (False, "reject", 10), (True, None, 100))
    assert corrected_pass_rate(items, generation_version="v1").rate == 1.0


def test_reviewers_answers_do_not_move_the_judged_rate():
    before = outcomes(*DECIDED, *UNDECIDED)
    after = [judged([*says("ana", A1="NO", A2="NO")]) if i >= 20 and i < 40 else item for i, item in enumerate(before)]
    assert corrected_pass_rate(after, generation_version="v1").judged_rate == 0.71


def test_its_interval_is_a_bootstrap_over_all_transcripts():
    found = corrected_pass_rate(outcomes(*DECIDED, *UNDECIDED), generation_version="v1")
    rng = numpy.random.default_rng(3)
    rates = []
    for a, b, c, d, e, _ in rng.multinomial(100, numpy.array([9, 1, 2, 8, 60, 20]) / 100, size=20_000).tolist():
        if a + b and c + d and a / (a + b) + d / (c + d) > 1:
            tpr, tnr = a / (a + b), d / (c + d)
            rates.append(min(1, max(0, ((a + c + e) / 100 + tnr - 1) / (tpr + tnr - 1))))
    assert found.interval == pytest.approx(numpy.quantile(rates, [0.025, 0.975]), abs=0.03)
    assert corrected_pass_rate(outcomes(*DECIDED), generation_version="v1", with_intervals=False).interval is None


# --- panel ceiling --------------------------------------------------------------------------------------------------

SEVENTEEN = Rubric(
    name="r",
    categories={"q": Category(weight=1.0), "s": Category(weight=0.0)},
    criteria=(
        *(Criterion(id=f"Q{i}", name="x", category="q", question="?") for i in range(17)),
        Criterion(id="S1", name="x", category="s", question="?", gate=True),
    ),
)


def all_rates(rubric, panel, tpr):
    return {c.id: dict.fromkeys(panel, tpr) for c in rubric.criteria}


def test_the_published_ceilings_are_83_percent_with_one_judge_and_21_with_three():
    for panel, published in ((("a",), 0.83), (("a", "b", "c"), 0.21)):
        assert round(panel_ceiling(SEVENTEEN, panel, all_rates(SEVENTEEN, panel, 0.9), "strictest"), 2) == published


def test_the_merging_rule_moves_the_ceiling():
    panel, rates = ("a", "b", "c"), all_rates(SEVENTEEN, ("a", "b", "c"), 0.9)
    strictest, majority, one = (panel_ceiling(SEVENTEEN, panel, rates, rule) for rule in ("strictest", "majority", "b"))
    assert strictest < one < majority
    assert one == panel_ceiling(SEVENTEEN, ("b",), rates, "strictest")


def test_two_judges_by_majority_are_as_strict_as_strictest():
    rates = all_rates(SEVENTEEN, ("a", "b"), 0.9)
    assert panel_ceiling(SEVENTEEN, ("a", "b"), rates, "majority") == pytest.approx(
        panel_ceiling(SEVENTEEN, ("a", "b"), rates, "strictest")
    )


def test_the_ceiling_is_null_where_a_judge_is_unmeasured():
    rates = all_rates(SEVENTEEN, ("a", "b"), 0.9)
    rates["Q3"]["b"] = None
    assert panel_ceiling(SEVENTEEN, ("a", "b"), rates, "strictest") is None
    assert panel_ceiling(SEVENTEEN, ("a", "b"), rates, "a") is not None  # only the judge that decides matters
    assert panel_ceiling(SEVENTEEN, ("a",), {}, "strictest") is None
    assert panel_ceiling(SEVENTEEN, (), rates, "strictest") is None


def test_checks_are_taken_as_never_wrong_and_lift_the_ceiling():
    check = Criterion(id="Q0", name="x", category="q", kind="check", check="artifacts")
    rubric = SEVENTEEN.model_copy(update={"criteria": (check, *SEVENTEEN.criteria[1:])})
    rates = all_rates(SEVENTEEN, ("a",), 0.9)
    assert panel_ceiling(rubric, ("a",), rates, "strictest") > panel_ceiling(SEVENTEEN, ("a",), rates, "strictest")


def test_the_ceiling_equals_judging_many_perfect_transcripts():
    rubric = Rubric(
        name="r",
        pass_threshold=0.75,
        categories={
            "a": Category(weight=0.5, floor=0.6),
            "b": Category(weight=0.3),
            "c": Category(weight=0.2, floor=0.5),
        },
        criteria=(
            *(Criterion(id=f"A{i}", name="x", category="a", question="?", gate=i == 0) for i in range(4)),
            *(Criterion(id=f"B{i}", name="x", category="b", question="?") for i in range(3)),
            *(Criterion(id=f"C{i}", name="x", category="c", question="?") for i in range(2)),
        ),
    )  # fmt: skip
    rng, panel = Random(4), ("x", "y", "z")
    rates = {c.id: {b: 0.7 + 0.3 * rng.random() for b in panel} for c in rubric.criteria}
    for rule in ("strictest", "majority", "y"):
        passes = 0
        for _ in range(4_000):
            raw = {c: {b: "YES" if rng.random() < r else "NO" for b, r in by.items()} for c, by in rates.items()}
            passes += assess_transcript(
                rubric, transcript="t", exchange_count=5, complete=True, panel=panel, raw=raw, checks={}, review=None,
                rule=rule,
            ).passed  # fmt: skip
        assert panel_ceiling(rubric, panel, rates, rule) == pytest.approx(passes / 4_000, abs=0.035)


def test_a_rate_is_pooled_over_criteria_where_a_criterion_has_under_ten_positives():
    nine = [*pairs(tp=8, fn=1)]
    ten = [*pairs(tp=8, fn=2)]
    # A2 was always answered YES by judge and person
    assert true_positive_rates(RUBRIC, ("gpt",), judge_rows(RUBRIC, nine))["A1"]["gpt"] == pytest.approx(17 / 18)
    assert true_positive_rates(RUBRIC, ("gpt",), judge_rows(RUBRIC, ten))["A1"]["gpt"] == pytest.approx(0.8)


def test_false_no_rates_come_from_fresh_answers_alone():
    implied = [judged(decides("ana", "approve"), id=f"t{i}") for i in range(20)]
    assert true_positive_rates(RUBRIC, ("gpt",), judge_rows(RUBRIC, implied)) == {
        c: {"gpt": None} for c in ("A1", "A2", "A3")
    }


def test_a_judge_without_a_single_positive_is_unmeasured():
    rates = true_positive_rates(RUBRIC, ("gpt", "new"), judge_rows(RUBRIC, pairs(tp=12)))
    assert rates["A1"] == {"gpt": 1.0, "new": None}
    assert rates["A3"] == {"gpt": 1.0, "new": None}  # pooled: never skipped criteria were measured
    assert true_positive_rates(RUBRIC, (), []) == {"A1": {}, "A2": {}, "A3": {}}


# --- speed ----------------------------------------------------------------------------------------------------------


def test_41_transcripts_18_criteria_4_backends_and_3_populations_take_a_few_seconds():
    criteria = tuple(Criterion(id=f"Q{i}", name="x", category="q", question="?") for i in range(18))
    rubric = Rubric(name="r", categories={"q": Category(weight=1.0)}, criteria=criteria)
    rng, backends = Random(0), ("a", "b", "c", "d")
    items = []
    for k in range(123):
        events = []
        if k < 82:
            version = {c.id: c.version if k < 41 else "older" for c in criteria}
            events = [
                Event(id=i, reviewer="ana", kind="answer", transcript="t", criterion=c.id,
                      answer=rng.choice(["YES", "YES", "NO", "NA"]), criterion_version=version[c.id])
                for i, c in enumerate(criteria, 1)
            ]  # fmt: skip
        else:
            events = decides("ana", "approve")
        review = fold(events).transcripts["t"]
        raw = {c.id: {b: rng.choice(["YES", "YES", "NO", "NA"]) for b in backends} for c in criteria}
        assessment = assess_transcript(
            rubric, transcript="t", exchange_count=5, complete=True, panel=backends, raw=raw, checks={}, review=review,
            rule="strictest",
        )  # fmt: skip
        items.append(Judged(f"t{k}", assessment, review, None, "v1", frozenset()))
    begun = perf_counter()
    rows = judge_rows(rubric, items)
    taken = perf_counter() - begun
    assert len(rows) == 18 * 5 * 3
    assert taken < 15, f"{taken:.1f} s"
