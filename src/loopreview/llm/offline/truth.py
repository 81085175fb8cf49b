"""What was planted: the detectors' answer without a judge's mistakes."""

from collections.abc import Sequence
from typing import Literal

from loopreview.llm.offline.criteria import examine
from loopreview.llm.offline.reading import Asked
from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Exchange


def planted_truth(criterion: Criterion, exchanges: Sequence[Exchange]) -> Literal["YES", "NO", "NA"]:
    """The answer that an attentive reader of an offline transcript would give. Used by the demo's scripted reviewer."""
    return examine(
        Asked(criterion.id, criterion.name, criterion.question, criterion.na == "valid", 0), exchanges
    ).answer
