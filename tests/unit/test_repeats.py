"""Hidden repeats: who sees what again, and what it says of them."""

from typing import Any

from loopreview.models.review import Event
from loopreview.rules.repeats import as_new, candidates, mixed
from loopreview.rules.review import fold
from loopreview.rules.rubric import read_rubric
from loopreview.rules.self_agreement import repeat_rows

RUBRIC = read_rubric(
    'name: r\ncategories: {a: {weight: 1}}\ncriteria:\n  - {id: U1, name: One, category: a, question: "?"}\n', "r"
)


def event(
    id: int, kind: Any, transcript: str = "t", *, reviewer: str = "ann", again: bool = False, **more: Any
) -> Event:
    data = {"repeat": True} if again else {}
    return Event(id=id, kind=kind, reviewer=reviewer, transcript=transcript, data=data, **more)


def answer(id: int, said: Any, transcript: str = "t", **more: Any) -> Event:
    return event(id, "answer", transcript, criterion="U1", answer=said, **more)


def test_what_is_said_in_a_repeat_counts_nowhere_else() -> None:
    found = fold([answer(1, "YES"), event(2, "approve"), answer(3, "NO", again=True), event(4, "reject", again=True)])
    review = found.transcripts["t"]
    assert review.effective_answer("U1") == ("YES", False) and review.decision == "approved"
    assert review.repeats["U1"]["ann"].answer == "NO" and review.repeated_decisions["ann"].kind == "reject"


def test_the_reviewer_sees_only_the_repeat_and_others() -> None:
    log = [
        answer(1, "YES"), answer(2, "NO", reviewer="bob"), event(3, "approve"),
        answer(4, "NO", again=True), answer(5, "NA", again=True),
        event(6, "undo", target=5), event(7, "undo", target=3),
    ]  # fmt: skip
    review = fold(as_new(log, "ann")).transcripts["t"]
    assert {name: e.answer for name, e in review.answers["U1"].items()} == {"ann": "NO", "bob": "NO"}
    assert review.decision is None
    assert fold(as_new(log, "bob")).transcripts["t"].answers["U1"]["ann"].answer == "YES"


def test_those_decided_long_ago_come_again_once() -> None:
    log = [event(n, "approve", f"t{n}") for n in range(1, 6)]
    assert candidates(log, "ann", rest=2) == ["t1", "t2", "t3"]
    assert candidates(log, "bob", rest=0) == []
    log += [event(6, "approve", "t1", again=True), event(7, "undo", "t2", target=2)]
    assert candidates(log, "ann", rest=2) == ["t3"]
    log += [event(8, "undo", "t1", target=6)]
    assert candidates(log, "ann", rest=2) == ["t1", "t3"]
    assert candidates(log[:3], "ann") == [], "a fresh one would be remembered"


def test_repeats_are_the_share_asked_for_and_never_come_first() -> None:
    waiting = [(f"w{n}", "doubt") for n in range(400)]
    again = [f"a{n}" for n in range(400)]
    shown = mixed(waiting, again, seed="s", share=0.2)
    repeats = [id for id, because in shown if because == "repeat"]
    assert 0.14 < len(repeats) / len(shown) < 0.26 and repeats == again[: len(repeats)]
    assert shown[0] == ("w0", "doubt") and [e for e in shown if e[1] != "repeat"] == waiting
    assert mixed(waiting, again, seed="s", share=0.2) == shown != mixed(waiting, again, seed="other", share=0.2)
    assert mixed(waiting, again, seed="s", share=0.0) == waiting == mixed(waiting, [], seed="s", share=0.5)
    assert len(mixed(waiting[:3], ["a"], seed="s", share=0.5)) == 4, "none comes twice"


def test_a_reviewer_is_compared_with_themselves() -> None:
    log = []
    for n, (first, second) in enumerate([("YES", "YES"), ("NO", "YES"), ("NO", "NO"), ("YES", "YES")]):
        log += [answer(10 * n + 1, first, f"t{n}"), answer(10 * n + 2, second, f"t{n}", again=True)]
    log += [answer(99, "NO", "t9", again=True), answer(98, "YES", "t1", reviewer="bob")]
    (row,) = repeat_rows(RUBRIC, fold(log).transcripts.values())
    assert (row.criterion, row.names, row.reviewers, row.items, row.raw) == ("U1", ("ann",), 1, 4, 0.75)
    assert row.kappa == 0.5  # po 0.75, pe 0.5
