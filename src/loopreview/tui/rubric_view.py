"""What stands around the text on the screen of rubric and prompts: pure layout."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from textual.content import Content

from loopreview.loop.rubric_flips import Flip, JudgeFlips
from loopreview.models.rubric import Criterion
from loopreview.rules.agreement import MERGED
from loopreview.rules.documents import Problem
from loopreview.rules.rubric import FEWEST_EXAMPLES, MOST_EXAMPLES
from loopreview.tui.manuscripts import Title, words_of
from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.rewording import Trial
from loopreview.tui.widgets.card import Line

NAMES = {"rubric": "Rubric", "prompt": "Prompt", "taxonomy": "Taxonomy", "personas": "Personas", "settings": "Settings"}
ABOUT = {
    "rubric": "The rubric: what is asked of each transcript. Put the cursor on a criterion to see its examples, how "
    "far judges and people agree on it, and what an edit changed.",
    "user_sim": "Who plays the user. {{persona}} and {{topics}} are put in for each transcript. A change begins a "
    "new line in the gate: batches made from now on are counted apart.",
    "assistant": "The assistant you want to improve. It sees this and the conversation only. A change begins a new "
    "line in the gate: batches made from now on are counted apart.",
    "system": "The system message of the training data: what the trained model will be told. Nothing is judged or made "
    "anew when it changes.",
    "assessor": "What the judges are told. {{transcript}} comes first, then {{criteria}}, so that providers can reuse "
    "the part that stays the same. A change makes every verdict stale.",
    "taxonomy": "What the simulated users talk about. Shares of one list sum to 1.",
    "personas": "Who the simulated users are. Shares of one list sum to 1.",
    "settings": "Models, judges and limits; every name is explained in docs/settings.md.",
}
"""What each file is for."""
TONES = {"": "bold", "error": "bold $text-error", "ask": "bold $text-warning", "flag": "bold $text-warning"}


class FileState(NamedTuple):
    """One file as it stands. `version`: that of the file on disk; `problem`: why it cannot be read at all."""

    title: Title
    number: int
    of: int
    saved: bool
    problems: Sequence[Problem]
    version: str
    conflict: bool = False
    problem: str = ""


def header(state: FileState, width: int) -> Content:
    """`Rubric  rubrics/rubric.yaml · 2 problems, not saved · disk 4f2a`."""
    name = NAMES[state.title.kind]
    parts = []
    if state.problem:
        parts.append("cannot be read")
    elif state.problems:
        n = len(state.problems)
        parts.append(f"{n} problem{'' if n == 1 else 's'}{'' if state.saved else ', not saved'}")
    elif not state.saved:
        parts.append("not saved" if state.conflict else "valid, not saved")
    if state.conflict:
        parts.append("changed on disk too")
    parts.append(f"disk {state.version[:4]}" if state.version else "not on disk")
    place = f"{state.number}/{state.of}"
    said = clip(" · ".join(parts), width - len(name) - len(place) - 18)
    path = clip(state.title.name, max(8, width - len(name) - len(said) - len(place) - 10))
    gap = max(1, width - len(name) - len(path) - len(said) - len(place) - 8)
    return Content.assemble((f" {name}", "bold"), f"  {path} · {said}", " " * gap, f"{place} ")


def problem_line(problems: Sequence[Problem], line: int, width: int) -> Content:
    """The problem at the cursor's line, or the next one below, or the first."""
    below = [problem for problem in problems if problem.line >= line]
    here = below[0] if below else problems[0]
    number = problems.index(here) + 1
    more = f" · {number}/{len(problems)}" if len(problems) > 1 else ""
    text = clip(f"→ {words_of(here)}", max(10, width - len(more)))
    return Content.assemble((text, "bold $text-warning"), more)


def message(text: str, tone: str, width: int) -> Content:
    return Content.assemble((clip(f"→ {text}", width), TONES[tone]))


# The trial of an edit


def trial_lines(trial: Trial, width: int, height: int) -> list[Line]:
    """Fixed and broken for each judge, then the flips themselves, in `height` lines."""
    many = len(trial.comparisons) > 1
    lines: list[Line] = _of_many(trial, width) if many else []
    if not many:
        for comparison in trial.comparisons:
            lines.append(_trial_title(trial.title, comparison.labelled, comparison.waiting, width))
            if comparison.labelled:
                lines += [_head("", width), *(_row(row, _name(row), width) for row in comparison.judges)]
            else:
                said = "nobody has labelled this criterion yet: y n x in Review are its tests"
                lines += _folded(said, width, "dim")
    if not trial.comparisons:
        lines.append(((clip(f"{trial.title}: no earlier wording to hold it against", width), ""),))
    unlike = sum(comparison.unlike for comparison in trial.comparisons)
    flips = trial.flips
    notes: list[Line] = []
    if unlike:
        said = f"{unlike} were asked beside other criteria than before; t asks both alike"
        notes = _folded(said, width, "dim")
    room = height - len(lines) - len(notes)
    if flips and room > 0:
        shown = flips if len(flips) <= room else flips[: max(0, room - 1)]
        lines += [_flip(flip, width, many) for flip in shown]
        if len(shown) < len(flips):
            lines.append(((clip(f"… and {len(flips) - len(shown)} more", width), "dim"),))
    return [*lines, *notes][:height]


def _trial_title(title: str, labelled: int, waiting: int, width: int) -> Line:
    labels = f" · {labelled} label{'' if labelled == 1 else 's'}"
    to_come = f" · {waiting} to come" if waiting else ""
    return ((clip(title, max(8, width - len(labels) - len(to_come))), "bold"), (f"{labels}{to_come}", ""))


def _of_many(trial: Trial, width: int) -> list[Line]:
    """Several criteria: the panel's row of each that has labels."""
    labelled = [comparison for comparison in trial.comparisons if comparison.labelled]
    count, waiting = sum(c.labelled for c in labelled), sum(c.waiting for c in trial.comparisons)
    lines: list[Line] = [_trial_title(trial.title, count, waiting, width), _head("panel", width)]
    for comparison in labelled:
        row = next(row for row in comparison.judges if row.backend == MERGED)
        lines.append(_row(row, comparison.criterion, width))
    return lines


def _head(first: str, width: int) -> Line:
    head = f"{first:<10}{'n':>4}{'fixed':>7}{'broken':>8}{'kept':>6}"
    return ((head + (f"{'p':>8}  asked twice" if _is_wide(width) else f"{'p':>6}"), "dim"),)


def _padded(text: str, width: int) -> str:
    """One column: `text` in `width` cells, the last of them blank."""
    shown = clip(text, width - 1)
    return shown + " " * (width - sum(map(cells_of, shown)))


def _is_wide(width: int) -> bool:
    return width >= 66


def _name(row: JudgeFlips) -> str:
    return "panel" if row.backend == MERGED else row.backend


def _row(row: JudgeFlips, name: str, width: int) -> Line:
    kept = row.kept_right + row.kept_wrong
    p = "–" if row.p is None else f"{row.p:.2f}"
    style = "bold" if row.backend == MERGED else ""
    first = f"{_padded(name, 10)}{row.n:>4}"
    changed = (
        (f"{row.fixed:>7}", "bold $text-success" if row.fixed else style),
        (f"{row.broken:>8}", "bold $text-error" if row.broken else style),
    )
    if _is_wide(width):
        again = "not measured" if row.retest is None else f"{row.retest.same} of {row.retest.n} the same"
        return ((first, style), *changed, (f"{kept:>6}{p:>8}  {'' if row.backend == MERGED else again}", style))
    return ((first, style), *changed, (f"{kept:>6}{p:>6}", style))


def steady(trial: Trial) -> str:
    """`asked twice: strict 12 of 13 the same`, for where the table has no room for it."""
    found = {}
    for comparison in trial.comparisons:
        for row in comparison.judges:
            if row.backend != MERGED:
                found[row.backend] = row.retest
    measured = [f"{name} {retest.same} of {retest.n}" for name, retest in found.items() if retest]
    return f"asked twice, the same: {', '.join(measured)}" if measured else "asked twice: not measured (T measures)"


def _flip(flip: Flip, width: int, many: bool) -> Line:
    if flip.truth is None:
        what, style = "moved", ""
    elif flip.after == flip.truth or (flip.truth == "NO" and flip.after == "INVALID_NA"):
        what, style = "fixed", "$text-success"
    else:
        what, style = "broken", "$text-error"
    place = f"{flip.transcript} {flip.criterion}" if many else flip.transcript
    says = f" · label {flip.truth}" if flip.truth else " · no label"
    text = f"{place} {flip.backend} {flip.before} → {flip.after}{says}"
    return ((f"{what} ", f"bold {style}".strip()), (clip(text, width - len(what) - 1), ""))


# The side pane


class Aside(NamedTuple):
    """What is known of the criterion at the cursor. `agreement`: the rows of `agreement --json`, None while they are
    counted; `labels`: transcripts with one."""

    criterion: Criterion
    in_file: int
    labels: int
    agreement: Mapping[str, Any] | None
    trial: Trial | None


def side_lines(aside: Aside, width: int, height: int) -> list[Line]:
    """Examples, agreement and tests of one criterion."""
    criterion = aside.criterion
    lines: list[Line] = [((clip(f"{criterion.id} {criterion.name}", width), "bold"),)]
    traits = [criterion.category, *(["gate"] if criterion.gate else [])]
    if criterion.kind == "check":
        traits.append(f"counted by code ({criterion.check})")
    else:
        traits.append("NA counts as NO" if criterion.na == "invalid" else "NA allowed")
    if criterion.min_exchanges > 1:
        traits.append(f"from {criterion.min_exchanges} exchanges")
    lines += _folded(" · ".join(traits), width, "")
    trial: list[Line] = []
    if aside.trial is not None:
        room = max(6, height - len(lines) - 14)
        trial = [(), *trial_lines(aside.trial, width, room)]
        if any(comparison.labelled for comparison in aside.trial.comparisons):
            trial += _folded(steady(aside.trial), width, "dim")
    lines += trial
    if criterion.question.strip():
        lines += [(), *_examples(aside, width, max(3, height - len(lines) - 12))]
        lines += [(), *_agreement(aside, width)]
        if aside.trial is None:
            said = f"{aside.labels} label{'' if aside.labels == 1 else 's'}"
            hint = "t holds this wording and the one before against them" if aside.labels else "none to test it on yet"
            lines += [(), (("Tests", "bold"), (f"  {said}", "")), *_folded(hint, width, "dim")]
    return lines[:height]


def _examples(aside: Aside, width: int, room: int) -> list[Line]:
    examples = aside.criterion.examples
    n, added = len(examples), len(examples) - aside.in_file
    counted = f"  {aside.in_file} in the file" + (f", {added} from review" if added else "")
    lines: list[Line] = [(("Examples", "bold"), (counted, ""))]
    if n < FEWEST_EXAMPLES:
        lines += _folded(f"{FEWEST_EXAMPLES} or more help the judges", width, "dim")
    elif n > MOST_EXAMPLES:
        lines += _folded(f"more than {MOST_EXAMPLES} cost much and add little", width, "dim")
    shown = examples if n <= room else examples[: max(1, room - 1)]
    for example in shown:
        label = example.label.replace("BORDERLINE_", "~")
        lines.append(((f" {label:<5} ", ""), (clip(example.response, max(8, width - 7)), "dim")))
    if len(shown) < n:
        lines.append(((f" … and {n - len(shown)} more", "dim"),))
    return lines


def _agreement(aside: Aside, width: int) -> list[Line]:
    lines: list[Line] = [(("Agreement", "bold"), (f"{'n':>7}{'κ':>7}{'TPR':>7}{'TNR':>7}", "dim"))]
    if aside.agreement is None:
        return [*lines, ((" counting …", "dim"),)]
    rows = [row for row in aside.agreement["judges"] if row["criterion"] == aside.criterion.id]
    for population in ("fresh", "seen"):
        own = [row for row in rows if row["population"] == population]
        for row in own:
            name = "panel" if row["backend"] == MERGED else row["backend"]
            mark = "" if population == "fresh" else "*"
            numbers = "".join(f"{_number(row[key]):>7}" for key in ("kappa", "tpr", "tnr"))
            lines.append(((f" {_padded(clip(name, 8) + mark, 10)}", ""), (f"{row['n']:>5}{numbers}", "")))
        if own and population == "seen":
            lines += _folded("* labels given to an earlier wording", width, "dim")
    for row in aside.agreement["humans"]:
        if row["criterion"] == aside.criterion.id:
            lines.append(((f" {'people':<10}", ""), (f"{row['items']:>5}{_number(row['kappa']):>7}", "")))
    if len(lines) > 1:
        return lines
    return [*lines, *_folded("nothing to compare yet: it takes transcripts answered in full and judged", width, "dim")]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _folded(text: str, width: int, style: str) -> list[Line]:
    return [((line, style),) for line in fold(text, width)]


# Differences


def diff_lines(lines: Iterable[str], width: int) -> list[Line]:
    """A unified diff folded to the width; the sign stands on each line, colour only goes with it."""
    found: list[Line] = []
    for line in lines:
        style = {"+": "$text-success", "-": "$text-error", "@": "bold"}.get(line[:1], "")
        if line.startswith(("+++", "---")):
            style = "bold"
        head, *rest = fold(line, width)
        found.append(((head, style),))
        sign = line[:1] if line[:1] in "+- " else " "
        for part in rest:
            found += [((f"{sign} {cut}", style),) for cut in fold(part, width - 2)]
    return found
