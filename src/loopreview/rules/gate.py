"""Whether to make many, to go on, or to rethink: advice from the pass rates of the last batches."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from loopreview.models.settings import Settings
from loopreview.rules.statistics import more_needed, p_reaches, wilson

Advice = Literal["scale", "iterate", "revise", "collect"]


class BatchCount(NamedTuple):
    """A batch in numbers: `n` transcripts, of which `passed`, `failed`, `unscored`; `content` is the reviewers' word,
    None where nobody gave one."""

    id: int
    origin: str
    generation_version: str | None
    n: int
    passed: int
    failed: int
    unscored: int
    content: bool | None

    @property
    def pass_rate(self) -> float | None:
        """Share that passed of those scored; None where none is."""
        scored = self.passed + self.failed
        return self.passed / scored if scored else None


class Gate(BaseModel):
    """The advice, and beside it what is known about the true pass rate from all batches of the present generation
    version: `n` scored transcripts, the 95 % Wilson interval of their pass rate, the chance that the true rate reaches
    the target, and how many more would settle that."""

    model_config = ConfigDict(frozen=True)

    advice: Advice
    n: int
    passed: int
    pass_rate: float | None
    interval: tuple[float, float] | None
    p_reaches: float | None
    more_needed: int | None
    why: str


def gate(batches: Sequence[BatchCount], *, generation_version: str | None, settings: Settings) -> Gate:
    """The advice for the present generation version. Imported batches and those of other versions never count."""
    own = [b for b in batches if b.origin == "generated" and b.generation_version == generation_version is not None]
    own.sort(key=lambda b: b.id)
    passed = sum(b.passed for b in own)
    n = passed + sum(b.failed for b in own)
    target = settings.target_pass_rate
    advice, why = _advice(own, settings)
    return Gate(
        advice=advice,
        n=n,
        passed=passed,
        pass_rate=passed / n if n else None,
        interval=wilson(passed, n),
        p_reaches=p_reaches(passed, n, target),
        more_needed=more_needed(passed, n, target),
        why=why,
    )


def _advice(own: Sequence[BatchCount], settings: Settings) -> tuple[Advice, str]:
    needed = settings.stable_batches
    if len(own) < needed:
        have = "No batch" if not own else f"Only {len(own)} of {needed} batches"
        return "collect", f"{have} made with the present prompts and models; {needed} are needed."
    last = own[-needed:]
    for batch in last:
        if batch.unscored or batch.pass_rate is None:
            return "collect", f"Batch {batch.id} has {batch.unscored} of {batch.n} transcripts without a score."
    rates = [batch.pass_rate or 0.0 for batch in last]
    target = f"{settings.target_pass_rate:.0%}".replace("%", " %")
    latest = last[-1]
    share = f"{latest.passed} of {latest.passed + latest.failed}"
    reached = [rate >= settings.target_pass_rate for rate in rates]
    if all(reached) and latest.content is True:
        return "scale", f"Each of the last {needed} batches reached {target}, and you are satisfied with the last one."
    if rates[-1] < settings.revise_below:
        return "revise", f"Batch {latest.id} passed {share}, under {settings.revise_below * 100:.0f} %."
    if all(reached):
        said = "you are not satisfied with" if latest.content is False else "you have not yet said whether you like"
        return "iterate", f"Each of the last {needed} batches reached {target}, but {said} batch {latest.id}."
    short = last[reached.index(False)]
    return "iterate", f"Batch {short.id} passed {short.passed} of {short.passed + short.failed}, under {target}."
