"""generate."""

import click

from loopreview.cli.call import Bar, Call, money, say, shared_options


@click.command()
@click.option("--count", default=5, show_default=True, type=click.IntRange(1, 10_000), help="Transcripts in the batch.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), help="Names the batch: the same seed, the same personas and dice."
)
@click.option("--assess", "judged", is_flag=True, help="Judge each transcript as soon as it is finished.")
@click.option("--dry-run", is_flag=True, help="Say how many calls a new batch takes and what they cost; make none.")
@shared_options
def generate(call: Call, count: int, seed: int | None, judged: bool, dry_run: bool) -> None:
    """Make a batch of transcripts, or finish one that was interrupted."""
    from loopreview.loop import batch
    from loopreview.models.errors import UserError

    with call.open() as workspace:
        if dry_run:
            document = batch.estimate_batch(workspace, count=count, judged=judged)
            call.emit(document, lambda: [f"{document['calls']} calls, {money(document['cost_usd'])}"])
            return
        result = batch.make_batch(workspace, count=count, seed=seed, judged=judged, watcher=Bar())
    call.emit(
        result,
        lambda: [
            f"{row['id']}  {row['exchanges']} exchanges  {row['persona']}"
            + ("" if row["complete"] else "  NOT COMPLETE")
            for row in result["transcripts"]
        ],
    )
    say(f"batch {result['batch']}: {result['calls']} calls, {money(result['cost_usd'])}, {result['seconds']:.0f} s")
    left = len(result["errors"])
    if left:
        raise UserError(f"{left} calls failed; the same command tries them again", exit_code=3)


COMMANDS = (generate,)
