"""What is counted while a dataset is written, for its manifest and its card. Small, however large the dataset."""

from array import array
from collections import Counter
from statistics import median
from typing import Any, NamedTuple

from loopreview.dataset.choose import Chosen
from loopreview.dataset.examples import Made
from loopreview.models.transcript import Transcript
from loopreview.rules.splits import SPLITS, Split


class BatchTally(NamedTuple):
    transcripts: int = 0
    examples: int = 0
    exchanges: int = 0
    shortest: int = 0
    longest: int = 0

    def plus(self, exchanges: int, examples: int) -> "BatchTally":
        return BatchTally(
            self.transcripts + 1,
            self.examples + examples,
            self.exchanges + exchanges,
            min(self.shortest or exchanges, exchanges),
            max(self.longest, exchanges),
        )


class Tally:
    """Counts over the transcripts that have an example."""

    def __init__(self) -> None:
        self.examples: Counter[Split] = Counter()
        self.transcripts: dict[Split, list[str]] = {split: [] for split in SPLITS}
        self.lengths = array("L")
        """Tokens of each example."""
        self.supervised = 0
        self.labels: Counter[bool] = Counter()
        self.batches: dict[int, BatchTally] = {}
        self.models: Counter[str] = Counter()
        """Transcripts by the models that wrote their replies."""
        self.panels: Counter[str] = Counter()
        self.reviewers: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.rubric_versions: Counter[str] = Counter()
        self.own_system = 0

    def example(self, split: Split, made: Made) -> None:
        self.examples[split] += 1
        self.supervised += made.supervised
        if made.length is not None:
            self.lengths.append(made.length)
        if made.label is not None:
            self.labels[made.label] += 1

    def transcript(
        self, split: Split, chosen: Chosen, transcript: Transcript, exchanges: int, panel: list[str], examples: int
    ) -> None:
        self.transcripts[split].append(chosen.id)
        self.batches[transcript.batch] = self.batches.get(transcript.batch, BatchTally()).plus(exchanges, examples)
        self.models.update({m.model for m in transcript.messages if m.role == "assistant" and m.model})
        self.panels.update(panel)
        self.reviewers.update(chosen.reviewers)
        self.decisions[chosen.decision] += 1
        self.rubric_versions.update(chosen.rubric_versions)
        self.own_system += any(message.role == "system" for message in transcript.messages)

    @property
    def tokens(self) -> dict[str, int | float] | None:
        """Least, median and most tokens of an example; null without a tokenizer."""
        if not self.lengths:
            return None
        middle = median(self.lengths)
        return {
            "min": min(self.lengths),
            "median": int(middle) if middle == int(middle) else middle,
            "max": max(self.lengths),
        }

    def histogram(self, limit: int, columns: int = 8) -> list[tuple[int, int, int]]:
        """(from, to, examples) by tokens, in equal parts of `limit`; lengths up to `to`, above `from`."""
        width = -(-limit // columns)
        counts = Counter((length - 1) // width for length in self.lengths)
        return [(n * width, (n + 1) * width, counts[n]) for n in range(max(counts, default=-1) + 1)]


def counted(reasons: Counter[str]) -> dict[str, Any]:
    """Most frequent first; the same order for the same counts."""
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
