"""What a model answered, and what is told when it did not."""

import re
from typing import NamedTuple


class Reply(NamedTuple):
    """One answer. `tokens_*`, `cost_usd` are None where unknown; `latency_s` is that of the attempt that answered.

    `text` has no reasoning block in front and no white space around it. `finish` is the provider's reason to stop:
    `stop`, `length`, … `refused` is True where the provider or the model declined by a flag of its own; `text` may
    then be empty.
    """

    text: str
    model: str
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    latency_s: float
    finish: str
    refused: bool


class About(NamedTuple):
    """What a call is for: `generate`, `assess`, …; the batch and transcript it belongs to."""

    purpose: str
    batch: int | None = None
    transcript: str | None = None


class CallFailed(Exception):
    """One call failed for good; others may go on. `reason` is one line without secrets; `empty`: there was an answer,
    with nothing in it, so that another seed may do better."""

    def __init__(self, reason: str, *, empty: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.empty = empty


_THINKING = re.compile(r"\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)\s*", re.DOTALL | re.IGNORECASE)
_THINKING_TAIL = re.compile(r"(?:(?!<think(?:ing)?>).)*?</think(?:ing)?>\s*", re.DOTALL | re.IGNORECASE)


def without_reasoning(text: str) -> str:
    """The answer after a `<think>…</think>` block.

    Some templates open the block in the prompt, so that only `</think>` is in the answer; a block that never closes
    (cut by the token limit) leaves nothing.
    """
    while match := _THINKING.match(text):
        text = text[match.end() :]
    if match := _THINKING_TAIL.match(text):
        text = text[match.end() :]
    return text
