"""What a training job tells whoever watches: a line in `events.jsonl` for each thing that happened."""

import math
import time
from pathlib import Path

from loopreview.progress import EventFile


class Report:
    """Writes the events of one job.

    started     by the job: pid, steps in all, the step it goes on from
    step        step, steps, epoch, loss, learning_rate, grad_norm, tokens_per_s, tokens, peak_memory (bytes),
                seconds_left
    eval        step, loss, perplexity; step 0 is the base model
    checkpoint  step, path
    warning     text
    note        text: what takes long and is no step
    done, cancelled, failed   by the job, last
    """

    def __init__(self, events: EventFile, *, steps: int = 0) -> None:
        self._events, self.steps = events, steps
        """`steps`: optimizer steps in all, for the time left. A backend that packs examples sets it anew."""
        self._first: tuple[int, float] | None = None

    def step(
        self,
        step: int,
        *,
        epoch: float,
        loss: float,
        learning_rate: float,
        grad_norm: float | None,
        tokens_per_s: float,
        tokens: int,
        peak_memory: int | None,
    ) -> None:
        """One optimizer step is done. `step` from 1; `tokens`: those of the rows trained on since the very beginning,
        padding not counted; `peak_memory` in bytes."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        first, then = self._first
        left = (now - then) / (step - first) * (self.steps - step) if step > first else None
        self._events.write(
            "step",
            step=step,
            steps=self.steps,
            epoch=round(epoch, 4),
            loss=_finite(loss),
            learning_rate=learning_rate,
            grad_norm=_finite(grad_norm),
            tokens_per_s=round(tokens_per_s, 1),
            tokens=tokens,
            peak_memory=peak_memory,
            seconds_left=round(left, 1) if left is not None else None,
        )

    def eval(self, step: int, loss: float) -> None:
        """The validation loss after `step` optimizer steps."""
        perplexity = math.exp(loss) if loss < 700 else math.inf
        self._events.write("eval", step=step, loss=_finite(loss), perplexity=_finite(perplexity))

    def checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint is complete on the disk."""
        self._events.write("checkpoint", step=step, path=str(path))

    def warning(self, text: str) -> None:
        self._events.write("warning", text=text)

    def note(self, text: str) -> None:
        """What is done now, where it may take minutes and no step tells that the job lives."""
        self._events.write("note", text=text)


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
