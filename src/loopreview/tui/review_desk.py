"""The logic of reviewing, without a screen: where the reviewer is, what a key does, what is said back.

A judgment changes nothing here before the books have it: an act that cannot be stored leaves the desk as it was, with
the reason as its hint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from loopreview.models.errors import UserError
from loopreview.models.review import Event, EventKind
from loopreview.models.verdict import JudgeAnswer
from loopreview.tui.guard import Guard
from loopreview.tui.sheet import Sheet, Stop, counted
from loopreview.workspace import DATABASE

Tone = Literal["plain", "flag", "error"]
DONE = {"approve": "approved", "reject": "rejected"}


class Books(Protocol):
    """Where the desk reads and writes."""

    reviewer: str

    def queue(self) -> list[tuple[str, str]]:
        """(transcript, why it is shown), in the order to read."""

    def sheet(self, transcript: str, because: str) -> Sheet: ...

    def record(self, sheet: Sheet, kind: EventKind, **fields: Any) -> list[str]:
        """Commit one act, renew the sheet's `review` and `assessment`, return warnings. Raises UserError."""

    def renew(self, sheet: Sheet) -> None:
        """Read anew what was said about the sheet's transcript."""

    def undo(self) -> Event | None: ...

    def redo(self) -> Event | None: ...


@dataclass(frozen=True)
class Hint:
    """What the line above the footer says until the next key."""

    text: str
    tone: Tone = "plain"


def reason(error: UserError) -> str:
    """What went wrong, without the path of the database: it would fill the line, and there is only one."""
    text = str(error)
    return text.partition(f"{DATABASE}: ")[2] or text


class Desk:
    """One reviewer at one queue."""

    def __init__(self, books: Books, *, guard: Guard | None = None, share_shown: Callable[[], float] = lambda: 0.0):
        """`share_shown`: how much of the open transcript was in view, 0 to 1."""
        self.books = books
        self.guard = guard or Guard(on=False)
        self.share_shown = share_shown
        self.queue: list[tuple[str, str]] = []
        self.sheet: Sheet | None = None
        self.cursor = ""
        self.quote = 0
        self.opened: list[str] = []
        self.hint: Hint | None = None
        self.blind = False
        self.drafts: dict[str, str] = {}
        """What was typed into a dialog and not saved."""
        self._opened_at = 0.0
        self._decided: dict[str, bool] = {}

    # Where we are

    @property
    def me(self) -> str:
        return self.books.reviewer

    @property
    def rows(self) -> list[str]:
        """All criteria in the order of this transcript: those to answer, then the others."""
        return [*self.to_answer, *self.not_asked]

    @property
    def to_answer(self) -> list[str]:
        if self.sheet is None:
            return []
        if self.blind:
            return [c.id for c in self.sheet.rubric.criteria if c.kind == "judged"]
        return list(self.sheet.to_answer)

    @property
    def not_asked(self) -> list[str]:
        asked = set(self.to_answer)
        if self.sheet is None:
            return []
        if self.blind:
            return [c.id for c in self.sheet.rubric.criteria if c.id not in asked]
        return list(self.sheet.not_asked)

    @property
    def left(self) -> list[str]:
        """Criteria to answer that I have not answered."""
        return [criterion for criterion in self.to_answer if not self.mine(criterion)]

    @property
    def number(self) -> int:
        """Place of the open transcript in the queue, from 1; 0 where it is not in it."""
        ids = [id for id, _ in self.queue]
        return ids.index(self.sheet.id) + 1 if self.sheet and self.sheet.id in ids else 0

    @property
    def stops(self) -> list[Stop]:
        """The quotes of the criterion here; none while blind."""
        return [] if self.sheet is None or self.blind or not self.cursor else self.sheet.stops(self.cursor)

    @property
    def stop(self) -> Stop | None:
        stops = self.stops
        return stops[self.quote % len(stops)] if stops else None

    def mine(self, criterion: str) -> str | None:
        return self.sheet.mine(criterion, self.me) if self.sheet else None

    def merged(self, criterion: str) -> str | None:
        """What counts as the judges' answer, null where there is none or while blind."""
        return None if self.sheet is None or self.blind else counted(self.sheet.assessment.merged.get(criterion))

    def my_decision(self) -> str | None:
        event = self.sheet.review.decisions.get(self.me) if self.sheet else None
        return event.kind if event else None

    def flag(self, criterion: str) -> str | None:
        """How my answer differs from the judges': false positive, false negative, or in words."""
        mine, merged = self.mine(criterion), self.merged(criterion)
        if mine is None or merged is None or mine == merged:
            return None
        names = {("YES", "NO"): "false positive", ("NO", "YES"): "false negative"}
        return names.get((merged, mine), f"judges {merged}, I say {mine}")

    # Opening

    def start(self, *, at: float = 0.0, transcript: str = "", criterion: str = "") -> None:
        """Read the queue and open `transcript`, or the first that waits."""
        self.queue = self.books.queue()
        first = transcript or next((id for id, _ in self.queue), "")
        if not first:
            self.sheet, self.cursor = None, ""
            return
        if first not in dict(self.queue):
            self.queue.insert(0, (first, "asked for"))
        self.open(first, at=at)
        if criterion in self.rows:
            self.go_to(criterion)

    def reorder(self) -> None:
        """Read the queue anew and stay where we are."""
        open_one = [entry for entry in self.queue if self.sheet and entry[0] == self.sheet.id]
        found = self.books.queue()
        here = {id for id, _ in found}
        self.queue = [*(entry for entry in open_one if entry[0] not in here), *found]

    def open(self, transcript: str, *, at: float = 0.0) -> bool:
        """Open a transcript at its first criterion to answer; False (and the reason as hint) where that fails."""
        because = dict(self.queue).get(transcript, "asked for")
        try:
            sheet = self.books.sheet(transcript, because)
        except UserError as error:
            self.hint = Hint(str(error), "error")
            return False
        self.sheet = sheet
        self.opened = []
        self._opened_at = at
        self.guard.opened(at)
        rows = self.rows
        first = next(iter(self.left), None) or next(iter(self.not_asked), None) or next(iter(rows), "")
        self.go_to(first)
        return True

    def go_to(self, criterion: str) -> None:
        self.cursor, self.quote = criterion, 0
        if criterion and criterion not in self.opened:
            self.opened.append(criterion)

    def move(self, step: int) -> None:
        """To the next or last criterion; stays at the ends."""
        self.hint = None
        rows = self.rows
        if self.cursor in rows:
            self.go_to(rows[max(0, min(len(rows) - 1, rows.index(self.cursor) + step))])

    def move_transcript(self, step: int, *, at: float = 0.0) -> bool:
        """To the next or last transcript of the queue; False at its ends."""
        self.hint = None
        number = self.number - 1 + step
        if not 0 <= number < len(self.queue):
            self.hint = Hint("this is the last transcript" if step > 0 else "this is the first transcript")
            return False
        return self.open(self.queue[number][0], at=at)

    def next_quote(self, step: int) -> Stop | None:
        self.hint = None
        if not self.stops:
            self.hint = Hint("blind: quotes are hidden" if self.blind else "no quote was given for this criterion")
            return None
        self.quote = (self.quote + step) % len(self.stops)
        return self.stop

    def set_blind(self, blind: bool) -> None:
        """While blind the judges' answers, quotes and order are hidden."""
        self.blind = blind
        seen = "blind: you see transcript and questions, nothing of the judges"
        self.hint = Hint(seen if blind else "no longer blind: the judges are shown")
        if self.sheet:
            self.go_to(next(iter(self.left), None) or next(iter(self.rows), ""))

    # Judging

    def say(self, answer: JudgeAnswer) -> None:
        """I answer the criterion here. Equal to the judges' answer: on to the next; a correction stays."""
        self.hint = None
        sheet, criterion = self.sheet, self.cursor
        if sheet is None or not criterion:
            return
        if self.mine(criterion) == answer and not self._more_to_say(criterion):
            self._onward()
            return
        if self._record(sheet, "answer", criterion=criterion, answer=answer, blind=self.blind) is None:
            return
        flag = self.flag(criterion)
        if flag is None:
            self._onward()
        else:
            self.hint = Hint(flag, "flag")

    def _more_to_say(self, criterion: str) -> bool:
        """A blind answer is repeated with open eyes, to stand as the final one; and the other way round."""
        sheet = self.sheet
        event = sheet.review.answers.get(criterion, {}).get(self.me) if sheet else None
        return event is not None and event.blind != self.blind

    def agree(self) -> None:
        """I agree with the judges; on a row I answered only move on."""
        self.hint = None
        sheet, criterion = self.sheet, self.cursor
        if sheet is None or not criterion:
            return
        if self.mine(criterion):
            self._onward()
            return
        if self.blind:
            self.hint = Hint("blind: say y, n or x yourself")
            return
        merged = self.merged(criterion)
        if merged is None:
            skipped = sheet.assessment.merged.get(criterion) == "SKIPPED"
            why = "the judges were not asked" if skipped else "the judges have no answer"
            self.hint = Hint(f"nothing to agree with: {why}; say y, n or x")
            return
        if self._record(sheet, "answer", criterion=criterion, answer=merged, blind=False) is not None:
            self._onward()

    def _onward(self) -> None:
        """To the next criterion to answer; with none left, to the next unanswered one below."""
        if self.left:
            rows = self.to_answer
            here = rows.index(self.cursor) if self.cursor in rows else -1
            self.go_to(next((c for c in rows[here + 1 :] if c in self.left), self.left[0]))
            return
        rows = self.rows
        here = rows.index(self.cursor) if self.cursor in rows else -1
        below = next((c for c in rows[here + 1 :] if not self.mine(c)), None)
        if below:
            self.go_to(below)

    def decide(self, kind: Literal["approve", "reject"], *, at: float = 0.0) -> bool:
        """Approve or reject the transcript and open the next that waits. True where another one was opened."""
        self.hint = None
        sheet = self.sheet
        if sheet is None:
            return False
        if self.my_decision() == kind:
            self.hint = Hint(f"you {DONE[kind]} this transcript already")
            return False
        gate = self.gate_to_answer() if kind == "approve" else None
        if gate:
            self.go_to(gate)
            said = "this is a gate; answer it yourself" if self.blind else f"{gate} is a gate and says NO; answer it"
            self.hint = Hint(f"{said} first, then A approves", "flag")
            return False
        early = self.guard.too_early("A" if kind == "approve" else "R", at)
        if early:
            self.hint = Hint(early)
            return False
        rows = self.rows
        data: dict[str, Any] = {
            "answered": [c for c in rows if self.mine(c)],
            "opened": list(self.opened),
            "unopened": [c for c in rows if c not in self.opened],
            "share_shown": round(self.share_shown(), 3),
            "seconds": round(at - self._opened_at, 1),
        }
        warnings = self._record(sheet, kind, data=data)
        if warnings is None:
            return False
        opened = self._open_next(at)
        parts = [f"{sheet.id} {DONE[kind]}", *warnings]
        parts += ["u takes it back"] if opened else ["no other one waits", "u takes it back"]
        self.hint = Hint(" · ".join(parts), "flag" if warnings else "plain")
        return opened

    def gate_to_answer(self) -> str | None:
        """The first gate criterion that says NO and that I have not answered."""
        if self.sheet is None:
            return None
        for criterion in self.sheet.rubric.criteria:
            stands = counted(self.sheet.assessment.effective.get(criterion.id))
            if criterion.gate and stands == "NO" and not self.mine(criterion.id):
                return criterion.id
        return None

    def _open_next(self, at: float) -> bool:
        """Open the next transcript that I have not decided, going round once."""
        here = self.number
        for id, _ in [*self.queue[here:], *self.queue[: max(0, here - 1)]]:
            if not self._decided.get(id):
                return self.open(id, at=at)
        return False

    # Beside the judgments

    def remark(self, kind: EventKind, **fields: Any) -> bool:
        """Record a gap, blame, note or mark; True where it was stored."""
        self.hint = None
        return self.sheet is not None and self._record(self.sheet, kind, **fields) is not None

    def undo(self, *, at: float = 0.0) -> Event | None:
        return self._turn(self.books.undo, "taken back", "nothing to take back", at)

    def redo(self, *, at: float = 0.0) -> Event | None:
        return self._turn(self.books.redo, "brought back", "nothing to bring back", at)

    def _turn(self, turn: Callable[[], Event | None], done: str, nothing: str, at: float) -> Event | None:
        self.hint = None
        try:
            event = turn()
        except UserError as error:
            self.hint = Hint(f"not done: {reason(error)}", "error")
            return None
        if event is None:
            self.hint = Hint(nothing)
            return None
        if event.transcript:
            if self.sheet is None or self.sheet.id != event.transcript:
                self.open(event.transcript, at=at)
            elif self.sheet is not None:
                self.books.renew(self.sheet)
            self._note_decision()
            if event.criterion and event.criterion in self.rows:
                self.go_to(event.criterion)
        what = " ".join(str(part) for part in (event.criterion, event.answer) if part) or "your last act"
        about = event.transcript or (f"batch {event.batch}" if event.batch else "")
        self.hint = Hint(f"{done}: {what}" + (f" on {about}" if about else ""))
        return event

    def _record(self, sheet: Sheet, kind: EventKind, **fields: Any) -> list[str] | None:
        """Warnings of the stored act, or null where it was not stored (the hint says why)."""
        try:
            warnings = self.books.record(sheet, kind, **fields)
        except UserError as error:
            self.hint = Hint(f"not saved: {reason(error)}", "error")
            return None
        self._note_decision()
        return warnings

    def _note_decision(self) -> None:
        if self.sheet is not None:
            self._decided[self.sheet.id] = self.my_decision() is not None
