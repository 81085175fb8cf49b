"""The examples of one transcript: slices of it, pairs of replies, or replies with a verdict."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopreview.dataset.choose import Chosen, Kind, LeftOut
from loopreview.dataset.talk import ChatMessage, Talk, is_empty, talk_of
from loopreview.formats.preferences import dpo_row, kto_row
from loopreview.formats.sft import sft_row
from loopreview.models.errors import UserError
from loopreview.models.settings import Settings
from loopreview.models.transcript import Transcript
from loopreview.rules.slices import FIRST, fitting, longest, slice_points
from loopreview.store.values import storable

if TYPE_CHECKING:
    from loopreview.tokens.conversation import Conversation
    from loopreview.tokens.tokenizer import ChatTokenizer

Supervise = Literal["last_reply", "all_replies"]


class Wanted(NamedTuple):
    """What is exported: the kind of training, whose files, and which replies of an example are supervised."""

    kind: Kind = "sft"
    form: str = "trl"
    supervise: Supervise = "last_reply"


class Made(NamedTuple):
    """One example. `row`: the readable one, as a line; `tokens`: the line that goes under `tokens/`; `length`: how many
    tokens, the longer of a pair. These two are None without a tokenizer. `label`: for KTO."""

    exchange: int
    row: str
    tokens: str | None = None
    length: int | None = None
    supervised: int = 0
    label: bool | None = None

    @property
    def digest(self) -> bytes:
        """Equal for equal examples alone: those of equal tokens, where there are any, else of equal texts."""
        return sha256((self.tokens or self.row).encode()).digest()[:16]


class Maker:
    """Makes the examples of one transcript after the other, all under one system message."""

    def __init__(
        self, wanted: Wanted, settings: Settings, system: str, tokenizer: "ChatTokenizer | None" = None
    ) -> None:
        self.wanted, self.settings = wanted, settings
        self.system, self.tokenizer = storable(system.strip()), tokenizer

    def of(self, chosen: Chosen, transcript: Transcript) -> Iterator[Made | LeftOut]:
        """The examples of a transcript, by exchange, and what of it is left out. Nothing is ever cut short."""
        talk = talk_of(transcript, self.system)
        conversation = None
        lengths = [0] * len(talk.ends)
        if self.tokenizer is not None:
            prepared = self.tokenizer.prepared(talk.messages)
            if self.tokenizer.system == "merged" and prepared[0]["role"] == "system":
                yield LeftOut(chosen.id, None, "the chat template has no system message, and no user speaks first")
                return
            talk = talk.merged(prepared)
            from loopreview.tokens.conversation import Conversation

            conversation = Conversation(self.tokenizer, talk.messages, talk.tools)
            try:
                lengths = conversation.lengths(talk.ends)
            except UserError as error:
                yield LeftOut(chosen.id, None, *_refused(error))
                return
        if self.wanted.kind == "dpo":
            yield from self._pairs(chosen, talk)
        elif self.wanted.kind == "kto":
            yield from self._verdicts(chosen, talk, conversation, lengths)
        elif self.wanted.supervise == "all_replies":
            yield from self._whole(chosen, talk, conversation, lengths)
        else:
            yield from self._slices(chosen, talk, conversation, lengths)

    def _slices(
        self, chosen: Chosen, talk: Talk, conversation: "Conversation | None", lengths: Sequence[int]
    ) -> Iterator[Made | LeftOut]:
        points, over = yield from self._points(chosen, talk, lengths)
        for exchange in sorted({*points, *over}):
            unfit = over.get(exchange) or self._unfit(chosen, talk, exchange)
            if unfit:
                yield unfit
            else:
                yield self._example(chosen, talk, conversation, exchange, [talk.ends[exchange - 1] - 1])

    def _whole(
        self, chosen: Chosen, talk: Talk, conversation: "Conversation | None", lengths: Sequence[int]
    ) -> Iterator[Made | LeftOut]:
        """One example: the longest prefix that fits, with every reply supervised that may be."""
        end = longest(lengths, self.settings.max_tokens)
        if end is None or end < len(talk.ends):
            kept = f"; the longest prefix that fits ends with exchange {end}" if end else ""
            over = self._over(chosen, len(talk.ends), lengths)
            yield over._replace(detail=over.detail + kept)
        if end is None:
            return
        supervised: list[int] = []
        for exchange in range(1, end + 1):
            unfit = self._unfit(chosen, talk, exchange)
            if unfit:
                yield unfit
            else:
                supervised += [place for place in talk.replies(exchange) if not is_empty(talk.messages[place])]
        if supervised:
            yield self._example(chosen, talk, conversation, end, supervised)

    def _verdicts(
        self, chosen: Chosen, talk: Talk, conversation: "Conversation | None", lengths: Sequence[int]
    ) -> Iterator[Made | LeftOut]:
        """The last reply of each slice, good where the transcript was approved, and each marked one, bad."""
        points, over = yield from self._points(chosen, talk, lengths)
        for exchange in sorted({*points, *over, *(n for n in chosen.marked if 1 <= n <= len(talk.ends))}):
            marked = exchange in chosen.marked
            if lengths[exchange - 1] > self.settings.max_tokens:
                yield over.get(exchange) or self._over(chosen, exchange, lengths)
            elif is_empty(talk.reply(exchange)):
                yield LeftOut(chosen.id, exchange, "the reply is empty")
            elif exchange in talk.unweighted and not marked:
                yield LeftOut(chosen.id, exchange, "the reply came with a weight of 0")
            else:
                label = chosen.decision == "approved" and not marked
                reply = talk.ends[exchange - 1] - 1
                yield self._example(chosen, talk, conversation, exchange, [reply], label=label)

    def _pairs(self, chosen: Chosen, talk: Talk) -> Iterator[Made | LeftOut]:
        """The reply that a reviewer wrote against the one that it is for."""
        for exchange, text, _ in chosen.better:
            if not 1 <= exchange <= len(talk.ends):
                continue
            end = talk.ends[exchange - 1]
            prompt, rejected = talk.messages[: end - 1], talk.messages[end - 1]
            better: ChatMessage = {"role": "assistant", "content": storable(text)}
            if is_empty(better) or better["content"].strip() == rejected["content"].strip():
                yield LeftOut(chosen.id, exchange, "the better reply is empty, or the reply itself")
                continue
            row = dpo_row(prompt, better, rejected, form=self.wanted.form, tools=talk.tools)
            tokens: dict[str, Any] | None = None
            length, supervised = None, 0
            if self.tokenizer is not None:
                from loopreview.tokens.conversation import Conversation

                try:
                    good, bad = (
                        Conversation(self.tokenizer, [*prompt, reply], talk.tools).example(end, [end - 1])
                        for reply in (better, rejected)
                    )
                except UserError as error:
                    yield LeftOut(chosen.id, exchange, *_refused(error))
                    continue
                length = max(len(good.ids), len(bad.ids))
                supervised = good.supervised + bad.supervised
                if length > self.settings.max_tokens:
                    yield self._too_long(chosen, exchange, length)
                    continue
                tokens = {
                    "chosen_input_ids": good.ids,
                    "chosen_labels": good.labels,
                    "rejected_input_ids": bad.ids,
                    "rejected_labels": bad.labels,
                }
            yield Made(exchange, readable_line(row), _tokens_line(tokens) if tokens else None, length, supervised)

    def _points(
        self, chosen: Chosen, talk: Talk, lengths: Sequence[int]
    ) -> Generator[LeftOut, None, tuple[list[int], dict[int, LeftOut]]]:
        """The points of a transcript that fit, and those that are over the limit. Yields why there is none at all."""
        count = len(talk.ends)
        if count < FIRST:
            yield LeftOut(chosen.id, None, "too short for a slice", f"{count} exchanges; the first slice has {FIRST}")
        settings = self.settings
        points = slice_points(chosen.id, count, settings.slice_gap)
        found = fitting(points, lengths, settings.max_tokens, settings.slice_gap[0])
        return found.points, {point: self._over(chosen, point, lengths) for point in found.over}

    def _unfit(self, chosen: Chosen, talk: Talk, exchange: int) -> LeftOut | None:
        """Why the reply of an exchange is not supervised."""
        why = (
            "the reply is marked as bad"
            if exchange in chosen.marked
            else "the reply came with a weight of 0"
            if exchange in talk.unweighted
            else "the reply is empty"
            if is_empty(talk.reply(exchange))
            else None
        )
        return LeftOut(chosen.id, exchange, why) if why else None

    def _over(self, chosen: Chosen, exchange: int, lengths: Sequence[int]) -> LeftOut:
        return self._too_long(chosen, exchange, lengths[exchange - 1])

    def _too_long(self, chosen: Chosen, exchange: int, length: int) -> LeftOut:
        limit = self.settings.max_tokens
        return LeftOut(chosen.id, exchange, "over max_tokens", f"{length:,} tokens, the limit is {limit:,}")

    def _example(
        self,
        chosen: Chosen,
        talk: Talk,
        conversation: "Conversation | None",
        exchange: int,
        supervised: Sequence[int],
        *,
        label: bool | None = None,
    ) -> Made | LeftOut:
        end = talk.ends[exchange - 1]
        messages = talk.messages[:end]
        form = self.wanted.form
        row = (
            sft_row(messages, form=form, supervised=supervised, tools=talk.tools)
            if label is None
            else kto_row(messages[:-1], messages[-1], label, form=form, tools=talk.tools)
        )
        if conversation is None:
            return Made(exchange, readable_line(row), label=label)
        try:
            example = conversation.example(end, supervised)
        except UserError as error:
            return LeftOut(chosen.id, exchange, *_refused(error))
        count = example.supervised
        if not count:
            return LeftOut(chosen.id, exchange, "no token of the reply is the model's own")
        tokens: dict[str, Any] = {"input_ids": example.ids, "labels": example.labels}
        if label is not None:
            tokens["label"] = label
        return Made(exchange, readable_line(row), _tokens_line(tokens), len(example.ids), count, label)


def _refused(error: UserError) -> tuple[str, str]:
    why, _, detail = str(error).partition(": ")
    return why, detail


def readable_line(row: Mapping[str, Any]) -> str:
    """JSON on one line, for readers that take other characters for the end of a line too."""
    return json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS)


def _tokens_line(tokens: Mapping[str, Any]) -> str:
    return json.dumps(tokens, separators=(",", ":"))


_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
