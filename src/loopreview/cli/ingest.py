"""import, import-verdicts, import-labels."""

from pathlib import Path
from typing import Any

import click

from loopreview.cli.call import Call, bar, say, shared_options
from loopreview.models.errors import UserError

_FILE = click.Path(path_type=Path)
SHOWN = 20
"""Thousands of lines of the same kind help nobody: the first ones are shown, all are counted."""


@click.command("import")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=_FILE)
@click.option(
    "--format",
    "form",
    default="auto",
    metavar="NAME",
    help="auto (default), messages, sharegpt, exchanges, inspect, text or huggingface.",
)
@shared_options
def import_(call: Call, files: tuple[Path, ...], form: str) -> None:
    """Bring in transcripts made elsewhere: files, or folders of them.

    OpenAI messages, ShareGPT and numbered exchanges as JSON or JSONL, Inspect logs with their scores, plain text with
    speaker names, Hugging Face datasets.
    """
    from loopreview.ingest import import_transcripts

    with call.open() as workspace:
        result = import_transcripts(workspace, list(files), format=form, progress=bar())
    call.emit(
        result, lambda: [f"{row['id']}  {row['exchanges']} exchanges  {row['source']}" for row in result["imported"]]
    )
    _close(result, "transcripts", call)
    if result["verdicts"] or result["reviews"]:
        verdicts = f"{result['verdicts']} verdicts{_of(result['backends'])}"
        say(f"with them {verdicts} and {result['reviews']} reviews{_of(result['reviewers'])}")


@click.command("import-verdicts")
@click.argument("file", metavar="FILE.jsonl", type=_FILE)
@shared_options
def import_verdicts(call: Call, file: Path) -> None:
    """Bring in answers of judges that ran elsewhere."""
    from loopreview.ingest import import_verdicts as bring

    with call.open() as workspace:
        result = bring(workspace, file, progress=bar())
    call.emit(result, lambda: [])
    _close(result, "verdicts", call)


@click.command("import-labels")
@click.argument("file", metavar="FILE.jsonl|.csv", type=_FILE)
@shared_options
def import_labels(call: Call, file: Path) -> None:
    """Bring in people's answers."""
    from loopreview.ingest import import_labels as bring

    with call.open() as workspace:
        result = bring(workspace, file, progress=bar())
    call.emit(result, lambda: [])
    _close(result, "labels", call)


def _of(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" of {', '.join(names[:SHOWN])}{more}" if names else ""


def _close(result: dict[str, Any], what: str, call: Call) -> None:
    """Say what was mended and what was left out. Exit 2 where nothing went in and not every skip is a duplicate."""
    notes, skipped = result.get("notes", []), result["skipped"]
    for note in notes[:SHOWN]:
        say(f"{note['source']}: {note['note']}")
    if len(notes) > SHOWN:
        say(f"{len(notes) - SHOWN} more such notes (all of them with --json)")
    for skip in skipped[:SHOWN]:
        place = f"{skip['source']} line {skip['line']}" if skip.get("line") else skip["source"]
        say(f"left out: {place}: {skip['reason']}")
    if len(skipped) > SHOWN:
        say(f"left out: {len(skipped) - SHOWN} more (all of them with --json)")
    imported = result["imported"]
    count = len(imported) if isinstance(imported, list) else imported
    say(f"{count} {what} in, {len(skipped)} left out")
    if not count and not all(skip.get("duplicate") for skip in skipped):
        raise UserError(f"no {what} went in; each reason is above")


COMMANDS = (import_, import_verdicts, import_labels)
