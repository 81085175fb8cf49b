"""An example as the model sees it, read back from its ids."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from loopreview.models.errors import UserError
from loopreview.train.base import Base
from loopreview.train.rows import IGNORED


@dataclass(frozen=True)
class Shown:
    """An example. `tokens` in all, `supervised` of them; `parts`: its text in runs, each with whether the model is
    trained to write it, which is what one gets by going through it."""

    number: int
    tokens: int
    supervised: int
    parts: list[tuple[str, bool]]

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        return iter(self.parts)


def show_example(tokens: Path, base: Base, number: int, *, split: str = "train") -> Shown:
    """Example `number`, from 1, of the token rows in a folder. Raises UserError where there is none."""
    path = tokens / f"{split}.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            line = next(islice(file, number - 1, None), None) if number > 0 else None
            if line is None:
                file.seek(0)
                count = sum(1 for _ in file)
                raise UserError(f"example {number}: there is none; {split} has 1 to {count:,}")
        row = json.loads(line)
        ids, labels = list(row["input_ids"]), list(row["labels"])
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export again") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: line {number} holds no input_ids and labels; export again") from None
    runs = [(flag, len(list(group))) for flag, group in groupby(label != IGNORED for label in labels)]
    texts = _texts(base, ids, [length for _, length in runs])
    parts = [(text, flag) for text, (flag, _) in zip(texts, runs, strict=True) if text]
    return Shown(number, len(ids), sum(label != IGNORED for label in labels), parts)


def _texts(base: Base, ids: Sequence[int], lengths: Sequence[int]) -> list[str]:
    """The text of each run of ids. A character whose bytes are in two runs stands in the later one."""
    whole = base.tokenizer.decode(ids)
    found, start, end = [], 0, 0
    for length in lengths:
        end += length
        # By itself a run could begin within a character, or lose the space before its first word: so what is
        # before its end is decoded from the very beginning.
        until = _common(base.tokenizer.decode(ids[:end]), whole) if end < len(ids) else len(whole)
        found.append(whole[start : max(start, until)])
        start = max(start, until)
    return found


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    if other.startswith(one):
        return len(one)
    return next(i for i, (a, b) in enumerate(zip(one, f"{other}\0", strict=False)) if a != b)
