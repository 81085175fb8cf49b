"""Opening a database, its transactions, its schema, and what is said when something is wrong with it."""

import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.models.errors import UserError
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, events, examples, migrations, transcripts, verdicts, versions
from loopreview.store.database import SCHEMA, Busy, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        yield store


def kept(store: Store) -> list[str]:
    return [name for _, name, _ in versions.listed(store, "prompt")]


def said(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def run(code: str, *, path: Path | None = None) -> str:
    """What Python code prints in a process of its own, with `path` before all else that can be imported."""
    script = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    script += textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- importing ---------------------------------------------------------------------------------------------------


def test_opening_a_store_loads_neither_pandas_nor_numpy_and_leaves_both_importable(tmp_path: Path) -> None:
    for name in ("pandas", "numpy"):
        (tmp_path / f"{name}.py").write_text("import sys; sys.stdout.write(f'[{__name__}]'); int16 = 1\n")
    printed = run(
        f"""
        from loopreview.store import database, transcripts, migrations
        database.Store.open({str(tmp_path / "x.db")!r}, create=True).close()
        assert "sqlite_utils" in sys.modules
        print("pandas" in sys.modules, "numpy" in sys.modules)
        import numpy, pandas
        """,
        path=tmp_path,
    )
    assert printed == "False False\n[numpy][pandas]"


def test_pandas_and_numpy_that_are_loaded_already_stay_loaded(tmp_path: Path) -> None:
    for name in ("pandas", "numpy"):
        (tmp_path / f"{name}.py").write_text("def __getattr__(name):\n    return name\n")
    assert run(
        """
        import pandas, numpy
        import loopreview.store.migrations
        print(sys.modules["pandas"] is pandas, sys.modules["numpy"] is numpy)
        """,
        path=tmp_path,
    ) == "True True"  # fmt: skip


def test_opening_an_up_to_date_database_does_without_sqlite_utils(tmp_path: Path) -> None:
    Store.open(tmp_path / "x.db", create=True).close()
    assert run(
        f"""
        import sys
        from loopreview.store import batches, calls, database, events, examples, standing
        from loopreview.store import transcripts, verdicts, versions
        database.Store.open({str(tmp_path / "x.db")!r}).close()
        print("sqlite_utils" in sys.modules)
        """
    ) == "False"  # fmt: skip


# --- opening -----------------------------------------------------------------------------------------------------


def test_there_is_no_database_unless_one_is_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        Store.open(tmp_path / "loopreview.db")
    assert "there is no database" in said(error) and "loopreview init" in said(error) and error.value.exit_code == 2
    assert not (tmp_path / "loopreview.db").exists()


def test_a_folder_and_a_missing_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        Store.open(tmp_path, create=True)
    assert "is a folder" in said(error)
    with pytest.raises(UserError) as error:
        Store.open(tmp_path / "absent" / "x.db", create=True)
    assert "no such folder" in said(error)


@pytest.mark.parametrize("content", [b"id,text\n1,hello\n" * 100, b"\x89PNG" + bytes(4096), b"x"])
def test_a_file_that_is_no_database_is_said_and_stays_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        Store.open(path, create=True)
    assert "is not a database" in said(error) and str(path) in said(error) and error.value.exit_code == 2
    assert path.read_bytes() == content


def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    Store.open(path, create=True).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(UserError, match="is damaged"), Store.open(path) as store:
        batches.listed(store)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UserError) as error:
        Store.open(path, create=True)
    assert "another program" in said(error)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    with Store.open(tmp_path / "x.db") as store:
        assert batches.listed(store) == []


def test_a_newer_schema_is_said_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with Store.open(path, create=True) as store:
        store.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(UserError) as error:
        Store.open(path)
    assert "newer loopreview" in said(error) and "update loopreview" in said(error) and error.value.exit_code == 2
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)
    connection.close()


def test_making_a_database_waits_for_another_process_that_makes_it(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, other.close)
    done.start()
    with Store.open(tmp_path / "x.db", create=True) as store:
        assert store.one("PRAGMA journal_mode") == ("wal",)
    done.join()


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20d ü 'x'" / "loop?mode=memory.db"
    path.parent.mkdir()
    with Store.open(path, create=True) as store:
        batches.create_imported(store)
    with Store.open(path) as store:
        assert len(batches.listed(store)) == 1


def test_the_connection_writes_ahead_keeps_keys_and_syncs_each_commit(store: Store) -> None:
    assert store.one("PRAGMA journal_mode") == ("wal",)
    assert store.one("PRAGMA foreign_keys") == (1,)
    assert store.one("PRAGMA synchronous") == (2,)  # FULL
    with pytest.raises(sqlite3.IntegrityError):
        verdicts.join_panel_imported(store, "9-9", "gpt")


# --- schema ------------------------------------------------------------------------------------------------------


def test_the_schema_number_counts_the_migrations(store: Store) -> None:
    assert len(list(migrations.migrations._migrations)) == SCHEMA
    assert store.one("PRAGMA user_version") == (SCHEMA,)


@pytest.mark.parametrize("steps", range(1, SCHEMA))
def test_an_earlier_schema_is_brought_up_to_date_and_keeps_its_data(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "old.db"
    names = [migration.name for migration in migrations.migrations._migrations]
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.apply(connection, stop_before=names[steps])
    assert connection.execute("PRAGMA user_version").fetchone() == (steps,)
    connection.execute("INSERT INTO batches VALUES (1, 'imported', NULL, 1, NULL, '2026-01-01')")
    connection.execute(
        "INSERT INTO transcripts (id, batch, number, origin, exchanges, complete, content_hash, persona_name, source,"
        " source_id, created_at) VALUES ('1-1', 1, 1, 'imported', 1, 1, 'abc', '', 'old.jsonl#7', '7', '2026-01-01')"
    )
    connection.execute("INSERT INTO messages (transcript, position, role, text) VALUES ('1-1', 0, 'assistant', 'Hi')")
    connection.close()

    with Store.open(path) as store:
        assert store.one("PRAGMA user_version") == (SCHEMA,)
        assert transcripts.get(store, transcripts.resolve(store, "7")).messages == [
            Message(role="assistant", text="Hi")
        ]
        assert not verdicts.of(store, "1-1") and not events.of(store, "1-1") and not examples.listed(store)
    with Store.open(path) as again:
        assert [head.id for head in transcripts.heads(again)] == ["1-1"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(db: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations.migrations._migrations[-1], "fn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store.open(tmp_path / "x.db", create=True)
    monkeypatch.undo()
    connection = sqlite3.connect(tmp_path / "x.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    with Store.open(tmp_path / "x.db") as store:
        assert store.one("PRAGMA user_version") == (SCHEMA,)


# --- transactions ------------------------------------------------------------------------------------------------


def test_an_exception_undoes_the_whole_transaction(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.writing():
        versions.keep(store, "prompt", "one", name="one")
        raise KeyboardInterrupt
    assert kept(store) == []
    versions.keep(store, "prompt", "two", name="two")
    assert kept(store) == ["two"]


def test_a_nested_transaction_is_part_of_the_outer_one(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "loopreview.db") as other:
        with pytest.raises(ValueError), store.writing():
            with store.writing():
                versions.keep(store, "prompt", "one", name="one")
            assert kept(other) == []
            raise ValueError
        assert kept(store) == kept(other) == []
        with store.writing(), store.writing():
            versions.keep(store, "prompt", "two", name="two")
        assert kept(other) == ["two"]


def test_a_caught_exception_undoes_only_the_nested_part(store: Store) -> None:
    with store.writing():
        versions.keep(store, "prompt", "one", name="one")
        with pytest.raises(ValueError), store.writing():
            versions.keep(store, "prompt", "two", name="two")
            with store.writing():
                versions.keep(store, "prompt", "three", name="three")
            raise ValueError
        versions.keep(store, "prompt", "four", name="four")
    assert kept(store) == ["one", "four"]


def test_another_process_that_writes_is_waited_for_and_then_said(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with Store.open(path, create=True) as one, Store.open(path, timeout_s=0.05) as other:
        with one.writing():
            versions.keep(one, "prompt", "one", name="one")
            assert kept(other) == []  # readers do not wait
            with pytest.raises(Busy) as error:
                versions.keep(other, "prompt", "two", name="two")
        message = said(error)
        assert "another process is writing" in message and "try again" in message and error.value.exit_code == 3
        versions.keep(other, "prompt", "two", name="two")
        assert kept(one) == ["one", "two"]


def test_a_full_disk_is_said_and_nothing_of_the_transaction_stays(store: Store) -> None:
    versions.keep(store, "prompt", "before", name="before")
    pages = store.one("PRAGMA page_count")[0]
    store.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(UserError) as error, store.writing():
        versions.keep(store, "prompt", "small", name="small")
        versions.keep(store, "prompt", "x" * 100_000, name="large")
    assert "disk is full" in said(error) and error.value.exit_code == 3
    assert kept(store) == ["before"]
    store.execute(f"PRAGMA max_page_count = {pages + 1000}")
    versions.keep(store, "prompt", "after", name="after")
    assert kept(store) == ["before", "after"]


def test_a_full_disk_that_is_passed_over_still_undoes_everything(store: Store) -> None:
    store.execute(f"PRAGMA max_page_count = {store.one('PRAGMA page_count')[0] + 2}")
    with pytest.raises(sqlite3.OperationalError), store.writing():
        versions.keep(store, "prompt", "small", name="small")
        with pytest.raises(UserError, match="disk is full"):
            versions.keep(store, "prompt", "x" * 100_000, name="large")
        versions.keep(store, "prompt", "late", name="late")
    assert kept(store) == []


def test_a_mistake_in_a_statement_is_no_users_error(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.rows("SELECT * FROM photos")


def test_data_version_changes_when_another_connection_has_written(store: Store, tmp_path: Path) -> None:
    before = store.data_version()
    batches.create_imported(store)
    assert store.data_version() == before
    with Store.open(tmp_path / "loopreview.db") as other:
        batches.create_imported(other)
    assert store.data_version() != before


def test_an_old_transcript_can_be_read_while_another_connection_writes(store: Store, tmp_path: Path) -> None:
    batch = batches.create_imported(store)
    given = Transcript(id="", batch=0, number=0, origin="imported", messages=[Message(role="assistant", text="Hi")])
    transcripts.add_imported(store, batch.id, [given])
    with Store.open(tmp_path / "loopreview.db", timeout_s=0.05) as other, other.writing():
        assert transcripts.get(store, "1-1").messages == given.messages
