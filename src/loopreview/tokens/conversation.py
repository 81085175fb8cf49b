"""One conversation in a model's tokens: the length of every prefix, and examples with their labels."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from loopreview.tokens.supervision import reply_span
from loopreview.tokens.template import ChatMessage
from loopreview.tokens.tokenizer import ChatTokenizer

IGNORED = -100
"""The label of a token that is not supervised."""


class Example(NamedTuple):
    """A training example as the model sees it. `labels` are the ids of supervised tokens, and IGNORED elsewhere;
    `spans` are the supervised parts of `text`, in characters."""

    text: str
    ids: list[int]
    labels: list[int]
    spans: list[tuple[int, int]]

    @property
    def supervised(self) -> int:
        """How many tokens are."""
        return len(self.labels) - self.labels.count(IGNORED)


class Step(NamedTuple):
    """A prefix begins with the first `kept` pieces of the prefix before it, and goes on with `pieces`."""

    kept: int
    pieces: list[str]


class Conversation:
    """The messages of one transcript, rendered and encoded; no piece of text is encoded twice."""

    def __init__(
        self, tokenizer: ChatTokenizer, messages: Sequence[ChatMessage], tools: list[Any] | None = None
    ) -> None:
        self.tokenizer, self.messages, self.tools = tokenizer, list(messages), tools
        self._ids: dict[str, array[int]] = {}

    def lengths(self, ends: Sequence[int]) -> list[int]:
        """The tokens of messages[:end] for each of the rising `ends`: as many as encoding each anew would give.

        Raises TemplateRefused.
        """
        steps = list(self._steps(ends))
        self._learn(piece for step in steps for piece in step.pieces)
        sums, lengths = [0], []
        for step in steps:
            del sums[step.kept + 1 :]
            for piece in step.pieces:
                sums.append(sums[-1] + len(self._ids[piece]))
            lengths.append(sums[-1])
        return lengths

    def ids(self, text: str) -> list[int]:
        """The ids of a text rendered from these messages."""
        pieces = _between(text, [0, *self.tokenizer.cuts(text)])
        self._learn(pieces)
        return [id for piece in pieces for id in self._ids[piece]]

    def example(self, end: int, supervised: Iterable[int]) -> Example:
        """messages[:end], with the replies at these places (from 0) supervised: their text and what ends their turn.

        Raises TemplateRefused, also where the rendering does not show which part of it a reply is.
        """
        messages = self.messages[:end]
        text = self.tokenizer.template.render(messages, tools=self.tools)
        spans = [reply_span(self.tokenizer, messages, text, place, self.tools) for place in sorted(supervised)]
        starts = [0, *self.tokenizer.cuts(text)]
        pieces = _between(text, starts)
        self._learn(pieces)
        ids: list[int] = []
        firsts = []
        for piece in pieces:
            firsts.append(len(ids))
            ids.extend(self._ids[piece])
        labels = [IGNORED] * len(ids)
        for span in spans:
            first, last = (self._token_at(at, starts, pieces, firsts, up=at == span[0]) for at in span)
            labels[first:last] = ids[first:last]
        return Example(text, ids, labels, spans)

    def _token_at(self, at: int, starts: list[int], pieces: list[str], firsts: list[int], *, up: bool) -> int:
        """The number of the first token from character `at` on (`up`), or of the one after the last that ends by it.

        Where a token reaches across `at`, it belongs to neither side: at inference the model is given the ids of what
        stands before, and cannot write half a token.
        """
        place = max(i for i, start in enumerate(starts) if start <= at)
        piece = pieces[place]
        here = at - starts[place]
        before = self.tokenizer.encode(piece[:here])
        if list(self._ids[piece][: len(before)]) == before:
            return firsts[place] + len(before)
        reached = 0  # tokens may leave out the spaces they stand for: a token begins where the one before ended
        for number, (_, last) in enumerate(self.tokenizer.spans(piece)):
            if up and reached >= here:
                return firsts[place] + number
            if not up and last > here:
                return firsts[place] + number
            reached = last
        return firsts[place] + len(self._ids[piece])

    def _learn(self, texts: Iterable[str]) -> None:
        new = list(dict.fromkeys(text for text in texts if text not in self._ids))
        for text, ids in zip(new, self.tokenizer.encode_all(new), strict=True):
            self._ids[text] = array("I", ids)

    def _steps(self, ends: Sequence[int]) -> Iterator[Step]:
        if not ends:
            return iter(())
        growth = self.tokenizer.observed.growth(self.messages[: ends[-1]], ends[0], self.tools)
        if growth is None:
            return self._rendered(ends)
        return self._grown(growth.text, [growth.at[end] for end in ends], growth.tail)

    def _grown(self, text: str, ends: Iterable[int], tail: str) -> Iterator[Step]:
        """The prefixes text[:end] + tail."""
        cuts, reach = self.tokenizer.cuts(text), self.tokenizer.reach
        kept = 0
        for end in ends:
            whole = kept  # pieces that end before a cut that stands in this prefix too
            while whole < len(cuts) and cuts[whole] + reach <= end:
                whole += 1
            bounds = [cuts[i - 1] if i else 0 for i in range(kept, whole + 1)]
            last = text[bounds[-1] : end] + tail
            inner = self.tokenizer.cuts(last)
            pieces = [text[a:b] for a, b in pairwise(bounds)] + _between(last, inner if whole else [0, *inner])
            yield Step(kept, pieces)
            kept = whole

    def _rendered(self, ends: Iterable[int]) -> Iterator[Step]:
        """Each prefix rendered anew, and cut anew from where it differs from the one before."""
        before, cuts, reach = "", list[int](), self.tokenizer.reach
        for end in ends:
            text = self.tokenizer.template.render(self.messages[:end], tools=self.tools)
            low, high = 0, len(cuts)  # the first `low` cuts stand in both
            while low < high:
                middle = (low + high + 1) // 2
                until = cuts[middle - 1] + reach
                if until <= len(before) and text.startswith(before[:until]):
                    low = middle
                else:
                    high = middle - 1
            found = self.tokenizer.cuts(text, cuts[low - 1] if low else 0)
            yield Step(low, _between(text, found if low else [0, *found]))
            before, cuts = text, cuts[: max(low - 1, 0)] + found


def _between(text: str, starts: list[int]) -> list[str]:
    """The pieces of a text that begin at `starts`."""
    return [text[a:b] for a, b in pairwise([*starts, len(text)])]
