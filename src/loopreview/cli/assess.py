"""assess."""

import click

from loopreview.cli.call import Bar, Call, money, say, shared_options


@click.command()
@click.option("--batch", type=int, metavar="ID", help="The transcripts of this batch (default: the latest).")
@click.option("--all", "every", is_flag=True, help="All transcripts.")
@click.option("--only", metavar="CRITERION", help="Ask about this criterion alone.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it costs; ask nothing.")
@shared_options
def assess(call: Call, batch: int | None, every: bool, only: str | None, dry_run: bool) -> None:
    """Ask the judges what is stale or was never answered."""
    from loopreview.loop.batch import judge
    from loopreview.models.errors import UserError

    if batch is not None and every:
        raise UserError("--batch and --all exclude each other; give one of them")
    with call.open() as workspace:
        result = judge(workspace, batch=batch, every=every, only=only, dry_run=dry_run, watcher=Bar())
        judges = len(workspace.settings.judges)
    for note in result.pop("notes"):
        say(note)
    if dry_run:
        text = f"{result['calls']} calls for {result['stale']} answers, {money(result['cost_usd'])}"
        call.emit(result, lambda: [text])
        return
    call.emit(result, lambda: [_line(row) for row in result["transcripts"]])
    say(f"{result['calls']} calls to {judges} judges, {money(result['cost_usd'])}")
    if result["errors"]:
        raise UserError(
            f"{len(result['errors'])} answers are missing because a call failed; the same command asks them again",
            exit_code=3,
        )


def _line(row: dict[str, object]) -> str:
    if row["unscored"]:
        opened = row["open"]
        why = "open: " + ", ".join(opened) if isinstance(opened, list) and opened else "not complete"
        return f"{row['id']}  unscored  {why}"
    return f"{row['id']}  {'pass' if row['passed'] else 'FAIL'}  {row['score']:.2f}"


COMMANDS = (assess,)
