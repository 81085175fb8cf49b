"""The memory estimate's arithmetic, by hand; `train/test_memory_measured.py` holds it against real training."""

from pathlib import Path
from typing import Any

import pytest

from loopreview.models.errors import UserError
from loopreview.models.training import ATTENTION, MLP, Data, Plan
from loopreview.train.memory import Fit, adapter_parameters, estimate, fitting, shape

GIB = 1 << 30
LLAMA_8B = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256}  # fmt: skip
GEMMA_4B = {  # as published: what it does not say is in the architecture's defaults
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
                    "num_hidden_layers": 34, "sliding_window": 1024},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
                      "num_hidden_layers": 27, "num_attention_heads": 16, "patch_size": 14, "image_size": 896,
                      "vision_use_head": False},
}  # fmt: skip


def plan(**values: Any) -> Plan:
    data = Data(folder=Path("/d"), hash="h", tokens=Path("/d/tokens"), tokenizer="t", train=100, valid=10)
    return Plan(**{"backend": "cuda", "device": "cpu", "base": "/base", "max_length": 1024, "data": data, **values})


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (LLAMA_8B, 8_030_261_248),
        ({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
          "head_dim": 64, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
          "tie_word_embeddings": True},
         1_235_814_400),
        ({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
          "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True},
         494_032_768),
        ({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32_000}, 7_241_732_096),
    ],
)  # fmt: skip
def test_parameters_of_published_models(config, published):
    assert shape(config).parameters == published


def test_gemma_is_read_from_its_inner_config_and_its_silent_sizes():
    found = shape(GEMMA_4B)
    assert (found.vocabulary, found.head_size, found.tied) == (262_208, 256, True)
    # 4.3 billion, of which 0.4 see pictures.
    assert found.parameters == pytest.approx(4.30e9, rel=0.01)


def test_weights_in_4_bits_leave_embedding_and_output_as_they_are():
    found = shape(LLAMA_8B)
    quantised = estimate(LLAMA_8B, plan(adapter="qlora", precision="bf16")).weights
    embeddings = 2 * 2 * 128_256 * 4096
    assert quantised - embeddings == pytest.approx(found.linear_weights * 4.127 / 8, rel=0.001)
    assert estimate(LLAMA_8B, plan(adapter="lora", precision="bf16")).weights == 2 * found.parameters
    assert estimate(LLAMA_8B, plan(adapter="full", precision="bf16")).weights == 4 * found.parameters


def test_adapters_are_fp32_with_two_numbers_of_the_optimizer_and_a_gradient_each():
    asked = plan(rank=16, targets=("q_proj", "down_proj"))
    count = 32 * 16 * ((4096 + 4096) + (14336 + 4096))
    found = estimate(LLAMA_8B, asked)
    assert adapter_parameters(shape(LLAMA_8B), asked) == count
    assert (found.adapters, found.gradients, found.optimizer) == (4 * count, 4 * count, 8 * count)
    with_magnitude = plan(rank=16, targets=("q_proj", "down_proj"), dora=True)
    assert adapter_parameters(shape(LLAMA_8B), with_magnitude) == count + 32 * 2 * 4096
    full = estimate(LLAMA_8B, plan(adapter="full"))
    assert full.adapters == 0 and full.gradients + full.optimizer == 12 * 8_030_261_248


def test_fused_layers_take_adapters_by_their_own_names():
    phi = {**LLAMA_8B, "model_type": "phi3"}
    assert adapter_parameters(shape(phi), plan(targets=("qkv_proj",), rank=1)) == 32 * (4096 + 6144)
    assert shape(phi).parameters == shape(LLAMA_8B).parameters
    assert adapter_parameters(shape(phi), plan(targets=ATTENTION[:3])) == 0


def test_one_copy_of_the_logits_is_what_the_specification_says():
    config = {**LLAMA_8B, "vocab_size": 262_144}
    at_once = estimate(config, plan(max_length=1024)).logits
    assert at_once == pytest.approx(3 * 4.3e9 / 4, rel=0.01)
    assert estimate(config, plan(max_length=4096)).logits == at_once, "more are computed in pieces"
    assert estimate(config, plan(max_length=1024), supervised=0.25).logits == at_once // 4


def test_what_grows_with_what():
    base = estimate(LLAMA_8B, plan(adapter="qlora"))
    longer = estimate(LLAMA_8B, plan(adapter="qlora", max_length=2048))
    assert longer.logits == 2 * base.logits and longer.weights == base.weights
    assert longer.activations > 1.5 * base.activations
    kept = estimate(LLAMA_8B, plan(adapter="qlora", gradient_checkpointing=False))
    assert kept.activations > 5 * base.activations
    more = estimate(LLAMA_8B, plan(adapter="qlora", gradient_checkpointing=False, targets=ATTENTION + MLP))
    assert more.activations > kept.activations and more.adapters > 2 * kept.adapters
    half = estimate(LLAMA_8B, plan(adapter="qlora", gradient_checkpointing=False, precision="bf16"))
    assert half.activations < 0.8 * kept.activations
    on_gpu = estimate(LLAMA_8B, plan(adapter="qlora", device="cuda"))
    assert 0.5e9 < on_gpu.overhead < 0.8e9 and on_gpu.total == sum(on_gpu)


def test_experts_are_held_all_and_passed_in_part():
    dense = shape({**LLAMA_8B, "vocab_size": 32_000})
    found = shape({**LLAMA_8B, "model_type": "mixtral", "vocab_size": 32_000})
    assert found.parameters == pytest.approx(46.7e9, rel=0.01)  # as Mixtral 8x7B is published
    assert found.inner == 2 * dense.inner


@pytest.mark.parametrize("backend", ["cuda", "mlx"])
@pytest.mark.parametrize("free", [6 * GIB, 12 * GIB, 24 * GIB, 80 * GIB])
def test_what_is_said_to_fit_fits_and_a_step_more_does_not(backend, free):
    asked = plan(adapter="qlora", precision="bf16", backend=backend)
    found = fitting(LLAMA_8B, asked, free)

    def needed(**change: int) -> int:
        return estimate(LLAMA_8B, asked.model_copy(update=change)).total

    if found.max_length:
        assert found.max_length % 64 == 0 and needed(max_length=found.max_length) <= free
    assert needed(max_length=(found.max_length or 0) + 64) > free
    if found.batch:
        assert needed(batch=found.batch) <= free
    assert needed(batch=(found.batch or 0) + 1) > free


def test_where_not_even_the_weights_fit_nothing_is_proposed():
    assert fitting(LLAMA_8B, plan(adapter="full"), 24 * GIB) == Fit(None, None)


def test_a_config_without_the_sizes_is_a_users_error():
    with pytest.raises(UserError, match=r"gpt2.*hidden_size"):
        shape({"model_type": "gpt2", "n_embd": 768, "vocab_size": 50_257})
