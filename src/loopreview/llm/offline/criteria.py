"""Which detector a criterion gets, by the words of its name and question, and what it finds."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from loopreview.llm.offline import detectors, reading, signs
from loopreview.llm.offline.chance import dice, share
from loopreview.llm.offline.detectors import Exchanges, Finding, Place, place, without
from loopreview.llm.offline.reading import Asked
from loopreview.models.transcript import Exchange


class _Known(NamedTuple):
    look: Callable[[Exchanges], Finding]
    keys: re.Pattern[str]


def _keys(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_DETECTORS: dict[str, _Known] = {
    "question_endings": _Known(
        detectors.question_endings,
        _keys(r"question at (?:every|the) end", r"\b(?:end|close|finish)\w*\b[^.?]{0,25}\bquestion"),
    ),
    "stock_openers": _Known(
        detectors.stock_openers,
        _keys(
            r"\bopeners?\b|opening (?:phrase|line|words)|formulaic",
            r"\b(?:open|begin|start)s?\b[^.?]{0,20}\b(?:phrase|formula|stock)",
        ),
    ),
    "length": _Known(
        detectors.length,
        _keys(
            r"\blength\b|\blong\b|\bshort\b|\bbrief\w*|concise|proportion\w*|verbos\w*|on a phone|struck out",
            r"how much the (?:customer|user|client)|work through before",
        ),
    ),
    "requests_answered": _Known(
        detectors.requests_answered,
        _keys(
            r"\b(?:every|each|all|several) (?:reply |of the )?(?:topic|question|point|problem|issue|concern|part)s?",
            r"several topics|topic gets a reply|take up each|each of them|everything asked|brings up",
            r"answers? (?:the|what)|address\w*|what (?:was|the \w+) asked|asks? something outright",
            r"wanted to know",
        ),
    ),
    "nothing_dropped": _Known(
        detectors.nothing_dropped,
        _keys(r"in hand|dropped in silence|put off|several problems|openly put off|nothing is lost"),
    ),
    "danger_met": _Known(
        detectors.danger_met, _keys(r"crisis|danger to life|suicid\w*|self.harm|emergenc\w+|violence")
    ),
    "secrets": _Known(
        without(signs.SECRETS, "request for a secret"),
        _keys(r"passwords?|one-time codes?|card numbers?|secrets?|(?:private|personal) data|data of other"),
    ),
    "unsafe": _Known(
        without(signs.UNSAFE, "unsafe advice"),
        _keys(r"unsafe|\bsafe\b|safety|harm\w*|danger\w*|risk\w*|hazard\w*|medica\w+"),
    ),
    "correct": _Known(
        without(signs.WRONG, "wrong statement"), _keys(r"\bcorrect\b|in fact right|factual\w*|\baccura\w+|\btrue\b")
    ),
    "gives_away": _Known(
        without(signs.GIVES_AWAY, "solution handed over"),
        _keys(r"decisive step|gives? away|\bsolution\b|first attempt|homework|does the work|hands? over"),
    ),
    "claims": _Known(
        without(signs.CLAIMS, "claim of something done"),
        _keys(
            r"\bclaims?\b|action taken|backed by|honest about|invent\w*|made up|hallucinat\w*",
            r"promis\w*|guarantees?\b|overpromis\w*",
        ),
    ),
    "asks_only_for_missing": _Known(
        detectors.asks_only_for_missing,
        _keys(r"missing|details the|requests?\b|already (?:given|told|said)|ask(?:s|ed)? (?:again|only|twice)"),
    ),
    "next_step": _Known(detectors.next_step, _keys(r"next step|happens next|who has to do|final reply")),
    "followable_steps": _Known(
        detectors.followable_steps,
        _keys(r"\binstructions?\b|steps? that can|carry out|in the order|step by step"),
    ),
    "specific": _Known(detectors.specific, _keys(r"specifics?\b|concrete\w*|actionable|vague\w*|generic")),
    "feelings_met": _Known(
        detectors.feelings_met,
        _keys(
            r"feelings?|emotion\w*|empath\w*|upset|acknowledg\w*|moved|discourage\w*|loses heart|frustrat\w*",
        ),
    ),
    "holds_position": _Known(
        detectors.holds_position,
        _keys(
            r"pushback|pushes back|pressure|objects?\b|objection|disagree\w*|giv(?:e|ing) in|change its position",
            r"sycophan\w*",
        ),
    ),
    "presumes": _Known(
        without(signs.PRESUMES, "assumption stated as fact"),
        _keys(
            r"assum\w+|motives|diagnos\w+|presum\w+|mind.?read\w*|jump\w* to conclusions|offered as a guess|tentativ\w*"
        ),
    ),
    "measured_praise": _Known(detectors.measured_praise, _keys(r"prais\w*|flatter\w*|complimen\w*")),
    "polite": _Known(
        without(signs.RUDE, "rude remark"),
        _keys(r"polite\w*|rude\w*|respect\w*|courte\w*|kind\b|condescen\w*|friendly|patien(?:t|ce)|blam\w+"),
    ),
    "something_new": _Known(
        detectors.something_new, _keys(r"repeat\w*|repetiti\w*|something new|used before|variety|vary|monoton\w*")
    ),
    "comes_back": _Known(
        detectors.comes_back,
        _keys(
            r"\bearlier\b|remember\w*|\bmemory\b|dropped topics|come back|returns? to|unfinished|context use",
            r"earlier (?:facts|exchanges|in)|raised earlier",
        ),
    ),
    "in_role": _Known(
        without(signs.OUT_OF_ROLE, "talk about being a model"),
        _keys(r"in (?:its )?role|in character|meta\b|being a model|language model"),
    ),
}


def examine(asked: Asked, exchanges: Exchanges) -> Finding:
    """The finding of the detector that fits the criterion best, a seeded one where none does. NA becomes YES where the
    criterion does not allow it: nothing was found that speaks against it."""
    name = detector_for(asked.name, asked.question)
    finding = _look(name, tuple(exchanges)) if name else _by_chance(asked, exchanges)
    if finding.answer == "NA" and not asked.na_allowed:
        return finding._replace(answer="YES")
    return finding


@lru_cache(maxsize=512)
def detector_for(name: str, question: str) -> str | None:
    """The detector with most of its words in a criterion's question and, counting more, its name; None without any."""
    best, most = None, 0.0
    for detector, (_, keys) in _DETECTORS.items():
        in_question = {match[0].lower() for match in keys.finditer(question)}
        in_name = {match[0].lower() for match in keys.finditer(name)}
        points = len(in_question) + 1.5 * len(in_name)
        if points > most:
            best, most = detector, points
    return best


def conversation_key(exchanges: Exchanges) -> str:
    """What seeds a transcript's chances: the user's first message. So the same persona under another assistant prompt
    meets the same mistakes, and what a changed prompt does is not lost in them. A greeting alone is too little."""
    first = exchanges[0].user if exchanges else ""
    return first if len(first) > 40 else "\n".join(text for e in exchanges[:4] for text in (e.user, e.assistant))


@lru_cache(maxsize=1024)
def _look(detector: str, exchanges: tuple[Exchange, ...]) -> Finding:
    """Cached, since several judges and criteria look for the same things in the same transcript."""
    return _DETECTORS[detector].look(exchanges) if exchanges else Finding("NA", "there is no exchange")


def _by_chance(asked: Asked, exchanges: Exchanges) -> Finding:
    draw = share("truth", asked.id, conversation_key(exchanges))
    places = _some_places(exchanges, asked.id)
    if draw < 0.11:
        return Finding("NO", "one passage falls short of what the question asks", places[:1], places[1:])
    if draw > 0.94 and asked.na_allowed:
        return Finding("NA", "the situation that the question is about does not come up")
    return Finding("YES", "it is so throughout", places[1:2], places[:1])


def _some_places(exchanges: Exchanges, key: object) -> tuple[Place, ...]:
    rng = dice("places", key, len(exchanges))
    chosen = [exchanges[i] for i in sorted(rng.sample(range(len(exchanges)), min(2, len(exchanges))))]
    found = [place(e, rng.choice(reading.sentences(e.assistant) or ("",))) for e in chosen]
    return tuple(p for p in found if p)
