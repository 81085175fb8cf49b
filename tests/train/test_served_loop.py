"""A generation and an assessment through a real OpenAI-compatible server with a real, tiny model."""

import re

import pytest

pytestmark = pytest.mark.train


def test_generate_and_assess_through_a_served_model(small, served_model, cli):
    settings = small / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    text = text[: text.index("[judges.")].replace(
        "exchanges = [2, 3]", "exchanges = [2, 2]\nmax_redraws = 5\nretries = 1"
    )
    model = f'model = "openai/{served_model.name}"\napi_base = "{served_model.api_base}"\n'
    text = re.sub(r'model = "offline/\w+"\n', model + "params = {max_tokens = 40, temperature = 1.0}\n", text)
    settings.write_text(f"{text}\n[judges.tiny]\n{model}params = {{max_tokens = 60}}\n", encoding="utf-8")

    made = cli("generate", "-w", small, "--seed", 1, "--count", 1, "--json").json
    (transcript,) = made["transcripts"]
    assert (transcript["exchanges"], transcript["complete"]) == (2, True)
    assert made["calls"] >= 4
    assert made["cost_usd"] is None, "the price of a local model is unknown, not 0"
    messages = cli("show", "-w", small, "1-1", "--json").json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert all(message["text"].strip() and message["tokens"] > 0 for message in messages)

    # Random weights answer nonsense: each criterion is an ERROR with its reason, the transcript stays unscored.
    judged = cli("assess", "-w", small, "--json", code=3).json
    assert {error["criterion"] for error in judged["errors"]} == {"H1", "S1"}
    assert all(error["reason"] for error in judged["errors"])
    assert judged["transcripts"][0]["unscored"] and judged["transcripts"][0]["open"] == ["H1", "S1"]
