"""The schema, step by step. A step that was ever shipped is never edited: a change is a new step.

`database.SCHEMA` counts the steps; `PRAGMA user_version` of a file says how many it has had.
"""

import sqlite3

from loopreview.store.database import APPLICATION_ID
from loopreview.store.sqlite_utils_alone import Database, Migrations

migrations = Migrations("loopreview")


def apply(connection: sqlite3.Connection, stop_before: str | None = None) -> None:
    """Apply the pending steps inside the transaction that is open on `connection`."""
    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    migrations.apply(database, stop_before=stop_before)
    connection.execute(f"PRAGMA user_version = {len(migrations.applied(database))}")


def _run(db: Database, script: str) -> None:
    """Statements of `script`, separated by blank lines; `executescript` of the driver would commit."""
    for statement in script.split("\n\n"):
        db.conn.execute(statement)


@migrations()
def m001_transcripts(db: Database) -> None:
    db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    # The wide columns come last, so that a list of heads does not read through them.
    _run(
        db,
        """
        CREATE TABLE versions (
            hash TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, created_at TEXT NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (hash, kind, name)
        )

        CREATE TABLE batches (
            id INTEGER PRIMARY KEY,
            origin TEXT NOT NULL CHECK (origin IN ('generated', 'imported')),
            seed TEXT,  -- text, since a seed may be a larger number than SQLite's integers
            count INTEGER NOT NULL, generation_version TEXT, created_at TEXT NOT NULL
        )

        CREATE TABLE transcripts (
            id TEXT PRIMARY KEY NOT NULL,
            batch INTEGER NOT NULL REFERENCES batches (id),
            number INTEGER NOT NULL,
            origin TEXT NOT NULL,
            exchanges INTEGER NOT NULL, complete INTEGER NOT NULL, target_exchanges INTEGER,
            content_hash TEXT NOT NULL,
            revision INTEGER NOT NULL DEFAULT 0,  -- counts the writes that change what is derived from it
            persona_name TEXT NOT NULL, source TEXT, source_id TEXT,
            created_at TEXT NOT NULL,
            persona TEXT, dice TEXT,
            UNIQUE (batch, number)
        )

        CREATE INDEX transcripts_by_content ON transcripts (content_hash)

        CREATE INDEX transcripts_by_source ON transcripts (source) WHERE source IS NOT NULL

        CREATE INDEX transcripts_by_source_id ON transcripts (source_id) WHERE source_id IS NOT NULL

        CREATE INDEX transcripts_by_last_part ON transcripts (source) WHERE source LIKE '%#%#%'

        CREATE INDEX transcripts_by_revision ON transcripts (batch, number, id, revision, complete)

        CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            transcript TEXT NOT NULL REFERENCES transcripts (id),
            position INTEGER NOT NULL,  -- from 0
            role TEXT NOT NULL, text TEXT NOT NULL,
            tokens INTEGER, latency_s REAL, cost_usd REAL, model TEXT, extra TEXT,
            UNIQUE (transcript, position)
        )
        """,
    )


@migrations()
def m002_verdicts(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY,
            transcript TEXT NOT NULL REFERENCES transcripts (id),
            criterion TEXT NOT NULL, backend TEXT NOT NULL,
            answer TEXT NOT NULL CHECK (answer IN ('YES', 'NO', 'NA', 'ERROR')),
            key TEXT NOT NULL, origin TEXT NOT NULL, at TEXT NOT NULL, reason TEXT, reasoning TEXT NOT NULL,
            evidence TEXT, counter_evidence TEXT, asked_with TEXT
        )

        CREATE INDEX verdicts_by_transcript ON verdicts (transcript, answer, key)

        CREATE TRIGGER verdicts_are_not_edited BEFORE UPDATE ON verdicts
        BEGIN SELECT RAISE(ABORT, 'verdicts are only appended'); END

        CREATE TRIGGER verdicts_are_not_replaced BEFORE INSERT ON verdicts
        WHEN EXISTS (SELECT 1 FROM verdicts WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'verdicts are only appended'); END

        CREATE TRIGGER verdicts_are_not_deleted BEFORE DELETE ON verdicts
        BEGIN SELECT RAISE(ABORT, 'verdicts are only appended'); END

        CREATE TABLE panels (
            id INTEGER PRIMARY KEY,
            transcript TEXT NOT NULL REFERENCES transcripts (id),
            backend TEXT NOT NULL,
            origin TEXT NOT NULL CHECK (origin IN ('asked', 'imported')),
            asked_as TEXT NOT NULL,
            UNIQUE (transcript, origin, backend)
        )
        """,
    )


@migrations()
def m003_events(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL, reviewer TEXT NOT NULL, kind TEXT NOT NULL,
            transcript TEXT REFERENCES transcripts (id),
            batch INTEGER REFERENCES batches (id),
            criterion TEXT, answer TEXT, merged TEXT, blind INTEGER NOT NULL, origin TEXT NOT NULL,
            target INTEGER REFERENCES events (id),
            transcript_hash TEXT, rubric_version TEXT, criterion_version TEXT, shown_because TEXT, note TEXT, data TEXT
        )

        CREATE INDEX events_by_transcript ON events (transcript) WHERE transcript IS NOT NULL

        CREATE INDEX events_by_batch ON events (batch) WHERE batch IS NOT NULL

        CREATE INDEX events_by_reviewer ON events (reviewer)

        CREATE TRIGGER events_are_not_edited BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'review events are only appended'); END

        CREATE TRIGGER events_are_not_replaced BEFORE INSERT ON events
        WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'review events are only appended'); END

        CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'review events are only appended'); END
        """,
    )


@migrations()
def m004_examples(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE examples (
            id INTEGER PRIMARY KEY,
            criterion TEXT NOT NULL, body TEXT NOT NULL, reviewer TEXT NOT NULL,
            added_at TEXT NOT NULL, removed_at TEXT
        )
        """,
    )


@migrations()
def m005_calls(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE calls (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
            batch INTEGER, transcript TEXT,
            tokens_in INTEGER, tokens_out INTEGER, cost_usd REAL, latency_s REAL
        )

        CREATE INDEX calls_by_batch ON calls (batch, cost_usd)
        """,
    )


@migrations()
def m006_standing(db: Database) -> None:
    # The bodies have a table of their own: counting reads only the narrow rows.
    _run(
        db,
        """
        CREATE TABLE standing (
            transcript TEXT PRIMARY KEY NOT NULL REFERENCES transcripts (id),
            context TEXT NOT NULL, revision INTEGER NOT NULL,
            judged INTEGER, judged_score REAL, passed INTEGER, score REAL, unscored INTEGER NOT NULL, decision TEXT,
            false_positive INTEGER NOT NULL, false_negative INTEGER NOT NULL, na INTEGER NOT NULL,
            gaps INTEGER NOT NULL,
            transcript_false_positive INTEGER NOT NULL, transcript_false_negative INTEGER NOT NULL,
            rules TEXT NOT NULL
        ) WITHOUT ROWID

        CREATE TABLE assessments (
            transcript TEXT PRIMARY KEY NOT NULL REFERENCES transcripts (id),
            body TEXT NOT NULL
        )
        """,
    )


@migrations()
def m007_search(db: Database) -> None:
    # The index holds places of words only: the texts stay in `messages`. New ones are added by transcripts.py, many at
    # once: a trigger for each would make an import take two and a half times as long.
    _run(
        db,
        """
        CREATE VIRTUAL TABLE message_words USING fts5 (
            text, content = 'messages', content_rowid = 'id', columnsize = 0,
            tokenize = 'unicode61 remove_diacritics 2'
        )

        INSERT INTO message_words (message_words) VALUES ('rebuild')

        CREATE TRIGGER messages_leave_the_index AFTER DELETE ON messages
        BEGIN INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', OLD.id, OLD.text); END

        CREATE TRIGGER messages_are_indexed_anew AFTER UPDATE OF text ON messages
        BEGIN
            INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', OLD.id, OLD.text);
            INSERT INTO message_words (rowid, text) VALUES (NEW.id, NEW.text);
        END

        CREATE INDEX events_by_blame ON events (id) WHERE kind IN ('blame', 'undo', 'redo')

        CREATE INDEX events_by_decision ON events (reviewer, id) WHERE kind IN ('approve', 'reject', 'undo', 'redo')

        ALTER TABLE standing ADD COLUMN letters TEXT NOT NULL DEFAULT ''

        DELETE FROM standing
        """,
    )


@migrations()
def m008_revocations(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE revocations (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL,
            transcript TEXT NOT NULL REFERENCES transcripts (id),
            reviewer TEXT NOT NULL,
            revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),  -- 0 takes an earlier one back
            reason TEXT
        )

        CREATE TRIGGER revocations_are_not_edited BEFORE UPDATE ON revocations
        BEGIN SELECT RAISE(ABORT, 'revocations are only appended'); END

        CREATE TRIGGER revocations_are_not_replaced BEFORE INSERT ON revocations
        WHEN EXISTS (SELECT 1 FROM revocations WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'revocations are only appended'); END

        CREATE TRIGGER revocations_are_not_deleted BEFORE DELETE ON revocations
        BEGIN SELECT RAISE(ABORT, 'revocations are only appended'); END
        """,
    )
