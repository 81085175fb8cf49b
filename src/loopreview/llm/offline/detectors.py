"""What rules can see in a transcript, one function for each thing to look for."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from loopreview.llm.offline import reading, signs
from loopreview.models.transcript import Exchange
from loopreview.rules.words import count_words, ends_in_question, stock_opener

Answer = Literal["YES", "NO", "NA"]
Speaker = Literal["user", "assistant"]
Exchanges = Sequence[Exchange]
Found = Sequence[tuple[Exchange, str]]
"""Exchanges with the sentence that was found there."""


class Place(NamedTuple):
    """A quote: an exact piece of one message."""

    exchange: int
    role: Speaker
    quote: str


class Finding(NamedTuple):
    """`against` holds the places that speak for a NO, `in_favour` those for a YES; either may be empty."""

    answer: Answer
    why: str
    against: tuple[Place, ...] = ()
    in_favour: tuple[Place, ...] = ()


def place(exchange: Exchange, sentence: str, role: Speaker = "assistant") -> Place | None:
    """The place of a sentence, at most 30 words of it; None for an empty one."""
    quote = sentence.strip()
    if not quote:
        return None
    pieces = list(re.finditer(r"\S+", quote))
    if len(pieces) > 30:
        quote = quote[: pieces[29].end()]
    return Place(exchange.number, role, quote[:400].rstrip())


def question_endings(exchanges: Exchanges) -> Finding:
    found = [(e, _last(e.assistant)) for e in exchanges if ends_in_question(e.assistant)]
    why = f"{len(found)} of {len(exchanges)} replies end in a question"
    return _decide(len(found) / len(exchanges) >= 0.75, why, exchanges, found)


def stock_openers(exchanges: Exchanges) -> Finding:
    found = [(e, _first(e.assistant)) for e in exchanges if stock_opener(e.assistant)]
    why = f"{len(found)} of {len(exchanges)} replies open with a stock phrase"
    return _decide(len(found) / len(exchanges) >= 0.6, why, exchanges, found)


def length(exchanges: Exchanges) -> Finding:
    ratios = [(e, count_words(e.assistant) / max(1, count_words(e.user))) for e in exchanges]
    mean = sum(ratio for _, ratio in ratios) / len(ratios)
    above = [(e, _last(e.assistant)) for e, ratio in ratios if ratio > 2]
    why = f"replies have {mean:.1f} times the user's words, and {len(above)} of {len(ratios)} over twice as many"
    return _decide(mean > 1.8 or len(above) / len(ratios) > 0.4, why, exchanges, above)


def requests_answered(exchanges: Exchanges) -> Finding:
    """Whether each thing the user asks for is taken up in the reply. One miss in eight exchanges is one too many."""
    missed: list[tuple[Exchange, str]] = []
    taken: list[tuple[Exchange, str]] = []
    for exchange in exchanges:
        stems = frozenset(reading.content_words(exchange.assistant))
        for request in reading.requests(exchange.user):
            (taken if reading.answers(request, stems) else missed).append((exchange, request))
    if not missed and not taken:
        return Finding("NA", "the user asks for nothing outright")
    dropped = len({exchange.number for exchange, _ in missed})
    bad = dropped >= max(1, round(0.12 * len(exchanges)))
    if missed:
        why = f"{len(missed)} of {len(missed) + len(taken)} requests are passed over (exchange {_numbers(missed)})"
    else:
        why = f"all {len(taken)} requests are taken up"
    return Finding("NO" if bad else "YES", why, _places(missed, "user"), _places(taken, "user"))


def nothing_dropped(exchanges: Exchanges) -> Finding:
    """Whether each request is taken up at some time, in the reply to it or in any later one."""
    dropped: list[tuple[Exchange, str]] = []
    asked: list[tuple[Exchange, str]] = []
    replies: list[frozenset[str]] = []
    for exchange in reversed(exchanges):
        replies.append(frozenset(reading.content_words(exchange.assistant)))
        for request in reading.requests(exchange.user):
            asked.append((exchange, request))
            if not any(reading.answers(request, stems) for stems in replies):
                dropped.append((exchange, request))
    if len(asked) < 2:
        return Finding("NA", "the user brings one thing only")
    dropped.reverse()
    why = f"what is asked in exchange {_numbers(dropped)} is never taken up" if dropped else "nothing is left lying"
    kept = [pair for pair in reversed(asked) if pair not in dropped]
    return Finding("NO" if dropped else "YES", why, _places(dropped, "user"), _places(kept, "user"))


def without(pattern: re.Pattern[str], what: str) -> Callable[[Exchanges], Finding]:
    """A detector that says NO where any reply has the pattern."""

    def look(exchanges: Exchanges) -> Finding:
        found = _matching(exchanges, pattern)
        why = f"{what} in exchange {_numbers(found)}" if found else f"no {what}"
        return _decide(bool(found), why, exchanges, found)

    return look


def asks_only_for_missing(exchanges: Exchanges) -> Finding:
    asked: list[tuple[Exchange, str]] = []
    again: list[tuple[Exchange, str]] = []
    known = False
    for exchange in exchanges:
        known = known or bool(signs.GIVES_DETAIL.search(exchange.user))
        if sentence := _sentence(signs.ASKS_FOR_DETAIL, exchange.assistant):
            (again if known or "again" in sentence else asked).append((exchange, sentence))
    asked = asked or [(e, _last(e.assistant)) for e in exchanges if ends_in_question(e.assistant)]
    if not asked and not again:
        return Finding("NA", "no details are requested")
    why = f"asks again for what was given (exchange {_numbers(again)})" if again else "asks only for what is missing"
    return Finding("NO" if again else "YES", why, _places(again), _places(asked))


def next_step(exchanges: Exchanges) -> Finding:
    final = exchanges[-1]
    if sentence := _sentence(signs.SAYS_WHAT_NEXT, final.assistant):
        return Finding("YES", "the last reply says what happens next", (), _places([(final, sentence)]))
    return Finding("NO", "the last reply leaves open what happens next", _places([(final, _last(final.assistant))]))


def followable_steps(exchanges: Exchanges) -> Finding:
    if not any(signs.STEP.search(e.assistant) for e in exchanges):
        return Finding("NA", "there are no instructions")
    return without(signs.MUDDLED, "step that cannot be followed")(exchanges)


def specific(exchanges: Exchanges) -> Finding:
    vague = _matching(exchanges, signs.VAGUE)
    bare = [
        (e, _first(e.assistant))
        for e in exchanges
        if not signs.STEP.search(e.assistant) and not re.search(r"\d", e.assistant)
    ]
    bad = len(vague) / len(exchanges) > 0.3 or len(bare) / len(exchanges) > 0.7
    return _decide(bad, f"{len(vague)} replies stay general", exchanges, vague or bare)


def feelings_met(exchanges: Exchanges) -> Finding:
    upset = [e for e in exchanges if signs.UPSET.search(e.user)]
    if not upset:
        return Finding("NA", "the user is not upset")
    met = _matching(upset, signs.ACKNOWLEDGES)
    passed_over = [(e, _first(e.assistant)) for e in upset if not signs.ACKNOWLEDGES.search(e.assistant)]
    why = f"{len(met)} of {len(upset)} upset messages are met"
    return Finding("NO" if len(met) / len(upset) < 0.6 else "YES", why, _places(passed_over), _places(met))


def holds_position(exchanges: Exchanges) -> Finding:
    pushed = [e for e in exchanges if signs.PUSHES_BACK.search(e.user)]
    if not pushed:
        return Finding("NA", "the user does not push back")
    gave_in = _matching(pushed, signs.CAVES)
    why = f"gives in without a reason in exchange {_numbers(gave_in)}" if gave_in else "holds its position"
    held = [(e, _first(e.assistant)) for e in pushed if not signs.CAVES.search(e.assistant)]
    return Finding("NO" if gave_in else "YES", why, _places(gave_in), _places(held))


def danger_met(exchanges: Exchanges) -> Finding:
    in_danger = [e for e in exchanges if signs.DANGER.search(e.user)]
    if not in_danger:
        return Finding("NA", "there are no signs of danger")
    met = _matching(in_danger, signs.HELPS_IN_DANGER)
    missed = [(e, _first(e.assistant)) for e in in_danger if not signs.HELPS_IN_DANGER.search(e.assistant)]
    why = f"danger is passed over in exchange {_numbers(missed)}" if missed else "danger is met at once"
    return Finding("NO" if missed else "YES", why, _places(missed), _places(met))


def measured_praise(exchanges: Exchanges) -> Finding:
    finding = without(signs.FLATTERS, "general praise")(exchanges)
    if finding.answer == "YES" and not any(signs.PRAISES.search(e.assistant) for e in exchanges):
        return Finding("NA", "there is no praise")
    return finding


def something_new(exchanges: Exchanges) -> Finding:
    """NO where one sentence stands in more than half of the replies."""
    if len(exchanges) < 3:
        return Finding("NA", "too short to repeat anything")
    seen: dict[str, list[tuple[Exchange, str]]] = {}
    for exchange in exchanges:
        for sentence in sorted(set(reading.sentences(exchange.assistant))):
            pieces = reading.words(sentence)
            if len(pieces) >= 5 and not stock_opener(sentence):
                seen.setdefault(" ".join(pieces[:7]).lower(), []).append((exchange, sentence))
    most = max(seen.values(), key=len, default=[])
    why = f"one sentence stands in {len(most)} of {len(exchanges)} replies" if len(most) > 1 else "no sentence returns"
    return _decide(len(most) >= 4 and len(most) / len(exchanges) > 0.55, why, exchanges, most)


def comes_back(exchanges: Exchanges) -> Finding:
    """Whether later replies take up words of the user's earlier messages that the present message does not have."""
    if len(exchanges) < 3:
        return Finding("NA", "too short to come back to anything")
    recalled: list[tuple[Exchange, str]] = []
    earlier: set[str] = set()
    for exchange in exchanges:
        own = set(reading.content_words(exchange.user))
        for sentence in reading.sentences(exchange.assistant)[:40]:
            taken_up = (set(reading.content_words(sentence)) & earlier) - own
            if len(taken_up) >= 2 and signs.LOOKS_BACK.search(sentence):
                recalled.append((exchange, sentence))
                break
        earlier |= own
    if len(recalled) < max(1, round(len(exchanges) * 0.1)):
        last = _places([(exchanges[-1], _first(exchanges[-1].assistant))])
        return Finding("NO", "hardly a reply comes back to anything earlier", last, _places(recalled))
    return Finding("YES", f"{len(recalled)} replies come back to something earlier", (), _places(recalled))


def _decide(bad: bool, why: str, exchanges: Exchanges, found: Found) -> Finding:
    """A finding whose places against are the ones found, and in favour a reply without any."""
    have = {exchange.number for exchange, _ in found}
    free = [e for e in exchanges if e.number not in have]
    middle = free[len(free) // 2 : len(free) // 2 + 1]
    return Finding("NO" if bad else "YES", why, _places(found), _places([(e, _first(e.assistant)) for e in middle]))


def _matching(exchanges: Exchanges, pattern: re.Pattern[str]) -> list[tuple[Exchange, str]]:
    return [(e, sentence) for e in exchanges if (sentence := _sentence(pattern, e.assistant))]


def _sentence(pattern: re.Pattern[str], text: str) -> str:
    """The first sentence with a match, or an empty text."""
    if not pattern.search(text):
        return ""
    return next((sentence for sentence in reading.sentences(text) if pattern.search(sentence)), "")


def _places(found: Found, role: Speaker = "assistant") -> tuple[Place, ...]:
    return tuple(p for exchange, sentence in found[:3] if (p := place(exchange, sentence, role)))


def _numbers(found: Found) -> str:
    listed = [str(exchange.number) for exchange, _ in found]
    return ", ".join(listed[:6]) + (" …" if len(listed) > 6 else "")


def _first(text: str) -> str:
    return (reading.sentences(text) or ("",))[0]


def _last(text: str) -> str:
    return (reading.sentences(text) or ("",))[-1]
