"""What the simulated user reads of its persona, topics and turn, and how a conversation unfolds from them."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopreview.llm.offline import reading, talk
from loopreview.llm.offline.chance import dice, expand, share
from loopreview.llm.offline.domain import Domain, Matter, choose


class Topic(NamedTuple):
    topic: str
    subtopic: str

    @property
    def name(self) -> str:
        """Without its article: "the self" is "self"."""
        return re.sub(r"^(?:the|an?)\s+", "", self.topic)


class Scene(NamedTuple):
    """Everything one message is made from."""

    key: str
    """Persona and topics: the same in every message of a conversation."""
    domain: Domain
    topics: list[Topic]
    dimensions: dict[str, str]
    edge_case: str
    trajectory: str
    style: str
    words: tuple[int, int]
    number: int
    total: int
    mode: str
    flaws: list[str]
    last_reply: str
    own: str
    """The messages written so far, in plain words."""

    def matter(self, topic: Topic) -> Matter:
        return self.domain.matter(f"{topic.topic} {topic.subtopic}")

    @property
    def known(self) -> list[Topic]:
        """The topics raised so far, this message included."""
        return [topic for topic, start in zip(self.topics, self._starts, strict=True) if start <= self.number]

    @property
    def fresh(self) -> list[Topic]:
        """The topics raised in this message."""
        return [topic for topic, start in zip(self.topics, self._starts, strict=True) if start == self.number]

    @property
    def current(self) -> list[Topic]:
        """The one or two topics of this message."""
        fresh, known = self.fresh, self.known
        jumps = any(re.search(r"jump|second problem|changes the task", flaw) for flaw in self.flaws)
        main = fresh[0] if fresh else known[int(share("main", self.key, self.number) * len(known))]
        others = [topic for topic in (*fresh[1:], *known) if topic != main]
        second = bool(others) and (len(fresh) > 1 or jumps or share("second", self.key, self.number) < 0.45)
        return [main, others[0]] if second and self.words[1] >= 75 else [main]

    @property
    def _starts(self) -> list[int]:
        """The exchange in which each topic is first raised: spread over the first two thirds, sometimes two at once."""
        starts = [1 + round(i * self.total * 0.66 / len(self.topics)) for i in range(len(self.topics))]
        if share("both at once", self.key) < 0.5 and len(starts) > 1:
            starts[1] = 1
        return starts

    @property
    def upset(self) -> bool:
        presentation = self.dimensions.get("presentation", "")
        mood = talk.mood(self.key, self.trajectory, presentation, self.number, self.total)
        return share("upset", self.key, self.number) < mood

    def told(self, template: str, rng: random.Random, matter: Matter, **more: str) -> str:
        """A sentence of this conversation: its names and things stay the same from message to message."""
        slots = {**more, **talk.details(self.key), "day": rng.choice(talk.days(self.key))}
        slots["thing"] = dice("thing", self.key, matter.keys).choice(matter.things)
        text = expand(template, rng, slots)
        return text[:1].upper() + text[1:]


def read_scene(messages: Sequence[Mapping[str, str]]) -> Scene:
    """From the messages as `rules/prompts.py` makes them; with sensible values where a block is missing."""
    found = reading.blocks(messages)
    persona = reading.fields(found.get("persona", ""))
    turn = reading.fields(found.get("turn", ""))
    topics, dimensions = _topics(found.get("topics", ""))
    count = re.search(r"(\d+)\s+of\s+(\d+)", turn.get("exchange", ""))
    own = [str(m.get("content") or "") for m in messages if m.get("role") == "assistant"]
    replies = [str(m.get("content") or "") for m in messages if m.get("role") == "user"]
    flaws = turn.get("flaws now", "none").strip()
    prompt = str(messages[0].get("content") or "") if messages else ""
    words = reading.number_range(turn.get("words", "")) or reading.number_range(persona.get("writing style", ""))
    return Scene(
        key=found.get("persona", "") + found.get("topics", ""),
        domain=choose([found.get("topics", ""), prompt]),
        topics=topics or [Topic("matter", "it is not easy to say")],
        edge_case=dimensions.pop("edge case", ""),
        dimensions=dimensions,
        trajectory=persona.get("trajectory", "stable").strip(),
        style=talk.style_of(persona.get("writing style", ""), persona.get("style note", "")),
        words=words or (40, 90),
        number=int(count[1]) if count else len(own) + 1,
        total=int(count[2]) if count else max(8, len(own) + 1),
        mode=re.split(r"[:\s]", turn.get("mode", "engage").strip() or "engage")[0],
        flaws=[] if flaws.lower() in ("", "none") else [flaw.strip() for flaw in flaws.split(";")],
        last_reply=reading.without_blocks(replies[-1]) if own and replies else "",
        own=reading.normalised(" ".join(own)),
    )


def _topics(body: str) -> tuple[list[Topic], dict[str, str]]:
    topics, other = [], {}
    for line in body.splitlines():
        if match := re.match(r"\s*-\s*(.+?):\s*(.+?)\s*(?:\(\w+\))?\s*$", line):
            topics.append(Topic(match[1].replace("_", " "), first_person(match[2].replace("_", " "))))
        elif match := re.match(r"\s*([^:]+):\s*(.+)$", line):
            other[match[1].strip().lower()] = match[2].strip()
    return topics, other


_VERB = r"(want|ask|offer|demand|describe|say|tell|write|fear|let|paste|need|hope)s\b"


def first_person(text: str) -> str:
    """ "wants to pause it for their mother" → "I want to pause it for my mother"."""
    text = re.sub(r"\bthemselves\b", "myself", re.sub(r"\btheir\b", "my", re.sub(r"\bthey\b", "I", text)))
    text = re.sub(r"^does not\b", "I don't", re.sub(r"^is (?=in |certain |sitting )", "I am ", text))
    return re.sub(rf"(?<= and ){_VERB}", r"\1", re.sub(rf"^{_VERB}", r"I \1", text))
