"""Runs beside each other: the table, the curves of those that are marked, and how their plans differ."""

from collections.abc import Sequence
from itertools import zip_longest

from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.train.curves import Series, curves
from loopreview.tui.train.desk import TrainDesk
from loopreview.tui.train.following import Followed, count
from loopreview.tui.train.proposal import name_of, values_of
from loopreview.tui.train.view import NO_RUN, loss_said, plot
from loopreview.tui.widgets.card import Line

WIDE = 120
Compared = Sequence[tuple[str, Followed]]
STYLES = ("", "bold $text-accent", "$text-warning", "$text-success", "bold", "$text-error")
"""Of the letters in order; a letter alone is told from the others without them."""


def _cells(one: Followed) -> dict[str, str]:
    """The columns of a run's row."""
    if not one.whole:
        return {"run": one.id, "state": "…"}
    stands, best = one.standing, one.best
    speed = one.tokens_per_s
    done = f"{stands.step:,}" + (f"/{stands.steps:,}" if stands.steps and stands.steps != stands.step else "")
    return {
        "run": one.id,
        "state": stands.state,
        "base → best": f"{loss_said(one.base_loss)} → {loss_said(best[1] if best else None)}",
        "steps": done if stands.state != "planned" else "–",
        "tokens/s": "–" if speed is None else f"{speed:,.0f}",
        "base": name_of(one.plan.get("base")),
        "adapter": str(one.plan.get("adapter") or ""),
        "examples": f"{count(one.data.get('train')):,}",
        "dataset": name_of(one.data.get("folder")),
    }


_NARROW = {"run": 25, "state": 9, "base → best": 15, "steps": 9, "tokens/s": 8}
_WIDE = {
    "run": 32, "state": 9, "base": 18, "adapter": 7, "examples": 8, "base → best": 16, "steps": 11, "tokens/s": 8,
    "dataset": 20,
}  # fmt: skip
_RIGHT = ("steps", "tokens/s", "examples")


def table(desk: TrainDesk, width: int, height: int) -> list[Line]:
    """The runs, the newest first, in `height` lines: the chosen one reverse, the marked ones with their letter."""
    rows = list(reversed(desk.following.runs))
    if not rows:
        return [((NO_RUN if desk.following.looked else "looking …", ""),)]
    columns = _WIDE if width >= WIDE else _NARROW
    letters = {one.id: letter for letter, one in desk.compared}
    chosen = desk.run.id if desk.run else ""
    room = max(1, height - 1)
    at = next((n for n, one in enumerate(rows) if one.id == chosen), 0)
    top = max(0, min(at - room // 2, len(rows) - room))
    head = "".join(_cell(name, name, wide) for name, wide in columns.items())
    lines: list[Line] = [((clip_right("   " + head.rstrip(), width), "dim"),)]
    for one in rows[top : top + room]:
        cells = _cells(one)
        text = "".join(_cell(name, cells.get(name, ""), wide) for name, wide in columns.items())
        here = one.id == chosen
        row = clip_right(f"{'>' if here else ' '}{letters.get(one.id, ' ')} {text.rstrip()}", width)
        lines.append(((row, "bold reverse" if here else ""),))
    return lines


def row_at(desk: TrainDesk, height: int, line: int) -> int | None:
    """How many runs further down than the chosen one stands a line of the table."""
    rows = [one.id for one in reversed(desk.following.runs)]
    if desk.run is None or line < 1:
        return None
    room, at = max(1, height - 1), rows.index(desk.run.id)
    found = max(0, min(at - room // 2, len(rows) - room)) + line - 1
    return found - at if found < len(rows) and line <= room else None


def _cell(name: str, text: str, wide: int) -> str:
    text = clip(text, wide)
    gap = " " * (wide - sum(map(cells_of, text)))
    return f"{gap}{text}  " if name in _RIGHT else f"{text}{gap}  "


def clip_right(text: str, width: int) -> str:
    """Spaces kept, unlike `clip`; what is here is safe already."""
    return text if sum(map(cells_of, text)) <= width else text[: max(0, width - 1)] + "…"


def about(one: Followed, width: int) -> list[Line]:
    """What a narrow table leaves out of the chosen row."""
    cells = _cells(one)
    if not one.whole:
        return [(("reading …", "dim"),)]
    said = f"{cells['base'] or 'no plan'} · {cells['adapter']} · {cells['examples']} examples of {cells['dataset']}"
    reason = one.standing.reason
    lines: list[Line] = [((clip(said, width), "dim"),)]
    return [*lines, ((clip(reason, width), "bold $text-error"),)] if reason else lines


def beside(desk: TrainDesk, width: int, height: int) -> list[Line]:
    """The curves of the marked runs in one picture; of the chosen one, as long as none is marked."""
    if not desk.compared:
        return plot(desk.run, width, height) if desk.run is not None else []
    series = [
        Series(letter, STYLES[n % len(STYLES)], one.eval_curve.points()[0])
        for n, (letter, one) in enumerate(desk.compared)
    ]
    named = [f"{letter} {one.id}" + ("" if one.evals else " (not measured)") for letter, one in desk.compared]
    legend = " · ".join(named)
    drawn = curves(series, width, height - 1)
    return [((clip(f"validation loss by step: {legend}", width), ""),), *drawn]


def compared_values(one: Followed) -> dict[str, str]:
    """What a run's plan says, and the dataset it is about."""
    data = one.data
    dataset = {"dataset": name_of(data.get("folder")), "dataset hash": str(data.get("hash") or "")[:12],
               "examples": f"{count(data.get('train')):,}"}  # fmt: skip
    return {**values_of(one.plan), **dataset}


def differences(runs: Compared, width: int) -> list[Line]:
    """The values in which the runs' plans differ, one column a run."""
    if len(runs) < 2:
        return []
    found = [compared_values(one) for _, one in runs]
    keys = list(dict.fromkeys(key for values in found for key in values))
    differing = [key for key in keys if len({values.get(key, "–") for values in found}) > 1]
    key_wide = min(24, max((len(key) for key in differing), default=12) + 2)
    wide = max(8, (width - key_wide) // len(runs) - 2)
    head = "plans".ljust(key_wide) + "".join(_cell("", f"{letter} {one.id}", wide) for letter, one in runs)
    lines: list[Line] = [((clip_right(head, width), "bold"),)]
    if not differing:
        return [*lines, (("the plans are the same", ""),)]
    for key in differing:
        parts = [fold(values.get(key, "–"), wide)[:3] for values in found]
        for n, texts in enumerate(zip_longest(*parts, fillvalue="")):
            name = clip(key, key_wide - 1) if not n else ""
            row = f"{name:<{key_wide}}" + "".join(_cell("", text, wide) for text in texts)
            lines.append(((clip_right(row, width).rstrip(), ""),))
    return lines
