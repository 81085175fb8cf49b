"""Calibration examples and the record of model calls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopreview.models.errors import UserError
from loopreview.models.rubric import Example
from loopreview.store import calls, examples
from loopreview.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "loopreview.db", create=True) as store:
        yield store


def example(response: str = "Sure!", origin: str | None = "1-1") -> Example:
    return Example(label="BORDERLINE_FAIL", context="c\ud800", response=response, reasoning="why", origin=origin)


def test_examples_come_back_by_criterion_in_the_order_they_were_added(store: Store) -> None:
    numbers = [examples.add(store, name, example(name), "ana") for name in ("U1", "T2", "U1")]
    assert examples.listed(store) == [
        (numbers[0], "U1", example("U1")),
        (numbers[1], "T2", example("T2")),
        (numbers[2], "U1", example("U1")),
    ]
    assert [id for id, _, _ in examples.listed(store, "U1")] == [numbers[0], numbers[2]]
    assert examples.listed(store, "X9") == []


def test_a_removed_example_is_not_used_but_not_lost_and_its_number_is_not_given_again(store: Store) -> None:
    first, second = (examples.add(store, "U1", example(text), "ana") for text in "ab")
    examples.remove(store, second)
    assert [id for id, _, _ in examples.listed(store)] == [first]
    assert examples.add(store, "U1", example("c"), "ana") not in (first, second)
    assert store.one("SELECT count(*) FROM examples") == (3,)


def test_removing_an_example_that_is_not_there_is_said(store: Store) -> None:
    number = examples.add(store, "U1", example(), "ana")
    examples.remove(store, number)
    for absent in (number, 99, -1, 2**80):
        with pytest.raises(UserError, match=f"there is no example {absent};"):
            examples.remove(store, absent)


def test_the_cost_names_calls_without_a_price_apart(store: Store) -> None:
    assert calls.cost(store) == (0.0, 0, 0)
    calls.record(store, "gpt", "openai/x", "judge", 1, "1-1", 100, 20, 0.25, 1.5)
    calls.record(store, "gpt", "openai/x", "judge", 1, "1-1", 200, 40, 0.5, 2.5)
    calls.record(store, "son", "ollama/y", "judge", 2, "2-1", 50, None, None, None)
    calls.record(store, role="gpt", model="openai/x", purpose="rubric test", cost_usd=0.0)
    assert calls.cost(store) == (0.75, 1, 4)
    assert calls.cost(store, 1) == (0.75, 0, 2)
    assert calls.cost(store, 2) == (0.0, 1, 1)
    assert calls.cost(store, 3) == (0.0, 0, 0)
