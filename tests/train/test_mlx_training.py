"""Training with the MLX backend: every value of a plan arrives, and what comes out is proven."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.train.mlx_run import Ran, made_plan, made_rows, run_mlx

from loopreview.models.errors import UserError
from loopreview.models.training import Plan

pytest.importorskip("mlx_lm")
pytestmark = pytest.mark.train

TRAIN, VALID = made_rows(7), made_rows(3, seed=1)
"""4 micro-batches of 2, the last of one; 2 steps of 2."""


@pytest.fixture(scope="module")
def ran(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The run that the others differ from in one value."""
    plan = made_plan(tiny_model, TRAIN, VALID, warmup=0.0, schedule="constant")
    return run_mlx(tmp_path_factory.mktemp("runs") / "r1", plan, TRAIN, VALID)


def test_a_run_from_beginning_to_end(ran: Ran, tiny_model: Path) -> None:
    out = ran.outcome
    assert (out.cancelled, out.stopped_early, out.steps, out.rows) == (False, False, 4, len(TRAIN))
    assert out.first_loss and out.last_loss and out.last_loss < out.first_loss
    assert out.best_eval_loss and out.base_eval_loss and out.best_eval_loss < out.base_eval_loss
    assert out.loaded_eval_loss == pytest.approx(out.best_eval_loss, rel=1e-5)
    assert [row for row, _ in out.example_losses] == [1, 2, 3]
    weighed = sum(loss * row.supervised for (_, loss), row in zip(out.example_losses, VALID, strict=True))
    assert weighed / sum(row.supervised for row in VALID) == pytest.approx(out.loaded_eval_loss)
    assert out.tokens == 2 * sum(len(row.ids) for row in TRAIN)
    assert out.peak_memory and out.peak_memory > 100_000 and out.tokens_per_s

    steps = ran.named("step")
    assert [event["step"] for event in steps] == [1, 2, 3, 4]
    assert [event["epoch"] for event in steps] == [0.5, 1, 1.5, 2]
    assert all(event["grad_norm"] > 0 and event["tokens_per_s"] > 0 for event in steps)
    assert (steps[0]["loss"], steps[-1]["loss"]) == (out.first_loss, out.last_loss)
    assert [event["step"] for event in ran.named("eval")] == [0, 2, 4]
    assert not ran.named("warning")
    assert sorted(path.name for path in ran.folder.iterdir()) == ["adapter", "checkpoints", "events.jsonl"]


def test_the_adapter_is_read_by_mlx_lm_and_changes_what_the_base_says(ran: Ran, tiny_model: Path) -> None:
    import mlx.core as mx
    from mlx_lm.utils import load

    ids = mx.array([[3, 10, 17, 24]])
    base, _ = load(str(tiny_model))
    tuned, _ = load(str(tiny_model), adapter_path=str(ran.folder / "adapter"))
    assert np.abs(np.array(base(ids)) - np.array(tuned(ids))).max() > 1e-3
    assert tuned.layers[0].self_attn.q_proj.scale == 2


# One check for each value of the plan: what is changed, and how it shows.

Change = Callable[[Ran, Callable[..., Ran]], None]
CHANGES: dict[str, Change] = {}


def change(name: str) -> Callable[[Change], Change]:
    def keep(check: Change) -> Change:
        CHANGES[name] = check
        return check

    return keep


def config(ran: Ran) -> dict[str, Any]:
    return json.loads((ran.folder / "adapter" / "adapter_config.json").read_text())


def weights(ran: Ran) -> dict[str, np.ndarray]:
    return load_file(ran.folder / "adapter" / "adapters.safetensors")


def column(ran: Ran, name: str) -> list[float]:
    return [event[name] for event in ran.named("step")]


@change("backend")
def _backend(ran: Ran, again: Callable[..., Ran]) -> None:
    assert (ran.folder / "adapter" / "adapters.safetensors").is_file()


@change("device")
def _device(ran: Ran, again: Callable[..., Ran]) -> None:
    import mlx.core as mx

    if not mx.metal.is_available():
        with pytest.raises(UserError, match="no Apple GPU") as refused:
            again(device="metal")
        assert refused.value.exit_code == 3
    assert mx.default_device() == mx.cpu


@change("base")
def _base(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(base="some/name-on-the-hub")
    assert config(other)["base_model"] == "some/name-on-the-hub"


@change("method")
def _method(ran: Ran, again: Callable[..., Ran]) -> None:
    with pytest.raises(ValueError):
        again(method="dpo")


@change("adapter")
def _adapter(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(adapter="qlora")
    folder = Path(config(other)["quantised_base"])
    assert folder.parent == other.folder.parent / ".bases" and config(ran)["quantised_base"] is None
    said = json.loads((folder / "config.json").read_text())["quantization"]
    assert said == {"group_size": 64, "bits": 4, "mode": "affine"}
    assert load_file(folder / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"].dtype == np.uint32
    assert other.outcome.base_eval_loss != ran.outcome.base_eval_loss
    assert other.outcome.loaded_eval_loss == pytest.approx(other.outcome.best_eval_loss, rel=1e-3)
    assert other.outcome.last_loss < other.outcome.first_loss


@change("dora")
def _dora(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(dora=True)
    assert config(other)["fine_tune_type"] == "dora" and config(ran)["fine_tune_type"] == "lora"
    assert {name.rsplit(".")[-1] for name in weights(other)} == {"lora_a", "lora_b", "m"}


@change("rank")
def _rank(ran: Ran, again: Callable[..., Ran]) -> None:
    assert all(4 in value.shape for value in weights(ran).values())
    assert all(3 in value.shape for value in weights(again(rank=3)).values())


@change("alpha")
def _alpha(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(alpha=20)
    assert config(ran)["lora_parameters"]["scale"] == 2 and config(other)["lora_parameters"]["scale"] == 5
    # Nothing is added yet at the first step, and its gradient is scaled.
    assert column(other, "grad_norm")[0] == pytest.approx(2.5 * column(ran, "grad_norm")[0], rel=1e-3)


@change("dropout")
def _dropout(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(dropout=0.5)
    assert config(other)["lora_parameters"]["dropout"] == 0.5
    assert column(other, "loss")[0] == pytest.approx(column(ran, "loss")[0], rel=1e-6), "B is 0: nothing to drop yet"
    assert column(other, "grad_norm")[0] != pytest.approx(column(ran, "grad_norm")[0], rel=1e-2)


@change("targets")
def _targets(ran: Ran, again: Callable[..., Ran]) -> None:
    def places(ran: Ran) -> set[str]:
        return {".".join(name.split(".")[2:-1]) for name in weights(ran)}

    assert places(ran) == {f"{layer}.self_attn.{part}_proj" for layer in (0, 1) for part in "qkvo"}
    assert places(again(targets=("v_proj", "up_proj"))) == {
        f"{layer}.{name}" for layer in (0, 1) for name in ("self_attn.v_proj", "mlp.up_proj")
    }
    with pytest.raises(UserError, match="have no query_proj; they have down_proj, gate_proj"):
        again(targets=("q_proj", "query_proj"))


@change("epochs")
def _epochs(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(epochs=1)
    assert other.outcome.steps == 2 and other.outcome.rows == len(TRAIN)


@change("learning_rate")
def _learning_rate(ran: Ran, again: Callable[..., Ran]) -> None:
    assert column(ran, "learning_rate") == [1e-2] * 4
    other = again(learning_rate=1e-3)
    assert column(other, "learning_rate") == [1e-3] * 4
    # Adam with its bias correction moves each weight by the learning rate at the first step (B starts at 0).
    moved = weights(again(epochs=1, batch=7, accumulation=1, learning_rate=1e-3, weight_decay=0.0))
    b = np.concatenate([value.ravel() for name, value in moved.items() if name.endswith("lora_b")])
    assert np.median(np.abs(b)) == pytest.approx(1e-3, rel=0.01)


@change("schedule")
def _schedule(ran: Ran, again: Callable[..., Ran]) -> None:
    assert column(again(schedule="linear"), "learning_rate") == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


@change("warmup")
def _warmup(ran: Ran, again: Callable[..., Ran]) -> None:
    assert column(again(warmup=0.5), "learning_rate") == pytest.approx([0, 0.005, 0.01, 0.01])


@change("batch")
def _batch(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(batch=1)
    assert other.outcome.steps == 8 and other.outcome.rows == len(TRAIN)


@change("accumulation")
def _accumulation(ran: Ran, again: Callable[..., Ran]) -> None:
    assert again(accumulation=3).outcome.steps == 4, "3 and 1 of 4 micro-batches, twice"
    assert again(accumulation=1).outcome.steps == 8


@change("weight_decay")
def _weight_decay(ran: Ran, again: Callable[..., Ran]) -> None:
    name = "model.layers.0.self_attn.q_proj.lora_a"
    one = {"epochs": 1, "batch": 7, "accumulation": 1}
    without, with_ = (weights(again(**one, weight_decay=decay))[name] for decay in (0.0, 10.0))
    # Decoupled: what decays is the weight before the step, by the learning rate times the decay. A does not move at
    # the first step, its gradient is 0 while B is.
    np.testing.assert_allclose(with_, without * (1 - 0.01 * 10), rtol=1e-4)


@change("max_grad_norm")
def _max_grad_norm(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(max_grad_norm=1e-9)
    assert column(other, "grad_norm")[0] == pytest.approx(column(ran, "grad_norm")[0]), "before it is clipped"
    # So small a gradient is like Adam's epsilon: the steps are small too.
    biggest = [max(np.abs(v).max() for n, v in weights(r).items() if n.endswith("lora_b")) for r in (ran, other)]
    assert biggest[1] < 0.5 * biggest[0]


@change("seed")
def _seed(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(seed=5)
    assert other.adapter != ran.adapter and column(other, "loss")[0] != column(ran, "loss")[0]
    assert again(seed=5).adapter == other.adapter, "the same plan gives the same weights"


@change("max_length")
def _max_length(ran: Ran, again: Callable[..., Ran]) -> None:
    with pytest.raises(UserError, match=r"tokens, max_length is 20; set a greater max_length"):
        again(max_length=20)


@change("packing")
def _packing(ran: Ran, again: Callable[..., Ran]) -> None:
    with pytest.raises(ValueError, match="packing is of the cuda backend"):
        again(packing=True)


@change("gradient_checkpointing")
def _gradient_checkpointing(ran: Ran, again: Callable[..., Ran]) -> None:
    import mlx.core as mx

    peaks, ends = [], []
    for on in (False, True):
        mx.clear_cache()
        mx.reset_peak_memory()
        other = again(gradient_checkpointing=on, max_length=300, rows=made_rows(7, longest=300))
        peaks.append(other.outcome.peak_memory)
        ends.append(other.outcome.last_loss)
    assert peaks[1] < 0.9 * peaks[0]
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)


@change("precision")
def _precision(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(precision="bf16")
    first, exact = other.outcome.first_loss, ran.outcome.first_loss
    assert first != exact and first == pytest.approx(exact, rel=0.01)
    assert {value.dtype for value in weights(other).values()} == {np.dtype(np.float32)}


@change("eval_steps")
def _eval_steps(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(eval_steps=3, save_steps=3)
    assert [event["step"] for event in other.named("eval")] == [0, 3, 4]


@change("save_steps")
def _save_steps(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(eval_steps=3, save_steps=3)
    assert [event["step"] for event in other.named("checkpoint")] == [3, 4]
    assert [event["step"] for event in ran.named("checkpoint")] == [2, 4]


@change("patience")
def _patience(ran: Ran, again: Callable[..., Ran]) -> None:
    # Steps so long that the loss only gets worse.
    worse = {"eval_steps": 1, "save_steps": 1, "learning_rate": 5.0, "epochs": 4}
    other = again(**worse, patience=2)
    losses = [event["loss"] for event in other.named("eval")][1:]
    best = int(np.argmin(losses))
    assert other.outcome.stopped_early and other.outcome.steps == best + 1 + 2 == len(losses) < 8
    assert other.outcome.best_step == best + 1 and other.outcome.best_eval_loss == losses[best]
    assert other.outcome.loaded_eval_loss == pytest.approx(losses[best], rel=1e-3), "the best weights, not the last"
    assert again(**worse, patience=0).outcome.steps == 8


@change("track")
def _track(ran: Ran, again: Callable[..., Ran]) -> None:
    with pytest.raises(UserError, match="track"):
        again(track=("wandb",))


@change("start_adapter")
def _start_adapter(ran: Ran, again: Callable[..., Ran]) -> None:
    other = again(start_adapter=ran.folder / "adapter")
    assert other.outcome.base_eval_loss == pytest.approx(ran.outcome.loaded_eval_loss, rel=1e-5)
    with pytest.raises(UserError, match="another rank, other targets"):
        again(start_adapter=ran.folder / "adapter", rank=8, alpha=16)
    with pytest.raises(UserError, match="set alpha=8"):
        again(start_adapter=ran.folder / "adapter", alpha=16)


@change("data")
def _data(ran: Ran, again: Callable[..., Ran]) -> None:
    plan = made_plan(Path(ran.named("checkpoint")[0]["path"]), TRAIN, VALID)
    with pytest.raises(UserError, match="7 examples to train and 3 to measure"):
        run_mlx(ran.folder.parent / "other", plan, TRAIN[1:], VALID)


@pytest.mark.parametrize("name", list(Plan.model_fields))
def test_every_value_of_the_plan_arrives(name: str, ran: Ran, tiny_model: Path, tmp_path: Path) -> None:
    numbers = iter(range(9))

    def again(*, rows: Any = TRAIN, **given: Any) -> Ran:
        plan = made_plan(tiny_model, rows, VALID, **{"warmup": 0.0, "schedule": "constant", **given})
        return run_mlx(tmp_path / f"r{next(numbers)}", plan, rows, VALID, base=tiny_model)

    assert name in CHANGES, f"the plan has a value {name}: say here how it arrives in the MLX backend"
    CHANGES[name](ran, again)


def test_without_validation_examples_the_last_weights_are_taken(tiny_model: Path, tmp_path: Path) -> None:
    ran = run_mlx(tmp_path / "r1", made_plan(tiny_model, TRAIN, [], patience=1), TRAIN, [])
    out = ran.outcome
    assert (out.steps, out.best_step, out.best_eval_loss, out.example_losses) == (4, 4, None, ())
    assert "no validation examples" in ran.named("warning")[0]["text"]
    assert out.adapter and (out.adapter / "adapters.safetensors").is_file()


def test_a_base_in_4_bits_is_made_once_and_one_that_is_quantised_is_used(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = made_plan(tiny_model, TRAIN, VALID, adapter="qlora", epochs=1)
    first = run_mlx(tmp_path / "r1", plan, TRAIN, VALID)
    made = Path(config(first)["quantised_base"])
    stamp = (made / "model.safetensors").stat().st_mtime_ns
    second = run_mlx(tmp_path / "r2", plan, TRAIN, VALID)
    assert config(second)["quantised_base"] == str(made) and (made / "model.safetensors").stat().st_mtime_ns == stamp
    assert second.adapter == first.adapter
    third = run_mlx(tmp_path / "else" / "r3", plan.model_copy(update={"base": str(made)}), TRAIN, VALID)
    assert config(third)["quantised_base"] == str(made) and not (tmp_path / "else" / ".bases").exists()
    assert [path.name for path in (tmp_path / ".bases").iterdir()] == [made.name]
    assert capfd.readouterr().out == "", "standard output is the command's own"


def test_an_adapter_that_does_nothing_once_loaded_is_a_warning(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx_lm.utils

    load = mlx_lm.utils.load
    monkeypatch.setattr(mlx_lm.utils, "load", lambda path, adapter_path, **more: load(path, **more))
    ran = run_mlx(tmp_path / "r1", made_plan(tiny_model, TRAIN, VALID), TRAIN, VALID)
    assert ran.outcome.loaded_eval_loss == pytest.approx(ran.outcome.base_eval_loss, rel=1e-5)
    assert "the adapter as loaded has a validation loss of" in ran.named("warning")[0]["text"]


@pytest.mark.parametrize(
    ("wrong", "says"), [({"model_file": "own.py"}, "custom module"), ({"model_type": "unheard"}, "not supported")]
)
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_a_base_with_code_of_its_own_or_unknown_to_mlx_lm_is_refused(
    tiny_model: Path, tmp_path: Path, wrong: dict[str, str], says: str, adapter: str
) -> None:
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**said, **wrong}))
    (base / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError, match=says) as refused:
        run_mlx(tmp_path / "r1", made_plan(base, TRAIN, VALID, adapter=adapter), TRAIN, VALID)
    assert refused.value.exit_code == 3 and not (tmp_path / "ran").exists()


def test_too_little_memory_is_found_before_the_first_step(tiny_model: Path, tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from tests.train.mlx_run import made_plan, run_mlx
from loopreview.train.backend import OutOfMemory
from loopreview.train.rows import Row
import loopreview.train.mlx
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20), resource.RLIM_INFINITY))
ids = [5 + n % 90 for n in range(4000)]
rows = [Row(ids[:20], ids[:20])] * 3 + [Row(ids, ids)]
plan = made_plan(Path({str(tiny_model)!r}), rows, [], max_length=4000, batch=1)
try:
    run_mlx(Path({str(tmp_path)!r}) / "r1", plan, rows, [])
except OutOfMemory as error:
    print("out of memory:", error)
"""
    if sys.platform != "linux":
        pytest.skip("limits a process as Linux does")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ran.stdout.startswith("out of memory:"), ran.stderr[-2000:]
    assert '"step"' not in (tmp_path / "r1" / "events.jsonl").read_text()


def test_the_self_test_runs_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    from loopreview.train.backend import trainer

    assert "4-bit" in trainer("mlx").self_test()
    assert capfd.readouterr().out == ""
