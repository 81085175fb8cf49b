"""Builds a tiny Llama with random weights in a few seconds, without a network: what tests train, serve and load.

    python tests/train/tiny_model.py DIR

makes DIR a model folder as mlx-lm and transformers read it: config.json, model.safetensors, tokenizer.json,
tokenizer_config.json, chat_template.jinja. Hidden size 64, 2 layers, a byte-level BPE vocabulary of 400.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

VOCABULARY = 400
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
END = SPECIAL[0]
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|{{ message['role'] }}|>
{% if message['role'] == 'assistant' -%}
{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}
{% else -%}
{{ message['content'] }}<|end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{% endif -%}
"""
"""With the marks that say which tokens are the model's own; a server renders it without them (`PLAIN_TEMPLATE`)."""
PLAIN_TEMPLATE = CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
TEXT = """
The parcel with the kettle has not come, and nobody answers the telephone. When will the refund be in my account?
Please unplug the machine and let it cool for an hour before you look under the base. The delivery team can trace it
after two working days. I would like to sleep again, and I do not know where to begin. Write down the first line,
then the second, and see where they part. What did you try so far? It worked yesterday, and today it does not.
"""


def build(folder: Path, *, seed: int = 0, template: str = PLAIN_TEMPLATE) -> Path:
    """Writes the model into `folder` (made if missing) and returns it. The same seed gives the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END, "model_max_length": 16384},
    )
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    end = tokenizer.token_to_id(END)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "vocab_size": tokenizer.get_vocab_size(), "rope_theta": 10000.0, "max_position_embeddings": 16384,
        "tie_word_embeddings": True, "bos_token_id": end, "eos_token_id": end, "torch_dtype": "float32",
        "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "initializer_range": 0.02,
    }  # fmt: skip
    _write(folder / "config.json", config)
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(config))
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return tokenizer


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
