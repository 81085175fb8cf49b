"""The simulated user and assistant, through the very messages that generate sends."""

import random
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from loopreview.llm.offline import assistant, user_sim
from loopreview.llm.offline.domain import domains
from loopreview.llm.offline.reading import sentences
from loopreview.models.settings import Settings
from loopreview.models.transcript import Dice, Exchange, Message, exchanges_of
from loopreview.rules.checks import measure
from loopreview.rules.dice import PersonaDistributions, Taxonomy, read_personas, read_taxonomy, roll
from loopreview.rules.prompts import assistant_messages, user_sim_messages
from loopreview.rules.words import count_words, stock_opener

ROOT = Path(__file__).parents[2]
DOMAINS = ("support-agent", "therapy-coach", "tutor")
PLAIN = {
    "support-agent": "You are the support agent of a shop and talk with customers.",
    "therapy-coach": "You are a coach who answers the letters of clients.",
    "tutor": "You are a tutor and talk with learners about their exercises.",
}


class Starter(NamedTuple):
    taxonomy: Taxonomy
    personas: PersonaDistributions
    user_sim: str
    assistant: str


@cache
def starter(domain: str) -> Starter:
    def text(path: str) -> str:
        return (ROOT / path).read_text("utf-8")

    return Starter(
        read_taxonomy(text(f"rubrics/{domain}/taxonomy.yaml"), "taxonomy.yaml"),
        read_personas(text(f"rubrics/{domain}/personas.yaml"), "personas.yaml"),
        text(f"prompts/{domain}/user_sim.md"),
        text(f"prompts/{domain}/assistant.md"),
    )


def dice_of(domain: str, index: int) -> Dice:
    return roll(4, index, starter(domain).taxonomy, starter(domain).personas, Settings(exchanges=(6, 9)))


def converse(domain: str, index: int, prompt: str) -> tuple[Dice, list[Exchange]]:
    dice = dice_of(domain, index)
    messages: list[Message] = []
    for turn in range(dice.target_exchanges):
        asked = user_sim_messages(starter(domain).user_sim, dice, messages)
        messages.append(Message(role="user", text=user_sim.write(asked, 100 + turn)))
        reply = assistant.write(assistant_messages(prompt, messages), turn)
        messages.append(Message(role="assistant", text=reply))
    return dice, exchanges_of(messages)


@cache
def conversations(domain: str, prompt: str) -> list[tuple[Dice, list[Exchange]]]:
    return [converse(domain, index, prompt) for index in range(1, 21)]


def shares(domain: str, prompt: str) -> dict[str, float]:
    """How many of 20 transcripts are over the bounds of the three checks that count."""
    found = [measure(exchanges) for _, exchanges in conversations(domain, prompt)]
    return {
        "question_endings": sum(m.share_question_endings >= 0.75 for m in found) / len(found),
        "too_long": sum((m.mean_ratio or 0) > 2 for m in found) / len(found),
        "stock_openers": sum(
            sum(stock_opener(e.assistant) is not None for e in ex) >= 0.75 * len(ex)
            for _, ex in conversations(domain, prompt)
        )
        / len(found),
    }


@pytest.mark.parametrize("domain", DOMAINS)
def test_messages_keep_to_the_word_range_of_their_persona(domain: str) -> None:
    for dice, exchanges in conversations(domain, starter(domain).assistant):
        low, high = dice.persona.words
        assert all(low <= count_words(e.user) <= high for e in exchanges)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_same_call_gives_the_same_text_and_another_seed_another(domain: str) -> None:
    asked = user_sim_messages(starter(domain).user_sim, dice_of(domain, 1), [])
    assert user_sim.write(asked, 1) == user_sim.write(asked, 1) != user_sim.write(asked, 2)
    said = assistant_messages("You help.", [Message(role="user", text=user_sim.write(asked, 1))])
    assert assistant.write(said, 1) == assistant.write(said, 1)
    assert len({assistant.write(said, seed) for seed in range(6)}) > 1
    assert converse(domain, 2, "You help.") == converse(domain, 2, "You help.")


@pytest.mark.parametrize("domain", DOMAINS)
def test_five_conversations_do_not_look_the_same(domain: str) -> None:
    found = [exchanges for _, exchanges in conversations(domain, starter(domain).assistant)[:5]]
    first = {exchanges[0].user for exchanges in found} | {exchanges[0].assistant for exchanges in found}
    assert len(first) == 10
    for exchanges in found:
        own = [s for e in exchanges for s in sentences(e.user)]
        assert len(set(own)) >= 0.88 * len(own)
    shared = [set(s for e in exchanges for s in sentences(e.user)) for exchanges in found]
    assert all(len(a & b) < 0.35 * min(len(a), len(b)) for i, a in enumerate(shared) for b in shared[:i])


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_topic_of_the_dice_comes_up_and_no_template_shows(domain: str) -> None:
    for dice, exchanges in conversations(domain, starter(domain).assistant):
        said = re.sub(r"\W+", " ", " ".join(e.user for e in exchanges).lower())
        raised = [
            re.sub(r"\W+", " ", seed.topic.lower()).removeprefix("a ").removeprefix("the ")
            for seed in dice.persona.topic_seeds
        ]
        assert all(topic in said for topic in raised), raised
        everything = " ".join(e.user + e.assistant for e in exchanges)
        assert not re.search(r"[{}\[\]|]|```|  ", everything), everything


def test_modes_are_acted_out() -> None:
    dice = dice_of("support-agent", 3)
    reply = "A lost parcel counts as lost after the trace comes back empty."
    history = [Message(role="user", text="Where is it?"), Message(role="assistant", text=reply)]

    def second(mode: str) -> str:
        turns = [dice.turns[0], dice.turns[1].model_copy(update={"mode": mode, "flaws": []})]
        asked = user_sim_messages(starter("support-agent").user_sim, dice.model_copy(update={"turns": turns}), history)
        return user_sim.write(asked, 1)

    pushed, engaged, ignored = second("push_back"), second("engage"), second("ignore")
    quoted = re.search(r'"([^"]+)"', pushed)
    assert quoted and quoted[1].lower() in reply.lower()
    assert '"' in engaged and '"' not in ignored
    assert len({pushed, engaged, ignored, second("tangent")}) == 4


def test_a_flaw_shows_in_the_message_it_is_active_in() -> None:
    dice = dice_of("support-agent", 3)
    flawed = dice.turns[0].model_copy(update={"flaws": ["threatens with a review"]})
    clean = dice.turns[0].model_copy(update={"flaws": []})

    def first(turn: object) -> str:
        asked = user_sim_messages(starter("support-agent").user_sim, dice.model_copy(update={"turns": [turn]}), [])
        return user_sim.write(asked, 1)

    signs = re.compile(r"followers|review|consumer programme")
    assert signs.search(first(flawed)) and not signs.search(first(clean))


def test_writing_styles_can_be_told_apart() -> None:
    dice = dice_of("support-agent", 3)

    def written(style: str, words: tuple[int, int]) -> str:
        persona = dice.persona.model_copy(update={"writing_style": style, "words": words, "style_note": ""})
        asked = user_sim_messages(starter("support-agent").user_sim, dice.model_copy(update={"persona": persona}), [])
        return user_sim.write(asked, 1)

    text_speak = written("text-speak", (50, 120))
    assert text_speak == text_speak.lower()
    formal = written("formal", (120, 250))
    assert not re.search(r"n't\b|'m\b|'ve\b", formal) and formal[:4] in ("Dear", "Good")
    stream = written("stream of consciousness", (150, 300))
    assert max(len(s.split()) for s in sentences(stream)) > 25


@pytest.mark.parametrize("domain", DOMAINS)
def test_without_a_prohibition_the_faults_are_frequent_and_with_one_they_are_not(domain: str) -> None:
    plain = PLAIN[domain]
    rules = {
        "question_endings": "Do not end every reply with a question.",
        "too_long": "Keep every reply shorter than the message it answers.",
        "stock_openers": "Never open a reply with a stock phrase.",
    }
    free = shares(domain, plain)
    assert free["question_endings"] >= 0.35 and free["stock_openers"] >= 0.3 and free["too_long"] >= 0.1
    for fault, rule in rules.items():
        under = shares(domain, f"{plain}\n\n- {rule}\n")
        assert under[fault] <= 0.5 * free[fault], (fault, free, under)


def test_a_word_limit_in_the_prompt_is_kept() -> None:
    prompt = PLAIN["support-agent"] + "\n\n- Use at most 60 words.\n"
    lengths = [count_words(e.assistant) for _, exchanges in conversations("support-agent", prompt) for e in exchanges]
    assert sorted(lengths)[int(len(lengths) * 0.7)] <= 60


def test_replies_without_faults_are_about_as_long_as_the_message() -> None:
    prompt = starter("support-agent").assistant
    ratios = [r for _, ex in conversations("support-agent", prompt) for r in measure(ex).ratios if r is not None]
    middle = sorted(ratios)[len(ratios) // 2]
    assert 0.8 < middle < 1.4


def test_any_prompt_and_any_conversation_get_a_reply() -> None:
    odd = [
        "",
        "?",
        "…",
        "ok",
        "请问我的包裹在哪里？",
        "\ud800 broken",
        "```\ncode\n```",
        "{{x}} [a|b] {day}",
        "word " * 5000,
    ]
    for text in odd:
        reply = assistant.write([{"role": "user", "content": text}], None)
        assert reply.strip() and reply == assistant.write([{"role": "user", "content": text}], None)
    assert assistant.write([], 1).strip()
    assert user_sim.write([{"role": "system", "content": "no blocks here"}, {"role": "user", "content": "Hello"}], 1)


def test_every_domain_has_all_its_material() -> None:
    for domain in domains().values():
        for name, value in domain._asdict().items():
            if isinstance(value, tuple):
                assert len(value) >= 3, (domain.name, name)
        for matter in (*domain.matters.values(), domain.general):
            assert min(map(len, (matter.things, matter.tells, matter.asks, matter.answers, matter.steps))) >= 3
        assert {"unsafe", "claim", "asks_again", "vague", "caves"} <= set(domain.faults)


def test_no_module_of_the_offline_models_draws_from_the_global_generator() -> None:
    state = random.getstate()
    converse("tutor", 3, PLAIN["tutor"])
    assert random.getstate() == state
