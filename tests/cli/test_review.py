"""Reviewing on the command line: one event an act, counted as rules say."""

from pathlib import Path

import pytest


@pytest.fixture
def judged(small, cli) -> Path:
    cli("generate", "-w", small, "--seed", 7, "--count", 2, "--assess")
    return small


def criterion(cli, root: Path, transcript: str, id: str) -> dict:
    rows = cli("show", "-w", root, transcript, "--json").json["criteria"]
    return next(row for row in rows if row["id"] == id)


def opposite(answer: str) -> str:
    return "no" if answer == "YES" else "yes"


def test_an_answer_against_the_judges_takes_their_place_and_is_flagged(judged, cli):
    merged = criterion(cli, judged, "1-1", "H1")["merged"]
    event = cli("review", "answer", "1-1", "H1", opposite(merged), "--reviewer", "ann", "-w", judged, "--json").json
    assert (event["kind"], event["answer"], event["merged"]) == ("answer", opposite(merged).upper(), merged)
    row = criterion(cli, judged, "1-1", "H1")
    assert row["human"] == {"ann": opposite(merged).upper()}
    assert (row["merged"], row["effective"]) == (merged, opposite(merged).upper())
    flags = cli("status", "-w", judged, "--json").json["flags"]
    kind = "false_positive" if merged == "YES" else "false_negative"
    assert flags == {"false_positive": 0, "false_negative": 0, "na": 0, "gaps": 0, kind: 1}


def test_passed_uses_the_reviewers_answers_and_judged_does_not(judged, cli):
    before = cli("show", "-w", judged, "1-1", "--json").json
    for id in ("H1", "S1"):
        cli("review", "answer", "1-1", id, "no", "-w", judged)
    after = cli("show", "-w", judged, "1-1", "--json").json
    assert (after["judged"], after["judged_score"]) == (before["judged"], before["judged_score"])
    assert after["passed"] is False


def test_undo_and_redo_keep_the_log(judged, cli):
    cli("review", "answer", "1-1", "H1", "yes", "--reviewer", "ann", "-w", judged)
    cli("review", "answer", "1-1", "H1", "no", "--reviewer", "bob", "-w", judged)
    cli("review", "undo", "--reviewer", "ann", "-w", judged)
    assert criterion(cli, judged, "1-1", "H1")["human"] == {"bob": "NO"}
    events = cli("review", "log", "-w", judged, "--json").json["events"]
    assert [(e["kind"], e["undone"]) for e in events] == [("answer", True), ("answer", False), ("undo", False)]
    cli("review", "redo", "--reviewer", "ann", "-w", judged)
    assert criterion(cli, judged, "1-1", "H1")["human"] == {"ann": "YES", "bob": "NO"}
    assert criterion(cli, judged, "1-1", "H1")["contested"] is True
    cli("review", "redo", "--reviewer", "ann", "-w", judged, code=1).says("nothing to redo")


def test_approving_over_a_gate_that_says_no_asks_for_ones_own_answer_first(judged, cli):
    cli("review", "answer", "1-1", "S1", "no", "--reviewer", "bob", "-w", judged)
    cli("review", "approve", "1-1", "--reviewer", "ann", "-w", judged, code=1).says("S1")
    assert cli("show", "-w", judged, "1-1", "--json").json["decision"] is None
    cli("review", "answer", "1-1", "S1", "yes", "--reviewer", "ann", "-w", judged)
    cli("review", "approve", "1-1", "--reviewer", "ann", "-w", judged)
    assert cli("show", "-w", judged, "1-1", "--json").json["decision"] == "approved"


def test_a_standing_rejection_wins_and_fails_the_transcript(judged, cli):
    for id in ("H1", "S1"):
        cli("review", "answer", "1-1", id, "yes", "-w", judged)
    cli("review", "approve", "1-1", "--reviewer", "ann", "-w", judged)
    cli("review", "reject", "1-1", "--reviewer", "bob", "-w", judged)
    shown = cli("show", "-w", judged, "1-1", "--json").json
    assert (shown["decision"], shown["passed"]) == ("rejected", False)


def test_the_other_acts_are_kept(judged, cli):
    cli("review", "gap", "1-1", "never says goodbye", "--exchange", 1, "-w", judged)
    cli("review", "blame", "1-1", "user_sim", "--criterion", "H1", "-w", judged)
    cli("review", "note", "1-1", "look again", "-w", judged)
    cli("review", "mark", "1-1", 2, "--better", "A better reply.", "-w", judged)
    cli("review", "content", 1, "yes", "-w", judged)
    kinds = [event["kind"] for event in cli("review", "log", "-w", judged, "--json").json["events"]]
    assert kinds == ["gap", "blame", "note", "mark", "content"]
    found = cli("status", "-w", judged, "--json").json
    assert found["flags"]["gaps"] == 1 and found["batches"][0]["content"] is True
    shown = cli("show", "-w", judged, "1-1", "--json").json
    assert shown["marks"][0]["exchange"] == 2 and shown["marks"][0]["better"] == "A better reply."


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (("answer", "9-9", "H1", "yes"), "9-9"),
        (("answer", "1-1", "H9", "yes"), "H9"),
        (("mark", "1-1", "77"), "no exchange 77"),
        (("content", "9", "yes"), "9"),
        (("undo",), "nothing to undo"),
    ],
)
def test_what_is_not_there_is_named(judged, cli, command, part):
    result = cli("review", *command, "-w", judged, code=None)
    assert result.code in (1, 2)
    result.says(part)
    assert cli("review", "log", "-w", judged, "--json").json["events"] == []


def test_reviewing_without_judges(tmp_path, cli):
    cli("init", tmp_path / "w", "--template", "blank")
    root = tmp_path / "w"
    cli("generate", "-w", root, "--seed", 1, "--count", 1)
    rows = cli("show", "-w", root, "1-1", "--json").json["criteria"]
    for row in rows:
        if row["effective"] is None:
            cli("review", "answer", "1-1", row["id"], "yes", "-w", root)
    assert cli("show", "-w", root, "1-1", "--json").json["passed"] is True


def test_plain_review_reads_and_answers_line_by_line(judged, cli, monkeypatch):
    keys = iter([*"yyy", "a"] * 5)
    asked = []

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        try:
            return next(keys)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    result = cli("review", "--plain", "--reviewer", "ann", "-w", judged)
    assert "exchange 1, user:" in result.out and "exchange 1, assistant:" in result.out
    kinds = {event["kind"] for event in cli("review", "log", "-w", judged, "--json").json["events"]}
    assert "approve" in kinds


def test_agreement_counts_a_fully_answered_transcript_as_fresh(judged, cli):
    for id in ("H1", "S1"):
        cli("review", "answer", "1-1", id, "yes", "--reviewer", "ann", "-w", judged)
    found = cli("agreement", "-w", judged, "--json").json
    fresh = [row for row in found["judges"] if row["population"] == "fresh"]
    assert {row["backend"] for row in fresh} == {"strict", "balanced", "lenient", "merged"}
    assert {row["criterion"] for row in fresh} == {"H1", "S1"}
    assert all(row["n"] + row["na"] == 1 for row in fresh)
    assert found["corrected_pass_rate"]["rate"] is None


def test_corrections_alone_give_no_rate(judged, cli):
    cli("review", "answer", "1-1", "H1", "no", "--reviewer", "ann", "-w", judged)
    assert cli("agreement", "-w", judged, "--json").json["judges"] == []


def test_another_reply_is_drawn_after_its_cost_and_stored_only_when_it_is_kept(judged, cli):
    told = cli("review", "redraw", "1-1", "2", "--dry-run", "-w", judged, "--json").json
    assert (told["calls"], told["cost_usd"], told["text"]) == (1, 0.0, None)
    before = cli("show", "-w", judged, "1-1", "--json").json
    drawn = cli("review", "redraw", "1-1", "2", "-w", judged, "--json").json
    assert drawn["text"].strip() and drawn["exchange"] == 2 and drawn["model"].startswith("offline/")
    assert cli("show", "-w", judged, "1-1", "--json").json == before
    cli("review", "mark", "1-1", "2", "--better", drawn["text"], "-w", judged)
    assert cli("show", "-w", judged, "1-1", "--json").json["marks"][0]["better"] == drawn["text"]


def test_only_a_reply_that_there_is_can_be_drawn_anew(judged, cli):
    wrong = cli("review", "redraw", "1-1", "99", "-w", judged, code=2)
    assert "1-1: has no exchange 99; it has 1 to" in wrong.err
