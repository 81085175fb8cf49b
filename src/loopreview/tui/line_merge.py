"""Taking in what somebody else changed in a file, line by line, without touching what was changed here."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

Place = tuple[int, int]


class Change(NamedTuple):
    """Lines `start` to `end` (from 0, `end` not among them) become `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


def changes(before: Sequence[str], after: Sequence[str]) -> list[Change]:
    """What turns `before` into `after`, from top to bottom."""
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    return [Change(i, j, tuple(after[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def merge(base: Sequence[str], mine: Sequence[str], theirs: Sequence[str]) -> list[Change] | None:
    """The changes to `mine` that bring in what `theirs` changed since `base`; None where both changed the same or
    neighbouring lines in different ways."""
    own = changes(base, mine)
    found: list[Change] = []
    for change in changes(base, theirs):
        if change in own:
            continue
        if any(change.start <= other.end and other.start <= change.end for other in own):
            return None
        shift = sum(len(other.lines) - (other.end - other.start) for other in own if other.end <= change.start)
        found.append(change._replace(start=change.start + shift, end=change.end + shift))
    return found


def apply(lines: Sequence[str], found: Sequence[Change]) -> list[str]:
    """`lines` with these changes made."""
    made = list(lines)
    for change in reversed(found):
        made[change.start : change.end] = change.lines
    return made


def replacement(lines: Sequence[str], change: Change) -> tuple[str, Place, Place]:
    """A change as an edit of text: what to put, from and to which (row, column)."""
    text = "\n".join(change.lines)
    if change.end < len(lines):
        return (text + "\n" if change.lines else ""), (change.start, 0), (change.end, 0)
    end = (len(lines) - 1, len(lines[-1])) if lines else (0, 0)
    if change.start == 0:
        return text, (0, 0), end
    start = (change.start - 1, len(lines[change.start - 1]))
    return ("\n" + text if change.lines else ""), start, end
