"""chat: a run's base and tuned model, asked the same."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopreview.cli.call import Call, say, shared_options

if TYPE_CHECKING:
    import asyncio

    from loopreview.runs import Run
    from loopreview.train.chat import Answers, Chat

_SIDE_BY_SIDE = 100
"""Columns of the terminal from which the two answers stand next to each other."""
_HELP = """\
/again      both answer your last words once more, under another seed
/reset      both begin anew
/save FILE  both conversations as JSON lines, which `loopreview import` reads
/quit       leave (or ctrl+d)"""


@click.command()
@click.argument("run", required=False)
@click.option("--say", "said", metavar="TEXT", multiple=True, help="Say this and leave; may be given several times.")
@click.option("--system", metavar="TEXT|FILE|none", help="The system message (default: that of the training data).")
@click.option("--temperature", type=click.FloatRange(0, 2), default=0.0, show_default=True, help="0: the likeliest.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Of an answer.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same for both.")
@click.option("--only", type=click.Choice(["base", "tuned"]), help="Ask one of the two alone.")
@shared_options
def chat(
    call: Call,
    run: str | None,
    said: tuple[str, ...],
    system: str | None,
    temperature: float,
    max_tokens: int,
    seed: int,
    only: Any,
) -> None:
    """Talk to the base and to the tuned model of a RUN side by side (without one: of the newest).

    Both are served on this machine alone, with the chat template of the training. Piped input is read line by line.
    """
    import asyncio

    from loopreview.models.errors import UserError
    from loopreview.runs import named
    from loopreview.train.chat import Sampling, opened

    found = named(call.root.expanduser().absolute(), run)
    standing = found.standing()
    if standing.state != "done":
        why = f": {standing.reason}" if standing.reason else ""
        raise UserError(f"{found.id}: is {standing.state}, not done{why}; `loopreview runs` lists those that are")
    given = {} if system is None else {"system": lambda *_: (_system(system), "")}
    if not call.json:
        say(f"{found.id}: starting the server")
    with (
        opened(found, only=only, sampling=Sampling(temperature, max_tokens, seed), warn=say, **given) as talk,
        asyncio.Runner() as runner,
    ):
        try:
            session = _Session(call, found, talk, runner, drawn=temperature > 0)
            if said:
                session.go(said, commands=False)
            else:
                session.go(_typed(call), commands=True)
        finally:
            runner.run(talk.close())
    if call.json:
        call.emit(session.document(), list)
    if session.failed:
        raise UserError(f"{found.id}: {session.failed}", exit_code=3)


class _Session:
    """One sitting: what is typed, and what is shown of it."""

    def __init__(self, call: Call, run: "Run", talk: "Chat", runner: "asyncio.Runner", *, drawn: bool) -> None:
        self.call, self.run, self.talk, self.runner, self.drawn = call, run, talk, runner, drawn
        self.turns: list[dict[str, Any]] = []
        self.failed = ""
        """Why the last answer that did not come did not."""

    def go(self, lines: Iterable[str], *, commands: bool) -> None:
        """Each line is said to both; with `commands`, unless it is one."""
        for line in lines:
            text = line.strip().encode("utf-8", "replace").decode()
            if not text:
                continue
            if commands and text.startswith("/"):
                if text in ("/quit", "/q"):
                    return
                self._command(*text.split(maxsplit=1))
                continue
            self._show(text, self.runner.run(self.talk.say(text)), echo=not commands)

    def document(self) -> dict[str, Any]:
        return {
            "run": self.run.id,
            **{side: {"model": self.talk.names[side]} if side in self.talk.sides else None for side in _SIDES},
            "system": self.talk.system,
            "turns": self.turns,
        }

    def _command(self, name: str, rest: str = "") -> None:
        if name == "/again":
            if not self.drawn:
                say("at temperature 0 the answers would be the same; start with --temperature 0.7")
                return
            answers = self.runner.run(self.talk.again())
            if answers is None:
                say("nothing was said yet")
            else:
                self._show(self.turns[-1]["user"], answers)
        elif name == "/reset":
            self.talk.reset()
            say("both begin anew")
        elif name == "/save":
            self._save(rest)
        else:
            say(_HELP if name == "/help" else f"{name}: no such command; /help lists them")

    def _save(self, name: str) -> None:
        import json

        records = self.talk.records(self.run.id)
        path = Path(name).expanduser()
        if not name or not records:
            say("/save FILE: name a file" if records else "nothing to save yet")
            return
        try:
            with path.open("x", encoding="utf-8") as file:
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        except OSError as error:
            say(f"{path}: not saved ({error.strerror})")
            return
        say(f"{path}: {len(records)} conversations; `loopreview import` reads them")

    def _show(self, user: str, answers: "Answers", *, echo: bool = False) -> None:
        failed = [f"{side}: {answer.error}" for side, answer in answers.items() if answer.text is None]
        self.failed = "; ".join(failed) or self.failed
        self.turns.append(
            {
                "user": user,
                **{side: answers[side].text if side in answers else None for side in _SIDES},
                "seconds": {side: round(answer.seconds, 2) for side, answer in answers.items()},
                **({"errors": failed} if failed else {}),
            }
        )
        if self.call.json:
            return
        for line in self._lines(f"you> {user}" if echo else "", answers):
            click.echo(line)

    def _lines(self, user: str, answers: "Answers") -> Iterator[str]:
        import shutil

        from loopreview.cli.columns import beside, wrapped
        from loopreview.rules.safe_text import safe

        width = shutil.get_terminal_size().columns
        if user:
            yield from wrapped(safe(user), width)
        heads, texts = [], []
        for side in self.talk.sides:
            answer = answers[side]
            name = side if side == "base" else f"tuned · {self.run.id}"
            cut = " · cut at --max-tokens" if answer.cut else ""
            heads.append(f"{name} · {answer.seconds:.1f} s{cut}")
            texts.append(safe(answer.text or f"({answer.error or 'an empty answer'})"))
        if len(texts) == 2 and width >= _SIDE_BY_SIDE:
            yield from (click.style(line, bold=True) for line in beside(heads[0], heads[1], width))
            yield from beside(texts[0], texts[1], width)
        else:
            for head, text in zip(heads, texts, strict=True):
                yield from (click.style(line, bold=True) for line in wrapped(head, width))
                yield from wrapped(text, width)
        yield ""


_SIDES = ("base", "tuned")


def _system(given: str) -> str | None:
    if given.strip().lower() == "none":
        return None
    try:
        text = Path(given).expanduser().read_text(encoding="utf-8") if "\n" not in given else given
    except (OSError, ValueError):
        text = given
    return text.strip() or None


def _typed(call: Call) -> Iterator[str]:
    """Lines of stdin, to its end; a prompt and line editing where it is a terminal."""
    asks = sys.stdin.isatty()
    if asks:
        import contextlib

        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (line editing for `input`)
        say("type, and both answer; /help lists the commands, ctrl+d leaves")
    while True:
        try:
            yield input("you> " if asks and not call.json else "")
        except EOFError:
            if asks:
                click.echo("")
            return


COMMANDS = (chat,)
