"""The base model on the device, and the adapter on the base."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from loopreview.models.errors import UserError
from loopreview.models.training import Plan


def quiet() -> None:
    """No progress bars: the run's events say how far it is."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def check_machine(plan: Plan) -> None:
    """Raises UserError where this machine can't do what the plan says."""
    if plan.device == "cuda":
        if not torch.cuda.is_available():
            raise UserError("device cuda: torch finds no NVIDIA GPU; try `doctor`, or device=cpu", exit_code=3)
        if plan.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UserError("precision bf16: this GPU does not compute in it; use --set precision=fp32", exit_code=3)
    if plan.adapter == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("adapter qlora: bitsandbytes is not installed; `pip install 'loopreview[cuda]'`", exit_code=3)
    for name in plan.track:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"track: {name} is not installed; `pip install {name}`", exit_code=3)


def quantisation(plan: Plan) -> BitsAndBytesConfig | None:
    """NF4 with double quantisation, for `qlora`."""
    if plan.adapter != "qlora":
        return None
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_number_type(plan),
    )


def load_base(plan: Plan, folder: Path) -> Any:
    """The base model as the plan trains it, on the plan's device. Raises UserError where it can't be loaded."""
    # Weights that are trained stay in float32, also where the computation is in bf16.
    dtype = torch.float32 if plan.adapter == "full" else _number_type(plan)
    model = _load(folder, dtype, quantization_config=quantisation(plan), device_map={"": _device(plan)})
    if plan.adapter == "qlora" and plan.device == "cpu":
        keep_weights_as_they_are(model)
    return model


def load_unquantised(folder: Path) -> Any:
    """On the CPU, in the numbers it is stored in."""
    return _load(folder, "auto", device_map={"": "cpu"})


def _load(folder: Path, dtype: Any, **options: Any) -> Any:
    quiet()
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            **options,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: the base model can't be loaded ({reason})") from error


def keep_weights_as_they_are(model: torch.nn.Module) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes 0.50 rearranges 4-bit weights at the first measurement, and every
    gradient after it is wrong."""
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def lora(plan: Plan) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=plan.base,
        r=plan.rank,
        lora_alpha=plan.alpha,  # type: ignore[arg-type]  # peft divides it by r; a float does
        lora_dropout=plan.dropout,
        target_modules=list(plan.targets),
        use_dora=plan.dora,
        bias="none",
    )


def with_adapter(plan: Plan, model: Any) -> Any:
    """The model that is trained: with a new adapter, with the earlier one to go on from, or as it is for `full`."""
    if plan.adapter == "full":
        return model
    _check_targets(plan, model)
    transformers.set_seed(plan.seed)
    if plan.start_adapter is None:
        found: Any = get_peft_model(model, lora(plan))
    else:
        config = _settings(plan, plan.start_adapter)
        found = read_adapter(model, plan.start_adapter, config=config, is_trainable=True)
    # peft takes the name from the model, which is a folder even where the plan names a model on the Hub.
    found.peft_config["default"].base_model_name_or_path = plan.base
    return found


def read_adapter(model: Any, folder: Path, **options: Any) -> Any:
    """The base with the adapter of `folder` on it. Raises UserError where it can't be read."""
    try:
        with warnings.catch_warnings():
            # Else what is not in the file stays as it was drawn at random.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            # peft would read it to a GPU where there is one, also for a model that is elsewhere.
            where = str(next(model.parameters()).device)
            return PeftModel.from_pretrained(model, str(folder), torch_device=where, **options)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: the adapter can't be put on this base ({reason})") from error


def _settings(plan: Plan, folder: Path) -> Any:
    """Of an adapter that one goes on from. It brings its shape; the plan must not say another."""
    try:
        found: Any = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder}: no adapter can be read there ({error})") from error
    there = {
        "rank": found.r,
        "alpha": float(found.lora_alpha),
        "dora": bool(found.use_dora),
        "targets": tuple(sorted(found.target_modules)),
    }
    said = {"rank": plan.rank, "alpha": plan.alpha, "dora": plan.dora, "targets": tuple(sorted(plan.targets))}
    for name, value in there.items():
        if said[name] != value:
            raise UserError(f"{name}: {said[name]}, but start_adapter has {value}; say the same, or start anew")
    found.lora_dropout = plan.dropout
    return found


def _check_targets(plan: Plan, model: Any) -> None:
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    linear.discard("lm_head")
    missing = [name for name in plan.targets if name not in linear]
    if missing:
        raise UserError(
            f"targets: the base has no linear layer {', '.join(missing)}; it has {', '.join(sorted(linear)[:20])}"
        )


def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def pad_id(model: Any) -> int:
    """Any id does, for padding is neither seen nor supervised."""
    found = model.config.get_text_config().pad_token_id
    return found if isinstance(found, int) and found >= 0 else 0


def _number_type(plan: Plan) -> torch.dtype:
    return torch.bfloat16 if plan.precision == "bf16" else torch.float32


def _device(plan: Plan) -> Any:
    return 0 if plan.device == "cuda" else "cpu"
