"""Testing an edit of the rubric: people's labels are the tests, the judges are asked under both wordings alike.

Old and new wording are asked in the same group of criteria, so that nothing but the wording differs. A verdict that is
in the store already is not asked again, and going back to the old wording brings its verdicts back. Answers that are
asked for the comparison alone are kept under keys of their own and never change how a transcript stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loopreview import assess, jobs
from loopreview.llm.client import Client
from loopreview.llm.together import run_all
from loopreview.loop.batch import client_of, run
from loopreview.loop.rubric_flips import (
    Comparison,
    Pairs,
    Side,
    compare,
    document,
    group_of,
    key_of,
    labels,
    matched,
    repeat_key,
    repeated,
    under,
)
from loopreview.loop.rubric_versions import (
    NEWEST,
    Wording,
    asks_alike,
    earlier_wordings,
    find_version,
    rubric_versions,
)
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion
from loopreview.models.verdict import JudgeAnswer
from loopreview.progress import Progress, Together
from loopreview.store import calls, transcripts, verdicts
from loopreview.workspace import Workspace

FRESH = 3
"""Transcripts without a label that are asked about too, unless told otherwise."""


class Question(NamedTuple):
    """One call: a judge, a transcript, the group of criteria, and the one whose answer is wanted, as it is worded."""

    transcript: str
    judge: str
    criterion: Criterion
    group: tuple[str, ...]
    key: str
    again: int
    """0: the answer counts under its key; 1: asked for the sake of the group; 2: the very same thing once more."""


class Trial(NamedTuple):
    """One criterion under test: what it asked before, the labels, and what has to be asked."""

    criterion: Criterion
    old: Wording
    truths: Mapping[str, JudgeAnswer]
    fresh: Sequence[str]
    pairs: Pairs
    questions: Sequence[Question]

    def compared(self) -> Comparison:
        return compare(self.pairs, self.truths, self.fresh)


def test(
    workspace: Workspace,
    criterion: str | None = None,
    *,
    against: str | None = None,
    fresh: int = FRESH,
    retest: bool = False,
    reviewer: str | None = None,
    dry_run: bool = False,
    watcher: Progress,
) -> dict[str, Any]:
    """Compare the present wording of a criterion (or of each that the last edit changed) with the one before, over the
    labelled transcripts and `fresh` unlabelled ones. Returns what `rubric test --json` prints.

    `against`: a rubric version instead of the latest with another wording. `retest`: ask the present wording twice.
    `reviewer`: this person's labels alone. `dry_run`: ask nothing, say what it would take and what is known.
    Raises UserError where there is no such criterion, version or earlier wording.
    """
    if not workspace.settings.judges:
        raise UserError("no judge is configured: add a section [judges.NAME] to loopreview.toml to have one asked")
    client = client_of(workspace)
    client.check(workspace.settings.judges)
    wanted = _changed(workspace, against) if criterion is None else [_known(workspace, criterion)]
    trials = [
        make_trial(workspace, one, against=against, fresh=fresh, retest=retest, reviewer=reviewer) for one in wanted
    ]
    asked = [question for trial in trials for question in trial.questions]
    if dry_run:
        return _result(workspace, trials, len(asked), _cost(workspace, client, asked), [])
    failed: list[dict[str, str]] = []
    before = calls.cost(workspace.store)
    if asked:
        with jobs.exclusive(workspace.root, "assess", rubric_test=[one.id for one in wanted]) as log:
            workspace.keep_versions()
            run(_ask_all(workspace, client, trials, failed, Together(watcher, log)), client)
            log.write("done", errors=len(failed))
    after = calls.cost(workspace.store)
    cost = None if after.unknown > before.unknown else round(after.known_usd - before.known_usd, 6)
    return _result(workspace, trials, after.calls - before.calls, cost, failed)


def make_trial(
    workspace: Workspace,
    criterion: Criterion,
    *,
    against: str | None = None,
    fresh: int = FRESH,
    retest: bool = False,
    reviewer: str | None = None,
) -> Trial:
    """What testing `criterion` takes. Raises UserError where it had no other wording."""
    old = _earlier(workspace, criterion, against)
    assessor = workspace.assessor_version
    pairs = Pairs(workspace, Side(old.criterion, assessor), Side(criterion, assessor))
    truths = labels(workspace, criterion.id, reviewer=reviewer)
    unlabelled = _fresh(workspace, criterion.id, truths, fresh)
    questions = [
        question for id in (*truths, *unlabelled) for question in _questions(workspace, pairs, id, retest=retest)
    ]
    return Trial(criterion, old, truths, unlabelled, pairs, questions)


def _known(workspace: Workspace, id: str) -> Criterion:
    found = workspace.rubric.criterion(id)
    if found is None:
        ids = ", ".join(criterion.id for criterion in workspace.rubric.criteria)
        raise UserError(f"{workspace.settings.rubric}: no criterion {id}; it has {ids}")
    if not found.question.strip():
        raise UserError(f"{id} is answered by code ({found.check}); there is no wording that judges could be tested on")
    return found


def _changed(workspace: Workspace, against: str | None) -> list[Criterion]:
    """The criteria that the last edit changed, or all that differ from the version `against`."""
    if against is None:
        known = [v for v in rubric_versions(workspace) if v.rubric and v.hash != workspace.rubric_version]
        if not known:
            raise UserError("this rubric has one version only; edit a question first, then test it")
        before = known[-1]
    else:
        before = find_version(workspace, against)
    found = [
        criterion
        for criterion in workspace.rubric.criteria
        if criterion.question.strip()
        and (old := before.rubric.criterion(criterion.id) if before.rubric else None) is not None
        and not asks_alike(old, criterion)
    ]
    if not found:
        raise UserError(
            f"no question changed since version {before.hash[:8]}; name a criterion to test it all the same"
        )
    return found


def _earlier(workspace: Workspace, criterion: Criterion, against: str | None) -> Wording:
    """The latest other wording that judges were asked; where none was, the latest other one."""
    if against is not None:
        version = find_version(workspace, against)
        old = version.rubric.criterion(criterion.id) if version.rubric else None
        if old is None or asks_alike(old, criterion):
            why = "has no such criterion" if old is None else "asks the same"
            raise UserError(f"{criterion.id}: version {version.hash[:8]} {why}; `loopreview rubric history` lists them")
        return Wording(version.hash, version.at, old)
    known = earlier_wordings(workspace, criterion)
    if not known:
        raise UserError(
            f"{criterion.id} has no earlier wording here: every version that was used asks the same; edit it first"
        )
    return next((wording for wording in known if _was_asked(workspace, wording.criterion)), known[0])


def _was_asked(workspace: Workspace, old: Criterion) -> bool:
    """Whether any judge of today has an answer to this wording, on the newest transcripts."""
    side = Side(old, workspace.assessor_version)
    fingerprints = [judge.fingerprint for judge in workspace.settings.judges.values()]
    for head in transcripts.heads(workspace.store)[-NEWEST:]:
        keys = {key_of(head, side, fingerprint) for fingerprint in fingerprints}
        if not keys.isdisjoint(verdicts.keys(workspace.store, head.id)):
            return True
    return False


def _fresh(workspace: Workspace, criterion: str, truths: Mapping[str, object], count: int) -> list[str]:
    """`count` complete transcripts without a label: the same ones each time, as long as nobody labels them."""
    free = [head for head in transcripts.heads(workspace.store) if head.complete and head.id not in truths]
    free.sort(key=lambda head: content_hash("fresh", criterion, head.hash))
    return [head.id for head in free[: max(0, count)]]


def _questions(workspace: Workspace, pairs: Pairs, id: str, *, retest: bool) -> list[Question]:
    """What one transcript still lacks for comparing both wordings in the same group."""
    transcript = transcripts.get(workspace.store, id)
    old, new = pairs.before.criterion, pairs.after.criterion
    asked_here = [criterion.id for criterion in assess.judged_criteria(workspace, transcript)]
    exchanges = len(transcript.exchanges)
    if not transcript.complete or new.id not in asked_here or exchanges < old.min_exchanges:
        return []
    head = transcripts.head(workspace.store, id)
    given = verdicts.answers(workspace.store, id, new.id)
    present = [criterion.id for criterion in workspace.rubric.criteria]
    found: list[Question] = []
    for judge, settings in workspace.settings.judges.items():
        old_key = key_of(head, pairs.before, settings.fingerprint)
        new_key = key_of(head, pairs.after, settings.fingerprint)
        if old_key == new_key:
            continue
        own = [answer for answer in given if answer.backend == judge]
        olds, news = under(own, old_key), under(own, new_key)
        both = matched(olds, news, present)
        if both is not None and both[2]:
            group = group_of(both[1], present)
        elif olds:
            group = group_of(olds[-1], present)
            found.append(_question(id, judge, new, group, new_key, again=1 if news else 0))
        elif news:
            group = group_of(news[-1], present)
            found.append(_question(id, judge, old, group, old_key))
        else:
            group = _first_group(asked_here, new.id, workspace.settings.criteria_per_call)
            found += [_question(id, judge, old, group, old_key), _question(id, judge, new, group, new_key)]
        if retest and repeated(own, new_key, group, present) is None:
            found.append(_question(id, judge, new, group, new_key, again=2))
    return found


def _question(id: str, judge: str, criterion: Criterion, group: tuple[str, ...], key: str, again: int = 0) -> Question:
    return Question(id, judge, criterion, group, repeat_key(key, group, again) if again else key, again)


def _first_group(asked_here: Sequence[str], criterion: str, size: int) -> tuple[str, ...]:
    """The criteria that `assess` would ask in one call with this one."""
    size = size or len(asked_here)
    start = asked_here.index(criterion) // size * size
    return tuple(asked_here[start : start + size])


async def _ask_all(
    workspace: Workspace,
    client: Client,
    trials: Sequence[Trial],
    failed: list[dict[str, str]],
    progress: Progress,
) -> None:
    asked = [question for trial in trials for question in trial.questions]
    progress.start("judge calls", len(asked))
    try:
        await run_all(_ask(workspace, client, question, failed, progress) for question in asked)
    finally:
        progress.finish()


async def _ask(
    workspace: Workspace, client: Client, question: Question, failed: list[dict[str, str]], progress: Progress
) -> None:
    transcript = transcripts.get(workspace.store, question.transcript)
    wanted = question.criterion
    criteria = [
        wanted if criterion.id == wanted.id else criterion
        for criterion in workspace.rubric.criteria
        if criterion.id in question.group
    ]
    answers, reason = await assess.ask_judge(
        workspace, client, question.judge, transcript, criteria, needed=[wanted.id], repeat=int(question.again == 2)
    )
    made = assess.verdict_of(
        answers.get(wanted.id),
        reason,
        transcript=question.transcript,
        criterion=wanted.id,
        backend=question.judge,
        asked_with=question.group,
        key=question.key,
    )
    verdicts.add(workspace.store, [made])
    if made.answer == "ERROR":
        failed.append(
            {"transcript": made.transcript, "criterion": made.criterion, "backend": made.backend, "reason": reason}
        )
        progress.note(f"{made.transcript}: {made.backend} gave no usable answer to {made.criterion}: {reason}")
    progress.advance()


def _cost(workspace: Workspace, client: Client, questions: Sequence[Question]) -> float | None:
    asks = [assess.Ask(question.transcript, question.judge, question.group) for question in questions]
    return assess.estimate(workspace, client, assess.Plan(asks, [], [], []))


def _result(
    workspace: Workspace, trials: Sequence[Trial], made: int, cost: float | None, failed: list[dict[str, str]]
) -> dict[str, Any]:
    rows = []
    for trial in trials:
        rows.append(
            {
                **document(trial.compared()),
                "old": {
                    "version": trial.old.version,
                    "at": trial.old.at,
                    "question": trial.old.criterion.question,
                    "examples": len(trial.old.criterion.examples),
                },
                "new": {
                    "version": workspace.rubric_version,
                    "question": trial.criterion.question,
                    "examples": len(trial.criterion.examples),
                },
                "fresh": list(trial.fresh),
            }
        )
    return {
        "calls": made,
        "cost_usd": cost,
        "fixed": [flip for row in rows for flip in row["fixed"]],
        "broken": [flip for row in rows for flip in row["broken"]],
        "kept": [flip for row in rows for flip in row["kept"]],
        "errors": failed,
        "criteria": rows,
    }
