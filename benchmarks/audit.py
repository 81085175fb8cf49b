"""An audit of many replies: seconds, memory, and how both grow."""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from loopreview import audit
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, transcripts
from loopreview.workspace import Workspace, init

REPLIES = (10_000, 100_000)
EXCHANGES, REPLY_WORDS, USER_WORDS = 10, 120, 60
STOCK = ("I hear you, and that sounds really hard.", "What would it look like to start small?", "That's not nothing.")


def conversations(replies: int, seed: int = 0) -> Iterator[Transcript]:
    """Transcripts of ten exchanges from words as frequent as in a natural text (Zipf), some with stock sentences."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlu", k=2 + rank.bit_length() // 2)) for rank in range(1, 20_001)]
    stream = chance.choices(words, [1 / rank for rank in range(1, 20_001)], k=400_000)

    def said(words: int) -> str:
        start = chance.randrange(len(stream) - words)
        return " ".join(stream[start : start + words])

    for number in range(replies // EXCHANGES):
        messages = []
        for _ in range(EXCHANGES):
            stock = [sentence for sentence in STOCK if chance.random() < 0.3]
            reply = " ".join([*stock, said(REPLY_WORDS)])
            messages += [Message(role="user", text=said(USER_WORDS)), Message(role="assistant", text=reply)]
        yield Transcript(id="", batch=0, number=0, origin="imported", source=f"bench.jsonl#{number}", messages=messages)


def filled(root: Path, replies: int) -> Path:
    """A workspace with as many replies, none near another."""
    with Workspace.open(init(root)) as workspace:
        batch = batches.create_imported(workspace.store)
        transcripts.add_imported(workspace.store, batch.id, conversations(replies))
    return root


def measure(root: Path) -> dict[str, float]:
    """Seconds, seconds of computing, and the most memory (MB) of one audit, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.audit", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> list[dict[str, object]]:
    found = {}
    for replies in REPLIES:
        with tempfile.TemporaryDirectory() as folder:
            found[replies] = measure(filled(Path(folder) / "w", replies))
    few, many = (found[replies] for replies in REPLIES)
    growth = many["cpu"] / few["cpu"] / (REPLIES[1] / REPLIES[0])
    return [
        {
            "claim": f"audit of {REPLIES[1]:,} replies of {REPLY_WORDS} words",
            "measured": f"{many['seconds']:.0f} s ({many['cpu']:.0f} s of computing)",
            "budget": "120 s",
        },
        {
            "claim": f"audit: computing for a reply, {REPLIES[1]:,} against {REPLIES[0]:,}",
            "measured": f"{growth:.2f} times",
            "budget": "1.3 times (linear)",
        },
        {
            "claim": f"audit of {REPLIES[1]:,} replies: most memory",
            "measured": f"{many['mb']:.0f} MB ({few['mb']:.0f} MB for {REPLIES[0]:,})",
            "budget": "500 MB",
        },
    ]


def _once(root: Path) -> None:
    audit.detector()
    began, computed = time.perf_counter(), time.process_time()
    with Workspace.open(root) as workspace:
        audit.audit(workspace)
    seconds, cpu = time.perf_counter() - began, time.process_time() - computed
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mb": most / (2**20 if sys.platform == "darwin" else 2**10)}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _once(Path(sys.argv[1]))
    else:
        print(main())
