"""show."""

from collections.abc import Iterator
from typing import Any

import click

from loopreview.cli.call import Call, shared_options


@click.command()
@click.argument("transcript")
@shared_options
def show(call: Call, transcript: str) -> None:
    """One transcript with its messages, answers and score. TRANSCRIPT is an id such as 6-1, or an import's source."""
    from loopreview.report import show as look
    from loopreview.store.transcripts import resolve

    with call.open() as workspace:
        document = look(workspace, resolve(workspace.store, transcript))
    call.emit(document, lambda: _lines(document))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    persona = found["persona"] or {}
    yield f"{found['id']}  {found['source'] or found['origin']}  {persona.get('name') or ''}".rstrip()
    state = "unscored" if found["unscored"] else "pass" if found["passed"] else "FAIL"
    score = "" if found["score"] is None else f" {found['score']:.2f}"
    whole = (
        "" if found["complete"] else f"  NOT COMPLETE ({found['exchanges']} of {found['target_exchanges']} exchanges)"
    )
    yield f"{state}{score}{'  ' + found['decision'] if found['decision'] else ''}{whole}"
    yield ""
    number = 0
    for message in found["messages"]:
        number += message["role"] == "user"
        yield f"── {number} {message['role']} " + "─" * 40
        yield from _message(message)
        yield ""
    for quote in found["addresses_judge"]:
        yield f"! speaks to a judge: [{quote['exchange']} {quote['role']}] “{quote['quote']}”"
    for row in found["criteria"]:
        answers = " ".join(f"{backend}={answer}" for backend, answer in row["answers"].items())
        human = " ".join(f"{reviewer}:{answer}" for reviewer, answer in row["human"].items())
        people = f"   people {human}" if human else ""
        yield f"{row['id']:6} {row['name']}: {row['effective'] or 'open'}   {answers}{people}"
        for quote in row["evidence"]:
            yield f"         {quote['backend']} [{quote['exchange']} {quote['role']}] “{quote['quote']}”"
        for problem in row["lint"]:
            yield f"         ! {problem}"


def _message(message: dict[str, Any]) -> Iterator[str]:
    """Its text, the tools it calls or speaks for, and whether it is one to train on."""
    from loopreview.models.transcript import Message
    from loopreview.rules.tool_calls import calls_of

    extra = message["extra"]
    if message["role"] == "tool" and (extra.get("name") or extra.get("error")):
        yield f"{extra.get('name') or 'the tool'} {'failed: ' + str(extra['error']) if extra.get('error') else 'says:'}"
    if message["text"] or not extra:
        yield message["text"]
    yield from (f"→ {call}" for call in calls_of(Message.model_validate(message)))
    if extra.get("weight") == 0:
        yield "(weight 0: not to train on)"


COMMANDS = (show,)
