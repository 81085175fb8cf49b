"""Seeded chance: the same parts give the same draw, on any machine and in any order of calls."""

import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence

_SLOT = re.compile(r"\{(\w+)\}")
_MOST_INSIDE = re.compile(r"\[([^\[\]]*)\]")


def share(*parts: object) -> float:
    """A number from 0 up to 1 that depends on `parts` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def dice(*parts: object) -> random.Random:
    """A generator of its own for `parts`."""
    return random.Random(share(*parts))


def expand(template: str, rng: random.Random, slots: Mapping[str, str]) -> str:
    """One text of a template: `[a|b|]` is one of its alternatives (nesting allowed), `{name}` a slot, filled last
    and once, so that a quote in a slot is never taken for a template."""
    while match := _MOST_INSIDE.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    text = _SLOT.sub(lambda match: slots.get(match[1], match[0]), template)
    return " ".join(text.split())


def deal(pool: Sequence[str], key: object, turn: int, turns: int) -> list[str]:
    """`pool` in an order of its own for `key`, rotated so that each turn begins with templates that the turns before
    it did not reach."""
    deck = list(pool)
    dice("deck", key, len(deck), deck[0]).shuffle(deck)
    step = max(min(3, len(deck) - 1), len(deck) // max(1, turns), 1)
    while math.gcd(step, len(deck)) > 1:  # a step that comes by every place
        step += 1
    start = turn * step % len(deck)
    return deck[start:] + deck[:start]
