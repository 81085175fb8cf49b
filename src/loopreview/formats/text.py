"""Plain text with speaker names: `User: …`, `Assistant: …`; one conversation a file."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.conversation import Unusable, transcript_of
from loopreview.formats.reading import MAX_DOCUMENT_BYTES, Skip, Value, read_lines, without_surrogates
from loopreview.models.transcript import Message, Role, Transcript

CERTAIN: dict[str, Role] = {
    "user": "user", "human": "user",
    "assistant": "assistant", "ai": "assistant", "ai assistant": "assistant", "bot": "assistant",
    "chatbot": "assistant", "gpt": "assistant", "chatgpt": "assistant", "claude": "assistant", "gemini": "assistant",
}  # fmt: skip
"""Where both sides have one of these names, no other name is a speaker's."""
LIKELY: dict[str, Role] = {
    "customer": "user", "client": "user", "patient": "user", "student": "user", "learner": "user", "caller": "user",
    "visitor": "user", "guest": "user",
    "agent": "assistant", "support": "assistant", "support agent": "assistant", "advisor": "assistant",
    "adviser": "assistant", "representative": "assistant", "therapist": "assistant", "counselor": "assistant",
    "counsellor": "assistant", "coach": "assistant", "tutor": "assistant", "teacher": "assistant", "model": "assistant",
}  # fmt: skip
SYSTEM = ("system", "system prompt")
"""Only at the beginning: later on, `System: Windows` is what somebody says."""
LINES_BEFORE = 5
"""Lines that may stand before the first speaker, such as a title."""
EXAMPLE = "such as `User:` and `Assistant:` at the start of their lines"

_LABEL = re.compile(
    r"\s*(?:\[[^\]\n]{1,40}\]\s*)?(?:\#{1,6}\s+)?[*_]{0,2}"  # a time in brackets, marks of a heading or of bold type
    r"(?P<name>[^\W\d_][\w .'’-]{0,39}?)[*_]{0,2}\s{0,3}(?::[*_]{0,2}(?=\s|$)|：)"
)


class Label(NamedTuple):
    """A line that begins with a name and a colon. `after_gap`: it begins the file or follows an empty line."""

    line: int
    name: str
    said: str
    after_gap: bool


def read_text(path: Path) -> Iterator[Value | Skip]:
    """The whole text of a file as one record. Half a conversation is none: a line that cannot be read skips it."""
    texts = []
    size = 0
    try:
        for line in read_lines(path):
            size += len(line.text)
            problem = line.problem or (size > MAX_DOCUMENT_BYTES and f"over {MAX_DOCUMENT_BYTES // 2**20} MB of text")
            if problem:
                yield Skip(path.name, line.number, problem)
                return
            texts.append(line.text)
    except OSError as error:
        yield Skip(path.name, None, f"cannot be read: {error.strerror or error}")
        return
    text = "\n".join(texts)
    if not text.strip():
        yield Skip(path.name, None, "the file is empty")
        return
    mended = without_surrogates(text)
    notes = () if mended == text else ("lone surrogates were replaced by U+FFFD",)
    yield Value(mended, None, "1", notes)


def begins_with_speaker(line: str) -> bool:
    """Whether a line begins with a name and a colon."""
    return _LABEL.match(line) is not None


def transcript_of_text(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of one text. A turn goes from a speaker's name to the next one, over lines and empty lines.

    Names that say who speaks are known; two other names that take turns are the user, who speaks first, and the
    assistant, and that is noted. Raises Unusable.
    """
    if not isinstance(value, str):
        raise Unusable("no text")
    lines = value.split("\n")
    labels = list(_labels(lines))
    roles = _roles(labels, notes)
    turns = _turns(labels, roles, notes)
    before = [line for line in lines[: turns[0].line] if line.strip()]
    if len(before) > LINES_BEFORE:
        raise Unusable(f"the first speaker's name stands in line {turns[0].line + 1}; begin with a name, {EXAMPLE}")
    if before:
        notes.append("what stands before the first speaker was left out")
    ends = [turn.line for turn in turns[1:]] + [len(lines)]
    messages = [
        Message(
            role=roles[turn.name],
            text="\n".join([turn.said, *(line.rstrip("\r") for line in lines[turn.line + 1 : end])]).strip(),
        )
        for turn, end in zip(turns, ends, strict=True)
    ]
    return transcript_of({}, messages, notes, max_chars)


def _labels(lines: Sequence[str]) -> Iterator[Label]:
    after_gap = True
    for number, line in enumerate(lines):
        found = _LABEL.match(line)
        if found:
            yield Label(number, " ".join(found["name"].lower().split()), line[found.end() :].strip(), after_gap)
        after_gap = not line.strip()


def _roles(labels: Sequence[Label], notes: list[str]) -> dict[str, Role]:
    """Who speaks under which name. Raises Unusable where that cannot be told."""
    counts = Counter(label.name for label in labels)
    for known in (CERTAIN, {**CERTAIN, **LIKELY}):
        roles = {name: known[name] for name in counts if name in known}
        if len(set(roles.values())) == 2:
            return _with_system(roles, labels)
    others = [name for name in counts if name not in roles and name not in SYSTEM]
    often = [name for name in others if counts[name] > 1]
    if roles:
        guess = often or others
        if len(guess) == 1:
            missing: Role = "user" if "assistant" in roles.values() else "assistant"
            roles[guess[0]] = missing
            notes.append(f"`{guess[0]}` was taken for the {missing}")
            return _with_system(roles, labels)
    elif len(often) == 2:
        said = [label.name for label in labels if label.name in often]
        if all(one != other for one, other in pairwise(said)):
            first, second = dict.fromkeys(said)
            notes.append(f"`{first}`, who speaks first, was taken for the user, and `{second}` for the assistant")
            return _with_system({first: "user", second: "assistant"}, labels)
    found = f"; names found: {', '.join(list(counts)[:6])}" if counts else ""
    raise Unusable(f"no conversation between two speakers{found}; name them, {EXAMPLE}")


def _with_system(roles: dict[str, Role], labels: Sequence[Label]) -> dict[str, Role]:
    first = next((label.name for label in labels if label.name in roles or label.name in SYSTEM), None)
    return {**roles, first: "system"} if first in SYSTEM else roles


def _turns(labels: Sequence[Label], roles: dict[str, Role], notes: list[str]) -> list[Label]:
    """The labels at which a turn begins. Where turns are kept apart by empty lines, the few labels in the midst of
    a turn belong to what it says: an example, a form."""
    speaking: list[Label] = []
    for label in labels:
        role = roles.get(label.name)
        if role == "system" and any(roles[earlier.name] != "system" for earlier in speaking):
            continue
        if role is not None:
            speaking.append(label)
    apart = [label for label in speaking if label.after_gap]
    inside = len(speaking) - len(apart)
    sides = {roles[label.name] for label in apart}
    if {"user", "assistant"} <= sides and 0 < inside < len(apart):
        notes.append(f"lines inside a turn that begin with a speaker's name were read as its text ({inside})")
        return apart
    return speaking
