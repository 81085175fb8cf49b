"""Supervision: what the model has to write itself is labelled, to its end-of-turn token, and nothing else."""

import json
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopreview.tokens.conversation import IGNORED, Conversation, Example
from loopreview.tokens.template import ChatMessage, TemplateRefused
from loopreview.tokens.tokenizer import ChatTokenizer

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "examples" / "tiny_tokenizer.py"))["build"]
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/chat_templates").glob("*.jinja")}
NAMED = json.loads((ROOT / "tests/chat_templates/tokens.json").read_text(encoding="utf-8"))
WRITTEN = {
    "chatml": "Fine.<|im_end|>", "qwen2": "Fine.<|im_end|>", "qwen2.5": "Fine.<|im_end|>", "qwen3": "Fine.<|im_end|>",
    "llama2": " Fine. </s>", "llama3": "Fine.<|eot_id|>", "llama3.2": "Fine.<|eot_id|>",
    "gemma2": "Fine.<end_of_turn>", "gemma3": "Fine.<end_of_turn>", "phi3": "Fine.<|end|>", "phi4": "Fine.<|im_end|>",
    "mistral-v0.1": "Fine.</s>", "mistral-v0.3": " Fine.</s>", "mistral-nemo": " Fine.</s>", "zephyr": "Fine.</s>",
    "deepseek-r1": "Fine.<｜end▁of▁sentence｜>",
}  # fmt: skip
"""What each model has to write for the reply `Fine.`"""

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


def of_template(tmp_path: Path, template: str) -> ChatTokenizer:
    return ChatTokenizer.load(build(tmp_path, template=template))


def talk(*texts: str, system: str = "You are kind.") -> list[ChatMessage]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns]


def last_reply(tokenizer: ChatTokenizer, messages: list[ChatMessage]) -> Example:
    given = tokenizer.prepared(messages)
    return Conversation(tokenizer, given).example(len(given), [len(given) - 1])


def all_replies(tokenizer: ChatTokenizer, messages: list[ChatMessage]) -> Example:
    given = tokenizer.prepared(messages)
    places = [place for place, message in enumerate(given) if message["role"] == "assistant"]
    return Conversation(tokenizer, given).example(len(given), places)


def lit(example: Example) -> list[str]:
    return [example.text[start:end] for start, end in example.spans]


def runs(example: Example) -> list[list[int]]:
    """The stretches of supervised ids."""
    found: list[list[int]] = [[]]
    for label in example.labels:
        if label != IGNORED:
            found[-1].append(label)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


@every_kind
@every_template
def test_the_last_reply_is_supervised_and_nothing_before_it(
    name: str, pieces: str, tokenizer: Callable[..., ChatTokenizer]
) -> None:
    ours = tokenizer(name, pieces)
    example = last_reply(ours, talk("Hi", "Hello.", "How are you?", "Fine."))
    assert lit(example) == [WRITTEN[name]]
    assert example.ids == ours.encode(example.text)
    first = next(place for place, label in enumerate(example.labels) if label != IGNORED)
    last = first + example.supervised
    assert example.labels == [IGNORED] * first + example.ids[first:last] + [IGNORED] * (len(example.ids) - last)
    before, after = example.text[: example.spans[0][0]], example.text[example.spans[0][1] :]
    assert example.ids[:first] == ours.encode(before)
    assert example.ids[last - 1] == ours.encode(ours.end_of_turn.strip())[-1]
    assert after.strip() in ("", "<|endoftext|>")


@every_template
def test_every_reply_is_supervised_where_that_is_asked_for(name: str, tokenizer: Callable[..., ChatTokenizer]) -> None:
    ours = tokenizer(name)
    example = all_replies(ours, talk("Hi", "Fine.", "How are you?", "Fine.", "And now?", "Fine."))
    assert lit(example) == [WRITTEN[name]] * 3
    assert len(runs(example)) == 3 and len(set(map(tuple, runs(example)))) == 1
    assert example.ids == ours.encode(example.text)


def test_of_three_replies_the_one_that_is_not_asked_for_stays_context(tokenizer: Callable[..., ChatTokenizer]) -> None:
    messages = talk("Hi", "One.", "And?", "Two.", "And?", "Three.")
    example = Conversation(tokenizer("chatml"), messages).example(7, [2, 6])
    assert lit(example) == ["One.<|im_end|>", "Three.<|im_end|>"]
    assert "Two." in example.text


@every_kind
@every_template
def test_what_stands_before_the_reply_is_the_prompt_of_inference(
    name: str, pieces: str, tokenizer: Callable[..., ChatTokenizer]
) -> None:
    ours = tokenizer(name, pieces)
    messages = ours.prepared(talk("Hi", "Hello.", "How are you?", "Fine."))
    example = last_reply(ours, messages)
    prompt = ours.template.render(messages[:-1], add_generation_prompt=True)
    before = example.text[: example.spans[0][0]]
    if name == "qwen3":
        assert before == prompt + "<think>\n\n</think>\n\n"
    elif name == "deepseek-r1":
        assert before + "<think>\n" == prompt
    else:
        assert before == prompt


contents = st.lists(
    st.sampled_from(
        ["", " ", "\n", "\n\n", "hello", " there", "é", "🙂", "I'm", "0 1 2", "|", "<", "assistant", "Fine."]
    ),
    max_size=5,
).map("".join)


@every_kind
@every_template
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(contents, min_size=4, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
def test_whatever_a_reply_says_it_is_lit_and_its_tokens_are_those_of_the_whole(
    name: str, pieces: str, texts: list[str], tokenizer: Callable[..., ChatTokenizer]
) -> None:
    ours = tokenizer(name, pieces)
    for example, replies in (
        (last_reply(ours, talk(*texts)), texts[-1:]),
        (all_replies(ours, talk(*texts)), texts[1::2]),
    ):
        assert example.ids == ours.encode(example.text)
        assert [part.removesuffix(ours.end_of_turn).strip() for part in lit(example)] == [r.strip() for r in replies]
        assert all(label in (IGNORED, id) for id, label in zip(example.ids, example.labels, strict=True))
        spans = ours.spans(example.text)
        for (first, last), label in zip(spans, example.labels, strict=True):
            if label != IGNORED:
                assert any(start <= first and last <= end for start, end in example.spans)
        # what is lit and not labelled is at most the token that reaches across its beginning
        for start, end in example.spans:
            inside = [
                label
                for (first, last), label in zip(spans, example.labels, strict=True)
                if start <= first < last <= end
            ]
            assert IGNORED not in inside[1:]


def test_a_think_block_that_the_reply_brings_is_supervised_and_an_empty_one_is_not(
    tokenizer: Callable[..., ChatTokenizer],
) -> None:
    ours = tokenizer("qwen3")
    thought = "<think>\nShe is sad.\n</think>\n\nI am here."
    assert lit(last_reply(ours, talk("Hi", "Hello.", "Well", thought))) == [thought + "<|im_end|>"]
    for empty in ("<think>\n\n</think>\n\nI am here.", "<think></think>I am here.", "I am here."):
        assert lit(last_reply(ours, talk("Hi", "Hello.", "Well", empty))) == ["I am here.<|im_end|>"]
    # in the middle the template shows no thoughts
    assert lit(all_replies(ours, talk("Hi", thought, "Well", "Yes."))) == ["I am here.<|im_end|>", "Yes.<|im_end|>"]


@pytest.mark.parametrize(
    ("written", "prompt"),
    [
        ("<think></think>\n", "\n"),
        ("<think>\n\n</think>\n\n", ""),
        ("[THINK][/THINK]", ""),
        ("<seed:think></seed:think>", ""),
    ],
)
def test_an_empty_think_block_in_any_spelling_is_the_templates(written: str, prompt: str, tmp_path: Path) -> None:
    shown = (prompt + written).replace("\n", "\\n")
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{{ '" + shown + "' }}{% endif %}"
        "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    ours = of_template(tmp_path, template)
    assert lit(last_reply(ours, talk("Hi", "Hello.", "How are you?", "Fine."))) == ["Fine.<|end|>"]
    assert lit(all_replies(ours, talk("Hi", "Fine.", "How are you?", "Fine."))) == ["Fine.<|end|>"] * 2


def test_a_token_that_reaches_across_the_beginning_belongs_to_neither_side(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    ours = of_template(tmp_path, template)
    example = last_reply(ours, talk("Hi", "you know"))
    text = ours.template.render(talk("Hi"), add_generation_prompt=True)
    assert example.ids[: len(ours.encode(text))] != ours.encode(text), (
        "` you` is one token, the space before it another"
    )
    assert lit(example) == ["you know<|end|>"]
    assert runs(example) == [ours.encode(" know<|end|>")]


def test_tokens_of_the_prompt_that_become_one_with_the_reply_are_not_supervised(tmp_path: Path) -> None:
    end = "<|end|>{% endfor %}{% if add_generation_prompt %}"
    plain = of_template(tmp_path / "plain", "{% for m in messages %}{{ m.content }}" + end + "{% endif %}")
    vocabulary = json.loads((tmp_path / "plain" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    # a word that is one token, though its beginning alone is two
    word = next(w for w in sorted(vocabulary) if w.isalpha() and w.isascii() and len(plain.encode(w[:-1])) == 2)
    template = "{% for m in messages %}{% if m.role == 'assistant' %}" + word[:-1] + "{% endif %}{{ m.content }}"
    ours = of_template(tmp_path / "ours", template + end + word[:-1] + "{% endif %}")
    example = last_reply(
        ours, [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": word[-1] + " know"}]
    )
    assert lit(example) == [word[-1] + " know<|end|>"]
    assert runs(example) == [ours.encode(" know<|end|>")]


def test_the_end_of_a_turn_is_its_own_even_where_the_reply_says_it(tokenizer: Callable[..., ChatTokenizer]) -> None:
    ours = tokenizer("chatml")
    reply = "It is written <|im_end|> at the end."
    assert lit(last_reply(ours, talk("Hi", reply))) == [reply + "<|im_end|>"]
    assert lit(all_replies(ours, talk("Hi", reply, "Oh", "Yes"))) == [reply + "<|im_end|>", "Yes<|im_end|>"]


def test_a_call_of_a_tool_is_supervised_as_the_template_writes_it(tokenizer: Callable[..., ChatTokenizer]) -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": {"number": 7}}}
    messages = [
        *talk("Hi"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "found"},
        {"role": "assistant", "content": "It is here."},
    ]
    written = '<tool_call>\n{"name": "find", "arguments": {"number": 7}}\n</tool_call><|im_end|>'
    for name in ("qwen2.5", "qwen3"):
        found = lit(Conversation(tokenizer(name), messages).example(5, [2, 4]))
        assert [part.lstrip("\n") for part in found] == [written, "It is here.<|im_end|>"]


def test_a_template_that_hides_a_reply_is_refused(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
    )
    ours = of_template(tmp_path, template)
    assert lit(last_reply(ours, talk("Hi", "Hello.", "So", "Fine."))) == ["Fine.<|end|>"]
    with pytest.raises(TemplateRefused, match="message 2"):
        all_replies(ours, talk("Hi", "Hello.", "So", "Fine."))


def test_a_template_that_ends_only_the_last_reply_is_refused_for_the_others(tmp_path: Path) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if loop.last %}<|end|>{% endif %}{% endfor %}"
    ours = of_template(tmp_path, template + "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    assert lit(last_reply(ours, talk("Hi", "Hello.", "So", "Fine."))) == ["Fine.<|end|>"]
    with pytest.raises(TemplateRefused, match="which part"):
        all_replies(ours, talk("Hi", "Hello.", "So", "Fine."))


def test_a_template_that_ends_replies_with_no_token_supervises_the_words(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}### {{ m.role }}\n{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}### assistant\n{% endif %}"
    )
    ours = of_template(tmp_path, template)
    assert ours.end_of_turn == ""
    assert lit(last_reply(ours, talk("Hi", "Hello.", "So", "Fine."))) == ["Fine."]
