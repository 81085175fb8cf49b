"""Finding transcripts by their words."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, search, transcripts
from loopreview.store.database import SCHEMA, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        texts = (
            ("The rent is due on Monday.", "Write it down."),
            ("My café closed, and the rent doubled!", 'She said "pay now" AND OR NOT'),
            ("漢字の文章です", "[/foo] ' -- * : ^ ( )"),
        )
        for batch in (texts[:2], texts[2:]):
            given = [
                Transcript(
                    id="", batch=0, number=0, origin="imported",
                    messages=[Message(role="user", text=a), Message(role="assistant", text=b)],
                )
                for a, b in batch
            ]  # fmt: skip
            transcripts.add_imported(store, batches.create_imported(store).id, given)
        yield store


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rent", ["1-1", "1-2"]),
        ("RENT cafe", ["1-2"]),
        ("rent down", []),  # not in one message
        ("mon", ["1-1"]),
        ('"mon"', []),  # quoted: a whole word
        ('"rent is due"', ["1-1"]),
        ('"due rent"', []),
        ("漢字", ["2-1"]),
        ("AND OR NOT", ["1-2"]),
        ("foo", ["2-1"]),
        ('"', []),
        ("* ( ) : ^ ' --", []),
        ("text:rent", []),
        ("rent OR nothing", []),
        ("", []),
        ("\ud800", []),
    ],
)
def test_words_are_words_and_never_operators(store: Store, words: str, found: list[str]) -> None:
    assert search.transcripts_with(store, words) == found


def test_a_search_is_of_all_or_of_one_batch_and_has_a_limit(store: Store) -> None:
    assert search.transcripts_with(store, "rent", batch=1) == ["1-1", "1-2"]
    assert search.transcripts_with(store, "rent", batch=2) == []
    assert search.transcripts_with(store, "rent", limit=1) == ["1-1"]


def test_a_message_is_found_as_soon_as_it_is_stored(store: Store) -> None:
    transcripts.append_message(store, "1-1", 2, Message(role="user", text="a zebra"))
    assert search.transcripts_with(store, "zebra") == ["1-1"]


def test_the_index_follows_a_text_that_is_changed_or_removed(store: Store) -> None:
    with store.writing():
        store.execute("UPDATE messages SET text = 'the zebra' WHERE transcript = '1-1' AND position = 0")
    assert search.transcripts_with(store, "zebra") == ["1-1"] and search.transcripts_with(store, "monday") == []
    with store.writing():
        store.execute("DELETE FROM messages WHERE transcript = '1-1'")
    assert search.transcripts_with(store, "zebra") == []
    store.execute("INSERT INTO message_words (message_words) VALUES ('integrity-check')")


def test_an_older_database_is_indexed_when_it_is_opened(store: Store) -> None:
    for name in ("leave_the_index", "are_indexed_anew"):
        store.execute(f"DROP TRIGGER messages_{name}")
    for drop in ("TABLE message_words", "INDEX events_by_blame", "INDEX events_by_decision"):
        store.execute(f"DROP {drop}")
    store.execute("ALTER TABLE standing DROP COLUMN letters")
    store.execute("DELETE FROM _sqlite_migrations WHERE name = 'm007_search'")
    store.execute("PRAGMA user_version = 6")
    path = store.path
    store.close()
    with Store.open(path) as again:
        assert search.transcripts_with(again, "rent") == ["1-1", "1-2"]
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (SCHEMA,)
