"""Splits: whole groups, by hash, never moved."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.errors import UserError
from loopreview.rules.splits import SPLITS, grouped, leaks, persona_key, placed

ids = st.integers(1, 400).map(lambda n: f"1-{n}")
personas = st.dictionaries(ids, st.none() | st.sampled_from([f"id p{n}" for n in range(12)]), max_size=60)
near = st.lists(st.frozensets(ids, min_size=2, max_size=4), max_size=6)


@given(personas, near)
def test_no_persona_and_no_near_duplicates_are_in_two_splits(
    personas: dict[str, str | None], near: list[frozenset[str]]
) -> None:
    groups = grouped(personas, near)
    if len(set(groups.values())) < 3:
        with pytest.raises(UserError, match="missing"):
            placed(groups)
        return
    splits = placed(groups)
    assert set(splits) == set(personas) and set(splits.values()) == set(SPLITS)
    assert leaks(splits, personas, near) == []


@given(personas, st.integers(0, 60))
def test_adding_transcripts_moves_none(personas: dict[str, str | None], cut: int) -> None:
    # with enough groups no split is empty by itself, and nothing is moved to fill it
    many = {f"0-{n}": None for n in range(120)}
    few = {**many, **dict(list(personas.items())[:cut])}
    all_of_them = {**few, **personas}
    before, after = placed(grouped(few, [])), placed(grouped(all_of_them, []))
    assert {id: after[id] for id in before} == before


def test_a_near_duplicate_added_later_goes_where_the_earlier_one_is() -> None:
    first = {f"1-{n}": None for n in range(100)}
    before = placed(grouped(first, []))
    for n in range(100):
        after = placed(grouped({**first, "2-1": "id new"}, [{f"1-{n}", "2-1"}]))
        assert after["2-1"] == before[f"1-{n}"]
        assert {id: after[id] for id in before} == before


def test_a_group_is_named_by_its_oldest_member() -> None:
    assert grouped({"1-9": None, "1-10": None}, [{"1-10", "1-9"}]) == dict.fromkeys(("1-9", "1-10"), "transcript 1-9")


def test_groups_hang_together_through_personas_and_near_duplicates() -> None:
    groups = grouped({"1-1": "id a", "1-2": "id a", "1-3": None, "1-4": "id b", "1-5": None}, [{"1-2", "1-3", "9-9"}])
    assert groups["1-1"] == groups["1-2"] == groups["1-3"]
    assert len(set(groups.values())) == 3


def test_the_shares_are_eighty_ten_and_ten() -> None:
    counts = Counter(placed(grouped({f"1-{n}": None for n in range(20_000)}, [])).values())
    assert abs(counts["train"] / 20_000 - 0.8) < 0.01
    assert abs(counts["valid"] / 20_000 - 0.1) < 0.01
    assert abs(counts["test"] / 20_000 - 0.1) < 0.01


@pytest.mark.parametrize("count", range(3, 30))
def test_no_split_is_empty_from_three_groups_on(count: int) -> None:
    for start in range(0, 200, 20):
        splits = placed(grouped({f"{start}-{n}": None for n in range(count)}, []))
        assert set(splits.values()) == set(SPLITS)


@pytest.mark.parametrize(("count", "missing"), [(1, "2 more are missing"), (2, "1 more is missing")])
def test_too_few_groups_say_how_many_are_missing(count: int, missing: str) -> None:
    with pytest.raises(UserError, match=missing):
        placed(grouped({f"1-{n}": None for n in range(count)}, []))
    with pytest.raises(UserError, match="2 more are missing"):
        placed(grouped({f"1-{n}": "id same" for n in range(50)}, []))


def test_what_would_leak_is_named() -> None:
    splits = {"1-1": "train", "1-2": "test", "1-3": "valid", "1-4": "train"}
    assert leaks(splits, {"1-1": "id a", "1-2": "id a"}, []) == ["persona id a: 1-1 in train, 1-2 in test"]
    assert leaks(splits, {}, [{"1-3", "1-4"}]) == ["near duplicates 1: 1-3 in valid, 1-4 in train"]
    assert leaks({"1-1": "train"}, {}, []) == ["valid is empty", "test is empty"]


def test_a_persona_is_told_by_its_id_else_by_what_it_is() -> None:
    assert persona_key(None) is None and persona_key({}) is None
    assert persona_key({"id": "p1", "name": "Nia"}) == persona_key({"id": "p1", "name": "Ben"}) == "id p1"
    assert persona_key({"id": 7}) == persona_key({"id": "7"})
    assert persona_key({"name": "Nia"}) == persona_key({"name": "Nia"}) != persona_key({"name": "Ben"})
    assert persona_key({"id": " "}) != persona_key({"id": ""}), "an empty id is none"
