"""An edit under trial: what it changed, and what the judges say to it, read again as their answers come in."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopreview.loop.rubric_flips import Comparison, Flip, Pairs, Side, compare, labels
from loopreview.loop.rubric_versions import asks_alike
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.verdict import JudgeAnswer
from loopreview.rules.rubric import read_rubric, with_examples
from loopreview.store import examples
from loopreview.workspace import Workspace


class Watched(NamedTuple):
    """One criterion under two wordings, with the labels it is held against."""

    pairs: Pairs
    truths: Mapping[str, JudgeAnswer]
    fresh: Sequence[str] = ()

    @property
    def criterion(self) -> Criterion:
        return self.pairs.after.criterion


class Trial:
    """What is compared on the screen: an edit that was written, or a test against an earlier version."""

    def __init__(self, workspace: Workspace, title: str, watched: Sequence[Watched]) -> None:
        self.workspace = workspace
        self.title = title
        self.watched = list(watched)
        self.comparisons: list[Comparison] = []
        self._version = -1

    def look(self) -> bool:
        """Read what is new in the store; True where the numbers may have changed. Raises UserError."""
        version = self.workspace.store.data_version()
        if version == self._version and self.comparisons:
            return False
        self._version = version
        self.comparisons = [compare(one.pairs, one.truths, one.fresh) for one in self.watched]
        return True

    def relabel(self, reviewer: str) -> None:
        """Take in labels that were given since."""
        self.watched = [
            one._replace(truths=truths_of(self.workspace, one.criterion.id, reviewer)) for one in self.watched
        ]
        self._version = -1

    @property
    def flips(self) -> list[Flip]:
        """What changed, broken ones first: where a person should look."""
        found = [flip for name in ("broken", "fixed", "moved") for c in self.comparisons for flip in getattr(c, name)]
        return [flip for flip in found if isinstance(flip, Flip)]

    @property
    def waiting(self) -> int:
        return sum(comparison.waiting for comparison in self.comparisons)


class Rewording(Trial):
    """A rubric or judges' prompt that was written, with the text to go back to."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        before: str,
        title: str,
        changed: Sequence[str],
        watched: Sequence[Watched],
    ) -> None:
        super().__init__(workspace, title, watched)
        self.name = name
        self.before = before
        """The text of the file to go back to, shielded."""
        self.changed = list(changed)
        """Ids of the criteria whose verdicts became stale."""

    @property
    def job(self) -> list[str]:
        """The arguments of `assess` that ask what became stale."""
        return ["--all", "--only", self.changed[0]] if len(self.changed) == 1 else ["--all"]


def reworded(before: Rubric, after: Rubric) -> list[Criterion]:
    """The criteria of `after` whose verdicts an edit made stale."""
    found = []
    for criterion in after.criteria:
        old = before.criterion(criterion.id)
        if criterion.question.strip() and (old is None or not asks_alike(old, criterion)):
            found.append(criterion)
    return found


def rubric_trial(workspace: Workspace, name: str, before: str, before_plain: str, reviewer: str) -> Rewording | None:
    """The trial of a rubric that was written over `before`; None where no question changed. Raises UserError."""
    added = [(criterion, example) for _, criterion, example in examples.listed(workspace.store)]
    try:
        old = with_examples(read_rubric(before_plain, name), added)
    except UserError:
        return None
    changed = reworded(old, workspace.rubric)
    if not changed:
        return None
    assessor = workspace.assessor_version
    watched = []
    for criterion in changed:
        was = old.criterion(criterion.id)
        if was is not None and was.question.strip():
            watched.append(_watched(workspace, Side(was, assessor), Side(criterion, assessor), reviewer))
    ids = [criterion.id for criterion in changed]
    title = f"{', '.join(ids[:4])}{' …' if len(ids) > 4 else ''} reworded"
    return Rewording(workspace, name, before, title, ids, watched)


def assessor_trial(workspace: Workspace, name: str, before: str, before_plain: str, reviewer: str) -> Rewording:
    """The trial of a judges' prompt: every criterion that somebody labelled."""
    old, new = content_hash(before_plain), workspace.assessor_version
    asked = [criterion for criterion in workspace.rubric.criteria if criterion.question.strip()]
    watched = [_watched(workspace, Side(criterion, old), Side(criterion, new), reviewer) for criterion in asked]
    ids = [criterion.id for criterion in asked]
    return Rewording(workspace, name, before, "judges' prompt changed", ids, [one for one in watched if one.truths])


def earlier_trial(
    workspace: Workspace, old: Criterion, version: str, fresh: Sequence[str], reviewer: str
) -> Trial | None:
    """The test of a criterion as it is now against how `version` asked it."""
    criterion = workspace.rubric.criterion(old.id)
    if criterion is None:
        return None
    assessor = workspace.assessor_version
    one = _watched(workspace, Side(old, assessor), Side(criterion, assessor), reviewer)
    return Trial(workspace, f"{old.id} against {version[:4]}", [one._replace(fresh=tuple(fresh))])


def _watched(workspace: Workspace, before: Side, after: Side, reviewer: str) -> Watched:
    return Watched(Pairs(workspace, before, after), truths_of(workspace, after.criterion.id, reviewer))


def truths_of(workspace: Workspace, criterion: str, reviewer: str) -> Mapping[str, JudgeAnswer]:
    """The reviewer's own labels; everybody's where they have none."""
    return labels(workspace, criterion, reviewer=reviewer) or labels(workspace, criterion)
