"""The memory estimate against real models: their parameters, and the peak of real training steps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_memory import plan

from loopreview.train.memory import estimate, shape

pytestmark = pytest.mark.train

SMALL = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
         "intermediate_size": 200, "vocab_size": 700}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL, "attention_bias": True, "mlp_bias": True},
    "llama, tied": {"model_type": "llama", **SMALL, "tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2", **SMALL},
    "qwen3": {"model_type": "qwen3", **SMALL, "head_dim": 32},
    "mistral": {"model_type": "mistral", **SMALL, "head_dim": 24},
    "gemma2": {"model_type": "gemma2", **SMALL, "head_dim": 32},
    "gemma3, text": {"model_type": "gemma3_text", **SMALL, "head_dim": 32},
    "gemma3, silent": {"model_type": "gemma3_text", "num_hidden_layers": 2, "intermediate_size": 900},
    "phi3": {"model_type": "phi3", **SMALL, "pad_token_id": 0},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4},
    "qwen3, experts": {"model_type": "qwen3_moe", **SMALL, "head_dim": 16, "num_experts": 6,
                       "moe_intermediate_size": 80},
    "gemma3, pictures": {
        "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", **SMALL, "head_dim": 32},
        "vision_config": {"model_type": "siglip_vision_model",
                          "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "num_attention_heads": 4,
                          "image_size": 28, "patch_size": 14},
    },
}  # fmt: skip
COUNT = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
found = {}
for name, config in json.loads(sys.argv[1]).items():
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    found[name] = sum(weight.numel() for weight in model.parameters())
print(json.dumps(found))
"""


def python(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            # Memory that is freed goes back at once, so that the peak is what was really in use.
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "0",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    return python("-c", COUNT, json.dumps(FAMILIES))


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_are_those_of_the_real_model(name, counted):
    assert shape(FAMILIES[name]).parameters == pytest.approx(counted[name], rel=0.01)


LLAMA = {"model_type": "llama", "hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 8,
         "num_key_value_heads": 4, "intermediate_size": 1536, "vocab_size": 8192, "tie_word_embeddings": False,
         "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "max_position_embeddings": 4096}  # fmt: skip
TINY = LLAMA | {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 2}
POINTS = {
    "cuda, full, recomputed": (LLAMA, {"adapter": "full", "max_length": 256}),
    "cuda, 4 bits": (LLAMA, {"adapter": "qlora", "max_length": 256, "gradient_checkpointing": False}),
    "mlx, 4 bits": (TINY, {"backend": "mlx", "adapter": "qlora", "max_length": 128, "gradient_checkpointing": False}),
}


@pytest.mark.skipif(sys.platform != "linux", reason="measured through /proc")
@pytest.mark.parametrize("name", POINTS)
def test_the_estimate_is_the_measured_peak(name):
    config, values = POINTS[name]
    asked = plan(**values)
    told = asked.model_dump(mode="json", include={"backend", "adapter", "precision", "gradient_checkpointing", "dora",
                                                  "batch", "max_length", "targets", "dropout", "rank"})  # fmt: skip
    measured = python(str(Path(__file__).with_name("measured_peak.py")), json.dumps({**told, "config": config}))
    # The peak is counted from where the libraries are loaded.
    found = estimate(config, asked)
    assert found.total - found.overhead == pytest.approx(measured["peak"], rel=0.25)
