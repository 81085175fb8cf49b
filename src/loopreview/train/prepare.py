"""Token rows for a run: the dataset's own where they were made for the base, else made here from the readable rows.

Made here, they have the ids and labels that an export with the base's tokenizer gives.
"""

import json
import shutil
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.progress import Progress, Silent, counted
from loopreview.tokens.conversation import Conversation
from loopreview.tokens.template import ChatMessage, TemplateRefused
from loopreview.train.base import Base
from loopreview.train.rows import each_row

SPLITS = ("train", "valid")
"""Those that a run reads; `test` is kept for later."""
_STAMP = "made.json"
_AGAIN = "export again with --tokenizer BASE"


class Measured(NamedTuple):
    """The lengths, in tokens, of a run's examples, in their order."""

    train: Sequence[int]
    valid: Sequence[int]
    supervised: int
    """Tokens of `train` that the loss is over."""
    digests: tuple[Sequence[bytes], Sequence[bytes]] = ((), ())
    """Of the ids of each example of `train` and of `valid`; equal for equal ones alone."""

    @property
    def longest(self) -> tuple[int, str, int]:
        """(tokens, split, row from 1)."""
        named = (("train", self.train), ("valid", self.valid))
        every = ((length, split, row) for split, lengths in named for row, length in enumerate(lengths, 1))
        return max(every, key=lambda one: one[0])

    @property
    def median(self) -> int:
        """Of `train`."""
        return sorted(self.train)[len(self.train) // 2]


def token_folder(dataset: Exported, base: Base, run_folder: Path, *, progress: Progress | None = None) -> Path:
    """The folder with `train.jsonl` and `valid.jsonl` of ids and labels by the base's tokenizer and template.

    Raises UserError for a dataset that cannot be trained on, or not with this base.
    """
    manifest = dataset.manifest
    if (kind := manifest.get("kind")) != "sft":
        raise UserError(f"{dataset.folder}: holds {kind} data; only sft can be trained on, {kind} comes later")
    if _fits(dataset, base):
        return dataset.folder / "tokens"
    folder = run_folder / "tokens"
    stamp = {"dataset": dataset.hash, "tokenizer": base.tokenizer.hash}
    if _stamp(folder) != stamp:
        _make(dataset, base, folder, progress or Silent())
        (folder / _STAMP).write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    return folder


def measure(tokens: Path) -> Measured:
    """The lengths of the token rows of a folder. Raises UserError for a row that is no example."""
    train, valid = (_measured(tokens / f"{split}.jsonl") for split in SPLITS)
    return Measured(train[0], valid[0], train[1], (train[2], valid[2]))


def _measured(path: Path) -> tuple[Sequence[int], int, list[bytes]]:
    lengths, supervised, digests = array("I"), 0, []
    for row in each_row(path):
        lengths.append(len(row.ids))
        supervised += row.supervised
        digests.append(sha256(array("i", row.ids)).digest()[:16])
    return lengths, supervised, digests


def _fits(dataset: Exported, base: Base) -> bool:
    """Whether the dataset's token rows are those that the base's tokenizer and template give."""
    made = dataset.manifest.get("tokenizer") or {}
    template = base.tokenizer.template
    date = template.today.isoformat() if template.names_the_date else None
    here = all((dataset.folder / "tokens" / f"{split}.jsonl").is_file() for split in SPLITS)
    # The hash is over tokenizer, template and the special tokens that it names.
    return here and made.get("hash") == base.tokenizer.hash and made.get("date") == date


def _stamp(folder: Path) -> Any:
    try:
        return json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _make(dataset: Exported, base: Base, folder: Path, progress: Progress) -> None:
    manifest = dataset.manifest
    if manifest.get("format") == "sharegpt":
        raise UserError(
            f"{dataset.folder}: ShareGPT rows cannot be trained on; export with --format trl, or with --tokenizer BASE"
        )
    if (manifest.get("tokenizer") or {}).get("system") == "merged" and base.tokenizer.system == "kept":
        raise UserError(
            f"{dataset.folder}: was exported for a model without system messages, and {base.name} has them; {_AGAIN}"
        )
    half = folder.with_name("tokens.part")
    for old in (half, folder):
        shutil.rmtree(old, ignore_errors=True)
    half.mkdir(parents=True)
    said = manifest.get("examples") or {}
    total = sum(int(said.get(split, 0)) for split in SPLITS)
    maker = _Maker(dataset, base)
    with counted(progress, "tokens", total):
        for split in SPLITS:
            with (half / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
                for line in maker.lines(split):
                    file.write(line + "\n")
                    progress.advance()
    half.rename(folder)


class _Found(NamedTuple):
    """A readable row: where it stands, its messages as the template takes them, and the replies that are supervised."""

    number: int
    messages: list[ChatMessage]
    tools: list[Any] | None
    supervised: list[int]


class _Maker:
    """Makes token rows of the readable rows, transcript after transcript."""

    def __init__(self, dataset: Exported, base: Base) -> None:
        self.dataset, self.base = dataset, base
        self.weighed = dataset.manifest.get("format") == "openai"
        self.whole = dataset.manifest.get("supervise") == "all_replies"
        self.origins: dict[tuple[str, int], tuple[str, int]] = {
            (line["split"], line["row"]): (line["transcript"], line["exchange"])
            for line in dataset.lineage()
            if {"split", "row", "transcript", "exchange"} <= line.keys()
        }
        self.unsupervised = _unsupervised(dataset)

    def lines(self, split: str) -> Iterator[str]:
        def transcript(numbered: tuple[int, Any]) -> str:
            return self.origins.get((split, numbered[0]), (f"line {numbered[0]}", 0))[0]

        for _, rows in groupby(enumerate(self.dataset.rows(split), 1), key=transcript):
            yield from self._transcript(split, [self._found(split, number, row) for number, row in rows])

    def _transcript(self, split: str, rows: list[_Found]) -> Iterator[str]:
        """The rows of one transcript are prefixes of the longest one: no piece of it is encoded twice."""
        longest = max(rows, key=lambda row: len(row.messages))
        shared = Conversation(self.base.tokenizer, longest.messages, longest.tools)
        for row in rows:
            end = len(row.messages)
            same = longest.messages[:end] == row.messages and longest.tools == row.tools
            conversation = shared if same else Conversation(self.base.tokenizer, row.messages, row.tools)
            try:
                example = conversation.example(end, row.supervised)
            except TemplateRefused as error:
                raise self._refused(split, row.number, str(error)) from None
            if not example.supervised:
                raise self._refused(split, row.number, "no token of the reply is the model's own")
            yield json.dumps({"input_ids": example.ids, "labels": example.labels}, separators=(",", ":"))

    def _found(self, split: str, number: int, row: Mapping[str, Any]) -> _Found:
        messages = row.get("messages")
        if not isinstance(messages, list) or not messages or messages[-1].get("role") != "assistant":
            raise UserError(f"{self._place(split, number)}: holds no messages that end with a reply; export again")
        supervised = self._supervised(split, number, messages)
        plain = [_chat_message(message) for message in messages]
        tokenizer = self.base.tokenizer
        prepared = tokenizer.prepared(plain)
        if tokenizer.system == "merged" and prepared[0]["role"] == "system":
            raise self._refused(split, number, "the chat template has no system message, and no user speaks first")
        fewer = len(plain) - len(prepared)
        return _Found(number, prepared, row.get("tools"), [place - fewer for place in supervised])

    def _supervised(self, split: str, number: int, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The places of the replies that the export meant to be trained on."""
        if self.weighed:
            return [place for place, message in enumerate(messages) if message.get("weight")]
        if not self.whole:
            return [len(messages) - 1]
        transcript, last = self.origins.get((split, number), ("", 0))
        exchanges = _exchanges(messages)
        if self.unsupervised is None or last != max(exchanges.values(), default=0):
            raise UserError(
                f"{self._place(split, number)}: nothing in the dataset says which of its replies are to be learnt; "
                f"{_AGAIN}"
            )
        out = self.unsupervised[transcript]
        return [place for place, n in exchanges.items() if n not in out and not _is_empty(messages[place])]

    def _place(self, split: str, number: int) -> str:
        return f"{self.dataset.folder / split}.jsonl line {number}"

    def _refused(self, split: str, number: int, why: str) -> UserError:
        return UserError(f"{self._place(split, number)}: {why}; {_AGAIN}, which leaves such an example out")


def _unsupervised(dataset: Exported) -> dict[str, set[int]] | None:
    """Transcript → exchanges whose replies are not to be learnt: marked as bad, of weight 0, or empty. None where the
    manifest does not say.

    Whatever the manifest gives as a reason, an exchange that it lists as left out is not one to learn from.
    """
    rows = (dataset.manifest.get("left_out") or {}).get("rows")
    if not isinstance(rows, list):
        return None
    found: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.get("exchange") is not None:
            found[row["transcript"]].add(row["exchange"])
    return found


def _exchanges(messages: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Place of each reply → its exchange, from 1: one begins with the first user's message after a reply."""
    found: dict[int, int] = {}
    exchange, replied = 1, False
    for place, message in enumerate(messages):
        if message["role"] == "user" and replied:
            exchange, replied = exchange + 1, False
        elif message["role"] == "assistant":
            found[place], replied = exchange, True
    return found


def _is_empty(reply: Mapping[str, Any]) -> bool:
    return not (reply.get("content") or "").strip() and not reply.get("tool_calls")


def _chat_message(message: Mapping[str, Any]) -> ChatMessage:
    """As chat templates take it: without a weight, the arguments of a call as an object."""
    found = {key: value for key, value in message.items() if key != "weight"}
    if found.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in found["tool_calls"]]
    return found


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call
