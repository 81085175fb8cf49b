"""Versions and pairs behind a rubric test, without a judge."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.loop.rubric_flips import labels, matched, repeat_key, under
from loopreview.loop.rubric_versions import earlier_wordings, rubric_versions
from loopreview.models.review import Event
from loopreview.models.rubric import Example
from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Verdict
from loopreview.store import batches, events, examples, transcripts, verdicts
from loopreview.store.verdicts import Given
from loopreview.workspace import Workspace, init

RUBRIC = """\
name: r
categories: {help: {weight: 1}}
criteria:
  - {id: H1, name: Helps, category: help, question: Does it help?}
"""
PRESENT = {"H1", "S1", "T1"}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    root = init(tmp_path / "w", template="blank")
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
    with Workspace.open(root) as workspace:
        talk = [Message(role="user", text="q"), Message(role="assistant", text="a")]
        made = Transcript(id="", batch=1, number=0, origin="imported", messages=talk)
        transcripts.add_imported(workspace.store, batches.create_imported(workspace.store).id, [made])
        yield workspace


def given(key: str, *group: str, answer: str = "YES") -> Given:
    return Given("H1", "gpt", answer, key, group)


def test_answers_of_the_same_group_are_paired_before_later_ones() -> None:
    old = [given("o", "H1", "S1"), given("o", "H1")]
    new = [given("n", "S1", "H1"), given("n", "H1", "S1"), given("n", "H1", "T1")]
    assert matched(old, new, PRESENT) == (old[0], new[1], True)
    assert matched(old[:1], new[2:], PRESENT) == (old[0], new[2], False)
    assert matched(old, [], PRESENT) is None and matched([], new, PRESENT) is None


def test_a_criterion_that_is_gone_does_not_tell_groups_apart() -> None:
    old, new = [given("o", "H1", "X9")], [given("n", "H1")]
    assert matched(old, new, PRESENT) == (old[0], new[0], True)


def test_an_answer_asked_for_its_group_stands_in_but_a_second_asking_does_not() -> None:
    again = given(repeat_key("n", ("H1", "S1"), 1), "H1", "S1")
    twice = given(repeat_key("n", ("H1", "S1"), 2), "H1", "S1")
    assert under([given("n", "H1"), again, twice, given("o", "H1")], "n") == [given("n", "H1"), again]


def test_a_version_has_the_examples_of_its_time(workspace: Workspace) -> None:
    workspace.keep_rubric()
    number = examples.add(workspace.store, "H1", Example(label="PASS", response="r", reasoning="w"), "ann")
    workspace.refresh()
    workspace.keep_rubric()
    with_example = workspace.rubric_version
    examples.remove(workspace.store, number)
    workspace.refresh()
    found = rubric_versions(workspace)
    assert [version.rubric.version for version in found if version.rubric] == [version.hash for version in found]
    assert found[1].hash == with_example and len(found[1].rubric.criteria[0].examples) == 1  # type: ignore[union-attr]
    criterion = workspace.rubric.criteria[0]
    assert [len(wording.criterion.examples) for wording in earlier_wordings(workspace, criterion)] == [1]


def test_earlier_wordings_come_once_and_the_latest_first(workspace: Workspace) -> None:
    path = workspace.rubric_path
    for question in ("Does it help?", "Is it of use?", "Does it help?", "Is it good?", "Is it kind?"):
        path.write_text(RUBRIC.replace("Does it help?", question), encoding="utf-8")
        workspace.refresh()
        workspace.keep_rubric()
    found = earlier_wordings(workspace, workspace.rubric.criteria[0])
    assert [wording.criterion.question for wording in found] == ["Is it good?", "Is it of use?", "Does it help?"]


def test_a_version_that_cannot_be_read_any_more_is_listed_without_a_rubric(workspace: Workspace) -> None:
    from loopreview.store import versions

    versions.keep(workspace.store, "rubric", "name: [", name="r", hash="feed")
    (version,) = rubric_versions(workspace)
    assert (version.hash, version.rubric) == ("feed", None)
    assert earlier_wordings(workspace, workspace.rubric.criteria[0]) == []


def test_labels_are_the_answers_that_stand(workspace: Workspace) -> None:
    def say(kind: str, **more: object) -> Event:
        event = Event(reviewer=str(more.pop("by", "ann")), kind=kind, transcript="1-1", **more)  # type: ignore[arg-type]
        return events.append(workspace.store, event)

    first = say("answer", criterion="H1", answer="YES")
    say("answer", criterion="H1", answer="NO", by="bob")
    assert labels(workspace, "H1") == {} and labels(workspace, "H1", reviewer="ann") == {"1-1": "YES"}
    say("undo", target=first.id)
    assert labels(workspace, "H1") == {"1-1": "NO"} and labels(workspace, "H1", reviewer="ann") == {}
    say("redo", target=first.id)
    assert labels(workspace, "H1", reviewer="ann") == {"1-1": "YES"}


def test_errors_are_no_answers(workspace: Workspace) -> None:
    made = [
        Verdict(transcript="1-1", criterion=criterion, backend="gpt", answer=answer, key="k", asked_with=("H1", "S1"))
        for criterion, answer in (("H1", "ERROR"), ("H1", "NO"), ("S1", "YES"))
    ]  # fmt: skip
    verdicts.add(workspace.store, made)
    assert verdicts.answers(workspace.store, "1-1", "H1") == [Given("H1", "gpt", "NO", "k", ("H1", "S1"))]
    assert [answer.criterion for answer in verdicts.answers(workspace.store, "1-1")] == ["H1", "S1"]
