"""How a reply is built: headers and list items."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

SAME_ABOVE = 3
"""Every reply with the same number of headers, or of list items, and more than this: a template shines through."""
HEADER_CHARS = 60

_HEADER = re.compile(r"^[ ]{0,3}(?:#{1,6}[ \t]+([^\n]+)|(?:\*\*|__)([^*\n_][^*\n]*?)(?:\*\*|__))", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*+•‣–][ \t]+|\(?[0-9]{1,2}[.)][ \t]+)\S", re.MULTILINE)


class Built(NamedTuple):
    """Of one reply."""

    headers: tuple[str, ...]
    """Lines with #, or bold text at the start of a line; in small letters, without marks at the end."""
    items: int
    """List items."""


def built(reply: str) -> Built:
    headers: tuple[str, ...] = ()
    if "#" in reply or "**" in reply or "__" in reply:
        headers = tuple(_plain(marked or bold) for marked, bold in _HEADER.findall(reply))
    return Built(headers, len(_ITEM.findall(reply)))


def _plain(header: str) -> str:
    return header.strip("#*_ \t").rstrip(":.!?… \t").casefold()[:HEADER_CHARS]


class Sameness(NamedTuple):
    """Over the replies of a set."""

    most_have: int
    """The number that most replies have; the lower of two that are as frequent."""
    replies: int
    """Replies that have it."""
    share: float
    rigid: bool
    """All replies have it, and it is above 3. A single reply is no rule."""


def sameness(counts: Iterable[int]) -> Sameness:
    """How alike the replies are in one number each."""
    found = Counter(counts)
    total = found.total()
    if not total:
        return Sameness(0, 0, 0.0, False)
    usual = min(found, key=lambda n: (-found[n], n))
    rigid = total > 1 and found[usual] == total and usual > SAME_ABOVE
    return Sameness(usual, found[usual], found[usual] / total, rigid)
