"""What the training commands say: a plan, a run as it goes, how it ended."""

from typing import Any

import click

from loopreview.cli.call import say, table

_PARTS = {
    **{name: name for name in ("weights", "adapters", "gradients", "optimizer", "activations", "logits")},
    "overhead": "libraries",
}
"""What an estimate of memory adds up."""


def plan_lines(document: dict[str, Any]) -> list[str]:
    plan, memory = document["plan"], document["memory"]
    rows = [(name, _shown(value), document["reasons"].get(name, "")) for name, value in plan.items() if name != "data"]
    lines = [document["folder"] or "nothing is written (--dry-run)", ""]
    lines += table(rows, ("value", "is", "because"))
    data = plan["data"]
    lines += ["", f"dataset {data['folder']}: {document['reasons']['data']}", ""]
    marks = {"ok": "ok", "warning": "note", "error": "NO"}
    lines += [f"{marks[check['level']]:5} {check['name']}: {check['text']}" for check in document["checks"]]
    parts = ", ".join(f"{name} {memory[part] / 1e9:.2f}" for part, name in _PARTS.items())
    lines += [
        "",
        f"memory: about {memory['total'] / 1e9:.2f} GB ({parts}); "
        f"{memory['device']} has {memory['free'] / 1e9:.2f} GB free",
        f"        the longest example that fits: {_shown(memory['max_length'])} tokens; the largest batch at "
        "max_length: "
        f"{_shown(memory['batch'])}",
        "",
        document["command"],
    ]
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    # A whole number is shown as the plan's file has it.
    return "none" if value is None else str(value).removesuffix(".0")


def print_example(parts: Any) -> None:
    """The supervised part stands between ⟦ and ⟧, and is lit where the terminal can."""
    from loopreview.rules.safe_text import safe

    for text, supervised in parts:
        shown = safe(text)
        click.echo(click.style(f"⟦{shown}⟧", reverse=True, bold=True) if supervised else shown, nl=False)
    click.echo()


def end_lines(found: dict[str, Any]) -> list[str]:
    loss, evals = found["loss"], (found["base_eval_loss"], found["eval_loss"])
    lines = [f"{found['run']}: {found['state']}, {found['steps']} of {found['steps_planned']} steps"]
    if found["state"] == "done" and found["stopped_early"]:
        lines.append("stopped early: the validation loss did not fall any more")
    if loss["first"] is not None and loss["last"] is not None:
        lines.append(f"training loss    {loss['first']:.4f} → {loss['last']:.4f}")
    if evals[0] is not None and evals[1] is not None:
        lines.append(f"validation loss  {evals[0]:.4f} (base) → {evals[1]:.4f} (best)")
    if found["adapter"]:
        lines.append(found["adapter"])
    return lines


class Teller:
    """Says a run's events on stderr: one line that is written over on a terminal, else a line now and then."""

    def __init__(self) -> None:
        import sys
        import time

        self._live = sys.stderr.isatty()
        self._clock, self._said = time.monotonic, 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "step":
                line = _step_line(event)
                last = event.get("step") == event.get("steps")
                if self._live:
                    click.echo(f"\r\033[2K{line}", nl=last, err=True)
                elif last or self._clock() - self._said > 5:
                    say(line)
                    self._said = self._clock()
            case "eval":
                name = "base model" if event.get("step") == 0 else f"step {event.get('step')}"
                self._line(f"validation loss {_number(event.get('loss'))} ({name})")
            case "warning" | "note":
                self._line(str(event.get("text", "")))

    def _line(self, text: str) -> None:
        if self._live:
            click.echo("\r\033[2K", nl=False, err=True)
        say(text)


def _step_line(event: dict[str, Any]) -> str:
    parts = [f"step {event.get('step')} of {event.get('steps')}", f"loss {_number(event.get('loss'))}"]
    if event.get("tokens_per_s"):
        parts.append(f"{event['tokens_per_s']:,.0f} tokens/s")
    if event.get("seconds_left") is not None:
        minutes, seconds = divmod(int(event["seconds_left"]), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " · ".join(parts)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "–"
