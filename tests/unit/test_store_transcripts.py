"""Transcripts: imports, messages as they arrive, references, paging."""

import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview.models.errors import UserError
from loopreview.models.transcript import Dice, Message, Persona, Transcript, Turn
from loopreview.store import batches, transcripts
from loopreview.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        yield store


def talk(*texts: str) -> list[Message]:
    return [Message(role="assistant" if i % 2 else "user", text=text) for i, text in enumerate(texts)]


def imported(*texts: str, source: str | None = None, **more: Any) -> Transcript:
    return Transcript(id="", batch=0, number=0, origin="imported", source=source, messages=talk(*texts), **more)


def rolled(index: int = 0, exchanges: int = 2, name: str = "Marta") -> Dice:
    persona = Persona(
        id=f"p1-{index}", name=name, age_range="26-35", traits=["patient"], communication_style="direct",
        writing_style="terse", words=(30, 80), topic_seeds=[], flaws=[], trajectory="stable",
    )  # fmt: skip
    turns = [Turn(mode="engage", flaws=[])] * exchanges
    return Dice(
        seed=1, index=index, persona=persona, dimensions={}, edge_case=None, target_exchanges=exchanges, turns=turns
    )


def add(store: Store, *given: Transcript) -> list[tuple[transcripts.Head, str | None]]:
    return transcripts.add_imported(store, batches.create_imported(store).id, given)


# --- imports -----------------------------------------------------------------------------------------------------


def test_an_imported_transcript_comes_back_as_it_was_given(store: Store) -> None:
    messages = [
        Message(role="system", text="Be kind.\r\n\ttab, NUL \x00 and ESC \x1b[31m"),
        Message(role="user", text=""),
        Message(role="assistant", text="ﷺ 你好 é 🙂", tokens=3, latency_s=0.25, cost_usd=0.0, model="a/b"),
        Message(role="tool", text="{}", extra={"tool_calls": [{"id": 1, "half": "\ud83d"}], "weight": 0}),
    ]
    given = Transcript(
        id="", batch=0, number=0, origin="imported", source="a.jsonl#1", messages=messages, target_exchanges=3,
        persona={"name": "Jörg", "nested": {"list": [1, None, 2.5]}},
    )  # fmt: skip
    [(head, earlier)] = add(store, given)
    assert earlier is None
    assert transcripts.get(store, head.id) == given.model_copy(update={"id": "1-1", "batch": 1, "number": 1})
    assert transcripts.head(store, head.id) == head
    assert head[:8] == ("1-1", 1, 1, "imported", 1, False, 3, given.hash)
    assert (head.persona_name, head.source) == ("Jörg", "a.jsonl#1")


def test_a_lone_surrogate_is_replaced_and_the_hash_is_that_of_what_is_stored(store: Store) -> None:
    given = imported("a \ud800 b", "c", source="x\udcff.txt#\ud800", persona={"name": "\udc00"})
    [(head, _)] = add(store, given)
    stored = transcripts.get(store, head.id)
    assert stored.messages[0].text == "a \ufffd b"
    assert stored.hash == head.hash == transcripts.head(store, head.id).hash
    assert stored.persona == {"name": "\udc00"}
    assert add(store, given)[0][1] == "1-1"
    assert transcripts.resolve(store, "x\udcff.txt#\ud800") == transcripts.resolve(store, "\ud800") == "1-1"


def test_the_same_content_is_skipped_within_an_import_and_across_imports(store: Store) -> None:
    first = add(store, imported("a", "b", source="1"), imported("a", "b", source="2"), imported("c", "d", source="3"))
    assert [(head.source, earlier) for head, earlier in first] == [("1", None), ("2", "1-1"), ("3", None)]
    assert transcripts.ids(store) == ["1-1", "1-2"]
    second = add(store, imported("c", "d", source="4"), imported("e", "f"), imported("c", "d", persona={"name": "x"}))
    assert [earlier for _, earlier in second] == ["1-2", None, "1-2"]
    assert transcripts.ids(store, 2) == ["2-1"]
    assert [batch.count for batch in batches.listed(store)] == [2, 1]


def test_a_generated_transcript_counts_as_earlier_only_when_complete(store: Store) -> None:
    batches.create_generated(store, seed=1, generation_version="v", dice=[rolled(exchanges=2)])
    for position, message in enumerate(talk("a", "b")):
        transcripts.append_message(store, "1-1", position, message)
    assert [earlier for _, earlier in add(store, imported("a", "b"), imported())] == [None, None]
    for position, message in enumerate(talk("a", "b", "c", "d")):
        transcripts.append_message(store, "1-1", position, message)
    assert [earlier for _, earlier in add(store, imported("a", "b", "c", "d"))] == ["1-1"]


def test_more_can_be_added_to_a_batch(store: Store) -> None:
    batch = batches.create_imported(store)
    transcripts.add_imported(store, batch.id, [imported("a", "b")])
    [(head, _)] = transcripts.add_imported(store, batch.id, [imported("c", "d")])
    assert head.id == "1-2"
    assert batches.get(store, batch.id).count == 2


def test_an_import_is_read_and_stored_piece_by_piece(store: Store, tmp_path: Path) -> None:
    alive = most = stored = 0

    def freed() -> None:
        nonlocal alive
        alive -= 1

    with Store.open(tmp_path / "loopreview.db", timeout_s=0.05) as other:

        def many() -> Iterator[Transcript]:
            nonlocal alive, most, stored
            for number in range(3000):
                transcript = imported(f"question {number}", "answer", source=f"f#{number}")
                weakref.finalize(transcript, freed)
                alive += 1
                most = max(most, alive)
                if number == 2999:
                    stored = len(transcripts.ids(other))
                    batches.create_imported(other)  # another process can write meanwhile
                yield transcript
                del transcript

        added = transcripts.add_imported(store, batches.create_imported(store).id, many())
    assert len(added) == 3000 and all(earlier is None for _, earlier in added)
    assert stored >= 2000
    assert most <= 600


def test_an_import_inside_a_transaction_is_stored_whole_or_not_at_all(store: Store) -> None:
    def broken() -> Iterator[Transcript]:
        for number in range(1000):
            yield imported(str(number), "answer")
        raise UserError("line 1001: is no JSON")

    with pytest.raises(UserError), store.writing():
        transcripts.add_imported(store, batches.create_imported(store).id, broken())
    assert transcripts.ids(store) == [] and batches.listed(store) == []


# --- messages ----------------------------------------------------------------------------------------------------


def test_a_transcript_is_complete_once_its_last_rolled_exchange_is_there(store: Store) -> None:
    batches.create_generated(store, seed=1, generation_version="v", dice=[rolled(exchanges=2)])
    seen = []
    for position, message in enumerate(talk("a", "b", "c", "d")):
        transcripts.append_message(store, "1-1", position, message)
        head, whole = transcripts.head(store, "1-1"), transcripts.get(store, "1-1")
        assert (head.exchanges, head.complete, head.hash) == (len(whole.exchanges), whole.complete, whole.hash)
        seen.append((head.exchanges, head.complete, head.revision))
    assert seen == [(0, False, 1), (1, False, 2), (1, False, 3), (2, True, 4)]
    assert whole.messages == talk("a", "b", "c", "d")
    assert whole.dice == rolled(exchanges=2)
    assert whole.persona == rolled().persona.model_dump(mode="json")


def test_a_message_is_stored_once_and_in_its_place(store: Store) -> None:
    batches.create_generated(store, seed=1, generation_version="v", dice=[rolled()])
    transcripts.append_message(store, "1-1", 0, Message(role="user", text="a \ud800"))
    before = transcripts.head(store, "1-1")
    transcripts.append_message(store, "1-1", 0, Message(role="user", text="a \ud800"))
    assert transcripts.head(store, "1-1") == before
    with pytest.raises(UserError, match="another run has written message 1"):
        transcripts.append_message(store, "1-1", 0, Message(role="user", text="b"))
    with pytest.raises(ValueError, match="does not follow"):
        transcripts.append_message(store, "1-1", 2, Message(role="user", text="c"))
    with pytest.raises(ValueError, match="does not follow"):
        transcripts.append_message(store, "1-1", -1, Message(role="user", text="c"))
    assert [message.text for message in transcripts.get(store, "1-1").messages] == ["a \ufffd"]


def test_a_long_transcript_takes_one_more_message_fast(store: Store) -> None:
    batches.create_generated(store, seed=1, generation_version="v", dice=[rolled(exchanges=60)])
    text = "word " * 600
    with store.writing():
        for position in range(118):
            role = "assistant" if position % 2 else "user"
            transcripts.append_message(store, "1-1", position, Message(role=role, text=text))
    began = time.perf_counter()
    transcripts.append_message(store, "1-1", 118, Message(role="user", text=text))
    assert time.perf_counter() - began < 0.25


def test_an_unknown_transcript_is_said(store: Store) -> None:
    for act in (
        lambda: transcripts.get(store, "9-9"),
        lambda: transcripts.head(store, "9-9"),
        lambda: transcripts.heads(store, after="9-9"),
        lambda: transcripts.append_message(store, "9-9", 0, Message(role="user", text="a")),
        lambda: transcripts.resolve(store, "9-9"),
        lambda: transcripts.get(store, "\ud800"),
    ):
        with pytest.raises(UserError, match=r"there is no transcript '.*'; give an id such as 6-1"):
            act()


# --- references --------------------------------------------------------------------------------------------------


def test_a_reference_is_an_id_a_source_its_last_part_or_a_file_of_one(store: Store) -> None:
    add(
        store,
        imported("a", "1", source="chats.jsonl#20000"),
        imported("b", "1", source="chats.jsonl#20001"),
        imported("c", "1", source="notes.txt"),
        imported("d", "1", source="one.json#7"),
        imported("e", "1", source="week #3.jsonl#line 12"),
    )
    for reference, id in {
        "1-2": "1-2",
        "chats.jsonl#20001": "1-2",
        "20000": "1-1",
        "notes.txt": "1-3",
        "one.json": "1-4",
        "7": "1-4",
        "line 12": "1-5",
        "3.jsonl#line 12": "1-5",
        "week #3.jsonl#line 12": "1-5",
    }.items():
        assert transcripts.resolve(store, reference) == id, reference
    for reference in ("", "#", "chats", "2000", "jsonl#20000", "line", "12", "NOTES.TXT", "' OR 1=1 --", "x" * 100_000):
        with pytest.raises(UserError, match="there is no transcript"):
            transcripts.resolve(store, reference)


def test_our_id_comes_before_a_record_of_the_same_name(store: Store) -> None:
    add(store, imported("a", "1", source="f.jsonl#1-2"), imported("b", "1", source="f.jsonl#1-1"))
    assert transcripts.resolve(store, "1-1") == "1-1"
    assert transcripts.resolve(store, "f.jsonl#1-1") == "1-2"


def test_wildcards_in_names_stand_for_themselves(store: Store) -> None:
    add(
        store,
        imported("a", "1", source="50%.json#a_1"),
        imported("b", "1", source="500.json#ab1"),
        imported("c", "1", source="x_y.json#%"),
        imported("d", "1", source="xzy.json#*"),
        imported("e", "1", source="[a-z].json#?"),
        imported("f", "1", source="k#_%_#100%"),
    )
    for reference, id in {
        "50%.json": "1-1", "a_1": "1-1", "500.json": "1-2", "x_y.json": "1-3", "%": "1-3", "*": "1-4",
        "[a-z].json": "1-5", "?": "1-5", "_%_#100%": "1-6", "100%": "1-6",
    }.items():  # fmt: skip
        assert transcripts.resolve(store, reference) == id, reference
    for reference in ("%%", "_", "50_.json", "x%", "1__%"):
        with pytest.raises(UserError, match="there is no transcript"):
            transcripts.resolve(store, reference)


def test_a_reference_to_several_names_three_of_them(store: Store) -> None:
    add(store, *(imported(str(n), "1", source=f"a.json#{n}") for n in range(5)), imported("x", "1", source="b.json#1"))
    with pytest.raises(UserError) as error:
        transcripts.resolve(store, "a.json")
    assert str(error.value) == (
        "'a.json' names several transcripts: 1-1 ('a.json#0'), 1-2 ('a.json#1'), 1-3 ('a.json#2'), …;"
        " give the id of one"
    )
    with pytest.raises(UserError) as error:
        transcripts.resolve(store, "1")
    assert "1-2 ('a.json#1'), 1-6 ('b.json#1'); give" in str(error.value)


# --- paging ------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_in_the_order_of_batch_and_number(store: Store) -> None:
    for batch in range(11):
        add(store, *(imported(f"{batch} {n}", "answer") for n in range(12)))
    whole = [f"{batch}-{number}" for batch in range(1, 12) for number in range(1, 13)]
    assert transcripts.ids(store) == [head.id for head in transcripts.heads(store)] == whole
    paged: list[str] = []
    while page := transcripts.heads(store, after=paged[-1] if paged else None, limit=25):
        assert len(page) <= 25
        paged += [head.id for head in page]
    assert paged == whole
    assert [head.id for head in transcripts.heads(store, batch=2, after="2-10")] == ["2-11", "2-12"]
    assert [head.id for head in transcripts.heads(store, batch=10, limit=2)] == ["10-1", "10-2"]
    assert transcripts.ids(store, 11) == [f"11-{number}" for number in range(1, 13)]
    assert not transcripts.heads(store, batch=99) and not transcripts.ids(store, 99)


def test_no_query_of_a_page_or_a_reference_reads_the_whole_table(store: Store) -> None:
    asked: list[str] = []
    add(store, imported("a", "b", source="f.json#1"))
    store._connection.set_trace_callback(asked.append)
    transcripts.heads(store, after="1-1", limit=5)
    transcripts.heads(store, batch=1, limit=5)
    transcripts.get(store, "1-1")
    with pytest.raises(UserError):
        transcripts.resolve(store, "absent")
    store._connection.set_trace_callback(None)
    assert len(asked) == 10
    for sql in asked:
        steps = [row[3] for row in store.rows(f"EXPLAIN QUERY PLAN {sql}")]
        assert not [step for step in steps if "SCAN transcripts" in step and "_last_part" not in step], (sql, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step], (sql, steps)
