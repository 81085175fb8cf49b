"""`review --plain`: line by line, for screen readers and pipes."""

from collections.abc import Iterator

import click

from loopreview import review, standing
from loopreview.cli.call import say
from loopreview.models.errors import UserError
from loopreview.models.verdict import Evidence
from loopreview.rules.safe_text import safe
from loopreview.workspace import Workspace

_ANSWERS = {"y": "YES", "n": "NO", "x": "NA"}


def review_plain(workspace: Workspace, reviewer: str) -> None:
    """Read each undecided transcript aloud, ask what is to be answered, then for the decision. Ends with q or with
    the input; every answer is stored as it is given."""
    waiting = review.queue(workspace)
    say(f"{len(waiting)} transcripts to decide, as {reviewer}. Answers: y yes, n no, x not applicable,")
    say("enter agree with the judges, s skip, u undo, q quit. Decisions: a approve, r reject, s skip.")
    for place, (id, because) in enumerate(waiting, 1):
        if not _one(workspace, reviewer, id, because, f"{place} of {len(waiting)}"):
            return
    say("nothing left to decide")


def _one(workspace: Workspace, reviewer: str, id: str, because: str, place: str) -> bool:
    """One transcript; False where the reviewer leaves."""
    found = standing.of(workspace, id)
    for line in _reading(found, place):
        click.echo(safe(line))
    asked, _ = review.to_answer(workspace, found, because=because)
    waiting = [criterion for criterion in asked if reviewer not in found.assessment.human.get(criterion, {})]
    for criterion in waiting:
        if not _criterion(workspace, reviewer, found, criterion, because):
            return False
    while True:
        key = _ask(f"decision on {id}: a approve, r reject, s skip, q quit")
        if key in ("q", "s"):
            return key == "s"
        if key in ("a", "r"):
            try:
                done = review.record(
                    workspace,
                    "approve" if key == "a" else "reject",
                    reviewer=reviewer,
                    transcript=id,
                    shown_because=because,
                )
            except UserError as error:
                say(str(error))
                gate = review.standing_gate(workspace, standing.of(workspace, id), reviewer)
                if gate and not _criterion(workspace, reviewer, standing.of(workspace, id), gate, because):
                    return False
                continue
            for warning in done.warnings:
                say(warning)
            return True
        if key == "u":
            _undo(workspace, reviewer)


def _criterion(workspace: Workspace, reviewer: str, found: standing.Standing, id: str, because: str) -> bool:
    """One criterion; False where the reviewer leaves."""
    criterion = workspace.rubric.criterion(id)
    assert criterion is not None
    merged = found.assessment.merged[id]
    judges = ", ".join(f"{backend} {answer}" for backend, answer in found.assessment.answers[id].items())
    click.echo(safe(f"{id} {criterion.name}. {criterion.question}"))
    click.echo(safe(f"judges: {judges or 'nobody'}; merged {merged or 'open'}"))
    for backend, verdict in found.panel.current.get(id, {}).items():
        for quote in verdict.evidence:
            click.echo(safe(f"{backend}: {_quoted(quote)}"))
    while True:
        key = _ask(f"{id}: y n x, enter agrees, s u q")
        if key == "q":
            return False
        if key == "s":
            return True
        if key == "u":
            _undo(workspace, reviewer)
            continue
        agreed = {"YES": "YES", "NO": "NO", "NA": "NA", "INVALID_NA": "NO"}.get(merged or "")
        answer = _ANSWERS.get(key) or (agreed if key == "" else None)
        if answer is None:
            say("there is no merged answer to agree with" if key == "" else f"{key} is no answer here")
            continue
        review.record(
            workspace,
            "answer",
            reviewer=reviewer,
            transcript=found.transcript.id,
            criterion=id,
            answer=answer,  # type: ignore[arg-type]
            shown_because=because,
        )
        if agreed and answer != agreed:
            click.echo("false positive" if agreed == "YES" else "false negative" if agreed == "NO" else "about NA")
        return True


def _reading(found: standing.Standing, place: str) -> Iterator[str]:
    score = found.assessment.score
    state = "unscored" if found.assessment.unscored else "pass" if found.assessment.passed else "fail"
    yield f"transcript {found.transcript.id}, {place}, {state}{'' if score is None else f' {score:.2f}'}"
    for exchange in found.exchanges:
        yield f"exchange {exchange.number}, user:"
        yield exchange.user
        yield f"exchange {exchange.number}, assistant:"
        yield exchange.assistant


def _quoted(quote: Evidence) -> str:
    return f"exchange {quote.exchange}, {quote.role}: “{quote.quote}”"


def _undo(workspace: Workspace, reviewer: str) -> None:
    event = review.undo(workspace, reviewer)
    say("nothing to take back" if event is None else f"taken back: {event.transcript} {event.criterion or ''}")


def _ask(prompt: str) -> str:
    """One line of input in lower case; q at its end."""
    click.echo(f"{prompt}> ", nl=False, err=True)
    try:
        return input().strip().lower()
    except EOFError:
        return "q"
