"""What each key of reviewing does, without a screen."""

import threading
from pathlib import Path
from typing import Any

import pytest

from loopreview import standing
from loopreview.store import events
from loopreview.store.database import Store
from loopreview.tui.books import WorkspaceBooks
from loopreview.tui.guard import Guard
from loopreview.tui.review_desk import Desk
from loopreview.workspace import Workspace

SPLIT = {"U1": "NNY", "T1": "YNY"}


def desk_of(workspace: Workspace, reviewer: str = "ann", **more: Any) -> Desk:
    standing.refresh(workspace)
    desk = Desk(WorkspaceBooks(workspace, reviewer), **more)
    desk.start(at=0.0)
    return desk


def said(workspace: Workspace) -> list[tuple[str, str | None, str | None]]:
    return [(e.kind, e.criterion, e.answer) for e in events.all(workspace.store)]


def test_splits_are_asked_and_the_rest_is_not(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    assert desk.to_answer == ["U1", "T1"]
    assert desk.not_asked == ["U2", "T2", "S1"]
    assert desk.cursor == "U1"


def test_a_gate_that_says_no_comes_first(make_workspace: Any) -> None:
    assert desk_of(make_workspace([{**SPLIT, "S1": "NYY"}])).to_answer == ["S1", "U1", "T1"]


def test_with_nothing_to_answer_the_cursor_is_in_the_other_section(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([{}]))
    assert desk.to_answer == [] and desk.cursor == "U1"


def test_agreeing_writes_the_merged_answer_and_goes_on(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace)
    desk.agree()
    assert said(workspace) == [("answer", "U1", "NO")]
    assert desk.cursor == "T1" and desk.mine("U1") == "NO"


def test_the_same_answer_goes_on_and_a_correction_stays_and_names_itself(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace)
    desk.say("YES")
    assert desk.cursor == "U1" and desk.hint and desk.hint.text == "false negative"
    desk.agree()
    assert desk.cursor == "T1"
    assert said(workspace) == [("answer", "U1", "YES")], "leaving a correction writes nothing"
    desk.say("NO")
    assert desk.cursor == "U2", "both are answered; the next row below is offered"


def test_a_judged_yes_that_i_deny_is_a_false_positive(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([{}]))
    desk.say("NO")
    assert desk.flag("U1") == "false positive"
    desk.say("NA")
    assert desk.flag("U1") == "judges YES, I say NA"


def test_saying_the_same_again_writes_nothing(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace)
    desk.say("YES")
    desk.say("YES")
    assert len(said(workspace)) == 1 and desk.cursor == "T1"


def test_there_is_nothing_to_agree_with_where_a_judge_failed(make_workspace: Any) -> None:
    workspace = make_workspace([{"U1": "YEY"}])
    desk = desk_of(workspace)
    assert desk.to_answer == ["U1"]
    desk.agree()
    assert said(workspace) == [] and desk.hint and "nothing to agree with" in desk.hint.text
    desk.say("YES")
    assert said(workspace) == [("answer", "U1", "YES")] and desk.cursor != "U1"


def test_the_order_stays_while_the_transcript_is_open(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    before = desk.rows
    desk.say("YES"), desk.agree(), desk.say("YES")
    assert desk.rows == before


def test_a_decision_opens_the_next_undecided_one(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT, SPLIT, SPLIT])
    desk = desk_of(workspace)
    order = [id for id, _ in desk.queue]
    assert desk.decide("approve", at=9.0)
    assert desk.sheet and desk.sheet.id == order[1]
    desk.move_transcript(1, at=9.0)
    assert desk.decide("reject", at=20.0)
    assert desk.sheet.id == order[1], "it goes round to the one left over"
    assert not desk.decide("approve", at=30.0)
    assert desk.hint and "no other one waits" in desk.hint.text
    assert [e.kind for e in events.all(workspace.store)] == ["approve", "reject", "approve"]


def test_a_decision_says_what_was_looked_at(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace, share_shown=lambda: 0.4)
    desk.agree()
    desk.decide("reject", at=12.5)
    data = events.all(workspace.store)[-1].data
    assert data == {
        "answered": ["U1"], "opened": ["U1", "T1"], "unopened": ["U2", "T2", "S1"], "share_shown": 0.4, "seconds": 12.5,
    }  # fmt: skip


def test_a_decision_labels_the_transcript_only(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace)
    desk.decide("approve", at=9.0)
    assert said(workspace) == [("approve", None, None)]


def test_approving_over_a_gate_goes_to_the_gate_first(make_workspace: Any) -> None:
    workspace = make_workspace([{**SPLIT, "S1": "NNN"}])
    desk = desk_of(workspace)
    desk.go_to("T1")
    assert not desk.decide("approve", at=9.0)
    assert desk.cursor == "S1" and said(workspace) == []
    desk.agree()
    desk.decide("approve", at=10.0)
    assert said(workspace) == [("answer", "S1", "NO"), ("approve", None, None)]


def test_where_nothing_waits_the_batch_can_be_looked_at_again(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT, SPLIT])
    desk = desk_of(workspace)
    desk.decide("approve", at=9.0)
    desk.decide("reject", at=19.0)
    again = desk_of(workspace)
    assert [id for id, _ in again.queue] == ["1-1", "1-2"] and again.my_decision() == "approve"


def test_approving_an_incomplete_transcript_warns(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT], target=50))
    desk.decide("approve", at=9.0)
    assert desk.hint and "not complete (3 of 50" in desk.hint.text and desk.hint.tone == "flag"


def test_undo_and_redo_go_back_to_where_it_was(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT, SPLIT])
    desk = desk_of(workspace)
    first = desk.sheet.id if desk.sheet else ""
    desk.say("YES")
    desk.decide("reject", at=9.0)
    assert desk.sheet and desk.sheet.id != first
    desk.undo(at=9.0)
    assert desk.sheet.id == first and desk.my_decision() is None and desk.mine("U1") == "YES"
    desk.undo(at=9.0)
    assert desk.cursor == "U1" and desk.mine("U1") is None
    desk.redo(at=9.0)
    assert desk.mine("U1") == "YES"
    desk.redo(at=9.0)
    assert desk.my_decision() == "reject"
    desk.redo(at=9.0)
    assert desk.hint and desk.hint.text == "nothing to bring back"


def test_blind_hides_the_judges_and_keeps_both_answers(make_workspace: Any) -> None:
    workspace = make_workspace([{**SPLIT, "S1": "NNN"}])
    desk = desk_of(workspace)
    desk.set_blind(True)
    assert desk.to_answer == ["U1", "U2", "T1", "T2", "S1"], "the rubric's own order"
    assert desk.stops == [] and desk.merged("U1") is None
    desk.agree()
    assert said(workspace) == [] and desk.hint and desk.hint.text.startswith("blind")
    desk.say("YES")
    assert desk.cursor == "U2" and desk.flag("U1") is None
    desk.set_blind(False)
    desk.go_to("U1")
    desk.say("NO")
    assert desk.sheet is not None
    assert desk.sheet.review.blind["U1"]["ann"].answer == "YES"
    assert desk.mine("U1") == "NO" and desk.sheet.review.changes_of_mind == 1


def test_what_cannot_be_stored_changes_nothing(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = desk_of(workspace)
    locked, done = threading.Event(), threading.Event()

    def hold(path: Path) -> None:
        with Store.open(path) as other, other.writing():
            locked.set()
            done.wait(10)

    thread = threading.Thread(target=hold, args=(workspace.store.path,))
    thread.start()
    locked.wait(10)
    try:
        desk.say("YES")
        assert desk.hint and desk.hint.tone == "error" and desk.hint.text.startswith("not saved")
        assert desk.mine("U1") is None and desk.cursor == "U1"
    finally:
        done.set()
        thread.join()
    desk.say("YES")
    assert desk.mine("U1") == "YES"


def test_two_reviewers_keep_their_own_answers(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    ann, bob = desk_of(workspace), desk_of(workspace, "bob")
    ann.say("YES")
    bob.say("NO")
    assert ann.sheet is not None
    ann.books.renew(ann.sheet)
    assert ann.sheet.assessment.human["U1"] == {"ann": "YES", "bob": "NO"}
    assert "U1" in ann.sheet.assessment.contested


def test_quotes_are_gone_through_in_a_ring(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([SPLIT]))
    assert desk.stop and desk.stop.exchange == 2
    assert set(desk.stop.backends) == {"gpt", "son", "qwn"}, "one quote of three judges is one stop"
    assert desk.next_quote(1) == desk.stop


def test_an_empty_workspace_has_nothing_to_review(make_workspace: Any) -> None:
    desk = desk_of(make_workspace([]))
    assert desk.sheet is None and desk.rows == []
    desk.say("YES"), desk.agree(), desk.move(1)
    assert not desk.decide("approve", at=1.0)


@pytest.mark.parametrize(
    ("before", "slips"),
    [(("j", 0.01), True), (("y", 0.10), True), (("n", 0.10), False), (("y", 0.13), False)],
)
def test_keys_that_come_too_fast_are_slips(before: tuple[str, float], slips: bool) -> None:
    assert (Guard().slip("y", before) is not None) is slips
    assert Guard(on=False).slip("y", before) is None


def test_a_decision_right_after_opening_needs_a_second_press(make_workspace: Any) -> None:
    workspace = make_workspace([SPLIT])
    desk = Desk(WorkspaceBooks(workspace, "ann"), guard=Guard())
    desk.start(at=100.0)
    desk.decide("approve", at=100.3)
    assert said(workspace) == [] and desk.hint and "press A again" in desk.hint.text
    desk.decide("approve", at=100.4)
    assert said(workspace) == [("approve", None, None)]
