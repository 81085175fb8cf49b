"""How simulated users talk, whatever about: moods, habits, ways to write, and the details of one conversation."""

import random
import re
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from loopreview.llm.offline.chance import deal, dice, share
from loopreview.llm.offline.domain import table


class Phrases(NamedTuple):
    """What does not depend on the subject."""

    days: list[str]
    people: list[str]
    events: list[str]
    hello: dict[str, list[str]]
    """By style."""
    brings_up: list[str]
    brings_up_later: list[str]
    background: list[str]
    asks_again: list[str]
    ignores: list[str]
    tangents: list[str]
    engages: list[str]
    ends: dict[str, list[str]]
    """By trajectory."""
    short: list[str]
    flaws: list[dict[str, Any]]
    """`keys`, a regular expression for the flaw's name or description, and `lines`."""
    other_flaws: list[str]

    def end(self, trajectory: str) -> list[str]:
        return self.ends.get(trajectory, self.ends["stable"])


@cache
def phrases() -> Phrases:
    return Phrases(**table("talk"))


def details(key: object) -> dict[str, str]:
    """What `{day}`, `{other}`, `{number}`, … are in one conversation."""
    rng = dice("details", key)
    return {
        "day": rng.choice(phrases().days),
        "other": rng.choice(phrases().people),
        "event": rng.choice(phrases().events),
        "amount": f"{rng.choice([18, 24, 39, 47, 64, 89, 119, 164])} euros",
        "number": str(rng.randint(10450, 98760)),
        "weeks": rng.choice(["two", "three", "four", "five", "six"]),
        "task": f"{rng.randint(11, 29)}{rng.choice('abcd')}",
        "year": rng.choice(["seven", "eight", "nine", "ten", "eleven"]),
    }


def days(key: object) -> list[str]:
    """The days of one conversation."""
    return dice("days", key).sample(phrases().days, 3)


def flaw_line(flaw: str, key: object, number: int) -> str:
    """A template for a sentence that shows a flaw, from its name and description; another one each time."""
    for text in (flaw.partition(":")[0], flaw):
        for known in phrases().flaws:
            if re.search(known["keys"], text, re.IGNORECASE):
                return deal(known["lines"], (key, known["keys"]), number, len(known["lines"]))[0]
    return deal(phrases().other_flaws, (key, flaw), number, len(phrases().other_flaws))[0]


def mood(key: object, trajectory: str, presentation: str, number: int, total: int) -> float:
    """How likely the user is upset in this message, 0 to 1."""
    progress = (number - 1) / max(1, total - 1)
    by_trajectory = {
        "improving": 0.75 - 0.65 * progress,
        "deteriorating": 0.2 + 0.65 * progress,
        "volatile": 0.75 if share("mood", key, number) < 0.5 else 0.1,
        "stable": 0.35,
    }
    tense = re.search(r"annoy|frustrat|tears|angry|nervous|upset|fed up", presentation, re.IGNORECASE)
    return by_trajectory.get(trajectory, 0.35) + (0.15 if tense else -0.1)


def style_of(writing_style: str, note: str) -> str:
    """formal, text, stream, terse or casual."""
    text = f"{writing_style} {note}".lower()
    for name, pattern in (
        ("text", r"text-speak|texting|abbreviat|lower case"),
        ("stream", r"stream|wanders|rambl|as it comes"),
        ("formal", r"formal|letter style|full sentences|careful sentences"),
        ("terse", r"terse|short sentences|laconic|clipped"),
    ):
        if re.search(pattern, writing_style.lower()) or re.search(pattern, text):
            return name
    return "casual"


_TEXT_SPEAK = {
    "you": "u",
    "your": "ur",
    "are": "r",
    "please": "pls",
    "because": "bc",
    "I don't know": "idk",
    "to be honest": "tbh",
    "thanks": "thx",
    "really": "rly",
    "though": "tho",
    "okay": "k",
}
_LONG_FORMS = {
    r"\bwon't\b": "will not",
    r"\bcan't\b": "cannot",
    r"n't\b": " not",
    r"(?<=\w)'m\b": " am",
    r"(?<=\w)'re\b": " are",
    r"(?<=\w)'ve\b": " have",
    r"(?<=\w)'ll\b": " will",
}


def in_style(parts: list[str], style: str, rng: random.Random) -> str:
    """One message of sentences. Sentences that ask keep their beginning and their question mark in every style."""
    if style == "formal":
        text = " ".join(parts)
        for short, long in _LONG_FORMS.items():
            text = re.sub(short, long, text)
        cut = max(2, len(parts) // 2)
        return text if len(parts) < 6 else _paragraphs(text, cut)
    if style == "text":
        text = " ".join(parts)
        for word, short in _TEXT_SPEAK.items():
            text = re.sub(rf"\b{word}\b", short, text, flags=re.IGNORECASE)
        text = re.sub(r"\.(?= |$)", lambda _: "\n" if rng.random() < 0.4 else ".", text.lower())
        return re.sub(r"\n ?", "\n", text).strip()
    if style == "stream":
        text = parts[0]
        for before, part in pairwise(parts):
            joins = before.endswith(".") and not part.endswith("?") and rng.random() < 0.6
            if joins:
                small = (
                    part
                    if re.match(r"I\b|[A-Z][a-z]+ (?:swears|says|got|keeps|thinks|did|asked|used|took)\b", part)
                    else part[:1].lower() + part[1:]
                )
                text = f"{text[:-1]}{rng.choice([', and ', ', ', ' … ', ', well, '])}{small}"
            else:
                text += " " + part
        return text
    return " ".join(parts)


def _paragraphs(text: str, after: int) -> str:
    ends = [match.end() for match in re.finditer(r"[.?!] ", text)]
    if len(ends) <= after:
        return text
    return text[: ends[after]].rstrip() + "\n\n" + text[ends[after] :]
