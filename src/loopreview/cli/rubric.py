"""rubric check, history, diff and test; calibration examples."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopreview.cli.call import Bar, Call, money, percent, say, shared_options, table
from loopreview.models.errors import UserError

if TYPE_CHECKING:
    from loopreview.models.rubric import Rubric


@click.group()
@shared_options
def rubric(call: Call) -> None:
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


@rubric.command()
@shared_options
def history(call: Call) -> None:
    """Every version of rubric and prompts that was used: when, what changed, how many passed.

    Writes the prompts and a table of them to prompt_versions/ in the workspace.
    """
    from loopreview.loop.rubric_versions import history as found

    with call.open() as workspace:
        document = found(workspace)
    call.emit(document, lambda: [*_versions(document["versions"]), "", *_prompts(document["prompts"])])
    say(f"prompts written to {document['folder']}")


def _versions(rows: list[dict[str, Any]]) -> list[str]:
    from loopreview.loop.rubric_versions import day

    lines = [
        (
            row["version"][:8] + (" now" if row["now"] else ""),
            day(row["at"]) or "not used yet",
            percent(row["judged_pass_rate"]),
            row["n"],
            "; ".join(f"{change['criterion']} {change['change']}".strip() for change in row["changed"]),
        )
        for row in rows
    ]
    return table(lines, ("rubric", "first used", "judged pass", "of", "changed"))


def _prompts(rows: list[dict[str, Any]]) -> list[str]:
    from loopreview.loop.rubric_versions import day

    lines = [
        (
            f"{row['role']} {row['number']}",
            row["version"][:8] + (" now" if row["now"] else ""),
            day(row["at"]),
            percent(row["pass_rate"]),
            row["n"],
            "" if row["batches"] is None else "batches " + ", ".join(map(str, row["batches"])),
        )
        for row in rows
    ]
    return table(lines, ("prompt", "version", "first used", "pass", "of", "made"))


@rubric.command()
@click.argument("a")
@click.argument("b")
@shared_options
def diff(call: Call, a: str, b: str) -> None:
    """What changed between two versions of the rubric, or of one prompt.

    A and B are versions as `rubric history` lists them (the first digits do), or `now` for the file.
    """
    from loopreview.loop.rubric_versions import difference

    with call.open() as workspace:
        document = difference(workspace, a, b)
    call.emit(document, lambda: document["diff"].split("\n") if document["diff"] else [])
    if document["same"]:
        say("the texts are the same; versions may also differ in the examples added during review")


@rubric.command()
@click.argument("criterion", required=False)
@click.option("--against", metavar="VERSION", help="Compare with this version (default: the latest that was asked).")
@click.option(
    "--fresh", type=click.IntRange(0), default=3, show_default=True, help="Unlabelled transcripts to ask too."
)
@click.option("--retest", is_flag=True, help="Ask the present wording twice, to see how steady each judge is.")
@click.option("--reviewer", metavar="NAME", help="Only this person's labels (default: the majority of all).")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it costs; ask nothing.")
@shared_options
def test(
    call: Call,
    criterion: str | None,
    against: str | None,
    fresh: int,
    retest: bool,
    reviewer: str | None,
    dry_run: bool,
) -> None:
    """Ask the judges under the old and the new wording, and hold both against what people said.

    Without CRITERION: each question that the last edit changed.
    """
    from loopreview.loop.rubric_test import test as tested

    with call.open() as workspace:
        document = tested(
            workspace,
            criterion,
            against=against,
            fresh=fresh,
            retest=retest,
            reviewer=reviewer,
            dry_run=dry_run,
            watcher=Bar(),
        )
    if dry_run:
        say(f"{document['calls']} calls, {money(document['cost_usd'])}; what is known so far:")
    call.emit(document, lambda: [line for row in document["criteria"] for line in _tested(row)])
    if not dry_run:
        say(f"{document['calls']} calls, {money(document['cost_usd'])}")
    if document["errors"]:
        raise UserError(
            f"{len(document['errors'])} answers are missing because a call failed; the same command asks them again",
            exit_code=3,
        )


def _tested(row: Mapping[str, Any]) -> list[str]:
    from loopreview.loop.rubric_versions import day

    old, new = row["old"], row["new"]
    lines = [
        f"{row['criterion']}: {row['labelled']} labelled transcripts, and {len(row['fresh'])} without a label",
        f"  before ({old['version'][:8]}, {day(old['at'])}, {_count(old['examples'])}): {_one_line(old['question'])}",
        f"  now ({_count(new['examples'])}): {_one_line(new['question'])}",
    ]
    rows = [
        (
            judge["backend"],
            judge["n"],
            judge["fixed"],
            judge["broken"],
            judge["kept_right"],
            judge["kept_wrong"],
            None if judge["p"] is None else f"{judge['p']:.3f}",
            _steady(judge),
        )
        for judge in row["judges"]
    ]
    header = ("judge", "n", "fixed", "broken", "still right", "still wrong", "p", "same when asked again")
    lines += [f"  {line}" for line in table(rows, header)]
    lines += _flips("fixed", row["fixed"]) + _flips("broken", row["broken"]) + _flips("moved, no label", row["moved"])
    if row["waiting"]:
        lines.append(f"  {row['waiting']} answers are still missing")
    if row["unlike"]:
        lines.append(f"  {row['unlike']} pairs were asked in different groups of criteria")
    return lines


def _steady(judge: Mapping[str, Any]) -> str:
    if judge["retest"] is not None:
        return f"{judge['retest']['same']} of {judge['retest']['n']}"
    return "" if judge["backend"] == "merged" else "not measured"


def _count(examples: int) -> str:
    return f"{examples} example{'' if examples == 1 else 's'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _flips(what: str, flips: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"  {what}: {flip['transcript']} {flip['backend']} {flip['before']} → {flip['after']}"
        + (f", people say {flip['truth']}" if flip["truth"] else "")
        for flip in flips
    ]


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
