"""All chance of a transcript, rolled before its first message."""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from loopreview.models.settings import Settings
from loopreview.models.transcript import Dice, Flaw, Persona, TopicSeed, Turn
from loopreview.rules.documents import Document, DocumentError, Path, Problem, build, read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T")


def _equal_shares(value: Any) -> Any:
    """A list of names means that each is as likely as the others."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        if len(set(value)) < len(value):
            raise ValueError("a subtopic is here twice; name each once")
        return {item: 1 / len(value) for item in value}
    return value


class Topic(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1)
    weight: Share
    subtopics: Annotated[dict[str, Share], BeforeValidator(_equal_shares), Field(min_length=1)]
    """Name → share within the topic; a plain list gives equal shares."""


class EdgeCases(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    share: Share = 0.15
    """Share of transcripts with an edge case."""
    cases: tuple[str, ...] = ()


def _in_order(value: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= value[0] <= value[1]:
        raise ValueError(f"[{value[0]}, {value[1]}] must be two whole numbers from 1, the smaller first")
    return value


class Taxonomy(BaseModel):
    """`taxonomy.yaml`: what the simulated users talk about."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    topics: tuple[Topic, ...] = Field(min_length=1)
    dimensions: dict[str, dict[str, Share]] = Field(default_factory=dict)
    complexity: dict[str, Share] = Field(default_factory=lambda: {"easy": 0.3, "medium": 0.5, "hard": 0.2})
    topics_per_persona: tuple[int, int] = (2, 4)
    """Fewest and most topics of a persona, each number as likely as the others."""
    edge_cases: EdgeCases = EdgeCases()

    _ordered = field_validator("topics_per_persona")(_in_order)


class WritingStyle(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    weight: Share
    words: tuple[int, int]
    """Words per message, least and most."""
    description: str = ""

    _ordered = field_validator("words")(_in_order)


class FlawKind(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1)
    level: Literal["primary", "secondary"]
    weight: Share
    description: str = ""


class PersonaDistributions(BaseModel):
    """`personas.yaml`: who the simulated users are."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    names: tuple[str, ...] = Field(min_length=1)
    age_ranges: dict[str, Share] = Field(min_length=1)
    traits: dict[str, Share] = Field(min_length=2)
    communication_styles: dict[str, Share] = Field(min_length=1)
    writing_styles: dict[str, WritingStyle] = Field(min_length=1)
    flaws: tuple[FlawKind, ...] = ()
    trajectories: dict[str, Share] = Field(
        default_factory=lambda: {"volatile": 0.25, "improving": 0.25, "deteriorating": 0.25, "stable": 0.25}
    )


def read_taxonomy(text: str, where: str) -> Taxonomy:
    """Raises DocumentError, also for weights that do not sum to 1."""
    document = read_yaml(text, where)
    taxonomy = build(Taxonomy, document)
    sums: list[tuple[Path, str, Iterable[float]]] = [
        (("topics",), "the weights of the topics", (t.weight for t in taxonomy.topics)),
        (("complexity",), "the shares of complexity", taxonomy.complexity.values()),
    ]
    sums += [
        (("topics", i, "subtopics"), f"the shares of the subtopics of {t.name}", t.subtopics.values())
        for i, t in enumerate(taxonomy.topics)
    ]
    sums += [(("dimensions", name), f"the weights of {name}", d.values()) for name, d in taxonomy.dimensions.items()]
    _refuse(document, [*_wrong_sums(document, sums), *_repeated(document, "topics", [t.name for t in taxonomy.topics])])
    return taxonomy


def read_personas(text: str, where: str) -> PersonaDistributions:
    """Raises DocumentError, also for weights that do not sum to 1."""
    document = read_yaml(text, where)
    personas = build(PersonaDistributions, document)
    sums: list[tuple[Path, str, Iterable[float]]] = [
        (("age_ranges",), "the weights of age_ranges", personas.age_ranges.values()),
        (("traits",), "the weights of traits", personas.traits.values()),
        (("communication_styles",), "the weights of communication_styles", personas.communication_styles.values()),
        (("writing_styles",), "the weights of writing_styles", (s.weight for s in personas.writing_styles.values())),
        (("trajectories",), "the weights of trajectories", personas.trajectories.values()),
    ]
    if personas.flaws:
        sums.append((("flaws",), "the weights of the flaws", (f.weight for f in personas.flaws)))
    _refuse(document, [*_wrong_sums(document, sums), *_repeated(document, "flaws", [f.name for f in personas.flaws])])
    return personas


def _wrong_sums(document: Document, sums: Iterable[tuple[Path, str, Iterable[float]]]) -> list[Problem]:
    totals = [(path, what, sum(shares)) for path, what, shares in sums]
    return [
        document.problem(path, f"{what} sum to {total:.6g}, not 1")
        for path, what, total in totals
        if abs(total - 1) > 1e-6
    ]


def _repeated(document: Document, key: str, names: Sequence[str]) -> list[Problem]:
    return [
        document.problem((key, i), f"{name} is in {key} twice; name each once")
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _refuse(document: Document, problems: Collection[Problem]) -> None:
    if problems:
        raise DocumentError(document.where, list(problems))


def roll(seed: int, index: int, taxonomy: Taxonomy, personas: PersonaDistributions, settings: Settings) -> Dice:
    """All dice of transcript `index` (from 1) of the batch with `seed`.

    Each part has a stream of its own, drawn in this order from (seed, index): a change to one part's distributions
    leaves the others as they were, and a part added at the end disturbs none before it.
    """
    source = random.Random(f"{seed}/{index}")

    def stream() -> random.Random:
        return random.Random(source.getrandbits(64))

    persona = _persona(f"p{seed}-{index}", [stream() for _ in range(8)], taxonomy, personas, settings)
    chance = stream()
    dimensions = {name: _pick(chance, options) for name, options in taxonomy.dimensions.items()}
    target_exchanges = _between(stream(), settings.exchanges)
    chance = stream()
    edge_case = None
    if chance.random() < taxonomy.edge_cases.share and taxonomy.edge_cases.cases:
        edge_case = _one_of(chance, taxonomy.edge_cases.cases)
    chance = stream()
    turns = [_turn(chance, persona.flaws, settings.response_modes) for _ in range(target_exchanges)]
    return Dice(
        seed=seed, index=index, persona=persona, dimensions=dimensions, edge_case=edge_case,
        target_exchanges=target_exchanges, turns=turns,
    )  # fmt: skip


def _persona(
    id: str,
    streams: list[random.Random],
    taxonomy: Taxonomy,
    personas: PersonaDistributions,
    settings: Settings,
) -> Persona:
    naming, age, traits, communication, writing, topics, flaws, trajectory = streams
    styles = personas.writing_styles
    style = _pick(writing, {name: s.weight for name, s in styles.items()})
    return Persona(
        id=id,
        name=_one_of(naming, personas.names),
        age_range=_pick(age, personas.age_ranges),
        traits=_several(traits, personas.traits, _between(traits, (2, 4))),
        communication_style=_pick(communication, personas.communication_styles),
        writing_style=style,
        words=styles[style].words,
        style_note=styles[style].description,
        topic_seeds=_topics(topics, taxonomy),
        flaws=_flaws(flaws, personas.flaws, settings),
        trajectory=_pick(trajectory, personas.trajectories),
    )


def _topics(chance: random.Random, taxonomy: Taxonomy) -> list[TopicSeed]:
    """Different (topic, subtopic) pairs, as many as were rolled or as there are."""
    pairs = {(t.name, sub): t.weight * share for t in taxonomy.topics for sub, share in t.subtopics.items()}
    wanted = _between(chance, taxonomy.topics_per_persona)
    return [
        TopicSeed(topic=topic, subtopic=subtopic, complexity=_pick(chance, taxonomy.complexity))
        for topic, subtopic in _several(chance, pairs, wanted)
    ]


def _flaws(chance: random.Random, kinds: Sequence[FlawKind], settings: Settings) -> list[Flaw]:
    """None for a flawless persona; else one primary and up to two secondary ones, where there are any."""
    if chance.random() < settings.flawless_share:
        return []
    found = []
    for level, most in (("primary", 1), ("secondary", 2)):
        known = {kind: kind.weight for kind in kinds if kind.level == level}
        number = 1 if level == "primary" else _between(chance, (0, most))
        found += [
            Flaw(
                name=kind.name,
                level=kind.level,
                probability=settings.flaw_probability.get(kind.level, 0.0),
                description=kind.description,
            )
            for kind in _several(chance, known, number)
        ]
    return found


def _turn(chance: random.Random, flaws: Sequence[Flaw], modes: Mapping[str, float]) -> Turn:
    mode = _pick(chance, modes)
    return Turn(mode=mode, flaws=[flaw.name for flaw in flaws if chance.random() < flaw.probability])


def _pick(chance: random.Random, weights: Mapping[T, float]) -> T:
    """One key, by its weight; weights need not sum to 1. Takes one draw."""
    point = chance.random() * sum(weights.values())
    likely = [(key, weight) for key, weight in weights.items() if weight > 0] or list(weights.items())
    for key, weight in likely:
        point -= weight
        if point < 0:
            return key
    return likely[-1][0]


def _several(chance: random.Random, weights: Mapping[T, float], number: int) -> list[T]:
    """Up to `number` different keys of weight above 0, drawn one after another by weight."""
    left = {key: weight for key, weight in weights.items() if weight > 0}
    found: list[T] = []
    while left and len(found) < number:
        found.append(_pick(chance, left))
        del left[found[-1]]
    return found


def _one_of(chance: random.Random, options: Sequence[T]) -> T:
    return options[int(chance.random() * len(options))]


def _between(chance: random.Random, limits: tuple[int, int]) -> int:
    return limits[0] + int(chance.random() * (limits[1] - limits[0] + 1))
