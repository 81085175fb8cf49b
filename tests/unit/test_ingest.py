"""Transcripts, verdicts and labels from elsewhere come into the store."""

import csv
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.ingest import answers, import_labels, import_transcripts, import_verdicts
from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.settings import Settings
from loopreview.models.verdict import Evidence
from loopreview.progress import Silent
from loopreview.rules.review import fold
from loopreview.rules.stale import imported_key
from loopreview.store import batches, events, transcripts, verdicts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

THERAPY = Path(__file__).parents[2].parent / "shared" / "data" / "therapy"
RUBRIC = """\
name: test
categories: {quality: {weight: 1}}
criteria:
  - {id: U1, name: Answers, category: quality, question: Is it answered?}
  - {id: U2, name: Polite, category: quality, question: Is it polite?}
  - {id: C1, name: No question at every end, category: quality, kind: check, check: question_endings}
  - {id: C2, name: Length, category: quality, kind: check, check: length_ratio, question: Is the length right?}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    root = tmp_path / "workspace"
    (root / "rubrics").mkdir(parents=True)
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
    with Workspace(root, Store.open(root / "loopreview.db", create=True), Settings()) as opened:
        yield opened


def reword(workspace: Workspace, old: str, new: str) -> None:
    workspace.rubric_path.write_text(RUBRIC.replace(old, new), encoding="utf-8")
    for name in ("file_rubric", "rubric"):
        workspace.__dict__.pop(name, None)


def chat(text: str = "hello", reply: str = "hi", **beside: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": reply}], **beside}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def imported(workspace: Workspace, tmp_path: Path, *texts: str) -> Path:
    """Transcripts 1-1, 1-2, … named a, b, …"""
    rows = [chat(text, f"reply to {text}", id=chr(ord("a") + place)) for place, text in enumerate(texts)]
    path = lines(tmp_path / "chats.jsonl", *rows)
    import_transcripts(workspace, [path])
    return path


# Transcripts


def test_transcripts_come_in_as_one_batch_in_the_order_of_the_files(workspace: Workspace, tmp_path: Path) -> None:
    one = lines(tmp_path / "z.jsonl", chat("1", id="x"), chat("2"))
    other = lines(tmp_path / "a.json", {"exchanges": [{"user": "3", "assistant": "c"}], "persona": {"name": "Mo"}})
    result = import_transcripts(workspace, [one, other])
    assert result == {
        "imported": [
            {"id": "1-1", "source": "z.jsonl#x", "exchanges": 1, "complete": True},
            {"id": "1-2", "source": "z.jsonl#2", "exchanges": 1, "complete": True},
            {"id": "1-3", "source": "a.json#1", "exchanges": 1, "complete": True},
        ],
        "skipped": [],
        "notes": [],
        "batch": 1,
        "verdicts": 0,
        "reviews": 0,
        "backends": [],
        "reviewers": [],
    }
    (batch,) = batches.listed(workspace.store)
    assert (batch.origin, batch.count) == ("imported", 3)
    assert transcripts.get(workspace.store, "1-3").persona == {"name": "Mo"}
    assert import_transcripts(workspace, [lines(tmp_path / "b.jsonl", chat("4"))])["imported"][0]["id"] == "2-1"


def test_the_same_content_twice_is_skipped_and_leaves_no_empty_batch(workspace: Workspace, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chat("1"), chat("2"), chat("1", id="again"))
    first = import_transcripts(workspace, [path])
    assert [row["id"] for row in first["imported"]] == ["1-1", "1-2"]
    assert first["skipped"] == [
        {"source": "a.jsonl#again", "line": 3, "reason": "a duplicate: already there as 1-1", "duplicate": True}
    ]
    second = import_transcripts(workspace, [path])
    assert (second["imported"], second["batch"]) == ([], None)
    assert [skip["duplicate"] for skip in second["skipped"]] == [True] * 3
    assert len(batches.listed(workspace.store)) == 1


def test_a_file_without_anything_new_before_one_with_it_leaves_one_batch(workspace: Workspace, tmp_path: Path) -> None:
    bad, good = lines(tmp_path / "bad.jsonl", "no json"), lines(tmp_path / "good.jsonl", chat())
    result = import_transcripts(workspace, [bad, good])
    assert [row["id"] for row in result["imported"]] == ["1-1"] and result["batch"] == 1
    assert [(skip["source"], skip["duplicate"]) for skip in result["skipped"]] == [("bad.jsonl#1", False)]
    assert len(batches.listed(workspace.store)) == 1


def test_nothing_in_leaves_no_batch(workspace: Workspace, tmp_path: Path) -> None:
    result = import_transcripts(workspace, [lines(tmp_path / "a.json", "")])
    assert result["batch"] is None and result["skipped"][0]["reason"] == "the file is empty"
    assert batches.listed(workspace.store) == []


def test_skips_stand_in_the_order_of_the_file_and_bad_lines_lose_only_themselves(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = lines(tmp_path / "a.jsonl", chat("1"), "{", chat("1"), {"messages": []}, chat("2"), '{"half')
    result = import_transcripts(workspace, [path])
    assert [row["source"] for row in result["imported"]] == ["a.jsonl#1", "a.jsonl#5"]
    assert [(skip["line"], skip["duplicate"]) for skip in result["skipped"]] == [
        (2, False), (3, True), (4, False), (6, False)
    ]  # fmt: skip


def test_what_was_mended_is_noted_and_an_incomplete_transcript_warned_of(workspace: Workspace, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl", [{"role": "user", "content": "a"}, *chat()["messages"]], chat(target_exchanges=9)
    )
    result = import_transcripts(workspace, [path])
    assert result["notes"] == [
        {"source": "a.jsonl#1", "note": "user messages in a row were merged (message 2 into the one before)"},
        {"source": "a.jsonl#2", "note": "not complete: 1 of 9 exchanges; it gets no score"},
    ]
    assert [row["complete"] for row in result["imported"]] == [True, False]


def test_texts_reach_the_store_as_they_were(workspace: Workspace, tmp_path: Path) -> None:
    text = "\x00\x07\x1b[31mred\x1b[0m [/foo]\r\n\u202eabc\u202c שלום العربية 中文かな  "
    import_transcripts(workspace, [lines(tmp_path / "a.jsonl", chat(text, text))])
    assert [message.text for message in transcripts.get(workspace.store, "1-1").messages] == [text, text]


def test_a_reason_is_one_line_without_control_characters(workspace: Workspace, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": [{"role": "a\n\x1b[2Jb", "content": "x"}]})
    (skip,) = import_transcripts(workspace, [path])["skipped"]
    assert "\n" not in skip["reason"] and "\x1b" not in skip["reason"] and "␛" in skip["reason"]


class Counting(Silent):
    def __init__(self) -> None:
        self.started: list[tuple[str, int | None]] = []
        self.steps = self.finished = 0

    def start(self, label: str, total: int | None) -> None:
        self.started.append((label, total))

    def advance(self, n: int = 1) -> None:
        self.steps += n

    def finish(self) -> None:
        self.finished += 1


def test_a_folder_gives_the_files_that_may_hold_transcripts_by_name(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    lines(folder / "b.JSONL", chat("b"))
    lines(folder / "a.json", chat("a"))
    lines(folder / "notes.md", "not for us")
    lines(folder / ".hidden.json", chat("hidden"))
    lines(folder / "inner" / "c.json", chat("c"))
    progress = Counting()
    result = import_transcripts(workspace, [folder], progress=progress)
    assert [row["source"] for row in result["imported"]] == ["a.json#1", "b.JSONL#1"]
    assert (progress.started, progress.steps, progress.finished) == ([("import", 2)], 2, 1)


def test_one_file_is_counted_by_its_records(workspace: Workspace, tmp_path: Path) -> None:
    progress = Counting()
    import_transcripts(workspace, [lines(tmp_path / "a.jsonl", chat("1"), "{", chat("2"))], progress=progress)
    assert (progress.started, progress.steps, progress.finished) == ([("import", None)], 3, 1)


def test_what_is_neither_file_nor_folder_with_files_stops_before_anything_is_stored(
    workspace: Workspace, tmp_path: Path
) -> None:
    good = lines(tmp_path / "a.jsonl", chat())
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "gone.json", "no such file"), (tmp_path / "empty", "no .json or .jsonl")):
        with pytest.raises(UserError, match=said):
            import_transcripts(workspace, [good, path])
    with pytest.raises(UserError, match="--format odd"):
        import_transcripts(workspace, [good], format="odd")
    assert transcripts.ids(workspace.store) == []


class Interrupted(Silent):
    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, n: int = 1) -> None:
        self.left -= n
        if self.left < 0:
            raise KeyboardInterrupt


def test_each_file_is_one_transaction(workspace: Workspace, tmp_path: Path) -> None:
    one = lines(tmp_path / "a.jsonl", *(chat(str(number)) for number in range(600)))
    other = lines(tmp_path / "b.jsonl", chat("other"))
    with pytest.raises(KeyboardInterrupt):
        import_transcripts(workspace, [one], progress=Interrupted(after=500))
    assert transcripts.ids(workspace.store) == [] and batches.listed(workspace.store) == []
    with pytest.raises(KeyboardInterrupt):
        import_transcripts(workspace, [other, one], progress=Interrupted(after=0))
    assert transcripts.ids(workspace.store) == ["1-1"]


def test_a_locked_database_stops_the_import_in_a_line(workspace: Workspace, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chat())
    with Store.open(workspace.store.path, timeout_s=0.05) as other:
        beside = Workspace(workspace.root, other, workspace.settings)
        with workspace.store.writing(), pytest.raises(UserError, match="another process is writing"):
            import_transcripts(beside, [path])
    assert len(import_transcripts(workspace, [path])["imported"]) == 1


def test_a_folder_streams(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(300):
        lines(folder / f"{number:03}.json", chat(f"{number}", "x" * 100_000))
    tracemalloc.start()
    try:
        result = import_transcripts(workspace, [folder])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result["imported"]) == 300
    assert peak < 5_000_000 < sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the therapy transcripts are not here")
def test_the_therapy_transcripts_come_in_and_three_are_not_complete(workspace: Workspace) -> None:
    result = import_transcripts(workspace, [THERAPY])
    assert len(result["imported"]) == 41 and result["skipped"] == []
    heads = [head for head in transcripts.heads(workspace.store) if not head.complete]
    assert sorted((head.exchanges, head.target_exchanges) for head in heads) == [(3, 50), (21, 50), (31, 50)]
    assert [note["note"].split(";")[0] for note in result["notes"]] == [
        "not complete: 3 of 50 exchanges", "not complete: 21 of 50 exchanges", "not complete: 31 of 50 exchanges"
    ]  # fmt: skip
    # A file's name and a record's id name a transcript in verdicts and labels.
    first = result["imported"][0]
    assert transcripts.resolve(workspace.store, first["source"].partition("#")[2]) == first["id"]


# Verdicts

VERDICT = {"transcript": "1-1", "criterion": "U1", "backend": "elsewhere", "answer": "yes"}


def test_a_verdict_is_stored_under_its_wording_and_its_backend_joins_the_panel(
    workspace: Workspace, tmp_path: Path
) -> None:
    imported(workspace, tmp_path, "one", "two")
    rows = [
        VERDICT | {"reasoning": "because", "evidence": [{"exchange": 1, "role": "user", "quote": "one"}]},
        VERDICT | {"transcript": "b", "answer": "N/A", "counter_evidence": {"exchange": 1, "quote": "reply"}},
    ]
    result = import_verdicts(workspace, lines(tmp_path / "v.jsonl", *rows))
    assert result == {
        "imported": 2, "skipped": [], "notes": [], "transcripts": 2, "backends": ["elsewhere"]
    }  # fmt: skip
    (verdict,) = verdicts.of(workspace.store, "1-1")
    criterion = workspace.rubric.criterion("U1")
    assert criterion
    assert verdict.key == imported_key(transcripts.get(workspace.store, "1-1").hash, criterion, "elsewhere")
    assert (verdict.answer, verdict.origin, verdict.reasoning) == ("YES", "imported", "because")
    assert verdict.evidence == (Evidence(exchange=1, role="user", quote="one"),)
    (other,) = verdicts.of(workspace.store, "1-2")
    assert other.answer == "NA" and other.counter_evidence == Evidence(exchange=1, quote="reply")
    assert [(m.backend, m.origin) for m in verdicts.panel(workspace.store, "1-2")] == [("elsewhere", "imported")]


def test_a_transcript_may_be_named_by_id_source_or_record(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one", "two")
    names = ["1-2", "chats.jsonl#b", "b"]
    rows = [VERDICT | {"transcript": name, "backend": f"j{place}"} for place, name in enumerate(names)]
    assert import_verdicts(workspace, lines(tmp_path / "v.jsonl", *rows))["imported"] == 3
    assert len(verdicts.of(workspace.store, "1-2")) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"transcript": "nowhere"}, "there is no transcript"),
        ({"transcript": "chats.jsonl"}, "names several transcripts"),
        ({"criterion": "U9"}, "unknown criterion `U9`; the rubric has U1, U2, C1, C2"),
        ({"criterion": "C1"}, "`C1` is answered by code (question_endings)"),
        ({"answer": "perhaps"}, "unknown answer `perhaps`"),
    ],
)
def test_an_unknown_name_or_answer_is_skipped_with_line_and_reason(
    workspace: Workspace, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    imported(workspace, tmp_path, "one", "two")
    result = import_verdicts(workspace, lines(tmp_path / "v.jsonl", VERDICT, VERDICT | changed))
    (skip,) = result["skipped"]
    assert (skip["source"], skip["line"], skip["duplicate"]) == ("v.jsonl#2", 2, False)
    assert said in skip["reason"] and result["imported"] == 1


def test_a_check_that_code_may_leave_open_takes_verdicts(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    assert import_verdicts(workspace, lines(tmp_path / "v.jsonl", VERDICT | {"criterion": "C2"}))["imported"] == 1


def test_the_same_verdict_is_a_duplicate_and_another_answer_takes_its_place(
    workspace: Workspace, tmp_path: Path
) -> None:
    imported(workspace, tmp_path, "one")
    path = lines(tmp_path / "v.jsonl", VERDICT, VERDICT)
    assert import_verdicts(workspace, path)["skipped"][0]["duplicate"]
    again = import_verdicts(workspace, path)
    assert (again["imported"], again["backends"], [skip["duplicate"] for skip in again["skipped"]]) == (
        0,
        [],
        [True] * 2,
    )
    assert import_verdicts(workspace, lines(tmp_path / "v.jsonl", VERDICT | {"answer": "NO"}))["imported"] == 1
    assert [verdict.answer for verdict in verdicts.of(workspace.store, "1-1")] == ["YES", "NO"]


def test_the_same_answer_to_another_wording_is_no_duplicate(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    path = lines(tmp_path / "v.jsonl", VERDICT, VERDICT | {"criterion": "U2"})
    import_verdicts(workspace, path)
    reword(workspace, "Is it answered?", "Is all of it answered?")
    result = import_verdicts(workspace, path)
    assert result["imported"] == 1 and [skip["line"] for skip in result["skipped"]] == [2]


def test_a_quote_without_its_place_is_looked_for(workspace: Workspace, tmp_path: Path) -> None:
    said = [("my  parcel", "on its way"), ("thanks", "the “parcel” – soon")]
    messages = [
        {"role": role, "content": text} for pair in said for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    import_transcripts(workspace, [lines(tmp_path / "a.jsonl", messages)])
    evidence = [
        '"parcel" - soon',
        "my parcel",
        {"exchange": 2, "quote": "thanks"},
        "nowhere",
        {"exchange": 7, "quote": "x"},
    ]
    import_verdicts(workspace, lines(tmp_path / "v.jsonl", VERDICT | {"evidence": evidence}))
    (verdict,) = verdicts.of(workspace.store, "1-1")
    assert [(e.exchange, e.role, e.quote) for e in verdict.evidence] == [
        (2, "assistant", '"parcel" - soon'), (1, "user", "my parcel"), (2, "user", "thanks"),
        (1, "assistant", "nowhere"), (7, "assistant", "x"),
    ]  # fmt: skip


def test_answers_in_any_order_are_the_same_however_few_transcripts_are_kept_in_mind(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEPT_IN_MIND", 2)
    imported(workspace, tmp_path, "1", "2", "3", "4", "5")
    rows = [VERDICT | {"transcript": id, "criterion": c} for c in ("U1", "U2") for id in "abcde"]
    result = import_verdicts(workspace, lines(tmp_path / "v.jsonl", *rows, *rows))
    assert result["imported"] == 10 and [skip["duplicate"] for skip in result["skipped"]] == [True] * 10
    labels = [{k: row[k] for k in ("transcript", "criterion", "answer")} | {"reviewer": "ann"} for row in rows]
    result = import_labels(workspace, lines(tmp_path / "l.jsonl", *labels, *labels))
    assert result["imported"] == 10 and [skip["duplicate"] for skip in result["skipped"]] == [True] * 10


def test_a_failing_database_stops_the_import_and_is_not_taken_for_a_bad_line(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(workspace, tmp_path, "one")

    def full(*_: Any) -> str:
        raise UserError("the disk is full", exit_code=3)

    monkeypatch.setattr(transcripts, "resolve", full)
    with pytest.raises(UserError, match="disk is full"):
        import_verdicts(workspace, lines(tmp_path / "v.jsonl", VERDICT))


def test_a_missing_file_of_answers_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    for bring in (import_verdicts, import_labels):
        with pytest.raises(UserError, match="no such file"):
            bring(workspace, tmp_path / "gone.jsonl")
        with pytest.raises(UserError, match="is a folder"):
            bring(workspace, tmp_path)


# Labels

LABEL = {"transcript": "1-1", "criterion": "U1", "reviewer": "ann", "answer": "YES"}


def current(workspace: Workspace, transcript: str) -> dict[tuple[str, str], str | None]:
    review = fold(events.of(workspace.store, transcript)).transcripts[transcript]
    return {(c, name): event.answer for c, given in review.answers.items() for name, event in given.items()}


def test_a_label_is_an_answer_event_of_its_reviewer(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    result = import_labels(workspace, lines(tmp_path / "l.jsonl", LABEL | {"note": "clear"}))
    assert result == {"imported": 1, "skipped": [], "transcripts": 1, "reviewers": ["ann"]}
    (event,) = events.of(workspace.store, "1-1")
    criterion = workspace.rubric.criterion("U1")
    assert criterion
    assert (event.kind, event.origin, event.reviewer, event.answer, event.note) == (
        "answer", "imported", "ann", "YES", "clear"
    )  # fmt: skip
    assert event.criterion_version == criterion.version and event.rubric_version == workspace.rubric.version
    assert event.transcript_hash == transcripts.get(workspace.store, "1-1").hash
    assert not event.blind and event.merged is None and event.data == {"source": "l.jsonl#1"}


def test_a_label_equal_to_the_current_answer_is_a_duplicate(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    path = lines(tmp_path / "l.jsonl", LABEL, LABEL, LABEL | {"reviewer": "bo"}, LABEL | {"answer": "NO"})
    first = import_labels(workspace, path)
    assert first["imported"] == 3 and [skip["line"] for skip in first["skipped"]] == [2]
    assert current(workspace, "1-1") == {("U1", "ann"): "NO", ("U1", "bo"): "YES"}
    again = import_labels(workspace, lines(tmp_path / "l.jsonl", LABEL | {"answer": "NO"}, LABEL | {"reviewer": "bo"}))
    assert again["imported"] == 0 and all(skip["duplicate"] for skip in again["skipped"])


def test_a_label_that_was_taken_back_can_come_in_again(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    path = lines(tmp_path / "l.jsonl", LABEL)
    import_labels(workspace, path)
    (event,) = events.of(workspace.store, "1-1")
    events.append(workspace.store, Event(reviewer="ann", kind="undo", transcript="1-1", target=event.id))
    assert import_labels(workspace, path)["imported"] == 1


def test_labels_come_in_from_csv(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one", "two")
    path = tmp_path / "labels.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["Reviewer", "Answer", "Note", "Transcript", "Criterion"], ["ann", "no", 'a "quote"', "b", "U1"]]
        )
        writer.writerow(["ann", "yes", "", "b", "nothing"])
    result = import_labels(workspace, path)
    assert result["imported"] == 1 and current(workspace, "1-2") == {("U1", "ann"): "NO"}
    (skip,) = result["skipped"]
    assert skip["line"] == 3 and "unknown criterion `nothing`" in skip["reason"]


def test_people_may_answer_what_code_answers_too(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    assert import_labels(workspace, lines(tmp_path / "l.jsonl", LABEL | {"criterion": "C1"}))["imported"] == 1


def test_labels_are_stored_all_or_none(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path, "one")
    path = lines(tmp_path / "l.jsonl", LABEL, LABEL | {"reviewer": "bo"})
    with pytest.raises(KeyboardInterrupt):
        import_labels(workspace, path, progress=Interrupted(after=1))
    assert events.of(workspace.store, "1-1") == []
