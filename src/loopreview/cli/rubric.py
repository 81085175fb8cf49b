"""rubric check and calibration examples."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopreview.cli.call import Call, say, shared_options
from loopreview.models.errors import UserError

if TYPE_CHECKING:
    from loopreview.models.rubric import Rubric


@click.group()
def rubric() -> None:
    """The rubric: what is asked of each transcript."""


@rubric.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@shared_options
def check(call: Call, file: Path | None) -> None:
    """Whether the rubric (or FILE) is valid: all its problems with their lines. Exit 2 where it is not."""
    from loopreview.rules.rubric import check_rubric, read_rubric, rubric_notes
    from loopreview.store import examples
    from loopreview.workspace import Workspace

    added = []
    if file is None:
        with Workspace.open(call.root) as workspace:
            path, where = workspace.rubric_path, workspace.settings.rubric
            added = [(criterion, example) for _, criterion, example in examples.listed(workspace.store)]
    else:
        path, where = file, str(file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    problems = check_rubric(text, where)
    notes = [] if problems else rubric_notes(read_rubric(text, where), added)
    document = {
        "valid": not problems,
        "problems": [{"line": p.line, "column": p.column, "message": p.message} for p in problems],
        "notes": notes,
    }
    call.emit(
        document,
        lambda: [f"{where} line {p.line}: {p.message}" for p in problems] or [f"{where}: valid", *notes],
    )
    if problems:
        click.get_current_context().exit(2)


_LABELS = ("PASS", "FAIL", "BORDERLINE_PASS", "BORDERLINE_FAIL")


class _Examples(click.Group):
    """`examples`, `examples U1`, `examples add …`, `examples remove N`: a word that is no subcommand is a criterion."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "list", self.commands["list"], args
        return super().resolve_command(ctx, args)


@click.group("examples", cls=_Examples, invoke_without_command=True)
@shared_options
def examples_group(call: Call) -> None:
    """Calibration examples: labelled excerpts that teach the judges one criterion."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        context.invoke(list_examples, criterion=None)


@examples_group.command("list", hidden=True)
@click.argument("criterion", required=False)
@shared_options
def list_examples(call: Call, criterion: str | None) -> None:
    """All examples, or those of one criterion."""
    from loopreview.store import examples as stored

    with call.open() as workspace:
        _known(workspace.file_rubric, criterion)
        rows = [
            {"id": None, "criterion": c.id, "from": workspace.settings.rubric, **example.model_dump()}
            for c in workspace.file_rubric.criteria
            for example in c.examples
        ]
        rows += [
            {"id": id, "criterion": name, "from": "review", **example.model_dump()}
            for id, name, example in stored.listed(workspace.store)
        ]
    rows = [row for row in rows if criterion in (None, row["criterion"])]
    call.emit(
        {"examples": rows},
        lambda: [f"{row['id'] or '–':>3}  {row['criterion']}  {row['label']}  {row['response'][:70]}" for row in rows],
    )


@examples_group.command("add")
@click.argument("criterion")
@click.argument("label", type=click.Choice(_LABELS, case_sensitive=False))
@click.option("--context", default="", help="What the user said.")
@click.option("--response", required=True, help="What the assistant said.")
@click.option("--reasoning", required=True, help="What decides, in a sentence.")
@click.option("--transcript", help="Where it is from; that transcript's judges never see it.")
@click.option("--reviewer", metavar="NAME")
@shared_options
def add_example(
    call: Call,
    criterion: str,
    label: str,
    context: str,
    response: str,
    reasoning: str,
    transcript: str | None,
    reviewer: str | None,
) -> None:
    """Add one; the judges' answers to that criterion become stale."""
    from loopreview.models.rubric import Example
    from loopreview.store import examples as stored
    from loopreview.store.transcripts import resolve

    with call.open() as workspace:
        _known(workspace.file_rubric, criterion)
        origin = resolve(workspace.store, transcript) if transcript else None
        values = {
            "label": label.upper(),
            "context": context,
            "response": response,
            "reasoning": reasoning,
            "origin": origin,
        }
        example = Example.model_validate(values)
        id = stored.add(workspace.store, criterion, example, workspace.reviewer(reviewer))
    call.emit(
        {"id": id, "criterion": criterion, **example.model_dump()}, lambda: [f"example {id} added to {criterion}"]
    )
    say("`loopreview assess --all --dry-run` says what asking again costs")


@examples_group.command("remove")
@click.argument("number", type=int)
@shared_options
def remove_example(call: Call, number: int) -> None:
    """Remove one that was added during review, by its number."""
    from loopreview.store import examples as stored

    with call.open() as workspace:
        stored.remove(workspace.store, number)
    call.emit({"removed": number}, lambda: [f"example {number} removed"])


def _known(rubric: "Rubric", criterion: str | None) -> None:
    ids = [c.id for c in rubric.criteria]
    if criterion is not None and criterion not in ids:
        raise UserError(f"no criterion {criterion}; the rubric has {', '.join(ids)}")


COMMANDS = (rubric, examples_group)
