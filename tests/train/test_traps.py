"""What the libraries and the machine would do to a run, had nobody thought of it: each needs its guard."""

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.train.cuda_made import TRAIN, events, made_plan, made_task, run
from tests.train.mlx_run import made_plan as mlx_plan
from tests.train.mlx_run import made_rows, run_mlx
from transformers import AutoModelForCausalLM

from loopreview.models.errors import UserError
from loopreview.models.training import Outcome
from loopreview.runs import Run
from loopreview.train import job, start
from loopreview.train.backend import Task
from loopreview.train.base import Base
from loopreview.train.cuda import fit, load, loss, settings
from loopreview.train.cuda.batches import collate
from loopreview.train.cuda.checkpoints import Progress
from loopreview.train.cuda.surroundings import alone
from loopreview.train.cuda.trainer import LoopTrainer
from loopreview.train.rows import read_rows

pytestmark = pytest.mark.train


def arguments(base: Path, **values: Any) -> Any:
    return settings.arguments(made_plan(base, **values), steps=6, folder=Path("checkpoints"), name="r1")


# One device, and the plan alone decides


def test_of_several_gpus_one_is_trained_on(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    found = arguments(tiny_model, device="cuda", batch=2)
    assert (found.n_gpu, found.train_batch_size, found.eval_batch_size) == (1, 2, 2)


OTHERS = {
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "7",
    "LOCAL_RANK": "0",
    "RANK": "0",
    "WORLD_SIZE": "2",
    "KUBEFLOW_TRAINER_SERVER_URL": "http://127.0.0.1:9",
    "WANDB_LOG_MODEL": "checkpoint",
    "HF_MLFLOW_LOG_ARTIFACTS": "1",
}


def test_settings_of_other_programs_change_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "http://127.0.0.1:9")
    assert arguments(tiny_model).report_to == []
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    before, seen = dict(os.environ), {}

    def probed(trainer: LoopTrainer) -> None:
        seen.update(os.environ, precision=trainer.accelerator.mixed_precision, count=trainer.accelerator.num_processes)

    monkeypatch.setattr(LoopTrainer, "probe", probed)
    run(made_plan(tiny_model), tmp_path, train=TRAIN[:4])
    assert (seen["precision"], seen["count"]) == ("no", 1)
    assert {name: seen.get(name) for name in OTHERS} == {
        **dict.fromkeys(OTHERS), "WANDB_LOG_MODEL": "false", "HF_MLFLOW_LOG_ARTIFACTS": "false",
    }  # fmt: skip
    assert dict(os.environ) == before


def test_nobody_is_told_of_a_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **said: told.append(said))
    plan = made_plan(tiny_model)
    model = load.with_adapter(plan, load.load_base(plan, tiny_model))
    LoopTrainer(made_task(plan, tmp_path), model, load.tokenizer(tiny_model), Progress())
    assert told == []


def test_what_libraries_will_do_in_the_future_is_not_in_the_log() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with alone():
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.warn("soon", kind, stacklevel=1)
    assert [warning.category for warning in seen] == [UserWarning]


def test_bitsandbytes_loads_no_code_from_the_hub(tmp_path: Path) -> None:
    """On a CPU with AVX512-BF16 it asks `kernels` for a compiled program; here one that says so stands in for it."""
    (tmp_path / "kernels.py").write_text(
        "def get_kernel(*given, **named):\n    print('asked for', given)\n    raise OSError('no network')\n"
    )
    code = (
        "import loopreview.train.cuda, sys, importlib.util as u; print('there' if u.find_spec('kernels') else 'gone')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stdout + done.stderr
    assert "gemm_4bit" not in done.stderr
    assert logging.getLogger("bitsandbytes.backends.cpu.ops").level == logging.NOTSET


def test_jobs_of_the_tests_compute_on_one_thread() -> None:
    code = "import torch; print(torch.get_num_threads())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


# Where the model lies


def test_an_adapter_is_read_to_where_its_model_is(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With device=cpu, and in a merge: peft would read it to a GPU, where it finds one."""
    plan = made_plan(tiny_model, adapter="qlora")
    load.with_adapter(plan, load.load_base(plan, tiny_model)).save_pretrained(tmp_path)
    monkeypatch.setattr("peft.peft_model.infer_device", lambda: "cuda")
    for model in (load.load_base(plan, tiny_model), load.load_unquantised(tiny_model)):
        found = load.read_adapter(model, tmp_path)
        assert {weight.device.type for weight in found.parameters()} == {"cpu"}


def live(kind: str) -> int:
    """How many such objects there are that hold weights."""
    gc.collect()
    return sum(type(thing).__name__ == kind for thing in gc.get_objects())


def test_the_trained_model_is_gone_before_the_result_is_read_back(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be memory for one, not for two."""
    counts: list[int] = []
    before, load_base = live("LlamaForCausalLM"), load.load_base

    def counted(*given: Any) -> Any:
        counts.append(live("LlamaForCausalLM") - before)
        return load_base(*given)

    monkeypatch.setattr(load, "load_base", counted)
    run(made_plan(tiny_model, precision="bf16"), tmp_path, train=TRAIN[:4])
    assert counts == [0, 0]


def test_mlx_too_frees_the_trained_model_first(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx_lm.utils

    counts: list[int] = []
    before, mlx_load = live("LlamaModel"), mlx_lm.utils.load

    def counted(*given: Any, **named: Any) -> Any:
        counts.append(live("LlamaModel") - before)
        return mlx_load(*given, **named)

    monkeypatch.setattr(mlx_lm.utils, "load", counted)
    rows = made_rows(4)
    run_mlx(tmp_path / "r1", mlx_plan(tiny_model, rows, rows, gradient_checkpointing=True), rows, rows)
    assert counts == [0]


def test_mlx_makes_no_base_in_4_bits_where_there_is_no_room(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    rows = made_rows(4)
    with pytest.raises(UserError, match="the base model in 4 bits takes about") as refused:
        run_mlx(tmp_path / "r1", mlx_plan(tiny_model, rows, [], adapter="qlora"), rows, [])
    assert refused.value.exit_code == 3 and list((tmp_path / ".bases").iterdir()) == []


def test_what_a_full_gpu_says_is_out_of_memory() -> None:
    plan = made_plan(Path("/base"))
    for words in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    ):
        with pytest.raises(fit.OutOfMemory), fit._memory(plan):
            raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="device-side assert"), fit._memory(plan):
        raise RuntimeError("CUDA error: device-side assert triggered")


# Logits


def computed(
    model: Any, monkeypatch: pytest.MonkeyPatch, size: int, *, packing: bool = False
) -> tuple[float, torch.Tensor, int]:
    """Loss, gradients, and for how many tokens at most the head was asked, with `size` logits at a time."""
    monkeypatch.setattr(loss, "LOGITS", size)
    calls: list[int] = []
    hook = model.get_output_embeddings().register_forward_hook(lambda *given: calls.append(given[2].shape[-2]))
    batch = collate(TRAIN, [(0, 1), (2,)] if packing else [(0,), (1,), (2,)], pad=0, packing=packing)
    model.zero_grad()
    found = loss.loss_sum(model, batch)
    torch.autograd.backward(found)
    hook.remove()
    grads = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    return found.item(), grads, max(calls)


@pytest.mark.parametrize(("adapter", "packing"), [("full", False), ("lora", True)])
def test_in_pieces_the_loss_and_its_gradients_are_the_same(
    tiny_model: Path, adapter: str, packing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = made_plan(tiny_model, adapter=adapter, dropout=0)
    model = load.with_adapter(plan, load.load_base(plan, tiny_model))
    vocabulary = model.get_input_embeddings().num_embeddings
    with torch.no_grad():
        for weight in model.parameters():
            # Random weights of 0.02 hardly look at what came before; larger ones do.
            weight.mul_(8 if weight.dim() > 1 else 1)
    model.eval()
    at_once, pieces = (computed(model, monkeypatch, size, packing=packing) for size in (1 << 28, 4 * vocabulary))
    assert pieces[2] <= 8 < at_once[2]
    assert pieces[0] == pytest.approx(at_once[0], rel=1e-6)
    assert (pieces[1] - at_once[1]).norm() / at_once[1].norm() < 1e-5


def test_a_model_that_caps_its_logits_is_not_taken_apart(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    plain: Callable[..., Any] = type(model).forward

    def capped(self: Any, **given: Any) -> Any:
        found = plain(self, **given)
        found.logits = 0.1 * torch.tanh(found.logits / 0.1)
        return found

    expected = computed(model, monkeypatch, 1)[0]
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    monkeypatch.setattr(model, "forward", capped.__get__(model))
    whole, pieces = (computed(model, monkeypatch, size)[0] for size in (1 << 28, 1))
    assert pieces == whole != pytest.approx(expected, rel=1e-4)


# Rows and results


def test_a_row_whose_reply_is_cut_away_is_refused(tmp_path: Path) -> None:
    """trl drops it without a word."""
    path = tmp_path / "train.jsonl"
    path.write_text('{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}\n{"input_ids": [5, 6], "labels": [5, -100]}\n')
    with pytest.raises(UserError, match="line 2 has no supervised token"):
        read_rows(path)


def test_a_base_is_named_as_everybody_finds_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its absolute folder, or its name on the Hub: never by where somebody stood, or a folder of a cache."""
    monkeypatch.chdir(tiny_model.parent)
    assert Base.open(tiny_model.name).reference == str(tiny_model)
    plan = made_plan(Path("somebody/their-model"))
    model = load.with_adapter(plan, load.load_base(plan, tiny_model))
    assert model.peft_config["default"].base_model_name_or_path == "somebody/their-model"
    rows = made_rows(4)
    quantised = mlx_plan(tiny_model, rows, [], adapter="qlora", epochs=1)
    made = run_mlx(Path(os.path.relpath(tmp_path / "r1")), quantised, rows, [])
    said = json.loads((made.folder / "adapter/adapter_config.json").read_text())["quantised_base"]
    assert Path(said).is_absolute() and Path(said).is_dir()


def test_what_takes_long_is_said(tiny_model: Path, tmp_path: Path) -> None:
    run(made_plan(tiny_model, adapter="qlora"), tmp_path / "cuda", train=TRAIN[:4])
    assert [event["text"] for event in events(tmp_path / "cuda", "note")] == [
        "loading the base model in 4 bits",
        "trying the longest examples",
        "measuring the base model",
        "checking the result: reading it back from the disk",
    ]
    rows = made_rows(4)
    ran = run_mlx(tmp_path / "r1", mlx_plan(tiny_model, rows, rows, adapter="qlora"), rows, rows)
    assert [event["text"] for event in ran.named("note")] == [
        "making a copy of the base model in 4 bits, once for all runs on it",
        "loading the base model in 4 bits",
        "trying the longest examples",
        "measuring the base model",
        "checking the result: reading it back from the disk",
    ]


# The job


@pytest.fixture
def job_of(tiny_model: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The job of a planned run, whose training is what the test says: its exit code, and its events' names."""
    place = tmp_path / "place"
    shutil.copytree(exported.parents[1], place, ignore=shutil.ignore_patterns("runs", ".jobs"))
    given = {"backend": "mlx", "device": "cpu", "adapter": "lora"}
    with start.planned(place, start.Wanted(base=str(tiny_model), given=given), keep=True) as (planned, _):
        assert planned is not None

    def job_of(training: Callable[[Task], Outcome]) -> tuple[int, Run]:
        monkeypatch.setattr(job, "trainer", lambda backend: SimpleNamespace(train=training))
        heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return job.work(planned.folder, resume=False), planned
        finally:
            for number, handler in heard.items():
                signal.signal(number, handler)

    return job_of


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_was_asked_to_stop_ends_with_130(job_of: Any, number: int) -> None:
    """transformers ends with 0."""

    def training(task: Task) -> Outcome:
        os.kill(os.getpid(), number)
        assert task.stop(), "it is for the end of the step"
        return Outcome(cancelled=True, steps=3)

    code, planned = job_of(training)
    assert (code, planned.standing().state) == (130, "cancelled")


@pytest.mark.parametrize("short", [0, 1])
def test_rows_that_were_not_trained_on_are_counted(job_of: Any, short: int) -> None:
    total: list[int] = []

    def training(task: Task) -> Outcome:
        total.append(len(task.train))
        return Outcome(steps=3, rows=len(task.train) - short, adapter=task.folder / "adapter")

    code, planned = job_of(training)
    warned = [event["text"] for event in planned.events() if event["event"] == "warning"]
    assert code == 0
    assert warned == ([f"{total[0] - 1} of {total[0]} examples were trained on"] if short else [])
