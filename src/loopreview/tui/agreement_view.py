"""What the agreement view says, as lines: pure functions of what `agreement --json` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from loopreview.rules.agreement import MERGED, POPULATIONS
from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.widgets.card import Line

Agreement = Mapping[str, Any]
TONES = {
    "fine": "$text-success", "judge wrong": "bold $text-error", "rubric unclear": "bold $text-warning",
    "too few labels": "dim",
}  # fmt: skip
MEANINGS = {
    "fresh": "every criterion of the transcript was answered, to the present wording: what counts",
    "seen": "the same, to an earlier wording or where an example came from",
    "implied": "left unanswered on a decided transcript, taken as agreed: an upper bound",
}
"""Population → what is in it."""


def criteria_rows(found: Agreement, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(id, name) of the criteria that there is something to say about, in rubric order. `names`: id → name of all."""
    told = {row["criterion"] for part in ("criteria", "judges", "humans", "repeats") for row in found.get(part) or ()}
    return [(id, name) for id, name in names.items() if id in told]


def table(found: Agreement, names: Mapping[str, str], chosen: str, width: int, height: int) -> list[Line]:
    """One line per criterion: what its agreement means, the panel against people, people among themselves. At most
    `height` lines, the chosen one among them."""
    rows = criteria_rows(found, names)
    wide = max((len(id) for id, _ in rows), default=2)
    tail = 14 + 2 + 15 + 2 + 15
    room = max(4, min(48, width - wide - 4 - tail))
    head = f"  {'':<{wide}} {'':<{room}} {'':<14}  {'panel · people':<15}  {'people · people':<15}"
    lines: list[Line] = [((head[:width], "bold"),)]
    at = next((n for n, (id, _) in enumerate(rows) if id == chosen), 0)
    most = max(1, height - 1)
    first = max(0, min(at - most // 2, len(rows) - most))
    findings = {row["criterion"]: row for row in found["criteria"]}
    for id, name in rows[first : first + most]:
        here = id == chosen
        finding = findings.get(id, {}).get("finding", "")
        left = f"{'>' if here else ' '} {id:<{wide}} {_padded(name, room)} "
        panel = _panel(found, id)
        right = f"  {panel:<15}  {_people(found, id):<15}"
        style = "bold reverse" if here else ""
        tone = style or TONES.get(finding, "")
        lines.append(((left, style), (f"{finding:<14}", tone), (right, style)))
    return lines


def _padded(text: str, width: int) -> str:
    shown = clip(text, width)
    return shown + " " * (width - sum(map(cells_of, shown)))


def _panel(found: Agreement, criterion: str) -> str:
    """`κ .41  n 23`: the merged panel against fresh labels."""
    row = next((r for r in found["judges"] if _is(r, criterion, MERGED, "fresh")), None)
    return "–" if row is None else f"κ {share(row['kappa'])}  n {row['n']}"


def _people(found: Agreement, criterion: str) -> str:
    row = next((r for r in found["humans"] if r["criterion"] == criterion), None)
    again = next((r for r in found.get("repeats") or () if r["criterion"] == criterion), None)
    said = row or again
    if said is None:
        return "–"
    return f"κ {share(said['kappa'])}  n {said['items']}" + ("" if row else " again")


def _is(row: Mapping[str, Any], criterion: str, backend: str, population: str) -> bool:
    return (row["criterion"], row["backend"], row["population"]) == (criterion, backend, population)


def detail(found: Agreement, names: Mapping[str, str], criterion: str, width: int) -> list[Line]:
    """All that is known about one criterion: each judge and population, and people beside them."""
    finding = next((row for row in found["criteria"] if row["criterion"] == criterion), None)
    lines: list[Line] = []
    said = f"{finding['finding']}: {finding['why']}" if finding else "no judge answers this: it is counted by code"
    tone = TONES.get(finding["finding"], "") if finding else ""
    title = f"{criterion} {clip(names.get(criterion, ''), 60)} "
    lines.append(((title, "bold"),))
    lines += [((line, tone),) for line in fold(said, width)]
    rows = [row for row in found["judges"] if row["criterion"] == criterion]
    full = width >= 100
    if rows:
        columns = f"  {'judge':<12} {'labels':<8} {'n':>4} {'FP':>3} {'FN':>3} {'NA':>3}  "
        columns += f"{'of YES right':<14} {'of NO right':<14} {'kappa':<14} same" if full else "YES  NO   kappa  same"
        lines += [(), ((columns.rstrip(), "dim"),)]
        order = {population: place for place, population in enumerate(POPULATIONS)}
        for row in sorted(rows, key=lambda r: (r["backend"] != MERGED, order[r["population"]], r["backend"])):
            lines.append(((_judge(row, full), "bold" if row["backend"] == MERGED else ""),))
    people = [row for row in found["humans"] if row["criterion"] == criterion]
    again = [row for row in found.get("repeats") or () if row["criterion"] == criterion]
    if people or again:
        lines += [(), ((f"  {'people':<26} {'n':>4}  kappa  alpha  same", "dim"),)]
        for row in [*people, *again]:
            who = clip(" and ".join(row["names"]) if row["reviewers"] > 1 else f"{row['names'][0]}, asked twice", 26)
            pad = " " * (26 - sum(map(cells_of, who)))
            rates = f"{share(row['kappa']):<5}  {share(row['alpha']):<5}  {share(row['raw'])}"
            lines.append(((f"  {who}{pad} {row['items']:>4}  {rates}", ""),))
    present = [population for population in POPULATIONS if any(row["population"] == population for row in rows)]
    if present:
        lines.append(())
    for population in present:
        lines += [((line, "dim"),) for line in fold(f"  {population}: {MEANINGS[population]}", width)]
    return lines


def _judge(row: Mapping[str, Any], full: bool) -> str:
    name = "the panel" if row["backend"] == MERGED else clip(row["backend"], 12)
    counts = f"  {_padded(name, 12)} {row['population']:<8} {row['n']:>4} "
    counts += f"{row['fp']:>3} {row['fn']:>3} {row['na']:>3}  "
    if not full:
        return counts + f"{share(row['tpr']):<4} {share(row['tnr']):<4} {share(row['kappa']):<5}  {share(row['raw'])}"
    between = row.get("intervals") or {}
    cells = [share(row[name]) + _between(between.get(name)) for name in ("tpr", "tnr", "kappa")]
    return counts + " ".join(f"{cell:<14}" for cell in cells) + " " + share(row["raw"])


def share(value: float | None) -> str:
    """`.83`, `–.15`, `1.0`; `–` where nothing is comparable."""
    if value is None:
        return "–"
    text = f"{abs(value):.2f}"
    text = text[1:] if text.startswith("0") else "1.0"
    return f"-{text}" if value < -0.004 else text


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" {share(interval[0])}–{share(interval[1])}"


def summary(found: Agreement, width: int) -> Line:
    """The corrected pass rate, or what it still needs."""
    corrected = found["corrected_pass_rate"]
    if corrected["rate"] is None:
        approved, rejected = corrected.get("approved", 0), corrected.get("rejected", 0)
        text = f"corrected pass rate: needs 5 approved (now {approved}) and 5 rejected (now {rejected})"
        if approved >= 5 and rejected >= 5:
            text = "corrected pass rate: these judges are no better than chance at whole transcripts"
    else:
        low, high = corrected.get("interval") or (None, None)
        between = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f})"
        text = f"corrected pass rate: {100 * corrected['rate']:.0f} %{between}, n {corrected['n']}"
    return ((clip(text, width), ""),)
