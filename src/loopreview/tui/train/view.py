"""What the Train screen says of machine, plan and one run, as lines: pure functions of what the desk knows."""

from itertools import zip_longest

from textual.content import Content

from loopreview.tui.data_view import command_lines
from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.train.curves import FINE, SMALLEST, Series, curves, thinned
from loopreview.tui.train.desk import RESUMABLE, TrainDesk
from loopreview.tui.train.following import Followed, count, number
from loopreview.tui.train.proposal import NOT_PARTS, Proposal, devices_of, name_of, values_of
from loopreview.tui.train.starting import QUESTIONS
from loopreview.tui.widgets.card import Line
from loopreview.tui.widgets.histogram import share_bar

PAGES = ("plan", "run", "runs")
LABEL = 12
MARKS = {"ok": "✓", "warning": "!", "error": "✗"}
MEASURED = "◆"
"""The mark of the validation loss."""
ABOVE = 7
"""Lines at most between the page and the line that says what next."""
NO_RUN = "no run yet: on page plan, enter starts one"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `1 h 20 min`, `2 days 3 h`."""
    minutes = round(seconds / 60)
    if seconds < 99:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    days = f"{hours // 24} day{'s' if hours >= 48 else ''}"
    return f"{days} {hours % 24} h" if hours % 24 else days


def size(amount: float) -> str:
    """Bytes as GB, or MB where that is too coarse."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"


def loss_said(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.3f}" if abs(loss) < 1000 else f"{loss:.3g}"


def labelled(label: str, text: str, width: int, most: int = 3, *, style: str = "") -> list[Line]:
    """`text` beside its name, in at most `most` lines."""
    lines = fold(" ".join(text.split()), max(8, width - LABEL))
    if len(lines) > most:
        lines[most - 1 :] = [clip(" ".join(lines[most - 1 :]), width - LABEL)]
    return [((("" if n else label).ljust(LABEL), "bold"), (line, style)) for n, line in enumerate(lines)]


def within(lines: list[Line], width: int) -> list[Line]:
    """Lines of which none is wider than `width` cells: a wider one would push the others down."""
    found = []
    for line in lines:
        room, pieces = width, []
        for text, style in line:
            cells = sum(map(cells_of, text))
            pieces.append((text if cells <= room else _cut(text, room), style))
            room = max(0, room - cells)
        found.append(tuple(pieces))
    return found


def _cut(text: str, width: int) -> str:
    while text and sum(map(cells_of, text)) > width:
        text = text[:-1]
    return text


def progress_said(one: Followed) -> str:
    """`running, step 120 of 300` in short."""
    state = one.standing.state
    if state == "running":
        return f"running, step {one.standing.step:,} of {one.standing.steps:,}" if one.standing.steps else "running"
    return state


def header(desk: TrainDesk, width: int) -> Content:
    """` Train  desk · r4-tiny running, step 120 of 300            tiny`."""
    live = desk.following.live
    right = clip(name_of(desk.base) or "no base model", width // 3)
    left = desk.root.name
    if live:
        left += f" · {live[-1].id} {progress_said(live[-1])}" + (f" · {len(live) - 1} more" if len(live) > 1 else "")
    elif desk.following.looked:
        count = len(desk.following.runs)
        left += f" · {count:,} run{'' if count == 1 else 's'}"
    left = clip(left, width - len(right) - 11)
    gap = max(1, width - 9 - sum(map(cells_of, left)) - sum(map(cells_of, right)))
    return Content.assemble((" Train  ", "bold"), left, " " * gap, (right, "dim"))


# The plan


def summary(desk: TrainDesk, width: int) -> list[Line]:
    """What there is to train on and with, what was checked, what it takes, and what the person answered."""
    return [
        *_machine(desk, width), *_dataset(desk, width), *labelled("base model", desk.base or "none named", width), (),
        *_questions(desk, width), (), *_checks(desk.proposal, width), *_memory(desk.proposal, width),
    ]  # fmt: skip


def _machine(desk: TrainDesk, width: int) -> list[Line]:
    if desk.machine is None:
        return labelled("machine", desk.machine_trouble or "looking …", width)
    lines: list[Line] = []
    for one in desk.backends:
        fix = f": {one.fix}" if one.fix and not one.ready else ""
        said = labelled("" if lines else "machine", f"{'✓' if one.ready else '✗'} {one.name} {one.why}{fix}", width)
        lines += said
    for name, memory, free in devices_of(desk.machine):
        has = f"{name}, {free:,.1f} of {memory:,.1f} GB free" if memory is not None and free is not None else name
        lines += labelled("" if lines else "machine", has, width, 2, style="dim")
    return lines or labelled("machine", "nothing is known of it; r looks again", width)


def _dataset(desk: TrainDesk, width: int) -> list[Line]:
    found = desk.dataset
    if found is None:
        return labelled("dataset", f"none in {desk.wish.dataset}" if desk.wish.dataset else "none is exported", width)
    parts = [found.folder.name]
    if found.train is not None:
        parts.append(f"train {found.train:,}, valid {found.valid or 0:,}")
    if found.kind not in ("", "sft"):
        parts.append(found.kind)
    if not desk.wish.dataset:
        parts.append("the newest")
    return labelled("dataset", " · ".join(parts), width)


def _questions(desk: TrainDesk, width: int) -> list[Line]:
    asked = desk.proposal.questions if desk.proposal else []
    given = desk.given
    head = f"{len(given)} of {len(QUESTIONS)} answered" + ("" if len(given) == len(QUESTIONS) else " · a answers them")
    lines = labelled("questions", head, width, style="bold" if len(given) < len(QUESTIONS) else "")
    for one in asked:
        answer = given.get(one.key)
        reason = f" → {answer.answer}{': ' if answer.reason else ''}{answer.reason}" if answer else ""
        lines += _indented("✓" if answer else "·", f"{one.asks}{reason}", width, 3)
    return lines


def _checks(proposal: Proposal | None, width: int) -> list[Line]:
    if proposal is None:
        return labelled("checks", "with the plan", width, style="dim")
    lines: list[Line] = [(("checks", "bold"),)]
    # What says no comes first.
    order = ("error", "warning", "ok")
    for one in sorted(proposal.checks, key=lambda one: order.index(one.level) if one.level in order else 0):
        style = {"error": "bold $text-error", "warning": "bold"}.get(one.level, "")
        lines += _indented(MARKS.get(one.level, "?"), f"{one.name}: {one.text}", width, 4, style=style)
    return [*lines, ()]


def _indented(mark: str, text: str, width: int, most: int, *, style: str = "") -> list[Line]:
    lines = fold(" ".join(text.split()), max(8, width - 4))
    if len(lines) > most:
        lines[most - 1 :] = [clip(" ".join(lines[most - 1 :]), width - 4)]
    return [((f"  {'' if n else mark:<2}", "bold"), (line, style)) for n, line in enumerate(lines)]


def _memory(proposal: Proposal | None, width: int) -> list[Line]:
    if proposal is None or proposal.needed is None:
        return []
    memory, needed = proposal.memory, proposal.needed
    free, device = number(memory.get("free")), str(memory.get("device") or "the device")
    said = f"about {size(needed)}" + (f" of {size(free)} free on {device}" if free is not None else "")
    lines = labelled("memory", said, width)
    if free:
        fits = "" if needed <= free else "  does not fit"
        bar = share_bar(needed / free, max(8, min(40, width - LABEL - len(fits))))
        lines.append((("".ljust(LABEL), ""), (bar, "$text-accent"), (fits, "bold $text-error")))
    parts = [f"{name} {size(amount)}" for name in memory if name not in NOT_PARTS and (amount := number(memory[name]))]
    lines += labelled("", ", ".join(parts), width, style="dim")
    most, batch = count(memory.get("max_length")), count(memory.get("batch"))
    if most:
        lines += labelled("", f"the longest example that fits: {most:,} tokens", width)
    if batch:
        lines += labelled("", f"the largest batch that fits: {batch:,}", width)
    return lines


def values(desk: TrainDesk, width: int) -> list[Line]:
    """Each value of the plan, with why it is so."""
    if desk.proposal is None:
        return [((clip("plan", width), "bold"),), *_indented("", desk.refusal() or "", width, 6)]
    found = desk.proposal
    key_wide = min(24, max((len(key) for key in found.values), default=8) + 2)
    value_wide = max(8, min(max((len(text) for text in found.values.values()), default=8), 22 if width < 100 else 30))
    reason_wide = max(10, width - key_wide - value_wide - 2)
    lines: list[Line] = [(("plan".ljust(key_wide + value_wide + 2), "bold"), ("why", "dim"))]
    for key, text in found.values.items():
        why = fold(" ".join(found.reasons.get(key, "").split()), reason_wide)[:4]
        said = [text] if key == "base" and not why[0] else fold(text, value_wide)[:6]
        for n, (left, right) in enumerate(zip_longest(said, why, fillvalue="")):
            name = clip(key, key_wide - 1) if not n else ""
            gap = " " * max(2, value_wide + 2 - sum(map(cells_of, left)))
            lines.append(((f"{name:<{key_wide}}", ""), (clip(left, width - key_wide), "bold"), (gap + right, "dim")))
    return lines


# One run


def facts(one: Followed, width: int) -> list[Line]:
    """How a run stands, in numbers."""
    stands, latest, plan = one.standing, one.latest, one.plan
    lines: list[Line] = []
    where = " on ".join(filter(None, (str(plan.get("backend") or ""), str(plan.get("device") or ""))))
    lines += labelled("run", f"{one.id} · {stands.state}" + (f" · {where}" if where else ""), width, style="bold")
    if stands.reason:
        lines += labelled("why", stands.reason, width, 4, style="bold $text-error")
    if stands.steps:
        said = f"{stands.step:,} of {stands.steps:,}  "
        epochs = count(plan.get("epochs"))
        epoch = number(latest.get("epoch"))
        after = f"  epoch {epoch:.1f}{f' of {epochs}' if epochs else ''}" if epoch is not None else ""
        room = min(40, width - LABEL - len(said) - len(after))
        bar = share_bar(stands.step / stands.steps, room) if room > 5 else ""
        lines.append((("step".ljust(LABEL), "bold"), (said, ""), (bar, "$text-accent"), (after, "")))
    elif one.doing:
        lines += labelled("step", "none yet", width)
    if one.doing and stands.state == "running":
        lines += labelled("now", one.doing, width, 2)
    left = number(latest.get("seconds_left"))
    if stands.state == "running" and left is not None:
        lines += labelled("left", f"about {duration(left)}", width)
    lines += labelled("speed", _speed(one), width) if one.latest else []
    if one.losses:
        first, last = next(iter(one.losses.values())), next(reversed(one.losses.values()))
        lines += labelled("loss", f"{loss_said(last)}, {loss_said(first)} at first", width)
    lines += labelled("validation", _measured(one), width, 2) if one.evals else []
    if one.checkpoint is not None:
        lines += labelled("kept", f"checkpoint at step {one.checkpoint:,}", width)
    data = one.data
    if data:
        counted = f"{count(data.get('train')):,} examples, {count(data.get('valid')):,} to measure on"
        lines += labelled("dataset", f"{name_of(data.get('folder'))} · {counted}", width)
    return lines


def settings(one: Followed, width: int) -> list[Line]:
    """The values of a run's plan."""
    found = values_of(one.plan)
    wide = min(24, max((len(key) for key in found), default=8) + 2)
    head: Line = (("plan", "bold"),)
    return [
        head,
        *(((f"{clip(key, wide - 1):<{wide}}", ""), (clip(text, width - wide), "dim")) for key, text in found.items()),
    ]


def _speed(one: Followed) -> str:
    speed, peak = number(one.latest.get("tokens_per_s")), number(one.latest.get("peak_memory"))
    parts = [f"{speed:,.0f} tokens/s"] if speed is not None else []
    parts += [f"peak memory {size(peak)}"] if peak else []
    return " · ".join(parts) or "not known"


def _measured(one: Followed) -> str:
    base, best, now = one.base_loss, one.best, next(reversed(one.evals.items()))
    parts = [f"{loss_said(base)} base"] if base is not None else []
    if best is not None:
        parts.append(f"{loss_said(best[1])} best" + (f" at step {best[0]:,}" if best[0] is not None else ""))
    if now[0] and best is not None and now[0] != best[0]:
        parts.append(f"{loss_said(now[1])} now")
    return " → ".join(parts[:2]) + "".join(f", {part}" for part in parts[2:])


def warnings(one: Followed, width: int, most: int) -> list[Line]:
    """The latest warnings, the newest last."""
    lines = [line for text in one.warnings for line in _indented("!", text, width, 3, style="bold")]
    return lines[-most:] if most > 0 else []


def plot(one: Followed, width: int, height: int) -> list[Line]:
    """Both losses of a run over its steps, with what the marks mean; empty where there is no room."""
    points, each = one.loss_curve.points()
    points, more = thinned(points, 2 * width)
    # So many marks that they lie on each other would hide the line.
    marks, each_mark = one.eval_curve.points()
    marks, more_marks = thinned(marks, max(8, width // 5))
    series = [Series(FINE, "", points), Series(MEASURED, "bold $text-accent", marks, joined=False)]
    drawn = curves(series, width, height - 1, steps=one.standing.steps)
    if not drawn:
        if width < SMALLEST[0] or height - 1 < SMALLEST[1] or one.standing.state != "running":
            return []
        return [(("the curves begin with the first step", "dim"),)]
    measured = f" validation loss{_mean(each_mark * more_marks)} · by step"
    if not one.evals:
        measured = " validation loss: not measured yet"
    legend = f"⠒ training loss{_mean(each * more)}  "
    return [((legend, ""), (MEASURED, "bold $text-accent"), (measured, "")), *drawn]


def _mean(count: int) -> str:
    return f" (mean of {count:,})" if count > 1 else ""


# What next


def next_step(desk: TrainDesk, page: str) -> str:
    """What to do next, in one line."""
    if desk.busy:
        return desk.busy
    if page == "plan":
        return desk.refusal() or "enter shows the command, and starts it when pressed again"
    run = desk.run
    if run is None:
        return NO_RUN if desk.following.looked else ""
    state = run.standing.state
    if page == "runs":
        marked = len(desk.compared)
        return "space marks runs, to see them beside each other" if marked < 2 else f"{marked} runs are compared"
    if state == "running":
        return f"x stops {run.id}, with a checkpoint or without"
    if state in RESUMABLE:
        return f"R goes on with {run.id}"
    if state == "planned":
        return f"R starts {run.id} as it was planned; its plan.yaml may be edited before"
    return f"in a shell: loopreview chat {run.id}"


def spoken(desk: TrainDesk, page: str, text: str, tone: str, width: int) -> tuple[list[Line], tuple[str, str]]:
    """The lines above the last one: the command that waits, or `text` where it is too long for a line; and the last
    one. `tone`: error, ask, or empty."""
    style = {"error": "bold $text-error", "ask": "bold $text-warning"}.get(tone, "bold")
    if desk.pending is not None:
        return command_lines(desk.pending.command.shown, width, ABOVE), (text, style)
    if sum(map(cells_of, text)) <= width - 2:
        return [], (text, style)
    lines: list[Line] = [((line, style),) for line in fold(text, width)[:ABOVE]]
    step = next_step(desk, page)
    if sum(map(cells_of, step)) > width - 2:
        step = "t changes what is asked for, r plans again"
    return lines, (step, "bold")


def ended_said(one: Followed) -> tuple[str, str]:
    """How a run ended, in a line, and how grave that is."""
    stands = one.standing
    if stands.state == "done":
        base, best = one.base_loss, one.best
        said = f": validation loss {loss_said(base)} → {loss_said(best[1])}" if best is not None else ""
        return f"{one.id} is done{said}", "information"
    if stands.state == "cancelled":
        return f"{one.id} was cancelled at step {stands.step:,}; R goes on with it", "warning"
    return f"{one.id} failed: {stands.reason or 'it did not say why'}", "error"
