"""A plan as a person writes it: the YAML file of a run, and `--set KEY=VALUE`."""

import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from loopreview.models.errors import UserError
from loopreview.models.training import Data, Plan
from loopreview.rules.documents import Document, DocumentError, Problem, build, nearest, read_yaml
from loopreview.runs import Run

_INSTEAD = {
    "data": "name the dataset with --dataset",
    "backend": "choose it with --backend cuda|mlx",
    "device": "it follows from --backend",
    "base": "name the model with --base",
    "method": "choose it with --method",
    "start_adapter": "go on from a run with --from RUN",
}
"""Keys that are no matter of --set."""
_WORDS = {**dict.fromkeys(("yes", "true", "on"), True), **dict.fromkeys(("no", "false", "off"), False)}
_PLACES = ("folder", "tokens")
"""Of `data`: where it lies."""
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
_WIDTH = 100
_HEAD = """\
# What this training run does. Each value can be changed here before the run is started; the line above it says where
# it comes from. `loopreview train start RUN` starts it."""


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`["rank=8", "targets=q_proj,v_proj"]` as keys of the plan with values of their types. Raises UserError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key, text = key.strip(), text.strip()
        if not equals:
            raise UserError(f"--set {pair}: must be KEY=VALUE, as in --set rank=8")
        if key not in Plan.model_fields:
            raise UserError(f"--set {pair}: unknown key `{key}`{nearest(key, settable(), 'known keys:')}")
        if key in _INSTEAD:
            raise UserError(f"--set {pair}: `{key}` is not set so; {_INSTEAD[key]}")
        if key in found:
            raise UserError(f"--set {pair}: `{key}` is set twice; keep one")
        found[key] = _value(key, text, pair)
    return found


def settable() -> list[str]:
    return [name for name in Plan.model_fields if name not in _INSTEAD]


def _value(key: str, text: str, pair: str) -> Any:
    kind = Plan.model_fields[key].annotation
    if kind is bool:
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        raise UserError(f"--set {pair}: `{key}` must be yes or no")
    if kind is int:
        if re.fullmatch(r"[-+]?\d+", text):
            return int(text)
        raise UserError(f"--set {pair}: `{key}` must be a whole number")
    if kind is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        raise UserError(f"--set {pair}: `{key}` must be a number")
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if get_origin(kind) is Literal and text not in get_args(kind):
        raise UserError(f"--set {pair}: `{key}` must be {_or(get_args(kind))}")
    return text


def _or(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"


def checked(values: Mapping[str, Any], where: str) -> Plan:
    """The plan of these values. Raises UserError that names key, value and what is allowed."""
    return _plan(Document(dict(values), where, {}))


def read_plan(path: Path) -> Plan:
    """Raises UserError with file and line for what is no plan."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    return _plan(read_yaml(text, str(path)))


def refuse_changed(run: Run) -> None:
    """Raises UserError with the changed keys where plan.yaml is another plan than the one the run was started with:
    its checkpoints and its result are of that one."""
    kept = run.read_json(run.started_file).get("plan")
    if not isinstance(kept, dict):
        return  # started by a version that did not keep it
    now = read_plan(run.plan_file).model_dump(mode="json")
    # Where the dataset lies is no value of the training: it is held to its hash.
    before, after = (
        {**values, "data": {key: one for key, one in (values.get("data") or {}).items() if key not in _PLACES}}
        for values in (kept, now)
    )
    changed = [f"{name} (was {_said(had)}, is {_said(has)})" for name, had, has in _differences(before, after)]
    if changed:
        raise UserError(
            f"{run.plan_file}: was changed after {run.id} was started: {', '.join(changed)}; set that back, or train "
            "with other values in a new run: `loopreview train start --set KEY=VALUE` (with --from RUN it goes on from "
            "one that is done)"
        )


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, before, after) of what is not the same; keys of `data` with a dot."""
    for key in dict.fromkeys((*before, *after)):
        had, has = before.get(key), after.get(key)
        if isinstance(had, dict) and isinstance(has, dict):
            yield from ((f"{key}.{name}", one, other) for name, one, other in _differences(had, has))
        elif had != has:
            yield key, had, has


def _said(value: Any) -> str:
    return _scalar(tuple(value) if isinstance(value, list) else value)


def _plan(document: Document) -> Plan:
    wrong = list(_no_numbers(document))
    if wrong:
        raise DocumentError(document.where, wrong)
    return build(Plan, document)


def _no_numbers(document: Document) -> Iterator[Problem]:
    """What pydantic would take for a number, or stumble over: true is not 1, infinity is no learning rate."""
    for model, root in ((Plan, ()), (Data, ("data",))):
        values = document.at(root)
        for name, field in model.model_fields.items() if isinstance(values, dict) else ():
            value = values.get(name)
            if name not in values or field.annotation not in (int, float):
                continue
            whole = field.annotation is int
            if isinstance(value, bool) or not isinstance(value, int | float | str) or not _finite(value, whole=whole):
                must = "a whole number" if whole else "a number"
                shown = str(value).lower() if isinstance(value, bool) else "nothing" if value is None else repr(value)
                yield document.problem((*root, name), f"`{name}`: must be {must}, not {shown}")


def _finite(value: float | str, *, whole: bool) -> bool:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    return math.isfinite(number) and (not whole or number == int(number))


def write_plan(path: Path, plan: Plan, reasons: Mapping[str, str]) -> None:
    """Write the file that `read_plan` reads, each value under its reason."""
    lines = [_HEAD]
    for name in Plan.model_fields:
        lines += _comment(reasons.get(name, ""))
        value = getattr(plan, name)
        if isinstance(value, Data):
            lines.append(f"{name}:")
            lines += [f"  {key}: {_scalar(getattr(value, key))}" for key in Data.model_fields]
        else:
            lines.append(f"{name}: {_scalar(value)}")
    beside = path.with_name(f".{path.name}.part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path)


def _comment(reason: str) -> list[str]:
    return ["", *(f"# {line}" for line in textwrap.wrap(" ".join(reason.split()), _WIDTH))] if reason else []


def _scalar(value: Any) -> str:
    """So that every reader of YAML, of either version, sees the same."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    text = str(value)
    words = {*_WORDS, "null", "y", "n"}
    return text if _PLAIN.fullmatch(text) and text.lower() not in words else json.dumps(text, ensure_ascii=False)


def _decimal(value: float) -> str:
    """Without an exponent, and with all the digits that it takes to read it back: 0.0002, 32."""
    text = repr(value)
    if "e" in text:
        digits, _, exponent = text.partition("e")
        text = f"{value:.{max(0, len(digits.replace('-', '').replace('.', '')) - 1 - int(exponent))}f}"
    return text.removesuffix(".0")
