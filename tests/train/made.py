"""Datasets for the training tests: a real workspace, real approvals, a real export."""

from pathlib import Path

from loopreview import review
from loopreview.dataset.examples import Wanted
from loopreview.dataset.make import make_dataset
from loopreview.models.transcript import Message, Transcript
from loopreview.progress import Silent
from loopreview.store import batches, transcripts
from loopreview.workspace import Workspace, init

THINGS = ("lamp", "kettle", "parcel", "refund", "window", "letter", "bicycle", "ladder")
REPLIES = ("We look into it and write to you on Monday.", "It is on its way and comes soon.", "You can send it back.")


def talk(number: int, exchanges: int, answer: str | None) -> list[Message]:
    """`answer`: what every reply says; else one of three that goes with the number."""
    thing = THINGS[number % len(THINGS)]
    found = []
    for n in range(exchanges):
        text = f"Case {number}, question {n}: where is my {thing}, which I ordered {3 + number} days ago?"
        found.append(Message(role="user", text=text))
        found.append(
            Message(role="assistant", text=answer or f"{REPLIES[(number + n) % 3]} The {thing} is number {n}.")
        )
    return found


def make_export(
    root: Path,
    tokenizer: Path | None,
    *,
    count: int = 40,
    exchanges: int = 3,
    answer: str | None = None,
    wanted: Wanted | None = None,
) -> Path:
    """Make a workspace in `root` with `count` approved transcripts, and return the folder of its export."""
    init(root)
    (root / "prompts" / "system.md").write_text("You help customers.\n", encoding="utf-8")
    with Workspace.open(root) as workspace:
        batch = batches.create_imported(workspace.store).id
        given = [
            Transcript(
                id="", batch=0, number=0, origin="imported", source=f"made.jsonl#{n}",
                messages=talk(n, exchanges, answer), persona=None,
            )
            for n in range(count)
        ]  # fmt: skip
        for head, _ in transcripts.add_imported(workspace.store, batch, given):
            review.record(workspace, "approve", reviewer="ann", transcript=head.id)
        name = str(tokenizer) if tokenizer else None
        return Path(make_dataset(workspace, wanted or Wanted(), tokenizer=name, watcher=Silent())["dataset"])
