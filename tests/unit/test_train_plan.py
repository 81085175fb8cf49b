"""The plan: what is proposed and why, what is refused, and its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.made import make_export
from tests.unit.made_base import make_base

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.train.base import Base
from loopreview.train.machine import Device, Machine, Ready
from loopreview.train.plan import Planned, parse_settings, propose, read_plan, write_plan

GIB = 1 << 30
CPU = Device("cpu", "Some CPU", 16 * GIB, 8 * GIB)
H200 = Device("cuda", "NVIDIA H200", 140 * GIB, 139 * GIB, 9.0)
T4 = Device("cuda", "Tesla T4", 16 * GIB, 15 * GIB, 7.5)
M3 = Device("metal", "Apple M3", 24 * GIB, 16 * GIB)


def machine(*gpus: Device, cuda: bool = True, mlx: bool = True) -> Machine:
    def ready(installed: bool, kind: str, extra: str) -> Ready:
        device = next((gpu for gpu in gpus if gpu.kind == kind), CPU)
        if installed:
            return Ready(True, f"on {device.name}", None, device)
        return Ready(False, "not installed: torch", f"pip install 'loopreview[{extra}]'", None)

    backends: Any = {"cuda": ready(cuda, "cuda", "cuda"), "mlx": ready(mlx, "metal", "mlx")}
    return Machine("3.11", backends, [*gpus, CPU], {}, 100 * GIB, {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def dataset(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported.open(make_export(tmp_path_factory.mktemp("plan") / "workspace", model))


Propose = Callable[..., Planned]


@pytest.fixture
def proposed(model: Path, dataset: Exported, tmp_path: Path) -> Propose:
    def make(*gpus: Device, base: Path = model, data: Exported = dataset, **more: Any) -> Planned:
        installed = {key: more.pop(key) for key in ("cuda", "mlx") if key in more}
        given = more.pop("given", {})
        if not gpus and "backend" not in given:
            given = {"backend": "cuda", **given}
        opened = Base.open(str(base))
        return propose(data, opened, machine(*gpus, **installed), given=given, run_folder=tmp_path / "run", **more)

    return make


# --- backend and device --------------------------------------------------------------------------------------------


def test_the_backend_follows_the_machine(proposed: Propose) -> None:
    nvidia, apple = proposed(H200), proposed(M3)
    assert (nvidia.plan.backend, nvidia.plan.device, nvidia.device) == ("cuda", "cuda", H200)
    assert (apple.plan.backend, apple.plan.device, apple.device) == ("mlx", "metal", M3)
    assert "NVIDIA H200" in nvidia.reasons["backend"] and "Apple M3" in apple.reasons["backend"]
    asked = proposed(H200, given={"backend": "mlx"})
    assert (asked.plan.backend, asked.plan.device) == ("mlx", "cpu")


def test_a_machine_without_a_gpu_says_what_can_be_tried(
    model: Path, dataset: Exported, tmp_path: Path, proposed: Propose
) -> None:
    with pytest.raises(UserError) as raised:
        propose(dataset, Base.open(str(model)), machine(mlx=False), given={}, run_folder=tmp_path)
    for part in ("--backend cuda", "--backend mlx", "cuda: installed", "mlx: pip install 'loopreview[mlx]'"):
        assert part in str(raised.value)
    with pytest.raises(UserError, match="not installed: torch; pip install") as raised:
        proposed(H200, cuda=False)
    assert raised.value.exit_code == 3
    with pytest.raises(UserError, match="device: metal is not here; this machine has cpu"):
        proposed(given={"backend": "mlx", "device": "metal"})


# --- values --------------------------------------------------------------------------------------------------------


def test_every_value_has_a_reason(proposed: Propose, dataset: Exported, model: Path) -> None:
    found = proposed(H200)
    plan = found.plan
    assert set(found.reasons) == set(Plan.model_fields)
    assert all(reason.strip() and "\n" not in reason for reason in found.reasons.values())
    assert (plan.adapter, plan.dora, plan.rank, plan.alpha, plan.dropout) == ("qlora", False, 16, 32, 0.05)
    assert plan.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (plan.epochs, plan.learning_rate, plan.schedule, plan.warmup) == (3, 2e-4, "cosine", 0.1)
    assert (plan.batch, plan.accumulation, plan.weight_decay, plan.seed) == (1, 8, 0.01, 0)
    assert (plan.precision, plan.gradient_checkpointing, plan.packing, plan.patience) == ("bf16", True, False, 3)
    assert plan.base == str(model) and plan.data.tokens == dataset.folder / "tokens"
    assert (plan.data.train, plan.data.valid) == (35, 2) and plan.data.hash == dataset.hash
    assert "35 examples" in found.reasons["epochs"] and "105" in found.reasons["epochs"]
    longest = dataset.manifest["tokens"]["max"]
    assert plan.max_length % 64 == 0 and 0 <= plan.max_length - longest < 64
    assert f"{longest} tokens" in found.reasons["max_length"]
    # 35 examples, 8 a step: 5 steps an epoch, each measured.
    assert plan.eval_steps == plan.save_steps == 1 and "5 steps" in found.reasons["eval_steps"]
    assert {check.name for check in found.checks} >= {"Dataset", "Splits", "Length", "Memory"}
    assert not [check for check in found.checks if check.level == "error"]


def test_what_a_cpu_and_an_old_gpu_get(proposed: Propose) -> None:
    small = proposed()
    assert (small.plan.adapter, small.plan.precision, small.plan.gradient_checkpointing) == ("lora", "fp32", False)
    assert "gain nothing from 4 bits" in small.reasons["adapter"] and "0.1 million" in small.reasons["adapter"]
    old = proposed(T4)
    assert (old.plan.adapter, old.plan.precision) == ("qlora", "fp32") and "no bf16" in old.reasons["precision"]


def test_a_large_base_on_a_cpu_is_held_in_4_bits_and_saves_memory(proposed: Propose, tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "vocab_size": 128_256,
    }  # fmt: skip
    folder = make_base(tmp_path / "large", config=sizes)
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")  # nothing to count: reckoned from the config
    large = proposed(base=folder)
    assert large.plan.adapter == "qlora" and "billion" in large.reasons["adapter"]
    tight = CPU._replace(free=large.estimate.total - 1, memory=large.estimate.total - 1)
    short = propose(
        Exported.open(large.plan.data.folder), Base.open(str(folder)),
        machine()._replace(backends={"cuda": Ready(True, "", None, tight), "mlx": Ready(False, "", None, None)}),
        given={"backend": "cuda"}, run_folder=tmp_path / "run",
    )  # fmt: skip
    assert short.plan.gradient_checkpointing is True and large.plan.gradient_checkpointing is False
    none = tight._replace(free=1 << 20, memory=1 << 20)
    without = propose(
        Exported.open(large.plan.data.folder), Base.open(str(folder)),
        machine()._replace(backends={"cuda": Ready(True, "", None, none), "mlx": Ready(False, "", None, None)}),
        given={"backend": "cuda"}, run_folder=tmp_path / "run",
    )  # fmt: skip
    memory = next(check for check in without.checks if check.name == "Memory")
    assert memory.level == "error" and "no max_length would fit" in memory.text


def test_all_weights_get_a_smaller_learning_rate(proposed: Propose) -> None:
    full = proposed(H200, given={"adapter": "full"})
    assert full.plan.learning_rate == 2e-5 and "unused" in full.reasons["rank"]


def test_alpha_follows_the_rank_and_steps_follow_the_batch(proposed: Propose) -> None:
    found = proposed(H200, given={"rank": 4, "batch": 2})
    assert (found.plan.alpha, found.plan.accumulation) == (8, 4)
    assert found.reasons["rank"] == "as asked for" and "2 × 4 = 8" in found.reasons["accumulation"]


def test_few_examples_still_make_four_steps(model: Path, tmp_path: Path, proposed: Propose) -> None:
    few = Exported.open(make_export(tmp_path / "few", model, count=12))
    found = proposed(H200, data=few)
    steps = -(-found.plan.data.train // found.plan.accumulation)
    assert steps >= 4 > -(-found.plan.data.train // (found.plan.accumulation + 1))
    assert "under 4 steps" in found.reasons["accumulation"]
    assert proposed(H200, data=few, given={"accumulation": 8}).plan.accumulation == 8


def test_measured_about_four_times_an_epoch(proposed: Propose) -> None:
    found = proposed(H200, given={"accumulation": 1})
    assert found.plan.eval_steps == 9 and "35 steps" in found.reasons["eval_steps"]
    one = proposed(H200, given={"save_steps": 5})
    assert one.plan.eval_steps == one.plan.save_steps == 5
    with pytest.raises(UserError, match=r"save_steps \(4\) and eval_steps \(2\) must be equal"):
        proposed(H200, given={"save_steps": 4, "eval_steps": 2})


def test_max_length_is_held_to_what_the_model_takes(dataset: Exported, proposed: Propose, tmp_path: Path) -> None:
    longest = dataset.manifest["tokens"]["max"]
    exact = proposed(base=make_base(tmp_path / "exact", config={"max_position_embeddings": longest}))
    assert exact.plan.max_length == longest
    assert not [check for check in exact.checks if check.level == "error"]
    narrow = make_base(tmp_path / "narrow", config={"max_position_embeddings": longest - 1})
    found = proposed(base=narrow)
    assert [check.name for check in found.checks if check.level == "error"] == ["Length"]
    with pytest.raises(
        UserError, match=f"max_length: 4,096 is more than narrow takes; allowed are up to {longest - 1}"
    ):
        proposed(base=narrow, given={"max_length": 4096})
    short = proposed(given={"max_length": 64})
    assert [check.name for check in short.checks if check.level == "error"] == ["Length"]


def test_packing_is_named_where_it_would_help(proposed: Propose) -> None:
    assert "packing=yes" not in proposed(H200).reasons["packing"]
    assert "packing=yes" in proposed(H200, given={"max_length": 4096}).reasons["packing"]
    assert "packing=yes" not in proposed(M3, given={"max_length": 4096}).reasons["packing"]
    packed = proposed(H200, given={"max_length": 4096, "packing": True, "accumulation": 1}).plan
    assert packed.packing and packed.eval_steps == 1, "about 13,000 tokens are 4 rows, so 4 steps"


def test_layers_under_other_names(proposed: Propose, tmp_path: Path) -> None:
    phi = ("o_proj", "qkv_proj", "gate_up_proj", "down_proj")
    fused = make_base(tmp_path / "phi", layers=phi, config={"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]})
    found = proposed(H200, base=fused)
    assert found.plan.targets == ("qkv_proj", "o_proj")
    assert "gate_up_proj" in found.reasons["targets"]
    with pytest.raises(
        UserError, match="targets: q_proj is no layer of phi; allowed are o_proj, qkv_proj, gate_up_proj"
    ):
        proposed(H200, base=fused, given={"targets": ["q_proj"]})
    odd = make_base(tmp_path / "odd", layers=("mixer", "expand"))
    with pytest.raises(UserError, match="choose with --set targets= from mixer, expand"):
        proposed(H200, base=odd)
    assert proposed(H200, base=odd, given={"targets": ["mixer"]}).plan.targets == ("mixer",)
    with pytest.raises(UserError, match="targets: at least one layer is needed"):
        proposed(H200, given={"targets": []})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rank": 0}, ["`rank`", "greater than or equal to 1", "not 0"]),
        ({"rank": True}, ["`rank`: must be a whole number, not true"]),
        ({"learning_rate": float("inf")}, ["`learning_rate`: must be a number, not inf"]),
        ({"learning_rate": "much"}, ["`learning_rate`: must be a number, not 'much'"]),
        ({"schedule": "cosin"}, ["`schedule`", "'cosine', 'linear' or 'constant'", "not 'cosin'"]),
        ({"dropout": 1.0}, ["`dropout`", "less than 1", "not 1.0"]),
        ({"method": "dpo"}, ["`method`", "'sft'", "not 'dpo'"]),
        ({"rnak": 8}, ["unknown key `rnak`; did you mean `rank`?"]),
        ({"backend": "mlx", "adapter": "full"}, ["the mlx backend trains adapters"]),
        ({"backend": "mlx", "packing": True}, ["packing is of the cuda backend"]),
        ({"track": ["clipboard"]}, ["of track", "'clipboard'"]),
        ({"backend": "tpu"}, ["backend: tpu is none; choose cuda or mlx"]),
        ({"data": {}}, ["--dataset"]),
    ],
)
def test_what_cannot_be_is_refused(proposed: Propose, given: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        proposed(given=given)
    for part in says:
        assert part in str(raised.value)


def test_what_the_machine_cannot_is_refused(proposed: Propose, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="precision: Tesla T4 does not compute in bf16; allowed is fp32"):
        proposed(T4, given={"precision": "bf16"})
    with pytest.raises(UserError, match="track: the mlx backend tells no tracker, so not wandb"):
        proposed(M3, given={"track": ["wandb"]})
    monkeypatch.setattr("loopreview.train.plan.find_spec", lambda name: None)
    with pytest.raises(UserError, match="track: wandb is not installed; `pip install wandb`") as raised:
        proposed(H200, given={"track": ["wandb"]})
    assert raised.value.exit_code == 3
    monkeypatch.setattr("loopreview.train.plan.find_spec", lambda name: name)
    assert proposed(H200, given={"track": ["wandb"]}).plan.track == ("wandb",)


def test_mlx_weights_are_refused_by_the_cuda_backend(proposed: Propose, tmp_path: Path) -> None:
    quantised = make_base(tmp_path / "4bit", config={"quantization": {"bits": 4}, "quantization_config": {"bits": 4}})
    assert proposed(M3, base=quantised).plan.adapter == "qlora"
    with pytest.raises(UserError, match="MLX's 4-bit weights, which the cuda backend cannot train on"):
        proposed(H200, base=quantised)


# --- going on from a run -------------------------------------------------------------------------------------------


def test_a_run_is_gone_on_from(proposed: Propose, tmp_path: Path) -> None:
    before = proposed(given={"rank": 8, "epochs": 5, "learning_rate": 1e-4, "max_length": 1024}).plan
    adapter = tmp_path / "r3-tiny-lora" / "adapter"
    found = proposed(given={"epochs": 1}, earlier=(before, adapter))
    plan = found.plan
    assert (plan.rank, plan.alpha, plan.learning_rate, plan.epochs) == (8, 16, 1e-4, 1)
    assert plan.max_length == 1024 and plan.start_adapter == adapter
    assert found.reasons["rank"] == "as in r3-tiny-lora" and found.reasons["epochs"] == "as asked for"
    for given, says in (
        ({"rank": 16}, "rank: 16 does not go with the adapter of r3-tiny-lora, made with 8"),
        ({"targets": ["q_proj"]}, "targets: q_proj does not go with"),
        ({"adapter": "full"}, "adapter: full does not go on from r3-tiny-lora"),
        ({"backend": "mlx"}, "was trained with cuda, this would be mlx"),
    ):
        with pytest.raises(UserError, match=says):
            proposed(given=given, earlier=(before, adapter))
    with pytest.raises(UserError, match="it cannot go on with"):
        proposed(base=make_base(tmp_path / "other"), earlier=(before, adapter))
    full = proposed(given={"adapter": "full"}).plan
    with pytest.raises(UserError, match=r"trained all weights .* with --base"):
        proposed(earlier=(full, adapter))


# --- the file, and --set -------------------------------------------------------------------------------------------


def test_a_plan_comes_back_from_its_file(proposed: Propose, tmp_path: Path) -> None:
    for given in ({}, {"learning_rate": 1.5e-7, "alpha": 24.5, "targets": ["q_proj"]}):
        found = proposed(H200, given=given)
        more = {"start_adapter": tmp_path / "a: b" / "adapter", "track": ("wandb",)} if given else {}
        plan = found.plan.model_copy(update=more)
        write_plan(tmp_path / "plan.yaml", plan, found.reasons)
        assert read_plan(tmp_path / "plan.yaml") == plan
        # Another program's YAML sees numbers too.
        other = yaml.safe_load((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
        assert other["learning_rate"] == plan.learning_rate and isinstance(other["learning_rate"], float)
        assert other == {**plan.model_dump(mode="json"), "alpha": other["alpha"]} and other["alpha"] == plan.alpha
    text = (tmp_path / "plan.yaml").read_text(encoding="utf-8")
    assert f"# {found.reasons['epochs']}\nepochs: 3\n" in text
    assert "learning_rate: 0.00000015\n" in text


def edited(path: Path, old: str, new: str) -> int:
    """Replace, and say in which line."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("\nrank: 16", "\nrnak: 16", "unknown key `rnak`; did you mean `rank`?"),
        ("\nrank: 16", "\nrank: 0", "`rank`: should be greater than or equal to 1, not 0"),
        ("\nrank: 16", "\nrank: yes", "`rank`: must be a whole number, not 'yes'"),
        ("\nrank: 16", "\nrank: true", "`rank`: must be a whole number, not true"),
        ("\nlearning_rate: 0.0002", "\nlearning_rate: .inf", "`learning_rate`: must be a number, not inf"),
        ("\nlearning_rate: 0.0002", "\nlearning_rate:", "`learning_rate`: must be a number, not nothing"),
        ("\nschedule: cosine", "\nschedule: step", "`schedule`: should be 'cosine', 'linear' or 'constant'"),
        ("\ndora: false", "\ndora: maybe", "`dora`: must be true or false, not 'maybe'"),
        ("\n  train: 35", "\n  trian: 35", "unknown key `trian` in data; did you mean `train`?"),
        ("\nseed: 0", "\nseed: 0\nseed: 1", "`seed` is here twice"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_line(
    proposed: Propose, tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tmp_path / "plan.yaml"
    found = proposed(H200)
    write_plan(path, found.plan, found.reasons)
    line = edited(path, old, new) + new.count("\n")
    with pytest.raises(UserError) as raised:
        read_plan(path)
    assert str(raised.value).startswith(f"{path} line {line}: ") and says in str(raised.value)


def test_numbers_as_people_write_them(proposed: Propose, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    found = proposed(H200)
    write_plan(path, found.plan, found.reasons)
    edited(path, "learning_rate: 0.0002", "learning_rate: 2e-4")
    edited(path, "weight_decay: 0.01", 'weight_decay: "1e-2"')
    edited(path, "dora: false", "dora: yes")
    assert read_plan(path) == found.plan.model_copy(update={"dora": True})
    with pytest.raises(UserError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_settings_get_the_types_of_the_plan() -> None:
    assert parse_settings(
        ["rank=8", "learning_rate=2e-4", "targets=q_proj, v_proj", "dora=yes", "packing=False", "schedule=linear",
         "track=wandb,mlflow", "alpha = 16"]
    ) == {
        "rank": 8, "learning_rate": 2e-4, "targets": ("q_proj", "v_proj"), "dora": True, "packing": False,
        "schedule": "linear", "track": ("wandb", "mlflow"), "alpha": 16.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("rank", "must be KEY=VALUE"),
        ("rnak=8", "unknown key `rnak`; did you mean `rank`?"),
        ("rank=8.5", "`rank` must be a whole number"),
        ("rank=", "`rank` must be a whole number"),
        ("learning_rate=nan", "`learning_rate` must be a number"),
        ("dora=perhaps", "`dora` must be yes or no"),
        ("schedule=step", "`schedule` must be cosine, linear or constant"),
        ("backend=mlx", "--backend cuda|mlx"),
        ("base=x", "--base"),
        ("data=x", "--dataset"),
        ("method=dpo", "--method"),
        ("device=cpu", "follows from --backend"),
        ("start_adapter=x", "--from RUN"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(pair: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_settings([pair])
    assert says in str(raised.value) and str(raised.value).startswith(f"--set {pair}")
    with pytest.raises(UserError, match="`rank` is set twice"):
        parse_settings(["rank=8", "rank=16"])
