"""The terminal program in a real terminal: how soon it paints, how soon a key is answered, how much memory it takes.

Each number is also a ratio to a Textual app that holds one Static. The workspace has 100,000 transcripts and 1.8
million verdicts; it is made once and kept in the temporary folder.
"""

import os
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from loopreview.models.transcript import Message, transcript_hash
from loopreview.rules.stale import imported_key
from loopreview.store import batches
from loopreview.store.values import now
from loopreview.workspace import Workspace, init

COUNT = 100_000
JUDGES = ("gpt",)
SIZES = ((80, 24), (160, 45))
KEYS = 60
LATENCY = "0.3"
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("ready")
    def on_key(self, event):
        self.query_one(Static).update(f"ready {event.key} {event.time}")
Minimal().run()
"""


def filled(root: Path, count: int = COUNT) -> Path:
    """A workspace with `count` judged transcripts in one import, each answered to 18 criteria; written by SQL alone.
    A folder that was finished before is taken as it is."""
    done = root / "finished"
    if done.exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    with Workspace.open(init(root, template="therapy-coach")) as workspace:
        store = workspace.store
        batch = batches.create_imported(store)
        criteria = [c for c in workspace.rubric.criteria if c.kind == "judged"]
        places = [(criteria[n % len(criteria)], f"{JUDGES[0]}{n // len(criteria)}") for n in range(18)]
        backends = list(dict.fromkeys(backend for _, backend in places))
        at = now()
        paragraph = (
            "You said that the evenings are worst, and that nobody calls any more. That is a lot to carry alone. "
        )
        for start in range(0, count, 5000):
            heads, messages, given, panel = [], [], [], []
            for number in range(start + 1, min(start + 5000, count) + 1):
                id = f"{batch.id}-{number}"
                talk = [
                    Message(role="user" if n % 2 == 0 else "assistant", text=f"{number}/{n}: {paragraph * (1 + n % 3)}")
                    for n in range(8)
                ]
                content = transcript_hash(talk)
                heads.append((id, batch.id, number, "imported", 4, 1, None, content, 1, f"Person {number}", None, at))
                messages += [(id, n, message.role, message.text) for n, message in enumerate(talk)]
                given += [
                    (
                        id,
                        c.id,
                        backend,
                        "NO" if (number + n) % 11 == 0 else "YES",
                        imported_key(content, c, backend),
                        at,
                    )
                    for n, (c, backend) in enumerate(places)
                ]
                panel += [(id, backend) for backend in backends]
            with store.writing():
                store.executemany(
                    "INSERT INTO transcripts (id, batch, number, origin, exchanges, complete, target_exchanges,"
                    " content_hash, revision, persona_name, source, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                    heads,
                )
                store.executemany(
                    "INSERT INTO messages (transcript, position, role, text) VALUES (?, ?, ?, ?)", messages
                )
                store.executemany(
                    "INSERT INTO verdicts"
                    " (transcript, criterion, backend, answer, key, origin, at, reasoning, evidence)"
                    " VALUES (?, ?, ?, ?, ?, 'imported', ?, 'as reply 2 says',"
                    ' \'[{"exchange": 2, "role": "assistant", "quote": "the evenings are worst", "occurrence": 1}]\')',
                    given,
                )
                store.executemany(
                    "INSERT INTO panels (transcript, backend, origin, asked_as) VALUES (?, ?, 'imported', '')", panel
                )
            print(f"\r{start + 5000} of {count} transcripts", end="", file=sys.stderr, flush=True)
        store.execute("INSERT INTO message_words (message_words) VALUES ('rebuild')")
        store.execute("UPDATE batches SET count = ? WHERE id = ?", (count, batch.id))
        print(file=sys.stderr)
    done.write_text("", encoding="utf-8")
    return root


class Terminal:
    """A program in a pseudo-terminal of its own, as a person has it in front of them."""

    def __init__(self, command: list[str], size: tuple[int, int], env: dict[str, str]) -> None:
        """`size` is (columns, rows)."""
        self.began = time.perf_counter()
        self.seen = b""
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], command, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **env})
        self.pid, self.fd = pid, fd
        ioctl(fd, TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def until(self, painted: Callable[[bytes], bool], limit_s: float = 60) -> float:
        """Read until `painted` is true of what came since the last key; the seconds since then."""
        while not painted(self.seen):
            if time.perf_counter() - self.began > limit_s:
                raise RuntimeError(f"not painted in {limit_s} s: {self.seen[-2000:]!r}")
            if select.select([self.fd], [], [], 0.05)[0]:
                self.seen += os.read(self.fd, 65536)
        return time.perf_counter() - self.began

    def press(self, key: bytes) -> None:
        """Press a key and count the time from now on; what is still to be painted of earlier keys is read away."""
        self.quiet()
        self.seen = b""
        self.began = time.perf_counter()
        os.write(self.fd, key)

    def quiet(self, for_s: float = 0.03) -> None:
        while select.select([self.fd], [], [], for_s)[0]:
            os.read(self.fd, 65536)

    def megabytes(self) -> float:
        """Memory of the program that is not shared with others."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            found = re.findall(r"^Private_\w+:\s+(\d+) kB", file.read(), re.MULTILINE)
        return sum(map(int, found)) / 1024

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def shows(*words: str) -> Callable[[bytes], bool]:
    """Whether all these words were painted, whatever their colours."""

    def found(seen: bytes) -> bool:
        text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", seen).decode("utf-8", "replace")
        return all(word in text for word in words)

    return found


REVIEW = ("review", "y n x say")
LOOP = ("loop", "make five")


def _command(root: Path, screen: str) -> list[str]:
    return [sys.executable, "-m", "loopreview", "-w", str(root), *(["review"] if screen == "review" else [])]


def _first_paint(command: list[str], word: str, env: dict[str, str], runs: int = 7) -> float:
    """Median seconds until `word` is on the screen; the first run, which warms the disk's cache, is not counted."""
    times = []
    for _ in range(runs + 1):
        terminal = Terminal(command, SIZES[0], env)
        times.append(terminal.until(shows(word)))
        terminal.kill()
    return statistics.median(times[1:])


def _keys(command: list[str], word: str, keys: list[bytes], size: tuple[int, int], env: dict[str, str]) -> list[float]:
    """Seconds from each key to what it first paints."""
    terminal = Terminal(command, size, env)
    terminal.until(shows(word))
    time.sleep(2.5)  # what is counted beside the first paint is done
    times = []
    for number in range(KEYS):
        terminal.press(keys[number % len(keys)])
        times.append(terminal.until(lambda seen: bool(seen)))
        time.sleep(0.05)
    terminal.kill()
    return times


@contextmanager
def _generating(root: Path) -> Iterator[None]:
    """A generation that runs beside, as the terminal program starts one."""
    beside = init(root, template="support-agent")
    command = [sys.executable, "-m", "loopreview", "-w", str(beside), "generate", "--count", "40", "--assess", "--json"]
    env = {**os.environ, "LOOPREVIEW_OFFLINE_LATENCY": LATENCY}
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    time.sleep(6)  # it imports for a few seconds first
    try:
        yield
    finally:
        job.send_signal(signal.SIGINT)
        job.wait()


def _memory(command: list[str], word: str, env: dict[str, str]) -> float:
    terminal = Terminal(command, SIZES[0], env)
    terminal.until(shows(word))
    time.sleep(3)
    terminal.quiet()
    found = terminal.megabytes()
    terminal.kill()
    return found


def main() -> list[dict[str, object]]:
    root = filled(Path(tempfile.gettempdir()) / f"loopreview-bench-{COUNT}-1")
    minimal = [sys.executable, "-c", MINIMAL]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        env = {"XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        bare = _first_paint(minimal, "ready", env)
        for screen, word in (LOOP, REVIEW):
            took = _first_paint(_command(root, screen), word, env)
            rows.append(
                _row(f"first paint of {screen}, {COUNT:,} transcripts", 1000 * took, 1000 * bare, "ms", "450 ms")
            )
        small = filled(Path(folder) / "small", 200)
        with _generating(Path(folder) / "beside"):
            for size in SIZES:
                least = _keys(minimal, "ready", [b"a", b"b"], size, env)
                found = _keys(_command(small, "review"), REVIEW[1], [b"j", b"j", b" ", b"k", b"\t", b"l"], size, env)
                for name, place in (("p50", 49), ("p95", 94)):
                    took, plain = (statistics.quantiles(times, n=100)[place] for times in (found, least))
                    claim = f"key to paint {name}, {size[0]}x{size[1]}, generating beside"
                    rows.append(_row(claim, 1000 * took, 1000 * plain, "ms", "50 ms (p95)"))
        least_mb = _memory(minimal, "ready", env)
        for screen, word in (LOOP, REVIEW):
            rows.append(
                _row(f"memory of {screen}", _memory(_command(root, screen), word, env), least_mb, "MB", "80 MB")
            )
    return rows


def _row(claim: str, measured: float, minimal: float, unit: str, budget: str) -> dict[str, object]:
    said = f"{measured:.0f} {unit}, {measured / minimal:.1f} times a minimal Textual app ({minimal:.0f} {unit})"
    return {"claim": claim, "measured": said, "budget": budget}
