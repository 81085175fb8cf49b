"""Personas, messages, exchanges and transcripts."""

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from loopreview.models.hashing import content_hash

Role = Literal["system", "user", "assistant", "tool"]
Origin = Literal["generated", "imported"]


class Message(BaseModel):
    """One message. Latency in seconds, cost in US dollars; null where unknown."""

    model_config = ConfigDict(frozen=True)

    role: Role
    text: str
    tokens: int | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    model: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """What else came with it: tool calls, a weight, `marks` (limits it broke and was kept with)."""


class Exchange(NamedTuple):
    """What the user said and the assistant's reply, numbered from 1."""

    number: int
    user: str
    assistant: str


class TopicSeed(BaseModel):
    model_config = ConfigDict(defer_build=True)

    topic: str
    subtopic: str
    complexity: str = "medium"


class Flaw(BaseModel):
    """A habit of the simulated user that makes it less than ideal; `probability` per message."""

    model_config = ConfigDict(defer_build=True)

    name: str
    level: Literal["primary", "secondary"]
    probability: float
    description: str = ""


class Persona(BaseModel):
    """Who the simulated user is."""

    model_config = ConfigDict(defer_build=True)

    id: str
    name: str
    age_range: str
    traits: list[str]
    communication_style: str
    writing_style: str
    words: tuple[int, int]
    """Words per message of the writing style, least and most."""
    style_note: str = ""
    topic_seeds: list[TopicSeed]
    flaws: list[Flaw]
    trajectory: str


class Turn(BaseModel):
    """The dice of one exchange."""

    model_config = ConfigDict(defer_build=True)

    mode: str
    flaws: list[str]


class Dice(BaseModel):
    """All dice of a transcript, rolled before its first message from (batch seed, index)."""

    model_config = ConfigDict(defer_build=True)

    seed: int
    index: int
    persona: Persona
    dimensions: dict[str, str]
    edge_case: str | None
    target_exchanges: int
    turns: list[Turn]


class Transcript(BaseModel):
    """Ordered messages with their persona. `id` is `<batch>-<number>`, such as `6-1`."""

    model_config = ConfigDict(defer_build=True)

    id: str
    batch: int
    number: int
    origin: Origin
    source: str | None = None
    """File name, `#`, and the record's id or line, for an imported one."""
    persona: dict[str, Any] | None = None
    target_exchanges: int | None = None
    dice: Dice | None = None
    messages: list[Message] = Field(default_factory=list)

    @property
    def exchanges(self) -> list[Exchange]:
        return exchanges_of(self.messages)

    @property
    def complete(self) -> bool:
        return is_complete(self.origin, self.target_exchanges, len(self.exchanges))

    @property
    def hash(self) -> str:
        return transcript_hash(self.messages)


def exchanges_of(messages: list[Message]) -> list[Exchange]:
    """The answered exchanges. An assistant that speaks first answers an empty user text; replies around
    tool calls are joined; a user message without a reply makes no exchange."""
    found: list[Exchange] = []
    user: list[str] = []
    replies: list[str] = []
    for message in messages:
        if message.role == "assistant":
            replies.append(message.text)
        elif message.role == "user":
            if replies:
                found.append(Exchange(len(found) + 1, "\n\n".join(user), "\n\n".join(filter(None, replies))))
                user, replies = [], []
            user.append(message.text)
    if replies:
        found.append(Exchange(len(found) + 1, "\n\n".join(user), "\n\n".join(filter(None, replies))))
    return found


def is_complete(origin: Origin, target_exchanges: int | None, exchanges: int) -> bool:
    """Generated: every rolled exchange is there. Imported: it names no target length, or reaches it."""
    if target_exchanges is None:
        return origin == "imported"
    return exchanges >= target_exchanges


def transcript_hash(messages: list[Message]) -> str:
    """The content of a transcript: roles and texts (and tool calls), not who made it or what it cost."""
    return content_hash([[m.role, m.text, m.extra.get("tool_calls")] for m in messages])


def persona_name(persona: dict[str, Any] | None) -> str:
    """A short name for a persona in whatever form it came, or an empty string."""
    for key in ("name", "id"):
        value = (persona or {}).get(key)
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return ""
