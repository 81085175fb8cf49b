"""What a dataset says of itself in words: its card (README.md) and the statistics of how it came about."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loopreview.dataset.examples import Wanted
from loopreview.dataset.tally import Tally, counted
from loopreview.rules.agreement import JudgeRow
from loopreview.rules.splits import SPLITS
from loopreview.store.batches import Batch

_KINDS = {
    "sft": "Supervised fine-tuning: each example is a conversation that ends with the reply to be learnt.",
    "dpo": "Preference pairs: a reply that a reviewer wrote, and the reply of the conversation that it is for.",
    "kto": "Replies with a verdict: good ones of approved conversations, and those that reviewers rejected or marked.",
}
_SUPERVISION = {
    "last_reply": "The last reply of an example is supervised, with the token that ends its turn; nothing before it.",
    "all_replies": "Every reply that no reviewer marked is supervised, each with the token that ends its turn.",
}


def stats(tally: Tally, batches: Mapping[int, Batch], left_out: Counter[str], max_tokens: int) -> str:
    """`generation_stats.md`."""
    lines = [
        "# How this dataset came about",
        "",
        "## Batches",
        "",
        *_table(
            (
                "batch",
                "origin",
                "seed",
                "generation version",
                "transcripts",
                "exchanges",
                "shortest",
                "longest",
                "examples",
            ),
            [
                (
                    id,
                    batches[id].origin,
                    batches[id].seed,
                    batches[id].generation_version,
                    found.transcripts,
                    found.exchanges,
                    found.shortest,
                    found.longest,
                    found.examples,
                )
                for id, found in sorted(tally.batches.items())
            ],
        ),
        "",
        "## Models that wrote the replies",
        "",
        *_counts(tally.models, "model", "transcripts", "Not recorded."),
        "",
        "## Tokens",
        "",
        *_tokens(tally, max_tokens),
        "",
        "## Left out",
        "",
        *_counts(left_out, "reason", "slices or transcripts", "Nothing."),
    ]
    return "\n".join(lines) + "\n"


def card(
    *,
    wanted: Wanted,
    tally: Tally,
    manifest: Mapping[str, Any],
    left_out: Counter[str],
    batches: Mapping[int, Batch],
    agreement: Sequence[JudgeRow],
    warnings: Sequence[str],
) -> str:
    """`README.md`, with the head that the Hugging Face Hub reads."""
    origins = Counter({origin: 0 for origin in ("generated", "imported")})
    for id, found in tally.batches.items():
        origins[batches[id].origin] += found.transcripts
    lines = [
        *_head(),
        "# Conversations for fine-tuning, reviewed by people",
        "",
        _KINDS[wanted.kind],
        "",
        *_table(
            ("split", "transcripts", "examples"),
            [(split, len(tally.transcripts[split]), tally.examples[split]) for split in SPLITS],
        ),
        "",
        "Transcripts of the same persona, and near duplicates (Jaccard index of 5-word shingles from 0.8), are in one "
        "split.",
        "",
        "## Origin",
        "",
        f"{origins['generated']} transcripts were made with a simulated user, {origins['imported']} were imported. "
        "Models and batches: `generation_stats.md`. Each example's way back: `lineage.jsonl`.",
        "The system message of every example is the workspace's `prompts/system.md`"
        + (f"; {tally.own_system} transcripts had one of their own, which it replaces." if tally.own_system else "."),
        "",
        "## Supervision",
        "",
        *_supervised(wanted, tally, manifest),
        "",
        "## Judges",
        "",
        *_counts(tally.panels, "judge", "transcripts judged", "No judge was asked about these transcripts."),
        "",
        "## Reviewers",
        "",
        "A transcript goes in by a person's decision: approved by at least one, rejected by none."
        if wanted.kind == "sft"
        else "A transcript goes in once a person has approved or rejected it.",
        "",
        *_counts(tally.reviewers, "reviewer", "decisions", ""),
        "",
        "## Agreement",
        "",
        *_agreement(agreement),
        "",
        "## Left out",
        "",
        *_counts(left_out, "reason", "slices or transcripts", "Nothing."),
        "",
        "Nothing is ever cut short: an example that is too long is left out.",
        "",
        "## Limits",
        "",
        "- What the simulated users say is not what people would say; what was imported is as good as its source.",
        "- A transcript is approved as a whole: single replies in it may be worse than the rest.",
        "- Reviewers see what the rubric asks about first; faults that no criterion asks about may be left.",
        *(f"- {warning}" for warning in warnings),
    ]
    return "\n".join(lines) + "\n"


def _head() -> list[str]:
    files = [line for split in SPLITS for line in (f"  - split: {_hub_name(split)}", f"    path: {split}.jsonl")]
    return ["---", "configs:", "- config_name: default", "  data_files:", *files, "---", ""]


def _hub_name(split: str) -> str:
    return "validation" if split == "valid" else split


def _supervised(wanted: Wanted, tally: Tally, manifest: Mapping[str, Any]) -> list[str]:
    lines = [_SUPERVISION[wanted.supervise]] if wanted.kind == "sft" else []
    tokenizer = manifest["tokenizer"]
    if tokenizer is None:
        return [*lines, "Tokens were not counted: no tokenizer was given."]
    lines += [
        f"`tokens/` holds each example as ids and labels of the tokenizer `{tokenizer['name']}` ({tokenizer['hash']}); "
        f"a label of −100 is not supervised. {tally.supervised:,} tokens are.",
        *_tokens(tally, manifest["max_tokens"]),
    ]
    if tokenizer["system"] == "merged":
        lines.append(
            "Its chat template has no system message: that stands before the first user message, a blank line between."
        )
    return lines


def _tokens(tally: Tally, limit: int) -> list[str]:
    if tally.tokens is None:
        return ["Not counted: no tokenizer was given."]
    found = tally.tokens
    rows = [(f"{low + 1:,} to {high:,}", count) for low, high, count in tally.histogram(limit)]
    return [
        f"Tokens per example: {found['min']:,} at least, {found['median']:,} in the middle, {found['max']:,} at most: "
        f"the limit is {limit:,}.",
        "",
        *_table(("tokens", "examples"), rows),
    ]


def _agreement(found: Sequence[JudgeRow]) -> list[str]:
    rows = [(r.criterion, r.population, r.n, _number(r.tpr), _number(r.tnr), _number(r.kappa)) for r in found]
    if not rows:
        return ["No criterion was answered by both people and judges."]
    return [
        "The judges' merged answers against the reviewers'. YES is positive, the person is the truth; `fresh` is the "
        "population to go by.",
        "",
        *_table(("criterion", "population", "n", "TPR", "TNR", "kappa"), rows),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _counts(counts: Counter[str], what: str, of: str, none: str) -> list[str]:
    return _table((what, of), counted(counts).items()) if counts else [none]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join("–" if cell is None else _cell(str(cell)) for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows)]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
