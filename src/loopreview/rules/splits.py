"""Train, valid and test: whole groups of transcripts, placed by hash."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
SHARES: dict[Split, tuple[float, float]] = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}
"""Which part of [0, 1), where hashes fall evenly, belongs to each split."""


def persona_key(persona: Mapping[str, Any] | None) -> str | None:
    """What tells one persona from another: its id; the whole of it, for an imported one without id; or None."""
    if not persona:
        return None
    id = persona.get("id")
    if isinstance(id, str | int) and str(id).strip():
        return f"id {str(id).strip()}"
    return f"content {content_hash(persona)}"


def grouped(personas: Mapping[str, str | None], near: Iterable[Collection[str]]) -> dict[str, str]:
    """The group of each transcript, under a name that stays as transcripts are added after it.

    `personas`: transcript → persona key, oldest transcript first. `near`: sets of near duplicates; ids that are not in
    `personas` are passed over. A group is named by its oldest member: by that one's persona, or by its own id.
    """
    parent = {id: id for id in personas}
    place = {id: number for number, id in enumerate(personas)}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    def join(ids: Iterable[str]) -> None:
        roots = sorted({root(id) for id in ids}, key=place.__getitem__)
        for other in roots[1:]:
            parent[other] = roots[0]

    by_persona: dict[str, list[str]] = {}
    for id, persona in personas.items():
        if persona is not None:
            by_persona.setdefault(persona, []).append(id)
    for ids in by_persona.values():
        join(ids)
    for together in near:
        join([id for id in together if id in parent])
    names = {id: f"transcript {id}" if personas[id] is None else f"persona {personas[id]}" for id in personas}
    return {id: names[root(id)] for id in personas}


def placed(groups: Mapping[str, str]) -> dict[str, Split]:
    """The split of each transcript: 0.8, 0.1 and 0.1 of the groups, each where the hash of its name falls, so that
    adding a group moves no other. A split that would be empty gets the group that fell nearest to it.

    Raises UserError where there are fewer groups than splits.
    """
    where = {name: _place(name) for name in sorted(set(groups.values()))}
    missing = len(SPLITS) - len(where)
    if missing > 0:
        have = f"{len(where)} group{'s' if len(where) != 1 else ''}"
        raise UserError(
            f"{have} of transcripts (same persona, or near duplicates) cannot fill train, valid and test: "
            f"{missing} more {'is' if missing == 1 else 'are'} missing; approve transcripts of other personas"
        )
    splits: dict[str, Split] = {
        name: next((s for s in SPLITS if SHARES[s][0] <= at < SHARES[s][1]), "test") for name, at in where.items()
    }
    for empty in reversed(SPLITS):
        if empty not in splits.values():
            held = list(splits.values())
            movable = [name for name, split in splits.items() if held.count(split) > 1]
            middle = sum(SHARES[empty]) / 2
            splits[min(movable, key=lambda name: abs(where[name] - middle))] = empty
    return {id: splits[name] for id, name in groups.items()}


def leaks(splits: Mapping[str, str], personas: Mapping[str, str | None], near: Sequence[Collection[str]]) -> list[str]:
    """What would let a model be tested on what it was trained on: a persona, or near duplicates, in two splits; and
    an empty split. One line each; empty where all is well."""
    found = [f"{split} is empty" for split in SPLITS if split not in splits.values()]
    seen: dict[str, dict[str, str]] = {}
    for id, split in splits.items():
        persona = personas.get(id)
        if persona is not None:
            seen.setdefault(f"persona {persona}", {}).setdefault(split, id)
    for number, together in enumerate(near):
        for id in sorted(together):
            if id in splits:
                seen.setdefault(f"near duplicates {number + 1}", {}).setdefault(splits[id], id)
    for what, where in seen.items():
        if len(where) > 1:
            found.append(f"{what}: " + ", ".join(f"{id} in {split}" for split, id in where.items()))
    return found


def _place(name: str) -> float:
    return int(sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) / 2**32
