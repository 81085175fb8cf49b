"""Export of many transcripts: how many a second, and the memory of it, 10,000 against 1,000."""

import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, events, transcripts
from loopreview.workspace import Workspace, init

COUNTS = (1_000, 10_000)
EXCHANGES = 12


def talks(count: int, seed: int = 0) -> Iterator[Transcript]:
    """Transcripts of 12 exchanges, about 1,000 words each, five of every persona."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(2, 9))) for _ in range(5_000)]
    for number in range(count):
        messages = []
        for _ in range(EXCHANGES):
            messages.append(Message(role="user", text=" ".join(draw.choices(words, k=25))))
            messages.append(Message(role="assistant", text=" ".join(draw.choices(words, k=60))))
        persona = {"id": f"p{number // 5}", "name": "Nia"}
        source = f"bench.jsonl#{number}"
        yield Transcript(id="", batch=0, number=0, origin="imported", source=source, persona=persona, messages=messages)


def filled(root: Path, count: int) -> Path:
    """A workspace with `count` approved transcripts."""
    with Workspace.open(init(root)) as workspace:
        store = workspace.store
        with store.writing():
            stored = transcripts.add_imported(store, batches.create_imported(store).id, talks(count))
            events.append_many(
                store, (Event(reviewer="bench", kind="approve", transcript=head.id) for head, _ in stored)
            )
    return root


def exported(root: Path, *options: str) -> tuple[float, float, int]:
    """Seconds, megabytes at the peak, and examples of `loopreview export`, run as a process of its own."""
    command = [sys.executable, "-m", "loopreview", "-w", str(root), "--json", "export", *options]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"exit {process.returncode}: {' '.join(command)}")
        seconds = time.perf_counter() - began
        out.seek(0)
        examples = sum(json.load(out)["examples"].values())
    per_megabyte = 1024 if sys.platform == "linux" else 1024 * 1024
    return seconds, usage.ru_maxrss / per_megabyte, examples


def main() -> list[dict[str, object]]:
    build = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "tiny_tokenizer.py"))["build"]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        tokenizer = str(build(base / "tiny"))
        for count in COUNTS:
            root = filled(base / str(count), count)
            found[count] = exported(root, "--tokenizer", tokenizer)
    few, many = found[COUNTS[0]], found[COUNTS[1]]
    return [
        {
            "claim": f"export of 10,000 transcripts ({many[2]:,} examples) with token rows",
            "measured": f"{COUNTS[1] / many[0]:.0f} transcripts a second",
            "budget": "",
        },
        {
            "claim": "time per transcript, 10,000 against 1,000",
            "measured": f"{many[0] / COUNTS[1] / (few[0] / COUNTS[0]):.2f} times",
            "budget": "linear within 30 %",
        },
        {
            "claim": "memory at the peak, 10,000 against 1,000",
            "measured": f"{many[1]:.0f} MB against {few[1]:.0f} MB ({(many[1] - few[1]) / 9:.1f} MB a thousand)",
            "budget": "flat: under 5 MB a thousand",
        },
    ]


if __name__ == "__main__":
    print(main())
