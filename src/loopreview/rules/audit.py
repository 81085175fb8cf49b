"""What an audit keeps of each transcript.

A digest depends on its transcript alone, and what is reported (audit_report.py) on the set of digests alone. However a
set is divided, its parts put together report exactly what one run reports.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import ConfigDict

from loopreview.models.errors import UserError
from loopreview.models.transcript import Message, Transcript, exchanges_of
from loopreview.rules import duplicates, personal_data, strays, structure, tone
from loopreview.rules.phrases import words_of
from loopreview.rules.words import count_words

MOST_FINDS = 20
"""Finds of personal data of one transcript that are kept with their place; all are counted."""


@dataclass(frozen=True, slots=True)
class Find:
    """Personal data in a message of an exchange, masked."""

    kind: personal_data.Kind
    exchange: int
    role: str
    shown: str
    reserved: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """The first reply of a transcript in one language: how it begins, and what the user wrote in there."""

    language: str
    exchange: int
    text: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Slip:
    """A reply that slips into another script."""

    exchange: int
    script: str
    text: str


@dataclass(frozen=True, slots=True)
class Digest:
    """One transcript. `lengths`, `headers`, `items` and `languages` have an entry for each reply."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    id: str
    batch: int
    number: int
    complete: bool
    replies: str
    """The replies' folded words, a reply a line."""
    signature: bytes
    """For near duplicates; see duplicates.py."""
    lengths: tuple[tuple[int, int], ...]
    """Words of the user, words of the reply."""
    headers: tuple[int, ...]
    items: tuple[int, ...]
    """List items."""
    header_texts: tuple[str, ...]
    """Each header once for every reply that has it."""
    praise: tuple[int, int, int, int]
    """Early replies that praise, early replies, late ones that praise, late replies; those not in English left out."""
    ends_positively: bool | None
    """None where there is no end yet, or one that is not in English."""
    languages: tuple[str | None, ...]
    begun: tuple[Begun, ...]
    slips: tuple[Slip, ...]
    finds: tuple[Find, ...]
    found: dict[str, int]
    """Kind of personal data → finds; `reserved` → those among them that belong to nobody."""


def digest(transcript: Transcript, detect: strays.Detect) -> Digest:
    """What the audit keeps of `transcript`. `detect` tells the language of a text."""
    folded: dict[str, list[str]] = {}

    def words(text: str) -> list[str]:
        if text not in folded:
            folded[text] = words_of(text)
        return folded[text]

    exchanges = exchanges_of(transcript.messages)
    replies = [words(e.assistant) for e in exchanges]
    built = [structure.built(e.assistant) for e in exchanges]
    languages = [strays.language(e.assistant, detect) for e in exchanges]
    begun: dict[str, Begun] = {}
    slips = []
    used: set[str] = set()
    for exchange, code in zip(exchanges, languages, strict=True):
        if code and code not in begun:
            text = " ".join(exchange.assistant[: 2 * strays.EXCERPT].split())[: strays.EXCERPT]
            begun[code] = Begun(code, exchange.number, text, strays.language(exchange.user, detect))
        used |= strays.scripts(exchange.user).keys()
        if slip := strays.foreign_letters(exchange.assistant, used):
            slips.append(Slip(exchange.number, *slip))
    ends = None
    if exchanges and transcript.complete and languages[-1] in ("en", None):
        ends = tone.ends_positively(words(exchanges[-1].user), replies[-1], exchanges[-1].assistant[-40:])
    finds, found = _finds(transcript.messages)
    return Digest(
        id=transcript.id,
        batch=transcript.batch,
        number=transcript.number,
        complete=transcript.complete,
        replies="\n".join(map(" ".join, replies)),
        signature=duplicates.signature_of_words(
            [word for m in transcript.messages if m.role != "system" for word in words(m.text)]
        ),
        lengths=tuple((count_words(e.user), count_words(e.assistant)) for e in exchanges),
        headers=tuple(len(reply.headers) for reply in built),
        items=tuple(reply.items for reply in built),
        header_texts=tuple(header for reply in built for header in dict.fromkeys(reply.headers)),
        praise=_praise(replies, languages),
        ends_positively=ends,
        languages=tuple(languages),
        begun=tuple(begun.values()),
        slips=tuple(slips),
        finds=finds,
        found=found,
    )


def _praise(replies: Sequence[Sequence[str]], languages: Sequence[str | None]) -> tuple[int, int, int, int]:
    """The first half of a transcript is early; a single exchange is neither early nor late."""
    counts = [0, 0, 0, 0]
    for i, (words, code) in enumerate(zip(replies, languages, strict=True)):
        if len(replies) > 1 and code in ("en", None):
            half = 0 if i < len(replies) // 2 else 2
            counts[half] += tone.praises(words)
            counts[half + 1] += 1
    return counts[0], counts[1], counts[2], counts[3]


def _finds(messages: Sequence[Message]) -> tuple[tuple[Find, ...], dict[str, int]]:
    """Personal data in all messages, the system's too: all of it would be trained on or sent along."""
    kept: list[Find] = []
    counts: Counter[str] = Counter()
    number, replied = 1, False
    for message in messages:
        if message.role == "user" and replied:
            number, replied = number + 1, False
        replied = replied or message.role == "assistant"
        for one in personal_data.find(message.text):
            counts[one.kind] += 1
            counts["reserved"] += one.reserved
            if len(kept) < MOST_FINDS:
                shown = personal_data.masked(message.text, one)
                kept.append(Find(one.kind, number, message.role, shown, one.reserved))
    return tuple(kept), {kind: n for kind, n in counts.items() if n}


class Collected:
    """The digests of a set, each transcript once, in the order of batch and number."""

    def __init__(self) -> None:
        self._digests: dict[str, Digest] = {}
        self._replies: dict[str, bytes] = {}

    def add(self, one: Digest) -> None:
        """Raises UserError where the transcript is there already."""
        if one.id in self._digests:
            raise UserError(f"transcript {one.id} is in two parts; give parts that have no transcript in common")
        # Compressed, words take a third of the room; they are read a few times only.
        self._replies[one.id] = zlib.compress(one.replies.encode("utf-8", "surrogatepass"), 1)
        self._digests[one.id] = replace(one, replies="")

    def merge(self, other: "Collected") -> None:
        """Take in the digests of `other`. Raises UserError where both have the same transcript."""
        for one in other.whole():
            self.add(one)

    def __len__(self) -> int:
        return len(self._digests)

    def __iter__(self) -> Iterator[Digest]:
        """The digests, without their replies' words."""
        return iter(sorted(self._digests.values(), key=lambda one: (one.batch, one.number, one.id)))

    def whole(self) -> Iterator[Digest]:
        """The digests as they came."""
        return (replace(one, replies=self._text(one.id)) for one in self)

    def replies(self, one: Digest) -> list[list[str]]:
        """The folded words of each reply of a transcript."""
        return [line.split(" ") if line else [] for line in self._text(one.id).split("\n")] if one.lengths else []

    def _text(self, id: str) -> str:
        return zlib.decompress(self._replies[id]).decode("utf-8", "surrogatepass")
