"""The criteria of a transcript: a ribbon in one line, or a list."""

from textual.content import Content

from loopreview.rules.safe_text import safe
from loopreview.tui.page import cells_of, clip
from loopreview.tui.review_desk import Desk
from loopreview.tui.sheet import counted, is_split

LETTER = {"YES": "Y", "NO": "N", "NA": "X", "SKIPPED": "·", "INVALID_NA": "N", "ERROR": "E"}
MERGED = {"YES": "YES", "NO": "NO", "NA": "NA", "SKIPPED": "·", "INVALID_NA": "NO", None: "?"}

Piece = tuple[str, str]


def ribbon(desk: Desk, width: int) -> Content:
    """`C1n U1? U2? │U3Y …`: capital = judges, small = me, `?` = to answer, reverse = here. Where not all fits, the
    part around the cursor is shown between `‹` and `›`."""
    if desk.sheet is None:
        return Content("")
    pieces, first, last = _ribbon_parts(desk, width)
    parts: list[Piece] = [("‹ ", "dim")] if first else []
    for number in range(first, last):
        _, text, style = pieces[number]
        parts.append((text, style))
        if text != "│":
            parts.append((" ", ""))
    if last < len(pieces):
        parts.append(("›", "dim"))
    return Content.assemble(*parts)


def ribbon_at(desk: Desk, width: int, x: int) -> str | None:
    """The criterion at cell `x` of the ribbon."""
    if desk.sheet is None:
        return None
    pieces, first, last = _ribbon_parts(desk, width)
    at = 2 if first else 0
    for criterion, text, _ in pieces[first:last]:
        end = at + len(text) + (text != "│")
        if at <= x < end:
            return criterion or None
        at = end
    return None


def _ribbon_parts(desk: Desk, width: int) -> tuple[list[tuple[str, str, str]], int, int]:
    """(criterion, text, style) of all pieces, and which of them are shown."""
    pieces = [(criterion, *_tag(desk, criterion, asked=True)) for criterion in desk.to_answer]
    if desk.not_asked:
        pieces.append(("", "│", "dim"))
        pieces += [(criterion, *_tag(desk, criterion, asked=False)) for criterion in desk.not_asked]
    here = next((n for n, (criterion, _, _) in enumerate(pieces) if criterion == desk.cursor), 0)
    return pieces, *_window([len(text) + 1 for _, text, _ in pieces], here, width)


def _tag(desk: Desk, criterion: str, *, asked: bool) -> Piece:
    mine = desk.mine(criterion)
    if mine:
        text, style = criterion + LETTER[mine].lower(), "" if asked else "dim"
    elif asked:
        text, style = criterion + "?", "bold"
    else:
        text, style = criterion + LETTER.get(desk.merged(criterion) or "", "·"), "dim"
    return text, "bold reverse" if criterion == desk.cursor else style


def _window(widths: list[int], here: int, width: int) -> tuple[int, int]:
    """The widest run of pieces around `here` that fits."""
    if sum(widths) <= width:
        return 0, len(widths)
    first, last, used, room = here, here + 1, widths[here], width - 3
    grew = True
    while grew:
        grew = False
        if last < len(widths) and used + widths[last] <= room:
            used, last, grew = used + widths[last], last + 1, True
        if first > 0 and used + widths[first - 1] <= room:
            used, first, grew = used + widths[first - 1], first - 1, True
    return first, last


def criteria_list(desk: Desk, width: int, height: int) -> Content:
    """`>S1 !No unsafe advice    N N Y ≠NO n·"`: each judge, merged, me; `≠` split, `!` gate, `·` opened, `"` lint.
    At most `height` lines, with the cursor's row among them."""
    sheet = desk.sheet
    if sheet is None:
        return Content("")
    wide = max((len(criterion) for criterion in desk.rows), default=2)
    judges = [] if desk.blind else list(sheet.backends)[: max(0, (width - wide - 24) // 2)]
    tail = 2 * len(judges) + 9
    asked = set(desk.to_answer)
    lines: list[list[Piece]] = []
    head = f"to answer {len(desk.left)} of {len(desk.to_answer)}"
    initials = " ".join(safe(judge[:1], keep_newlines=False)[:1] for judge in judges)
    lines.append([(head.ljust(width - tail), "bold"), (f"{initials}  all me", "dim")])
    for criterion in rows_shown(desk, height)[1:]:
        if criterion is None:
            lines.append([("─ not asked of you ".ljust(width, "─"), "dim")])
        else:
            lines.append(_row(desk, criterion, judges, wide, width - tail, asked=criterion in asked))
    pieces: list[Piece] = []
    for number, line in enumerate(lines):
        pieces += [("\n", "")] if number else []
        pieces += line
    return Content.assemble(*pieces)


def rows_shown(desk: Desk, height: int) -> list[str | None]:
    """What stands in each line of the list: a criterion, or null for the head and the rule between the sections."""
    rows: list[str | None] = [None, *desk.to_answer, *([None] if desk.not_asked else []), *desk.not_asked]
    if len(rows) <= height or height < 2:
        return rows
    at = rows.index(desk.cursor) if desk.cursor in rows else 0
    first = max(1, min(at - height // 2, len(rows) - height + 1))
    return [None, *rows[first : first + height - 1]]


def _row(desk: Desk, criterion: str, judges: list[str], wide: int, room: int, *, asked: bool) -> list[Piece]:
    sheet = desk.sheet
    assert sheet is not None
    known = sheet.criterion(criterion)
    here = criterion == desk.cursor
    gate = "!" if known.gate else " "
    left = f"{'>' if here else ' '}{criterion.ljust(wide)} {gate}"
    name = clip(known.name, room - len(left) - 1)
    left += name + " " * max(1, room - len(left) - sum(map(cells_of, name)))
    answers = sheet.assessment.answers.get(criterion, {})
    letters = [LETTER.get(answers.get(judge, ""), " ") for judge in judges]
    if "check" in answers and judges:
        letters = ["c", *[" "] * (len(judges) - 1)]
    merged = "" if desk.blind else MERGED.get(sheet.assessment.merged.get(criterion), "?")
    split = "≠" if not desk.blind and is_split(sheet, criterion) else " "
    mine = LETTER[desk.mine(criterion) or ""].lower() if desk.mine(criterion) else " "
    opened = "·" if criterion in desk.opened else " "
    lint = '"' if not desk.blind and sheet.lint_known(criterion) else " "
    style = "" if asked else "dim"
    base = "bold reverse" if here else style
    text = f"{left}{''.join(letter + ' ' for letter in letters)}{split}{merged.ljust(3)} {mine}{opened}{lint} "
    if here or not mine.strip():
        return [(text, base)]
    # What I said stands out from what the judges said.
    return [(text[:-4], base), (text[-4:], "bold")]


def answers_line(desk: Desk, criterion: str) -> str:
    """`gpt N  son N  qwn Y → NO · bob Y`, or how code answered; what other reviewers say comes last."""
    sheet = desk.sheet
    if sheet is None or desk.blind:
        return ""
    answers = sheet.assessment.answers.get(criterion, {})
    merged = MERGED.get(sheet.assessment.merged.get(criterion), "?")
    said = sheet.assessment.human.get(criterion, {})
    people = "".join(f" · {clip(name, 12)} {LETTER[answer]}" for name, answer in said.items() if name != desk.me)
    if not answers:
        return (f"→ {merged}" if counted(sheet.assessment.merged.get(criterion)) else "no answer yet") + people
    given = "  ".join(f"{clip(judge, 12)} {LETTER.get(answer, '?')}" for judge, answer in answers.items())
    return f"{given} → {merged}{people}"
