"""Rubrics, criteria and calibration examples."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from loopreview.models.hashing import content_hash

Label = Literal["PASS", "FAIL", "BORDERLINE_PASS", "BORDERLINE_FAIL"]
CHECKS = (
    "length_ratio", "question_endings", "formulaic_openers", "language", "truncation", "artifacts", "regex",
)  # fmt: skip


class Example(BaseModel):
    """A labelled excerpt that teaches the judges one criterion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Label
    context: str = ""
    response: str
    reasoning: str
    origin: str | None = None
    """The transcript it was taken from: our id, or the source of an import. Never shown to a judge of that one."""


class Category(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(ge=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class Criterion(BaseModel):
    """One question, answered YES, NO or NA for a whole transcript."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    name: str = Field(min_length=1)
    category: str
    question: str = ""
    kind: Literal["judged", "check"] = "judged"
    check: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    na: Literal["valid", "invalid"] = "valid"
    min_exchanges: int = Field(default=1, ge=1)
    gate: bool = False
    examples: tuple[Example, ...] = ()

    @property
    def version(self) -> str:
        """Hash of the wording that a person answers to: question and answer rules, not the examples."""
        return content_hash(self.question, self.na, self.kind, self.check, self.params, self.min_exchanges)


class Rubric(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pass_threshold: float = Field(default=0.80, ge=0, le=1)
    categories: dict[str, Category]
    criteria: tuple[Criterion, ...]

    @property
    def version(self) -> str:
        return content_hash(self.model_dump(mode="json"))

    def criterion(self, id: str) -> Criterion | None:
        return next((c for c in self.criteria if c.id == id), None)
