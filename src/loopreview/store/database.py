"""One open database file: transactions, and errors in one line."""

import contextlib
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from loopreview.models.errors import UserError

SCHEMA = 8
"""Steps in migrations.py, which is imported only where one is pending."""
_SMALLEST = 512
"""Bytes of the smallest page, and so of the smallest database. SQLite looks at the header of anything larger."""
APPLICATION_ID = 0x6C6F6F70  # "loop": tells our files from those of other programs

Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]


class Busy(UserError):
    """Another process was writing for longer than this one waits."""


class Store:
    """A connection to a workspace's database. It belongs to the thread that opened it; open one per thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `Store.open`."""
        self.path = path
        self._connection = connection
        self._depth = 0

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False, timeout_s: float = 5.0) -> "Store":
        """Open the database at `path`, bringing an older schema up to date; with `create`, make one where none is.

        `timeout_s`: how long a write waits for another process's. Raises UserError where there is no database, or
        one that is damaged, another program's, a newer loopreview's, or that can't be read.
        """
        path = Path(path)
        _look_at(path, create)
        try:
            # isolation_level=None: the driver begins no transactions of its own.
            connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
        except sqlite3.Error as error:
            _fail(error, path)
        store = cls(connection, path)
        try:
            store._prepare(timeout_s)
        except BaseException:
            connection.close()
            raise
        return store

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that holds the write lock from its start, so that what is read in it stays true until it
        ends. Any exception undoes all of it. Nested, it is part of the outer one, and an exception that the outer
        one catches undoes the inner part alone. Never `await` inside.

        Raises Busy where another process does not let go in time.
        """
        if self._depth and not self._connection.in_transaction:
            raise sqlite3.OperationalError("the transaction was rolled back by an error before")
        point = f"nested_{self._depth}"
        self.execute(f"SAVEPOINT {point}" if self._depth else "BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self.execute(f"RELEASE {point}" if self._depth > 1 else "COMMIT")
        except BaseException:
            # A full disk rolls back by itself: then there is nothing left to undo.
            if self._connection.in_transaction:
                if self._depth > 1:
                    self._connection.execute(f"ROLLBACK TO {point}")
                    self._connection.execute(f"RELEASE {point}")
                else:
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    def data_version(self) -> int:
        """A number that changes when another connection has committed something; own writes do not change it."""
        return int(self.one("PRAGMA data_version")[0])

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement. Raises UserError for what the user or the machine caused."""
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            _fail(error, self.path)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            _fail(error, self.path)

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            _fail(error, self.path)

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row, or None."""
        try:
            row: Row | None = self._connection.execute(sql, parameters).fetchone()
            return row
        except sqlite3.Error as error:
            _fail(error, self.path)

    def one(self, sql: str, parameters: Parameters = ()) -> Row:
        """The only row of a query that always has one."""
        row = self.row(sql, parameters)
        assert row is not None, sql
        return row

    def _prepare(self, timeout_s: float) -> None:
        # FULL throughout: a commit then survives a power cut. It costs 0.2 ms, each commit but an import's goes with
        # a key press or a model call that cost money, and one setting leaves no way to get it wrong when nesting.
        for setting in ("foreign_keys = ON", "synchronous = FULL"):
            self.execute(f"PRAGMA {setting}")
        if self._schema() < SCHEMA:
            from loopreview.store import migrations

            self._use_wal(timeout_s)
            with self.writing():
                migrations.apply(self._connection)

    def _schema(self) -> int:
        """Steps this file has had; 0 for a fresh one. Raises UserError where the file is not for us."""
        application, version, tables = self.one(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
            " (SELECT count(*) FROM sqlite_master)"
        )
        if application != APPLICATION_ID and tables:
            raise UserError(f"{self.path}: is a database of another program; name the one of a workspace")
        if version > SCHEMA:
            raise UserError(
                f"{self.path}: was written by a newer loopreview (schema {version}, this one knows {SCHEMA}); "
                "update loopreview"
            )
        return int(version)

    def _use_wal(self, timeout_s: float) -> None:
        """Readers then never wait for a writer. Changing over does not wait for another process by itself."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL")
                return
            except Busy:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)


def _look_at(path: Path, create: bool) -> None:
    """Raise UserError for what SQLite would say badly, or would write over: it takes any few bytes for an empty
    database.

    The file itself is never opened here: closing it would drop the locks that this process's other connections hold
    on it (POSIX), and another process could then delete the log they write to.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if not create:
            raise UserError(f"{path}: there is no database; make a workspace with `loopreview init`") from None
        if not path.parent.is_dir():
            raise UserError(f"{path.parent}: there is no such folder; make it first") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    else:
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"{path}: is a folder, not a database; name the file")
        if 0 < found.st_size < _SMALLEST:
            raise UserError(f"{path}: {_SAID[sqlite3.SQLITE_NOTADB]}")


def _fail(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise what the user can mend as a UserError, anything else as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest a detail
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise Busy(f"{path}: another process is writing to it; try again in a moment", exit_code=3) from error
    if code in _SAID:
        raise UserError(f"{path}: {_SAID[code]}", exit_code=3 if code in _MACHINE else 2) from error
    raise error


_MACHINE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_SAID = {
    sqlite3.SQLITE_NOTADB: "is not a database; name another file, or restore it from a copy",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a copy",
    sqlite3.SQLITE_READONLY: "cannot be written; check the permissions of the file and of its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the permissions of the file and of its folder",
    sqlite3.SQLITE_PERM: "cannot be opened; check the permissions of the file and of its folder",
    sqlite3.SQLITE_FULL: "could not be written, the disk is full; free some space and try again",
    sqlite3.SQLITE_IOERR: "could not be read or written, the disk failed; check it and try again",
}
