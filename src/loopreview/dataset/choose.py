"""Which transcripts go into a dataset, and why the others stay out."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from loopreview.models.transcript import Transcript
from loopreview.rules.review import Decision, TranscriptReview, fold
from loopreview.store import events, revocations, transcripts
from loopreview.store.database import Store

Kind = Literal["sft", "dpo", "kto"]
_PAGE = 500


class LeftOut(NamedTuple):
    """A transcript, or one of its slices, that is not in a dataset. `why` counts those left out for the same reason."""

    transcript: str
    exchange: int | None
    why: str
    detail: str = ""

    @property
    def reason(self) -> str:
        return f"{self.why}: {self.detail}" if self.detail else self.why


class Better(NamedTuple):
    """A reply that a reviewer wrote, or drew, in place of the one of an exchange."""

    exchange: int
    text: str
    reviewer: str


class Chosen(NamedTuple):
    """A transcript that goes in, and what reviewers said of it; its messages are read again when they are needed."""

    id: str
    decision: Decision
    reviewers: tuple[str, ...]
    rubric_versions: tuple[str, ...]
    """What the rubric was when each of them decided."""
    marked: frozenset[int]
    """Exchanges whose reply was marked as bad."""
    better: tuple[Better, ...]


def choose(store: Store, kind: Kind) -> tuple[list[Chosen], list[LeftOut]]:
    """The transcripts of a dataset of this kind, and those left out, both in the order of batch and number.

    Training by example takes approved transcripts; preferences are learnt from rejected ones too, once somebody has
    decided. What is not complete, or was revoked, never goes out.
    """
    reviewed = set(events.reviewed(store))
    revoked = revocations.standing(store)
    chosen: list[Chosen] = []
    left_out: list[LeftOut] = []
    for head in _heads(store):
        review = _review(store, head.id) if head.id in reviewed else TranscriptReview()
        if head.id in revoked:
            left_out.append(LeftOut(head.id, None, "revoked"))
        elif not head.complete:
            left_out.append(
                LeftOut(head.id, None, "not complete", f"{head.exchanges} of {head.target_exchanges} exchanges")
            )
        elif review.decision is None:
            left_out.append(LeftOut(head.id, None, "not decided"))
        elif review.decision == "rejected" and kind == "sft":
            left_out.append(LeftOut(head.id, None, "rejected"))
        elif kind == "dpo" and not any(mark.data.get("better") for mark in review.marks):
            left_out.append(LeftOut(head.id, None, "no better reply was written for it"))
        else:
            chosen.append(_chosen(head.id, review.decision, review))
    return chosen, left_out


def read(store: Store, chosen: Chosen) -> Transcript:
    return transcripts.get(store, chosen.id)


def _heads(store: Store) -> Iterator[transcripts.Head]:
    after: str | None = None
    while page := transcripts.heads(store, after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


def _review(store: Store, id: str) -> TranscriptReview:
    return fold(events.of(store, id)).transcripts.get(id, TranscriptReview())


def _chosen(id: str, decision: Decision, review: TranscriptReview) -> Chosen:
    decisions = sorted(review.decisions.items())
    better = {
        (mark.data["exchange"], mark.reviewer): mark.data["better"]
        for mark in review.marks
        if isinstance(mark.data.get("exchange"), int) and isinstance(mark.data.get("better"), str)
    }
    return Chosen(
        id,
        decision,
        tuple(reviewer for reviewer, _ in decisions),
        tuple(dict.fromkeys(event.rubric_version for _, event in decisions if event.rubric_version)),
        frozenset(mark.data["exchange"] for mark in review.marks if isinstance(mark.data.get("exchange"), int)),
        tuple(Better(exchange, text, reviewer) for (exchange, reviewer), text in sorted(better.items())),
    )
