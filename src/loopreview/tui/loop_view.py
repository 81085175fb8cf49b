"""What the Loop screen says, as lines: pure functions of the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from loopreview.models.settings import Settings
from loopreview.rules.merge import LOW_CEILING
from loopreview.tui.live import Live, LiveRow
from loopreview.tui.page import cells_of, clip
from loopreview.tui.why_view import alarms
from loopreview.tui.widgets.interval import interval_bar, scale_line

Status = Mapping[str, Any]
FIXED = 53
"""Cells of a batch row beside its bar."""


def money(usd: float | None) -> str:
    """`$0.41`; `price ?` where a price is unknown."""
    return "price ?" if usd is None else f"${usd:.2f}"


def versions(status: Status) -> dict[str, str]:
    """Generation version → p1, p2, …, in the order in which they were first used; the present one is among them."""
    named: dict[str, str] = {}
    for row in status["batches"]:
        version = row.get("generation_version")
        if version and version not in named:
            named[version] = f"p{len(named) + 1}"
    present = status.get("generation_version")
    if present and present not in named:
        named[present] = f"p{len(named) + 1}"
    return named


def header(status: Status | None, settings: Settings, root: str, width: int) -> Content:
    """` Loop  therapy-coach · rubric 4f2a · prompts p3        offline simulator`."""
    models = [m.model for m in (settings.user_sim, settings.assistant, *settings.judges.values()) if m]
    offline = bool(models) and all(model.startswith("offline/") for model in models)
    right = "offline simulator" if offline else (settings.assistant.model if settings.assistant else "")
    right = clip(right, 30)
    if status is None:
        left = clip(root, width - len(right) - 10)
    else:
        prompts = versions(status).get(status.get("generation_version") or "", "")
        left = f"{status.get('rubric', '')} · rubric {str(status.get('rubric_version', ''))[:4]} · prompts {prompts}"
        left = clip(left, width - len(right) - 10)
    gap = max(1, width - 8 - sum(map(cells_of, left)) - sum(map(cells_of, right)))
    return Content.assemble((" Loop  ", "bold"), left, " " * gap, (right, "dim"))


def table(status: Status, chosen: int, width: int, height: int, target: float) -> Content:
    """The batches, the chosen one reverse, with those of the present prompts pooled in the last line."""
    bar = max(12, min(60, width - FIXED))
    named = versions(status)
    rows = list(status["batches"])
    scale = scale_line(bar, target=target)
    lines = [Content(f" batch  prompts  {'pass':>6}  {scale}  {'95 %':>6}  {'cost':>7}  review").stylize("bold")]
    pooled = _pooled(status, named, bar, target)
    for number in _rows_shown(len(rows), chosen, height - 1 - (1 if pooled else 0)):
        lines.append(_batch(rows[number], named, bar, target, number == chosen))
    if pooled:
        lines.append(pooled)
    return Content("\n").join(lines)


def _rows_shown(count: int, chosen: int, room: int) -> range:
    first = 0 if count <= room else max(0, min(chosen - room // 2, count - room))
    return range(first, min(count, first + max(1, room)))


def row_at(status: Status, chosen: int, height: int, y: int) -> int | None:
    """Which batch stands in line `y` of the table, as its place in the list."""
    pooled = _pooled(status, versions(status), 12, 0.7) is not None
    shown = _rows_shown(len(status["batches"]), chosen, height - 1 - (1 if pooled else 0))
    return shown[y - 1] if 1 <= y <= len(shown) else None


def _batch(row: Mapping[str, Any], named: Mapping[str, str], bar: int, target: float, chosen: bool) -> Content:
    scored = row["passed"] + row["failed"]
    prompts = named.get(row.get("generation_version") or "", "import" if row["origin"] == "imported" else "")
    passed = f"{row['passed']}/{scored}" if scored else "–"
    mark = ">" if chosen else " "
    left = f"{mark}{row['id']:>5}  {prompts:<7}  {passed:>6}  "
    cost = "" if row["origin"] == "imported" and not row.get("cost_usd") else money(row.get("cost_usd"))
    right = f"  {_range(row.get('interval')):>6}  {cost:>7}  {_left(row)}"
    line = Content.assemble(left, interval_bar(row.get("pass_rate"), row.get("interval"), bar, target=target), right)
    return line.stylize("bold") if chosen else line


def _left(row: Mapping[str, Any]) -> str:
    left = row["n"] - (row.get("decided") or 0)
    said = {True: " ✓", False: " ✗", None: ""}[row.get("content")]
    return ("done" if not left else f"{left} left") + said


def _pooled(status: Status, named: Mapping[str, str], bar: int, target: float) -> Content | None:
    gate = status["gate"]
    version = status.get("generation_version")
    rows = [row for row in status["batches"] if row["origin"] == "generated"]
    own = [row for row in rows if row.get("generation_version") == version]
    if len(own) < 2 or not gate.get("n"):
        return None
    ids = [row["id"] for row in own]
    joined = "+".join(map(str, ids)) if len(ids) < 3 else f"{ids[0]}…{ids[-1]}"
    costs = [row.get("cost_usd") for row in own]
    cost = None if None in costs else sum(c for c in costs if c is not None)
    name = clip(f"{named.get(version or '', '')}, {joined}", 14)
    passed = f"{gate['passed']}/{gate['n']}"
    left = f" {name:<14}  {passed:>6}  "
    right = f"  {_range(gate.get('interval')):>6}  {money(cost):>7}"
    bars = interval_bar(gate.get("pass_rate"), gate.get("interval"), bar, target=target)
    return Content.assemble(left, bars, right).stylize("bold")


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}"


def advice(status: Status, width: int) -> Content:
    """The gate's word with its reason, its numbers, what each merging rule would pass, and the flags."""
    gate = status["gate"]
    tone = {"scale": "bold $text-success", "revise": "bold $text-error"}.get(gate["advice"], "bold $text-warning")
    lines = [Content.assemble(" advice: ", (gate["advice"], tone), f" · {clip(gate['why'], width - 20)}")]
    if gate.get("n"):
        chance = "" if gate.get("p_reaches") is None else f", P(≥ 70 %) {gate['p_reaches']:.2f}".replace("0.", ".", 1)
        more = gate.get("more_needed")
        settle = {None: "at this rate no number settles it", 0: "that settles it"}.get(
            more, f"about {more} more settle it"
        )
        lines.append(_line(f"{gate['passed']} of {gate['n']} passed{chance} · {settle}", width))
    rules = status.get("rule_counts") or {}
    parts = []
    for rule, counted in rules.items():
        alone = "" if rule in ("strictest", "majority") else " alone"
        parts.append(f"{clip(rule, 14)}{alone} {counted['passed']}/{counted['n']}")
    flags = status["flags"]
    said = f"flags: {flags['false_positive']} FP  {flags['false_negative']} FN  {flags['gaps']} gaps"
    lines += [Content(f" {line}") for line in _spread(parts, said, width - 2)]
    alarm = alarms(status)
    if alarm:
        lines.append(_line(f"{alarm} · w why", width).stylize("$text-warning"))
    ceiling = status.get("panel_ceiling")
    if ceiling is not None and ceiling < LOW_CEILING:
        text = f"these judges would pass only {100 * ceiling:.0f} % of perfect transcripts: fewer judges, or majority"
        lines.append(_line(text, width).stylize("$text-warning"))
    return Content("\n").join(lines)


def _spread(parts: Sequence[str], last: str, width: int) -> list[str]:
    """The parts joined by ` · ` in as many lines as they need, with `last` at the end of the last one or below it."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(clip(part, width))
    if len(lines[-1]) + len(last) + 3 <= width and lines[-1]:
        lines[-1] += last.rjust(width - len(lines[-1]))
    else:
        lines.append(last)
    return [line for line in lines if line]


def _line(text: str, width: int) -> Content:
    return Content(" " + clip(text, width - 1))


def live(running: Live, cost: str, judges: Sequence[str], width: int, height: int) -> Content:
    """The running job: how long, what is left, its `cost`, and a bar for each transcript."""
    lines = [_line(_running(running, cost, judges), width).stylize("bold")]
    for row in running.rows[: max(0, height - 1)]:
        lines.append(_live_row(row, width))
    return Content("\n").join(lines)


def spent(cost: float | None, expected: float | None, budget: float | None) -> str:
    """`$0.31 of about $0.47`, or of the budget where nobody asked what it would cost; empty where it costs nothing."""
    if not cost and not expected:
        return ""
    of = f" of about {money(expected)}" if expected else f" of at most {money(budget)}" if budget else ""
    return money(cost) + of


def _running(running: Live, cost: str, judges: Sequence[str]) -> str:
    minutes, seconds = divmod(int(running.seconds), 60)
    what = f"batch {running.batch}" if running.batch is not None else running.label or "a job"
    parts = [f"{what} running", f"{minutes}:{seconds:02}"]
    if running.rows:
        messages = sum((row.target or row.done) - row.done for row in running.rows)
        left = sum(state == "–" for row in running.rows for state in row.judges.values())
        total = len(running.rows) * len(judges)
        parts += [f"{messages} exchanges left"] if messages else []
        parts += [f"{left} of {total} judge calls left"] if total and left else []
    elif running.total:
        parts.append(f"{running.done} of {running.total}")
    if cost:
        parts.append(cost)
    if running.note:
        parts.append(running.note)
    return " · ".join(parts)


def _live_row(row: LiveRow, width: int) -> Content:
    bar = max(8, min(30, width - 60))
    target = max(row.target or row.done, 1)
    full = round(bar * min(1.0, row.done / target))
    name = clip(f"{row.id} {row.name}", 20)
    room = width - bar - 32
    each = max(3, min(12, room // max(1, len(row.judges)) - 5))
    states = "  ".join(f"{clip(judge, 40)[:each]} {state:>2}" for judge, state in row.judges.items())
    pad = " " * max(0, 20 - sum(map(cells_of, name)))
    return Content.assemble(
        f" {name}{pad} ", ("█" * full, "$text-accent"), ("·" * (bar - full), "dim"),
        f" {row.done:>2}/{target}  ", (states[: max(0, room)], "" if row.ready else "dim"),
    )  # fmt: skip


def next_step(status: Status, settings: Settings, running: Live | None, chosen: Mapping[str, Any] | None) -> str:
    """What to do next, in one line."""
    left = [row for row in status["batches"] if row["n"] > (row.get("decided") or 0)]
    if running is not None and running.job is not None:
        ready = next((row for row in running.rows if row.ready), None)
        rest = [row for row in left if row["id"] != running.batch]
        beside = f" (and {_undecided(rest[-1])} of batch {rest[-1]['id']} are left)" if rest else ""
        if ready:
            return f"{ready.id} is ready: enter reviews it{beside}"
        return f"the job goes on by itself{beside}; x stops it, what it stored stays"
    if not status["batches"]:
        if settings.assistant is None:
            return "name your models in loopreview.toml, or `loopreview import FILE` transcripts of your own"
        return "g makes the first five and has them judged; calls and cost come first"
    if not settings.judges and not status.get("rules"):
        return "no judge yet: add [judges.NAME] to loopreview.toml; enter reviews all the same"
    unjudged = next((row for row in reversed(status["batches"]) if row["unscored"] == row["n"] and row["n"]), None)
    if unjudged and settings.judges:
        return f"batch {unjudged['id']} is not judged yet: a judges it; calls and cost come first"
    halted = next((row for row in reversed(status["batches"]) if _halted(row, status)), None)
    if halted is not None:
        return f"batch {halted['id']} stopped halfway, {halted['incomplete']} to finish: g goes on with it"
    if chosen is not None and chosen["n"] > (chosen.get("decided") or 0):
        return f"enter reviews batch {chosen['id']}: {_undecided(chosen)} left"
    if left:
        return f"enter reviews batch {left[-1]['id']}: {_undecided(left[-1])} left"
    last = status["batches"][-1]
    if status["gate"]["advice"] == "iterate" and last.get("content") is None and last["origin"] == "generated":
        return f"are you content with batch {last['id']}? c yes · C no · g makes the next five"
    fork = status.get("fork") or {}
    mend = fork["why"] if fork.get("side") else "mend what failed most, in the prompt or in the criterion"
    rethink = fork["why"] if fork.get("side") else "rethink prompts/assistant.md or the rubric before making more"
    words = {
        "collect": "g makes the next five",
        "iterate": f"{mend}, then g makes five",
        "revise": f"{rethink}, then g makes five",
        "scale": "the gate is open: this prompt can be scaled",
    }
    return words[status["gate"]["advice"]]


def _halted(row: Mapping[str, Any], status: Status) -> bool:
    """A batch that the present prompts and models would go on with."""
    own = row["origin"] == "generated" and row.get("generation_version") == status.get("generation_version")
    return bool(own and row.get("incomplete"))


def _undecided(row: Mapping[str, Any]) -> int:
    return int(row["n"] - (row.get("decided") or 0))
