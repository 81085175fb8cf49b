"""A run does what it was started with: an edited plan.yaml changes no run that has begun."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.made import make_export
from tests.unit.lineage_samples import make_run

from loopreview.models.errors import UserError
from loopreview.progress import EventFile
from loopreview.runs import Run, write_json
from loopreview.train.plan import read_plan, refuse_changed
from loopreview.train.start import cancel, follow, launch, result_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept") / "workspace"
    make_export(root, None, count=12)
    return root


def begun(root: Path, *, finished: bool) -> Run:
    (dataset,) = (root / "exports").iterdir()
    run = make_run(root, dataset, finished=finished)
    write_json(run.started_file, {"plan": read_plan(run.plan_file).model_dump(mode="json")})
    if not finished:
        events = EventFile(run.events_file)
        events.write("started", steps=4, step=0)
        events.close()
    return run


def edit(run: Run, **values: Any) -> None:
    plan = yaml.safe_load(run.plan_file.read_text(encoding="utf-8"))
    run.plan_file.write_text(yaml.safe_dump({**plan, **values}), encoding="utf-8")


def test_a_run_is_not_resumed_with_other_values(root: Path) -> None:
    run = begun(root, finished=False)
    before = run.plan_file.read_text(encoding="utf-8")
    edit(run, rank=8, targets=["q_proj"])
    with pytest.raises(UserError) as refused:
        launch(run, resume=True)
    said = str(refused.value)
    assert "rank (was 16, is 8)" in said and "targets (was [q_proj, k_proj, v_proj, o_proj], is [q_proj])" in said
    assert "set that back" in said and "--from RUN" in said and "epochs" not in said
    assert run.pid() is None and not run.log_file.exists()
    run.plan_file.write_text(before, encoding="utf-8")
    refuse_changed(run)


def test_nothing_is_made_of_a_result_under_another_plan(root: Path) -> None:
    run = begun(root, finished=True)
    assert result_of(run) == run.adapter
    edit(run, alpha=64)
    with pytest.raises(UserError, match=r"alpha \(was 32, is 64\)"):
        result_of(run)


def test_another_way_to_write_the_same_and_a_dataset_that_moved_are_no_change(root: Path) -> None:
    run = begun(root, finished=False)
    data = yaml.safe_load(run.plan_file.read_text(encoding="utf-8"))["data"]
    edit(run, learning_rate="2e-4", data={**data, "folder": "/elsewhere", "tokens": "/elsewhere/tokens"})
    refuse_changed(run)
    edit(run, data={**data, "hash": "0" * 16})
    with pytest.raises(UserError, match=r"data\.hash"):
        refuse_changed(run)


def test_a_run_of_before_plans_were_kept_is_let_be(root: Path) -> None:
    run = begun(root, finished=False)
    run.started_file.unlink()
    edit(run, rank=8)
    refuse_changed(run)


def test_who_watches_a_job_that_is_cancelled_now_sees_it_cancelled(root: Path) -> None:
    """The word that it was meant comes a moment after the process is gone."""
    run = begun(root, finished=False)

    def later() -> None:
        time.sleep(0.3)
        events = EventFile(run.events_file)
        events.write("cancelled", step=0, checkpoint=None)
        events.close()

    writer = threading.Thread(target=later)
    writer.start()
    code = follow(run, None, lambda event: None)
    writer.join()
    assert code == 130
    with pytest.raises(UserError, match="is not running, it is cancelled"):
        cancel(run, now=True)


def test_an_adapter_is_not_converted_where_its_run_was_revoked_or_changed(cli: Callable[..., Any], root: Path) -> None:
    run = begun(root, finished=True)
    before = run.plan_file.read_text(encoding="utf-8")
    edit(run, alpha=64)
    assert "alpha (was 32, is 64)" in cli("train", "convert", run.id, "--to", "mlx", "-w", root, code=2).err
    run.plan_file.write_text(before, encoding="utf-8")
    write_json(run.revoked_file, {"1-1": {}})
    assert "holds what was revoked" in cli("train", "convert", run.id, "--to", "mlx", "-w", root, code=1).err
