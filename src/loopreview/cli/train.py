"""train plan|start|resume|cancel|watch|merge|convert."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopreview.cli.call import Call, say, shared_options
from loopreview.cli.train_words import Teller, end_lines, plan_lines, print_example

if TYPE_CHECKING:
    from loopreview.models.settings import ModelSettings
    from loopreview.runs import Run
    from loopreview.train.plan import Planned
    from loopreview.train.start import Wanted

_RUN = click.argument("run", metavar="[RUN]", required=False)


@click.group()
def train() -> None:
    """Train a model on an exported dataset, on this machine."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `plan` and `start` are asked with."""
    for option in reversed(
        (
            click.option("--backend", type=click.Choice(["cuda", "mlx"]), help="Who trains (default: what is here)."),
            click.option(
                "--base", metavar="DIR|HUB_ID", help="The base model (default: base_model in loopreview.toml)."
            ),
            click.option(
                "--dataset",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help="An exported dataset (default: the newest in exports/).",
            ),
            click.option("--method", type=click.Choice(["sft"]), help="Supervised fine-tuning, so far."),
            click.option("--adapter", type=click.Choice(["qlora", "lora", "full"]), help="What is trained."),
            click.option("--epochs", type=click.IntRange(min=1), help="Passes over the examples."),
            click.option(
                "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other value of the plan; repeatable."
            ),
            click.option(
                "--from", "start", metavar="RUN", help="Go on from what that run made, with its plan's values."
            ),
            click.option(
                "--track",
                multiple=True,
                type=click.Choice(["mlflow", "wandb", "trackio", "tensorboard"]),
                help="Tell an experiment tracker too; repeatable.",
            ),
        )
    ):
        command = option(command)
    return command


@train.command()
@_options
@click.option("--show-example", type=click.IntRange(min=1), metavar="N", help="Print example N as the model sees it.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@shared_options
def plan(call: Call, show_example: int | None, dry_run: bool, **asked: Any) -> None:
    """Propose a plan, say why for each value, and check the data and the memory.

    Writes runs/<id>/plan.yaml, which may be edited; `loopreview train start <id>` starts it. Exit 1 where a check
    says no.
    """
    from loopreview.train.start import planned

    wanted = _wanted(call, asked)
    with planned(call.root.expanduser().absolute(), wanted, keep=not dry_run) as (run, found):
        if show_example is not None:
            from loopreview.train.base import Base
            from loopreview.train.example import show_example as shown

            parts = shown(found.plan.data.tokens, Base.open(found.plan.base), show_example)
            if call.json:
                rows = [{"text": text, "supervised": supervised} for text, supervised in parts]
                call.emit({"example": show_example, "parts": rows}, list)
            else:
                print_example(parts)
            return
        document = _document(call, run, found, asked)
    call.emit(document, lambda: plan_lines(document))
    if any(check.level == "error" for check in found.checks):
        click.get_current_context().exit(1)


@train.command()
@_RUN
@_options
@click.option("--answer", "answers", multiple=True, metavar="KEY=yes|no[: REASON]", help="Answer a TRAIN question.")
@click.option("--dry-run", is_flag=True, help="Plan and check only; write and start nothing.")
@click.option("--detach", is_flag=True, help="Return at once; `loopreview train watch` follows the run.")
@click.option("--yes", is_flag=True, help="Do not ask the TRAIN questions; they are kept as not answered.")
@shared_options
def start(
    call: Call, run: str | None, answers: tuple[str, ...], dry_run: bool, detach: bool, yes: bool, **asked: Any
) -> None:
    """Start a run and follow it to its end; ctrl+c saves a checkpoint and stops it.

    With RUN, one that `train plan` made; else a new one is planned.
    """
    from loopreview.train import device
    from loopreview.train.gates import refuse
    from loopreview.train.start import launch, planned

    if run is not None:
        found = _planned_run(call, run, asked)
        _keep_answers(call, found, answers, yes)
        _begin(call, found, launch(found, resume=False), detach=detach)
        return
    wanted = _wanted(call, asked)
    with planned(call.root.expanduser().absolute(), wanted, keep=not dry_run) as (made, proposed):
        if dry_run:
            document = _document(call, None, proposed, asked)
            call.emit(document, lambda: plan_lines(document))
        refuse(proposed.checks)
        device.refuse_busy(proposed.plan.device)
        for check in proposed.checks:
            if check.level == "warning" and not dry_run:
                say(f"{check.name}: {check.text}")
        if made is not None:
            _keep_answers(call, made, answers, yes)
    if made is not None:
        _begin(call, made, launch(made, resume=False), detach=detach)


@train.command()
@_RUN
@click.option("--detach", is_flag=True, help="Return at once.")
@shared_options
def resume(call: Call, run: str | None, detach: bool) -> None:
    """Go on from a run's last checkpoint, after a cancel, a crash or a kill."""
    from loopreview.train.start import launch

    found = _run(call, run)
    offset = _size(found.events_file)
    _begin(call, found, launch(found, resume=True), detach=detach, offset=offset)


@train.command()
@_RUN
@click.option("--now", is_flag=True, help="Do not wait for a checkpoint: the steps since the last one are lost.")
@shared_options
def cancel(call: Call, run: str | None, now: bool) -> None:
    """Stop a running job: it saves a checkpoint at the end of its step."""
    from loopreview.train.start import cancel as stop
    from loopreview.train.start import summary

    found = _run(call, run)
    stop(found, now=now)
    said = "stopped as it was" if now else "asked to save a checkpoint and stop"
    call.emit(summary(found), lambda: [f"{found.id}: {said}; `loopreview train resume {found.id}` goes on"])


@train.command()
@_RUN
@shared_options
def watch(call: Call, run: str | None) -> None:
    """Follow a run to its end; ctrl+c leaves it running."""
    from loopreview.train.start import follow

    found = _run(call, run)
    code = follow(found, None, Teller())
    _end(call, found, code)


@train.command()
@_RUN
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: runs/<id>/merged."
)
@shared_options
def merge(call: Call, run: str | None, to: Path | None) -> None:
    """Merge base and adapter into full weights, unquantised, that any program loads."""
    from loopreview.train.finish import merged

    found = _run(call, run)
    folder = merged(found, to)
    call.emit({"run": found.id, "merged": str(folder)}, lambda: [str(folder)])


@train.command()
@_RUN
@click.option("--to", "form", type=click.Choice(["peft", "mlx"]), required=True, help="Whose form.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: runs/<id>/adapter-FORM."
)
@shared_options
def convert(call: Call, run: str | None, form: Any, out: Path | None) -> None:
    """Turn a run's adapter into the other backend's form."""
    from loopreview.train.convert import convert as converted
    from loopreview.train.plan import refuse_changed
    from loopreview.train.start import refuse_revoked

    found = _run(call, run)
    refuse_revoked(found)
    refuse_changed(found)
    folder = converted(found, form, (out or found.folder / f"adapter-{form}").absolute())
    call.emit({"run": found.id, "adapter": str(folder), "form": form}, lambda: [str(folder)])


@train.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--resume", is_flag=True)
@click.pass_context
def work(context: click.Context, folder: Path, resume: bool) -> None:
    """The job itself: `start` and `resume` run this."""
    from loopreview.train.job import work as job

    context.exit(job(folder, resume=resume))


def _run(call: Call, name: str | None) -> "Run":
    from loopreview import runs

    return runs.named(call.root.expanduser().absolute(), name)


def _planned_run(call: Call, name: str, asked: dict[str, Any]) -> "Run":
    """A run that was planned before. Raises UserError where it was started, or where the plan is asked for anew."""
    from loopreview.formats.exported import Exported
    from loopreview.models.errors import UserError
    from loopreview.train.gates import data_gate, refuse
    from loopreview.train.plan import read_plan

    found = _run(call, name)
    if any(asked.values()):
        raise UserError(f"{found.id}: has its plan already; edit {found.plan_file}, or leave RUN out for a new plan")
    state = found.standing().state
    if state not in ("planned", "running", "done"):
        raise UserError(f"{found.id}: is {state}; `loopreview train resume {found.id}` goes on with it")
    plan = read_plan(found.plan_file)
    refuse(data_gate(Exported.open(plan.data.folder), plan))
    return found


def _wanted(call: Call, asked: dict[str, Any]) -> "Wanted":
    import os

    from loopreview.rules.settings import read_settings
    from loopreview.train.plan import parse_settings
    from loopreview.train.start import Wanted
    from loopreview.workspace import SETTINGS

    given = {**parse_settings(asked["settings"])}
    for name in ("backend", "method", "adapter", "epochs"):
        if asked[name] is not None:
            given[name] = asked[name]
    if asked["track"]:
        given["track"] = tuple(asked["track"])
    start = _run(call, asked["start"]) if asked["start"] else None
    base = asked["base"]
    settings = None
    if (call.root / SETTINGS).is_file():
        settings = read_settings((call.root / SETTINGS).read_text(encoding="utf-8-sig"), SETTINGS)
    if base is None and start is None and settings:
        # A folder as seen from the workspace, as for the export's tokenizer; else a model on the Hub.
        base = settings.base_model
        base = str(call.root / base) if base and (call.root / base).is_dir() else base
    dataset = asked["dataset"]
    # Kept in the plan and shown: without `..`.
    return Wanted(
        os.path.abspath(Path(base).expanduser()) if base and Path(base).expanduser().is_dir() else base,
        Path(os.path.abspath(dataset.expanduser())) if dataset else None,
        given,
        start,
        _pass_rate(call) if settings and base and _writes(settings.assistant, base) else None,
    )


def _writes(assistant: "ModelSettings | None", base: str) -> bool:
    """Whether the workspace's conversations are the base model's own, as far as names tell."""
    return assistant is not None and assistant.model.rpartition("/")[2].lower() == Path(base).name.lower()


def _pass_rate(call: Call) -> float | None:
    from loopreview.report import status

    with call.open() as workspace:
        rate: float | None = status(workspace)["gate"]["pass_rate"]
    return rate


def _keep_answers(call: Call, run: "Run", given: tuple[str, ...], yes: bool) -> None:
    """The TRAIN gate: answered by options, else asked at the terminal, and kept with the run."""
    import sys

    from loopreview.runs import write_json
    from loopreview.train.gates import QUESTIONS, TrainGate, parse_answers

    answers = parse_answers(given)
    if not yes and not call.json and sys.stdin.isatty():
        for question in QUESTIONS:
            if question.key not in answers:
                click.echo(f"\n{question.asks}\n  {question.why}", err=True)
                good = click.confirm("  Is it so?", err=True)
                reason = "" if good else click.prompt("  Why go on all the same?", err=True)
                answers |= parse_answers([f"{question.key}={'yes' if good else 'no'}: {reason}"])
    # With --yes a question may stay open; a no still needs its reason.
    TrainGate.check({**({one.key: {"answer": "yes"} for one in QUESTIONS} if yes else {}), **answers})
    write_json(run.gate_file, TrainGate.record(answers))


def _begin(call: Call, run: "Run", process: Any, *, detach: bool, offset: int = 0) -> None:
    from loopreview.train.start import follow, summary, wait_until_it_lives

    if detach:
        wait_until_it_lives(run, process)
        say(f"{run.id} has started; `loopreview train watch {run.id}` follows it")
        call.emit(summary(run), lambda: [run.id])
        return
    say(f"{run.id} · ctrl+c saves a checkpoint and stops")
    try:
        code = follow(run, process, Teller(), offset=offset)
    except KeyboardInterrupt:
        say(f"{run.id}: stopping after this step …")
        process.send_signal(2)
        code = follow(run, process, Teller(), offset=_size(run.events_file))
    _end(call, run, code)


def _end(call: Call, run: "Run", code: int) -> None:
    from loopreview.jobs import last_line
    from loopreview.train.start import summary

    document = summary(run)
    call.emit(document, lambda: end_lines(document))
    if document["state"] == "failed" or code not in (0, 130):
        # A job that could not even write its events said why in the log, if anywhere.
        why = document["reason"] or last_line(run.log_file) or "the job ended without a word; is the disk full?"
        say(f"loopreview: {run.id}: {why.removeprefix('loopreview: ')} (all of it: {run.log_file})")
    elif document["state"] == "cancelled":
        say(f"{run.id}: cancelled at step {document['steps']}; `loopreview train resume {run.id}` goes on")
    click.get_current_context().exit(code)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _document(call: Call, run: "Run | None", found: "Planned", asked: dict[str, Any]) -> dict[str, Any]:
    from loopreview.train.base import Base
    from loopreview.train.gates import QUESTIONS
    from loopreview.train.memory import fitting

    device = found.device
    base = Base.open(found.plan.base)
    fit = fitting(base.config, found.plan, device.free)
    longest = min(fit.max_length, base.positions) if fit.max_length and base.positions else fit.max_length
    return {
        "run": run.id if run else None,
        "folder": str(run.folder) if run else None,
        "plan": found.plan.model_dump(mode="json"),
        "reasons": found.reasons,
        "checks": [check._asdict() for check in found.checks],
        "memory": {
            **found.estimate._asdict(),
            "total": found.estimate.total,
            "device": device.name,
            "free": device.free,
            "max_length": longest,
            "batch": fit.batch,
        },
        "questions": [{"key": one.key, "asks": one.asks, "why": one.why} for one in QUESTIONS],
        "command": _command(call, run, asked),
    }


def _command(call: Call, run: "Run | None", asked: dict[str, Any]) -> str:
    """What one types to start the same."""
    import shlex

    words = ["loopreview", "train", "start", *(["-w", str(call.given)] if call.given else [])]
    if run is not None:
        return shlex.join([*words, run.id])
    for option in ("backend", "base", "dataset", "method", "adapter", "epochs"):
        if asked[option] is not None:
            words.append(f"--{option}={asked[option]}")
    words += [f"--set={pair}" for pair in asked["settings"]]
    words += [f"--track={name}" for name in asked["track"]]
    if asked["start"]:
        words.append(f"--from={asked['start']}")
    return shlex.join(words)


COMMANDS = (train,)
