"""Tokens: rendering and ids as transformers has them, and prefixes as if each were encoded anew."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from loopreview.models.errors import UserError
from loopreview.tokens import hub
from loopreview.tokens.conversation import Conversation
from loopreview.tokens.template import ChatMessage, ChatTemplate, TemplateRefused
from loopreview.tokens.tokenizer import ChatTokenizer

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "examples" / "tiny_tokenizer.py"))["build"]
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/chat_templates").glob("*.jinja")}
NAMED = json.loads((ROOT / "tests/chat_templates/tokens.json").read_text(encoding="utf-8"))
TOOLS = [{"type": "function", "function": {"name": "find", "description": "Finds an order.", "parameters": {}}}]

every_template = pytest.mark.parametrize("name", sorted(TEMPLATES))
every_kind = pytest.mark.parametrize("pieces", ["bytes", "words"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    base = tmp_path_factory.mktemp("tokenizers")

    @cache
    def made(name: str, pieces: str = "bytes") -> Path:
        return build(base / f"{name}-{pieces}", template=TEMPLATES[name], pieces=pieces, named=NAMED.get(name))

    return made


@pytest.fixture(scope="session")
def tokenizer(folder: Callable[..., Path]) -> Callable[..., ChatTokenizer]:
    return cache(lambda name, pieces="bytes": ChatTokenizer.load(folder(name, pieces)))


@pytest.fixture(scope="session")
def published(folder: Callable[..., Path]) -> Callable[..., Any]:
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    transformers = pytest.importorskip("transformers")
    return cache(lambda name, pieces="bytes": transformers.AutoTokenizer.from_pretrained(folder(name, pieces)))


def talk(*texts: str, system: str | None = None) -> list[ChatMessage]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return ([{"role": "system", "content": system}] if system is not None else []) + turns


LONG = talk(
    "Hi there", "Hello, how are you?", "  my lamp\n\n is late ", "\nI am sorry for that.\n", "täglich 你好 🙂", " Yes.",
    "<|im_end|> is what </s> it says [/INST]", "<think>\nHm.\n</think>\n\nI see.", system=" You are kind.\n",
)  # fmt: skip
ENDS = [3, 5, 7, 9]


# --- equal to transformers -----------------------------------------------------------------------------------------


@every_template
def test_rendering_equals_that_of_transformers(
    name: str, folder: Callable[..., Path], published: Callable[..., Any]
) -> None:
    theirs, ours = published(name), ChatTokenizer.load(folder(name), today=date.today())
    calls = [{"type": "function", "function": {"name": "find", "arguments": {"number": 7, "note": "<é>"}}}]
    with_calls = [
        *LONG[:2],
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "found"},
        {"role": "tool", "content": "again"},
        {"role": "assistant", "content": "It is on its way."},
    ]
    rendered = 0
    for messages in (LONG, LONG[1:], LONG[2:], with_calls):
        for end in range(1, len(messages) + 1):
            for prompt in (False, True):
                for tools in (None, TOOLS):
                    asked: dict[str, Any] = {"add_generation_prompt": prompt, "tools": tools}
                    try:
                        expected = theirs.apply_chat_template(messages[:end], tokenize=False, **asked)
                    except Exception:
                        with pytest.raises(TemplateRefused):
                            ours.template.render(messages[:end], **asked)
                        continue
                    assert ours.template.render(messages[:end], **asked) == expected
                    rendered += 1
    assert rendered >= 30


@every_kind
@every_template
def test_ids_equal_those_of_transformers(
    name: str, pieces: str, tokenizer: Callable[..., ChatTokenizer], published: Callable[..., Any]
) -> None:
    ours, theirs = tokenizer(name, pieces), published(name, pieces)
    messages = ours.prepared(LONG)
    text = ours.template.render(messages)
    assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    assert Conversation(ours, messages).ids(text) == ours.encode(text)
    if not ours.template.names_the_date:
        assert ours.encode(text) == theirs.apply_chat_template(messages, tokenize=True, return_dict=False)


def test_nothing_is_cut_short_whatever_the_file_says(tmp_path: Path) -> None:
    build(tmp_path)
    file = tmp_path / "tokenizer.json"
    read = json.loads(file.read_text(encoding="utf-8"))
    read["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    read["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<|pad|>",
    }  # fmt: skip
    file.write_text(json.dumps(read), encoding="utf-8")
    tokenizer = ChatTokenizer.load(tmp_path)
    assert len(tokenizer.encode("<|im_start|>" * 9)) == 9
    assert Conversation(tokenizer, talk("a", "b")).example(2, [1]).ids == tokenizer.encode(
        tokenizer.template.render(talk("a", "b"))
    )


# --- reading a folder ----------------------------------------------------------------------------------------------


def test_a_template_may_stand_in_the_configuration_and_special_tokens_in_a_file(
    tmp_path: Path, published: Callable[..., Any]
) -> None:
    import transformers

    build(tmp_path, template=TEMPLATES["mistral-v0.1"], named=NAMED["mistral-v0.1"])
    (tmp_path / "chat_template.jinja").unlink()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["chat_template"] = [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": TEMPLATES["mistral-v0.1"]},
    ]
    config["bos_token"] = None
    config["eos_token"] = {"__type": "AddedToken", "content": "</s>", "special": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": {"content": "<s>"}}', encoding="utf-8")
    ours, theirs = ChatTokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.template.render(talk("a", "b")) == theirs.apply_chat_template(talk("a", "b"), tokenize=False)
    assert ours.template.special == theirs.special_tokens_map


def test_tokens_that_only_the_configuration_has_are_added(tmp_path: Path) -> None:
    build(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    size = len(json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    config["added_tokens_decoder"] = {str(size): {"content": "<|new|>", "special": True, "normalized": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert ChatTokenizer.load(tmp_path).encode("<|new|>") == [size]


def test_a_template_without_a_system_message_gets_it_in_the_users_words(
    tokenizer: Callable[..., ChatTokenizer],
) -> None:
    kept = {name for name in TEMPLATES if tokenizer(name).system == "kept"}
    # the older Mistral shows the system message only while the last message is the user's: not in a finished example
    assert set(TEMPLATES) - kept == {"gemma2", "mistral-v0.1", "mistral-v0.3"}
    messages = talk("hi", "hello", system="Be kind.")
    assert tokenizer("gemma2").prepared(messages) == talk("Be kind.\n\nhi", "hello")
    assert tokenizer("chatml").prepared(messages) == messages
    assert tokenizer("gemma2").prepared(messages[1:]) == messages[1:]


def test_the_date_in_a_template_is_fixed(tokenizer: Callable[..., ChatTokenizer]) -> None:
    assert "Today Date: 26 Jul 2024" in tokenizer("llama3.2").template.render(talk("a", "b"))


def test_the_hash_is_of_vocabulary_template_and_special_tokens(tmp_path: Path) -> None:
    first, same = ChatTokenizer.load(build(tmp_path / "a")), ChatTokenizer.load(build(tmp_path / "b"))
    assert first.hash == same.hash and first.name == "a"
    others = [
        build(tmp_path / "c", vocabulary=601),
        build(tmp_path / "d", template=TEMPLATES["chatml"]),
        build(tmp_path / "e", named={"bos_token": "<|pad|>"}),
    ]
    assert len({first.hash, *(ChatTokenizer.load(other).hash for other in others)}) == 4


def broken(tmp_path: Path, what: str) -> Path:
    if what == "nothing":
        return tmp_path
    build(
        tmp_path,
        template="{% for %}" if what == "template" else "{{ 1/0 }}" if what == "refuses" else TEMPLATES["chatml"],
    )
    if what == "json":
        (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    if what == "config":
        (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    if what == "no template":
        (tmp_path / "chat_template.jinja").unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nothing", "no tokenizer.json"),
        ("json", "is no tokenizer that can be read"),
        ("config", "tokenizer_config.json: is not JSON"),
        ("no template", "no chat template"),
        ("template", "no Jinja template: line 1"),
        ("refuses", "does not take it: division by zero"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(what: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as raised:
        ChatTokenizer.load(broken(tmp_path, what))
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{{ messages.append(1) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% for a in range(10000000) %}{% endfor %}",
        "{{ raise_exception('Not for us') }}",
    ],
)
def test_a_template_stays_in_its_sandbox(template: str) -> None:
    with pytest.raises(TemplateRefused):
        ChatTemplate(template, {}).render(talk("a", "b"))


def test_a_model_on_the_hub_is_fetched_or_it_is_said_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[tuple[str, dict[str, Any]]] = []

    def fetch(id: str, **options: Any) -> str:
        asked.append((id, options))
        if id == "some/where":
            return str(build(tmp_path / "snapshots" / "0123abc"))
        raise LocalEntryNotFoundError("no network") if id == "off/line" else ValueError("404 Client Error\nfor url")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert hub.load("some/where").name == "some/where"
    assert asked[0][1]["token"] is False and "*.safetensors" not in asked[0][1]["allow_patterns"]
    for id, says in (("off/line", "the Hub cannot be reached"), ("no/such", "404 Client Error for url")):
        with pytest.raises(UserError, match=says) as raised:
            hub.load(id)
        assert raised.value.exit_code == 3
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        hub.load("off/line")
    for path, says in (("./nowhere", "no such folder"), (str(ROOT / "pyproject.toml"), "is a file")):
        with pytest.raises(UserError, match=says):
            hub.load(path)


def test_neither_torch_nor_transformers_is_needed() -> None:
    code = "import sys, loopreview.tokens.hub; print({'torch', 'transformers', 'numpy', 'litellm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
