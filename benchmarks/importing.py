"""Import: transcripts a second, and memory as their number grows."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (10_000, 100_000)
FILES = 2_000
EXCHANGES = 3

_CHILD = """
import json, resource, sys, time
from pathlib import Path
from loopreview.ingest import import_transcripts
from loopreview.workspace import Workspace, init

with Workspace.open(init(Path(sys.argv[1]), template="support-agent")) as workspace:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    result = import_transcripts(workspace, [Path(sys.argv[2])])
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
# ru_maxrss counts kilobytes, on macOS bytes.
unit = 2**20 if sys.platform == "darwin" else 2**10
print(json.dumps([len(result["imported"]), seconds, (after - before) / unit]))
"""


def _chat(number: int) -> str:
    messages = []
    for turn in range(EXCHANGES):
        asked = f"Where is order {number}-{turn}? It was due on Monday, and nobody at the shop could tell me more."
        said = f"Order {number}-{turn} left our warehouse today. It arrives on Friday; you get a message before."
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return json.dumps({"id": f"c{number}", "messages": messages})


def _measured(folder: Path, path: Path, expected: int) -> tuple[float, float]:
    """Seconds, and megabytes by which the most memory held grew."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder / "workspace"), str(path)], check=True, capture_output=True, text=True
    )
    imported, seconds, megabytes = json.loads(done.stdout)
    if imported != expected:
        raise RuntimeError(f"{imported} of {expected} transcripts went in")
    return seconds, megabytes


def _of_one_file(count: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "chats.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{_chat(number)}\n" for number in range(count))
        return _measured(Path(name), path, count)


def _of_a_folder(count: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        chats = Path(name) / "chats"
        chats.mkdir()
        for number in range(count):
            (chats / f"{number}.json").write_text(_chat(number), encoding="utf-8")
        return _measured(Path(name), chats, count)[0]


def main() -> list[dict[str, object]]:
    few, many = COUNTS
    (few_s, few_mb), (many_s, many_mb) = (_of_one_file(count) for count in COUNTS)
    per_row = 2**20 * (many_mb - few_mb) / (many - few)
    return [
        {
            "claim": f"import of {many:,} transcripts of {EXCHANGES} exchanges, one file",
            "measured": f"{many / many_s:,.0f} a second",
            "budget": "1,000 a second",
        },
        {
            "claim": f"time per transcript: {many:,} against {few:,}",
            "measured": f"{many_s / many / (few_s / few):.2f} times",
            "budget": "1.3 times",
        },
        {
            # The transcripts themselves are not held; what grows is the report, a row for each.
            "claim": f"memory: {many:,} against {few:,}",
            "measured": f"{many_mb:.0f} MB against {few_mb:.0f} MB, {per_row:.0f} bytes a transcript",
            "budget": "600 bytes a transcript",
        },
        {
            "claim": f"import of a folder of {FILES:,} files, each a transaction",
            "measured": f"{FILES / _of_a_folder(FILES):,.0f} a second",
            "budget": "200 a second",
        },
    ]


if __name__ == "__main__":
    print(main())
