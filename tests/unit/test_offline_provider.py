"""The offline models through litellm, as every other call."""

import asyncio
import json
import time

import pytest

from loopreview.llm.client import Client
from loopreview.llm.offline.answering import MODELS, answer, tokens
from loopreview.models.settings import ModelSettings, Settings

SETTINGS = Settings(
    user_sim=ModelSettings(model="offline/user_sim"),
    assistant=ModelSettings(model="offline/assistant"),
    judges={name: ModelSettings(model=f"offline/judge-{name}") for name in ("strict", "balanced", "lenient")},
    budget_usd=1,
)
ASKED = [
    {"role": "system", "content": "You are the support agent of a shop."},
    {"role": "user", "content": "My parcel has not come. Who can trace a lost parcel?"},
]


async def test_a_call_takes_the_path_of_a_real_one_and_costs_nothing() -> None:
    client = Client(SETTINGS)
    client.check(["user_sim", "assistant", "strict", "balanced", "lenient"])
    reply = await client.complete("assistant", ASKED, seed=3)
    assert reply.text == answer("assistant", ASKED, None, 3)
    assert (reply.model, reply.cost_usd, reply.finish, reply.refused) == ("offline/assistant", 0.0, "stop", False)
    assert reply.tokens_out == tokens(reply.text) and reply.tokens_in == sum(tokens(m["content"]) for m in ASKED)
    assert client.estimate("strict", 10_000, 1_000) == 0.0


async def test_the_schema_reaches_the_judges() -> None:
    schema = {"type": "object", "properties": {"found": {"type": "array", "items": {}}}}
    asked = [{"role": "user", "content": "```criteria\ncriterion: U1\nname: N\nquestion: Q?\nNA: allowed\n```"}]
    reply = await Client(SETTINGS).complete("lenient", asked, seed=1, schema=schema)
    assert [verdict["criterion"] for verdict in json.loads(reply.text)["found"]] == ["U1"]


async def test_latency_makes_calls_slow_but_not_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(SETTINGS)
    await client.complete("assistant", ASKED)
    monkeypatch.setenv("LOOPREVIEW_OFFLINE_LATENCY", "0.8")
    began = time.monotonic()
    await asyncio.gather(*(client.complete("assistant", ASKED) for _ in range(4)))
    assert 0.8 <= time.monotonic() - began < 3.0
    for nonsense in ("", "soon", "-1"):
        monkeypatch.setenv("LOOPREVIEW_OFFLINE_LATENCY", nonsense)
        assert (await client.complete("assistant", ASKED)).text


def test_the_models_say_what_they_are() -> None:
    names = ("user_sim", "assistant", "judge-strict", "judge-balanced", "judge-lenient")
    assert set(MODELS) == {f"offline/{name}" for name in names}
