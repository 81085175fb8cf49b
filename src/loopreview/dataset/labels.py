"""People's answers as JSON lines, in an order that two reviewers' files can be merged by."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from loopreview.rules.review import fold
from loopreview.store import events, transcripts
from loopreview.workspace import Workspace


def labels(workspace: Workspace) -> list[dict[str, Any]]:
    """Each reviewer's current answer to each criterion of each transcript, as `import-labels` reads them, sorted.

    A transcript is named by its source where it was imported and no other has that source, so that the line means the
    same in another workspace; else by its id.
    """
    return sorted(_labels(workspace), key=lambda row: (row["transcript"], row["criterion"], row["reviewer"]))


def _labels(workspace: Workspace) -> Iterator[dict[str, Any]]:
    store = workspace.store
    heads = [transcripts.head(store, id) for id in events.reviewed(store)]
    sources = Counter(head.source for head in transcripts.heads(store) if head.source)
    for head in heads:
        name = head.source if head.source and sources[head.source] == 1 else head.id
        for id, review in fold(events.of(store, head.id)).transcripts.items():
            if id != head.id:
                continue
            for criterion, answers in review.answers.items():
                for reviewer, event in answers.items():
                    row = {"transcript": name, "criterion": criterion, "reviewer": reviewer, "answer": event.answer}
                    yield row | ({"note": event.note} if event.note else {})
