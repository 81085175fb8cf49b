"""The fold over reviewers' events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.review import Event
from loopreview.models.verdict import Assessment
from loopreview.rules.review import TranscriptReview, flags, fold, redo_target, undo_target


def event(id, kind, reviewer="ana", **more):
    return Event(id=id, kind=kind, reviewer=reviewer, **{"transcript": "1-1", **more})


def answer(id, criterion, value, reviewer="ana", **more):
    return event(id, "answer", reviewer, criterion=criterion, answer=value, **more)


def one(*events):
    return fold(events).transcripts.get("1-1", TranscriptReview())


def state(review):
    """What stands, without the ids of what is undone."""
    return review.transcripts, review.contents


# --- answers and decisions ------------------------------------------------------------------------------------------


def test_nothing_stands_before_anything_happened():
    review = fold([])
    assert review.transcripts == {} and review.contents == {} and review.undone == frozenset()
    assert TranscriptReview().decision is None
    assert TranscriptReview().effective_answer("A1") == (None, False)


def test_the_last_answer_of_a_reviewer_counts():
    t = one(answer(1, "A1", "YES"), answer(2, "A1", "NO"))
    assert t.answers["A1"]["ana"].answer == "NO"
    assert t.effective_answer("A1") == ("NO", False)


def test_events_are_taken_in_the_order_of_their_ids():
    events = [answer(1, "A1", "YES"), answer(2, "A1", "NO"), event(3, "undo", target=2), answer(4, "A2", "NA")]
    assert fold(reversed(events)) == fold(events)


@pytest.mark.parametrize(
    "votes, expected",
    [
        (["YES"], ("YES", False)),
        (["YES", "NO"], (None, True)),
        (["YES", "YES", "NO"], ("YES", False)),
        (["YES", "NO", "NA"], (None, True)),
        (["NO", "NO", "YES", "YES"], (None, True)),
        (["NA", "NA", "NA", "YES", "NO"], ("NA", False)),
    ],
)
def test_more_than_half_decides_else_it_is_contested(votes, expected):
    t = one(*(answer(i, "A1", vote, reviewer=f"r{i}") for i, vote in enumerate(votes, 1)))
    assert t.effective_answer("A1") == expected


@pytest.mark.parametrize(
    "kinds, expected",
    [
        (["approve"], "approved"),
        (["reject"], "rejected"),
        (["approve", "approve"], "approved"),
        (["approve", "reject"], "rejected"),
        (["reject", "approve", "approve"], "rejected"),
    ],
)
def test_approved_needs_an_approval_and_no_standing_rejection(kinds, expected):
    t = one(*(event(i, kind, reviewer=f"r{i}") for i, kind in enumerate(kinds, 1)))
    assert t.decision == expected


def test_a_reviewer_who_changes_the_decision_has_one_decision():
    assert one(event(1, "reject"), event(2, "approve")).decision == "approved"


def test_a_decision_labels_the_transcript_only():
    assert one(event(1, "approve"), event(2, "reject", "bo")).answers == {}


def test_gaps_blames_notes_and_marks_are_kept_in_order():
    t = one(
        event(1, "gap", note="never names the user"),
        event(2, "blame", data={"exchange": 2, "blame": "assistant"}),
        event(3, "note", note="odd"),
        event(4, "mark", data={"exchange": 3}),
        event(5, "gap", note="too long"),
    )
    assert [g.id for g in t.gaps] == [1, 5]
    assert [[e.id for e in some] for some in (t.blames, t.notes, t.marks)] == [[2], [3], [4]]


def test_content_is_each_reviewers_word_on_a_batch():
    review = fold(
        [
            Event(id=1, kind="content", reviewer="ana", batch=3, data={"yes": True}),
            Event(id=2, kind="content", reviewer="bo", batch=3, data={"yes": False}),
            Event(id=3, kind="content", reviewer="ana", batch=4, data={"yes": True}),
            Event(id=4, kind="content", reviewer="ana", batch=4, data={"yes": False}),
        ]
    )
    assert review.contents == {3: {"ana": True, "bo": False}, 4: {"ana": False}}
    assert review.transcripts == {}


def test_transcripts_do_not_mix():
    review = fold([answer(1, "A1", "YES"), answer(2, "A1", "NO", transcript="1-2")])
    assert review.transcripts["1-1"].effective_answer("A1") == ("YES", False)
    assert review.transcripts["1-2"].effective_answer("A1") == ("NO", False)


# --- blind ----------------------------------------------------------------------------------------------------------


def test_blind_and_final_answers_are_both_kept_and_the_final_one_is_effective():
    t = one(answer(1, "A1", "YES", blind=True), answer(2, "A1", "NO"))
    assert t.blind["A1"]["ana"].answer == "YES"
    assert t.answers["A1"]["ana"].answer == "NO"
    assert t.effective_answer("A1") == ("NO", False)


def test_changes_of_mind_are_blind_answers_that_ended_otherwise():
    t = one(
        answer(1, "A1", "YES", blind=True),
        answer(2, "A2", "YES", blind=True),
        answer(3, "A3", "NO"),
        answer(4, "A1", "NO"),
        answer(5, "A2", "YES"),
        answer(6, "A3", "YES"),
        answer(7, "A1", "YES", "bo", blind=True),
    )
    assert t.changes_of_mind == 1


def test_undoing_the_final_answer_brings_the_blind_one_back():
    t = one(answer(1, "A1", "YES", blind=True), answer(2, "A1", "NO"), event(3, "undo", target=2))
    assert t.effective_answer("A1") == ("YES", False) and t.changes_of_mind == 0


# --- undo and redo --------------------------------------------------------------------------------------------------


def test_an_undo_brings_back_what_stood_before():
    first = [answer(1, "A1", "YES"), event(2, "approve")]
    for act in (answer(3, "A1", "NO"), event(3, "reject"), event(3, "gap", note="x"), answer(3, "A2", "NA")):
        review = fold([*first, act, event(4, "undo", target=3)])
        assert state(review) == state(fold(first))
        assert review.undone == {3}


def test_an_undone_content_is_no_word():
    events = [
        Event(id=1, kind="content", reviewer="ana", batch=3, data={"yes": True}),
        Event(id=2, kind="undo", reviewer="ana", batch=3, target=1),
    ]
    assert fold(events).contents == {}


def test_nobody_takes_back_the_act_of_another():
    review = fold([answer(1, "A1", "YES", "ana"), event(2, "undo", "bo", target=1)])
    assert review.undone == frozenset()
    assert review.transcripts["1-1"].effective_answer("A1") == ("YES", False)


@pytest.mark.parametrize("target", [None, 0, 99, 2])
def test_an_undo_without_an_act_to_take_back_does_nothing(target):
    events = [answer(1, "A1", "YES"), event(2, "undo", target=target)]
    assert state(fold(events)) == state(fold(events[:1])) and fold(events).undone == frozenset()


def test_an_undo_takes_back_no_act_that_came_after_it():
    events = [answer(1, "A1", "YES"), event(2, "undo", target=3), answer(3, "A1", "NO")]
    assert fold(events).undone == frozenset()


def test_the_last_standing_act_of_the_same_reviewer_is_undone_first():
    log = [answer(1, "A1", "YES"), event(2, "approve"), answer(3, "A1", "NO", "bo")]
    assert undo_target(log, "ana").id == 2
    log.append(event(4, "undo", target=2))
    assert undo_target(log, "ana").id == 1
    log.append(event(5, "undo", target=1))
    assert undo_target(log, "ana") is None
    assert undo_target(log, "bo").id == 3
    assert undo_target(log, "cy") is None


def test_redo_brings_back_what_was_undone_last():
    log = [answer(1, "A1", "YES"), answer(2, "A2", "NO"), event(3, "undo", target=2), event(4, "undo", target=1)]
    assert redo_target(log, "ana").id == 1
    log.append(event(5, "redo", target=1))
    assert redo_target(log, "ana").id == 2
    log.append(event(6, "redo", target=2))
    assert redo_target(log, "ana") is None
    assert undo_target(log, "ana").id == 2


def test_a_new_act_clears_what_could_be_redone():
    log = [answer(1, "A1", "YES"), event(2, "undo", target=1)]
    assert redo_target(log, "ana").id == 1
    assert redo_target([*log, answer(3, "A2", "NO", "bo")], "ana").id == 1
    assert redo_target([*log, answer(3, "A2", "NO", "ana")], "ana") is None


# --- properties -----------------------------------------------------------------------------------------------------

REVIEWERS = ("ana", "bo", "cy")
ACTS = st.one_of(
    st.tuples(st.just("answer"), st.sampled_from(["A1", "A2"]), st.sampled_from(["YES", "NO", "NA"]), st.booleans()),
    st.tuples(st.sampled_from(["approve", "reject", "gap", "undo", "redo"])),
)
LOGS = st.lists(st.tuples(st.sampled_from(REVIEWERS), ACTS), max_size=25)


def played(log):
    """Events as the program would append them; an undo or redo with nothing to do is not appended."""
    events = []
    for reviewer, (kind, *rest) in log:
        id = len(events) + 1
        if kind in ("undo", "redo"):
            target = (undo_target if kind == "undo" else redo_target)(events, reviewer)
            if target is not None:
                events.append(event(id, kind, reviewer, target=target.id))
        elif kind == "answer":
            criterion, value, blind = rest
            events.append(answer(id, criterion, value, reviewer, blind=blind))
        else:
            events.append(event(id, kind, reviewer))
    return events


@given(LOGS, st.sampled_from(REVIEWERS))
def test_undo_then_redo_is_identity(log, reviewer):
    events = played(log)
    target = undo_target(events, reviewer)
    if target is None:
        return
    undone = [*events, event(len(events) + 1, "undo", reviewer, target=target.id)]
    assert fold(undone).undone == fold(events).undone | {target.id}
    assert redo_target(undone, reviewer) == target
    redone = [*undone, event(len(undone) + 1, "redo", reviewer, target=target.id)]
    assert fold(redone) == fold(events)
    assert undo_target(redone, reviewer) == target


@given(LOGS, st.sampled_from(REVIEWERS))
def test_an_act_then_its_undo_changes_nothing_that_stands(log, reviewer):
    events = played(log)
    id = len(events) + 1
    after = [*events, answer(id, "A1", "NO", reviewer), event(id + 1, "undo", reviewer, target=id)]
    assert state(fold(after)) == state(fold(events))


@given(LOGS)
def test_everything_can_be_undone(log):
    events = played(log)
    for reviewer in REVIEWERS:
        while (target := undo_target(events, reviewer)) is not None:
            events.append(event(len(events) + 1, "undo", reviewer, target=target.id))
    assert state(fold(events)) == ({}, {})


@given(LOGS, st.randoms(use_true_random=False))
def test_how_the_acts_of_reviewers_interleave_never_matters(log, rng):
    events = played(log)
    queues = [[e for e in events if e.reviewer == reviewer] for reviewer in REVIEWERS]
    mixed = []
    while any(queues):
        mixed.append(rng.choice([queue for queue in queues if queue]).pop(0))
    ids = {e.id: place for place, e in enumerate(mixed, 1)}
    other = [e.model_copy(update={"id": ids[e.id], "target": ids.get(e.target)}) for e in mixed]

    def seen(of):
        t = fold(of).transcripts.get("1-1", TranscriptReview())
        answers = [
            {c: {r: e.answer for r, e in sorted(by.items())} for c, by in kept.items()} for kept in (t.answers, t.blind)
        ]
        return answers, {r: e.kind for r, e in t.decisions.items()}, t.decision, t.changes_of_mind, len(t.gaps)

    assert seen(other) == seen(events)


@given(LOGS, ACTS, st.sampled_from(REVIEWERS))
def test_appending_changes_no_earlier_act_but_the_target_of_an_undo_or_redo(log, act, reviewer):
    before = played(log)
    after = played([*log, (reviewer, act)])
    assert after[: len(before)] == before
    changed = fold(after).undone ^ fold(before).undone
    if len(after) == len(before) or act[0] not in ("undo", "redo"):
        assert changed == frozenset()
    else:
        assert changed == {after[-1].target}


# --- flags ----------------------------------------------------------------------------------------------------------


def flagged(merged, *events, judged=None):
    """Flags of a transcript with these merged answers."""
    assessment = Assessment(
        transcript="1-1",
        answers={},
        merged=merged,
        human={},
        effective={},
        judged=judged,
        categories={},
        unscored=False,
    )
    return flags(assessment, one(*events))


@pytest.mark.parametrize(
    "merged, person, where",
    [
        ("YES", "NO", "false_positive"),
        ("NO", "YES", "false_negative"),
        ("INVALID_NA", "YES", "false_negative"),
        ("YES", "NA", "na"),
        ("NO", "NA", "na"),
        ("NA", "YES", "na"),
        ("NA", "NO", "na"),
        ("YES", "YES", None),
        ("NO", "NO", None),
        ("INVALID_NA", "NO", None),
        ("NA", "NA", None),
        ("INVALID_NA", "NA", None),
        ("SKIPPED", "NO", None),
        (None, "NO", None),
    ],
)
def test_the_program_names_the_flag(merged, person, where):
    found = flagged({"A1": merged}, answer(1, "A1", person))
    for name in ("false_positive", "false_negative", "na"):
        assert getattr(found, name) == (["A1"] if name == where else [])


def test_a_flag_counts_once_however_many_reviewers_raise_it():
    found = flagged({"A1": "YES"}, answer(1, "A1", "NO", "ana"), answer(2, "A1", "NO", "bo"))
    assert found.false_positive == ["A1"]


def test_a_contested_criterion_has_no_flag():
    found = flagged({"A1": "YES"}, answer(1, "A1", "NO", "ana"), answer(2, "A1", "YES", "bo"))
    assert found.false_positive == []


@pytest.mark.parametrize(
    "judged, kind, expected",
    [
        (True, "reject", (True, False)),
        (False, "approve", (False, True)),
        (True, "approve", (False, False)),
        (False, "reject", (False, False)),
        (None, "reject", (False, False)),
        (None, "approve", (False, False)),
    ],
)
def test_transcript_flags_compare_judged_with_the_decision(judged, kind, expected):
    found = flagged({}, event(1, kind), judged=judged)
    assert (found.transcript_false_positive, found.transcript_false_negative) == expected


def test_gaps_are_counted_and_undone_ones_are_not():
    assert flagged({}, event(1, "gap"), event(2, "gap"), event(3, "undo", target=2)).gaps == 1


def test_without_a_review_there_is_no_flag():
    assessment = Assessment(
        transcript="1-1", answers={}, merged={"A1": "NO"}, human={}, effective={}, categories={}, unscored=True
    )
    assert flags(assessment, None) == ([], [], [], 0, False, False)
