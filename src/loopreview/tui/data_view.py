"""What the Data screen says, as lines: pure functions of the plan, the audit, the coverage and the wish."""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, overload

from textual.content import Content

from loopreview.dataset.which_tokenizer import NO_TOKENIZER
from loopreview.rules.splits import SPLITS
from loopreview.tui.audit_view import few, gate_line, thin
from loopreview.tui.exporting import Exporter, Wish
from loopreview.tui.page import cells_of, clip, fold
from loopreview.tui.widgets.card import Line
from loopreview.tui.widgets.histogram import histogram, share_bar

PAGES = ("dataset", "audit", "examples", "left out", "coverage")
OVER = "over max_tokens"
UNDECIDED = "not decided"
LABEL = 12


class Example(NamedTuple):
    """One example that an export would write. `at` counts those of its transcript."""

    transcript: str
    split: str | None
    at: int
    exchange: int
    tokens: int | None
    supervised: int
    label: bool | None


class Examples(Sequence[Example]):
    """The examples of all transcripts in a row, made when they are looked at: there may be a hundred thousand."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self._ends = list(accumulate(len(own) for _, _, own in rows))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> Example: ...

    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...

    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        row = bisect_right(self._ends, at)
        id, split, own = self._rows[row]
        return Example(id, split, *own[at - self._ends[row] + len(own)])


class Plan:
    """What an export would write, as the planner answers it."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.transcripts, self.chosen = int(answer["transcripts"]), int(answer["chosen"])
        self.examples = Examples(answer["rows"])
        self.talks = dict.fromkeys(SPLITS, 0)
        self.counted = dict.fromkeys(SPLITS, 0)
        """Split → transcripts, and examples."""
        for _, split, own in answer["rows"]:
            if split is not None:
                self.talks[split] += 1
                self.counted[split] += len(own)
        self.supervised = sum(made[3] for _, _, own in answer["rows"] for made in own)
        """Tokens that are learnt from."""
        self.lengths: list[int] = sorted(made[2] for _, _, own in answer["rows"] for made in own if made[2] is not None)
        """Tokens of the examples, rising."""
        self.giving = len(answer["rows"])
        """Transcripts that give an example."""
        self.left_out: list[tuple[str, int | None, str, str]] = [(a, b, c, d) for a, b, c, d in answer["left_out"]]
        self.counts: dict[str, int] = answer["counts"]
        self.problem = str(answer["problem"])
        self.limit, self.target = int(answer["limit"]), int(answer["target"])
        self.tokenizer: Mapping[str, Any] | None = answer["tokenizer"]
        self.last: Mapping[str, Any] | None = answer["last"]
        self.seconds = float(answer["seconds"])

    @property
    def undecided(self) -> int:
        return self.counts.get(UNDECIDED, 0)

    @property
    def more_approvals(self) -> int | None:
        """About how many more transcripts reach the target, at as many examples each as until now."""
        missing = self.target - len(self.examples)
        if missing <= 0:
            return 0
        return ceil(missing * self.giving / len(self.examples)) if self.examples else None


class Lines(Sequence[Line]):
    """Lines that are made when they are painted."""

    def __init__(self, count: int, line: Callable[[int], Line]) -> None:
        self._count, self._line = count, line

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Line: ...

    @overload
    def __getitem__(self, at: slice) -> list[Line]: ...

    def __getitem__(self, at: int | slice) -> Line | list[Line]:
        if isinstance(at, slice):
            return [self._line(n) for n in range(*at.indices(self._count))]
        return self._line(at)


def header(name: str, plan: Plan | None, wish: Wish, width: int) -> Content:
    """` Data  desk · 41 transcripts, 23 approved            tiny · sft, last reply`."""
    tokenizer = wish.tokenizer.rstrip("/").rpartition("/")[2]
    if plan is not None and not tokenizer:
        tokenizer = str((plan.tokenizer or {}).get("name", ""))
    right = clip(f"{'no tokenizer' if tokenizer in ('', NO_TOKENIZER) else tokenizer} · {wish.said}", width // 2)
    left = name
    if plan is not None:
        decided = "approved" if wish.kind == "sft" else "that go in"
        left += f" · {plan.transcripts:,} transcripts, {plan.chosen:,} {decided}"
    left = clip(left, width - len(right) - 10)
    gap = max(1, width - 8 - sum(map(cells_of, left)) - sum(map(cells_of, right)))
    return Content.assemble((" Data  ", "bold"), left, " " * gap, (right, "dim"))


def tabs(pages: Sequence[str], page: str, right: str, width: int) -> Line:
    """The pages' names, the present one in brackets and reverse."""
    pieces = [(f"[{name}]" if name == page else f" {name} ", "bold reverse" if name == page else "") for name in pages]
    used = sum(len(text) for text, _ in pieces) + 1
    right = clip(right, width - used - 2)
    gap = " " * max(1, width - used - sum(map(cells_of, right)))
    return ((" ", ""), *pieces, (gap + right, "dim"))


def overview(
    plan: Plan, audit: Mapping[str, Any] | None, coverage: Mapping[str, Any] | None, width: int, height: int
) -> list[Line]:
    """What an export now would write, in `height` lines or a few more where there is much to say."""
    lines = _examples(plan, width) + _splits(plan, width) + [()]
    rest: list[Line] = []
    said = ", ".join(f"{n:,} {why}" for why, n in plan.counts.items() if why != UNDECIDED)
    undecided = f"{plan.undecided:,} {UNDECIDED}" if plan.undecided else ""
    rest += _words("left out", "; ".join(filter(None, (said, undecided))) or "nothing", width, 3)
    if audit is not None:
        empty: Line = (("gate".ljust(LABEL), "bold"), ("no reply to audit", ""))
        rest.append(gate_line(audit, width, f"{audit['set']}: ") if audit.get("replies") else empty)
    if coverage is not None:
        rest += _words("thin", thin(coverage), width, 2)
    if plan.last is not None:
        rest += _words("last export", last_said(plan.last), width, 2)
    return [*lines, *_tokens(plan, width, height - len(lines) - len(rest) - 1), (), *rest]


def last_said(last: Mapping[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last["at"]))
    return f"{when}, {sum(last['examples'].values()):,} examples ({last['kind']}), {Path(last['dataset']).name}"


def _examples(plan: Plan, width: int) -> list[Line]:
    count = len(plan.examples)
    said = f"{count:,} of {plan.target:,}"
    room = max(8, width - LABEL - len(said) - 3)
    bar = share_bar(count / plan.target, room)
    lines: list[Line] = [(("examples".ljust(LABEL), "bold"), (f"{said}  ", "bold"), (bar, "$text-accent"))]
    more = plan.more_approvals
    if not count:
        text = "none yet"
    elif more:
        each = count / plan.giving
        text = f"about {more:,} more approvals reach it, at {each:.1f} examples each"
    else:
        text = "the target is reached"
    return [*lines, (("".ljust(LABEL), ""), (clip(text, width - LABEL), "dim"))]


def _splits(plan: Plan, width: int) -> list[Line]:
    if plan.problem:
        return _words("! splits", plan.problem, width, 3)
    if not plan.examples:
        return []
    said = " · ".join(f"{split} {plan.counted[split]:,}" for split in SPLITS)
    talks = " · ".join(f"{plan.talks[split]:,}" for split in SPLITS)
    return _words("splits", f"{said}  from {talks} transcripts", width, 2)


def _tokens(plan: Plan, width: int, rows: int) -> list[Line]:
    lengths, over = plan.lengths, plan.counts.get(OVER, 0)
    if plan.tokenizer is None:
        text = f"not counted and not held to {plan.limit:,} without a tokenizer: t names one, by folder or Hub id"
        return _words("tokens", text, width, 3)
    if not lengths and not over:
        return _words("tokens", "no example yet", width, 1)
    lines: list[Line] = []
    if lengths:
        middle = lengths[len(lengths) // 2]
        text = f"{min(lengths):,} to {max(lengths):,} an example, median {middle:,}; {plan.supervised:,} supervised"
        lines += _words("tokens", text, width, 2)
    return [*lines, *histogram(lengths, plan.limit, over, width, max(4, min(14, rows - len(lines))))]


def examples_list(plan: Plan, chosen: int, width: int) -> Lines:
    """A line for each example; the chosen one is marked and reverse."""

    def line(at: int) -> Line:
        one = plan.examples[at]
        tokens = "" if one.tokens is None else f"{one.tokens:,}"
        said = {True: "good", False: "bad", None: ""}[one.label]
        mark = ">" if at == chosen else " "
        where = f"{clip(one.transcript, 10):<10} to {one.exchange:<4} {one.split or '–':<5}"
        text = f"{mark} {where} {tokens:>7} {said}"[:width]
        return ((text, "bold reverse" if at == chosen else ""),)

    return Lines(len(plan.examples), line)


def example_head(plan: Plan | None, chosen: int, example: Mapping[str, Any] | None, width: int) -> list[Line]:
    """Which example this is, and what is lit in it."""
    if plan is None:
        return []
    said = "▌ and bold: what the model learns to write"
    if example is not None and not example.get("rendered", True):
        said = "▌ and bold: learnt · no tokenizer, so messages under their roles: t names one"
    title = example_said(plan.examples[chosen], chosen, len(plan.examples))
    return [((clip(title, width), "bold"),), ((clip(said, width), "dim"),)]


def example_said(one: Example, number: int, of: int) -> str:
    """`12 of 214 · 3-2 to exchange 7 · train · 4,210 tokens, 312 supervised`."""
    parts = [f"{number + 1:,} of {of:,}", f"{one.transcript} to exchange {one.exchange}", one.split or "no split"]
    if one.tokens is not None:
        parts.append(f"{one.tokens:,} tokens, {one.supervised:,} supervised")
    if one.label is not None:
        parts.append("good" if one.label else "bad")
    return " · ".join(parts)


def left_out_lines(plan: Plan, width: int) -> Lines:
    """The reasons with their counts, then each that is left out with its own."""
    head: list[Line] = []
    for why, count in plan.counts.items():
        way = {UNDECIDED: "  2 Review decides", "rejected": ""}.get(why, "")
        head.append(((f"{count:>8,}  ", "bold"), (clip(why, width - 10 - len(way)), ""), (way, "dim")))
    if not head:
        head = [(("  nothing is left out", ""),)]
    rows = plan.left_out
    if rows:
        head += [(), (("  transcript  exchange  why", "bold"),)]

    def line(at: int) -> Line:
        if at < len(head):
            return head[at]
        id, exchange, why, detail = rows[at - len(head)]
        reason = f"{why}: {detail}" if detail else why
        where = "all" if exchange is None else str(exchange)
        return ((f"  {clip(id, 10):<10}  {where:>8}  ", ""), (clip(reason, width - 24), ""))

    return Lines(len(head) + len(rows), line)


def progress_said(answer: Mapping[str, Any]) -> str:
    total = answer.get("total")
    return f"{answer.get('label', '')} …" + (f" {answer.get('done', 0):,} of {total:,}" if total else "")


def running_said(exporter: Exporter) -> str:
    """The running export in a line."""
    if not exporter.total:
        return f"exporting: {exporter.label or 'starting'} …"
    what = "" if exporter.label == "export" else f"{exporter.label} "
    return f"exporting: {what}{exporter.done:,} of {exporter.total:,}"


def next_step(plan: Plan | None, wish: Wish, audit: Mapping[str, Any] | None, exporter: Exporter) -> str:
    """What to do next, in one line."""
    if exporter.running:
        return f"{running_said(exporter)} · x stops it, nothing of it is left then"
    if plan is None:
        return ""
    if not plan.transcripts:
        return "no transcript yet: 1 Loop, g makes five; or `loopreview import FILE`"
    if not plan.chosen:
        waits = f"{plan.undecided:,} wait" if plan.undecided else "none waits"
        return f"nothing is approved yet: 2 Review, A approves; {waits} for a decision"
    if not plan.examples:
        return f"no approved transcript gives an example: {few(list(plan.counts), 3)}"
    if plan.problem:
        return "too few to split three ways: 2 Review, approve transcripts of other personas"
    if plan.tokenizer is None:
        return f"t names the model's tokenizer, to count to {plan.limit:,} tokens; e exports without"
    if audit is not None and audit.get("replies"):
        if audit["gate"]["passed"] is False:
            return "a phrase is in over half of the replies: 3 mends the prompt; e exports"
        if audit["personal_data"]["found"]:
            found = audit["personal_data"]["found"]
            return f"{found:,} × what looks like personal data: see the audit; e exports"
    more, count = plan.more_approvals, len(plan.examples)
    if more:
        return f"e exports {count:,} examples; 2 Review: about {more:,} more approvals reach {plan.target:,}"
    return f"e exports {count:,} examples: the target of {plan.target:,} is reached"


def asked(plan: Plan, wish: Wish) -> str:
    """The question before an export."""
    what = f"{len(plan.examples):,} examples ({wish.said}) into {wish.to or 'exports/'}"
    return f"{what} · enter starts · Y copies · esc"


def command_lines(command: str, width: int, most: int = 3) -> list[Line]:
    lines = fold(f"$ {command}", width)
    if len(lines) > most:
        lines = [*lines[: most - 1], clip(" ".join(lines[most - 1 :]), width)]
    return [((line, "bold $text-accent" if not number else "$text-accent"),) for number, line in enumerate(lines)]


def _words(label: str, text: str, width: int, most: int) -> list[Line]:
    lines = fold(" ".join(text.split()), max(8, width - LABEL))
    if len(lines) > most:
        lines[most - 1 :] = [clip(" ".join(lines[most - 1 :]), width - LABEL)]
    return [((("" if n else label).ljust(LABEL), "bold"), (line, "")) for n, line in enumerate(lines)]
