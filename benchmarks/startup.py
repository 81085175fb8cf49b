"""How long until the command line answers."""

import statistics
import subprocess
import sys
import time


def _median_ms(*command: str, runs: int = 9) -> float:
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[1:])


def main() -> list[dict[str, object]]:
    bare = _median_ms(sys.executable, "-c", "import click")
    ours = _median_ms(sys.executable, "-m", "loopreview", "--help")
    return [
        {
            "claim": "--help",
            "measured": f"{ours:.0f} ms, {ours / bare:.1f} times `import click` alone",
            "budget": "150 ms",
        }
    ]
