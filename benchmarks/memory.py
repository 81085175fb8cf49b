"""The memory estimate of a training run against the measured peak of real steps of models with random weights.

On a CPU, a process per point: `tests/train/measured_peak.py`. Takes minutes; MLX is slow without Apple Silicon.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from loopreview.models.training import ATTENTION, MLP, Data, Plan
from loopreview.train.memory import estimate

SCRIPT = Path(__file__).parents[1] / "tests" / "train" / "measured_peak.py"
TOLD = {"backend", "adapter", "precision", "gradient_checkpointing", "dora", "batch", "max_length", "targets",
        "dropout", "rank"}  # fmt: skip
LLAMA = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6,
         "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 8192, "tie_word_embeddings": False,
         "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "max_position_embeddings": 8192}  # fmt: skip
SMALL = {**LLAMA, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 1024}  # fmt: skip
POINTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (LLAMA, {"adapter": "full", "gradient_checkpointing": False}),
    (LLAMA, {"adapter": "full"}),
    (LLAMA, {"adapter": "full", "precision": "bf16", "gradient_checkpointing": False, "max_length": 512}),
    (LLAMA, {"adapter": "lora", "gradient_checkpointing": False}),
    (LLAMA, {"adapter": "lora"}),
    (LLAMA, {"adapter": "lora", "precision": "bf16", "gradient_checkpointing": False}),
    ({**LLAMA, "vocab_size": 65_536}, {"adapter": "lora", "gradient_checkpointing": False}),
    ({**LLAMA, "vocab_size": 1024}, {"adapter": "lora", "max_length": 2048}),
    ({**LLAMA, "model_type": "qwen2"}, {"adapter": "lora", "batch": 3, "max_length": 384}),
    (LLAMA, {"adapter": "qlora", "gradient_checkpointing": False}),
    (LLAMA, {"adapter": "qlora", "precision": "bf16"}),
    (LLAMA, {"adapter": "qlora", "dora": True, "gradient_checkpointing": False, "max_length": 512}),
    (LLAMA, {"adapter": "qlora", "targets": ATTENTION + MLP, "gradient_checkpointing": False, "max_length": 512}),
    (SMALL, {"backend": "mlx", "adapter": "lora", "gradient_checkpointing": False, "max_length": 256}),
    (SMALL, {"backend": "mlx", "adapter": "lora", "gradient_checkpointing": False, "max_length": 512}),
    (SMALL, {"backend": "mlx", "adapter": "lora", "max_length": 512}),
    ({**SMALL, "vocab_size": 8192}, {"backend": "mlx", "adapter": "lora", "max_length": 256}),
    (SMALL, {"backend": "mlx", "adapter": "lora", "precision": "bf16", "gradient_checkpointing": False,
             "max_length": 256}),
    (SMALL, {"backend": "mlx", "adapter": "qlora", "gradient_checkpointing": False, "max_length": 256}),
]  # fmt: skip


def measured(config: dict[str, Any], plan: Plan) -> int:
    told = {**plan.model_dump(mode="json", include=TOLD), "config": config}
    # One thread; memory that is freed goes back at once, so that the peak is what was really in use.
    alone = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MALLOC_MMAP_THRESHOLD_": "65536",
             "MALLOC_TRIM_THRESHOLD_": "0"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(told)],
        capture_output=True, text=True, check=True, env={**os.environ, **alone},
    )  # fmt: skip
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def main() -> list[dict[str, object]]:
    data = Data(folder=Path("/d"), hash="h", tokens=Path("/d"), tokenizer="t", train=1, valid=0)
    rows: list[dict[str, object]] = []
    for config, values in POINTS:
        plan = Plan(**{"backend": "cuda", "device": "cpu", "base": "/base", "max_length": 1024, "data": data, **values})
        whole, found = estimate(config, plan), measured(config, plan)
        # The peak is counted from where the libraries are loaded.
        said = whole.total - whole.overhead
        what = [plan.backend, plan.adapter, plan.precision, f"{plan.batch} × {plan.max_length} tokens",
                f"vocabulary {config['vocab_size']}"]  # fmt: skip
        what += ["checkpointing"] * plan.gradient_checkpointing + ["DoRA"] * plan.dora
        rows.append(
            {
                "claim": f"estimate / measured peak: {', '.join(what)}",
                "measured": f"{said / found:.2f} ({said / 1e6:.0f} / {found / 1e6:.0f} MB)",
                "budget": "0.80 to 1.20",
            }
        )
    return rows


if __name__ == "__main__":
    for row in main():
        print(row)
