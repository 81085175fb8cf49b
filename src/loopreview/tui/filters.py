"""Which transcripts of a batch are gone through, other than those that wait for a decision."""

from loopreview.models.verdict import Assessment
from loopreview.tui.sheet import counted

FILTERS = {
    "all": "all of the batch",
    "unreviewed": "nobody has said anything",
    "disagreements": "the judges disagree",
    "false positives": "judged YES, a person says NO",
    "false negatives": "judged NO, a person says YES",
    "failing": "this criterion is NO",
    "open": "a judge has no answer",
}
"""Name → what it means; no filter shows what waits for a decision, most doubt first."""
TEXT = "text"
"""The filter that finds words, in all batches."""


def passes(name: str, assessment: Assessment, criterion: str) -> bool:
    """Whether a transcript is shown under a filter. `criterion` is the one that `failing` is about."""
    match name:
        case "unreviewed":
            return assessment.decision is None and not any(assessment.human.values())
        case "disagreements":
            return any(len({counted(a) for a in given.values()} - {None}) > 1 for given in assessment.answers.values())
        case "false positives":
            return _differs(assessment, "YES", "NO")
        case "false negatives":
            return _differs(assessment, "NO", "YES")
        case "failing":
            return counted(assessment.effective.get(criterion)) == "NO"
        case "open":
            return bool(assessment.judged_open)
        case _:
            return True


def _differs(assessment: Assessment, judged: str, said: str) -> bool:
    return any(
        assessment.human.get(criterion) and counted(merged) == judged and assessment.effective.get(criterion) == said
        for criterion, merged in assessment.merged.items()
    )
