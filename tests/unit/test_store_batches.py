"""Batches, and the versions that they were made with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.transcript import Dice, Message, Persona
from loopreview.store import batches, transcripts, versions
from loopreview.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        yield store


def rolled(index: int, name: str = "Marta") -> Dice:
    persona = Persona(
        id=f"p1-{index}", name=name, age_range="26-35", traits=[], communication_style="direct", writing_style="terse",
        words=(30, 80), topic_seeds=[], flaws=[], trajectory="stable",
    )  # fmt: skip
    return Dice(seed=1, index=index, persona=persona, dimensions={}, edge_case=None, target_exchanges=1, turns=[])


def generated(store: Store, seed: int = 1, version: str = "v1", count: int = 2) -> batches.Batch:
    dice = [rolled(index) for index in range(count)]
    return batches.create_generated(store, seed=seed, generation_version=version, dice=dice)


def finish(store: Store, batch: int) -> None:
    for id in transcripts.ids(store, batch):
        transcripts.append_message(store, id, 0, Message(role="user", text="a"))
        transcripts.append_message(store, id, 1, Message(role="assistant", text="b"))


def test_a_generated_batch_has_its_transcripts_with_their_dice_from_the_start(store: Store) -> None:
    batch = batches.create_generated(store, seed=7, generation_version="v", dice=[rolled(0, "Marta"), rolled(1, "Dee")])
    assert batch[:5] == (1, "generated", 7, 2, "v")
    heads = transcripts.heads(store, batch=1)
    assert [(h.id, h.persona_name, h.exchanges, h.complete, h.target_exchanges) for h in heads] == [
        ("1-1", "Marta", 0, False, 1),
        ("1-2", "Dee", 0, False, 1),
    ]
    assert transcripts.get(store, "1-2").dice == rolled(1, "Dee")
    assert heads[0].hash == transcripts.get(store, "1-1").hash


def test_batches_are_listed_oldest_first_and_got_by_their_number(store: Store) -> None:
    made = [generated(store), batches.create_imported(store), generated(store, seed=2)]
    assert batches.listed(store) == made
    assert made[1][1:5] == ("imported", None, 0, None)
    assert batches.get(store, 2) == made[1]
    for absent in (0, 4, -1, 2**80):
        with pytest.raises(UserError, match=f"there is no batch {absent};"):
            batches.get(store, absent)


def test_a_batch_is_found_by_seed_count_and_version(store: Store) -> None:
    batch = generated(store, seed=2**80, version="v1", count=2)
    generated(store, seed=3, version="v1", count=2)
    assert batches.find(store, seed=2**80, count=2, generation_version="v1") == batch
    assert batches.get(store, batch.id).seed == 2**80
    assert batches.find(store, seed=2**80, count=3, generation_version="v1") is None
    assert batches.find(store, seed=2**80, count=2, generation_version="v2") is None
    assert batches.find(store, seed=4, count=2, generation_version="v1") is None


def test_the_oldest_unfinished_batch_of_a_version_comes_first(store: Store) -> None:
    generated(store, seed=1, version="other")
    first, second = generated(store, seed=2), generated(store, seed=3)
    assert batches.unfinished(store, "v1") == first
    finish(store, first.id)
    assert batches.unfinished(store, "v1") == second
    finish(store, second.id)
    assert batches.unfinished(store, "v1") is None


def test_an_import_is_never_an_unfinished_batch(store: Store) -> None:
    batches.create_imported(store)
    assert batches.unfinished(store, "") is None


def test_a_version_is_kept_once_under_the_hash_of_its_text(store: Store) -> None:
    first = versions.keep(store, "prompt", "Be kind.\r\n", name="assistant")
    assert first == content_hash("Be kind.\r\n")
    before = store.one("SELECT total_changes()")
    assert versions.keep(store, "prompt", "Be kind.\r\n", name="assistant") == first
    assert store.one("SELECT total_changes()") == before
    versions.keep(store, "prompt", "Be kind.\r\n", name="system")
    versions.keep(store, "rubric", "Be kind.\r\n")
    second = versions.keep(store, "prompt", "Be brief.", name="assistant")
    assert versions.get(store, first) == "Be kind.\r\n"
    assert [(hash, name) for hash, name, _ in versions.listed(store, "prompt")] == [
        (first, "assistant"),
        (first, "system"),
        (second, "assistant"),
    ]
    assert versions.get(store, "0" * 16) is None
    assert versions.listed(store, "nothing") == []


def test_a_version_with_a_lone_surrogate_is_kept(store: Store) -> None:
    hash = versions.keep(store, "prompt", "a\ud800", name="\udcff")
    assert versions.keep(store, "prompt", "a\ud800", name="\udcff") == hash
    assert versions.get(store, hash) == "a\ufffd"
