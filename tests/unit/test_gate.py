"""The advice of the gate."""

import pytest

from loopreview.models.settings import Settings
from loopreview.rules.gate import BatchCount, gate
from loopreview.rules.statistics import wilson


def batch(id, passed, of=5, *, unscored=0, content=None, origin="generated", version="v1"):
    return BatchCount(id, origin, version, of + unscored, passed, of - passed, unscored, content)


def advice(*batches, **settings):
    return gate(batches, generation_version="v1", settings=Settings(**settings)).advice


# --- collect --------------------------------------------------------------------------------------------------------


def test_fewer_batches_than_stable_batches_is_collect():
    assert advice() == "collect"
    assert advice(batch(1, 5, content=True)) == "collect"
    assert advice(batch(1, 5), batch(2, 5, content=True), stable_batches=3) == "collect"


def test_an_unscored_transcript_in_one_of_the_last_batches_is_collect():
    assert advice(batch(1, 5, unscored=1), batch(2, 5, content=True)) == "collect"
    assert advice(batch(1, 5), batch(2, 4, of=4, unscored=1, content=True)) == "collect"
    assert advice(batch(1, 0), batch(2, 0, of=0, unscored=5)) == "collect"


def test_an_unscored_transcript_further_back_does_not_matter():
    assert advice(batch(1, 4, of=4, unscored=1), batch(2, 5), batch(3, 5, content=True)) == "scale"


def test_a_batch_without_transcripts_is_collect():
    assert advice(batch(1, 5), batch(2, 0, of=0)) == "collect"


def test_batches_of_other_generation_versions_do_not_count():
    assert advice(batch(1, 5, version="v0"), batch(2, 5, content=True)) == "collect"
    found = gate([batch(1, 5, version="v0"), batch(2, 3)], generation_version="v1", settings=Settings())
    assert (found.n, found.passed) == (5, 3)


def test_imports_alone_are_collect_with_n_0():
    for version in ("v1", None):
        batches = [batch(i, 5, origin="imported", version=version, content=True) for i in (1, 2, 3)]
        found = gate(batches, generation_version=version, settings=Settings())
        assert (found.advice, found.n, found.pass_rate, found.interval) == ("collect", 0, None, None)
        assert (found.p_reaches, found.more_needed) == (None, None)


def test_an_import_between_two_batches_changes_nothing():
    own = [batch(1, 5), batch(3, 5, content=True)]
    mixed = [own[0], batch(2, 0, origin="imported", version=None), own[1]]
    assert gate(mixed, generation_version="v1", settings=Settings()) == gate(
        own, generation_version="v1", settings=Settings()
    )


# --- scale, iterate, revise -----------------------------------------------------------------------------------------


def test_two_good_batches_and_a_content_reviewer_is_scale():
    assert advice(batch(1, 4), batch(2, 4, content=True)) == "scale"


@pytest.mark.parametrize("content", [None, False])
def test_without_a_content_reviewer_it_is_never_scale(content):
    assert advice(batch(1, 5), batch(2, 5, content=content)) == "iterate"


def test_content_with_an_earlier_batch_is_not_content_with_the_last():
    assert advice(batch(1, 5, content=True), batch(2, 5)) == "iterate"


def test_seventy_percent_exactly_is_enough():
    assert advice(batch(1, 7, of=10), batch(2, 7, of=10, content=True)) == "scale"
    assert advice(batch(1, 69, of=100), batch(2, 7, of=10, content=True)) == "iterate"


def test_each_of_the_last_batches_must_reach_the_target_not_their_mean():
    assert advice(batch(1, 3), batch(2, 5, content=True)) == "iterate"


def test_only_the_last_stable_batches_are_looked_at():
    batches = [batch(1, 0), batch(2, 4), batch(3, 4, content=True)]
    assert advice(*batches) == "scale"
    assert advice(*batches, stable_batches=3) == "iterate"


def test_the_last_batchs_own_rate_tells_revise_from_iterate():
    assert advice(batch(1, 5), batch(2, 2)) == "revise"
    assert advice(batch(1, 0), batch(2, 3)) == "iterate"


def test_fifty_percent_exactly_is_iterate():
    assert advice(batch(1, 5, of=10), batch(2, 5, of=10)) == "iterate"
    assert advice(batch(1, 5, of=10), batch(2, 49, of=100)) == "revise"


def test_the_order_in_which_batches_are_given_does_not_matter():
    assert advice(batch(2, 2), batch(1, 5)) == "revise"


def test_the_limits_come_from_the_settings():
    batches = (batch(1, 3), batch(2, 3, content=True))
    assert advice(*batches, target_pass_rate=0.6) == "scale"
    assert advice(*batches, revise_below=0.65) == "revise"


# --- beside it ------------------------------------------------------------------------------------------------------


def test_the_numbers_are_over_all_batches_of_the_version_not_only_those_that_passed():
    found = gate([batch(1, 0), batch(2, 4), batch(3, 4, content=True)], generation_version="v1", settings=Settings())
    assert found.advice == "scale"
    assert (found.n, found.passed, found.pass_rate) == (15, 8, pytest.approx(8 / 15))
    assert found.interval == wilson(8, 15)


@pytest.mark.parametrize("passed, p, more", [((4, 4), 0.687, 42), ((4, 3), 0.430, None), ((3, 3), None, 39)])
def test_the_published_examples(passed, p, more):
    found = gate([batch(i, k) for i, k in enumerate(passed)], generation_version="v1", settings=Settings())
    assert found.n == 10
    assert p is None or round(found.p_reaches, 3) == p
    assert found.more_needed == more


def test_unscored_transcripts_are_in_neither_n_nor_rate():
    found = gate([batch(1, 3, of=4, unscored=1), batch(2, 4)], generation_version="v1", settings=Settings())
    assert (found.n, found.passed) == (9, 7)


@pytest.mark.parametrize(
    "batches, said",
    [
        ([], "No batch made"),
        ([batch(1, 5)], "Only 1 of 2"),
        ([batch(1, 5), batch(2, 3, of=4, unscored=1)], "Batch 2 has 1 of 5 transcripts without a score"),
        ([batch(1, 5), batch(2, 5, content=True)], "70 %"),
        ([batch(1, 5), batch(2, 1)], "Batch 2 passed 1 of 5"),
        ([batch(1, 3), batch(2, 5)], "Batch 1 passed 3 of 5"),
        ([batch(1, 5), batch(2, 5)], "batch 2"),
        ([batch(1, 5), batch(2, 5, content=False)], "not satisfied"),
    ],
)
def test_why_is_one_plain_sentence_with_the_numbers_that_decided(batches, said):
    why = gate(batches, generation_version="v1", settings=Settings()).why
    assert said in why and why.endswith(".") and "\n" not in why
