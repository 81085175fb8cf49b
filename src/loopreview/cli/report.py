"""status and agreement: numbers over the whole workspace."""

from collections.abc import Iterator
from typing import Any

import click

from loopreview.cli.call import Call, money, percent, shared_options, table

_gate = click.option("--gate", is_flag=True, help="Exit 1 where the answer is a no.")


@click.command()
@_gate
@shared_options
def status(call: Call, gate: bool) -> None:
    """Batches, pass rates, and what to do next."""
    from loopreview.report import status as look

    with call.open() as workspace:
        document = look(workspace)
    call.emit(document, lambda: _status(document))
    if gate and document["gate"]["advice"] != "scale":
        click.get_current_context().exit(1)


def _status(found: dict[str, Any]) -> Iterator[str]:
    yield from table(
        (
            (
                row["id"],
                row["origin"],
                row["n"],
                row["passed"],
                row["failed"],
                row["unscored"],
                percent(row["pass_rate"]),
                "–" if row["interval"] is None else f"{100 * row['interval'][0]:.0f}–{100 * row['interval'][1]:.0f}",
                {True: "yes", False: "no", None: "–"}[row["content"]],
            )
            for row in found["batches"]
        ),
        ("batch", "origin", "n", "passed", "failed", "unscored", "rate", "95 %", "content"),
    )
    gate = found["gate"]
    yield ""
    yield f"advice: {gate['advice']}. {gate['why']}"
    if gate["p_reaches"] is not None:
        more = gate["more_needed"]
        number = {None: "at this rate no number settles it", 0: "that settles it"}.get(
            more, f"at this rate {more} more settle it"
        )
        yield f"{gate['passed']} of {gate['n']} passed; P(true rate ≥ target) {gate['p_reaches']:.2f}; {number}"
    if found["rules"]:
        yield "by merging rule: " + " · ".join(f"{rule} {percent(rate)}" for rule, rate in found["rules"].items())
    ceiling = found["panel_ceiling"]
    if ceiling is not None:
        warning = "; lower than 70 %: these judges would fail most of even perfect transcripts" if ceiling < 0.7 else ""
        yield f"panel ceiling: {percent(ceiling)} of perfect transcripts would pass{warning}"
    flags = found["flags"]
    yield (
        f"flags: {flags['false_positive']} false positives, {flags['false_negative']} false negatives, "
        f"{flags['na']} about NA, {flags['gaps']} gaps"
    )
    yield f"cost: {money(found['cost_usd'])}"


@click.command()
@_gate
@shared_options
def agreement(call: Call, gate: bool) -> None:
    """How far the judges agree with people, and people with each other."""
    from loopreview.report import agreement as look

    with call.open() as workspace:
        document = look(workspace)
    call.emit(document, lambda: _agreement(document))
    if gate and not document["gate"]["passed"]:
        click.get_current_context().exit(1)


_COUNTS = ("criterion", "backend", "population", "n", "tp", "fp", "tn", "fn", "na")
_RATES = ("tpr", "tnr", "precision", "kappa", "raw", "prevalence")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _agreement(found: dict[str, Any]) -> Iterator[str]:
    if not found["judges"] and not found["humans"]:
        yield "no answers of people yet: review some transcripts, or `loopreview import-labels FILE`"
        return
    if found["judges"]:
        yield "judges against people (YES is positive, people are the truth)"
        yield "fresh: every criterion of a transcript was answered · seen: the same, to an earlier wording or where an"
        yield "example came from · implied: left unanswered on a decided transcript, taken as agreed"
        yield from table(
            ([*(r[name] for name in _COUNTS), *(_number(r[name]) for name in _RATES)] for r in found["judges"]),
            (*_COUNTS, *_RATES),
        )
        yield ""
    if found["humans"]:
        yield "people among themselves"
        yield from table(
            (
                (
                    r["criterion"],
                    r["items"],
                    r["reviewers"],
                    _number(r["kappa"]),
                    _number(r["alpha"]),
                    _number(r["raw"]),
                )
                for r in found["humans"]
            ),
            ("criterion", "items", "reviewers", "kappa", "alpha", "raw"),
        )
        yield ""
    if found["judges"]:
        yield "what that means"
        rows = ((row["criterion"], row["finding"], row["why"]) for row in found["criteria"])
        yield from table(rows, ("criterion", "finding", "why"))
        yield ""
    corrected = found["corrected_pass_rate"]
    if corrected["rate"] is None:
        yield "corrected pass rate: needs at least 5 approved and 5 rejected transcripts, and judges better than chance"
    else:
        low, high = corrected["interval"] or (None, None)
        interval = f"{percent(low)} to {percent(high)}"
        yield f"corrected pass rate: {percent(corrected['rate'])} ({interval}), n {corrected['n']}"


COMMANDS = (status, agreement)
