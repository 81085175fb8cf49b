"""What the audit and the coverage say, as lines: pure functions of what `audit --json` and `coverage --json` print."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.widgets.card import Line

Report = Mapping[str, Any]
LEVELS = {"critical": ("‼", "bold $text-error"), "high": ("!", "bold $text-warning"), "watch": ("·", "")}
LABEL = 12
REST = 20
"""Lines that what is not phrases takes, about."""


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def few(words: Sequence[str], most: int = 4) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def audit_lines(found: Report, width: int, height: int) -> list[Line]:
    """The whole report in lines of at most `width` cells: as many phrases as leave room for the rest in `height` lines,
    then what else was measured, then the other phrases."""
    if not found.get("replies"):
        return [_plain("There is no reply to audit in this set yet.", width)]
    incomplete = f", {found['incomplete']} not complete" if found.get("incomplete") else ""
    left = len(found.get("left_out") or ())
    lines: list[Line] = [gate_line(found, width)]
    lines += _words(
        "", f"{found['set']}: {found['transcripts']:,} transcripts{incomplete}, {found['replies']:,} replies"
        + (f"; left out, since not complete: {left} approved" if left else ""), width,
    )  # fmt: skip
    first = max(6, height - REST)
    lines += [(), *_phrases(found["phrases"][:first], width), ()]
    for label, text, flag in _measures(found):
        lines += _words(label, text, width, flag=flag)
    lines += [(), *_strays(found["strays"], width)]
    lines += _near_duplicates(found["near_duplicates"], width)
    lines += _personal_data(found["personal_data"], width)
    if len(found["phrases"]) > first:
        lines += [(), *_phrases(found["phrases"][first:], width, "more phrases")]
    return lines


def gate_line(found: Report, width: int, which: str = "") -> Line:
    """`gate  yes · no phrase is in more than half of the replies`. `which` says of what, where that shows nowhere."""
    passed, why = found["gate"].get("passed"), which + str(found["gate"].get("why", ""))
    word, style = {True: ("yes", "bold $text-success"), False: ("no", "bold $text-error")}.get(passed, ("–", "bold"))
    return ("gate".ljust(LABEL), "bold"), (word, style), (" · " + clip(why, width - LABEL - 3 - len(word)), "")


def _phrases(rows: Sequence[Report], width: int, name: str = "phrase") -> Iterator[Line]:
    if not rows:
        yield from _words("phrases", "none is in a tenth of the replies", width)
        return
    room = max(12, width - 41)
    yield ((f"{'share':>6}  {'level':<11}{name:<{room}}  for example", "bold"),)
    for row in rows:
        mark, style = LEVELS.get(row["level"], ("·", ""))
        phrase = _padded(row.get("passage") or row["phrase"], room)
        places = clip(_places(row.get("examples", ())[:2]), 20)
        yield (
            (f"{percent(row['share']):>6}  ", ""), (f"{mark} {clip(row['level'], 8):<9}", style),
            (f"{phrase}  ", ""), (places, "dim"),
        )  # fmt: skip


def _padded(text: str, width: int) -> str:
    short = clip(text, width)
    return short + " " * (width - sum(map(cells_of, short)))


def _places(rows: Sequence[Report]) -> str:
    return ", ".join(f"{row['transcript']} ex {row['exchange']}" for row in rows)


def _measures(found: Report) -> Iterator[tuple[str, str, bool]]:
    """(label, text, whether it is flagged)."""
    ratio = found["length_ratio"]
    if ratio["mean"] is not None:
        worst = ratio.get("examples") or ()
        most = f"; most: {worst[0]['ratio']:.1f} times in {_places(worst[:1])}" if worst else ""
        yield (
            "length",
            f"replies have {ratio['mean']:.2f} times the user's words; {percent(ratio['share_above_2'])} have more "
            f"than twice as many{most}",
            False,
        )
    built = found["structure"]
    same = built.get("same_headers") or ()
    named = [f"{row['header']} ({row['replies']})" for row in same]
    headers = f"; headers that come back: {few(named, 3)}" if same else ""
    yield (
        "structure",
        f"{percent(built['headers']['share'])} of the replies have {built['headers']['count']} headers, "
        f"{percent(built['lists']['share'])} have {built['lists']['count']} list items{headers}",
        bool(built["flag"]),
    )
    praise = found["praise"]
    if praise["early"] is not None and praise["late"] is not None:
        yield (
            "praise",
            f"in {percent(praise['early'])} of the replies of a first half, {percent(praise['late'])} of a second",
            bool(praise["flag"]),
        )
    ends = found["endings"]
    if ends["transcripts"]:
        others = f"; others: {few(ends['others'], 3)}" if ends.get("others") else ""
        yield (
            "endings",
            f"{percent(ends['share'])} of {ends['transcripts']:,} conversations end on a positive note{others}",
            bool(ends["flag"]),
        )
    distinct, words = found.get("distinct"), found.get("vocabulary")
    if distinct and words:
        new = words.get("new_per_1000")
        later = "" if new is None else f"; {new:.0f} of 1,000 words are new in the last tenth"
        shares = ", ".join("–" if distinct[n] is None else f"{distinct[n]:.2f}" for n in "123")
        yield "variety", f"distinct-1, -2, -3: {shares}; {words['distinct']:,} different words{later}", False


def _strays(found: Report, width: int) -> Iterator[Line]:
    if found["language"] is None:
        yield from _words("language", "no reply is long enough to tell its language", width)
        return
    away = f"{found['replies']} in another language" if found["replies"] else "no reply strays from it"
    like = f" ({found['like_the_user']} in the user's own)" if found.get("like_the_user") else ""
    slips = f"; {found['slips']} with words in another script" if found.get("slips") else ""
    flag = bool(found["replies"] > found.get("like_the_user", 0) or found.get("slips"))
    yield from _words("language", f"{found['language']}; {away}{like}{slips}", width, flag=flag)
    for row in found.get("examples", ())[:3]:
        yield from _words("", f"{_places([row])} {row['language']}: {row['text']}", width, most=1)
    for row in found.get("slip_examples", ())[:3]:
        yield from _words("", f"{_places([row])} {row['script']}: {row['text']}", width, most=1)


def _near_duplicates(found: Report, width: int) -> Iterator[Line]:
    made = found["groups"]
    if not made:
        yield from _words("duplicates", "no two transcripts are nearly the same", width)
        return
    said = f"{found['transcripts']} transcripts are nearly the same as another ({percent(found['share'])})"
    yield from _words("duplicates", f"{said}; they go into one split", width, flag=True)
    for group in made[:5]:
        yield from _words("", f"{few(group['transcripts'], 6)} (from {group['jaccard']:.2f} alike)", width, most=1)
    if len(made) > 5:
        yield from _words("", f"and {len(made) - 5} more groups", width)


def _personal_data(found: Report, width: int) -> Iterator[Line]:
    if not found["found"]:
        yield from _words("personal", "nothing has the form of personal data", width)
        return
    kinds = ", ".join(f"{kind} {n}" for kind, n in found["kinds"].items())
    yield from _words("personal", f"{found['found']} in {found['transcripts']} transcripts: {kinds}", width, flag=True)
    for row in found["examples"][:8]:
        yield from _words("", f"{_places([row])} {row['role']} {row['kind']} {row['shown']}", width, most=1)


def coverage_lines(found: Report, width: int) -> list[Line]:
    """Asked for, drawn, approved; what is thin first."""
    counts = found["transcripts"]
    made = f"{counts['generated']:,} generated, {counts['imported']:,} imported"
    lines = list(_words("transcripts", f"{made}; {counts['approved']:,} approved", width))
    if not counts["approved"]:
        lines += _words("thin", "nothing is approved yet, so nothing is covered: 2 Review decides", width)
    elif not found["missing"] and not found["short"]:
        lines += _words("thin", "nothing: every option that was asked for is among the approved", width)
    else:
        lines += _words("missing", _named(found["missing"]) or "nothing", width, flag=bool(found["missing"]))
        lines += _words("short", _named(found["short"]) or "nothing", width, flag=bool(found["short"]))
    for part in found["parts"]:
        if part["rows"]:
            lines += [(), *_part(part, width)]
    return lines


def _named(rows: Sequence[Report]) -> str:
    return few([f"{row['name']} ({row['kind']})" for row in rows], 8)


def thin(found: Report) -> str:
    """Where coverage is thin, in a few words."""
    counts = found["transcripts"]
    if not counts["approved"]:
        return "nothing is approved yet"
    missing, short = found["missing"], found["short"]
    if not missing and not short:
        return "nothing that was asked for is missing"
    said = [f"{len(missing)} asked for and not approved once"] if missing else []
    said += [f"{len(short)} approved less than asked for"] if short else []
    return f"{', '.join(said)}: {few([str(row['name']) for row in [*missing, *short]], 5)}"


def _part(part: Report, width: int) -> Iterator[Line]:
    room = max(14, min(40, width - 42))
    yield ((f"{_padded(part['kind'], room + 2)}{'asked':>7}{'drawn':>7}{'approved':>10}{'share':>7}", "bold"),)
    for row in part["rows"]:
        mark, style = {"missing": ("‼", "bold $text-error"), "short": ("!", "bold $text-warning")}.get(
            row["state"], (" ", "")
        )
        counts = f"{percent(row['asked']):>7}{row['drawn']:>7,}{row['approved']:>10,}"
        word = {"missing": "missing", "short": "short", "over": "over"}.get(row["state"], "")
        yield (
            (f"{mark} ", style), (_padded(row["name"], room), ""),
            (f"{counts}{percent(row['approved_share']):>7}  ", ""),
            (word, style),
        )  # fmt: skip


def _words(label: str, text: str, width: int, *, flag: bool = False, most: int = 4) -> Iterator[Line]:
    """A label and a text beside it, in as many lines as it needs, at most `most`; `!` before what is flagged."""
    lines = fold(" ".join(str(text).split()), max(8, width - LABEL - 2))
    if len(lines) > most:
        lines[most - 1 :] = [clip(" ".join(lines[most - 1 :]), width - LABEL - 2)]
    for number, line in enumerate(lines):
        mark = "! " if flag and not number else "  "
        yield (
            ((label if not number else "").ljust(LABEL - 2) + mark, "bold $text-warning" if flag else "bold"),
            (line, ""),
        )


def _plain(text: str, width: int) -> Line:
    return ((clip(text, width), ""),)
