"""What an offline model reads: the fenced blocks of its messages, and sentences with their content words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from loopreview.models.transcript import Exchange

_BLOCK = re.compile(r"^(`{3,})([a-z_]+)[ \t]*\n(.*?)\n?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_SPEAKER = re.compile(r"^\[(\d+)\] (user|assistant):[ \t]*$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?…\n]+(?:[.!?…]+[\"'”’)]*|(?=\n)|\Z)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+", re.UNICODE)
_RANGE = re.compile(r"(\d+)\s*(?:-|–|—|to|and)\s*(\d+)")

STOP_WORDS = frozenset(resources.files(__package__).joinpath("stop_words.txt").read_text("utf-8").split())
"""Words of four letters and more that do not say what a text is about."""


def blocks(messages: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The body of each fenced block by its name; of two with one name the later."""
    found: dict[str, str] = {}
    for message in messages:
        for match in _BLOCK.finditer(str(message.get("content") or "")):
            found[match[2]] = match[3]
    return found


def without_blocks(text: str) -> str:
    return _BLOCK.sub("", text).strip()


def fields(body: str) -> dict[str, str]:
    """`name: value` lines, names in lower case; a line without a name continues the value before."""
    found: dict[str, str] = {}
    name = ""
    for line in body.splitlines():
        match = re.match(r"\s*-?\s*([A-Za-z][A-Za-z _]{0,30}):\s*(.*)$", line)
        if match:
            name = match[1].strip().lower()
            found[name] = f"{found[name]}\n{match[2]}" if name in found else match[2]
        elif name and line.strip():
            found[name] += "\n" + line.strip()
    return found


def number_range(text: str) -> tuple[int, int] | None:
    """The first "a-b" or "a to b" in a text."""
    match = _RANGE.search(text)
    return (int(match[1]), int(match[2])) if match and int(match[1]) <= int(match[2]) else None


def read_transcript(body: str) -> list[Exchange]:
    """The exchanges of a transcript block. A line in a message that looks like a speaker's is text, unless it is the
    one that comes next."""
    found: list[Exchange] = []
    parts: list[tuple[int, str, int, int]] = []
    expected = (1, "user")
    for match in _SPEAKER.finditer(body):
        if (int(match[1]), match[2]) in (expected, (expected[0], "assistant")):
            if parts:
                parts[-1] = (*parts[-1][:3], match.start())
            parts.append((int(match[1]), match[2], match.end(), len(body)))
            number = int(match[1])
            expected = (number, "assistant") if match[2] == "user" else (number + 1, "user")
    said: dict[int, dict[str, str]] = {}
    for number, role, start, end in parts:
        said.setdefault(number, {})[role] = body[start:end].strip()
    for number, texts in said.items():
        found.append(Exchange(number, texts.get("user", ""), texts.get("assistant", "")))
    return found


class Asked(NamedTuple):
    """A criterion as a judge is shown it."""

    id: str
    name: str
    question: str
    na_allowed: bool
    examples: int


def read_criteria(body: str) -> list[Asked]:
    """The criteria of a criteria block."""
    found: list[Asked] = []
    for part in re.split(r"^(?=criterion:)", body, flags=re.MULTILINE):
        if not part.startswith("criterion:"):
            continue
        head, _, examples = part.partition("\nexamples:")
        values = fields(head)
        found.append(
            Asked(
                id=values.get("criterion", "").strip(),
                name=values.get("name", ""),
                question=values.get("question", ""),
                na_allowed="not" not in values.get("na", "allowed"),
                examples=len(re.findall(r"^\s*-\s*(?:BORDERLINE_)?(?:PASS|FAIL)\b", examples, flags=re.MULTILINE)),
            )
        )
    return [criterion for criterion in found if criterion.id]


def words(text: str) -> list[str]:
    return _WORD.findall(text)


@lru_cache(maxsize=4096)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, each an exact piece of it."""
    return tuple(match[0].strip() for match in _SENTENCE.finditer(text) if any(c.isalnum() for c in match[0]))


def stem(word: str) -> str:
    """A crude stem: "charged", "charges" and "charging" are one."""
    word = word.lower().replace("’", "'").split("'")[0]
    for ending in ("ingly", "ings", "ing", "edly", "ies", "ied", "ers", "est", "es", "ed", "er", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def content_words(text: str) -> list[str]:
    """Stems of the words that say what a text is about."""
    return [stem(word) for word in words(text) if len(word) >= 4 and word.lower() not in STOP_WORDS]


_REQUEST = re.compile(
    r"\?[\"'”’)]*$"
    r"|\bi (?:want|need|would like|'d like|demand|expect) (?:to know|you|an answer|help|someone)\b"
    r"|\bplease (?:tell|explain|help|sort|look|check)\b|\b(?:tell|help|explain to) me\b|\b(?:i am|i'm) asking\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”]")


def normalised(text: str) -> str:
    """Words in small letters with single spaces: for telling whether something was said before."""
    return " ".join(words(text)).lower()


def requests(text: str) -> list[str]:
    """The sentences in which a user asks for something, without those that name nothing ("Does that make sense?")."""
    return [
        s for s in sentences(text) if _REQUEST.search(s) and not _QUOTED.search(s) and len(set(content_words(s))) >= 2
    ]


def answers(request: str, reply_stems: Sequence[str] | frozenset[str]) -> bool:
    """Whether a reply takes up a request: it has at least a third of its content words, and one of them anyway."""
    asked = set(content_words(request))
    return len(asked & set(reply_stems)) >= max(1, round(len(asked) / 3))
