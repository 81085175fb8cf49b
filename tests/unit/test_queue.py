"""What a reviewer is shown first."""

import pytest

from loopreview.models.rubric import Category, Criterion, Rubric
from loopreview.rules.checks import CheckResult
from loopreview.rules.queue import Waiting, criteria_order, doubt, drawn_full, transcript_order
from loopreview.rules.score import assess_transcript

PANEL = ("gpt", "son", "qwn")
RUBRIC = Rubric(
    name="r",
    categories={"a": Category(weight=1.0), "s": Category(weight=0.0)},
    criteria=(
        *(Criterion(id=f"A{i}", name="x", category="a", question="?") for i in range(1, 6)),
        Criterion(id="A6", name="x", category="a", question="?", min_exchanges=99),
        Criterion(id="K1", name="x", category="a", kind="check", check="artifacts"),
        Criterion(id="K2", name="x", category="s", kind="check", check="language", gate=True),
        Criterion(id="S1", name="x", category="s", question="?", gate=True),
        Criterion(id="S2", name="x", category="s", question="?", gate=True),
    ),
)
JUDGED = ["A1", "A2", "A3", "A4", "A5", "S1", "S2"]


def assessed(transcript="1-1", *, checks="YES", panel=PANEL, complete=True, **answers):
    """All YES but for `answers`: criterion -> one answer for all judges, or one each."""
    raw = {c: dict.fromkeys(panel, "YES") for c in JUDGED}
    for criterion, given in answers.items():
        raw[criterion] = dict.fromkeys(panel, given) if isinstance(given, str) else dict(zip(panel, given, strict=True))
    return assess_transcript(
        RUBRIC,
        transcript=transcript,
        exchange_count=5,
        complete=complete,
        panel=panel,
        raw=raw,
        checks={"K1": CheckResult(checks, "", ()), "K2": CheckResult(checks, "", ())},
        review=None,
        rule="strictest",
    )


def order(assessment, *, full=False, weak=(), seed="s", share=0.0):
    return criteria_order(RUBRIC, assessment, full=full, weak=weak, seed=seed, sample_share=share)


# --- criteria -------------------------------------------------------------------------------------------------------


def test_what_all_judges_agree_on_is_not_asked():
    assert order(assessed(A2="NO")) == ([], [c.id for c in RUBRIC.criteria])


def test_gate_nos_come_first_then_splits_then_failed_judges_then_weak_agreement():
    a = assessed(
        A1=("YES", "YES", "ERROR"), A3=("YES", "NO", "YES"), A4=("NA", "YES", "YES"), S2="NO", S1=("YES", "YES", "NO")
    )
    asked, rest = order(a, weak={"A2", "A3"})
    assert asked == ["S1", "S2", "A3", "A4", "A1", "A2"]
    assert rest == ["A5", "A6", "K1", "K2"]


def test_every_criterion_is_in_one_of_the_two_lists_once():
    asked, rest = order(assessed(A1=("YES", "NO", "ERROR"), S1="NO"), weak={"A1", "S1"}, share=0.5)
    assert sorted(asked + rest) == sorted(c.id for c in RUBRIC.criteria)


def test_no_and_invalid_na_are_no_split():
    strict = RUBRIC.criteria[0].model_copy(update={"na": "invalid"})
    rubric = RUBRIC.model_copy(update={"criteria": (strict, *RUBRIC.criteria[1:])})
    a = assessed(A1=("NO", "NO", "NO"))
    a = a.model_copy(update={"answers": {**a.answers, "A1": {"gpt": "NO", "son": "INVALID_NA", "qwn": "NO"}}})
    asked, _ = criteria_order(rubric, a, full=False, weak=(), seed="s", sample_share=0)
    assert asked == []


def test_a_gate_check_that_says_no_is_asked_and_other_checks_never():
    asked, rest = order(assessed(checks="NO"), full=True)
    assert asked[0] == "K2" and "K1" in rest


def test_full_asks_every_criterion_that_judges_answer():
    asked, rest = order(assessed(A3=("YES", "NO", "YES")), full=True)
    assert asked[0] == "A3" and sorted(asked) == JUDGED
    assert rest == ["A6", "K1", "K2"]


def test_without_judges_everything_judged_is_asked():
    a = assess_transcript(
        RUBRIC, transcript="1-1", exchange_count=5, complete=True, panel=(), raw={},
        checks={"K1": CheckResult("YES", "", ()), "K2": CheckResult("YES", "", ())}, review=None, rule="strictest",
    )  # fmt: skip
    assert order(a)[0] == JUDGED


def test_a_share_of_what_judges_agree_on_is_drawn_by_seed():
    a = assessed()
    assert order(a, share=0.5) == order(a, share=0.5)
    assert sorted(order(a, share=1.0)[0]) == JUDGED
    draws = [len(order(assessed(f"1-{i}"), share=0.1)[0]) for i in range(400)]
    assert sum(draws) / (400 * len(JUDGED)) == pytest.approx(0.1, abs=0.02)
    assert order(a, share=0.5, seed="s")[0] != order(a, share=0.5, seed="t")[0]


def test_a_new_verdict_on_one_criterion_redraws_no_other():
    before, _ = order(assessed(), share=0.5)
    after, _ = order(assessed(A1=("YES", "NO", "YES")), share=0.5)
    assert [c for c in after if c != "A1"] == [c for c in before if c != "A1"]


# --- full transcripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, share, drawn", [(5, 0.2, 1), (1, 0.2, 1), (6, 0.2, 2), (100, 0.07, 7), (5, 0, 0), (4, 1, 4)]
)
def test_a_share_of_each_batch_is_answered_in_full_rounded_up(n, share, drawn):
    ids = [f"7-{i}" for i in range(1, n + 1)]
    assert len(drawn_full(7, ids, share)) == drawn


def test_which_are_full_hangs_on_the_seed_and_not_on_the_order():
    ids = [f"7-{i}" for i in range(1, 21)]

    def drawn(seed, of):
        return drawn_full(seed, of, 0.2)

    assert drawn(7, ids) == drawn(7, ids[::-1])
    assert len({frozenset(drawn(seed, ids)) for seed in range(10)}) > 1


def test_each_place_of_a_batch_is_drawn_alike():
    ids = [f"7-{i}" for i in range(1, 6)]
    drawn = [drawn_full(seed, ids, 0.2) for seed in range(1000)]
    counts = [sum(id in each for each in drawn) for id in ids]
    assert min(counts) > 150 and max(counts) < 250


# --- doubt ----------------------------------------------------------------------------------------------------------


def test_doubt_lies_between_0_and_1():
    cases = [
        assessed(), assessed(A1="NO"), assessed(A1="ERROR"), assessed(**dict.fromkeys(JUDGED, "NO")),
        assessed(**dict.fromkeys(JUDGED, ("YES", "NO", "ERROR"))), assessed(complete=False),
    ]  # fmt: skip
    assert all(0 <= doubt(RUBRIC, a) <= 1 for a in cases)


def test_a_split_raises_doubt():
    assert doubt(RUBRIC, assessed(A1=("YES", "NO", "YES"))) > doubt(RUBRIC, assessed(A1="NO"))


def test_a_score_near_the_threshold_is_more_doubtful_than_one_far_from_it():
    # with the check six count: 5 of 6 is 0.83
    assert doubt(RUBRIC, assessed(A1="NO")) > doubt(RUBRIC, assessed())
    assert doubt(RUBRIC, assessed(A1="NO")) > doubt(RUBRIC, assessed(A1="NO", A2="NO", A3="NO", A4="NO"))


def test_a_split_that_decides_the_outcome_is_more_doubtful_than_one_that_does_not():
    deciding = assessed(S1=("YES", "NO", "YES"))
    idle = assessed(S1="NO", S2=("YES", "NO", "YES"))
    assert doubt(RUBRIC, deciding) > doubt(RUBRIC, idle)


def test_an_open_transcript_is_more_doubtful_than_any_scored_one():
    opened = doubt(RUBRIC, assessed(A1=("YES", "YES", "ERROR")))
    assert opened > doubt(RUBRIC, assessed(A1=("YES", "NO", "YES"), S1=("YES", "NO", "YES")))


def test_there_is_nothing_to_doubt_in_an_incomplete_transcript():
    assert doubt(RUBRIC, assessed(complete=False)) == 0


# --- transcripts ----------------------------------------------------------------------------------------------------


def ordered(*waiting, share=0.0):
    return transcript_order(RUBRIC, waiting, seed="s", sample_share=share)


def test_full_ones_come_first_and_the_others_by_falling_doubt():
    calm, split, opened = assessed("1-1"), assessed("1-2", A1=("YES", "NO", "YES")), assessed("1-3", A1="ERROR")
    full = assessed("1-4")
    waiting = [Waiting(calm, False), Waiting(split, False), Waiting(opened, False), Waiting(full, True)]
    assert ordered(*waiting) == [("1-4", "full"), ("1-3", "doubt"), ("1-2", "doubt"), ("1-1", "doubt")]


def test_decided_transcripts_are_not_shown():
    decided = assessed("1-1").model_copy(update={"decision": "approved"})
    assert ordered(Waiting(decided, True), Waiting(assessed("1-2"), False)) == [("1-2", "doubt")]


def test_equals_stay_in_the_order_given():
    waiting = [Waiting(assessed(f"6-{i}"), False) for i in (2, 10, 1)]
    assert [id for id, _ in ordered(*waiting)] == ["6-2", "6-10", "6-1"]


def test_a_share_is_shown_whatever_its_doubt_and_says_so():
    waiting = [Waiting(assessed(f"6-{i}"), False) for i in range(300)]
    order = ordered(*waiting, share=0.1)
    sampled = [id for id, why in order if why == "sample"]
    assert 15 <= len(sampled) <= 45
    assert [id for id, _ in order[: len(sampled)]] == sampled
    assert order == ordered(*waiting, share=0.1)
    assert len(order) == 300
