"""What is known about the person behind a transcript, as plain (kind, value) pairs."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from loopreview.models.transcript import Transcript

LONGEST = 80
"""Characters of a value; a longer one is a text about this one persona, not a trait that others share."""

TOPIC, SUBTOPIC, COMPLEXITY, EDGE_CASE, TRAIT = "topic", "subtopic", "complexity", "edge case", "trait"
AGE, COMMUNICATION, WRITING, TRAJECTORY = "age range", "communication style", "writing style", "trajectory"
PRIMARY_FLAW, SECONDARY_FLAW = "primary flaw", "secondary flaw"


class Trait(NamedTuple):
    """`kind`: what it is about, such as `topic`, `writing style` or `dimension who`."""

    kind: str
    value: str


# An imported persona stays as it came: the names that others use for the same thing.
_LISTS = {TRAIT: ("traits", "personality_traits"), PRIMARY_FLAW: ("flaws", "flaw_patterns")}
_SCALARS = {
    AGE: ("age_range", "age"),
    COMMUNICATION: ("communication_style",),
    WRITING: ("writing_style",),
    TRAJECTORY: ("trajectory",),
}
_SEEDS = ("topic_seeds", "topics")
_OTHER = ("id", "name", "seed", "style_note", "description", "words")


def traits_of(transcript: Transcript) -> list[Trait]:
    """The traits, topics and dimensions of a transcript; a topic twice where two of its subtopics were drawn."""
    found = [*_persona(transcript.persona or {})]
    if transcript.dice is not None:
        found += [Trait(dimension(name), option) for name, option in transcript.dice.dimensions.items()]
        found.append(Trait(EDGE_CASE, transcript.dice.edge_case or "none"))
    return found


def dimension(name: str) -> str:
    """The kind of a dimension of the taxonomy, whatever it is called."""
    return f"dimension {name}"


def _persona(persona: Mapping[str, Any]) -> Iterable[Trait]:
    known = {*_SEEDS, *_OTHER}
    for kind, names in _SCALARS.items():
        known |= set(names)
        for name in names:
            yield from _one(kind, persona.get(name))
    for kind, names in _LISTS.items():
        known |= set(names)
        for name in names:
            for item in _items(persona.get(name)):
                yield from _listed(kind, item)
    for name in _SEEDS:
        for item in _items(persona.get(name)):
            yield from _seed(item)
    for name, value in persona.items():
        if isinstance(name, str) and name not in known and len(name) <= LONGEST:
            yield from _one(name.replace("_", " "), value)


def _one(kind: str, value: Any) -> Iterable[Trait]:
    if isinstance(value, str) and 0 < len(value.strip()) <= LONGEST:
        yield Trait(kind, value.strip())


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed(kind: str, item: Any) -> Iterable[Trait]:
    if isinstance(item, Mapping):
        kind = SECONDARY_FLAW if kind == PRIMARY_FLAW and item.get("level") == "secondary" else kind
        item = item.get("name")
    yield from _one(kind, item)


def _seed(item: Any) -> Iterable[Trait]:
    if not isinstance(item, Mapping):
        yield from _one(TOPIC, item)
        return
    topic = next((item[name] for name in ("topic", "category", "name") if isinstance(item.get(name), str)), None)
    for trait in _one(TOPIC, topic):
        yield trait
        for subtopic in _one(SUBTOPIC, item.get("subtopic")):
            yield Trait(SUBTOPIC, f"{trait.value}: {subtopic.value}")
    yield from _one(COMPLEXITY, item.get("complexity"))
