"""The lines around the transcript: where we are, what is in view, what the next key would do."""

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from loopreview.tui.page import cells_of, clip
from loopreview.tui.review_desk import Desk

TONES = {"plain": "", "flag": "bold $text-warning", "error": "bold $text-error"}


def outcome(desk: Desk) -> str:
    """`PASS 0.84`, `FAIL 0.61`, `unscored · 2 open`, with the decision that stands."""
    sheet = desk.sheet
    if sheet is None or desk.blind:
        return "blind" if desk.blind else ""
    found = sheet.assessment
    decision = f" · {found.decision}" if found.decision else ""
    if found.unscored or found.passed is None:
        if not sheet.transcript.complete:
            why = f" · stops at {sheet.exchange_count} of {sheet.transcript.target_exchanges}"
        else:
            why = f" · {len(found.open)} open" if found.open else ""
        return f"unscored{why}{decision}"
    score = f" {found.score:.2f}" if found.score is not None else ""
    return f"{'PASS' if found.passed else 'FAIL'}{score}{decision}"


def header(desk: Desk, numbers: Mapping[str, Any] | None, batch: int | None, width: int) -> Content:
    """`1/5 20000 David  FAIL 0.61   batch 3: 0/5 decided · gate 9/15 iterate`. `numbers`: the workspace's, as
    `status --json` has them."""
    if desk.sheet is None:
        return Content.assemble((" Review", "bold"))
    place = f"{desk.number}/{len(desk.queue)}" if desk.number else "–"
    state = outcome(desk)
    tails = [" · ".join(part) for part in _numbers(desk, numbers, batch)]
    room = width - len(place) - len(state) - 6
    tail = next((t for t in tails if len(t) + 20 <= room), "")
    title = clip(desk.sheet.title, max(8, room - len(tail)))
    left = f" {place} {title}  "
    gap = max(1, width - sum(map(cells_of, left)) - len(state) - len(tail) - 1)
    return Content.assemble(left, (state, "bold"), " " * gap, tail)


def _numbers(desk: Desk, numbers: Mapping[str, Any] | None, batch: int | None) -> list[list[str]]:
    """What may stand at the right, the fullest first."""
    if numbers is None:
        return []
    row = next((row for row in numbers["batches"] if row["id"] == batch), None)
    counted = [f"batch {batch}: {row['decided']}/{row['n']} decided"] if row else []
    gate = numbers["gate"]
    if desk.blind:
        return [counted]
    said = f"gate {gate['passed']}/{gate['n']} {gate['advice']}" if gate["n"] else f"gate {gate['advice']}"
    return [[*counted, said], counted]


def status(desk: Desk, section: int, share: float, search: str, width: int) -> Content:
    """`59/69 assistant · 82% read · evidence 59, 38, 5`."""
    sheet = desk.sheet
    if sheet is None or not sheet.sections:
        return Content("")
    part = sheet.sections[min(section, len(sheet.sections) - 1)]
    where = f"{part.exchange}/{sheet.exchange_count} {part.role}" if part.exchange else part.role
    pieces = [where, f"{share:.0%} read"]
    if search:
        pieces.append(search)
    elif desk.stops:
        numbers = list(dict.fromkeys(str(stop.exchange) for stop in desk.stops))
        pieces.append(f"evidence {', '.join(numbers)}")
    elif desk.cursor and not desk.blind:
        pieces.append("no evidence")
    return Content.assemble((clip(" · ".join(pieces), width - 2), "dim"))


def next_line(desk: Desk, width: int) -> Content:
    """What happened, or what `enter` would do now and what comes after."""
    if desk.hint is not None:
        rest = ""
        if desk.hint.tone == "flag" and desk.mine(desk.cursor) and desk.flag(desk.cursor):
            rest = " · c example · b blame · e edit · enter next"
        return Content.assemble((clip(f"→ {desk.hint.text}{rest}", width), TONES[desk.hint.tone] or "bold"))
    return Content.assemble((clip(f"→ {_next(desk)}", width), "bold"))


def _next(desk: Desk) -> str:
    sheet = desk.sheet
    if sheet is None:
        return "nothing to review yet · 1 Loop: g makes five transcripts"
    mine, merged = desk.mine(desk.cursor), desk.merged(desk.cursor)
    after = _after(desk)
    if mine:
        flag = desk.flag(desk.cursor)
        said = f"I said {mine}" + (f", a {flag}" if flag and flag.startswith("false") else "")
        return f"{said} · {after if after.startswith('all') else 'enter: on ' + after}"
    if desk.blind:
        return f"y yes · n no · x not applicable · {after}"
    if merged is None:
        return f"no answer to agree with: y yes · n no · x not applicable · {after}"
    return f"enter: I agree, {merged} · {after}"


def _after(desk: Desk) -> str:
    """`then U2 Reads the unsaid (4 to answer)`."""
    sheet = desk.sheet
    assert sheet is not None
    left = desk.left
    rows = desk.to_answer
    here = rows.index(desk.cursor) if desk.cursor in rows else -1
    others = [c for c in [*rows[here + 1 :], *rows[: here + 1]] if c in left and c != desk.cursor]
    if others:
        then = "to" if desk.mine(desk.cursor) else "then"
        return f"{then} {others[0]} {sheet.criterion(others[0]).name} ({len(left)} to answer)"
    decided = desk.my_decision()
    if decided:
        return f"all answered, {'approved' if decided == 'approve' else 'rejected'} · l next transcript"
    if left:
        return "the last to answer, then A or R"
    if desk.to_answer:
        return "all answered: A approves, R rejects"
    return "nothing is asked of you here: A approves, R rejects"
