"""How a panel's answers become one."""

from itertools import permutations, product

import pytest

from loopreview.models.rubric import Criterion
from loopreview.rules.merge import assign, merge_answers

PANEL = ("gpt", "son", "qwn")


def criterion(**more):
    return Criterion(**{"id": "U1", "name": "Answers", "category": "c", "question": "Does it?", **more})


def merged(rule, *answers):
    """The merged answer of a panel in which judge n gave answer n; None stands for no verdict."""
    panel = PANEL[: len(answers)]
    given = {judge: answer for judge, answer in zip(panel, answers, strict=True) if answer is not None}
    return merge_answers(rule, given, panel)


# --- assigned by code -----------------------------------------------------------------------------------------------


def test_yes_no_and_na_stay_what_they_are():
    assert assign(criterion(), {"a": "YES", "b": "NO", "c": "NA"}, 5) == {"a": "YES", "b": "NO", "c": "NA"}


def test_na_is_invalid_where_the_criterion_says_so():
    assert assign(criterion(na="invalid"), {"a": "NA", "b": "YES"}, 5) == {"a": "INVALID_NA", "b": "YES"}


def test_a_transcript_too_short_for_the_criterion_is_skipped_whatever_was_answered():
    long = criterion(min_exchanges=6, na="invalid")
    assert assign(long, {"a": "NO", "b": "NA", "c": "ERROR"}, 5) == {"a": "SKIPPED", "b": "SKIPPED", "c": "SKIPPED"}
    assert assign(long, {"a": "NO"}, 6) == {"a": "NO"}


@pytest.mark.parametrize("answer", ["ERROR", "", "yes", "MAYBE", "SKIPPED", "INVALID_NA"])
def test_what_is_no_answer_is_an_error_and_never_a_no(answer):
    assert assign(criterion(), {"a": answer}, 5) == {"a": "ERROR"}


# --- strictest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers, expected",
    [
        (("YES", "YES", "YES"), "YES"),
        (("YES", "NA", "YES"), "NA"),
        (("YES", "NA", "NO"), "NO"),
        (("INVALID_NA", "YES", "NA"), "INVALID_NA"),
        (("INVALID_NA", "NO", "YES"), "NO"),
        (("NO",), "NO"),
    ],
)
def test_strictest_is_no_then_na_then_yes(answers, expected):
    assert merged("strictest", *answers) == expected


@pytest.mark.parametrize("missing", [None, "ERROR"])
def test_a_criterion_is_open_while_a_judge_is_missing(missing):
    assert merged("strictest", "YES", "YES", missing) is None
    assert merged("strictest", "NA", "YES", missing) is None


@pytest.mark.parametrize("missing", [None, "ERROR"])
@pytest.mark.parametrize("no", ["NO", "INVALID_NA"])
def test_a_no_decides_although_others_are_missing(no, missing):
    assert merged("strictest", no, missing, missing) == no


def test_an_error_alone_is_never_a_no():
    assert merged("strictest", "ERROR", "ERROR") is None


def test_skipped_is_never_open():
    for rule in ("strictest", "majority", "gpt"):
        assert merged(rule, "SKIPPED", "SKIPPED") == "SKIPPED"


def test_a_panel_of_nobody_leaves_everything_open():
    for rule in ("strictest", "majority", "gpt"):
        assert merge_answers(rule, {"gpt": "NO"}, []) is None


def test_answers_of_backends_outside_the_panel_do_not_count():
    assert merge_answers("strictest", {"gpt": "YES", "old": "NO"}, ["gpt"]) == "YES"
    assert merge_answers("majority", {"gpt": "YES", "old": "NO"}, ["gpt"]) == "YES"


# --- majority -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers, expected",
    [
        (("YES", "YES", "NO"), "YES"),
        (("NO", "YES", "NO"), "NO"),
        (("INVALID_NA", "YES", "NO"), "NO"),
        (("INVALID_NA", "INVALID_NA", "YES"), "INVALID_NA"),
        (("NA", "NA", "YES"), "NA"),
        (("NA", "YES", "YES"), "YES"),
    ],
)
def test_majority_takes_the_most_frequent_answer(answers, expected):
    assert merged("majority", *answers) == expected


@pytest.mark.parametrize(
    "answers, expected",
    [(("YES", "NO"), "NO"), (("YES", "NA"), "NA"), (("NA", "NO"), "NO"), (("YES", "NA", "INVALID_NA"), "INVALID_NA")],
)
def test_a_tie_goes_to_the_stricter(answers, expected):
    assert merged("majority", *answers) == expected


def test_a_majority_of_no_decides_although_a_judge_is_missing():
    assert merged("majority", "NO", "INVALID_NA", None) == "NO"
    assert merged("majority", "NO", None) == "NO"  # at worst a tie


def test_a_single_no_of_three_does_not_decide_a_majority():
    assert merged("majority", "NO", None, None) is None
    assert merged("majority", "NO", "YES", None) is None


def test_a_majority_of_yes_stays_open_while_a_judge_is_missing():
    assert merged("majority", "YES", "YES", None) is None
    assert merged("majority", "YES", "YES", "ERROR") is None


def test_an_early_no_of_the_majority_is_what_it_would_be_in_the_end():
    answers = ("YES", "NO", "NA", "INVALID_NA", None)
    for given in product(answers, repeat=3):
        early = merged("majority", *given)
        if early is None or None not in given:
            continue
        for rest in product(answers[:-1], repeat=given.count(None)):
            filled = iter(rest)
            final = merged("majority", *(next(filled) if a is None else a for a in given))
            assert final in ("NO", "INVALID_NA")


# --- one named judge ------------------------------------------------------------------------------------------------


def test_a_named_judge_is_looked_at_alone():
    assert merged("son", "NO", "YES", None) == "YES"
    assert merged("son", "YES", "INVALID_NA", "YES") == "INVALID_NA"


def test_a_named_judge_without_an_answer_leaves_the_criterion_open():
    assert merged("son", "NO", None, "NO") is None
    assert merged("son", "NO", "ERROR", "NO") is None
    assert merged("elsewhere", "NO", "NO", "NO") is None


# --- any rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["strictest", "majority", "son"])
def test_the_order_of_judges_never_matters(rule):
    for given in product(("YES", "NO", "NA", "INVALID_NA", "ERROR"), repeat=3):
        answers = dict(zip(PANEL, given, strict=True))
        outcomes = {
            merge_answers(rule, {judge: answers[judge] for judge in order}, order) for order in permutations(PANEL)
        }
        assert len(outcomes) == 1


def test_one_judge_alone_is_merged_as_itself_by_every_rule():
    for answer in ("YES", "NO", "NA", "INVALID_NA"):
        assert {merged(rule, answer) for rule in ("strictest", "majority", "gpt")} == {answer}
