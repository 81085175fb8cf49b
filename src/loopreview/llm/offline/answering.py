"""Which offline model answers a call."""

from collections.abc import Mapping, Sequence
from typing import Any

from loopreview.llm.offline import assistant, judges, user_sim
from loopreview.llm.offline.reading import words

TOKENS_PER_WORD = 1.3
MODELS = ("offline/user_sim", "offline/assistant", *(f"offline/{name}" for name in judges.STRICTNESS))


def answer(
    model: str, messages: Sequence[Mapping[str, str]], response_format: Mapping[str, Any] | None, seed: int | None
) -> str:
    """The text that the offline model `model` ("assistant", "judge-strict", …) gives; the same for the same input."""
    if model == "user_sim":
        return user_sim.write(messages, seed)
    if model == "assistant":
        return assistant.write(messages, seed)
    return judges.judge(model, messages, response_format, seed)


def tokens(text: str) -> int:
    """What is reported as tokens: 1.3 a word."""
    return round(len(words(text)) * TOKENS_PER_WORD)
