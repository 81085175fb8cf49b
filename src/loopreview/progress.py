"""What a long job tells whoever watches: a bar on a terminal, lines in a file, or nobody."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Progress(Protocol):
    """A job reports one piece of counted work at a time, and notes beside it."""

    def start(self, label: str, total: int | None) -> None:
        """Counted work begins; `total` is null where it is not known."""

    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None:
        """One line for the person who watches."""

    def finish(self) -> None:
        """The counted work is over."""


class Silent:
    """Nobody watches."""

    def start(self, label: str, total: int | None) -> None: ...

    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...

    def finish(self) -> None: ...


class EventFile:
    """JSON lines that another process can follow: started, progress, note, done, failed.

    A line is flushed as it is written; readers tolerate a torn last line (`read_events`).
    """

    def __init__(self, path: Path) -> None:
        torn = _torn(path)
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")
        self._label, self._done, self._written = "", 0, 0.0
        self._total: int | None = None

    def write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "at": round(time.time(), 3), **fields}, ensure_ascii=True)
        self._file.write(line + "\n")
        self._file.flush()

    def start(self, label: str, total: int | None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._report()

    def advance(self, n: int = 1) -> None:
        self._done += n
        # A watcher's screen is redrawn a few times a second at most.
        if time.monotonic() - self._written > 0.1 or self._done == self._total:
            self._report()

    def note(self, text: str) -> None:
        self.write("note", text=text)

    def finish(self) -> None:
        self._report()

    def close(self) -> None:
        self._file.close()

    def _report(self) -> None:
        self._written = time.monotonic()
        self.write("progress", label=self._label, done=self._done, total=self._total)


class Together:
    """Several watchers of one job."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, label: str, total: int | None) -> None:
        for watcher in self._watchers:
            watcher.start(label, total)

    def advance(self, n: int = 1) -> None:
        for watcher in self._watchers:
            watcher.advance(n)

    def note(self, text: str) -> None:
        for watcher in self._watchers:
            watcher.note(text)

    def finish(self) -> None:
        for watcher in self._watchers:
            watcher.finish()


def _torn(path: Path) -> bool:
    """Whether the file ends amid a line: who wrote it was killed, and what comes next must not be lost with it."""
    try:
        with path.open("rb") as file:
            return file.seek(0, 2) > 0 and file.seek(-1, 2) >= 0 and file.read(1) != b"\n"
    except FileNotFoundError:
        return False


@contextmanager
def counted(progress: Progress, label: str, total: int | None) -> Iterator[None]:
    """Start counted work and finish it whatever happens."""
    progress.start(label, total)
    try:
        yield
    finally:
        progress.finish()


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines written since `offset` (bytes), and the offset to read on from. A torn last line waits
    for its end; a line that is no JSON is passed over. A missing file has no events."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events, offset + end
