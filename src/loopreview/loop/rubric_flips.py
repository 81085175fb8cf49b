"""What an edit changes: the verdicts under two wordings of a criterion, side by side with people's own labels.

Nothing is asked here. The verdicts of both wordings lie in the store, each under the key of what was asked, so that a
comparison can be read again while answers come in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion
from loopreview.models.verdict import Answer, JudgeAnswer
from loopreview.rules.agreement import MERGED
from loopreview.rules.merge import NEGATIVE, assign, assign_one, merge_answers
from loopreview.rules.review import fold
from loopreview.rules.stale import shown_examples, verdict_key
from loopreview.rules.statistics import mcnemar_exact
from loopreview.store import events, transcripts, verdicts
from loopreview.store.transcripts import Head
from loopreview.store.verdicts import Given
from loopreview.workspace import Workspace


class Side(NamedTuple):
    """One wording: the criterion as it was asked, and the hash of the prompt it was asked with."""

    criterion: Criterion
    assessor: str


class Pair(NamedTuple):
    """One judge's answers under both wordings. `alike`: both were asked together with the same other criteria."""

    before: JudgeAnswer
    after: JudgeAnswer
    alike: bool


class Flip(NamedTuple):
    """One verdict under both wordings, and the person's label (None where there is none)."""

    transcript: str
    criterion: str
    backend: str
    truth: JudgeAnswer | None
    before: str
    after: str


class Retest(NamedTuple):
    """How often a judge that was asked the very same thing twice gave the same answer: `same` of `n`."""

    n: int
    same: int


class JudgeFlips(NamedTuple):
    """One judge, or `merged`, against the labels: wrong before and right after is fixed, the reverse broken."""

    backend: str
    fixed: int
    broken: int
    kept_right: int
    kept_wrong: int
    retest: Retest | None
    """None where it was not measured."""

    @property
    def n(self) -> int:
        return self.fixed + self.broken + self.kept_right + self.kept_wrong

    @property
    def p(self) -> float | None:
        """Exact McNemar p; None where nothing can be compared."""
        return mcnemar_exact(self.fixed, self.broken) if self.n else None


class Comparison(NamedTuple):
    """Both wordings of one criterion over its labelled transcripts, and over some without a label."""

    criterion: str
    labelled: int
    """Transcripts with a label."""
    judges: list[JudgeFlips]
    """Each judge, then `merged` (the panel); only transcripts on which all judges have both answers count there."""
    fixed: list[Flip]
    broken: list[Flip]
    kept: list[Flip]
    moved: list[Flip]
    """Answers that changed where nobody has said what is right."""
    waiting: int
    """Verdicts that one of the two wordings still lacks."""
    unlike: int
    """Pairs whose two answers were not asked together with the same other criteria."""


def key_of(head: Head, side: Side, fingerprint: str) -> str:
    """The key of a judge's verdict on this transcript under this wording."""
    shown = shown_examples(side.criterion, head.id, head.source)
    return verdict_key(head.hash, side.criterion, shown, side.assessor, fingerprint)


def repeat_key(key: str, group: Sequence[str], number: int) -> str:
    """The key under which a further answer to what `key` asks is kept: never one that counts for a transcript.

    `group` is the criteria it was asked with. Number 1 is asked for the sake of the group, number 2 to see whether the
    judge answers the same again.
    """
    return content_hash("again", key, list(group), number)


def labels(workspace: Workspace, criterion: str, *, reviewer: str | None = None) -> dict[str, JudgeAnswer]:
    """transcript → what people say about it, by majority, or what `reviewer` says; contested ones left out."""
    found: dict[str, JudgeAnswer] = {}
    for id, review in fold(events.about(workspace.store, criterion)).transcripts.items():
        given = review.answers.get(criterion, {})
        if reviewer is not None:
            answer = given[reviewer].answer if reviewer in given else None
        else:
            answer, _ = review.effective_answer(criterion)
        if answer is not None:
            found[id] = answer
    return found


class Read(NamedTuple):
    head: Head
    pairs: Mapping[str, Pair]
    missing: Sequence[str]
    """Judges that lack an answer under one of the wordings."""
    retests: Mapping[str, bool]
    """Judge → whether it gave the same answer when asked the same again."""


class Pairs:
    """The answers of today's judges under two wordings, read anew only where a transcript changed."""

    def __init__(self, workspace: Workspace, before: Side, after: Side) -> None:
        self.workspace, self.before, self.after = workspace, before, after
        self._known: dict[str, tuple[int, Read]] = {}

    def of(self, id: str) -> Read:
        head = transcripts.head(self.workspace.store, id)
        known = self._known.get(id)
        if known is None or known[0] != head.revision:
            known = self._known[id] = (head.revision, self._read(head))
        return known[1]

    def _read(self, head: Head) -> Read:
        pairs: dict[str, Pair] = {}
        missing: list[str] = []
        retests: dict[str, bool] = {}
        same = False
        given = verdicts.answers(self.workspace.store, head.id, self.after.criterion.id)
        present = {criterion.id for criterion in self.workspace.rubric.criteria}
        for judge, settings in self.workspace.settings.judges.items():
            old_key = key_of(head, self.before, settings.fingerprint)
            new_key = key_of(head, self.after, settings.fingerprint)
            if old_key == new_key:
                # The edit shows this transcript's judges nothing new: an example that came from it, say.
                same = True
                continue
            own = [answer for answer in given if answer.backend == judge]
            old, new = under(own, old_key), under(own, new_key)
            both = matched(old, new, present)
            if both is None:
                missing.append(judge)
                continue
            first, second, alike = both
            pairs[judge] = Pair(_as_judged(first), _as_judged(second), alike)
            for answer, key in ((second, new_key), (first, old_key)):
                again = repeated(own, key, group_of(answer, present), present)
                if again is not None:
                    retests[judge] = again.answer == answer.answer
                    break
        return Read(head, pairs, [] if same else missing, retests)


def under(given: Iterable[Given], key: str) -> list[Given]:
    """The answers to what `key` asks, the latest last: those that count, and those asked for the sake of a group."""
    return [a for a in given if a.key == key or a.key == repeat_key(key, a.asked_with, 1)]


def group_of(answer: Given, present: Collection[str]) -> tuple[str, ...]:
    """The criteria it was asked with that are still there."""
    return tuple(id for id in answer.asked_with if id in present) or (answer.criterion,)


def repeated(given: Iterable[Given], key: str, group: Sequence[str], present: Collection[str]) -> Given | None:
    """The answer to the very same thing, asked once more."""
    for answer in given:
        if answer.key == repeat_key(key, answer.asked_with, 2) and group_of(answer, present) == tuple(group):
            return answer
    return None


def matched(old: Sequence[Given], new: Sequence[Given], present: Collection[str]) -> tuple[Given, Given, bool] | None:
    """The latest two answers asked in the same group, else the latest two; None where a side has none."""
    for second in reversed(new):
        for first in reversed(old):
            if group_of(first, present) == group_of(second, present):
                return first, second, True
    return (old[-1], new[-1], False) if old and new else None


def compare(
    pairs: Pairs,
    truths: Mapping[str, JudgeAnswer],
    unlabelled: Iterable[str] = (),
) -> Comparison:
    """Both wordings over the labelled transcripts `truths` and over `unlabelled` ones. Incomplete transcripts and
    those too short for the criterion are left out, as nobody is asked about them."""
    before, after = pairs.before.criterion, pairs.after.criterion
    workspace = pairs.workspace
    panel = list(workspace.settings.judges)
    counts = {backend: [0, 0, 0, 0] for backend in (*panel, MERGED)}
    retests: dict[str, list[bool]] = {}
    fixed: list[Flip] = []
    broken: list[Flip] = []
    kept: list[Flip] = []
    moved: list[Flip] = []
    labelled = waiting = unlike = 0
    for id in dict.fromkeys([*truths, *unlabelled]):
        read = pairs.of(id)
        if not read.head.complete or read.head.exchanges < max(before.min_exchanges, after.min_exchanges):
            continue
        truth = truths.get(id)
        labelled += truth is not None
        waiting += len(read.missing)
        unlike += sum(not pair.alike for pair in read.pairs.values())
        for judge, same in read.retests.items():
            retests.setdefault(judge, []).append(same)
        answers = {judge: (str(pair.before), str(pair.after)) for judge, pair in read.pairs.items()}
        if panel and set(answers) == set(panel):
            answers[MERGED] = _merged(workspace, before, after, read)
        for backend, (was, now) in answers.items():
            flip = Flip(id, after.id, backend, truth, was, now)
            if truth is None:
                if _counted(before, was) != _counted(after, now) and backend != MERGED:
                    moved.append(flip)
                continue
            right = (_counted(before, was) == _counted(before, truth), _counted(after, now) == _counted(after, truth))
            place = {(False, True): 0, (True, False): 1, (True, True): 2, (False, False): 3}[right]
            counts[backend][place] += 1
            if backend != MERGED:
                (fixed, broken, kept, kept)[place].append(flip)
    rows = []
    for backend, numbers in counts.items():
        again = retests.get(backend)
        n_fixed, n_broken, still_right, still_wrong = numbers
        measured = Retest(len(again), sum(again)) if again else None
        rows.append(JudgeFlips(backend, n_fixed, n_broken, still_right, still_wrong, measured))
    return Comparison(after.id, labelled, rows, fixed, broken, kept, moved, waiting, unlike)


def document(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it: counts, lists, and a row for each judge and for the panel."""
    rows = [
        {
            "backend": row.backend,
            "n": row.n,
            "fixed": row.fixed,
            "broken": row.broken,
            "kept": row.kept_right + row.kept_wrong,
            "kept_right": row.kept_right,
            "kept_wrong": row.kept_wrong,
            "p": row.p,
            "retest": None
            if row.retest is None
            else {"n": row.retest.n, "same": row.retest.same, "rate": row.retest.same / row.retest.n},
        }
        for row in found.judges
    ]
    lists = {name: [flip._asdict() for flip in getattr(found, name)] for name in ("fixed", "broken", "kept", "moved")}
    return {
        "criterion": found.criterion,
        "labelled": found.labelled,
        "counts": {name: len(flips) for name, flips in lists.items()},
        "judges": rows,
        "waiting": found.waiting,
        "unlike": found.unlike,
        **lists,
    }


def _as_judged(answer: Given) -> JudgeAnswer:
    return answer.answer  # type: ignore[return-value]  # the store holds nothing else


def _counted(criterion: Criterion, answer: str) -> str:
    """An answer as it counts under a wording's own NA rule; INVALID_NA is a NO."""
    counted = answer if answer in NEGATIVE else assign_one(criterion, answer)
    return "NO" if counted in NEGATIVE else counted


def _merged(workspace: Workspace, before: Criterion, after: Criterion, read: Read) -> tuple[str, str]:
    panel, rule = list(read.pairs), workspace.settings.merge
    merged: list[str] = []
    for criterion, place in ((before, 0), (after, 1)):
        raw = {judge: str(pair[place]) for judge, pair in read.pairs.items()}
        answer: Answer | None = merge_answers(rule, assign(criterion, raw, read.head.exchanges), panel)
        merged.append("NO" if answer in NEGATIVE else str(answer))
    return merged[0], merged[1]
