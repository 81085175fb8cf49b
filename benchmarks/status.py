"""Status and agreement over many transcripts: the first count, and the next one after a single answer."""

import tempfile
import time
from pathlib import Path

from loopreview import report, review, standing
from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Verdict
from loopreview.rules.stale import imported_key
from loopreview.store import batches, transcripts, verdicts
from loopreview.workspace import Workspace, init

COUNTS = (1_000, 10_000)


def filled(root: Path, count: int, judges: int = 3) -> Workspace:
    """A workspace with `count` imported transcripts, each judged by `judges` backends on every criterion."""
    workspace = Workspace.open(init(root, template="support-agent"))
    batch = batches.create_imported(workspace.store)
    rubric = [c for c in workspace.rubric.criteria if c.kind == "judged"]

    def made() -> list[Transcript]:
        texts = [
            ("user", "Where is order {}? It was due on Monday."),
            ("assistant", "Order {} left today; it arrives on Friday."),
        ]
        return [
            Transcript(
                id="",
                batch=0,
                number=0,
                origin="imported",
                source=f"bench.jsonl#{i}",
                messages=[
                    Message(role=role, text=text.format(f"{i}-{turn}")) for turn in range(3) for role, text in texts
                ],
            )
            for i in range(count)
        ]

    with workspace.store.writing():
        stored = transcripts.add_imported(workspace.store, batch.id, made())
    for start in range(0, len(stored), 500):
        with workspace.store.writing():
            for head, _ in stored[start : start + 500]:
                hash = transcripts.get(workspace.store, head.id).hash
                for judge in range(judges):
                    verdicts.join_panel_imported(workspace.store, head.id, f"judge{judge}")
                verdicts.add(
                    workspace.store,
                    [
                        Verdict(
                            transcript=head.id,
                            criterion=c.id,
                            backend=f"judge{judge}",
                            answer="NO" if (head.number + place + judge) % 11 == 0 else "YES",
                            key=imported_key(hash, c, f"judge{judge}"),
                            origin="imported",
                        )
                        for place, c in enumerate(rubric)
                        for judge in range(judges)
                    ],
                )
    return workspace


def main() -> list[dict[str, object]]:
    rows = []
    per_transcript = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder, filled(Path(folder) / "w", count) as workspace:
            began = time.perf_counter()
            standing.refresh(workspace)
            per_transcript[count] = (time.perf_counter() - began) / count
            first = next(iter(transcripts.ids(workspace.store)))
            review.record(workspace, "answer", reviewer="bench", transcript=first, criterion="U1", answer="NO")
            began = time.perf_counter()
            report.status(workspace)
            again = time.perf_counter() - began
            rows.append(
                {
                    "claim": f"status of {count:,} judged transcripts after one answer",
                    "measured": f"{1000 * again:.0f} ms (first time {1000 * per_transcript[count]:.2f} ms each)",
                    "budget": "",
                }
            )
    growth = per_transcript[COUNTS[1]] / per_transcript[COUNTS[0]]
    rows.append(
        {
            "claim": "first count, per transcript: 10,000 against 1,000",
            "measured": f"{growth:.2f} times",
            "budget": "linear",
        }
    )
    return rows


if __name__ == "__main__":
    print(main())
