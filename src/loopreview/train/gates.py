"""What is asked before anything is trained: five questions to the person, and what the dataset itself must hold."""

import getpass
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.training import Plan
from loopreview.rules.documents import nearest
from loopreview.rules.splits import SPLITS
from loopreview.train.base import Base
from loopreview.train.prepare import Measured, measure

TO_BEGIN, IDEAL = 1_000, 10_000
"""Examples; training.md's guidance."""
GOOD_ALREADY = 0.7
"""Pass rate of the base model above which fine-tuning has little left to do."""


class Question(NamedTuple):
    """A yes means good to go."""

    key: str
    name: str
    asks: str
    why: str


QUESTIONS = (
    Question(
        "task_stability",
        "Task stability",
        "Will what the model has to do stay as it is for as long as this model is used?",
        "Each change of the task needs new examples and a new run; a prompt is changed in a minute.",
    ),
    Question(
        "required_knowledge",
        "Required knowledge",
        "Does the base model already know the facts it needs, or will they be given to it in the conversation?",
        "Fine-tuning teaches how to answer. Facts learnt so are half remembered, and cannot be updated.",
    ),
    Question(
        "available_examples",
        "Available examples",
        "Do these examples show the whole range of what the model will meet, each as good as you want it to answer?",
        "The model learns whatever is in them, mistakes included, and nothing that is not.",
    ),
    Question(
        "impact_of_mistakes",
        "Impact of mistakes",
        "Are the mistakes that the tuned model may make tolerable where it will be used?",
        "It will make some that the base model does not make, and none of them can be ruled out.",
    ),
    Question(
        "necessary_evaluation",
        "Necessary evaluation",
        "Can you tell whether the tuned model is better than the base, on conversations kept out of training?",
        "A falling loss does not show that answers got better.",
    ),
)
_KEYS = tuple(question.key for question in QUESTIONS)
_ANSWER = re.compile(r"(yes|no|y|n)\b\s*:?\s*(.*)", re.IGNORECASE | re.DOTALL)

Answers = Mapping[str, Mapping[str, Any]]
"""Key of a question → {"answer": "yes" or "no" or None, "reason": text}."""


def parse_answers(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """`["task_stability=yes", "impact_of_mistakes=no: a nurse reads every reply"]`. Raises UserError."""
    found: dict[str, dict[str, str]] = {}
    for text in given:
        key, equals, said = text.partition("=")
        key = key.strip()
        if key not in _KEYS:
            raise UserError(f"--answer {text}: unknown question `{key}`{nearest(key, _KEYS, 'the questions are')}")
        answer = _ANSWER.fullmatch(said.strip())
        if not equals or answer is None:
            raise UserError(f"--answer {text}: must be {key}=yes or {key}=no: and the reason to go on")
        if key in found:
            raise UserError(f"--answer {text}: {key} is answered twice; keep one")
        word = "yes" if answer.group(1).lower().startswith("y") else "no"
        found[key] = {"answer": word, "reason": " ".join(answer.group(2).split())}
    return found


class TrainGate:
    """The five questions, answered by a person."""

    @staticmethod
    def check(answers: Answers) -> None:
        """Raises UserError (exit 1) for the first question without an answer, or a no without a reason."""
        for question in QUESTIONS:
            said = answers.get(question.key) or {}
            if said.get("answer") not in ("yes", "no"):
                raise UserError(
                    f"TRAIN gate: not answered: {question.asks} Say --answer {question.key}=yes, or "
                    f"--answer '{question.key}=no: the reason to go on'; --yes leaves the questions open",
                    exit_code=1,
                )
            if said["answer"] == "no" and not str(said.get("reason") or "").strip():
                raise UserError(
                    f"TRAIN gate: the answer is no, and no reason is given to go on: {question.asks} Say "
                    f"--answer '{question.key}=no: the reason'",
                    exit_code=1,
                )

    @staticmethod
    def record(answers: Answers, *, by: str | None = None) -> dict[str, Any]:
        """What a run's `gate.json` holds; `answered` is False where a question was left open. `by`: who answered, the
        login name unless told."""
        told = {key: dict(answers.get(key) or {"answer": None, "reason": ""}) for key in _KEYS}
        return {
            "answered": all(one.get("answer") in ("yes", "no") for one in told.values()),
            "by": by or _login(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "answers": told,
        }


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"


class Check(NamedTuple):
    """An error stops a run from being started."""

    name: str
    level: Literal["ok", "warning", "error"]
    text: str


def data_gate(
    dataset: Exported,
    plan: Plan,
    base: Base | None = None,
    *,
    measured: Measured | None = None,
    pass_rate: float | None = None,
) -> list[Check]:
    """All that is to be said about the data of a run. `base` and `measured` (its token rows): where they were
    read already; `pass_rate`: of the base model's conversations, 0 to 1. Raises UserError where the base cannot be
    found."""
    base = base or Base.open(plan.base)
    try:
        lengths = measured or measure(plan.data.tokens)
    except UserError as error:
        return [_whole(dataset, plan, base), Check("Rows", "error", str(error))]
    found = [
        _whole(dataset, plan, base),
        _rows(dataset, plan, lengths),
        _apart(dataset, lengths),
        _length(plan, lengths),
    ]
    found += [_revoked(dataset), _valid(lengths), _enough(lengths)]
    if pass_rate is not None:
        found.append(_already_good(pass_rate))
    return found


def refuse(checks: Iterable[Check]) -> None:
    """Raises UserError (exit 1) for the errors among them."""
    wrong = [f"{check.name}: {check.text}" for check in checks if check.level == "error"]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}", exit_code=1)


def _whole(dataset: Exported, plan: Plan, base: Base) -> Check:
    name, manifest = "Dataset", dataset.manifest
    if dataset.hash != plan.data.hash:
        return Check(
            name, "error", f"{dataset.folder} has changed since the plan was made: its hash is {dataset.hash}, the "
            f"plan's is {plan.data.hash}; plan again",
        )  # fmt: skip
    if base.tokenizer.hash != plan.data.tokenizer:
        return Check(
            name, "error", f"{base.reference} has another tokenizer or chat template than the one that made the token "
            "rows; plan again",
        )  # fmt: skip
    if content_hash({key: value for key, value in manifest.items() if key != "hash"}) != dataset.hash:
        return Check(name, "error", f"{dataset.folder / 'manifest.json'}: was changed after the export; export again")
    try:
        dataset.verify()
    except UserError as error:
        return Check(name, "error", str(error))
    return Check(name, "ok", f"{dataset.hash}: all {len(manifest.get('files', {}))} files are as they were exported")


def _rows(dataset: Exported, plan: Plan, lengths: Measured) -> Check:
    said = dataset.manifest.get("examples") or {}
    for split, rows, planned in (
        ("train", len(lengths.train), plan.data.train),
        ("valid", len(lengths.valid), plan.data.valid),
    ):
        if not rows == planned == said.get(split):
            return Check(
                "Rows", "error", f"{split}: {rows:,} token rows, {said.get(split)} in the dataset's manifest, "
                f"{planned:,} in the plan; export again, then plan again",
            )  # fmt: skip
    return Check("Rows", "ok", f"{len(lengths.train):,} to train on, {len(lengths.valid):,} to measure on, as exported")


def _apart(dataset: Exported, lengths: Measured) -> Check:
    name = "Splits"
    where: dict[str, str] = {}
    groups: dict[str, str] = {}
    for line in dataset.lineage():
        transcript, mine = str(line.get("transcript")), str(line.get("split"))
        split = where.setdefault(transcript, mine)
        if split != mine:
            return Check(name, "error", f"transcript {transcript} is in {split} and in {mine}")
        if (group := line.get("group")) and groups.setdefault(str(group), mine) != mine:
            other = groups[str(group)]
            text = f"transcript {transcript} in {mine} shares its persona, or most of its text, with one in {other}"
            return Check(name, "error", text)
    if equal := _equal((split, row) for split in SPLITS for row in _readable(dataset, split)):
        return Check(name, "error", f"{equal}; export again")
    # Texts that differ can still be the same to the model.
    tokens = ((split, row) for split, rows in zip(("train", "valid"), lengths.digests, strict=True) for row in rows)
    if equal := _equal(tokens):
        return Check(name, "error", f"{equal} in tokens; export again with --tokenizer BASE")
    if not where:
        return Check(name, "warning", "no example is in two splits; the dataset has no lineage that shows more")
    counted = Counter(groups.values())
    kept = ", ".join(f"{counted[split]:,} in {split}" for split in SPLITS)
    more = f"; groups of one persona or of near duplicates are together ({kept})" if groups else ""
    return Check(name, "ok", f"no transcript and no example is in two splits{more}")


def _readable(dataset: Exported, split: str) -> Iterator[bytes]:
    if (dataset.folder / f"{split}.jsonl").is_file():
        for row in dataset.rows(split):
            yield content_hash(row).encode()


def _equal(rows: Iterable[tuple[str, bytes]]) -> str | None:
    """Says which two rows of different splits are equal."""
    seen: dict[bytes, tuple[str, int]] = {}
    counts: dict[str, int] = {}
    for split, row in rows:
        counts[split] = counts.get(split, 0) + 1
        first, number = seen.setdefault(row, (split, counts[split]))
        if first != split:
            return f"example {number} of {first} and example {counts[split]} of {split} are equal"
    return None


def _length(plan: Plan, lengths: Measured) -> Check:
    longest, split, row = lengths.longest
    over = sum(length > plan.max_length for length in (*lengths.train, *lengths.valid))
    text = f"the longest example has {longest:,} tokens ({split}, row {row}), max_length is {plan.max_length:,}"
    if over:
        return Check(
            "Length", "error", f"{text}: {over:,} are over it, and none is ever cut; raise max_length if the "
            "model takes that many, or export again with a smaller max_tokens",
        )  # fmt: skip
    return Check("Length", "ok", text)


def _revoked(dataset: Exported) -> Check:
    if ids := dataset.revoked():
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        return Check("Revoked", "error", f"{', '.join(ids[:5])}{more} may not be used any more; export again")
    return Check("Revoked", "ok", "no transcript of the dataset was revoked")


def _valid(lengths: Measured) -> Check:
    if lengths.valid:
        return Check(
            "Validation", "ok", f"the loss is measured on {len(lengths.valid):,} examples kept out of training"
        )
    return Check(
        "Validation", "warning", "no example to measure on: nothing shows when the model begins to learn by heart, and "
        "the last weights are kept, not the best",
    )  # fmt: skip


def _enough(lengths: Measured) -> Check:
    count = len(lengths.train)
    if count >= IDEAL:
        return Check("Examples", "ok", f"{count:,} to train on; {IDEAL:,} is what is best")
    if count >= TO_BEGIN:
        return Check("Examples", "ok", f"{count:,} to train on: enough to begin with; {IDEAL:,} is what is best")
    return Check(
        "Examples", "warning", f"{count:,} to train on; {TO_BEGIN:,} is what to begin with, {IDEAL:,} is best"
    )  # fmt: skip


def _already_good(pass_rate: float) -> Check:
    text = f"{pass_rate:.0%} of the base model's conversations pass"
    if pass_rate > GOOD_ALREADY:
        return Check("Base model", "warning", f"{text}, over {GOOD_ALREADY:.0%}: reconsider fine-tuning")
    return Check("Base model", "ok", f"{text}; there is room to learn")
