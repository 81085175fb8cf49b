"""What reviewers said, as a fold over their events."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from loopreview.models.review import Event
from loopreview.models.verdict import Assessment, JudgeAnswer
from loopreview.rules.merge import NEGATIVE

Decision = Literal["approved", "rejected"]


@dataclass
class TranscriptReview:
    """What stands about one transcript, undone acts left out."""

    answers: dict[str, dict[str, Event]] = field(default_factory=dict)
    """criterion -> reviewer -> the last answer, blind or not: the one that counts."""
    blind: dict[str, dict[str, Event]] = field(default_factory=dict)
    """criterion -> reviewer -> the last answer given blind."""
    decisions: dict[str, Event] = field(default_factory=dict)
    """reviewer -> the last approval or rejection."""
    gaps: list[Event] = field(default_factory=list)
    blames: list[Event] = field(default_factory=list)
    notes: list[Event] = field(default_factory=list)
    marks: list[Event] = field(default_factory=list)
    repeats: dict[str, dict[str, Event]] = field(default_factory=dict)
    """criterion -> reviewer -> the last answer of a hidden repeat, which counts nowhere else."""
    repeated_decisions: dict[str, Event] = field(default_factory=dict)
    """reviewer -> the last decision of a hidden repeat."""

    def effective_answer(self, criterion: str) -> tuple[JudgeAnswer | None, bool]:
        """The answer that more than half of the reviewers give, and whether they contest it; (None, False) where
        nobody answered."""
        return majority([event.answer for event in self.answers.get(criterion, {}).values() if event.answer])

    @property
    def decision(self) -> Decision | None:
        """Rejected while any rejection stands, else approved with at least one approval."""
        kinds = {event.kind for event in self.decisions.values()}
        if "reject" in kinds:
            return "rejected"
        return "approved" if "approve" in kinds else None

    @property
    def changes_of_mind(self) -> int:
        """How many answers given blind were answered otherwise in the end."""
        return sum(
            self.answers[criterion][reviewer].answer != event.answer
            for criterion, given in self.blind.items()
            for reviewer, event in given.items()
        )


@dataclass
class Review:
    """Everything that stands."""

    transcripts: dict[str, TranscriptReview] = field(default_factory=dict)
    contents: dict[int, dict[str, bool]] = field(default_factory=dict)
    """batch -> reviewer -> satisfied with it."""
    undone: frozenset[int] = frozenset()
    """Ids of the acts that are taken back."""


class Flags(NamedTuple):
    """Where people and the merged answers differ."""

    false_positive: list[str]
    """Criteria judged YES that reviewers answer NO."""
    false_negative: list[str]
    """Criteria judged NO that reviewers answer YES."""
    na: list[str]
    """Criteria where one side says NA and the other YES or NO."""
    gaps: int
    transcript_false_positive: bool
    """Judged a pass, and rejected."""
    transcript_false_negative: bool
    """Judged a fail, and approved."""


def majority(answers: Iterable[JudgeAnswer]) -> tuple[JudgeAnswer | None, bool]:
    """The answer of more than half, and whether there are answers but no such majority."""
    votes = Counter(answers)
    if not votes:
        return None, False
    answer, count = votes.most_common(1)[0]
    return (answer, False) if 2 * count > votes.total() else (None, True)


def fold(events: Iterable[Event]) -> Review:
    """What stands after these events, in the order of their ids. An undo takes back its target, a redo brings it
    back; only acts of the same reviewer can be taken back."""
    ordered = sorted(events, key=lambda event: event.id)
    undone = _undone(ordered)
    review = Review(undone=undone)
    for event in ordered:
        if event.kind in ("undo", "redo") or event.id in undone:
            continue
        if event.kind == "content":
            if event.batch is not None:
                review.contents.setdefault(event.batch, {})[event.reviewer] = event.data.get("yes") is True
        elif event.transcript is not None:
            _add(review.transcripts.setdefault(event.transcript, TranscriptReview()), event)
    return review


def _undone(ordered: list[Event]) -> frozenset[int]:
    acts = {event.id: event for event in ordered if event.kind not in ("undo", "redo") and event.id}
    undone: set[int] = set()
    for event in ordered:
        if event.kind not in ("undo", "redo") or event.target is None:
            continue
        act = acts.get(event.target)
        if act is None or act.reviewer != event.reviewer or act.id > event.id:
            continue
        if event.kind == "undo":
            undone.add(act.id)
        else:
            undone.discard(act.id)
    return frozenset(undone)


def _add(transcript: TranscriptReview, event: Event) -> None:
    if event.data.get("repeat") is True:
        if event.kind == "answer" and event.criterion is not None:
            transcript.repeats.setdefault(event.criterion, {})[event.reviewer] = event
        elif event.kind in ("approve", "reject"):
            transcript.repeated_decisions[event.reviewer] = event
        return
    match event.kind:
        case "answer" if event.criterion is not None and event.answer is not None:
            transcript.answers.setdefault(event.criterion, {})[event.reviewer] = event
            if event.blind:
                transcript.blind.setdefault(event.criterion, {})[event.reviewer] = event
        case "approve" | "reject":
            transcript.decisions[event.reviewer] = event
        case "gap":
            transcript.gaps.append(event)
        case "blame":
            transcript.blames.append(event)
        case "note":
            transcript.notes.append(event)
        case "mark":
            transcript.marks.append(event)


def undo_target(events: Iterable[Event], reviewer: str) -> Event | None:
    """The reviewer's last act that still stands, which an undo would take back."""
    done, _ = _history(events, reviewer)
    return done[-1] if done else None


def redo_target(events: Iterable[Event], reviewer: str) -> Event | None:
    """The act that a redo would bring back: the one last undone, if the reviewer has done nothing new since."""
    _, undone = _history(events, reviewer)
    return undone[-1] if undone else None


def _history(events: Iterable[Event], reviewer: str) -> tuple[list[Event], list[Event]]:
    """The reviewer's acts that stand, and those that can be redone, last one last."""
    done: list[Event] = []
    undone: list[Event] = []
    for event in sorted(events, key=lambda event: event.id):
        if event.reviewer != reviewer:
            continue
        if event.kind not in ("undo", "redo"):
            done.append(event)
            undone.clear()
            continue
        source, goal = (done, undone) if event.kind == "undo" else (undone, done)
        act = next((act for act in source if act.id == event.target), None)
        if act is not None:
            source.remove(act)
            goal.append(act)
    return done, undone


def flags(assessment: Assessment, review: TranscriptReview | None) -> Flags:
    """Compare what was judged with what people say. Open, skipped and contested criteria have no flag."""
    found = Flags([], [], [], len(review.gaps) if review else 0, False, False)
    if review is None:
        return found
    for criterion, merged in assessment.merged.items():
        person, _ = review.effective_answer(criterion)
        if person is None or merged is None or merged == "SKIPPED":
            continue
        if person == "NA":
            if merged not in ("NA", "INVALID_NA"):
                found.na.append(criterion)
        elif merged == "NA":
            found.na.append(criterion)
        elif merged == "YES" and person == "NO":
            found.false_positive.append(criterion)
        elif merged in NEGATIVE and person == "YES":
            found.false_negative.append(criterion)
    return found._replace(
        transcript_false_positive=assessment.judged is True and review.decision == "rejected",
        transcript_false_negative=assessment.judged is False and review.decision == "approved",
    )
