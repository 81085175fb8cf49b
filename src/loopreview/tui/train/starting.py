"""The training commands as the screen gives them: the very ones a person would type, run in processes of their own."""

import asyncio
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import MANIFEST
from loopreview.models.errors import UserError
from loopreview.tui.counting import run_loopreview

Runner = Callable[[list[str]], Awaitable[tuple[int, str, str]]]
"""Runs `loopreview ARGS`; gives its exit code, what it printed, and its last line of narration."""

ANY = "as planned"
BACKENDS, ADAPTERS = (ANY, "cuda", "mlx"), (ANY, "qlora", "lora", "full")
NO_TRACKER = "none"
TRACKERS = (NO_TRACKER, "mlflow", "wandb", "trackio", "tensorboard")
QUESTIONS = ("task_stability", "required_knowledge", "available_examples", "impact_of_mistakes", "necessary_evaluation")
"""What the TRAIN gate asks, in its order."""


class Answer(NamedTuple):
    """To a question of the TRAIN gate: `yes`, `no`, or empty while it is not answered."""

    answer: str = ""
    reason: str = ""

    def problem(self) -> str | None:
        return "a no needs a reason to go on all the same" if self.answer == "no" and not self.reason else None


class Wish(NamedTuple):
    """What a person asked for; the plan decides what is empty. `settings`: KEY=VALUE, one after the other; `start`: the
    run to go on from; `track`: the experiment tracker that is told."""

    base: str = ""
    dataset: str = ""
    backend: str = ""
    adapter: str = ""
    epochs: str = ""
    settings: str = ""
    start: str = ""
    track: str = ""

    @property
    def pairs(self) -> list[str]:
        """Raises ValueError where a quote is not closed."""
        return shlex.split(self.settings)

    def args(self, dataset: str = "") -> list[str]:
        """Options of `train plan` and `train start`, each as one word: a folder's name may begin with a dash.
        `dataset`: the one that is meant where none is named."""
        named = {
            "base": self.base, "dataset": self.dataset or dataset, "backend": self.backend, "adapter": self.adapter,
            "epochs": self.epochs, "from": self.start, "track": self.track,
        }  # fmt: skip
        return [f"--{name}={text}" for name, text in named.items() if text] + [f"--set={pair}" for pair in self.pairs]

    def problem(self) -> str | None:
        """Why this cannot be planned, in a line, if that can be said without planning."""
        if any("\n" in text for text in self._replace(settings="")):
            return "a name is one line"
        if self.epochs and not (self.epochs.isascii() and self.epochs.isdigit() and int(self.epochs)):
            return f"epochs: {self.epochs} is no whole number of 1 or more"
        try:
            bad = next((pair for pair in self.pairs if "=" not in pair.strip("=")), None)
        except ValueError:
            return "other settings: a quotation mark is not closed"
        return f"other settings: {bad} is not KEY=VALUE (such as rank=8)" if bad else None


def remembered(kept: Mapping[str, Any]) -> Wish:
    """A wish of what was kept, which anybody may have written into."""
    wish = Wish(**{name: value for name in Wish._fields if isinstance(value := kept.get(name), str)})
    known = (
        wish.backend in ("", *BACKENDS[1:])
        and wish.adapter in ("", *ADAPTERS[1:])
        and wish.track in ("", *TRACKERS[1:])
    )
    return wish if known and wish.problem() is None else Wish()


def remembered_answers(kept: Mapping[str, Any]) -> dict[str, Answer]:
    """Answers of what was kept; those that do not hold are asked for again."""
    found = {}
    for key in QUESTIONS:
        given = kept.get(key)
        if isinstance(given, list) and len(given) == 2 and all(isinstance(text, str) for text in given):
            answer = Answer(given[0], " ".join(given[1].split()))
            if answer.answer in ("yes", "no") and answer.problem() is None:
                found[key] = answer
    return found


def answer_args(answers: Mapping[str, Answer]) -> list[str]:
    given = [(key, answers[key]) for key in QUESTIONS if key in answers and answers[key].answer]
    return [f"--answer={key}={one.answer}{f': {one.reason}' if one.reason else ''}" for key, one in given]


class Command(NamedTuple):
    """`loopreview train VERB …` in a workspace. `rest` is shown too, `--json` is not."""

    verb: str
    root: Path
    rest: tuple[str, ...] = ()

    @property
    def args(self) -> list[str]:
        return ["train", self.verb, "-w", str(self.root), "--json", *self.rest]

    @property
    def shown(self) -> str:
        """As one types it into a shell."""
        return shlex.join(["loopreview", "train", self.verb, "-w", str(self.root), *self.rest])


def plan(root: Path, wish: Wish, dataset: str) -> Command:
    return Command("plan", root, ("--dry-run", *wish.args(dataset)))


def start(root: Path, wish: Wish, dataset: str, answers: Mapping[str, Answer]) -> Command:
    return Command("start", root, ("--detach", *wish.args(dataset), *answer_args(answers)))


def start_planned(root: Path, run: str, answers: Mapping[str, Answer]) -> Command:
    """Of a run that `train plan` wrote."""
    return Command("start", root, ("--detach", *answer_args(answers), *_named(run)))


def resume(root: Path, run: str) -> Command:
    return Command("resume", root, ("--detach", *_named(run)))


def cancel(root: Path, run: str, *, now: bool) -> Command:
    return Command("cancel", root, (*(["--now"] if now else []), *_named(run)))


def watch(root: Path, run: str) -> Command:
    return Command("watch", root, _named(run))


def _named(run: str) -> tuple[str, ...]:
    return ("--", run) if run.startswith("-") else (run,)


async def asked(run: Runner, args: list[str], *, refusing: bool = False) -> dict[str, Any]:
    """The JSON document that a command prints; with `refusing` also where it exits 1, since a check said no.
    Raises UserError with what it said instead."""
    code, out, errors = await run(args)
    found = None
    if not code or (refusing and code == 1):
        try:
            found = json.loads(out)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        what = " ".join(args[:2] if args[0] == "train" else args[:1])
        raise UserError(errors.removeprefix("loopreview: ") or f"`loopreview {what}` said nothing; try it in a shell")
    return found


async def doctor(run: Runner) -> dict[str, Any]:
    """What this machine can run. Raises UserError."""
    return await asked(run, ["doctor", "--json", "--quick"], refusing=True)


async def run_to_its_end(args: list[str]) -> tuple[int, str, str]:
    """As `run_loopreview`, but leaving the program does not end the command: half a start would be worse than one that
    nobody sees."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as narration:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "loopreview", *args],
            stdin=subprocess.DEVNULL, stdout=out, stderr=narration, start_new_session=True,
        )  # fmt: skip
        while process.poll() is None:
            await asyncio.sleep(0.05)
        for file in (out, narration):
            file.seek(0)
        printed, said = (file.read().decode("utf-8", "replace") for file in (out, narration))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return process.returncode, printed, lines[-1] if lines else ""


LOOKING: Runner = run_loopreview
DOING: Runner = run_to_its_end


def newest_export(root: Path) -> Path | None:
    """The dataset that `train` takes where none is named (`train.start.dataset_of`, which reads all of it)."""
    found: list[tuple[float, Path]] = []
    try:
        for folder in (root / "exports").iterdir():
            # One that is being written has a name that begins with a dot.
            if not folder.name.startswith(".") and (folder / MANIFEST).is_file():
                found.append((folder.stat().st_mtime, folder))
    except OSError:
        pass
    return max(found)[1] if found else None
