"""review and its acts."""

from collections.abc import Callable
from typing import Any

import click

from loopreview.cli.call import Call, money, say, shared_options
from loopreview.models.errors import UserError

_reviewer = click.option("--reviewer", metavar="NAME", help="Who reviews (default: the settings, then the login name).")
_note = click.option("--note", metavar="TEXT", help="Your reason.")


@click.group(invoke_without_command=True)
@click.option("--plain", is_flag=True, help="Line by line, for screen readers and pipes.")
@_reviewer
@shared_options
def review(call: Call, plain: bool, reviewer: str | None) -> None:
    """Read transcripts and judge the judges."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    if plain:
        from loopreview.cli.plain import review_plain

        with call.open() as workspace:
            review_plain(workspace, workspace.reviewer(reviewer))
        return
    from loopreview.cli.terminal import open_terminal

    open_terminal(call.root, screen="review", reviewer=reviewer)


def _act(call: Call, reviewer: str | None, kind: Any, transcript: str | None = None, **fields: Any) -> None:
    """Record one event and print it."""
    from loopreview.review import record
    from loopreview.store.transcripts import resolve

    with call.open() as workspace:
        id = resolve(workspace.store, transcript) if transcript is not None else None
        event, warnings = record(workspace, kind, reviewer=workspace.reviewer(reviewer), transcript=id, **fields)
    for warning in warnings:
        say(f"{id}: {warning}")
    document = event.model_dump(mode="json")
    call.emit(document, lambda: [_line(document)])


@review.command()
@click.argument("transcript")
@click.argument("criterion")
@click.argument("answer", type=click.Choice(["yes", "no", "na"], case_sensitive=False))
@_note
@_reviewer
@shared_options
def answer(call: Call, transcript: str, criterion: str, answer: str, note: str | None, reviewer: str | None) -> None:
    """Your own answer to one criterion."""
    _act(
        call,
        reviewer,
        "answer",
        transcript,
        criterion=criterion,
        answer=answer.upper(),
        note=note,
        shown_because="command",
    )


def _decision(kind: str) -> Callable[..., None]:
    def decide(call: Call, transcript: str, note: str | None, reviewer: str | None) -> None:
        _act(call, reviewer, kind, transcript, note=note, shown_because="command")

    decide.__doc__ = {"approve": "Approve a transcript for training.", "reject": "Keep a transcript out of training."}[
        kind
    ]
    return decide


for _kind in ("approve", "reject"):
    _command = shared_options(_decision(_kind))
    review.command(_kind)(click.argument("transcript")(_note(_reviewer(_command))))


def _exchange(call: Call, transcript: str, exchange: int) -> None:
    from loopreview.store.transcripts import get, resolve

    with call.open() as workspace:
        id = resolve(workspace.store, transcript)
        count = len(get(workspace.store, id).exchanges)
    if not 1 <= exchange <= count:
        raise UserError(f"{id}: has no exchange {exchange}; it has 1 to {count}")


@review.command()
@click.argument("transcript")
@click.argument("note", metavar="TEXT")
@click.option("--exchange", type=int, help="Where it shows.")
@_reviewer
@shared_options
def gap(call: Call, transcript: str, note: str, exchange: int | None, reviewer: str | None) -> None:
    """A fault that no criterion asks about."""
    if exchange is not None:
        _exchange(call, transcript, exchange)
    _act(call, reviewer, "gap", transcript, note=note, data={"exchange": exchange} if exchange else {})


@review.command()
@click.argument("transcript")
@click.argument("who", type=click.Choice(["assistant", "user_sim", "neither"]))
@click.option("--criterion", metavar="ID", help="The criterion that it is about.")
@_note
@_reviewer
@shared_options
def blame(call: Call, transcript: str, who: str, criterion: str | None, note: str | None, reviewer: str | None) -> None:
    """Whose fault it is: the assistant's, the simulated user's, or neither's."""
    _act(call, reviewer, "blame", transcript, criterion=criterion, note=note, data={"blame": who})


@review.command("note")
@click.argument("transcript")
@click.argument("note", metavar="TEXT")
@click.option("--criterion", metavar="ID")
@_reviewer
@shared_options
def note_(call: Call, transcript: str, note: str, criterion: str | None, reviewer: str | None) -> None:
    """A remark on a transcript, or on one criterion of it."""
    _act(call, reviewer, "note", transcript, criterion=criterion, note=note)


@review.command()
@click.argument("transcript")
@click.argument("exchange", type=int)
@click.option("--better", metavar="TEXT", help="A better reply, for preference training.")
@_note
@_reviewer
@shared_options
def mark(
    call: Call, transcript: str, exchange: int, better: str | None, note: str | None, reviewer: str | None
) -> None:
    """The reply of an exchange is bad: it is never trained on."""
    _exchange(call, transcript, exchange)
    data = {"exchange": exchange, **({"better": better} if better else {})}
    _act(call, reviewer, "mark", transcript, note=note, data=data)


@review.command()
@click.argument("transcript")
@click.argument("exchange", type=int)
@click.option("--dry-run", is_flag=True, help="Only say what it costs.")
@shared_options
def redraw(call: Call, transcript: str, exchange: int, dry_run: bool) -> None:
    """Ask the assistant for another reply to an exchange. `review mark --better` keeps it."""
    import random

    from loopreview.loop.redraw import redraw as draw
    from loopreview.store.transcripts import resolve

    with call.open() as workspace:
        id = resolve(workspace.store, transcript)
        document = draw(workspace, id, exchange, dry_run=dry_run, fresh=random.Random())
    cost = f"1 call, {money(document['cost_usd'])}"
    call.emit(document, lambda: [cost] if dry_run else [document["text"]])
    if not dry_run:
        say(cost)


@review.command()
@click.argument("batch", type=int)
@click.argument("answer", type=click.Choice(["yes", "no"]))
@_note
@_reviewer
@shared_options
def content(call: Call, batch: int, answer: str, note: str | None, reviewer: str | None) -> None:
    """Whether you are satisfied with a batch."""
    _act(call, reviewer, "content", batch=batch, note=note, data={"yes": answer == "yes"})


def _turn(call: Call, reviewer: str | None, which: str) -> None:
    from loopreview import review as stage

    with call.open() as workspace:
        name = workspace.reviewer(reviewer)
        event = (stage.undo if which == "undo" else stage.redo)(workspace, name)
    if event is None:
        raise UserError(f"nothing to {which} for {name}", exit_code=1)
    document = event.model_dump(mode="json")
    call.emit(document, lambda: [_line(document)])


@review.command()
@_reviewer
@shared_options
def undo(call: Call, reviewer: str | None) -> None:
    """Take back your last act."""
    _turn(call, reviewer, "undo")


@review.command()
@_reviewer
@shared_options
def redo(call: Call, reviewer: str | None) -> None:
    """Bring back what you took back last."""
    _turn(call, reviewer, "redo")


@review.command()
@click.option("--reviewer", metavar="NAME", help="Only this reviewer's acts.")
@shared_options
def log(call: Call, reviewer: str | None) -> None:
    """All acts of reviewers, oldest first."""
    from loopreview import review as stage

    with call.open() as workspace:
        document = {"events": stage.log(workspace, reviewer=reviewer)}
    call.emit(document, lambda: [_line(event) for event in document["events"]])


def _line(event: dict[str, Any]) -> str:
    parts = [
        f"{event['id']:>5}",
        event["at"][:19].replace("T", " "),
        event["reviewer"],
        event["kind"],
        event["transcript"] or (f"batch {event['batch']}" if event["batch"] else ""),
        event["criterion"] or "",
        event["answer"] or "",
        f"(judges: {event['merged']})" if event["merged"] else "",
        f"of event {event['target']}" if event["target"] else "",
        event["note"] or "",
        "taken back" if event.get("undone") else "",
    ]
    return "  ".join(part for part in parts if part)


COMMANDS = (review,)
