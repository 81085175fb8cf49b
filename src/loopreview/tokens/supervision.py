"""Which part of a rendered conversation is a reply: what the model itself has to write.

At inference a model is given the conversation rendered with the generation prompt, and writes on until its end-of-turn
token. So that is what is supervised: from the end of that prompt to the end of that token. What a template writes there
of its own accord, an empty think block, is not the model's, and is passed over.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loopreview.tokens.template import ChatMessage, TemplateRefused

if TYPE_CHECKING:
    from loopreview.tokens.tokenizer import ChatTokenizer

_EMPTY_THINKING = re.compile(
    r"\s*(?:<([\w:|]*think\w*|[\w:|]*reason\w*)>\s*</\1>|\[THINK\]\s*\[/THINK\])\n*", re.IGNORECASE
)
_MARK = "⟦reply⟧"


def reply_span(
    tokenizer: "ChatTokenizer",
    messages: Sequence[ChatMessage],
    text: str,
    place: int,
    tools: list[Any] | None = None,
) -> tuple[int, int]:
    """From which to which character of `text`, the rendered `messages`, the model has to write the reply at `place`.

    Raises TemplateRefused where the rendering does not show it.
    """
    template, closing = tokenizer.template, tokenizer.end_of_turn
    prompt = template.render(messages[:place], add_generation_prompt=True, tools=tools)
    last = place == len(messages) - 1
    alone = text if last else template.render(messages[: place + 1], tools=tools)
    end = alone.rfind(closing) + len(closing) if closing else len(alone.rstrip())
    start = _own_beginning(text, prompt)
    first = _own_beginning(alone, prompt)
    if start is not None and first is not None and first <= end and text.startswith(alone[first:end], start):
        return start, start + end - first
    # The template shows this reply otherwise here than after its prompt, or at the end of a shorter conversation. The
    # same conversation with a mark for the reply tells which part is the template's.
    before, after = _around(tokenizer, messages, place, tools)
    if start is None and text.startswith(before):
        # The prompt says more than is kept of it here: the beginning of a think block, or a system message that goes
        # with the last user message. White space that is not the prompt's is the model's to write.
        bare = before.rstrip()
        same_end = any(prompt.endswith(token) and bare.endswith(token) for token in tokenizer.added)
        start = len(bare if same_end else before)
    end = len(text) - len(after) + len(closing)
    if start is None or start > end or not text.endswith(after) or not after.startswith(closing):
        raise TemplateRefused(f"the chat template does not show which part the reply of message {place + 1} is")
    return start, end


def _own_beginning(text: str, prompt: str) -> int | None:
    """Where a model that was given `prompt` begins to write; null where the text does not begin so."""
    if not text.startswith(prompt):
        return None
    empty = _EMPTY_THINKING.match(text, len(prompt))
    return empty.end() if empty else len(prompt)


def _around(
    tokenizer: "ChatTokenizer", messages: Sequence[ChatMessage], place: int, tools: list[Any] | None
) -> tuple[str, str]:
    """What the template writes before and after the reply at `place`."""
    mark = _MARK
    while any(mark in str(message.get("content")) for message in messages):
        mark += "⟧"
    marked = [*messages[:place], {**messages[place], "content": mark}, *messages[place + 1 :]]
    before, found, after = tokenizer.template.render(marked, tools=tools).partition(mark)
    if not found:
        raise TemplateRefused(f"the chat template does not show the reply of message {place + 1}")
    return before, after
