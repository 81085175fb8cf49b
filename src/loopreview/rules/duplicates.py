"""Near duplicates: transcripts that say almost the same in the same words.

Two transcripts are near duplicates where the Jaccard index of their 5-word shingles is at least 0.8, estimated from
512 hash values each (MinHash; Broder 1997). The estimate's standard deviation at 0.8 is under 0.02.
"""

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from operator import eq
from typing import Any, NamedTuple

from loopreview.models.errors import UserError
from loopreview.rules.phrases import words_of

SHINGLE_WORDS = 5
THRESHOLD = 0.8
SLOTS = 512
SIGNATURE_BYTES = 2 * SLOTS
_SEED = 1

# Pairs that agree in one of 51 bands of 10 slots are compared: 99.7 % of those at 0.8, 5 % of those at 0.5.
_ROWS = 10
_BANDS = SLOTS // _ROWS
# Most that are compared for nothing are far below the threshold: a fifth of the slots shows it (four deviations).
_FIRST, _FIRST_MARGIN = 96, 0.16


def signature(texts: Iterable[str]) -> bytes:
    """The signature of a transcript, from its messages but the system one, in their order; empty without words.

    1,024 bytes: the low 16 bits of each hash value, little-endian (b-bit MinHash; Li and König 2010). Raises UserError
    where `rensa` is not installed.
    """
    return signature_of_words([word for text in texts for word in words_of(text)])


def signature_of_words(words: Sequence[str]) -> bytes:
    """The same, from words that are folded already (`words_of`), in the order of the transcript."""
    if not words:
        return b""
    last = max(1, len(words) - SHINGLE_WORDS + 1)  # what is shorter than a shingle is one by itself
    hashes = _rensa().RMinHash(num_perm=SLOTS, seed=_SEED)
    hashes.update([" ".join(words[i : i + SHINGLE_WORDS]) for i in range(last)])
    slots = array("H", [value & 0xFFFF for value in hashes.digest()])
    if sys.byteorder == "big":
        slots.byteswap()
    return slots.tobytes()


def resemblance(one: bytes, other: bytes) -> float:
    """The estimated Jaccard index of two transcripts, from their signatures; 0 where either is empty."""
    if not one or not other:
        return 0.0
    same: int = sum(map(eq, memoryview(one).cast("H"), memoryview(other).cast("H")))
    return same / SLOTS


class Group(NamedTuple):
    """Transcripts that hang together by near duplication, each like at least one other of them."""

    transcripts: tuple[str, ...]
    jaccard: float
    """The lowest resemblance among the pairs that tie them together."""


def groups(signatures: Mapping[str, bytes], threshold: float = THRESHOLD) -> list[Group]:
    """The groups of at least two, in the order of their first id, which is the order of `signatures`.

    The same for the same signatures in whatever order they were made; an empty signature is like no other.
    """
    place = {id: i for i, id in enumerate(signatures)}
    same: dict[bytes, list[str]] = {}
    for id in sorted(signatures):
        if signatures[id]:
            same.setdefault(signatures[id], []).append(id)
    distinct = sorted(same, key=lambda found: same[found][0])
    parent = list(range(len(distinct)))
    weakest = [1.0] * len(distinct)
    for start in range(0, 2 * _BANDS * _ROWS, 2 * _ROWS):
        buckets: dict[bytes, list[int]] = {}
        for i, found in enumerate(distinct):
            buckets.setdefault(found[start : start + 2 * _ROWS], []).append(i)
        for bucket in buckets.values():
            if len(bucket) > 1:
                _tie(bucket, distinct, parent, weakest, threshold)
    joined: dict[int, list[str]] = {}
    for i, found in enumerate(distinct):
        joined.setdefault(_root(parent, i), []).extend(same[found])
    made = [
        Group(tuple(sorted(ids, key=place.__getitem__)), weakest[root]) for root, ids in joined.items() if len(ids) > 1
    ]
    return sorted(made, key=lambda group: place[group.transcripts[0]])


def _tie(bucket: list[int], found: list[bytes], parent: list[int], weakest: list[float], threshold: float) -> None:
    """Join the members of a bucket that are alike. A pair in one group already is not compared again."""
    for at, i in enumerate(bucket):
        mine = memoryview(found[i]).cast("H")
        for j in bucket[:at]:
            a, b = _root(parent, i), _root(parent, j)
            if a == b:
                continue
            other = memoryview(found[j]).cast("H")
            if sum(map(eq, mine[:_FIRST], other[:_FIRST])) < (threshold - _FIRST_MARGIN) * _FIRST:
                continue
            jaccard = sum(map(eq, mine, other)) / SLOTS
            if jaccard >= threshold:
                weakest[min(a, b)] = min(weakest[a], weakest[b], jaccard)
                parent[max(a, b)] = min(a, b)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@cache
def _rensa() -> Any:
    try:
        return import_module("rensa")
    except ImportError:
        raise UserError("near duplicates need the package rensa; install it with `pip install rensa`") from None
