"""What every command shares: the workspace it is about, how it prints, and its progress bar."""

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from loopreview.progress import Progress
    from loopreview.workspace import Workspace

_NUMBER = re.compile(r"[\d.,–$%\s-]*")
F = TypeVar("F", bound=Callable[..., Any])


class Call:
    """One invocation: `-w` and `--json` count wherever they stand."""

    def __init__(self) -> None:
        self.given: Path | None = None
        self.json = False

    @property
    def root(self) -> Path:
        """The workspace folder: -w, else LOOPREVIEW_WORKSPACE, else the current folder."""
        return self.given or Path(os.environ.get("LOOPREVIEW_WORKSPACE") or ".")

    def open(self) -> "Workspace":
        from loopreview.workspace import Workspace

        return Workspace.open(self.root)

    def emit(self, document: dict[str, Any], lines: Callable[[], Iterable[str]]) -> None:
        """Print one JSON document under `--json`, else `lines` for a person, made safe for a terminal."""
        if self.json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=True, default=str))
            return
        from loopreview.rules.safe_text import safe

        for line in lines():
            click.echo(safe(line))


def say(text: str) -> None:
    """Narration: to stderr, made safe for a terminal."""
    from loopreview.rules.safe_text import safe

    click.echo(safe(text), err=True)


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        call = ctx.find_root().ensure_object(Call)
        if value:
            setattr(call, name, value)
        return value

    return callback


def shared_options(command: F) -> F:
    """`-w` and `--json`, before or after the subcommand; the function gets the Call as its first argument."""

    @click.option(
        "-w",
        "--workspace",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_set("given"),
        expose_value=False,
        help="The workspace folder (default: LOOPREVIEW_WORKSPACE, else the current folder).",
    )
    @click.option(
        "--json", is_flag=True, callback=_set("json"), expose_value=False, help="Print one JSON document on stdout."
    )
    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        return command(ctx.find_root().ensure_object(Call), *args, **kwargs)

    return wrapped  # type: ignore[return-value]


class Bar:
    """A progress bar on stderr, where stderr is a terminal; notes as lines in any case."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, label: str, total: int | None) -> None:
        if sys.stderr.isatty() and total != 0:
            # click counts without an end where it is given something of unknown length.
            self._bar = click.progressbar(
                (None for _ in ()), length=total, label=label, file=sys.stderr, show_pos=True, width=24
            )
            self._bar.__enter__()

    def advance(self, n: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(n)

    def note(self, text: str) -> None:
        if self._bar is not None:
            click.echo("\r\033[2K", nl=False, err=True)
        say(text)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def bar() -> "Progress":
    return Bar()


def money(usd: float | None) -> str:
    return "price unknown" if usd is None else f"${usd:.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.4f}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def table(rows: Iterable[Iterable[object]], header: Iterable[str]) -> list[str]:
    """Columns padded to their widest cell; numbers to the right."""
    grid = [[*header], *[["–" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    right = [all(_NUMBER.fullmatch(row[i]) for row in grid[1:]) for i in range(len(widths))]
    return [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in grid
    ]
