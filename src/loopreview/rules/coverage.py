"""What the taxonomy asks for, what the dice drew of it, and what of that was approved."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from loopreview.rules import traits
from loopreview.rules.dice import PersonaDistributions, Taxonomy
from loopreview.rules.statistics import wilson
from loopreview.rules.traits import Trait


class Row(NamedTuple):
    """One option. Shares are of all draws of its kind; `asked` is null for what is not in the taxonomy (any more)."""

    name: str
    asked: float | None
    drawn: int
    drawn_share: float | None
    approved: int
    approved_share: float | None
    interval: tuple[float, float] | None
    """Of the approved share (Wilson, 95 %)."""
    state: Literal["missing", "short", "over"] | None
    """missing: asked for, and nothing approved. short, over: the interval lies below, above what was asked."""


class Part(NamedTuple):
    """All options of one kind."""

    kind: str
    drawn: int
    approved: int
    rows: tuple[Row, ...]


def asked_for(taxonomy: Taxonomy, personas: PersonaDistributions) -> dict[str, dict[str, float]]:
    """Kind → option → the share of draws it should have in the long run. A persona's traits and topics are drawn
    without replacement, so that the most frequent come out a little below their weight."""
    edge = taxonomy.edge_cases
    wanted = {
        traits.TOPIC: {topic.name: topic.weight for topic in taxonomy.topics},
        traits.SUBTOPIC: {
            f"{topic.name}: {name}": topic.weight * share
            for topic in taxonomy.topics
            for name, share in topic.subtopics.items()
        },
        traits.COMPLEXITY: dict(taxonomy.complexity),
        **{traits.dimension(name): dict(options) for name, options in taxonomy.dimensions.items()},
        traits.TRAIT: dict(personas.traits),
        traits.AGE: dict(personas.age_ranges),
        traits.COMMUNICATION: dict(personas.communication_styles),
        traits.WRITING: {name: style.weight for name, style in personas.writing_styles.items()},
        traits.TRAJECTORY: dict(personas.trajectories),
    }
    if edge.cases:
        wanted[traits.EDGE_CASE] = {"none": 1 - edge.share, **dict.fromkeys(edge.cases, edge.share / len(edge.cases))}
    for kind, level in ((traits.PRIMARY_FLAW, "primary"), (traits.SECONDARY_FLAW, "secondary")):
        weights = {flaw.name: flaw.weight for flaw in personas.flaws if flaw.level == level}
        if total := sum(weights.values()):
            wanted[kind] = {name: weight / total for name, weight in weights.items()}
    return wanted


def coverage(
    wanted: Mapping[str, Mapping[str, float]], drawn: Iterable[Sequence[Trait]], approved: Iterable[Sequence[Trait]]
) -> list[Part]:
    """`drawn`: the traits of every transcript; `approved`: of the approved ones. Kinds that were never asked for come
    last."""
    counts: Counter[Trait] = Counter()
    good: Counter[Trait] = Counter()
    for found in drawn:
        counts.update(found)
    for found in approved:
        good.update(found)
    kinds = [*wanted, *dict.fromkeys(trait.kind for trait in counts if trait.kind not in wanted)]
    return [_part(kind, wanted.get(kind, {}), counts, good) for kind in kinds]


def _part(kind: str, wanted: Mapping[str, float], drawn: Counter[Trait], approved: Counter[Trait]) -> Part:
    draws = sum(n for trait, n in drawn.items() if trait.kind == kind)
    kept = sum(n for trait, n in approved.items() if trait.kind == kind)
    extra = sorted({trait.value for trait in drawn if trait.kind == kind} - wanted.keys())
    rows = []
    for name in (*wanted, *extra):
        trait, asked = Trait(kind, name), wanted.get(name)
        interval = wilson(approved[trait], kept)
        rows.append(
            Row(
                name,
                asked,
                drawn[trait],
                drawn[trait] / draws if draws else None,
                approved[trait],
                approved[trait] / kept if kept else None,
                interval,
                _state(asked, approved[trait], interval),
            )
        )
    return Part(kind, draws, kept, tuple(rows))


def _state(
    asked: float | None, approved: int, interval: tuple[float, float] | None
) -> Literal["missing", "short", "over"] | None:
    if asked is None or interval is None:
        return None
    if not approved:
        return "missing" if asked > 0 else None
    return "short" if interval[1] < asked else "over" if interval[0] > asked else None
