"""Tokens of every prefix: as many, and the same, as if each were rendered and encoded anew."""

import json
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopreview.tokens.conversation import Conversation
from loopreview.tokens.template import ChatMessage, ChatTemplate
from loopreview.tokens.tokenizer import ChatTokenizer

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "examples" / "tiny_tokenizer.py"))["build"]
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/chat_templates").glob("*.jinja")}
NAMED = json.loads((ROOT / "tests/chat_templates/tokens.json").read_text(encoding="utf-8"))
LOOK_BACK_OR_AHEAD = {"deepseek-r1", "mistral-v0.3", "mistral-nemo", "qwen3", "zephyr"}
"""They read all messages before they write, or ask whether one is the last."""

every_template = pytest.mark.parametrize("name", sorted(TEMPLATES))
every_kind = pytest.mark.parametrize("pieces", ["bytes", "words"])


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ChatTokenizer]:
    base = tmp_path_factory.mktemp("tokenizers")

    @cache
    def made(name: str, pieces: str = "bytes") -> ChatTokenizer:
        folder = base / f"{name}-{pieces}"
        return ChatTokenizer.load(build(folder, template=TEMPLATES[name], pieces=pieces, named=NAMED.get(name)))

    return made


def talk(*texts: str, system: str | None = None) -> list[ChatMessage]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return ([{"role": "system", "content": system}] if system is not None else []) + turns


LONG = talk(
    "Hi there", "Hello, how are you?", "  my lamp\n\n is late ", "\nI am sorry for that.\n", "täglich 你好 🙂", " Yes.",
    "<|im_end|> is what </s> it says [/INST]", "<think>\nHm.\n</think>\n\nI see.", system=" You are kind.\n",
)  # fmt: skip
ENDS = [3, 5, 7, 9]


def anew(tokenizer: ChatTokenizer, messages: list[ChatMessage], ends: list[int]) -> list[int]:
    return [len(tokenizer.encode(tokenizer.template.render(messages[:end]))) for end in ends]


awkward = st.sampled_from(
    ["", " ", "\n", "\n\n  ", "hello", " there", "</s>", "<|im_end|>", "<|im_st", "art|>", "<", "[INST]", "<think>",
     "é", "🙂", "</think>", "\t", "e\u0301", "<end_of_turn>\n", "<｜User｜>", "a" * 60, "I'm", "0 1 2"]
)  # fmt: skip
contents = st.lists(awkward, max_size=6).map("".join)


@every_kind
@every_template
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(contents, min_size=2, max_size=12), system=contents)
def test_the_length_of_every_prefix_is_that_of_encoding_it_anew(
    name: str, pieces: str, texts: list[str], system: str, tokenizer: Callable[..., ChatTokenizer]
) -> None:
    ours = tokenizer(name, pieces)
    messages = ours.prepared(talk(*texts, system=system))
    first = len(messages) - len(texts) + 2
    ends = list(range(first, len(messages) + 1, 2))
    conversation = Conversation(ours, messages)
    assert conversation.lengths(ends) == anew(ours, messages, ends)
    for end in ends:
        text = ours.template.render(messages[:end])
        assert conversation.ids(text) == ours.encode(text)


@every_template
def test_templates_that_write_one_message_after_the_other_are_rendered_once(
    name: str, tokenizer: Callable[..., ChatTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tokenizer(name)
    messages = ours.prepared(LONG)
    shift = len(LONG) - len(messages)
    ends = [end - shift for end in ENDS]
    expected = anew(ours, messages, ends)
    rendered: list[int] = []
    render = ChatTemplate.render
    monkeypatch.setattr(
        ChatTemplate, "render", lambda self, given, **rest: rendered.append(len(given)) or render(self, given, **rest)
    )
    assert Conversation(ours, messages).lengths(ends) == expected
    assert (len(rendered) > 1) == (name in LOOK_BACK_OR_AHEAD)


@pytest.mark.parametrize("name", ["chatml", "qwen3", "phi3", "mistral-v0.1"])
def test_no_text_is_encoded_again_for_a_longer_prefix(
    name: str, tokenizer: Callable[..., ChatTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tokenizer(name)
    messages = talk(*(f"message number {n} with some words in it" for n in range(60)))
    encoded: list[int] = []
    encode_all = ChatTokenizer.encode_all
    monkeypatch.setattr(
        ChatTokenizer,
        "encode_all",
        lambda self, texts: encode_all(self, [encoded.append(len(text)) or text for text in texts]),
    )
    Conversation(ours, messages).lengths(range(2, 61, 2))
    assert sum(encoded) < 2 * len(ours.template.render(messages))


EACH, END = "{% for m in messages %}", "{{ m.content }}<|x|>{% endfor %}"
COUNT = "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
MEAN = {
    "asks whether one is the last": EACH + "{{ m.content }}{% if loop.last %}<|end|>{% endif %}{% endfor %}",
    "counts them": EACH + "{{ messages|length }}" + END,
    "counts them first": "{{ messages|length }}" + EACH + END,
    "looks at the next": EACH + "{{ (messages[loop.index] or {}).role }}" + END,
    "looks at the next, by the loop": EACH + "{{ (loop.nextitem or {}).role }}" + END,
    "looks at the one before": EACH + "{{ messages[loop.index0 - 1].role }}" + END,
    "looks at the last": "{{ messages[-1].content }}" + EACH + END,
    "reads them backwards": "{% for m in messages[::-1] %}" + END,
    "reads half": "{% for m in messages[:4] %}" + END,
    "reads every second": "{% for m in messages[1::2] %}" + END,
    "reads some": "{% for m in messages if m.role == 'user' %}" + END,
    "leaves out some": EACH + "{% if m.role == 'user' %}{% continue %}{% endif %}" + END,
    "stops": EACH + "{% if loop.index == 5 %}{% break %}{% endif %}" + END,
    "reads them twice": EACH + "{{ m.role }}{% endfor %}" + EACH + END,
    "reads them in two": EACH + "{% for n in messages %}{{ n.role }}{% endfor %}" + END,
    "ends with a count": COUNT + END + "{{ ns.n }}",
    "always prompts": "{% set add_generation_prompt = true %}" + COUNT + END
    + "{% if add_generation_prompt %}{{ ns.n }}{% endif %}",
    "makes a list": "{% for m in messages|list %}" + END + "{{ messages|map(attribute='role')|join }}",
    "collects": "{% set ns = namespace(t='') %}" + EACH + "{% set ns.t = m.role + ns.t %}{% endfor %}"
    "{% for c in ns.t %}{{ c }}{% endfor %}<|x|>",
    "by a macro": "{% macro all() %}" + EACH + "{{ m.role }}{% endfor %}{% endmacro %}"
    "{% for c in [1, 2] %}{{ all() }}<|x|>{% endfor %}",
    "prints them": "{{ messages|string|length }}" + EACH + END,
    "has no special token": EACH + "### {{ m.role }}: {{ m.content }}\n{% endfor %}",
    "has no loop": "{{ messages[0].content }}{{ messages[1].content }}{{ (messages[3] or {}).content }}<|x|>",
    "else": "{% for m in messages[2:] %}" + "{{ m.content }}<|x|>{% else %}none{% endfor %}",
    "tests": "{% if messages is sequence and messages %}" + EACH + END + "{% endif %}",
}  # fmt: skip


@every_kind
@pytest.mark.parametrize("what", sorted(MEAN))
def test_prefixes_of_a_template_that_looks_around_are_right_too(what: str, pieces: str, tmp_path: Path) -> None:
    tokenizer = ChatTokenizer.load(build(tmp_path, template=MEAN[what], pieces=pieces))
    messages = [{"role": "user", "content": "hi"}, *LONG]
    ends = list(range(2, len(messages) + 1))
    assert Conversation(tokenizer, messages).lengths(ends) == anew(tokenizer, messages, ends)


@pytest.mark.parametrize("before", ["", "{% if messages|length %}{% endif %}"])
@pytest.mark.parametrize("after", ["", "{{ eos_token }}"])
def test_special_tokens_that_hold_one_another_change_no_id(before: str, after: str, tmp_path: Path) -> None:
    template = before + "{% for m in messages %}{{ m.content }}<|x|>{% endfor %}" + after
    special = ["<|x|><|y|>", "<|y|>", "zz<|x|></s>", "zz<|x|>q", "<|x|>w"]
    build(tmp_path, template=template, named={"eos_token": "</s>"}, special=special)
    tokenizer = ChatTokenizer.load(tmp_path)
    messages = talk("zz", "zz", "q zz", "<|y|>", "w", "zz", "q", "<|y|> </s>", "<|x|><|y|><|x|>", "w zz")
    for ends in ([2, 4, 6, 8, 10], list(range(2, 11)), [3, 9]):
        assert Conversation(tokenizer, messages).lengths(ends) == anew(tokenizer, messages, ends)


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word", "normalized"])
def test_special_tokens_that_look_at_their_neighbours_change_no_id(flag: str, tmp_path: Path) -> None:
    build(tmp_path, template=TEMPLATES["chatml"], pieces="words", special=["<|im_start|>x", "im_start"])
    file = tmp_path / "tokenizer.json"
    read = json.loads(file.read_text(encoding="utf-8"))
    for token in read["added_tokens"]:
        if "im_" in token["content"]:
            token[flag] = True
    # as older Llama tokenizers do it: a mark before each stretch between special tokens
    read["normalizer"] = {"type": "Prepend", "prepend": "▁"}
    read["pre_tokenizer"] = None
    file.write_text(json.dumps(read), encoding="utf-8")
    tokenizer = ChatTokenizer.load(tmp_path)
    messages = talk("a ", "x<|im_start|>", " x", "ximx <|im_end|> x", "x", "im_start x", system="x ")
    assert Conversation(tokenizer, messages).lengths([3, 5, 7]) == anew(tokenizer, messages, [3, 5, 7])
