"""The simulated assistant understands prohibitions in ordinary words, and nothing else as one."""

from pathlib import Path

import pytest

from loopreview.llm.offline.faults import FAULTS, habits, shown
from loopreview.llm.offline.prohibitions import forbidden

PROMPTS = Path(__file__).parents[2] / "prompts"

FORBIDS = {
    "question_endings": [
        "Do not end every reply with a question.",
        "Never close with a question.",
        "Avoid finishing your replies with questions.",
        "Don't, under any circumstances, end with a question.",
        "End on a statement, not on a question.",
        "Closing questions are not allowed.",
        "Questions at the end of a reply are forbidden.",
        "At most one reply in three may end with a question.",
        "Most replies should end without a question.",
        "No question at the end of a reply.",
        "- **Endings**: vary them.",
    ],
    "stock_openers": [
        'Never open with "Great question" or "I understand".',
        "Never open with “I hear you”.",
        "Do not start with thanks, praise or an apology.",
        "Avoid stock openers.",
        "No stock phrases at the start.",
        "Begin straight with the answer.",
        "Don't begin a reply with the same words each time.",
        "Formulaic openers are to be avoided.",
        "Skip the pleasantries.",
    ],
    "too_long": [
        "Use at most 120 words.",
        "Keep it shorter than the customer's message.",
        "Never write more than twice the words of the user.",
        "Be brief.",
        "Do not write long replies.",
        "Stay under 100 words.",
        "Keep your replies short and plain.",
        "Your replies are no longer than the user's message.",
        "Don't lecture.",
        "Avoid walls of text.",
        "Match the length of the user's message.",
    ],
    "ignores_topic": [
        "Answer every topic the customer raises.",
        "Do not ignore a topic.",
        "Address each of their questions.",
        "Never skip a question.",
        "Every question gets an answer.",
        "Don't leave out any problem that the customer raised.",
        "Make sure all points are addressed.",
    ],
    "unsafe": [
        "Never advise anything unsafe.",
        "Do not give unsafe advice.",
        "Never recommend stopping medication.",
        "Don't suggest opening a device that is plugged in.",
        "Never give dangerous advice, whatever they ask.",
        "Unsafe suggestions are forbidden.",
        "Safety first: suggest only what is safe.",
    ],
}
ONLY_MENTIONS = {
    "question_endings": [
        "You answer questions.",
        "End every reply with a question.",
        "Customers often end with a question.",
        "Do not hesitate to end with a question.",
        "You may close with a question.",
        "Never be rude, and end each reply with a question.",
        "You need not avoid closing questions.",
        "Do not guess; end with a question if something is missing.",
    ],
    "stock_openers": [
        "Open with thanks.",
        "Customers like it when one starts with an apology.",
        "Begin each reply with praise.",
        "Do not forget to start with thanks.",
        "The opening hours are not on the page.",
    ],
    "too_long": [
        "Long messages are common.",
        "Write at least 200 words.",
        "Do not be too brief.",
        "Take as long as you need.",
        "Answer at length.",
        "Do not keep it short.",
    ],
    "ignores_topic": [
        "Customers raise many topics.",
        "The topics are billing and delivery.",
        "You don't need to answer every topic.",
        "Pick one topic and ignore the others.",
    ],
    "unsafe": [
        "Customers ask about unsafe devices.",
        "You advise customers on batteries.",
        "Do not hesitate to advise on medication.",
        "Give advice on experiments.",
    ],
}


@pytest.mark.parametrize(("fault", "sentence"), [(f, s) for f, sentences in FORBIDS.items() for s in sentences])
def test_a_prohibition_in_ordinary_words_is_understood(fault: str, sentence: str) -> None:
    prompt = f"You are the support agent of a shop.\n\n## How you write\n\n- {sentence}\n- Stay friendly.\n"
    assert fault in forbidden(prompt)


@pytest.mark.parametrize(("fault", "sentence"), [(f, s) for f, sentences in ONLY_MENTIONS.items() for s in sentences])
def test_mentioning_something_or_asking_for_it_forbids_nothing(fault: str, sentence: str) -> None:
    assert fault not in forbidden(f"You are the support agent of a shop.\n\n- {sentence}\n")


def test_a_plain_prompt_forbids_nothing() -> None:
    assert not forbidden("You are a helpful assistant who talks with customers about their orders.")


@pytest.mark.parametrize("domain", ["support-agent", "therapy-coach", "tutor"])
def test_the_starter_prompts_forbid_what_their_anti_patterns_name(domain: str) -> None:
    prompt = (PROMPTS / domain / "assistant.md").read_text("utf-8")
    assert {"too_long", "ignores_topic", "unsafe"} <= forbidden(prompt)
    assert forbidden(prompt) > forbidden(prompt.partition("## Anti-patterns")[0])


def test_forbidding_a_fault_takes_most_of_it_away_and_adds_none() -> None:
    everything = frozenset(FAULTS)
    keys = [f"conversation {n}" for n in range(600)]
    free = [habits(key, ()) for key in keys]
    under = [habits(key, everything) for key in keys]
    assert all(after <= before for after, before in zip(under, free, strict=True))
    for fault, rates in FAULTS.items():
        before, after = sum(fault in h for h in free), sum(fault in h for h in under)
        assert abs(before / 600 - rates.transcripts) < 0.07, fault
        assert after < 0.5 * before, fault


def test_a_habit_shows_early_and_elsewhere_a_fault_is_rare() -> None:
    for n in range(50):
        early = frozenset().union(*(shown(f"c{n}", i, ("unsafe",), ()) for i in (1, 2, 3)))
        assert "unsafe" in early
    assert not any("unsafe" in shown(f"c{n}", i, (), ()) for n in range(20) for i in range(1, 12))
