"""export, export-labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from loopreview.cli.call import Call, bar, say, shared_options, table


@click.command()
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder (default: exports/<hash> of the workspace).",
)
@click.option(
    "--tokenizer",
    metavar="DIR|HUB_ID|none",
    help="The model's tokenizer and template: token rows too (default: base_model of the settings, if it is set).",
)
@click.option(
    "--kind",
    type=click.Choice(["sft", "dpo", "kto"]),
    default="sft",
    show_default=True,
    help="Examples, pairs from rewritten replies, or replies with a verdict.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["trl", "mlx", "openai", "sharegpt"]),
    default="trl",
    show_default=True,
    help="Whose files.",
)
@click.option(
    "--supervise",
    type=click.Choice(["last_reply", "all_replies"]),
    default="last_reply",
    show_default=True,
    help="What is trained on: the last reply of each slice, or every reply of whole transcripts.",
)
@click.option("--push", metavar="ID", help="Upload to this dataset repository of the Hugging Face Hub; needs HF_TOKEN.")
@click.option("--public", is_flag=True, help="Let everybody see what is pushed.")
@shared_options
def export(
    call: Call,
    to: Path | None,
    tokenizer: str | None,
    kind: Any,
    form: str,
    supervise: Any,
    push: str | None,
    public: bool,
) -> None:
    """Write training data from what reviewers decided."""
    from loopreview.dataset.examples import Wanted
    from loopreview.dataset.make import make_dataset
    from loopreview.models.errors import UserError

    if public and not push:
        raise UserError("--public says who sees what is pushed; give --push ID too")
    if supervise != "last_reply" and kind != "sft":
        raise UserError(f"--supervise is about --kind sft; {kind} is always about the last reply")
    with call.open() as workspace:
        wanted = Wanted(kind, form, supervise)
        result = make_dataset(workspace, wanted, to=to, tokenizer=tokenizer, push=push, public=public, watcher=bar())
    for warning in result["warnings"]:
        say(warning)
    call.emit(result, lambda: _lines(result))
    for reason, count in result["left_out_counts"].items():
        say(f"left out: {count} {reason}")
    if result["identical"]:
        say(f"{result['dataset']} is there already, the very same; nothing was written")
    if result["pushed"]:
        say(f"pushed to {result['pushed']}")


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield result["dataset"]
    yield ""
    yield from table(
        ((split, len(ids), result["examples"][split]) for split, ids in result["transcripts"].items()),
        ("split", "transcripts", "examples"),
    )
    tokens = result["tokens"]
    if tokens:
        yield f"tokens of an example: {tokens['min']:,} to {tokens['max']:,}, median {tokens['median']:,}"


@click.command("export-labels")
@shared_options
def export_labels(call: Call) -> None:
    """People's answers as sorted JSON lines, for import-labels and for git."""
    import json

    from loopreview.dataset.labels import labels
    from loopreview.rules.safe_text import safe

    with call.open() as workspace:
        rows = labels(workspace)
    if call.json:
        call.emit({"labels": rows}, lambda: [])
        return
    for row in rows:
        line = json.dumps(row, ensure_ascii=False)
        # What a terminal would obey is written as JSON writes it, so that the line reads back the same.
        click.echo(line if safe(line, keep_newlines=False) == line else json.dumps(row))
    say(f"{len(rows)} labels")


COMMANDS = (export, export_labels)
