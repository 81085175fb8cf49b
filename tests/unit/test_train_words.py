"""What the training commands say, and the places that cannot be written."""

import errno
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.train.made import make_export
from tests.unit.lineage_samples import make_plan, make_run

from loopreview import runs
from loopreview.cli.train_words import end_lines, plan_lines
from loopreview.models.errors import UserError
from loopreview.models.training import Outcome
from loopreview.runs import write_json
from loopreview.train import device
from loopreview.train.card import card
from loopreview.train.gates import QUESTIONS, TrainGate
from loopreview.train.job import metrics
from loopreview.train.memory import Estimate
from loopreview.train.plan import read_plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("words") / "workspace", None, count=12)


def document(dataset: Path) -> dict[str, Any]:
    needed = Estimate(1_000_000_000, 20_000_000, 20_000_000, 40_000_000, 300_000_000, 50_000_000, 700_000_000)
    plan = make_plan(dataset).model_dump(mode="json")
    return {
        "folder": None,
        "plan": plan,
        "reasons": {"data": "9 examples to train on, 2 to measure on; token rows made for this base"},
        "checks": [],
        "memory": {
            **needed._asdict(), "total": needed.total, "device": "a GPU", "free": 8e9, "max_length": 2048, "batch": 4,
        },
        "command": "loopreview train start",
    }  # fmt: skip


def test_the_parts_of_the_memory_are_all_of_it(dataset: Path) -> None:
    line = next(line for line in plan_lines(document(dataset)) if line.startswith("memory"))
    total, parts = line.split("(")[0], line.split("(")[1].split(")")[0]
    assert "libraries 0.70" in parts
    assert f"{sum(float(part.split()[-1]) for part in parts.split(',')):.2f} GB" in total


def test_it_is_said_whose_token_rows_are_used(dataset: Path) -> None:
    assert any("token rows made for this base" in line for line in plan_lines(document(dataset)))


def test_an_early_stop_is_said() -> None:
    found = {
        "run": "r1-x", "state": "done", "steps": 14, "steps_planned": 40, "stopped_early": True,
        "loss": {"first": 3.0, "last": 2.0}, "base_eval_loss": 3.0, "eval_loss": 2.0, "adapter": None,
    }  # fmt: skip
    assert end_lines(found)[:2] == [
        "r1-x: done, 14 of 40 steps",
        "stopped early: the validation loss did not fall any more",
    ]
    assert not any("early" in line for line in end_lines({**found, "stopped_early": False}))


@pytest.mark.parametrize(
    ("count", "best", "worst"),
    [(0, [], []), (1, [1], []), (2, [1], [2]), (3, [1, 2], [3]), (30, [1, 2, 3, 4, 5], [30, 29, 28, 27, 26])],
)
def test_no_example_is_among_the_best_and_the_worst(
    dataset: Path, count: int, best: list[int], worst: list[int]
) -> None:
    outcome = Outcome(
        adapter=Path("adapter"), steps=4, rows=9, first_loss=3.0, last_loss=2.0, base_eval_loss=3.0,
        best_eval_loss=2.0, best_step=4, loaded_eval_loss=2.0, tokens=100,
        example_losses=[(n, 0.1 * n) for n in range(1, count + 1)],
        tokens_per_s=10.0, peak_memory=None, stopped_early=False, cancelled=False,
    )  # fmt: skip
    found = metrics(make_plan(dataset), outcome, 1.0)
    assert [one["row"] for one in found["best"]] == best
    assert [one["row"] for one in found["worst"]] == worst


def test_the_command_that_frees_a_busy_device_can_be_typed_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    holder = runs.Run(tmp_path / "my work" / "runs" / "r3-x")
    with device.held("cpu", holder), pytest.raises(UserError) as refused:
        device.refuse_busy("cpu")
    command = shlex.split(str(refused.value).split("`")[1])
    assert command == ["loopreview", "train", "cancel", str(holder.folder)]


def test_a_question_left_open_names_the_way_to_leave_them_open() -> None:
    with pytest.raises(UserError, match="--yes leaves the questions open"):
        TrainGate.check({})
    TrainGate.check({one.key: {"answer": "yes"} for one in QUESTIONS})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as patched, pytest.raises(UserError, match="cannot be written") as refused:
        patched.setattr(Path, "mkdir", refuse)
        runs.make(tmp_path, "base")
    assert refused.value.exit_code == 3
    with monkeypatch.context() as patched, pytest.raises(UserError, match=r"gate\.json: cannot be written"):
        patched.setattr(Path, "open", refuse)
        write_json(tmp_path / "gate.json", {})


def test_other_errors_are_not_taken_for_a_full_disk() -> None:
    with pytest.raises(FileNotFoundError), runs.writing(Path("x")):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_the_code_of_a_card_asks_the_model_something(dataset: Path) -> None:
    for backend, says in (("cuda", "model.generate(**inputs"), ("mlx", "generate(model, tokenizer, prompt=prompt")):
        run = make_run(dataset.parents[1], dataset, backend=backend, adapter="lora", eval_steps=1, save_steps=1)
        text = card(run, read_plan(run.plan_file))
        code = text.split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
        assert says in code
        assert "| every step |" in text


def test_commands_of_a_plan_name_no_dots(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopreview.cli.call import Call
    from loopreview.cli.train import _command, _wanted

    (tmp_path / "base").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    call = Call()
    asked = dict.fromkeys(("backend", "method", "adapter", "epochs", "start"))
    asked |= {"settings": (), "track": (), "base": "../base", "dataset": Path("../data")}
    wanted = _wanted(call, asked)
    assert (wanted.base, wanted.dataset) == (str(tmp_path / "base"), tmp_path / "data")
    assert _command(call, None, asked) == "loopreview train start --base=../base --dataset=../data"
    call.given = Path("../w")
    assert _command(call, SimpleNamespace(id="r1-x"), asked) == "loopreview train start -w ../w r1-x"  # type: ignore[arg-type]
