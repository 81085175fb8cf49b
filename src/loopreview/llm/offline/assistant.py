"""The simulated assistant: answers from its prompt and the conversation, with faults at seeded rates."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from loopreview.llm.offline import faults, reading, signs, talk
from loopreview.llm.offline.chance import deal, dice, expand, share
from loopreview.llm.offline.domain import Domain, choose
from loopreview.llm.offline.prohibitions import forbidden
from loopreview.rules.words import count_words

OPENERS = (
    "Great question!", "Thank you for sharing that.", "I completely understand.", "That sounds really difficult.",
    "I hear you.", "I appreciate you telling me this.", "Absolutely!", "Of course!",
)  # fmt: skip
_TURNS = 12
"""Over how many replies the pools are spread; the assistant does not know how long a conversation will be."""


class _Case(NamedTuple):
    key: str
    """The first user message: the same whatever the prompt says, so that prompts can be compared."""
    domain: Domain
    number: int
    user: str
    earlier: list[str]
    """The user's messages before this one."""
    own: str
    """What was replied so far, in plain words, so that nothing need be said twice."""
    shown: frozenset[str]
    limit: int | None
    """Most words a reply may have by the prompt's own number."""


def write(messages: Sequence[Mapping[str, str]], seed: int | None) -> str:
    """The next reply."""
    case = _case(messages)
    rng = dice("assistant", case.key, case.number, seed)
    return _join(_compose(case, rng))


def _case(messages: Sequence[Mapping[str, str]]) -> _Case:
    system = "\n".join(str(m.get("content") or "") for m in messages if m.get("role") == "system")
    users = [str(m.get("content") or "") for m in messages if m.get("role") == "user"] or [""]
    banned = forbidden(system)
    habit = faults.habits(users[0], banned)
    limit = re.search(r"(?:at most|no more than|up to|under|below|maximum of)\s+(\d+)\s+words", system, re.IGNORECASE)
    return _Case(
        key=users[0],
        domain=choose([system, users[0]]),
        number=len(users),
        user=users[-1],
        earlier=users[:-1],
        own=reading.normalised(" ".join(str(m.get("content") or "") for m in messages if m.get("role") == "assistant")),
        shown=faults.shown(users[0], len(users), habit, banned),
        limit=int(limit[1]) if limit else None,
    )


def _compose(case: _Case, rng: random.Random) -> list[str]:
    """Sentences of the reply. What a good reply must have stays; the rest fills the room it may take."""
    domain, shown, slots = case.domain, case.shown, talk.details(case.key)
    words = max(count_words(case.user), 12)
    most = words * 1.9
    target = words * rng.uniform(0.75, 1.3)
    if "too_long" in shown:
        target, most = words * rng.uniform(2.3, 2.8), words * 3.2
    elif case.limit:
        target, most = min(target, case.limit * 0.9), min(most, case.limit)

    def text(template: str, **more: str) -> str:
        return expand(template, rng, {**more, "thing": "it", **slots})

    def next_of(pool: Sequence[str], offset: int = 0) -> str:
        return text(deal(pool, case.key, case.number + offset, _TURNS)[0])

    head: list[str] = []
    if "stock_openers" in shown:
        head.append(next_of(OPENERS))
    if "flatter" in shown:
        head.append(next_of(domain.faults["flatter"]))
    if signs.UPSET.search(case.user) and "cold" not in shown:
        head.append(next_of(domain.feelings))
    if signs.PUSHES_BACK.search(case.user):
        head.append(next_of(domain.faults["caves"] if "caves" in shown else domain.holds))

    body, steps, ignored = _answers(case, rng, text)
    if "muddled" in shown:
        steps = [next_of(domain.faults["muddled"])]
    for fault in ("asks_again", "claim", "presume", "rude", "unsafe", "secret", "giveaway", "wrong"):
        if fault in shown and domain.faults.get(fault):
            body.append(next_of(domain.faults[fault]))
    if "vague" in shown:
        steps = [next_of(domain.faults["vague"])]

    tail: list[str] = []
    if "repeats" in shown:
        body.append(
            expand(domain.thoughts[int(share("repeats", case.key) * len(domain.thoughts))], dice(case.key), slots)
        )
    if "forgets" not in shown and case.number > 2 and share("recalls", case.key, case.number) < 0.45:
        tail += _recalled(case, rng)
    if "vague" not in shown:
        tail.append(next_of(domain.next_steps))
    if "question_endings" in shown:
        tail.append(next_of(domain.questions))

    while steps and count_words(" ".join((*head, *body, *steps, *tail))) > most:
        steps.pop()
    if len(tail) > 1 and count_words(" ".join((*head, *body, *tail))) > most:
        tail = tail[-2:] if "question_endings" in shown else tail[-1:]
    if len(head) > 1 and count_words(" ".join((*head, *body, *tail))) > most and "stock_openers" in shown:
        head = head[:1]
    used = {*head, *body, *steps, *tail}
    for sentence in _filling(case, rng, ignored):
        size = count_words(" ".join((*head, *body, *steps, *tail)))
        if size >= target:
            break
        if sentence not in used and size + count_words(sentence) <= most:
            used.add(sentence)
            body.append(sentence)
    return [*head, *body, *steps, *tail]


def _answers(case: _Case, rng: random.Random, text: object) -> tuple[list[str], list[str], set[str]]:
    """An answer to each request of the user save the ignored ones, steps that go with them, and what is ignored."""
    assert callable(text)
    asked = reading.requests(case.user) or list(reading.sentences(case.user)[-1:])
    ignored: set[str] = set()
    if "ignores_topic" in case.shown:
        ignored = set(asked[-1:]) if len(asked) > 1 or share("only one", case.key, case.number) < 0.5 else set()
    found: list[str] = []
    steps: list[str] = []
    for request in asked[:4]:
        if request in ignored:
            continue
        words = set(reading.content_words(request))
        topic = _phrase(request)
        bare = re.sub(r"^(?:the|a|an|your|this|that)\s+", "", topic)
        likely = case.domain.matter(request)
        best, matter = max(
            (
                (text(template, topic=bare), m)
                for m in (likely, *case.domain.matters.values())
                for template in m.answers
            ),
            key=lambda pair: len(words & set(reading.content_words(pair[0]))),
        )
        if not reading.answers(request, reading.content_words(best)):
            best = f"{rng.choice(['On', 'As for', 'About'])} {topic}: {best[:1].lower()}{best[1:]}"
        if best not in found:
            found.append(best)
        step = text(deal(matter.steps, case.key, case.number, _TURNS)[0])
        if step not in steps:
            steps.append(step)
    if not found:
        steps = [text(deal(case.domain.general.steps, case.key, case.number, _TURNS)[0])]
    return found, steps[:2], ignored


def _phrase(request: str) -> str:
    """The part of a request from its first to its last content word, at most eight words."""
    pieces = request.rstrip("?!. ").split()
    heavy = [i for i, piece in enumerate(pieces) if reading.content_words(piece)]
    if not heavy:
        return "your question"
    first = max(heavy[0], heavy[-1] - 7)
    if first and pieces[first - 1].lower() in ("the", "a", "an", "my", "your", "this", "that", "no"):
        first -= 1
    phrase = " ".join(pieces[first : heavy[-1] + 1]).strip("\"',;:")
    return re.sub(r"\bmy\b", "your", phrase[:1].lower() + phrase[1:] if not phrase[:2].isupper() else phrase)


def _recalled(case: _Case, rng: random.Random) -> list[str]:
    """Something the user said earlier, taken up again in their words."""
    pool = [
        s for said in case.earlier for s in reading.sentences(said) if 6 <= len(s.split()) <= 24 and not s.endswith("?")
    ]
    if not pool:
        return []
    pieces = rng.choice(pool).rstrip(".!… ").split()
    start = max(0, len(pieces) - 6)
    quote = " ".join(pieces[start:]).strip("\"',;:")
    wording = (
        '[And what you wrote earlier, "{quote}", I have not forgotten.|It fits with what you wrote before: "{quote}".]'
    )
    return [expand(wording, rng, {"quote": quote})]


def _filling(case: _Case, rng: random.Random, ignored: set[str]) -> Iterator[str]:
    """Sentences for the room that is left, first what was not said before. Where a reply may be too long, everything
    that could be said at all."""
    slots = talk.details(case.key)
    related = case.domain.matter(case.user)
    pool = [*case.domain.thoughts, *related.steps, *related.answers]
    if "too_long" in case.shown:
        pool += [t for matter in case.domain.matters.values() for t in (*matter.steps, *matter.answers)]
    for template in deal(pool, case.key, case.number, _TURNS):
        sentence = expand(template, rng, {**slots, "thing": "it", "topic": "rest"})
        said = reading.normalised(sentence) in case.own
        if not said and not any(reading.answers(r, reading.content_words(sentence)) for r in ignored):
            yield sentence
    for _ in range(80):
        yield expand(rng.choice(case.domain.remarks), rng, slots)


def _join(parts: Sequence[str]) -> str:
    """One paragraph, or two where there is much."""
    parts = [part[:1].upper() + part[1:] for part in parts if part]
    if len(parts) < 7:
        return " ".join(parts)
    middle = len(parts) // 2
    return " ".join(parts[:middle]) + "\n\n" + " ".join(parts[middle:])
