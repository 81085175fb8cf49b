"""Verdicts and panels."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Evidence, PanelMember, Verdict
from loopreview.store import batches, transcripts, verdicts
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


def verdict(criterion: str = "U1", backend: str = "gpt", answer: Any = "YES", **more: Any) -> Verdict:
    fields = {"transcript": "1-1", "key": "k", "at": "2026-01-01"} | more
    return Verdict(criterion=criterion, backend=backend, answer=answer, **fields)


def asked(backend: str, asked_as: str = "f") -> PanelMember:
    return PanelMember(backend=backend, origin="asked", asked_as=asked_as)


def revision(store: Store, id: str = "1-1") -> int:
    return transcripts.head(store, id).revision


def test_a_verdict_comes_back_as_it_was_given(store: Store) -> None:
    given = [
        verdict(
            reasoning="They didn’t. \x00",
            evidence=(
                Evidence(exchange=2, quote="“half \ud83d”", occurrence=2),
                Evidence(exchange=1, role="user", quote=""),
            ),
            counter_evidence=Evidence(exchange=3, quote="but"),
            asked_with=("U1", "U2"),
        ),
        verdict(answer="ERROR", reason="no JSON after two repairs", origin="imported"),
        verdict(answer="NA"),
    ]  # fmt: skip
    verdicts.add(store, given)
    assert verdicts.of(store, "1-1") == given
    assert verdicts.of(store, "1-2") == []


def test_lone_surrogates_in_a_judges_words_are_replaced(store: Store) -> None:
    verdicts.add(store, [verdict(reasoning="a\ud800", reason="\udfff", criterion="\ud800", backend="\ud800")])
    [stored] = verdicts.of(store, "1-1")
    assert (stored.reasoning, stored.reason, stored.criterion, stored.backend) == (
        "a\ufffd",
        "\ufffd",
        "\ufffd",
        "\ufffd",
    )


def test_a_verdict_without_a_time_gets_the_present_one(store: Store) -> None:
    verdicts.add(store, [verdict(at="")])
    assert verdicts.of(store, "1-1")[0].at.startswith("20")


def test_verdicts_pile_up_and_only_usable_ones_have_a_key(store: Store) -> None:
    verdicts.add(store, [verdict(key="a", answer="ERROR"), verdict(key="b", answer="ERROR"), verdict(key="c")])
    verdicts.add(store, [verdict(key="a", answer="NO"), verdict(key="d", transcript="1-2")])
    assert [v.key for v in verdicts.of(store, "1-1")] == ["a", "b", "c", "a"]
    assert verdicts.keys(store, "1-1") == {"a", "c"}
    assert verdicts.keys(store, "9-9") == set()


def test_verdicts_are_added_all_or_none(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        verdicts.add(store, [verdict(), verdict(transcript="9-9")])
    assert verdicts.of(store, "1-1") == []
    assert revision(store) == 0


@pytest.mark.parametrize("change", ["UPDATE verdicts SET answer = 'NO'", "DELETE FROM verdicts"])
def test_the_database_itself_refuses_to_change_a_verdict(store: Store, change: str) -> None:
    verdicts.add(store, [verdict()])
    with pytest.raises(sqlite3.IntegrityError, match="only appended"):
        store.execute(change)
    assert [v.answer for v in verdicts.of(store, "1-1")] == ["YES"]


def test_a_panel_replaces_those_asked_and_keeps_the_imported_ones(store: Store) -> None:
    verdicts.join_panel_imported(store, "1-1", "old")
    verdicts.begin_panel(store, "1-1", [asked("son"), asked("gpt")])
    old = PanelMember(backend="old", origin="imported")
    assert verdicts.panel(store, "1-1") == [asked("son"), asked("gpt"), old]
    verdicts.begin_panel(store, "1-1", [asked("gpt", "changed")])
    assert verdicts.panel(store, "1-1") == [asked("gpt", "changed"), old]
    verdicts.begin_panel(store, "1-1", [])
    assert verdicts.panel(store, "1-1") == [old]
    assert verdicts.panel(store, "1-2") == []


def test_a_panel_can_be_begun_with_the_one_that_was_read(store: Store) -> None:
    verdicts.join_panel_imported(store, "1-1", "old")
    verdicts.begin_panel(store, "1-1", [asked("gpt")])
    before = verdicts.panel(store, "1-1")
    verdicts.begin_panel(store, "1-1", before)
    assert verdicts.panel(store, "1-1") == before


def test_a_backend_that_is_imported_and_asked_is_one_member_and_stays_imported_afterwards(store: Store) -> None:
    verdicts.join_panel_imported(store, "1-1", "gpt")
    verdicts.begin_panel(store, "1-1", [asked("gpt")])
    assert verdicts.panel(store, "1-1") == [asked("gpt")]
    verdicts.begin_panel(store, "1-1", [asked("son")])
    assert [member.backend for member in verdicts.panel(store, "1-1")] == ["son", "gpt"]


def test_the_revision_grows_with_each_change_and_only_then(store: Store) -> None:
    seen = [revision(store)]
    acts: list[Callable[[], None]] = [
        lambda: verdicts.add(store, [verdict(), verdict(criterion="U2")]),
        lambda: verdicts.begin_panel(store, "1-1", [asked("gpt")]),
        lambda: verdicts.begin_panel(store, "1-1", [asked("gpt")]),
        lambda: verdicts.join_panel_imported(store, "1-1", "old"),
        lambda: verdicts.join_panel_imported(store, "1-1", "old"),
        lambda: verdicts.add(store, []),
    ]
    for act in acts:
        act()
        seen.append(revision(store))
    assert seen == [0, 1, 2, 2, 3, 3, 3]
    assert revision(store, "1-2") == 0
