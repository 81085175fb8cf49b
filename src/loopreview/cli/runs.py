"""runs, trace, revoke."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from loopreview.cli import trace_words
from loopreview.cli.call import Call, say, shared_options, table
from loopreview.cli.trace_words import few, held, pairs, when

_MARKERS = "●×+#*o▲■"


@click.command()
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--compare", is_flag=True, help="Two runs or more side by side: what differs, and what came of it.")
@click.option("--plot", is_flag=True, help="Loss and validation loss as curves.")
@shared_options
def runs(call: Call, names: tuple[str, ...], compare: bool, plot: bool) -> None:
    """The training runs of this workspace: all of them, or those named.

    RUN is an id, the beginning of one, a number, or a folder. `!` marks a run that holds a revoked transcript.
    """
    from loopreview.lineage import results
    from loopreview.models.errors import UserError
    from loopreview.runs import listed, named

    if compare and plot:
        raise UserError("--compare and --plot are two views; choose one")
    if compare and len(set(names)) < 2:
        raise UserError("--compare takes two runs or more: `loopreview runs --compare r1 r2`")
    with call.open() as workspace:
        root = workspace.root
    found = [named(root, name) for name in dict.fromkeys(names)] if names else listed(root)
    if compare:
        document = results.compare(found)
        call.emit(document, lambda: _compared(document))
        return
    document = {"runs": [results.summary(run) for run in found]}
    if plot:
        document["curves"] = {run.id: results.curves(run) for run in found}
    call.emit(document, lambda: _plots(document["curves"]) if plot else _list(document["runs"]))


def _list(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "no run yet: `loopreview train start` makes one"
        return
    header = (
        "run", "state", "base", "adapter", "examples", "steps", "eval loss", "tokens/s", "when", "dataset", "",
    )  # fmt: skip
    yield from table((_row(row) for row in rows), header)
    for row in rows:
        if row["reason"]:
            yield f"{row['run']}: {row['reason']}"
    for row in rows:
        if row["revoked"]:
            yield f"{row['run']}: holds what was revoked since ({few(row['revoked'])}); train again without it"


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    adapter = f"{row['backend']} {row['adapter']}" if row["adapter"] else None
    return (
        row["run"],
        row["state"],
        _short(row["base"]),
        adapter,
        row["examples"]["train"] if row["examples"] else None,
        f"{row['steps']}/{row['steps_planned']}" if row["steps_planned"] else None,
        _from_to(row["eval_loss"]["base"], row["eval_loss"]["best"]),
        f"{row['tokens_per_s']:,.0f}" if row["tokens_per_s"] is not None else None,
        when(row["started"]),
        row["dataset"][:8] if row["dataset"] else None,
        "!" if row["revoked"] else "",
    )


def _compared(found: dict[str, Any]) -> Iterator[str]:
    names = [row["run"] for row in found["runs"]]
    for title, rows in (("plan", found["differs"]), ("environment", found["environment"])):
        if rows:
            yield from table(((key, *map(_value, values)) for key, values in rows.items()), (title, *names))
        else:
            yield f"{title}: no difference"
        yield ""
    yield from table(((key, *map(_value, values)) for key, values in found["results"].items()), ("result", *names))
    yield ""
    dataset = "the same dataset" if found["same_dataset"] else "different datasets"
    if found["comparable"]:
        yield f"{dataset}: the validation losses may be compared"
    else:
        yield f"the validation losses may not be compared: {found['why']}"


def _plots(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> Iterator[str]:
    if not any(points for found in curves.values() for points in found.values()):
        yield "nothing to plot yet: no run has a step"
        return
    if len(curves) == 1:
        ((run, found),) = curves.items()
        yield from _plot(run, {"loss": found["loss"], "validation loss": found["eval_loss"]})
        return
    for key, title in (("eval_loss", "validation loss"), ("loss", "loss")):
        yield from _plot(title, {run: found[key] for run, found in curves.items()})


def _plot(title: str, lines: Mapping[str, Sequence[tuple[int, float]]]) -> Iterator[str]:
    """The curves over steps, each of points of its own form: the terminal need not know colours."""
    import shutil

    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(min(100, shutil.get_terminal_size((80, 24)).columns), 16)
    for n, (name, points) in enumerate(lines.items()):
        if points:
            steps, losses = zip(*points, strict=True)
            draw = plotext.plot if len(points) > 1 else plotext.scatter
            draw(list(steps), list(losses), label=name, marker=_MARKERS[n % len(_MARKERS)])
    plotext.xlabel("step")
    yield title
    yield from (line.rstrip() for line in plotext.uncolorize(plotext.build()).split("\n"))


@click.command()
@click.argument("id")
@shared_options
def trace(call: Call, id: str) -> None:
    """Where an example comes from, and where a transcript went.

    \b
    ID is one of
      a run           r3, 3, its id, or its folder
      a transcript    6-1, or an import's source
      a dataset       its hash, the first 4 characters of it or more, or its folder
      an example      HASH:train:17, or RUN:train:17: row 17 of train.jsonl (rows count from 1)
    """
    from loopreview.lineage.trace import trace as look

    with call.open() as workspace:
        document = look(workspace, id)
    call.emit(document, lambda: trace_words.lines(document))


@click.command()
@click.argument("transcript", required=False)
@click.option("--reason", metavar="TEXT", help="Why.")
@click.option("--reviewer", metavar="NAME", help="Who says so (default: the settings, then the login name).")
@click.option("--undo", is_flag=True, help="Take a mistake back.")
@click.option("--list", "show", is_flag=True, help="What is revoked.")
@click.option(
    "--also",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A dataset or run that lies elsewhere, a copy for example; repeatable.",
)
@shared_options
def revoke(
    call: Call,
    transcript: str | None,
    reason: str | None,
    reviewer: str | None,
    undo: bool,
    show: bool,
    also: tuple[Path, ...],
) -> None:
    """Withdraw a transcript from training: name and mark each dataset and run that holds it.

    No export takes it from then on, and no run is started on a dataset that holds it. Nothing is deleted. Exit 3 where
    a folder could not be marked.
    """
    from loopreview.lineage import revoke as stage
    from loopreview.models.errors import UserError
    from loopreview.store.transcripts import resolve

    if show == (transcript is not None):
        raise UserError("name one transcript (`loopreview revoke 6-1`), or ask for the list with --list")
    if show and (undo or also or reason):
        raise UserError("--list only lists; leave out the other options")
    with call.open() as workspace:
        if transcript is None:
            document = stage.listed(workspace)
            call.emit(document, lambda: _revoked(document))
            return
        act = stage.restore if undo else stage.revoke
        id = resolve(workspace.store, transcript)
        document = act(workspace, id, reviewer=workspace.reviewer(reviewer), reason=reason, also=also)
    old = _renewed(document)
    call.emit(document, lambda: _withdrawn(document))
    for run in old:
        say(f"{run}: its README.md was edited and is left as it is; revoked.json beside it says what was revoked")
    for line in (*document["unknown"], *document["failed"]):
        say(line)
    if document["failed"]:
        click.get_current_context().exit(3)


def _withdrawn(found: dict[str, Any]) -> Iterator[str]:
    id, revoked = found["transcript"], found["revoked"]
    what = "is revoked" if revoked else "is not revoked any more"
    before = " (it was so already)" if found["already"] else ""
    yield f"{id} {what}{before}"
    for row in found["datasets"]:
        yield f"dataset {row['hash']}  {row['folder']}  examples: {pairs(row['examples'])}"
    for row in found["runs"]:
        yield f"run {row['run']} ({row['state']})  {held(row)}"
    if not found["datasets"] and not found["runs"]:
        yield "no dataset or run that this workspace knows holds it"
    if not revoked:
        yield "`loopreview export` takes it again"
        return
    running = [row["run"] for row in found["runs"] if row["state"] == "running"]
    if running:
        yield f"still training on it: `loopreview train cancel {running[0]}`" + (
            f" ({few(running)})" if running[1:] else ""
        )
    if found["datasets"]:
        yield "to do: `loopreview export`, which leaves it out, and delete the datasets above and every copy of them"
    if found["runs"]:
        yield "to do: train again on the new dataset, and delete the runs above; a model does not forget"


def _revoked(found: dict[str, Any]) -> Iterator[str]:
    if not found["revoked"]:
        yield "nothing is revoked"
        return
    rows = [(row["transcript"], when(row["at"]), row["by"], row["reason"]) for row in found["revoked"]]
    yield from table(rows, ("transcript", "when", "by", "reason"))


def _renewed(document: dict[str, Any]) -> list[str]:
    """Write the cards of the marked runs anew. Returns the runs whose card is left as it is."""
    from loopreview.lineage.known import plan_of
    from loopreview.models.errors import UserError
    from loopreview.runs import Run
    from loopreview.train.card import write_card

    left = []
    for row in document["runs"]:
        run = Run(Path(row["folder"]))
        if not run.card_file.is_file():
            continue
        try:
            written = write_card(run, plan_of(run))
        except (UserError, OSError):
            written = False
        if not written and row["marked"]:
            left.append(run.id)
    return left


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def _from_to(base: float | None, best: float | None) -> str | None:
    if base is None and best is None:
        return None
    first, last = ("–" if one is None else f"{one:.3f}" for one in (base, best))
    return f"{first} → {last}"


def _short(base: str | None) -> str | None:
    return Path(base).name if base and Path(base).is_absolute() else base


COMMANDS = (runs, trace, revoke)
