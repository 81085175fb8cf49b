"""runs, trace and revoke."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.made import make_export
from tests.unit.lineage_samples import make_plan, make_run

from loopreview.formats.exported import Exported
from loopreview.runs import Run
from loopreview.train.card import card, write_card

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "workspace"
    make_export(root, None, count=12)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns(".jobs"))
    return root


@pytest.fixture
def dataset(root: Path) -> Path:
    (folder,) = (root / "exports").iterdir()
    return folder


def first(dataset: Path) -> str:
    return str(next(Exported.open(dataset).lineage())["transcript"])


def test_runs_are_listed(cli: Cli, root: Path, dataset: Path) -> None:
    assert cli("runs", "-w", root, "--json").json == {"runs": []}
    assert "no run yet" in cli("runs", "-w", root).out
    run = make_run(root, dataset)
    make_run(root, dataset, finished=False, backend="mlx", base="/models/other-base", adapter="lora")
    rows = cli("runs", "-w", root, "--json").json["runs"]
    assert set(rows[0]) >= {
        "run", "state", "reason", "base", "backend", "adapter", "method", "dataset", "examples", "steps", "loss",
        "eval_loss", "tokens_per_s", "adapter_folder", "started", "revoked", "plan",
    }  # fmt: skip
    assert rows[0]["run"] == run.id and rows[0]["plan"] == make_plan(dataset).model_dump(mode="json")
    assert [row["state"] for row in rows] == ["done", "planned"]
    lines = cli("runs", "-w", root).out.splitlines()
    assert "org/tiny-llama" in lines[1] and "3.200 → 2.600" in lines[1] and Exported.open(dataset).hash[:8] in lines[1]
    assert "mlx lora" in lines[2] and "other-base" in lines[2] and "/models" not in lines[2]
    assert [row["run"] for row in cli("runs", "-w", root, "--json", "2").json["runs"]] == [rows[1]["run"]]
    cli("runs", "-w", root, "9", code=2).says("9: no such run")
    cli("runs", "-w", root / "exports", code=2).says("no workspace here")


def test_runs_side_by_side(cli: Cli, root: Path, dataset: Path) -> None:
    make_run(root, dataset)
    make_run(root, dataset, rank=8)
    out = cli("runs", "-w", root, "--compare", "1", "2").out
    assert out.splitlines()[1].split() == ["rank", "16", "8"]
    assert "the validation losses may be compared" in out and "environment: no difference" in out
    document = cli("runs", "-w", root, "--compare", "r1", "r2", "--json").json
    assert document["differs"] == {"rank": [16, 8]} and document["comparable"] is True
    cli("runs", "-w", root, "--compare", "1", "1", code=2).says("two runs or more")
    cli("runs", "-w", root, "--compare", "--plot", "1", "2", code=2).says("choose one")


def test_curves_are_drawn_as_text(cli: Cli, root: Path, dataset: Path) -> None:
    assert "nothing to plot yet" in cli("runs", "-w", root, "--plot").out
    make_run(root, dataset)
    make_run(root, dataset, finished=False)
    out = cli("runs", "-w", root, "--plot", "1").out
    assert "\x1b" not in out and "␛" not in out
    assert "loss" in out and "validation loss" in out and "3.20" in out and out.count("×") > 10
    both = cli("runs", "-w", root, "--plot").out
    assert both.startswith("validation loss") and "\nloss" in both
    curves = cli("runs", "-w", root, "--plot", "--json").json["curves"]
    assert curves["r1-tiny-llama"]["eval_loss"] == [[0, 3.2], [2, 2.6], [4, 2.75]]
    assert curves["r2-tiny-llama"] == {"loss": [], "eval_loss": []}


def test_nothing_heavy_is_loaded(root: Path, dataset: Path) -> None:
    run = make_run(root, dataset)
    run.card_file.write_text("mine", encoding="utf-8")
    code = """
import sys
from loopreview.cli.main import run
sys.argv = ["loopreview", "-w", sys.argv[1], *sys.argv[2:]]
try:
    run()
finally:
    print([name for name in ("textual", "rich", "litellm", "torch", "transformers", "mlx") if name in sys.modules])
"""
    for args in (["runs"], ["runs", "--plot"], ["trace", "1"], ["revoke", first(dataset)]):
        done = subprocess.run([sys.executable, "-c", code, str(root), *args], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.rstrip().endswith("[]"), (args, done.stdout, done.stderr)


def test_trace_for_a_person(cli: Cli, root: Path, dataset: Path) -> None:
    make_run(root, dataset)
    id, hash = first(dataset), Exported.open(dataset).hash
    example = cli("trace", "-w", root, f"{hash[:5]}:train:1").out
    assert f"transcript     {id}, exchange 3" in example and "learnt         r1-tiny-llama (done)" in example
    assert "reviewers      ann" in example and f"{dataset}/train.jsonl, line 1" in example
    of_transcript = cli("trace", "-w", root, id).out
    assert hash in of_transcript and "run r1-tiny-llama (done): learnt from 1" in of_transcript
    of_run = cli("trace", "-w", root, "1").out
    assert f"dataset        {hash}" in of_run and id in of_run and "decisions      approved" in of_run
    assert "run r1-tiny-llama (done)" in cli("trace", "-w", root, dataset).out
    cli("trace", "-w", root, "nothing", code=2).says("nothing: there is no such run, transcript or dataset")
    document = cli("trace", "-w", root, "--json", "1").json
    assert document["kind"] == "run" and len(document["transcripts"]) == sum(document["examples"].values())


def test_revoke_marks_names_and_can_be_taken_back(cli: Cli, root: Path, dataset: Path) -> None:
    run = make_run(root, dataset)
    # An older version of the program may have written it in other words: it is not a person's all the same.
    write_card(run, make_plan(dataset))
    edited = make_run(root, dataset)
    edited.card_file.write_text("my own words", encoding="utf-8")
    id = first(dataset)
    done = cli("revoke", "-w", root, id, "--reason", "asked for it", "--reviewer", "ann")
    assert f"{id} is revoked" in done.out and str(dataset) in done.out and f"run {run.id} (done)" in done.out
    assert "`loopreview export`" in done.out and "train again" in done.out
    assert f"{edited.id}: its README.md was edited" in done.err and run.id not in done.err
    assert "Do not use this model" in run.card_file.read_text(encoding="utf-8")
    assert edited.card_file.read_text(encoding="utf-8") == "my own words"
    listing = cli("runs", "-w", root)
    assert "!" in listing.out and "train again without it" in listing.out
    assert cli("runs", "-w", root, "--json").json["runs"][0]["revoked"] == [id]
    assert id in cli("revoke", "-w", root, "--list").out
    assert cli("revoke", "-w", root, "--list", "--json").json["revoked"][0]["reason"] == "asked for it"
    assert "left out: 1 revoked" in cli("export", "-w", root).err
    undone = cli("revoke", "-w", root, "--undo", id, "--reviewer", "ann", "--json").json
    assert undone["revoked"] is False and [row["marked"] for row in undone["runs"]] == [False, False]
    assert card(run, make_plan(dataset)) == run.card_file.read_text(encoding="utf-8")
    assert "Do not use" not in run.card_file.read_text(encoding="utf-8")
    assert "nothing is revoked" in cli("revoke", "-w", root, "--list").out
    assert cli("export", "-w", root, "--json").json["dataset"] == str(dataset)


def test_revoke_says_what_it_could_not_do(cli: Cli, root: Path, dataset: Path) -> None:
    run = make_run(root, dataset)
    run.revoked_file.write_text("not json", encoding="utf-8")
    id = first(dataset)
    done = cli("revoke", "-w", root, id, "--json", code=3)
    assert done.json["failed"] == [f"{run.revoked_file}: cannot be read; move it away, and say the same again"]
    assert str(run.revoked_file) in done.err
    assert json.loads((dataset / "revoked.json").read_text(encoding="utf-8")).keys() == {id}
    run.revoked_file.unlink()
    cli("revoke", "-w", root, id)
    assert Run(run.folder).read_json(run.revoked_file).keys() == {id}


def test_revoke_is_asked_plainly(cli: Cli, root: Path, dataset: Path, tmp_path: Path) -> None:
    cli("revoke", "-w", root, code=2).says("name one transcript", "--list")
    cli("revoke", "-w", root, "1-1", "--list", code=2).says("--list")
    cli("revoke", "-w", root, "--list", "--undo", code=2).says("leave out the other options")
    cli("revoke", "-w", root, "7-7", code=2).says("no transcript '7-7'")
    cli("revoke", "-w", root, "--undo", "1-1", code=2).says("1-1: is not revoked")
    cli("revoke", "-w", root, "1-1", "--also", tmp_path, code=2).says("neither an exported dataset nor a run")
    assert cli("revoke", "-w", root, "--list", "--json").json["log"] == []
