"""Hidden repeats: a transcript that a reviewer decided before is shown to them once more as if it were new, and what
they say then is compared with what they said first. A repeat measures; it changes nothing that stands.

An act of a repeat has `data["repeat"]`; the fold keeps it apart (rules/review.py)."""

from collections.abc import Iterable, Sequence
from random import Random

from loopreview.models.review import Event
from loopreview.rules.review import fold

REPEAT = "repeat"
REST = 10
"""Transcripts decided since, before one may come again: a fresh one would be remembered."""


def is_repeat(event: Event) -> bool:
    return event.data.get(REPEAT) is True


def as_new(events: Iterable[Event], reviewer: str) -> list[Event]:
    """The events of one transcript as the reviewer of a repeat sees it: others' as they are, their own first ones not
    at all, those of the repeat as if they were the first."""
    known = list(events)
    repeats = {event.id for event in known if event.reviewer == reviewer and is_repeat(event)}
    found = []
    for event in known:
        if event.reviewer != reviewer or event.target in repeats:
            found.append(event)
        elif event.id in repeats:
            data = {name: value for name, value in event.data.items() if name != REPEAT}
            found.append(event.model_copy(update={"data": data}))
    return found


def candidates(decisions: Iterable[Event], reviewer: str, *, rest: int = REST) -> list[str]:
    """The transcripts that may come again, those decided longest ago first: decided by this reviewer, not among their
    last `rest`, not repeated yet. `decisions`: their approvals and rejections with all undos and redos."""
    stands = fold(decisions).transcripts
    mine = [(review.decisions[reviewer].id, id) for id, review in stands.items() if reviewer in review.decisions]
    order = [id for _, id in sorted(mine)]
    return [id for id in order[: max(0, len(order) - rest)] if reviewer not in stands[id].repeated_decisions]


def mixed(
    waiting: Sequence[tuple[str, str]], again: Sequence[str], *, seed: str, share: float
) -> list[tuple[str, str]]:
    """`waiting` (transcript, why it is shown) with repeats among them: each waiting transcript is followed by one with
    the chance that makes repeats `share` of all that is shown, drawn by `seed`, never the first."""
    if share <= 0 or not again:
        return list(waiting)
    left = list(again)
    chance = min(1.0, share / (1 - share)) if share < 1 else 1.0
    found = []
    for id, because in waiting:
        found.append((id, because))
        if left and Random(f"repeat/{seed}/{id}").random() < chance:
            found.append((left.pop(0), REPEAT))
    return found
