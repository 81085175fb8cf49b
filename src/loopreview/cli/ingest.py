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
    with_them = ""
    if result["verdicts"] or result["reviews"]:
        with_them = f"; with them {result['verdicts']} verdicts{_of(result['backends'])}"
        with_them += f", {result['reviews']} reviews{_of(result['reviewers'])}"
    _close(result, "transcripts", with_them)


@click.command("import-verdicts")
@click.argument("file", metavar="FILE.jsonl", type=_FILE)
@shared_options
def import_verdicts(call: Call, file: Path) -> None:
    """Bring in answers of judges that ran elsewhere."""
    from loopreview.ingest import import_verdicts as bring

    with call.open() as workspace:
        result = bring(workspace, file, progress=bar())
    call.emit(result, lambda: [])
    _close(result, "verdicts")


@click.command("import-labels")
@click.argument("file", metavar="FILE.jsonl|.csv", type=_FILE)
@shared_options
def import_labels(call: Call, file: Path) -> None:
    """Bring in people's answers."""
    from loopreview.ingest import import_labels as bring

    with call.open() as workspace:
        result = bring(workspace, file, progress=bar())
    call.emit(result, lambda: [])
    _close(result, "labels")


def _of(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" of {', '.join(names[:SHOWN])}{more}" if names else ""


def _close(result: dict[str, Any], what: str, with_them: str = "") -> None:
    """Say what was mended and what was left out. Exit 2 where nothing went in and not every skip is a duplicate."""
    notes, skipped = result.get("notes", []), result["skipped"]
    for note in notes[:SHOWN]:
        say(f"{note['source']}: {note['note']}")
    if len(notes) > SHOWN:
        say(f"{len(notes) - SHOWN} more such notes (all of them with --json)")
    count = len(result["imported"]) if isinstance(result["imported"], list) else result["imported"]
    bad = [skip for skip in skipped if not skip.get("duplicate")]
    failed = bad and not count and not with_them
    if failed and len(skipped) == 1:
        raise UserError(f"{_reason(bad[0])}; nothing went in")
    for skip in skipped[:SHOWN]:
        say(f"left out: {_reason(skip)}")
    if len(skipped) > SHOWN:
        say(f"left out: {len(skipped) - SHOWN} more (all of them with --json)")
    say(f"{count} {what} in, {len(skipped)} left out{with_them}")
    if failed:
        raise UserError(f"no {what} went in; the first reason: {_reason(bad[0])}")


def _reason(skip: dict[str, Any]) -> str:
    place = f"{skip['source']} line {skip['line']}" if skip["line"] else skip["source"]
    return f"{place}: {skip['reason']}"


COMMANDS = (import_, import_verdicts, import_labels)
