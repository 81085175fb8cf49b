"""Staleness: the key under which a verdict is valid, and the examples a judge may see."""

from collections.abc import Sequence

from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion, Example


def shown_examples(criterion: Criterion, transcript: str, source: str | None) -> tuple[Example, ...]:
    """The examples that a judge of this transcript sees: all but those taken from it (the leak guard).

    `transcript` is our id, `source` an import's `file#record`; an origin that names the file or the record alone
    counts too, as commands accept those as names.
    """
    own = {transcript}
    if source:
        file, _, record = source.partition("#")
        own |= {source, file, record} - {""}
    return tuple(e for e in criterion.examples if e.origin is None or e.origin.strip() not in own)


def verdict_key(
    transcript_hash: str, criterion: Criterion, shown: Sequence[Example], assessor_version: str, fingerprint: str
) -> str:
    """What was asked, of whom, about what: a verdict with another key is stale.

    `assessor_version` is the hash of the assessor prompt, `fingerprint` that of the backend's model and parameters.
    """
    examples = [[e.label, e.context, e.response, e.reasoning] for e in shown]
    return content_hash(
        "asked", transcript_hash, criterion.question, criterion.na, examples, assessor_version, fingerprint
    )


def imported_key(transcript_hash: str, criterion: Criterion, backend: str) -> str:
    """The key of a verdict that was given elsewhere: content and wording only, as its prompt and model are unknown."""
    return content_hash("imported", transcript_hash, criterion.question, criterion.na, backend)
