"""Answers that come with transcripts: scores as verdicts, their edits as reviews."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview import standing
from loopreview.ingest import import_transcripts
from loopreview.models.errors import UserError
from loopreview.rules.stale import imported_key
from loopreview.store import events, transcripts, verdicts
from loopreview.workspace import Workspace

EDITS = [
    {"value": 1, "explanation": "fine"},
    {"value": 0, "provenance": {"author": "ann", "timestamp": "2026-03-01T12:00:00Z", "reason": "no"}},
    {"value": 1, "provenance": {"author": "ann", "timestamp": "2026-03-02T12:00:00Z", "reason": "yes after all"}},
]


@pytest.fixture
def workspace(small: Path) -> Iterator[Workspace]:
    with Workspace.open(small) as opened:
        yield opened


def log(path: Path, *scores: Any, texts: tuple[str, ...] = ()) -> Path:
    """A log with a sample for each of `scores`."""
    samples = [
        {
            "id": place, "epoch": 1, "input": "a", "target": "", "scores": given,
            "messages": [
                {"role": "user", "content": texts[place - 1] if texts else f"question {place}"},
                {"role": "assistant", "content": "answer"},
            ],
        }
        for place, given in enumerate(scores, 1)
    ]  # fmt: skip
    path.write_text(
        json.dumps({"status": "success", "eval": {"task": "nightly"}, "samples": samples}), encoding="utf-8"
    )
    return path


def test_scores_become_verdicts_of_the_present_wording(workspace: Workspace, tmp_path: Path) -> None:
    both = {"panel": {"value": {"H1": 1, "S1": 0}, "explanation": "because"}}
    result = import_transcripts(workspace, [log(tmp_path / "log.json", both, both)])
    assert [result[key] for key in ("verdicts", "reviews", "backends", "reviewers")] == [4, 0, ["panel"], []]
    one, other = verdicts.of(workspace.store, "1-1")
    assert (one.criterion, one.answer, one.backend, one.reasoning, one.origin) == (
        "H1", "YES", "panel", "because", "imported"
    )  # fmt: skip
    criterion = workspace.rubric.criterion("H1")
    assert criterion and one.key == imported_key(transcripts.get(workspace.store, "1-1").hash, criterion, "panel")
    assert other.answer == "NO"
    stands = standing.assessment(workspace, "1-1")
    assert stands.merged["H1"] == "YES" and stands.merged["S1"] == "NO" and not stands.unscored


def test_scores_of_one_criterion_each_are_one_backend_s_so_that_none_stays_open(
    workspace: Workspace, tmp_path: Path
) -> None:
    import_transcripts(workspace, [log(tmp_path / "log.json", {"H1": {"value": "C"}, "S1": {"value": "C"}})])
    assert [member.backend for member in verdicts.panel(workspace.store, "1-1")] == ["nightly"]
    assert standing.assessment(workspace, "1-1").judged is True


def test_edits_become_reviews_with_author_time_and_reason(workspace: Workspace, tmp_path: Path) -> None:
    result = import_transcripts(workspace, [log(tmp_path / "log.json", {"H1": {"value": 1, "history": EDITS}})])
    assert (result["verdicts"], result["reviews"], result["reviewers"]) == (1, 2, ["ann"])
    first, second = events.of(workspace.store, "1-1")
    assert (first.reviewer, first.kind, first.criterion, first.answer, first.note, first.origin) == (
        "ann", "answer", "H1", "NO", "no", "imported"
    )  # fmt: skip
    assert first.at == "2026-03-01T12:00:00.000000+00:00" and first.data == {"source": "log.json#1"}
    assert first.transcript_hash == transcripts.get(workspace.store, "1-1").hash and first.rubric_version
    assert second.answer == "YES"
    assert standing.assessment(workspace, "1-1").human == {"H1": {"ann": "YES"}}


def test_people_may_answer_what_code_answers_and_leave_remarks(workspace: Workspace, tmp_path: Path) -> None:
    made_by = {"author": "ann", "timestamp": "2026-03-01T12:00:00Z", "reason": "look"}
    history = [{"value": 1}, {"value": "UNCHANGED", "provenance": made_by}]
    scores = {
        "H1": {"value": 1, "history": history},
        "T1": {"value": 0, "history": [{"value": 0, "provenance": made_by}]},
    }
    result = import_transcripts(workspace, [log(tmp_path / "log.json", scores)])
    assert (result["verdicts"], result["reviews"]) == (1, 2)
    assert [(e.kind, e.criterion, e.answer, e.note) for e in events.of(workspace.store, "1-1")] == [
        ("note", "H1", None, "look"), ("answer", "T1", "NO", "look")
    ]  # fmt: skip


def test_what_is_not_in_the_rubric_or_neither_yes_nor_no_is_said(workspace: Workspace, tmp_path: Path) -> None:
    scores = {"includes": {"value": 0.3}, "T1": {"value": 1}, "H1": {"value": 0.7}, "S1": {"value": "C"}}
    result = import_transcripts(workspace, [log(tmp_path / "log.json", scores, scores)])
    assert result["verdicts"] == 2
    assert result["notes"] == [
        {"source": "log.json#1", "note": "the score H1 is 0.7, neither yes nor no; it was left out"},
        {"source": "log.json#2", "note": "the score H1 is 0.7, neither yes nor no; it was left out"},
        {
            "source": "log.json",
            "note": "scores that answer no judged criterion of the rubric were left out: includes (2), T1 (2)",
        },
    ]


def test_a_log_that_comes_again_brings_only_what_is_new_in_it(workspace: Workspace, tmp_path: Path) -> None:
    import_transcripts(workspace, [log(tmp_path / "log.json", {"H1": {"value": 1}})])
    edited = {"H1": {"value": 1, "history": EDITS}, "S1": {"value": 1}}
    for expected in ((2, 2), (0, 0)):
        result = import_transcripts(workspace, [log(tmp_path / "again.json", edited)])
        assert (result["imported"], result["batch"]) == ([], None)
        assert [skip["duplicate"] for skip in result["skipped"]] == [True]
        assert (result["verdicts"], result["reviews"]) == expected
    # `fine` is a new reason for the same answer; S1 is new.
    assert [(v.criterion, v.reasoning) for v in verdicts.of(workspace.store, "1-1")] == [
        ("H1", ""), ("H1", "fine"), ("S1", "")
    ]  # fmt: skip


def test_of_a_score_that_was_corrected_the_last_value_counts_also_when_it_comes_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = log(tmp_path / "log.json", {"H1": {"value": 0, "history": [{"value": 1}, {"value": 0}]}})
    assert [import_transcripts(workspace, [path])["verdicts"] for _ in range(2)] == [1, 0]
    assert [verdict.answer for verdict in verdicts.of(workspace.store, "1-1")] == ["NO"]


def test_transcripts_without_scores_need_no_valid_rubric(workspace: Workspace, tmp_path: Path) -> None:
    workspace.rubric_path.write_text("name: broken", encoding="utf-8")
    assert len(import_transcripts(workspace, [log(tmp_path / "a.json", {})])["imported"]) == 1
    with pytest.raises(UserError, match=r"rubric\.yaml"):
        import_transcripts(workspace, [log(tmp_path / "b.json", {}, {"H1": {"value": 1}}, texts=("x", "y"))])
    assert transcripts.ids(workspace.store) == ["1-1"]


def test_transcripts_and_their_answers_are_one_transaction(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise UserError("the disk is full", exit_code=3)

    monkeypatch.setattr(events, "append_many", full)
    with pytest.raises(UserError, match="disk is full"):
        import_transcripts(workspace, [log(tmp_path / "log.json", {}, {"H1": {"value": 1, "history": EDITS}})])
    assert transcripts.ids(workspace.store) == [] and verdicts.of(workspace.store, "1-1") == []
