"""Derived values that are kept, and when they are true no longer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Assessment, PanelMember, Verdict
from loopreview.store import batches, events, standing, transcripts, verdicts
from loopreview.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Batch 1 with three transcripts, batch 2 with one, batch 3 with none."""
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        for batch in ("abc", "d", ""):
            given = [
                Transcript(id="", batch=0, number=0, origin="imported", messages=[Message(role="assistant", text=text)])
                for text in batch
            ]
            transcripts.add_imported(store, batches.create_imported(store).id, given)
        yield store


def assessment(id: str, **more: Any) -> Assessment:
    fields: dict[str, Any] = {"categories": {"tone": 0.5}, "unscored": False} | more
    return Assessment(
        transcript=id, answers={"U1": {"gpt": "NO"}}, merged={"U1": "NO"}, human={"U1": {"ana\ud800": "YES"}},
        effective={"U1": None}, contested=("U1",), **fields,
    )  # fmt: skip


def save(store: Store, id: str, context: str = "now", *counts: Any, rules: Any = None, **more: Any) -> None:
    row = standing.Standing(assessment(id, **more), standing.stale(store, context)[id], *counts)
    standing.save(store, context, [row._replace(rules=rules or {})])


def by_batch(store: Store, number: int = 1, context: str = "now") -> standing.BatchStanding:
    return standing.by_batch(store, context)[number - 1]


def test_a_kept_assessment_comes_back_as_it_was_given(store: Store) -> None:
    save(store, "1-1", passed=True, score=0.9, judged=False, judged_score=0.1, decision="approved")
    assert standing.get(store, "now", "1-1") == assessment(
        "1-1", passed=True, score=0.9, judged=False, judged_score=0.1, decision="approved"
    )
    assert standing.get(store, "now", "1-2") is None
    assert standing.get(store, "other", "1-1") is None


def test_what_was_never_kept_or_is_of_another_context_is_stale(store: Store) -> None:
    assert list(standing.stale(store, "now")) == ["1-1", "1-2", "1-3", "2-1"]
    save(store, "1-2")
    assert list(standing.stale(store, "now")) == ["1-1", "1-3", "2-1"]
    assert list(standing.stale(store, "now", batch=1)) == ["1-1", "1-3"]
    assert list(standing.stale(store, "now", limit=1)) == ["1-1"]
    assert list(standing.stale(store, "later")) == ["1-1", "1-2", "1-3", "2-1"]


@pytest.mark.parametrize("change", ["message", "verdict", "panel", "imported panel", "event"])
def test_each_kind_of_write_makes_its_transcript_stale_and_no_other(store: Store, change: str) -> None:
    for id in transcripts.ids(store):
        save(store, id)
    assert standing.stale(store, "now") == {}
    if change == "message":
        transcripts.append_message(store, "1-2", 1, Message(role="user", text="more"))
    elif change == "verdict":
        verdicts.add(store, [Verdict(transcript="1-2", criterion="U1", backend="gpt", answer="YES", key="k")])
    elif change == "panel":
        verdicts.begin_panel(store, "1-2", [PanelMember(backend="gpt", origin="asked")])
    elif change == "imported panel":
        verdicts.join_panel_imported(store, "1-2", "gpt")
    else:
        events.append(store, Event(reviewer="ana", kind="approve", transcript="1-2"))
    assert standing.stale(store, "now") == {"1-2": 1}
    assert standing.get(store, "now", "1-2") is None
    assert by_batch(store).missing == 1
    save(store, "1-2")
    assert standing.stale(store, "now") == {}


def test_a_row_made_before_a_change_does_not_count_as_made_after_it(store: Store) -> None:
    revision = standing.stale(store, "now")["1-1"]
    events.append(store, Event(reviewer="ana", kind="approve", transcript="1-1"))  # while the row was being computed
    standing.save(store, "now", [standing.Standing(assessment("1-1", passed=True), revision)])
    assert "1-1" in standing.stale(store, "now")
    assert by_batch(store).passed == 0


def test_a_batch_is_counted_from_its_current_rows(store: Store) -> None:
    save(store, "1-1", "now", 2, 1, 3, 1, True, False, passed=True, judged=True, decision="approved")
    save(store, "1-2", "now", 1, 0, 0, 0, False, True, passed=False, judged=True, decision="rejected")
    save(store, "1-3", unscored=True)
    save(store, "2-1", "later", 9, 9, 9, 9, True, True, passed=True)
    one, two, three = standing.by_batch(store, "now")
    assert one == standing.BatchStanding(
        batch=1, origin="imported", generation_version=None, n=3, missing=0, passed=1, failed=1, unscored=1,
        judged_passed=2, judged_failed=0, approved=1, rejected=1, false_positive=3, false_negative=1, na=3, gaps=1,
        transcript_false_positive=1, transcript_false_negative=1,
    )  # fmt: skip
    assert (two.n, two.missing, two.passed, two.false_positive) == (1, 1, 0, 0)
    assert (three.n, three.missing, three.passed) == (0, 0, 0)


def test_saving_again_takes_the_place_of_what_was_kept(store: Store) -> None:
    save(store, "1-1", passed=True)
    save(store, "1-1", "later", passed=False)
    assert by_batch(store, context="later").failed == 1
    assert by_batch(store).missing == 3
    standing.save(store, "later", [standing.Standing(assessment("1-1", passed=True), 0)])
    assert by_batch(store, context="later")[3:7] == (3, 2, 1, 0)


def test_rules_are_counted_over_the_scored_rows_of_the_batches_asked_for(store: Store) -> None:
    save(store, "1-1", rules={"strictest": False, "majority": True, "gpt": None})
    save(store, "1-2", rules={"strictest": True, "majority": True, "gpt": False})
    save(store, "2-1", rules={"strictest": True})

    def by_rule(context: str, ids: Any) -> Any:
        return standing.outcomes(store, context, ids).rules

    assert by_rule("now", [1]) == {"strictest": (1, 2), "majority": (2, 2), "gpt": (0, 1)}
    assert by_rule("now", range(1, 100_000))["strictest"] == (2, 3)
    assert by_rule("now", []) == by_rule("later", [1]) == {}


def test_assessments_are_read_page_by_page_in_order(store: Store) -> None:
    for id in ("2-1", "1-3", "1-1"):
        save(store, id)
    for page in (1, 2, 3, 100):
        found = [kept.transcript for kept in standing.assessments(store, "now", page=page)]
        assert found == ["1-1", "1-3", "2-1"]
    assert [kept.transcript for kept in standing.assessments(store, "now", batch=1, page=1)] == ["1-1", "1-3"]


def test_a_failed_save_keeps_nothing(store: Store) -> None:
    rows = [standing.Standing(assessment("1-1"), 0), standing.Standing(assessment("9-9"), 0)]
    with pytest.raises(Exception, match="FOREIGN KEY"):
        standing.save(store, "now", rows)
    assert standing.get(store, "now", "1-1") is None


def test_the_newest_batch_that_waits_is_found(store: Store) -> None:
    assert standing.newest_waiting(store, "now") == 2, "batch 3 is empty"
    save(store, "2-1", decision="approved")
    assert standing.newest_waiting(store, "now") == 1
    for id in ("1-1", "1-2", "1-3"):
        save(store, id, decision="rejected")
    assert standing.newest_waiting(store, "now") == 2, "nothing waits: the newest with transcripts"
    assert standing.newest_waiting(store, "other") == 2


def test_waiting_ones_are_listed_with_whether_they_are_counted(store: Store) -> None:
    save(store, "1-2", decision="approved")
    save(store, "1-3")
    assert standing.waiting(store, "now", 1, 10) == [("1-1", False), ("1-3", True)]
    assert standing.waiting(store, "now", 1, 1) == [("1-1", False)]


def test_letters_come_from_current_rows_of_these_batches(store: Store) -> None:
    for id in ("1-1", "1-2", "2-1"):
        row = standing.Standing(assessment(id), standing.stale(store, "now")[id], letters=f"L{id}")
        standing.save(store, "now", [row])
    transcripts.bump(store, ["1-2"])
    assert standing.outcomes(store, "now", [1]).letters == ["L1-1"]
    assert sorted(standing.outcomes(store, "now", [1, 2]).letters) == ["L1-1", "L2-1"]
