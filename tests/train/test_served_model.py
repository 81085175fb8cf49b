"""A model on a server of one's own, by configuration alone: nothing is written for it."""

import time
from pathlib import Path

import pytest

from loopreview.llm.client import Client
from loopreview.models.settings import ModelSettings, Settings

pytestmark = pytest.mark.train


def settings(served: tuple[str, str]) -> Settings:
    api_base, name = served
    model = ModelSettings(
        model=f"openai/{name}",
        api_base=api_base,
        params={"max_tokens": 24, "temperature": 0.8},
        timeout_s=60,
        concurrency=2,
    )
    return Settings(assistant=model, judges={"tiny": model})


def test_the_tiny_model_is_small_and_complete(tiny_model: Path) -> None:
    names = {file.name for file in tiny_model.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    } <= names
    assert sum(file.stat().st_size for file in tiny_model.iterdir()) < 2_000_000


async def test_it_answers_through_the_client(served_model: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client = Client(settings(served_model))
    client.check(["assistant", "tiny"])
    asked = [{"role": "system", "content": "You help."}, {"role": "user", "content": "When will the kettle come?"}]
    began = time.monotonic()
    reply = await client.complete("assistant", asked, seed=5)
    assert reply.text and reply.model == "openai/default_model"
    assert reply.tokens_in and 0 < (reply.tokens_out or 0) <= 24 and reply.finish in ("stop", "length")
    assert reply.cost_usd is None and time.monotonic() - began < 60
    await client.close()


async def test_a_judge_there_answers_something_that_can_be_found_unusable(served_model: tuple[str, str]) -> None:
    client = Client(settings(served_model))
    schema = {"type": "object", "properties": {"verdicts": {"type": "array"}}, "required": ["verdicts"]}
    replies = [
        await client.complete("tiny", [{"role": "user", "content": "Judge."}], seed=n, schema=schema) for n in (1, 2)
    ]
    assert all(reply.text and not reply.refused for reply in replies)
    await client.close()
