"""Reviewing in a real terminal that is killed, locked out, out of disk, or shared."""

import os
import pty
import re
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Verdict
from loopreview.rules.stale import imported_key
from loopreview.store import batches, events, transcripts, verdicts
from loopreview.store.database import Store
from loopreview.workspace import Workspace, init

RUBRIC = """\
name: desk
categories: {understanding: {weight: 1}}
criteria:
  - {id: U1, name: Answers what was asked, category: understanding, question: Is the question answered?}
  - {id: U2, name: Reads the unsaid, category: understanding, question: Is the feeling met?}
"""
LIMIT_S = 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two transcripts; two judges that disagree on both criteria."""
    root = init(tmp_path / "work", template="blank")
    (root / "rubrics" / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
    settings = root / "loopreview.toml"
    settings.write_text(
        f"guard = false\nsample_share = 0.0\nfull_share = 0.0\n{settings.read_text()}", encoding="utf-8"
    )
    with Workspace.open(root) as workspace:
        batch = batches.create_imported(workspace.store)
        talks = [
            Transcript(
                id="", batch=0, number=0, origin="imported", persona={"name": f"Person {n}"},
                messages=[Message(role="user", text=f"Question {n}?"), Message(role="assistant", text="Answer. " * 60)],
            )
            for n in (1, 2)
        ]  # fmt: skip
        for head, _ in transcripts.add_imported(workspace.store, batch.id, talks):
            for backend, answer in (("gpt", "NO"), ("son", "YES")):
                verdicts.join_panel_imported(workspace.store, head.id, backend)
                verdicts.add(
                    workspace.store,
                    [
                        Verdict(
                            transcript=head.id, criterion=c.id, backend=backend, answer=answer, origin="imported",
                            key=imported_key(head.hash, c, backend),
                        )
                        for c in workspace.rubric.criteria
                    ],
                )  # fmt: skip
    return root


class Terminal:
    """`loopreview review` in a pseudo-terminal of 80 by 24. `seen` is what was painted since the last key."""

    def __init__(self, root: Path, state: Path, reviewer: str = "ann", file_limit: int | None = None) -> None:
        pid, fd = pty.fork()
        if pid == 0:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            env = {"TERM": "xterm-256color", "XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state), "LINES": "24"}
            command = [sys.executable, "-m", "loopreview", "-w", str(root), "review", "--reviewer", reviewer]
            os.execve(command[0], command, {**os.environ, **env, "COLUMNS": "80"})
        self.pid, self.fd, self.seen = pid, fd, ""
        ioctl(fd, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def until(self, *words: str) -> None:
        """Wait until all of them were painted."""
        end = time.monotonic() + LIMIT_S
        raw = self.seen.encode()
        while not all(word in self.seen for word in words):
            assert time.monotonic() < end, f"not painted: {words}; there is {self.seen[-1500:]}"
            if select.select([self.fd], [], [], 0.05)[0]:
                raw += os.read(self.fd, 65536)
                self.seen = re.sub(rb"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07)", b"", raw).decode("utf-8", "replace")

    def press(self, key: str) -> None:
        while select.select([self.fd], [], [], 0.2)[0]:
            os.read(self.fd, 65536)
        self.seen = ""
        os.write(self.fd, key.encode())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(root: Path, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:

        def open_one(**more: object) -> Terminal:
            state = tmp_path / str(more.pop("state", "state"))
            found = Terminal(root, state, **more)  # type: ignore[arg-type]
            stack.callback(lambda: found.kill() if _alive(found) else None)
            found.until("y n x say", "Person")
            return found

        yield open_one


def _alive(terminal: Terminal) -> bool:
    try:
        return os.waitpid(terminal.pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def said(root: Path) -> list[tuple[str, str, str | None, str | None]]:
    with Store.open(root / "loopreview.db") as store:
        return [(e.reviewer, e.kind, e.criterion, e.answer) for e in events.all(store)]


def test_what_was_painted_when_the_program_was_killed_is_in_the_store(
    root: Path, terminal: Callable[..., Terminal]
) -> None:
    wanted = []
    for key, painted, event in (
        ("y", "false negative", ("ann", "answer", "U1", "YES")),
        ("n", "U2n", ("ann", "answer", "U2", "NO")),
        ("u", "taken back", ("ann", "undo", "U2", "NO")),
        ("R", "rejected", ("ann", "reject", None, None)),
    ):
        one = terminal(state=f"before {key}")
        one.press(key)
        one.until(painted)
        one.kill()
        wanted.append(event)
        assert said(root) == wanted


def test_the_next_session_is_where_the_killed_one_was(root: Path, terminal: Callable[..., Terminal]) -> None:
    one = terminal()
    one.press("l")
    one.until("2/2")
    time.sleep(0.6)  # the place is kept 0.3 s after the last key
    one.kill()
    assert "2/2" in terminal().seen


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Another process's write that does not end."""
    with Store.open(root / "loopreview.db") as other, other.writing():
        yield


def test_a_locked_database_is_said_and_its_key_is_not_painted(root: Path, terminal: Callable[..., Terminal]) -> None:
    one = terminal()
    with held(root):
        one.press("n")
        one.until("not saved: another process is writing")
        assert "U1n" not in one.seen
    assert said(root) == []
    one.press("n")
    one.until("U1n")
    assert said(root) == [("ann", "answer", "U1", "NO")]


def test_a_full_disk_is_said_and_its_key_is_not_painted(root: Path, terminal: Callable[..., Terminal]) -> None:
    one = terminal(file_limit=33_792)
    one.press("n")
    one.until("not saved: could not be", "disk")
    assert "U1n" not in one.seen
    one.kill()
    assert said(root) == []
    again = terminal()
    again.press("n")
    again.until("U1n")
    assert said(root) == [("ann", "answer", "U1", "NO")]


def test_two_reviewers_see_each_others_answers(root: Path, terminal: Callable[..., Terminal]) -> None:
    ann, bob = terminal(), terminal(reviewer="bob")
    ann.press("y")
    ann.until("false negative")
    bob.until("ann Y")
    bob.press("n")
    bob.until("U1n")
    ann.until("bob N")
    assert sorted(said(root)) == [("ann", "answer", "U1", "YES"), ("bob", "answer", "U1", "NO")]
