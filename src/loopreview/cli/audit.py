"""audit, analyse and coverage: what a set shows that no single transcript does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from loopreview.cli.call import Call, bar, percent, say, shared_options, table
from loopreview.models.errors import UserError

_PATH = click.Path(path_type=Path)
SHOWN = 20
"""Phrases a person is shown; `--json` has all."""


@click.command()
@click.option("--approved", is_flag=True, help="The approved transcripts that are complete.")
@click.option("--batch", type=int, metavar="ID", help="The transcripts of this batch.")
@click.option("--compare", nargs=2, metavar="A B", help="Two sets: a batch's number, all, approved, or a part.")
@click.option("--shard", metavar="I/N", help="Only the i-th of n shards, into the file --to names.")
@click.option("--to", type=_PATH, metavar="PART", help="Where the part goes; it holds the replies' words.")
@click.option("--merge", is_flag=True, help="Put parts together: audit --merge PART…")
@click.argument("parts", metavar="[PART]…", nargs=-1, type=_PATH)
@click.option("--gate", is_flag=True, help="Exit 1 where a phrase is in more than half of the replies.")
@shared_options
def audit(
    call: Call,
    approved: bool,
    batch: int | None,
    compare: tuple[str, str] | None,
    shard: str | None,
    to: Path | None,
    merge: bool,
    parts: tuple[Path, ...],
    gate: bool,
) -> None:
    """Look for what repeats over many replies: phrases, structure, length, praise, near duplicates, personal data.

    Over every transcript, unless told otherwise.
    """
    from loopreview import audit as stage

    _refuse(approved or batch is not None, compare is not None, shard is not None, to is not None, merge, bool(parts))
    if merge:
        merged = stage.merge(parts)
        if merged.missing:
            say(f"shards {_few(list(merged.missing))} are not among the parts; what follows is about the others alone")
        if to is not None:
            _written(call, stage.write_part(merged.collected, to, name=merged.name, left_out=merged.left_out))
            return
        document = stage.reported(merged.name, merged.collected, left_out=merged.left_out)
    else:
        with call.open() as workspace:
            if shard is not None or to is not None:
                which = stage.parse_shard(shard or "1/1")
                assert to is not None
                _written(call, stage.write_shard(workspace, which, to, approved=approved, batch=batch, progress=bar()))
                return
            if compare is not None:
                document = stage.compare(workspace, *compare, progress=bar())
            else:
                document = stage.audit(workspace, approved=approved, batch=batch, progress=bar())
    if left := document.get("left_out"):
        say(f"{len(left)} approved transcripts are not complete and left out: {_few(left)}")
    call.emit(document, lambda: _compared(document) if compare is not None else _report(document))
    if gate and not document["gate"]["passed"]:
        click.get_current_context().exit(1)


def _refuse(narrowed: bool, compare: bool, shard: bool, to: bool, merge: bool, parts: bool) -> None:
    if parts and not merge:
        raise UserError("files stand only after --merge: `loopreview audit --merge PART…`")
    if merge and not parts:
        raise UserError("--merge takes the files of one part or more: `loopreview audit --merge PART…`")
    if shard and not to:
        raise UserError("--shard needs --to FILE, where the part goes")
    if merge and (narrowed or shard):
        raise UserError("--merge takes its transcripts from the parts; leave out --approved, --batch and --shard")
    if compare and (narrowed or shard or to or merge):
        raise UserError("--compare names its two sets itself; leave out the other options")


def _written(call: Call, document: dict[str, Any]) -> None:
    call.emit(
        document, lambda: [f"{document['part']}  {document['transcripts']} transcripts  {document['replies']} replies"]
    )
    say("the part holds what the replies say; keep it as safe as the transcripts")


def _few(ids: list[str], shown: int = 5) -> str:
    return ", ".join(ids[:shown]) + (f" and {len(ids) - shown} more" if len(ids) > shown else "")


def _places(rows: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['transcript']} ex {row['exchange']}" for row in rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _report(found: dict[str, Any]) -> Iterator[str]:
    of_them = f", {found['incomplete']} of them not complete" if found["incomplete"] else ""
    yield f"{found['set']}: {found['transcripts']} transcripts{of_them}, {found['replies']} replies"
    if not found["replies"]:
        yield "there is no reply to audit yet: `loopreview generate` or `loopreview import FILE`"
        return
    yield ""
    yield from _phrases(found["phrases"])
    yield ""
    yield from _measures(found)
    yield from _near_duplicates(found["near_duplicates"])
    yield from _personal_data(found["personal_data"])
    yield ""
    yield f"gate: {'yes' if found['gate']['passed'] else 'no'}. {found['gate']['why']}"


def _phrases(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "no phrase is in a tenth of the replies"
        return
    yield "phrases by share of replies (critical over 50 %, high from 20 %, watch from 10 %)"
    shown = [
        (percent(r["share"]), r["level"], r["passage"] or r["phrase"], _places(r["examples"][:2])) for r in rows[:SHOWN]
    ]
    yield from table(shown, ("share", "level", "phrase", "for example"))
    if len(rows) > SHOWN:
        yield f"and {len(rows) - SHOWN} more; --json has all"


def _flag(row: dict[str, Any]) -> str:
    return "  ← look" if row["flag"] else ""


def _measures(found: dict[str, Any]) -> Iterator[str]:
    ratio = found["length_ratio"]
    if ratio["mean"] is not None:
        worst = ratio["examples"][0]
        yield (
            f"length      replies have {ratio['mean']:.2f} times the user's words on average "
            f"(median {ratio['median']:.2f}); {percent(ratio['share_above_2'])} have more than twice as many "
            f"(most: {worst['ratio']:.1f} times in {_places([worst])})"
        )
    built = found["structure"]
    yield (
        f"structure   {percent(built['headers']['share'])} of the replies have {built['headers']['count']} headers, "
        f"{percent(built['lists']['share'])} have {built['lists']['count']} list items{_flag(built)}"
    )
    if built["same_headers"]:
        often = ", ".join(f"{row['header']} ({row['replies']})" for row in built["same_headers"][:5])
        yield f"            headers that come back: {often}"
    praise = found["praise"]
    if praise["early"] is not None and praise["late"] is not None:
        yield (
            f"praise      in {percent(praise['early'])} of the replies of a first half, "
            f"{percent(praise['late'])} of a second{_flag(praise)}"
        )
    ends = found["endings"]
    if ends["transcripts"]:
        others = f"; others: {_few(ends['others'], 3)}" if ends["others"] else ""
        yield (
            f"endings     {percent(ends['share'])} of {ends['transcripts']} conversations end on a positive note"
            f"{others}{_flag(ends)}"
        )
    yield from _strays(found["strays"])
    distinct, words = found["distinct"], found["vocabulary"]
    yield (
        f"variety     distinct-1 {_number(distinct['1'])}, -2 {_number(distinct['2'])}, -3 {_number(distinct['3'])} "
        f"over {distinct['words']:,} words"
    )
    new = words["new_per_1000"]
    later = "" if new is None else f"; in the last tenth of the transcripts {new:.0f} of 1,000 are new"
    yield f"vocabulary  {words['distinct']:,} different words of {words['words']:,}{later}"


def _strays(found: dict[str, Any]) -> Iterator[str]:
    if found["language"] is None:
        yield "language    no reply is long enough to tell its language"
        return
    kind = f" (in the user's own: {found['like_the_user']})" if found["like_the_user"] else ""
    yield f"language    {found['language']}; replies in another: {found['replies']}{kind}"
    for row in found["examples"][:5]:
        yield f"            {_places([row])} {row['language']}: {row['text']}"
    if found["slips"]:
        yield f"            replies that slip into another script: {found['slips']}"
    for row in found["slip_examples"][:3]:
        yield f"            {_places([row])} {row['script']}: {row['text']}"


def _near_duplicates(found: dict[str, Any]) -> Iterator[str]:
    if not found["groups"]:
        yield "duplicates  no two transcripts are nearly the same"
        return
    yield f"duplicates  {found['transcripts']} transcripts are nearly the same as another ({percent(found['share'])})"
    for group in found["groups"][:5]:
        yield f"            {_few(group['transcripts'], 8)}  (from {group['jaccard']:.2f} alike)"
    if len(found["groups"]) > 5:
        yield f"            and {len(found['groups']) - 5} more groups"


def _personal_data(found: dict[str, Any]) -> Iterator[str]:
    if not found["found"]:
        yield "personal    nothing has the form of personal data"
        return
    kinds = ", ".join(f"{kind} {n}" for kind, n in found["kinds"].items())
    nobodys = f"; {found['reserved']} from ranges set aside for examples" if found["reserved"] else ""
    yield f"personal    {found['found']} in {found['transcripts']} transcripts: {kinds}{nobodys}"
    for row in found["examples"][:5]:
        yield f"            {_places([row])} {row['role']} {row['kind']} {row['shown']}"


def _compared(found: dict[str, Any]) -> Iterator[str]:
    a, b = found["a"], found["b"]
    rows: list[tuple[str, ...]] = [
        ("transcripts", str(a["transcripts"]), str(b["transcripts"])),
        ("replies", str(a["replies"]), str(b["replies"])),
    ]
    for name, part, key, show in (
        ("reply/user words, mean", "length_ratio", "mean", _number),
        ("replies over twice the user", "length_ratio", "share_above_2", percent),
        ("praise, first half", "praise", "early", percent),
        ("praise, second half", "praise", "late", percent),
        ("positive endings", "endings", "share", percent),
        ("replies in another language", "strays", "share", percent),
        ("distinct-1", "distinct", "1", _number),
        ("distinct-2", "distinct", "2", _number),
        ("distinct-3", "distinct", "3", _number),
        ("new words in 1,000", "vocabulary", "new_per_1000", _number),
        ("near duplicates", "near_duplicates", "share", percent),
    ):
        rows.append((name, show(a[part][key]), show(b[part][key])))
    rows.append(("personal data", str(a["personal_data"]["found"]), str(b["personal_data"]["found"])))
    rows.append(("gate", *({True: "yes", False: "no", None: "–"}[side["gate"]["passed"]] for side in (a, b))))
    yield from table(rows, ("", a["set"], b["set"]))
    if found["phrases"]:
        yield ""
        yield "phrases whose level differs (–: in less than a tenth of the replies)"
        changed = [(row["phrase"], percent(row["a"]), percent(row["b"])) for row in found["phrases"][:SHOWN]]
        yield from table(changed, ("phrase", a["set"], b["set"]))


@click.command()
@click.option("--batch", type=int, metavar="ID", help="The transcripts of this batch (default: all).")
@shared_options
def analyse(call: Call, batch: int | None) -> None:
    """Which criteria fail together, where, under which personas and topics, and what can be mended."""
    from loopreview.analysis import analyse as look

    with call.open() as workspace:
        document = look(workspace, batch=batch, progress=bar())
    call.emit(document, lambda: _analysis(document))


def _analysis(found: dict[str, Any]) -> Iterator[str]:
    if not found["transcripts"]:
        yield "no transcript has answers yet: `loopreview assess`, then come back"
        return
    left = f"; {found['incomplete']} not complete are left out" if found["incomplete"] else ""
    yield (
        f"{found['set']}: {found['transcripts']} transcripts, {found['passed']} pass, {found['failed']} fail, "
        f"{found['unscored']} unscored{left}"
    )
    yield ""
    yield "criteria, most failed first; where: transcripts with a quote in the first, middle and last third"
    rows = sorted(found["criteria"], key=lambda row: -(row["rate"] or 0))
    yield from table(
        (_criterion(row) for row in rows), ("criterion", "", "failed", "of", "rate", "95 %", "where", "first at")
    )
    yield ""
    yield from _together(found["together"])
    yield ""
    yield from _traits("topics", found["topics"])
    yield from _traits("personas", found["personas"])
    yield ""
    yield f"failing transcripts: {found['fixable']} fixable, {found['systemic']} systemic"
    for kind in ("fixable", "systemic"):
        for row in [row for row in found["failing"] if row["kind"] == kind][:SHOWN]:
            yield f"{row['transcript']}  {kind}  {row['why']}"


def _criterion(row: dict[str, Any]) -> tuple[object, ...]:
    interval = "–" if row["interval"] is None else f"{100 * row['interval'][0]:.0f}–{100 * row['interval'][1]:.0f}"
    where = "all replies" if row["over_all_replies"] else " ".join(map(str, row["thirds"])) if row["quoted"] else "–"
    first = "–" if row["first"] is None else f"{row['first']:g}"
    name = row["name"] + (" (gate)" if row["gate"] else "")
    return row["criterion"], name, row["failed"], row["answered"], percent(row["rate"]), interval, where, first


def _together(rows: list[dict[str, Any]], shown: int = 8) -> Iterator[str]:
    holding = [row for row in rows if row["holds"]]
    if holding:
        yield "fail together more often than chance would have it"
    elif rows:
        yield "no two criteria fail together more often than chance may have it; the nearest to it"
    else:
        yield "no two criteria fail together"
        return
    yield from table(
        (
            (
                f"{row['first']} + {row['second']}",
                row["both"],
                row["n"],
                _number(row["lift"]),
                _number(row["phi"]),
                _number(row["q"]),
            )
            for row in (holding or rows)[: shown if holding else 3]
        ),
        ("criteria", "both", "of", "lift", "phi", "q"),
    )


def _traits(name: str, rows: list[dict[str, Any]], shown: int = 8) -> Iterator[str]:
    holding = [row for row in rows if row["holds"]]
    if not rows:
        yield f"{name}: too few transcripts, or too few failures, to compare"
        return
    if holding:
        yield f"{name} under which more or fewer fail than chance would have it"
    else:
        yield f"{name}: no difference that chance may not have made; the nearest to it"
    yield from table(
        (
            (
                f"{row['kind']}: {row['value']}",
                row["criterion"] or "fails",
                f"{row['failed']}/{row['n']}",
                percent(row["rate"]),
                percent(row["others_rate"]),
                _number(row["q"]),
            )
            for row in (holding or rows)[: shown if holding else 3]
        ),
        ("under", "what", "failed", "rate", "others", "q"),
    )


@click.command()
@shared_options
def coverage(call: Call) -> None:
    """How far the approved transcripts cover the taxonomy: asked for, drawn, approved."""
    from loopreview.analysis import coverage as look

    with call.open() as workspace:
        document = look(workspace, progress=bar())
    call.emit(document, lambda: _coverage(document))


def _coverage(found: dict[str, Any]) -> Iterator[str]:
    counts = found["transcripts"]
    yield f"{counts['generated']} generated, {counts['imported']} imported, {counts['approved']} approved and complete"
    if not counts["generated"] + counts["imported"]:
        yield "nothing was drawn yet: `loopreview generate`"
    for part in found["parts"]:
        rows = [row for row in part["rows"] if row["asked"] is not None]
        others = [row for row in part["rows"] if row["asked"] is None]
        yield ""
        if rows and not any(row["drawn"] for row in rows):
            yield f"{part['kind']}: none of the taxonomy's {len(rows)} was drawn"
        elif rows:
            yield from table(
                (
                    (
                        row["name"],
                        percent(row["asked"]),
                        percent(row["drawn_share"]),
                        row["drawn"],
                        percent(row["approved_share"]),
                        row["approved"],
                        row["state"] or "",
                    )
                    for row in rows
                ),
                (part["kind"], "asked", "drawn", "n", "approved", "n", ""),
            )
        if others:
            often = sorted(others, key=lambda row: (-row["drawn"], row["name"]))
            names = ", ".join(f"{row['name']} ({row['approved']} of {row['drawn']})" for row in often[:5])
            more = f" and {len(often) - 5} more" if len(often) > 5 else ""
            yield f"{part['kind']}, not in the taxonomy (approved of drawn): {names}{more}"


COMMANDS = (audit, analyse, coverage)
