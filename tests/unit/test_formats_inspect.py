"""Inspect's logs become transcripts with the answers of their scorers and of the people who edited scores."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loopreview.formats import archive
from loopreview.formats.conversation import GivenAnswer, Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.reading import Skip

HEADER = {
    "version": 2,
    "status": "success",
    "eval": {
        "task": "pkg/help",
        "model": "mock/assistant",
        "scorers": [
            {"name": "U1", "options": {}},
            {"name": "pkg/panel", "options": {"model": "mock/grader"}},
            {"name": "several", "options": {}},
        ],
    },
}
CALL = {"id": "c1", "function": "add", "arguments": {"x": 2}, "type": "function"}


def sample(id: Any = 1, epoch: int = 1, *, reply: str = "It is 4.", **beside: Any) -> dict[str, Any]:
    messages = [
        {"id": "m1", "content": "2+2?", "source": "input", "role": "user"},
        {"id": "m2", "content": reply, "source": "generate", "role": "assistant", "model": "mock/assistant"},
    ]
    return {"id": id, "epoch": epoch, "input": "2+2?", "target": "4", "messages": messages, "events": [{}]} | beside


def archived(path: Path, *samples: Any, header: Any = HEADER, more: Mapping[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_journal/start.json", json.dumps({"version": 2, "eval": HEADER["eval"]}))
        for one in samples:
            file.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        for name, content in (more or {}).items():
            file.writestr(name, content)
        if header is not None:
            file.writestr("summaries.json", "[]")
            file.writestr("header.json", json.dumps(header))
    return path


def read(path: Path, **options: Any) -> list[Record | Skip]:
    return list(read_transcripts(path, max_message_chars=10_000, **options))


def records(path: Path, **options: Any) -> list[Record]:
    found = read(path, **options)
    assert all(isinstance(one, Record) for one in found), found
    return [one for one in found if isinstance(one, Record)]


def answers(tmp_path: Path, **scores: Any) -> tuple[GivenAnswer, ...]:
    (found,) = records(archived(tmp_path / "log.eval", sample(scores=scores)))
    return found.answers


@pytest.mark.parametrize("form", ["auto", "inspect"])
def test_samples_of_an_archive_are_transcripts_named_by_their_ids(tmp_path: Path, form: str) -> None:
    path = archived(tmp_path / "log.eval", sample(7), sample("one/two"), sample(7, 2, reply="4, again."))
    found = records(path, format=form)
    assert [record.transcript.source for record in found] == ["log.eval#7", "log.eval#one/two", "log.eval#7_epoch_2"]
    assert [(m.role, m.text, m.model, m.extra) for m in found[0].transcript.messages] == [
        ("user", "2+2?", None, {}), ("assistant", "It is 4.", "mock/assistant", {})
    ]  # fmt: skip
    assert found[0].notes == () and found[0].answers == ()


def test_a_log_in_json_is_read_alike(tmp_path: Path) -> None:
    samples = [sample(7, scores={"U1": {"value": "C"}}), sample("b", reply="4")]
    (tmp_path / "log.json").write_text(json.dumps(HEADER | {"samples": samples}, indent=1), encoding="utf-8")
    found = records(tmp_path / "log.json")
    assert [record.transcript.source for record in found] == ["log.json#7", "log.json#b"]
    in_archive = records(archived(tmp_path / "log.eval", *samples))
    assert [(r.transcript.messages, r.answers) for r in found] == [
        (r.transcript.messages, r.answers) for r in in_archive
    ]


def test_an_archive_of_a_newer_inspect_is_read(tmp_path: Path) -> None:
    zipped = pytest.importorskip("backports.zstd.zipfile")
    with zipped.ZipFile(tmp_path / "log.eval", "w", zipped.ZIP_ZSTANDARD) as file:
        file.writestr("samples/7_epoch_1.json", json.dumps(sample(7)))
        file.writestr("header.json", json.dumps(HEADER))
    (found,) = records(tmp_path / "log.eval")
    assert found.transcript.source == "log.eval#7"


def test_a_run_that_did_not_end_has_no_header_and_is_read_all_the_same(tmp_path: Path) -> None:
    (found,) = records(archived(tmp_path / "log.eval", sample(scores={"U1": {"value": 1}}), header=None))
    assert [answer.backend for answer in found.answers] == ["help"]


def test_tool_calls_and_results_are_kept_as_openai_writes_them(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "2+2?"}, {"type": "image", "image": "attachment://0"}]},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "model": "m", "source": "generate"},
        {"role": "tool", "content": "4", "tool_call_id": "c1", "function": "add"},
        {
            "role": "tool",
            "content": "",
            "tool_call_id": "c2",
            "function": "sub",
            "error": {"type": "x", "message": "bad"},
        },
        {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "4"}]},
    ]
    (found,) = records(archived(tmp_path / "log.eval", sample(messages=messages)))
    kept = found.transcript.messages
    assert kept[2].extra == {
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"x": 2}'}}]
    }
    assert kept[3].extra == {"tool_call_id": "c1", "name": "add"} and kept[4].extra["error"] == "bad"
    assert [(e.user, e.assistant) for e in found.transcript.exchanges] == [("2+2?", "4")]
    assert any("left out (image)" in note for note in found.notes)
    assert any("left out (reasoning)" in note for note in found.notes)


def test_texts_that_stand_in_attachments_are_put_back(tmp_path: Path) -> None:
    hash = "0" * 32
    messages = [
        {"role": "user", "content": f"attachment://{hash}"},
        {"role": "assistant", "content": "attachment://no"},
    ]
    (found,) = records(archived(tmp_path / "log.eval", sample(messages=messages, attachments={hash: "a long text"})))
    assert [message.text for message in found.transcript.messages] == ["a long text", "attachment://no"]


def test_a_sample_without_messages_is_made_of_its_input_and_output(tmp_path: Path) -> None:
    output = {"model": "m", "completion": "It is 4."}
    given = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "2+2?"}]
    path = archived(
        tmp_path / "log.eval", sample(1, messages=[], output=output), sample(2, messages=[], input=given, output=output)
    )
    one, two = records(path)
    assert [m.text for m in one.transcript.messages] == ["2+2?", "It is 4."]
    assert [m.role for m in two.transcript.messages] == ["system", "user", "assistant"]


def test_persona_and_length_come_from_the_metadata(tmp_path: Path) -> None:
    (found,) = records(
        archived(tmp_path / "log.eval", sample(metadata={"persona": {"name": "Mo"}, "target_exchanges": 3}))
    )
    assert found.transcript.persona == {"name": "Mo"} and not found.transcript.complete


def test_what_halted_a_sample_is_noted(tmp_path: Path) -> None:
    halted = sample(error={"message": "Connection\nlost"}, limit={"type": "token", "limit": 10})
    (found,) = records(archived(tmp_path / "log.eval", halted))
    assert found.notes == ("the sample has an error: Connection lost", "the sample has a limit: token")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("C", "YES"), ("I", "NO"), ("P", "NO"), ("N", "NO"), (1, "YES"), (0, "NO"), (1.0, "YES"), (0.0, "NO"),
        (True, "YES"), (False, "NO"), ("yes", "YES"), ("No", "NO"), ("true", "YES"), ("false", "NO"), ("1", "YES"),
        ("NA", "NA"), ("n/a", "NA"),
    ],
)  # fmt: skip
def test_a_score_s_value_is_an_answer(tmp_path: Path, value: Any, answer: str) -> None:
    (found,) = answers(tmp_path, U1={"value": value, "explanation": "because"})
    assert found == GivenAnswer("U1", answer, "because", backend="help")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0.7, "is 0.7, neither yes nor no"),
        ("maybe", "is maybe, neither yes nor no"),
        ([1, 0], "is [1, 0]"),
        (float("nan"), "no value"),
    ],
)
def test_a_value_that_is_no_answer_is_a_problem(tmp_path: Path, value: Any, problem: str) -> None:
    (found,) = answers(tmp_path, U1={"value": value})
    assert found.answer is None and problem in found.problem


def test_a_score_of_several_values_answers_a_criterion_each(tmp_path: Path) -> None:
    found = answers(tmp_path, several={"value": {"U1": 1, "U2": "no", "U3": None}})
    assert [(one.criterion, one.answer, one.backend) for one in found] == [
        ("U1", "YES", "several"), ("U2", "NO", "several"), ("U3", None, "several")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "score", "backend"),
    [
        ("panel", {"value": "C"}, "mock/grader"),  # the scorer was given a model
        ("panel", {"value": {"U1": 1}}, "mock/grader"),
        ("U1", {"value": "C", "metadata": {"grading": [{"role": "user"}, {"role": "assistant", "model": "g"}]}}, "g"),
        ("U1", {"value": "C", "metadata": {"grading": [7]}}, "help"),  # the task: `U1` names the criterion alone
        ("several", {"value": {"U1": 1}}, "several"),
    ],
)
def test_the_backend_is_the_grader_s_model_or_the_scorer(tmp_path: Path, name: str, score: Any, backend: str) -> None:
    (found,) = answers(tmp_path, **{name: score})
    assert found.backend == backend


def test_a_backend_s_name_with_a_meaning_of_its_own_is_changed(tmp_path: Path) -> None:
    (found,) = answers(tmp_path, check={"value": {"U1": 1}})
    assert found.backend == "inspect check"


def edit(author: str | None, value: Any, reason: str | None = None, at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
    made_by = {"timestamp": at, "author": author, "reason": reason, "metadata": {}}
    return {
        "value": value, "answer": "UNCHANGED", "explanation": "UNCHANGED", "provenance": made_by if author else None
    }  # fmt: skip


def test_edits_of_a_score_are_their_authors_answers_and_the_first_value_is_the_scorer_s(tmp_path: Path) -> None:
    history = [
        {"value": "C", "explanation": "looked right"},
        edit("ann", "I", "It is wrong"),
        edit("ben", "C", "It is right", "2026-03-01T14:30:00.5+02:00"),
    ]
    assert answers(tmp_path, U1={"value": "C", "explanation": "x", "history": history}) == (
        GivenAnswer("U1", "YES", "looked right", backend="help"),
        GivenAnswer("U1", "NO", "It is wrong", reviewer="ann", at="2026-03-01T12:00:00.000000+00:00"),
        GivenAnswer("U1", "YES", "It is right", reviewer="ben", at="2026-03-01T12:30:00.500000+00:00"),
    )


def test_a_score_that_a_person_added_has_no_judge(tmp_path: Path) -> None:
    (found,) = answers(tmp_path, U1={"value": "I", "history": [edit("ann", "I", None)]})
    assert (found.reviewer, found.backend, found.answer, found.text) == ("ann", "", "NO", "")


def test_an_edit_that_leaves_the_value_is_a_remark(tmp_path: Path) -> None:
    history = [{"value": "C"}, edit("ann", "UNCHANGED", "Look again"), edit("ben", "UNCHANGED", None)]
    _, remark = answers(tmp_path, U1={"value": "C", "history": history})
    assert (remark.reviewer, remark.answer, remark.text) == ("ann", None, "Look again")


def test_an_edit_of_several_values_is_about_those_that_changed(tmp_path: Path) -> None:
    history = [{"value": {"U1": 1, "U2": 1}}, edit("ann", {"U1": 1, "U2": 0}), edit("ben", {"U1": 1, "U2": 0})]
    found = answers(tmp_path, several={"value": {"U1": 1, "U2": 0}, "history": history})
    assert [(one.reviewer, one.criterion, one.answer) for one in found[2:]] == [
        ("ann", "U2", "NO"), ("ben", "U1", "YES"), ("ben", "U2", "NO")
    ]  # fmt: skip


def test_a_correction_without_author_is_the_scorer_s_own(tmp_path: Path) -> None:
    found = answers(tmp_path, U1={"value": "I", "history": [{"value": "C"}, edit(None, "I")]})
    assert [(one.backend, one.reviewer, one.answer) for one in found] == [("help", "", "YES"), ("help", "", "NO")]


@pytest.mark.parametrize("at", [None, 7, "yesterday", "0001-01-01T00:00:00+23:00"])
def test_a_time_that_is_none_is_left_open(tmp_path: Path, at: Any) -> None:
    (found,) = answers(tmp_path, U1={"value": "I", "history": [edit("ann", "I", None, at)]})
    assert found.at == ""


@pytest.mark.parametrize(
    "scores", [None, [], "C", {"U1": "C"}, {"U1": {"value": "C", "history": "none"}}, {"U1": {"history": [7]}}]
)
def test_scores_in_an_odd_form_stop_nothing(tmp_path: Path, scores: Any) -> None:
    assert len(records(archived(tmp_path / "log.eval", sample(scores=scores)))) == 1


# Bad input


def test_a_bad_sample_loses_only_itself(tmp_path: Path) -> None:
    more = {
        "samples/half_epoch_1.json": b'{"id": 1, "mess',
        "samples/latin_epoch_1.json": '{"id": "ü"}'.encode("latin-1"),
        "samples/list_epoch_1.json": b"[1]",
        "samples/empty_epoch_1.json": b"{}",
        "samples/odd_epoch_1.json": json.dumps(sample("odd", messages=["x"], input=7)).encode(),
        "samples/user_epoch_1.json": json.dumps(sample("user", messages=[{"role": "user", "content": "a"}])).encode(),
        "samples/other.json": b"{}",
    }
    found = read(archived(tmp_path / "log.eval", sample(1), more=more))
    assert isinstance(found[0], Record)
    skips = [one for one in found[1:] if isinstance(one, Skip)]
    assert [(skip.source, skip.reason[:34]) for skip in skips] == [
        ("log.eval#2", "not JSON: Unterminated string star"),
        ("log.eval#3", "samples/latin_epoch_1.json is not "),
        ("log.eval#4", "no sample of an Inspect log"),
        ("log.eval#5", "`messages` is no list with message"),
        ("log.eval#odd", "message 1 is no object with role a"),
        ("log.eval#user", "no assistant message"),
        ("log.eval#8", "samples/other.json: no sample's na"),
    ]


def test_a_zip_bomb_is_given_up_and_the_other_samples_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRY_BYTES", 2**20)
    path = archived(tmp_path / "log.eval", sample(1), more={"samples/2_epoch_1.json": b" " * 20 * 2**20})
    good, bad = read(path)
    assert isinstance(good, Record) and isinstance(bad, Skip)
    assert bad.reason == "samples/2_epoch_1.json expands to over 1 MB"


def test_an_archive_that_is_all_bomb_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 2**20)
    bombs = {f"samples/{n}_epoch_1.json": bytes(2**20) for n in range(30)}
    found = read(archived(tmp_path / "log.eval", more=bombs))
    assert len(found) < 30 and isinstance(found[-1], Skip)
    assert found[-1].source == "log.eval" and "200 times its size" in found[-1].reason


def test_paths_that_lead_out_of_the_archive_are_skipped_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    evil = json.dumps(sample("evil")).encode()
    more = {"samples/../../evil_epoch_1.json": evil, "samples/..\\evil_epoch_1.json": evil}
    good, *bad = read(archived(folder / "log.eval", sample(1), more=more))
    assert isinstance(good, Record) and len(bad) == 2
    assert all(isinstance(one, Skip) and "leads out of the archive" in one.reason for one in bad)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.eval"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"PK\x03\x04 but no more", "no zip archive"),
        (b"PK\x05\x06" + bytes(18), "no Inspect log (it has no header.json)"),
    ],
)
def test_an_archive_that_is_no_log_is_said(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "log.eval").write_bytes(raw)
    (found,) = read(tmp_path / "log.eval")
    assert isinstance(found, Skip) and found.source == "log.eval" and said in found.reason


def test_other_archives_are_no_logs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as file:
        file.writestr("word/document.xml", "<xml/>")
    (found,) = read(tmp_path / "letter.docx")
    assert isinstance(found, Skip) and "no Inspect log" in found.reason
    (found,) = read(archived(tmp_path / "log.eval", sample()), format="messages")
    assert isinstance(found, Skip) and "--format messages does not fit" in found.reason


@pytest.mark.parametrize("header", [7, [], {"eval": 7}, {"eval": {"scorers": 7, "model": 7, "task": 7}}, {}])
def test_an_odd_header_stops_nothing(tmp_path: Path, header: Any) -> None:
    (found,) = records(archived(tmp_path / "log.eval", sample(scores={"U1": {"value": "C"}}), header=header))
    assert [answer.backend for answer in found.answers] == ["U1"]


def test_a_log_without_samples_is_said(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps(HEADER), encoding="utf-8")
    for path in (archived(tmp_path / "log.eval"), tmp_path / "log.json"):
        (found,) = read(path)
        assert isinstance(found, Skip) and "without samples" in found.reason


def test_samples_in_pieces_are_said(tmp_path: Path) -> None:
    more = {"samples/1_epoch_1/sample.json": b"{}", "samples/1_epoch_1/messages/0.json": b"[]"}
    good, bad = read(archived(tmp_path / "log.eval", sample(2), more=more))
    assert isinstance(good, Record) and isinstance(bad, Skip) and "a sample in pieces" in bad.reason


def test_a_sample_taken_out_of_its_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "7_epoch_1.json").write_text(json.dumps(sample(7, scores={"U1": {"value": "C"}})), encoding="utf-8")
    (found,) = records(tmp_path / "7_epoch_1.json")
    assert found.transcript.source == "7_epoch_1.json#7" and found.answers[0].backend == "U1"
