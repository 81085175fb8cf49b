"""The reviewers' log."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.store import batches, events, transcripts
from loopreview.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        batch = batches.create_imported(store)
        given = [
            Transcript(id="", batch=0, number=0, origin="imported", messages=[Message(role="assistant", text=text)])
            for text in ("one", "two")
        ]
        transcripts.add_imported(store, batch.id, given)
        yield store


def answer(transcript: str = "1-1", answer: Any = "YES", reviewer: str = "ana", **more: Any) -> Event:
    return Event(reviewer=reviewer, kind="answer", transcript=transcript, criterion="U1", answer=answer, **more)


def test_an_event_comes_back_as_it_was_given_numbered_and_timed(store: Store) -> None:
    before = datetime.now(UTC)
    given = answer(
        merged="INVALID_NA",
        blind=True,
        transcript_hash="h",
        rubric_version="r",
        criterion_version="c",
        shown_because="doubt",
        note="“so” \x00 🙂",
        data={"answered": ["U1"], "share_shown": 0.5, "half": "\ud83d"},
    )
    stored = events.append(store, given)
    assert stored == given.model_copy(update={"id": 1, "at": stored.at})
    assert before <= datetime.fromisoformat(stored.at) <= datetime.now(UTC)
    assert len(stored.at) == len("2026-01-01T00:00:00.000000+00:00")
    assert events.of(store, "1-1") == events.all(store) == [stored]


def test_lone_surrogates_in_names_and_notes_are_replaced(store: Store) -> None:
    events.append(store, answer(reviewer="ana\udcff", note="\ud800"))
    [stored] = events.log(store, reviewer="ana\udcff")
    assert (stored.reviewer, stored.note) == ("ana\ufffd", "\ufffd")


def test_events_are_numbered_in_their_order_and_all_or_none_stay(store: Store) -> None:
    made = events.append_many(store, (answer(reviewer=name, at="2026-01-01") for name in "abc"))
    assert [(event.id, event.reviewer, event.at) for event in made] == [
        (1, "a", "2026-01-01"),
        (2, "b", "2026-01-01"),
        (3, "c", "2026-01-01"),
    ]
    with pytest.raises(sqlite3.IntegrityError):
        events.append_many(store, [answer(), answer(transcript="9-9")])
    assert events.all(store) == made
    assert events.append_many(store, []) == []


@pytest.mark.parametrize("change", ["UPDATE events SET answer = 'NO'", "DELETE FROM events", "REPLACE INTO events "
                         "(id, at, reviewer, kind, blind, origin) VALUES (1, '', '', 'note', 0, 'typed')"])  # fmt: skip
def test_the_database_itself_refuses_to_change_an_event(store: Store, change: str) -> None:
    stored = events.append(store, answer())
    with pytest.raises(sqlite3.IntegrityError, match="only appended"):
        store.execute(change)
    assert events.all(store) == [stored]


def test_the_log_is_the_last_events_oldest_first(store: Store) -> None:
    for number in range(6):
        events.append(store, answer(f"1-{number % 2 + 1}", reviewer="ana" if number < 4 else "bob"))
    assert [event.id for event in events.log(store)] == [1, 2, 3, 4, 5, 6]
    assert [event.id for event in events.log(store, limit=2)] == [5, 6]
    assert [event.id for event in events.log(store, reviewer="ana", limit=3)] == [2, 3, 4]
    assert [event.id for event in events.log(store, transcript="1-1")] == [1, 3, 5]
    assert [event.id for event in events.log(store, transcript="1-1", reviewer="bob")] == [5]
    assert events.log(store, limit=0) == events.log(store, reviewer="eve") == []
    assert events.reviewed(store) == ["1-1", "1-2"]


def test_an_undo_belongs_to_what_its_target_belongs_to(store: Store) -> None:
    said = events.append(store, answer("1-2"))
    content = events.append(store, Event(reviewer="ana", kind="content", batch=1, data={"yes": True}))
    events.append(store, Event(reviewer="ana", kind="undo", target=content.id))
    undone = events.append(store, Event(reviewer="ana", kind="undo", target=said.id))
    events.append(store, Event(reviewer="ana", kind="redo", target=undone.id))
    assert [event.kind for event in events.of(store, "1-2")] == ["answer", "undo", "redo"]
    assert [(event.kind, event.target) for event in events.of_batches(store)] == [("content", None), ("undo", 2)]
    assert events.of(store, "1-1") == []
    assert transcripts.head(store, "1-2").revision == 3


def test_each_event_of_a_transcript_raises_its_revision(store: Store) -> None:
    events.append_many(store, [answer(), answer()])
    events.append(store, answer())
    events.append(store, Event(reviewer="ana", kind="content", batch=1))
    assert transcripts.head(store, "1-1").revision == 2
    assert transcripts.head(store, "1-2").revision == 0


def test_an_event_is_seen_by_another_connection_at_once(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "loopreview.db") as other:
        stored = events.append(store, answer())
        assert events.all(other) == [stored]
