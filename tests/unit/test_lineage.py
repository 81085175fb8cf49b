"""Lineage: from a run back to its transcripts, from a transcript forth to the runs, and a transcript withdrawn."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.made import make_export
from tests.unit.lineage_samples import finish, make_plan, make_run

from loopreview import audit, review
from loopreview.dataset.choose import choose
from loopreview.dataset.examples import Wanted
from loopreview.dataset.export import export
from loopreview.formats.exported import Exported
from loopreview.lineage import results
from loopreview.lineage.known import Known, holding
from loopreview.lineage.revoke import listed, restore, revoke
from loopreview.lineage.trace import trace
from loopreview.models.errors import UserError
from loopreview.runs import Run
from loopreview.store import batches, revocations, transcripts
from loopreview.workspace import Workspace, init


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one dataset of 12 approved transcripts, copied for each test."""
    root = tmp_path_factory.mktemp("lineage") / "workspace"
    make_export(root, None, count=12)
    return root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Iterator[Workspace]:
    root = tmp_path / "workspace"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns(".jobs"))  # that names where the exports were
    with Workspace.open(root) as opened:
        yield opened


@pytest.fixture
def dataset(workspace: Workspace) -> Path:
    (folder,) = (workspace.root / "exports").iterdir()
    return folder


def line_of(dataset: Path, split: str) -> dict[str, Any]:
    return next(line for line in Exported.open(dataset).lineage() if line["split"] == split)


def marks(folder: Path) -> dict[str, Any]:
    path = folder / "revoked.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


# --- the store -----------------------------------------------------------------------------------------------------


def test_revocations_are_only_appended_and_the_last_one_stands(workspace: Workspace) -> None:
    store = workspace.store
    first = revocations.add(store, "1-1", reviewer="ann", revoked=True, reason="asked \ud800")
    revocations.add(store, "1-2", reviewer="ben", revoked=True)
    revocations.add(store, "1-2", reviewer="ann", revoked=False, reason="a mistake")
    assert revocations.standing(store) == {"1-1": first}
    assert [(act.transcript, act.revoked) for act in revocations.log(store)] == [
        ("1-1", True), ("1-2", True), ("1-2", False),
    ]  # fmt: skip
    for statement in ("UPDATE revocations SET reason = ''", "DELETE FROM revocations"):
        with pytest.raises(sqlite3.IntegrityError, match="only appended"):
            store.execute(statement)
    with pytest.raises(sqlite3.IntegrityError):
        revocations.add(store, "9-9", reviewer="ann", revoked=True)


# --- revoking ------------------------------------------------------------------------------------------------------


def test_a_revoked_transcript_is_marked_wherever_it_is(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    root = workspace.root
    run = make_run(root, dataset)
    later = make_run(root, make_other(workspace, tmp_path), start=run)
    untouched = make_run(root, Path(Known(root).plan(later).data.folder))
    line = line_of(dataset, "train")
    id = line["transcript"]
    # The other dataset does not hold it, the run that went on from the first one does.
    found = revoke(workspace, id, reviewer="ann", reason="  asked for it ")
    assert [(row["folder"], row["examples"]) for row in found["datasets"]] == [(str(dataset), {"train": 1})]
    assert [(row["run"], row["learnt"], row["through"]) for row in found["runs"]] == [
        (run.id, 1, []), (later.id, 0, [run.id]),
    ]  # fmt: skip
    assert found["failed"] == found["unknown"] == [] and found["already"] is False
    mark = {id: {"at": found["at"], "reason": "asked for it", "by": "ann"}}
    assert marks(dataset) == marks(run.folder) == marks(later.folder) == mark
    assert marks(untouched.folder) == {}
    assert Exported.open(dataset).revoked() == [id]
    Exported.open(dataset).verify()


def make_other(workspace: Workspace, tmp_path: Path) -> Path:
    """A dataset without the first transcript that is trained on."""
    found = [head.id for head in transcripts.heads(workspace.store)]
    (folder,) = [path for path in (workspace.root / "exports").iterdir()]
    id = line_of(folder, "train")["transcript"]
    assert id in found
    revocations.add(workspace.store, id, reviewer="ann", revoked=True)
    other = Path(export(workspace, to=tmp_path / "other")["dataset"])
    revocations.add(workspace.store, id, reviewer="ann", revoked=False)
    return other


def test_several_revocations_add_up_and_one_is_taken_back(workspace: Workspace, dataset: Path) -> None:
    run = make_run(workspace.root, dataset)
    one, two = line_of(dataset, "train")["transcript"], line_of(dataset, "valid")["transcript"]
    revoke(workspace, one, reviewer="ann")
    again = revoke(workspace, one, reviewer="ben", reason="again")
    assert again["already"] and again["by"] == "ann" and len(revocations.log(workspace.store)) == 1
    found = revoke(workspace, two, reviewer="ben")
    assert found["runs"][0]["measured"] == 1 and found["runs"][0]["learnt"] == 0
    assert set(marks(dataset)) == set(marks(run.folder)) == {one, two}
    restore(workspace, one, reviewer="ann", reason="the wrong one")
    assert set(marks(dataset)) == set(marks(run.folder)) == {two}
    restore(workspace, two, reviewer="ann")
    assert not (dataset / "revoked.json").exists() and not (run.folder / "revoked.json").exists()
    assert listed(workspace)["revoked"] == [] and len(listed(workspace)["log"]) == 4
    with pytest.raises(UserError, match="is not revoked"):
        restore(workspace, line_of(dataset, "test")["transcript"], reviewer="ann")


def test_a_revoked_transcript_goes_into_no_export(workspace: Workspace, dataset: Path) -> None:
    id = line_of(dataset, "train")["transcript"]
    before = {head.id: head.revision for head in transcripts.heads(workspace.store)}
    revoke(workspace, id, reviewer="ann")
    result = export(workspace)
    assert id not in [name for ids in result["transcripts"].values() for name in ids]
    assert {"transcript": id, "exchange": None, "reason": "revoked"} in result["left_out"]
    for kind in ("sft", "dpo", "kto"):
        chosen, left_out = choose(workspace.store, kind)
        assert id not in [one.id for one in chosen]
        assert [one.why for one in left_out if one.transcript == id] == ["revoked"]
    # It stays, and counts as before, but for the audit of what an export takes.
    assert {head.id: head.revision for head in transcripts.heads(workspace.store)} == before
    assert id in audit.approved_ids(workspace) and id not in audit.chosen(workspace, approved=True).ids
    restore(workspace, id, reviewer="ann")
    assert export(workspace)["dataset"] == str(dataset)


def test_an_export_that_is_there_already_may_be_marked(workspace: Workspace, dataset: Path) -> None:
    (dataset / "revoked.json").write_text('{"7-7": {"at": "", "reason": null, "by": "ann"}}', encoding="utf-8")
    assert export(workspace)["identical"] is True
    assert marks(dataset), "the mark stays"
    (dataset / "tokens").mkdir()
    (dataset / "tokens" / "revoked.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"was changed after it was exported \(tokens/revoked.json\)"):
        export(workspace)


def test_a_folder_that_cannot_be_marked_is_named_and_the_rest_is_done(workspace: Workspace, dataset: Path) -> None:
    first, second = make_run(workspace.root, dataset), make_run(workspace.root, dataset)
    first.revoked_file.mkdir()
    id = line_of(dataset, "train")["transcript"]
    found = revoke(workspace, id, reviewer="ann")
    (line,) = found["failed"]
    assert line.startswith(f"{first.revoked_file}: ")
    assert [row["marked"] for row in (*found["datasets"], *found["runs"])] == [True, None, True]
    assert set(marks(dataset)) == set(marks(second.folder)) == {id}
    first.revoked_file.rmdir()
    again = revoke(workspace, id, reviewer="ann")
    assert again["failed"] == [] and set(marks(first.folder)) == {id}


def test_another_workspaces_transcript_of_the_same_id_is_not_the_same(
    workspace: Workspace, dataset: Path, tmp_path: Path
) -> None:
    """Ids count anew in each workspace: what a run elsewhere calls 1-1 is another conversation, and ours may have
    another id there."""
    foreign = make_export(tmp_path / "foreign", None, count=13, answer="Something else altogether.")
    run = make_run(workspace.root, foreign)
    id = line_of(dataset, "train")["transcript"]
    assert line_of(foreign, "train")["transcript"] == id
    revoke(workspace, id, reviewer="ann")
    assert marks(foreign) == {} and marks(run.folder) == {}

    turned = turned_round(workspace, tmp_path / "turned")
    (there,) = [line["transcript"] for line in Exported.open(turned).lineage() if line["source"] == "made.jsonl#0"]
    assert (id, there) == ("1-1", "1-12")
    found = revoke(workspace, id, reviewer="ann", also=[turned])
    assert {row["folder"] for row in found["datasets"]} == {str(dataset), str(turned)}
    assert set(marks(turned)) == {"1-12"} and set(marks(dataset)) == {"1-1"}


def turned_round(workspace: Workspace, root: Path) -> Path:
    """The export of another workspace that got the same conversations in the opposite order."""
    given = [transcripts.get(workspace.store, head.id) for head in transcripts.heads(workspace.store)][::-1]
    with Workspace.open(init(root)) as other:
        for head, _ in transcripts.add_imported(other.store, batches.create_imported(other.store).id, given):
            review.record(other, "approve", reviewer="eve", transcript=head.id)
        return Path(export(other)["dataset"])


def test_a_model_that_is_the_base_of_another_passes_it_on(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    other = make_other(workspace, tmp_path)
    run = make_run(workspace.root, dataset)
    run.merged.mkdir()
    on_merged = make_run(workspace.root, other, base=str(run.merged))
    on_adapter = make_run(workspace.root, other, start_adapter=str(run.adapter))
    third = make_run(workspace.root, other, start=on_adapter)
    id = line_of(dataset, "train")["transcript"]
    held = {one.run.id: one.through for one in holding(Known(workspace.root), id, None)[0]}
    assert held == {run.id: (), on_merged.id: (run.id,), on_adapter.id: (run.id,), third.id: (on_adapter.id,)}
    shutil.rmtree(run.folder)
    found = revoke(workspace, id, reviewer="ann")
    assert found["runs"] == []
    shutil.rmtree(on_adapter.folder)
    assert revoke(workspace, id, reviewer="ann")["unknown"] == [
        f"{third.id}: it went on from {on_adapter.id}, which is gone"
    ]


def test_a_dataset_that_was_exported_elsewhere_is_found_by_its_export_or_by_a_run(
    workspace: Workspace, dataset: Path, tmp_path: Path
) -> None:
    from loopreview.dataset.make import make_dataset
    from loopreview.progress import Silent

    id = line_of(dataset, "train")["transcript"]
    make_dataset(workspace, Wanted(), to=tmp_path / "elsewhere", watcher=Silent())
    assert set(marks_of(revoke(workspace, id, reviewer="ann"))) == {str(dataset), str(tmp_path / "elsewhere")}
    for path in (workspace.root / ".jobs").glob("export-*.jsonl"):
        path.unlink()
    assert set(marks_of(revoke(workspace, id, reviewer="ann"))) == {str(dataset)}
    make_run(workspace.root, tmp_path / "elsewhere")
    assert set(marks_of(revoke(workspace, id, reviewer="ann"))) == {str(dataset), str(tmp_path / "elsewhere")}


def marks_of(document: dict[str, Any]) -> list[str]:
    return [row["folder"] for row in document["datasets"]]


def test_a_run_of_which_it_cannot_be_told_is_said(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    id = line_of(dataset, "train")["transcript"]
    run = make_run(workspace.root, copy)
    run.lineage_file.write_text('{"dataset": {"fold', encoding="utf-8")
    # Without a lineage of its own it has that of the dataset its plan names.
    assert [row["run"] for row in revoke(workspace, id, reviewer="ann")["runs"]] == [run.id]
    shutil.rmtree(copy)
    found = revoke(workspace, id, reviewer="ann")
    assert found["runs"] == [] and len(found["unknown"]) == 1 and found["unknown"][0].startswith(f"{run.id}: ")


# --- tracing -------------------------------------------------------------------------------------------------------


def test_an_example_leads_to_its_transcript_and_its_runs(workspace: Workspace, dataset: Path) -> None:
    run, planned = make_run(workspace.root, dataset), make_run(workspace.root, dataset, finished=False)
    hash = Exported.open(dataset).hash
    line = line_of(dataset, "train")
    found = trace(workspace, f"{hash[:6]}:train:{line['row']}")
    assert found["kind"] == "example" and found["id"] == f"{hash}:train:{line['row']}"
    for key in ("transcript", "exchange", "source", "versions", "panel", "reviewers", "decision"):
        assert found[key] == line[key]
    assert found["batch"]["id"] == line["batch"] and found["here"] is True
    assert [(row["run"], row["as"]) for row in found["runs"]] == [(run.id, "learnt"), (planned.id, "planned")]
    assert found["kept"]["system"] is True and list(found["kept"]["rubric"].values()) == [True]
    assert trace(workspace, f"r1:train:{line['row']}") == found
    measured = trace(workspace, f"{run.folder}:valid:1")
    assert measured["runs"][0]["as"] == "measured"
    assert trace(workspace, f"{hash}:test:1")["runs"] == []
    with pytest.raises(UserError, match="has no row 999 in train; it has train 1 to"):
        trace(workspace, "1:train:999")
    with pytest.raises(UserError, match="is a transcript; an example is named by its dataset or run"):
        trace(workspace, "1-1:train:1")


def test_a_transcript_leads_to_its_datasets_and_runs(workspace: Workspace, dataset: Path) -> None:
    run = make_run(workspace.root, dataset)
    line = line_of(dataset, "valid")
    found = trace(workspace, line["transcript"])
    (held,) = found["datasets"]
    assert held["examples"] == [{"split": "valid", "row": line["row"], "exchange": line["exchange"]}]
    assert [(row["run"], row["learnt"], row["measured"]) for row in found["runs"]] == [(run.id, 0, 1)]
    assert found["decision"] == "approved" and found["decisions"][0]["reviewer"] == "ann" and found["revoked"] is None
    assert trace(workspace, line["source"])["transcript"] == line["transcript"]
    revoke(workspace, line["transcript"], reviewer="ben", reason="asked")
    assert trace(workspace, line["transcript"])["revoked"]["by"] == "ben"


def test_a_run_leads_to_its_transcripts_also_when_its_dataset_is_gone(workspace: Workspace, dataset: Path) -> None:
    run = make_run(workspace.root, dataset)
    later = make_run(workspace.root, dataset, start=run)
    hash, manifest = Exported.open(dataset).hash, Exported.open(dataset).manifest
    lines = [line for line in Exported.open(dataset).lineage() if line["split"] != "test"]
    found = trace(workspace, run.id)
    assert {row["transcript"] for row in found["transcripts"]} == {line["transcript"] for line in lines}
    assert found["reviewers"] == {"ann": len(lines)} and found["decisions"] == {"approved": len(lines)}
    assert list(found["versions"]["system"]) == [lines[0]["versions"]["system"]]
    assert found["dataset"]["folders"] == [str(dataset)] and found["gone_on_by"] == [later.id]
    assert trace(workspace, later.id)["went_on_from"] == [{"run": run.id, "there": True}]
    of_dataset = trace(workspace, hash[:8])
    assert of_dataset["examples"] == {key: count for key, count in manifest["examples"].items() if count}
    assert [row["run"] for row in of_dataset["runs"]] == [run.id, later.id]
    assert trace(workspace, str(dataset)) == of_dataset

    shutil.rmtree(dataset)
    again = trace(workspace, "1")
    assert again["transcripts"] == found["transcripts"] and again["dataset"]["gone"] == [str(dataset)]
    gone = trace(workspace, hash)
    assert gone["folders"] == [] and "is gone" in gone["problem"] and set(gone["examples"]) == {"train", "valid"}
    example = trace(workspace, f"{hash}:train:1")
    assert example["transcript"] == lines[0]["transcript"] and example["file"] is None


def test_what_is_unknown_or_ambiguous_is_one_line(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    hash = Exported.open(dataset).hash
    for name in ("nothing", hash[:3], "0123456789", "nothing:train:1"):
        with pytest.raises(UserError) as raised:
            trace(workspace, name)
        assert "there is no such run, transcript or dataset" in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"no transcript '9-9'"):
        trace(workspace, "9-9")
    make_run(workspace.root, dataset)
    make_run(workspace.root, dataset)
    with pytest.raises(UserError, match="names run r1-tiny-llama and run r2-tiny-llama; say which"):
        trace(workspace, "r")
    other = make_other(workspace, tmp_path)
    twin = workspace.root / "exports" / "twin"
    shutil.copytree(other, twin)
    manifest = json.loads((twin / "manifest.json").read_text(encoding="utf-8"))
    (twin / "manifest.json").write_text(json.dumps({**manifest, "hash": hash[:10] + "ffffff"}), encoding="utf-8")
    with pytest.raises(UserError, match=f"names dataset {hash[:10]}.* and dataset {hash[:10]}"):
        trace(workspace, hash[:10])
    assert trace(workspace, hash)["hash"] == hash


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_in_short_by_its_metrics_or_as_far_as_it_has_come(workspace: Workspace, dataset: Path) -> None:
    run = make_run(workspace.root, dataset)
    found = results.summary(run)
    assert (found["state"], found["steps"], found["steps_planned"]) == ("done", 4, 4)
    assert found["eval_loss"] == {"base": 3.2, "best": 2.6, "best_step": 2, "loaded": 2.6001}
    assert found["started"] == "2025-10-09T08:53:20+00:00" and found["adapter_folder"] == str(run.adapter)
    run.metrics_file.unlink()
    under_way = results.summary(run)
    assert under_way["eval_loss"] == {"base": 3.2, "best": 2.6, "best_step": 2, "loaded": None}
    assert under_way["loss"] == {"first": 3.0, "last": 2.0} and under_way["tokens_per_s"] == 97.0
    planned = results.summary(make_run(workspace.root, dataset, finished=False))
    assert planned["state"] == "planned" and planned["started"] is None
    assert planned["loss"] == {"first": None, "last": None} and planned["steps_planned"] is None
    run.plan_file.write_text("base: [", encoding="utf-8")
    broken = results.summary(run)
    assert broken["base"] is None and "plan.yaml" in broken["reason"]


def test_steps_done_again_count_once_and_what_is_no_number_not_at_all(workspace: Workspace, dataset: Path) -> None:
    run = make_run(workspace.root, dataset)
    with run.events_file.open("a", encoding="utf-8") as file:
        file.write('{"event": "started", "steps": 4, "step": 2, "resumed": true}\n')
        file.write('{"event": "step", "step": 3, "loss": 2.1}\n{"event": "step", "step": 4, "loss": NaN}\n')
        file.write('{"event": "eval", "step": 4, "loss": 2.5}\n{"event": "eval", "step": 5, "lo')
    assert results.curves(run) == {
        "loss": [(1, 3.0), (2, 2.5), (3, 2.1), (4, 2.0)],
        "eval_loss": [(0, 3.2), (2, 2.6), (4, 2.5)],
    }


def test_runs_side_by_side(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    one = make_run(workspace.root, dataset)
    two = make_run(workspace.root, dataset, rank=8, learning_rate=1e-4)
    finish(two, make_plan(dataset), tokens_per_s=120.0)
    found = results.compare([one, two])
    assert found["differs"] == {"rank": [16, 8], "learning_rate": [2e-4, 1e-4]}
    assert found["comparable"] and found["same_dataset"] and found["why"] is None
    assert found["results"]["tokens_per_s"] == [97.0, 120.0] and found["environment"] == {}
    other = make_run(workspace.root, make_other(workspace, tmp_path))
    found = results.compare([one, other])
    assert not found["comparable"] and not found["same_dataset"] and "different datasets" in found["why"]
    assert set(found["differs"]) == {"data.hash", "data.train"}
    tokens = results.compare([one, make_run(workspace.root, dataset, tokenizer="fedcba9876543210")])
    assert not tokens["comparable"] and tokens["same_dataset"] and "tokenizers" in tokens["why"]
    unmeasured = results.compare([one, make_run(workspace.root, dataset, finished=False)])
    assert not unmeasured["comparable"] and "has no validation loss" in unmeasured["why"]


def test_a_run_elsewhere_can_be_traced(workspace: Workspace, dataset: Path, tmp_path: Path) -> None:
    run = make_run(workspace.root, dataset)
    shutil.move(run.folder, tmp_path / "r9-moved")
    found = trace(workspace, str(tmp_path / "r9-moved"))
    assert found["run"] == "r9-moved" and found["dataset"]["folders"] == [str(dataset)]
    assert Run(tmp_path / "r9-moved").plan_file.is_file()
