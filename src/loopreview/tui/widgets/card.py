"""The card of one criterion: its question, what the judges say, the lit quote, and what comes next."""

from textual.content import Content

from loopreview.models.verdict import Verdict
from loopreview.tui.page import clip, fold
from loopreview.tui.review_desk import Desk
from loopreview.tui.sheet import Stop, counted
from loopreview.tui.widgets.criteria import answers_line

Piece = tuple[str, str]
Line = tuple[Piece, ...]

QUOTE = "bold reverse"
OTHER = "underline"


def card(desk: Desk, width: int, height: int) -> Content:
    """The short card in `height` lines of at most `width` cells."""
    if desk.sheet is None or not desk.cursor:
        return Content("")
    lines = _title(desk, width)
    question = _question(desk, width)
    if len(question) > 2:
        question[1] = ((clip_end(question[1][0][0], width), "italic"),)
    lines += question[:2]
    stop = desk.stop
    if stop is not None:
        mark = "▌" if stop.span else " "
        lines.append(
            ((mark, "bold $text-accent"), (clip(quote_line(desk, stop), width - 1), OTHER if stop.span else ""))
        )
    why = _reasoning(desk, width)
    room = height - len(lines)
    if len(why) > room > 0:
        text, style = why[room - 1][-1]
        why = [*why[: room - 1], (*why[room - 1][:-1], (clip_end(text, width, " … z why"), style))]
    lines += why[: max(0, room)]
    return paint(lines[:height])


def why(desk: Desk, width: int, height: int, offset: int = 0) -> tuple[Content, int]:
    """What every judge says, with all quotes, in `height` lines; the lit quote is among them unless `offset` (lines
    scrolled by hand) takes it out. Returns the content and the largest useful offset."""
    if desk.sheet is None or not desk.cursor:
        return Content(""), 0
    head = _title(desk, width)
    room = max(1, height - len(head))
    lines = _question(desk, width)
    lit = (0, 0)
    stops = desk.stops
    if desk.blind:
        lines += [((line, ""),) for line in fold("Blind: what the judges say is hidden.", width)]
        return paint([*head, *lines][:height]), 0
    remarks = desk.sheet.lint(desk.cursor)
    for backend in _in_order(desk):
        lines.append(())
        lines += _judge(desk, backend, width)
        own = [(n, stop) for n, stop in enumerate(stops) if stop.backends[0] == backend]
        for number, stop in own:
            here = number == desk.quote % len(stops)
            style = QUOTE if here and stop.span else OTHER if stop.span else ""
            mark = "▌" if here else "┆" if stop.span else " "
            text = f"{number + 1} ex {stop.exchange} {stop.role}{_kind(stop)}: “{stop.quote.strip()[:1200]}”"
            quoted = [((mark + " ", ""), (line, style)) for line in fold(" ".join(text.split()), width - 2)[:6]]
            lit = (len(lines), len(lines) + len(quoted)) if here else lit
            lines += quoted
        shared = [n + 1 for n, stop in enumerate(stops) if backend in stop.backends[1:]]
        if shared:
            lines.append((("  also quotes " + ", ".join(map(str, shared)), "dim"),))
        if not own and not shared:
            lines.append((("  no quote given", "dim"),))
        lines += [((line, "italic"),) for r in remarks if r.startswith(f"{backend}: ")
                  for line in fold('  " ' + r.removeprefix(f"{backend}: "), width)]  # fmt: skip
    note = desk.sheet.check_notes.get(desk.cursor)
    if note:
        lines += [(), *(((line, ""),) for line in fold(f"Counted by code: {note}", width))]
    most = max(0, len(lines) - room)
    first = max(0, min(most, max(0, min(lit[0], lit[1] - room)) + offset))
    return paint([*head, *lines[first : first + room]]), most


def paint(lines: list[Line]) -> Content:
    pieces: list[Piece] = []
    for number, line in enumerate(lines):
        pieces += [("\n", "")] if number else []
        pieces += line
    return Content.assemble(*pieces)


def clip_end(text: str, width: int, ending: str = "…") -> str:
    """`text` with `ending` put to its end, within `width`."""
    room = width - len(ending)
    return (text if len(text) <= room else text[:room].rstrip()) + ending


def _title(desk: Desk, width: int) -> list[Line]:
    sheet = desk.sheet
    assert sheet is not None
    criterion = sheet.criterion(desk.cursor)
    gate = "!" if criterion.gate else ""
    mine = desk.mine(desk.cursor)
    said = f"  I say {mine}" if mine else ""
    answers = answers_line(desk, desk.cursor)
    given = f"  {answers}" if answers else ""
    name = clip(f"{criterion.id} {gate}{criterion.name}", width - len(said))
    if len(name) + len(given) + len(said) <= width:
        return [((name, "bold"), (given, ""), (said, "bold $text-accent"))]
    return [((name, "bold"), (said, "bold $text-accent")), ((clip(answers, width), ""),)]


def _question(desk: Desk, width: int) -> list[Line]:
    assert desk.sheet is not None
    criterion = desk.sheet.criterion(desk.cursor)
    text = criterion.question or f"Counted by code ({criterion.check})."
    return [((line, "italic"),) for line in fold(" ".join(text.split()), width)]


def _kind(stop: Stop) -> str:
    """What to know about a quote beside where it stands."""
    if stop.section is None:
        return ", no such exchange"
    if stop.span is None:
        return ", not found there"
    return ", against" if stop.against else ""


def quote_line(desk: Desk, stop: Stop) -> str:
    number = desk.quote % len(desk.stops) + 1
    who = " ".join(stop.backends)
    return f"{number}/{len(desk.stops)} {who} ex {stop.exchange} {stop.role}{_kind(stop)}: “{stop.quote.strip()}”"


def _in_order(desk: Desk) -> list[str]:
    """The judges as the quotes are ordered: those whose answer counts first."""
    assert desk.sheet is not None
    merged = counted(desk.sheet.assessment.merged.get(desk.cursor))
    given = desk.sheet.verdicts.get(desk.cursor, {})
    return sorted(
        (backend for backend in desk.sheet.backends if backend in given),
        key=lambda backend: counted(given[backend].answer) != merged,
    )


def _reasoning(desk: Desk, width: int) -> list[Line]:
    """The judge whose quote is lit, else the first whose answer counts; or how code counted."""
    sheet = desk.sheet
    assert sheet is not None
    if desk.blind:
        return [(("Blind: say y, n or x. What the judges say is hidden.", "dim"),)]
    stop = desk.stop
    order = _in_order(desk)
    backend = stop.backends[0] if stop and stop.backends[0] in order else next(iter(order), None)
    if backend is not None:
        return _judge(desk, backend, width)
    note = sheet.check_notes.get(desk.cursor)
    if note:
        return [((line, ""),) for line in fold(f"Counted by code: {note}", width)]
    return [((line, "dim"),) for line in fold("No judge has answered this yet.", width)]


def _judge(desk: Desk, backend: str, width: int) -> list[Line]:
    assert desk.sheet is not None
    verdict: Verdict = desk.sheet.verdicts[desk.cursor][backend]
    name = f"{clip(backend, 16)} {'ERROR' if verdict.answer == 'ERROR' else verdict.answer}:"
    # A judge that never stops talking must not make every key slow.
    text = (verdict.reasoning or verdict.reason or "no reason given")[:6000]
    lines = fold(f"{name} {' '.join(text.split())}", width)
    first: Line = ((name, "bold"), (lines[0][len(name) :], ""))
    return [first, *(((line, ""),) for line in lines[1:])]
