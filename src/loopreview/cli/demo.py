"""demo."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from loopreview.cli.call import Bar, Call, percent, say, shared_options


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--headless", is_flag=True, help="Without the terminal program: two batches, judged and reviewed by a script."
)
@shared_options
def demo(call: Call, directory: Path | None, headless: bool) -> None:
    """Try loopreview with an offline simulator: no key, no network, nothing spent."""
    from loopreview.workspace import init

    root = init(directory or Path(tempfile.mkdtemp(prefix="loopreview-demo-")) / "demo", template="support-agent")
    say(f"demo workspace: {root}")
    if headless or call.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from loopreview.loop.demo import demo as play
        from loopreview.workspace import Workspace

        with Workspace.open(root) as workspace:
            document = play(workspace, Bar())
        call.emit(document, lambda: _lines(document))
        return
    from loopreview.cli.terminal import open_terminal

    open_terminal(root)
    say(f"your demo is in {root}; come back with `loopreview -w {root}`")


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for batch in found["batches"]:
        yield f"batch {batch['id']}: {batch['passed']} of {batch['n']} passed ({percent(batch['pass_rate'])})"
    flags = found["flags"]
    yield f"reviewed by a script: {flags['false_positive']} false positives, {flags['false_negative']} false negatives"
    yield f"advice: {found['gate']['advice']}. {found['gate']['why']}"
    yield f"audit of {found['audit']['replies']} replies: {found['audit']['gate']['why'] or 'nothing stands out'}"
    if found["export"]:
        counts = ", ".join(f"{count} {split}" for split, count in found["export"]["examples"].items())
        yield f"exported for training: {counts}, in {found['export']['dataset']}"
    else:
        yield f"not exported: {found['export_reason']}"
    if found["run"]:
        loss = found["run"]["loss"]
        yield f"trained a tiny model for {found['run']['steps']} steps: loss {loss['first']:.2f} → {loss['last']:.2f}"
    else:
        yield f"not trained: {found['run_reason']}"
    yield f"look around: loopreview -w {found['workspace']}"


COMMANDS = (demo,)
