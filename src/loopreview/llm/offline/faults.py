"""What the simulated assistant does wrong, how often, and how often still where its prompt forbids it."""

from collections.abc import Collection
from typing import NamedTuple

from loopreview.llm.offline.chance import share


class Fault(NamedTuple):
    """`transcripts`: share of transcripts that have the habit; `replies`: share of replies that show it there;
    `strays`: share of replies that show it elsewhere."""

    transcripts: float
    replies: float
    strays: float = 0.0


FAULTS: dict[str, Fault] = {
    "question_endings": Fault(0.64, 0.94, 0.18),
    "stock_openers": Fault(0.58, 0.95, 0.06),
    "too_long": Fault(0.28, 0.92),
    "ignores_topic": Fault(0.50, 0.50, 0.01),
    "unsafe": Fault(0.14, 0.16),
    "secret": Fault(0.08, 0.16),
    "claim": Fault(0.30, 0.25),
    "asks_again": Fault(0.36, 0.30),
    "vague": Fault(0.34, 0.90),
    "muddled": Fault(0.15, 0.25),
    "cold": Fault(0.35, 0.90, 0.05),
    "caves": Fault(0.28, 0.80),
    "presume": Fault(0.16, 0.25),
    "flatter": Fault(0.18, 0.40),
    "repeats": Fault(0.18, 0.90),
    "forgets": Fault(0.18, 1.00),
    "rude": Fault(0.06, 0.20),
    "giveaway": Fault(0.22, 0.25),
    "wrong": Fault(0.12, 0.15),
}
FORBIDDEN_HABIT = 0.25
"""What is left of `transcripts` where the prompt forbids a fault."""
FORBIDDEN_STRAY = 0.3
"""What is left of `strays` there. A habit that persists shows as often as before."""


def habits(conversation: str, forbidden: Collection[str]) -> frozenset[str]:
    """The faults that run through a conversation. The draws are the same under every prompt, so that forbidding a
    fault can only take habits away."""
    return frozenset(
        name
        for name, fault in FAULTS.items()
        if share("habit", name, conversation) < fault.transcripts * (FORBIDDEN_HABIT if name in forbidden else 1)
    )


def shown(conversation: str, number: int, habit: Collection[str], forbidden: Collection[str]) -> frozenset[str]:
    """The faults of reply `number`. A habit is shown at least once within its first three replies."""
    found = set()
    for name, fault in FAULTS.items():
        rate = fault.replies if name in habit else fault.strays * (FORBIDDEN_STRAY if name in forbidden else 1)
        surely = name in habit and number == 2 + int(share("first", name, conversation) * 2)
        if surely or share("shown", name, conversation, number) < rate:
            found.add(name)
    return frozenset(found)
