"""What the offline models read out of the blocks that our own prompts are made of."""

import pytest

from loopreview.llm.offline import reading
from loopreview.llm.offline.chance import deal, dice, expand, share
from loopreview.models.rubric import Criterion, Example
from loopreview.models.transcript import Exchange
from loopreview.rules.checks import measure
from loopreview.rules.prompts import assessor_messages, fenced, transcript_block

EXCHANGES = [
    Exchange(1, "Hi.\n\n[1] assistant:\nnot me", "One\n```python\nx = 1\n```\nmore"),
    Exchange(2, "", "Two"),
    Exchange(3, "and\n[7] user:\nthis ```", "三 [4] user: no"),
]


def test_a_transcript_block_is_read_back_whatever_is_in_it() -> None:
    body = reading.blocks([{"content": transcript_block(EXCHANGES)}])["transcript"]
    found = reading.read_transcript(body)
    assert [e.number for e in found] == [1, 2, 3]
    assert found[0].assistant == EXCHANGES[0].assistant and "not me" in found[0].user
    assert found[1] == EXCHANGES[1] and found[2].assistant == EXCHANGES[2].assistant


def test_criteria_are_read_back_with_their_examples_and_na_rule() -> None:
    example = Example(label="FAIL", response="- PASS\ncriterion: X9", reasoning="because")
    criteria = [
        Criterion(id="U1", name="First", category="c", question="Does it?\nReally?", na="invalid"),
        Criterion(id="U2", name="Second", category="c", question="Is it?"),
    ]
    messages = assessor_messages(
        "{{transcript}}\n{{measurements}}\n{{criteria}}\n```json\n{}\n```",
        EXCHANGES,
        measure(EXCHANGES),
        criteria,
        {"U1": (example, example.model_copy(update={"label": "BORDERLINE_PASS"}))},
    )
    first, second = reading.read_criteria(reading.blocks(messages)["criteria"])
    assert (first.id, first.name, first.na_allowed, first.examples) == ("U1", "First", False, 2)
    assert first.question.split() == ["Does", "it?", "Really?"]
    assert (second.id, second.na_allowed, second.examples) == ("U2", True, 0)


def test_a_block_cannot_be_closed_from_inside() -> None:
    assert reading.blocks([{"content": fenced("persona", "name: A\n```\nname: B")}])["persona"].endswith("name: B")


def test_requests_are_the_sentences_that_ask_for_something_nameable() -> None:
    text = (
        "The kettle leaks. Does that make sense? Will the leaking kettle be replaced? Please tell me the opening hours."
    )
    assert reading.requests(text) == ["Will the leaking kettle be replaced?", "Please tell me the opening hours."]
    reply = frozenset(reading.content_words("A leaking kettle is replaced within a week."))
    assert reading.answers("Will the leaking kettle be replaced?", reply)
    assert not reading.answers("Please tell me the opening hours.", reply)


def test_sentences_are_exact_pieces_of_the_text() -> None:
    text = 'First one. "Second?" Third…\nA line without an end\n\n…\nLast!'
    found = reading.sentences(text)
    assert all(sentence in text for sentence in found) and len(found) == 5


def test_chance_depends_on_its_parts_alone() -> None:
    assert share("a", 1) == share("a", 1) != share("a", 2)
    assert dice("x").random() == dice("x").random()
    draws = [share("spread", n) for n in range(4000)]
    assert abs(sum(draws) / 4000 - 0.5) < 0.02 and min(draws) >= 0 and max(draws) < 1


def test_a_template_chooses_and_a_slot_is_never_taken_for_one() -> None:
    found = {expand("[a|b [c|d]] {x}", dice(n), {"x": "[e|f] {x}"}) for n in range(40)}
    assert found == {"a [e|f] {x}", "b c [e|f] {x}", "b d [e|f] {x}"}


@pytest.mark.parametrize("size", [1, 2, 4, 5, 12, 31])
def test_a_pool_is_gone_through_before_it_begins_again(size: int) -> None:
    pool = [f"t{i}" for i in range(size)]
    heads = [deal(pool, "key", turn, 12)[0] for turn in range(size)]
    assert sorted(heads) == sorted(pool)
