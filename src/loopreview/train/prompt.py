"""What a served model has to be given so that it sees the prompt it was trained with."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.tokens.conversation import Conversation
from loopreview.tokens.template import ChatMessage, ChatTemplate
from loopreview.tokens.tokenizer import ChatTokenizer

_MARK = "⟦reply⟧"
_PROBE: list[ChatMessage] = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "How are you?"},
]
_ROWS = 200
"""Rows in which the common beginning is looked for."""


class Prompt:
    """How a conversation is rendered for a reply, by us and, with `arguments`, by a server."""

    def __init__(self, tokenizer: ChatTokenizer, *, today: date | None = None) -> None:
        self.tokenizer = tokenizer
        given = tokenizer.template
        # A server tells the template the day of today; the training told it always the same one.
        self._template = ChatTemplate(given.source, given.special, today=today or date.today())
        self.arguments: dict[str, Any] = {}
        """Of the template (`chat_template_kwargs`)."""
        self.warning = ""
        """Where no arguments make the served prompt the one of the training: what is different."""
        trained = self._trained(_PROBE)
        for arguments in self._choices():
            if self._rendered(_PROBE, arguments) == trained:
                self.arguments = arguments
                return
        self.warning = (
            "the chat template writes another date than in training"
            if given.names_the_date
            else "what the chat template writes before a reply is not what stood there in training"
        )

    def ids(self, messages: Sequence[ChatMessage]) -> list[int]:
        """What a server should see for these messages, the generation prompt included."""
        text = self._rendered(messages, self.arguments)
        return Conversation(self.tokenizer, []).ids(text)

    def _choices(self) -> list[dict[str, Any]]:
        """Both are named where the template asks for it: `mlx_lm.server` says `enable_thinking` of its own accord."""
        source = self.tokenizer.template.source
        thinking: list[dict[str, Any]] = [{}]
        if "enable_thinking" in source:
            thinking = [{"enable_thinking": False}, {"enable_thinking": True}]
        told = self.tokenizer.template
        dates: list[dict[str, Any]] = [{}]
        if told.names_the_date and "date_string" in source:
            dates.append({"date_string": told.today.strftime("%d %b %Y")})
        return [{**one, **other} for other in dates for one in thinking]

    def _trained(self, messages: Sequence[ChatMessage]) -> str:
        """What stands before the supervised part of a reply to these messages."""
        asked = self.tokenizer.prepared(messages)
        whole = [*asked, {"role": "assistant", "content": _MARK}]
        example = Conversation(self.tokenizer, whole).example(len(whole), [len(asked)])
        return example.text[: example.spans[0][0]]

    def _rendered(self, messages: Sequence[ChatMessage], arguments: Mapping[str, Any]) -> str:
        template = self._template.environment.from_string(self._template.source)
        asked = self.tokenizer.prepared(messages)
        return template.render({**self._template.variables(asked, None, add_generation_prompt=True), **arguments})


def check_tokenizer(tokenizer: ChatTokenizer, folder: Path, plan: Plan) -> None:
    """Raises UserError where a base's tokenizer or template is another one than the run was trained with."""
    if tokenizer.hash != plan.data.tokenizer:
        raise UserError(
            f"{folder}: its tokenizer or chat template is not the one that the run was trained with; put back what was "
            "changed, or train again",
            exit_code=1,
        )


def unknown_end(tokenizer: ChatTokenizer, folder: Path) -> tuple[str, list[int]] | None:
    """(text, ids that end a reply) where the model's folder does not know the token with which the template ends a
    reply: a base that was never tuned to chat would write on and on."""
    end = tokenizer.end_of_turn.strip()
    ids = tokenizer.encode(end) if end else []
    if len(ids) != 1:
        return None
    known: list[int] = []
    for name in ("generation_config.json", "config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        known = found if isinstance(found, list) else [found] if isinstance(found, int) else []
        if known:
            break
    return None if ids[0] in known else (end, [*known, *ids])


def trained_system(plan: Plan, tokenizer: ChatTokenizer) -> tuple[str | None, str]:
    """The system message of the training data, or None; and why it is not known, where it is not."""
    try:
        dataset = Exported.open(plan.data.folder)
        if isinstance(said := dataset.manifest.get("system_message"), str):
            return said or None, ""
        rows = [_opening(row) for row in islice(dataset.rows("train"), _ROWS)]
    except UserError as error:
        return None, f"the system message of the training is not known ({error}); --system gives one"
    if not rows or not rows[0]:
        return None, ""
    role, text = rows[0]
    if role == "system":
        return text, ""
    if tokenizer.system == "kept":
        return None, ""
    # The template has no place for a system message: it stands before the words of the first user in every row.
    openings = {opening[1] for opening in rows if opening}
    found = os.path.commonprefix(list(openings)).rpartition("\n\n")[0]  # noqa: RUF071 (characters are meant)
    if found and len(openings) > 1:
        return found, ""
    return None, "the system message of the training cannot be told from the first user's words; --system gives one"


def _opening(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Role and text of the first message of a readable row."""
    messages = row.get("messages") or row.get("conversations")
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], Mapping):
        return None
    first = messages[0]
    return str(first.get("role") or first.get("from")), str(first.get("content") or first.get("value") or "")
