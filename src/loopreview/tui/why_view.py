"""What lies behind the advice, as lines: merging rules, what each judge adds, criteria, flags, cost."""

from collections.abc import Mapping
from typing import Any

from loopreview.rules.merge import LOW_CEILING
from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.widgets.card import Line

Status = Mapping[str, Any]


def why_lines(status: Status, width: int) -> list[Line]:
    """Everything, under headings, at most `width` cells wide."""
    lines: list[Line] = []
    for title, part in (
        ("what to mend", _fork(status)),
        ("merging rules and judges", _judges(status)),
        ("cost", _cost(status)),
    ):
        lines.append(((title, "bold"),))
        lines += [((line, ""),) for text in part for line in fold(f"  {text}", width)]
        lines.append(())
    return lines + _criteria(status, width)


def _fork(status: Status) -> list[str]:
    found = status.get("fork")
    if not found:
        return ["nothing is counted yet"]
    said = [found["why"]]
    if found["upheld"] or found["overturned"]:
        blames = {"assistant": "the assistant", "user_sim": "the simulated user", "neither": "neither"}
        blamed = [f"{n} to {blames.get(who, who)}" for who, n in found["blames"].items()]
        said.append(f"upheld NOs, which point at a prompt: {found['upheld']}")
        said.append(f"overturned answers, which point at a criterion's wording: {found['overturned']}")
        said += [f"faults put down: {', '.join(blamed)}"] if blamed else []
    return said


def _judges(status: Status) -> list[str]:
    counts = status.get("rule_counts") or {}
    said = []
    for rule, counted in counts.items():
        alone = "" if rule in ("strictest", "majority") else " alone"
        said.append(f"{rule}{alone}: {counted['passed']} of {counted['n']} pass")
    whole = counts.get("strictest") or {"passed": 0, "n": 0}
    for judge, counted in (status.get("without") or {}).items():
        more = counted["passed"] - whole["passed"]
        if counted["n"] == whole["n"] and more:
            said.append(f"without {judge} {counted['passed']} of {counted['n']} would pass: {judge} alone fails {more}")
        elif counted["n"]:
            adds = "it changes no outcome" if counted["n"] == whole["n"] else "it was not asked about all"
            said.append(f"without {judge} {counted['passed']} of {counted['n']} would pass: {adds}")
    ceiling = status.get("panel_ceiling")
    if ceiling is None:
        said.append("panel ceiling: not known before every criterion is answered on some transcripts")
    else:
        warning = ": too strict for any prompt; fewer judges, or majority" if ceiling < LOW_CEILING else ""
        said.append(f"panel ceiling: {100 * ceiling:.0f} % of perfect transcripts would pass{warning}")
    return said


def _cost(status: Status) -> list[str]:
    def money(usd: float | None) -> str:
        return "price unknown" if usd is None else f"${usd:.2f}"

    budget = status.get("budget_usd")
    limit = f"a job stops at ${budget:.2f}" if budget else "no budget is set (budget_usd in loopreview.toml)"
    return [f"spent so far: {money(status.get('cost_usd'))}; {limit}"]


def _criteria(status: Status, width: int) -> list[Line]:
    rows = status.get("criteria") or []
    if not rows:
        return []
    wide = max(len(row["id"]) for row in rows)
    numbers = f"{'YES':>5}{'NO':>5}{'NA':>4} {'upheld':>7}{'FP':>4}{'FN':>4}"
    room = max(6, width - wide - len(numbers) - 6)
    lines: list[Line] = [((f"  {'criterion':<{wide + room + 2}}{numbers}", "bold"),)]
    for row in sorted(rows, key=lambda r: -r["no"]):
        name = clip(("!" if row["gate"] else "") + row["name"], room)
        pad = " " * (room - sum(map(cells_of, name)))
        counts = f"{row['yes']:>5}{row['no']:>5}{row['na']:>4} {row['upheld']:>7}"
        counts += f"{row['false_positive']:>4}{row['false_negative']:>4}"
        lines.append(((f"  {row['id']:<{wide}}  {name}{pad}{counts}", ""),))
        if row["alarm"]:
            text = f"  {'':<{wide}}  alarm: {row['alarm']}, so that it tells transcripts apart no more"
            lines.append(((clip(text.rstrip(), width), "bold $text-warning"),))
    return lines


def alarms(status: Status) -> str:
    """`alarm: T2 nearly always passes · U4 nearly always fails`; empty where there is none."""
    said = [f"{row['id']} {row['alarm']}" for row in status.get("criteria") or () if row["alarm"]]
    return f"alarm: {' · '.join(said)}" if said else ""
