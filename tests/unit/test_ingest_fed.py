"""The example script: the FED data set with its five raters."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.ingest import import_labels, import_transcripts
from loopreview.models.settings import Settings
from loopreview.rules.review import fold
from loopreview.rules.statistics import fleiss_kappa
from loopreview.store import events, transcripts
from loopreview.store.database import Store
from loopreview.workspace import Workspace

EXAMPLE = Path(__file__).parents[2] / "examples" / "fed"
FED = Path(__file__).parents[2].parent / "shared" / "data" / "fed" / "fed_data.json"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    root = tmp_path / "workspace"
    (root / "rubrics").mkdir(parents=True)
    (root / "rubrics" / "rubric.yaml").write_bytes((EXAMPLE / "rubric.yaml").read_bytes())
    with Workspace(root, Store.open(root / "loopreview.db", create=True), Settings()) as opened:
        yield opened


def run(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE / "import_fed.py"), str(source), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


CONTEXT = "User: Hi!\nSystem: Hello: you?"
RECORDS = [
    {"context": "User: Hi!", "response": "System: Hello: you?", "system": "M", "annotations": {
        "Specific": [2, 1, 0, "N/A (off topic)", "?"], "Understandable": [1, 0, 1, 1, 1], "Overall": [4, 3, 0, 1, 2]}},
    {"context": CONTEXT + "\nUser: Bye", "system": "M", "annotations": {"Error recovery": [2, 2, "N/A", 1, 0]}},
    {"context": "User: Hi!", "response": "System: Hello: you?", "system": "M", "annotations": {"Specific": [0] * 5}},
]  # fmt: skip


def test_ratings_become_answers_and_the_same_content_shares_one_transcript(tmp_path: Path) -> None:
    source = tmp_path / "fed.json"
    source.write_text(json.dumps(RECORDS), encoding="utf-8")
    done = run(source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "out" / "transcripts.jsonl") == [
        {"id": "fed-001", "model": "M", "messages": [
            {"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello: you?"}]},
    ]  # fmt: skip
    labels = rows(tmp_path / "out" / "labels.jsonl")
    given = {(label["criterion"], label["reviewer"]): label["answer"] for label in labels}
    assert {label["transcript"] for label in labels} == {"fed-001"} and len(labels) == len(given) == 19
    assert [given.get(("reply_specific", f"rater{n}")) for n in range(1, 6)] == ["YES", "NO", "NO", "NA", None]
    assert [given["reply_understandable", f"rater{n}"] for n in (1, 2)] == ["YES", "NO"]
    assert [given["reply_overall", f"rater{n}"] for n in (1, 2)] == ["YES", "NO"]
    assert given["dialogue_error_recovery", "rater3"] == "NA"
    assert [label["note"] for label in labels if "note" in label] == ["off topic"]
    # The "?" is no answer; the third record rates anew what five people rated before.
    assert "6 ratings left out" in done.stderr


def test_an_unknown_speaker_is_said_with_its_record(tmp_path: Path) -> None:
    source = tmp_path / "fed.json"
    source.write_text(json.dumps([RECORDS[0], RECORDS[0] | {"context": "Narrator: Once"}]), encoding="utf-8")
    done = run(source, tmp_path / "out")
    assert done.returncode == 1 and done.stderr.startswith("fed.json record 2: ") and "Traceback" not in done.stderr


@pytest.mark.skipif(not FED.is_file(), reason="the FED data is not here")
def test_every_rating_of_the_published_data_reaches_the_store_once(workspace: Workspace, tmp_path: Path) -> None:
    assert run(FED, tmp_path).returncode == 0
    result = import_transcripts(workspace, [tmp_path / "transcripts.jsonl"])
    assert (len(result["imported"]), result["skipped"], result["notes"]) == (449, [], [])
    labels = import_labels(workspace, tmp_path / "labels.jsonl")
    assert (labels["imported"], labels["skipped"]) == (23_750, [])
    assert labels["reviewers"] == [f"rater{n}" for n in range(1, 6)]

    # Fleiss' kappa of what is in the store is that of the ratings in the file.
    stored: dict[str, list[Counter[str]]] = {criterion.id: [] for criterion in workspace.rubric.criteria}
    for id in transcripts.ids(workspace.store):
        review = fold(events.of(workspace.store, id)).transcripts[id]
        for criterion, given in review.answers.items():
            stored[criterion].append(Counter(str(event.answer) for event in given.values()))
    top = {"Consistent": 1, "Understandable": 1, "Overall": 4}
    for criterion, items in stored.items():
        level, quality = criterion.split("_", 1)
        ratings = [
            (name, ratings)
            for record in json.loads(FED.read_text(encoding="utf-8"))
            if ("response" in record) == (level == "reply")
            for name, ratings in record["annotations"].items()
            if name.lower().replace(" ", "_") == quality
        ]
        assert len(items) == len(ratings) == (375 if level == "reply" else 125)
        wanted = [
            Counter("NA" if isinstance(r, str) else "YES" if r == top.get(name, 2) else "NO" for r in five)
            for name, five in ratings
        ]
        kappa = fleiss_kappa(items)
        assert kappa == pytest.approx(fleiss_kappa(wanted)) and kappa is not None and kappa < 0.6
