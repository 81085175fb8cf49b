"""What happens to the database when processes collide, are killed, or may not write."""

import contextlib
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, calls, events, migrations, standing, transcripts, versions
from loopreview.store.database import SCHEMA, Busy, Store

PRELUDE = """
import sys, time
from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, events, transcripts, versions
from loopreview.store.database import Store
path, name = sys.argv[1:3]

def say(text):
    print(text, flush=True)

def talks(count):
    for number in range(count):
        texts = [f"{name} {number} {position} " + "word " * 50 for position in range(6)]
        messages = [Message(role="assistant" if i % 2 else "user", text=text) for i, text in enumerate(texts)]
        yield Transcript(id="", batch=0, number=0, origin="imported", source=f"{name}#{number}", messages=messages)

def wait():
    say("ready")
    sys.stdin.readline()

"""


@contextlib.contextmanager
def process(code: str, path: Path, name: str = "child") -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(path), name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def heard(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def finished(child: subprocess.Popen[str]) -> str:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.open(tmp_path / "loopreview.db", create=True).close()
    return tmp_path / "loopreview.db"


def assert_whole(store: Store) -> None:
    """Every stored transcript is what its row says, and SQLite finds nothing wrong."""
    assert store.one("PRAGMA integrity_check") == ("ok",)
    assert store.rows("PRAGMA foreign_key_check") == []
    for head in transcripts.heads(store):
        whole = transcripts.get(store, head.id)
        assert (len(whole.exchanges), whole.complete, whole.hash) == (head.exchanges, head.complete, head.hash)
        assert len(whole.messages) == 6
    for batch in batches.listed(store):
        assert batch.count == len(transcripts.ids(store, batch.id))


# --- two at once -------------------------------------------------------------------------------------------------


def test_two_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    code = """
with Store.open(path) as store:
    wait()
    for number in range(150):
        events.append(store, Event(reviewer=name, kind="note", note=str(number)))
        with store.writing():
            seen = len(versions.listed(store, "count"))
            versions.keep(store, "count", f"{name} {number}", name=str(seen))
    transcripts.add_imported(store, batches.create_imported(store).id, talks(600))
"""
    with process(code, path, "one") as one, process(code, path, "two") as two:
        assert heard(one) == heard(two) == "ready"
        go(one)
        go(two)
        finished(one)
        finished(two)
    with Store.open(path) as store:
        log = events.all(store)
        assert [event.id for event in log] == list(range(1, 301))
        for name in ("one", "two"):
            assert [event.note for event in log if event.reviewer == name] == [str(n) for n in range(150)]
        # What is read inside a transaction stays true until it ends: no count was taken twice.
        assert [name for _, name, _ in versions.listed(store, "count")] == [str(n) for n in range(300)]
        assert sorted(len(transcripts.ids(store, batch.id)) for batch in batches.listed(store)) == [600, 600]
        assert_whole(store)


def test_processes_that_make_the_same_database_at_once_all_succeed(tmp_path: Path) -> None:
    code = """
wait()
with Store.open(path, create=True) as store:
    versions.keep(store, "prompt", name)
"""
    path = tmp_path / "new.db"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(process(code, path, str(n))) for n in range(4)]
        for child in children:
            assert heard(child) == "ready"
        for child in children:
            go(child)
        for child in children:
            finished(child)
    with Store.open(path) as store:
        assert len(versions.listed(store, "prompt")) == 4


def test_processes_that_update_the_same_old_database_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.apply(connection, stop_before="m002_verdicts")
    connection.close()
    code = """
wait()
with Store.open(path) as store:
    events.append(store, Event(reviewer=name, kind="note"))
"""
    with process(code, path, "one") as one, process(code, path, "two") as two:
        assert heard(one) == heard(two) == "ready"
        go(one)
        go(two)
        finished(one)
        finished(two)
    with Store.open(path) as store:
        assert sorted(event.reviewer for event in events.all(store)) == ["one", "two"]
        assert store.one("PRAGMA user_version") == (SCHEMA,)


def test_a_short_wait_is_said_and_a_long_one_outlasts_the_other_process(path: Path) -> None:
    code = """
with Store.open(path) as store, store.writing():
    wait()
    time.sleep(0.6)
"""
    event = Event(reviewer="me", kind="note")
    with process(code, path) as child:
        assert heard(child) == "ready"
        with Store.open(path, timeout_s=0.2) as hasty:
            began = time.monotonic()
            with pytest.raises(Busy, match="another process is writing to it; try again") as error:
                events.append(hasty, event)
            assert 0.15 < time.monotonic() - began < 2
            assert error.value.exit_code == 3
            assert events.all(hasty) == []
        with Store.open(path) as patient:
            go(child)
            assert events.append(patient, event).id == 1


# --- killed ------------------------------------------------------------------------------------------------------


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it_and_no_lock(path: Path) -> None:
    code = """
with Store.open(path) as store:
    versions.keep(store, "prompt", "before", name="before")
    with store.writing():
        store.execute("PRAGMA cache_spill = 1")
        batch = batches.create_imported(store)
        transcripts.add_imported(store, batch.id, talks(3000))
        events.append(store, Event(reviewer=name, kind="note"))
        wait()
"""
    with process(code, path) as child:
        assert heard(child) == "ready"
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
    with Store.open(path, timeout_s=0.05) as store:
        assert [name for _, name, _ in versions.listed(store, "prompt")] == ["before"]
        assert transcripts.ids(store) == [] and batches.listed(store) == [] and events.all(store) == []
        assert events.append(store, Event(reviewer="me", kind="note")).id == 1
        assert_whole(store)


def test_an_import_killed_at_any_moment_leaves_whole_transcripts_and_can_be_done_again(path: Path) -> None:
    code = """
with Store.open(path) as store:
    say("ready")
    transcripts.add_imported(store, batches.create_imported(store).id, talks(3000))
"""
    dice = random.Random(5)
    for _ in range(4):
        with process(code, path) as child:
            assert heard(child) == "ready"
            time.sleep(dice.uniform(0.02, 0.25))
            child.send_signal(signal.SIGKILL)
            child.wait(timeout=10)
        with Store.open(path) as store:
            assert_whole(store)
    with process(code, path) as child:
        finished(child)
    with Store.open(path) as store:
        assert len(transcripts.ids(store)) == 3000
        assert len({head.source for head in transcripts.heads(store)}) == 3000
        assert_whole(store)


def test_an_event_is_there_once_append_has_returned_however_the_process_ends(path: Path) -> None:
    code = """
with Store.open(path) as store:
    number = 0
    while True:
        number = events.append(store, Event(reviewer=name, kind="note")).id
        say(number)
"""
    with process(code, path) as child:
        for _ in range(50):
            last = heard(child)
        child.send_signal(signal.SIGKILL)
        out, _ = child.communicate(timeout=10)
    complete = [line for line in (last + "\n" + out).splitlines(keepends=True) if line.endswith("\n")]
    with Store.open(path) as store:
        assert len(events.all(store)) >= int(complete[-1]) >= 50


# --- may not write -----------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A database in a folder that this process, then no administrator, owns and may lock itself out of."""
    if os.geteuid():
        with tempfile.TemporaryDirectory() as folder:
            Store.open(Path(folder) / "loopreview.db", create=True).close()
            yield Path(folder) / "loopreview.db"
            os.chmod(folder, 0o700)
        return
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
        try:
            Store.open(Path(folder) / "loopreview.db", create=True).close()
            yield Path(folder) / "loopreview.db"
        finally:
            os.seteuid(0)
            os.chmod(folder, 0o700)


def test_a_read_only_file_can_be_read_and_a_write_is_said(guarded: Path) -> None:
    guarded.chmod(stat.S_IRUSR)
    with Store.open(guarded) as store:
        assert batches.listed(store) == []
        with pytest.raises(UserError, match="cannot be written; check the permissions") as error:
            batches.create_imported(store)
    assert str(guarded) in str(error.value) and error.value.exit_code == 2


def test_a_read_only_folder_is_said(guarded: Path) -> None:
    guarded.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="check the permissions") as error, Store.open(guarded) as store:
        batches.create_imported(store)
    assert str(guarded) in str(error.value)
    with pytest.raises(UserError, match="check the permissions"):
        Store.open(guarded.with_name("new.db"), create=True)


def test_an_unreadable_file_and_folder_are_said(guarded: Path) -> None:
    guarded.chmod(0)
    with pytest.raises(UserError, match=r"check (its|the) permissions"):
        Store.open(guarded)
    guarded.parent.chmod(0)
    with pytest.raises(UserError, match=r"check (its|the) permissions"):
        Store.open(guarded)


def test_a_disk_that_takes_no_more_is_said_and_what_was_stored_stays(path: Path) -> None:
    code = """
import resource
with Store.open(path) as store:
    versions.keep(store, "prompt", "before", name="before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        with store.writing():
            transcripts.add_imported(store, batches.create_imported(store).id, talks(3000))
    except UserError as error:
        say(f"{error.exit_code} {error}")
"""
    with process(code, path) as child:
        printed = finished(child)
    assert printed.startswith(f"3 {path}: could not be") and "\n" not in printed
    with Store.open(path) as store:
        assert [name for _, name, _ in versions.listed(store, "prompt")] == ["before"]
        assert batches.listed(store) == []
        assert_whole(store)


# --- large -------------------------------------------------------------------------------------------------------


def test_counting_many_transcripts_takes_one_short_query(path: Path) -> None:
    def many() -> Iterator[Transcript]:
        for number in range(20_000):
            yield Transcript(
                id="", batch=0, number=0, origin="imported", messages=[Message(role="assistant", text=f"{number}")]
            )

    with Store.open(path) as store:
        transcripts.add_imported(store, batches.create_imported(store).id, many())
        store.execute(
            "INSERT INTO standing SELECT id, 'now', 0, 1, 1, number % 2, 1, 0, NULL, 1, 0, 0, 0, 0, 0, '{}', ''"
            " FROM transcripts"
        )
        began = time.perf_counter()
        [counted] = standing.by_batch(store, "now")
        took = time.perf_counter() - began
        assert (counted.n, counted.missing, counted.passed, counted.failed) == (20_000, 0, 10_000, 10_000)
        assert took < 0.5
        last = transcripts.heads(store)[-2].id
        began = time.perf_counter()
        assert [head.id for head in transcripts.heads(store, after=last, limit=50)] == ["1-20000"]
        assert time.perf_counter() - began < 0.05


def test_a_second_store_in_this_process_does_not_cost_the_first_its_locks(tmp_path: Path) -> None:
    """Where they were lost, the next process to leave deletes the log, and commits made after it are gone."""
    path = tmp_path / "loopreview.db"
    with Store.open(path, create=True) as first:
        calls.record(first, role="a", model="m", purpose="before")
        Store.open(path).close()
        leaving = (
            "import sys; from loopreview.store.database import Store; from loopreview.store import calls;"
            "store = Store.open(sys.argv[1]); calls.cost(store); store.close()"
        )
        subprocess.run([sys.executable, "-c", leaving, str(path)], check=True)
        assert (tmp_path / "loopreview.db-wal").exists()
        calls.record(first, role="a", model="m", purpose="after")
        with Store.open(path) as second:
            assert calls.cost(second).calls == 2
