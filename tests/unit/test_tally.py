"""Counting criteria, alarms, and which way the faults point."""

from typing import Any

import pytest

from loopreview.models.rubric import Rubric
from loopreview.models.verdict import Assessment
from loopreview.rules.rubric import read_rubric
from loopreview.rules.tally import fork, letters, tallies

RUBRIC: Rubric = read_rubric(
    """\
name: r
categories: {a: {weight: 1}}
criteria:
  - {id: U1, name: One, category: a, question: "?"}
  - {id: U2, name: Two, category: a, question: "?"}
""",
    "rubric.yaml",
)


def row(u1: tuple[Any, Any], u2: tuple[Any, Any] = ("YES", None), contested: tuple[str, ...] = ()) -> str:
    """Letters of a transcript from (merged, what people say) of each criterion."""
    merged = {"U1": u1[0], "U2": u2[0]}
    people = {"U1": u1[1], "U2": u2[1]}
    return letters(
        RUBRIC,
        Assessment(
            transcript="t", answers={}, merged=merged, contested=contested, categories={}, unscored=False,
            human={c: {"ann": said} for c, said in people.items() if said},
            effective={c: said or merged[c] for c, said in people.items()},
        ),
    )  # fmt: skip


def test_each_answer_is_counted_with_what_people_made_of_it() -> None:
    given: list[tuple[Any, Any]] = [
        ("YES", None), ("YES", "YES"), ("YES", "NO"), ("YES", "NO"), ("NO", "NO"), ("INVALID_NA", "NO"), ("NO", "YES"),
        ("NA", None), ("NA", "YES"), ("YES", "NA"), (None, None), ("SKIPPED", None), ("NA", "NA"),
    ]  # fmt: skip
    first, second = tallies(RUBRIC, [row(pair) for pair in given])
    assert (first.yes, first.no, first.na, first.open) == (5, 3, 3, 1)
    assert (first.upheld, first.false_positive, first.false_negative, first.na_flags) == (2, 2, 1, 2)
    assert (second.yes, second.no, second.upheld) == (13, 0, 0)


def test_a_contested_answer_is_nobodys() -> None:
    (first, _) = tallies(RUBRIC, [row(("NO", "NO"), contested=("U1",))])
    assert first.no == 1 and first.upheld == 0


def test_rows_of_another_rubric_are_left_out() -> None:
    assert [tally.yes for tally in tallies(RUBRIC, ["", "AAAAA"])] == [0, 0]
    assert [tally.yes for tally in tallies(RUBRIC, [])] == [0, 0]


@pytest.mark.parametrize(
    ("yes", "no", "alarm"),
    [(9, 0, None), (10, 0, "nearly always passes"), (19, 1, "nearly always passes"), (18, 2, None),
     (1, 19, "nearly always fails"), (0, 9, None), (0, 0, None)],
)  # fmt: skip
def test_a_criterion_that_nearly_never_differs_raises_an_alarm(yes: int, no: int, alarm: str | None) -> None:
    rows = [row(("YES", None))] * yes + [row(("NO", None))] * no
    assert tallies(RUBRIC, rows)[0].alarm == alarm


def test_a_gate_that_always_passes_does_its_work() -> None:
    gate = RUBRIC.model_copy(update={"criteria": [RUBRIC.criteria[0].model_copy(update={"gate": True})]})
    yes, no = row(("YES", None))[0], row(("NO", None))[0]
    assert tallies(gate, [yes] * 20)[0].alarm is None
    assert tallies(gate, [no] * 20)[0].alarm == "nearly always fails"


def test_a_checks_no_is_upheld_until_somebody_says_otherwise() -> None:
    check = RUBRIC.criteria[0].model_copy(update={"kind": "check", "check": "artifacts"})
    rubric = RUBRIC.model_copy(update={"criteria": [check]})
    (found,) = tallies(rubric, [row(pair)[0] for pair in (("NO", None), ("NO", "YES"), ("YES", None))])
    assert (found.upheld, found.false_negative) == (1, 1)


def test_upheld_faults_point_at_the_prompt_of_whom_they_are_put_down_to() -> None:
    found = tallies(RUBRIC, [row(("NO", "NO"))] * 3 + [row(("YES", "NO"))])
    assert (
        fork(found, {"assistant": 2}).why == "U1: 3 NOs upheld, 2 put down to the assistant: mend prompts/assistant.md"
    )
    assert "mend prompts/user_sim.md" in fork(found, {"assistant": 1, "user_sim": 2}).why
    assert fork(found, {}).side == "prompt" and fork(found, {}).why == "U1: 3 NOs upheld: mend prompts/assistant.md"


def test_overturned_answers_point_at_the_criterion() -> None:
    found = fork(tallies(RUBRIC, [row(("YES", None), ("NO", "YES"))] * 2 + [row(("NO", "NO"))]), {})
    assert (found.side, found.criterion, found.upheld, found.overturned) == ("criterion", "U2", 1, 2)
    assert found.why == "U2: 2 answers overturned, too strict: sharpen it"
    lenient = fork(tallies(RUBRIC, [row(("YES", "NO"))]), {})
    assert lenient.why == "U1: 1 answer overturned, too lenient: sharpen it"


def test_without_a_word_of_people_there_is_no_fork() -> None:
    found = fork(tallies(RUBRIC, [row(("NO", None))]), {})
    assert found.side is None and found.criterion is None
