"""The demo without a terminal shows each thing that the program is for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.train  # it ends with a short training


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> dict:
    root = tmp_path_factory.mktemp("demo") / "w"
    ran = subprocess.run(
        [sys.executable, "-m", "loopreview", "demo", str(root), "--headless", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_it_makes_two_batches_of_five_that_three_judges_assess(demo):
    assert [(batch["n"], batch["unscored"]) for batch in demo["batches"]] == [(5, 0), (5, 0)]
    assert set(demo["rules"]) == {"strictest", "majority", "strict", "balanced", "lenient"}


def test_the_scripted_reviewer_finds_a_false_positive_and_a_false_negative(demo):
    assert demo["flags"]["false_positive"] >= 1
    assert demo["flags"]["false_negative"] >= 1
    assert "script" in demo["reviewer"]


def test_the_gate_gives_an_advice_with_its_reason(demo):
    assert demo["gate"]["advice"] in ("scale", "iterate", "revise")
    assert demo["gate"]["n"] == 10 and demo["gate"]["why"]


def test_what_was_approved_is_audited_and_exported(demo):
    assert demo["audit"]["replies"] > 0 and demo["audit"]["gate"]["passed"] in (True, False)
    approved = sum(len(ids) for ids in demo["export"]["transcripts"].values())
    assert approved == sum(batch["passed"] for batch in demo["batches"])
    for split, count in demo["export"]["examples"].items():
        rows = (Path(demo["export"]["dataset"]) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(rows) == count > 0


def test_a_tiny_model_is_trained_on_what_was_exported(demo):
    assert demo["run"], demo["run_reason"]
    assert demo["run"]["state"] == "done" and demo["run"]["examples"] == demo["export"]["examples"]["train"]
    assert demo["run"]["loss"]["last"] < demo["run"]["loss"]["first"]
    assert Path(demo["run"]["adapter"]).is_dir()


def test_the_workspace_can_be_used_afterwards(demo, cli):
    root = Path(demo["workspace"])
    found = cli("agreement", "-w", root, "--json").json
    fresh = [row for row in found["judges"] if row["population"] == "fresh" and row["backend"] == "merged"]
    assert fresh and all(row["n"] + row["na"] <= 10 for row in fresh)
    log = cli("review", "log", "-w", root, "--json").json["events"]
    assert {event["origin"] for event in log} == {"scripted"}
    assert {event["kind"] for event in log} >= {"answer", "approve", "reject", "content"}


def test_the_same_demo_again_is_the_same(demo, tmp_path, cli):
    again = cli("demo", tmp_path / "w", "--headless", "--json").json
    for name in ("gate", "flags", "rules"):
        assert again[name] == demo[name]


def test_a_demo_does_not_overwrite_a_workspace(demo, cli):
    cli("demo", demo["workspace"], "--headless", code=2).says("is a workspace already")
