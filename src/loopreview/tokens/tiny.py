"""A small tokenizer with a chat template, built in a second: for demonstrations and tests, without a network."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message['content'] + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
TEXT = """\
Hi there, I hope this finds you well. I ordered a lamp two weeks ago and it still has not arrived; could you please tell
me where it is? I'm sorry to hear that your order is late. Let me look into it for you: it left our warehouse on Monday
and should be with you by Friday. If it isn't, write to me again and I will send you a new one, or give you your money
back, whichever you would rather have.
I don't know what to do any more. My mother keeps calling, and every time I pick up the phone I feel like I'm ten years
old again. It sounds as though you are carrying a lot right now. What would it be like to say that to her, just once, in
your own words? You don't have to answer that today. We could also talk about what happened at work, because you said
that it was the other thing that has been keeping you awake.
How do I solve this equation? I tried to divide both sides by two, but then I got stuck. You are on the right way: when
you divide both sides by two, what is left on the left side? Think about it for a moment, and tell me what you see. That
is right, and now you can take the square root of both sides. Remember that there are two answers, one of them negative.
"""
SPECIAL = re.compile(r"<\|[^|<>]+\|>|<｜[^<>｜]+｜>|</?s>|<bos>|<eos>|<(?:start|end)_of_turn>|\[/?INST\]|</?think>")


def build(
    folder: Path,
    *,
    template: str = TEMPLATE,
    pieces: Literal["bytes", "words"] = "bytes",
    special: Sequence[str] = (),
    named: dict[str, str] | None = None,
    vocabulary: int = 600,
    text: str = TEXT,
) -> Path:
    """Write a tokenizer's folder and return it.

    `pieces`: how text is taken apart, `bytes` as GPT-2, Llama 3 and Qwen do, `words` with a mark for the space before
    a word as Llama 2, Mistral and Gemma do. `special`: special tokens beside those that the template names; `named`:
    which of them are `bos_token`, `eos_token` and so on. `text`: what its pieces are learnt from.
    """
    found = [*SPECIAL.findall(template), *special, *(named or {}).values(), "<|pad|>", "<|unk|>"]
    tokens = list(dict.fromkeys(found))
    if pieces == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<|unk|>", fuse_unk=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + len(tokens),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in tokens],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "unk_token": "<|unk|>",
        "eos_token": next((token for token in ("<|im_end|>", "</s>", "<eos>") if token in tokens), "<|pad|>"),
        "model_max_length": 1_000_000,
        "clean_up_tokenization_spaces": False,
        **(named or {}),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
