"""Which faults a prompt forbids, read from ordinary words by rules.

A clause forbids a fault if it names the fault's subject under a negation ("do not end …", "… is not allowed"), or if it
demands the opposite ("answer every topic", "at most 120 words"). Mentioning the subject alone forbids nothing.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_NOT = (
    r"(?:(?:do|does|must|should|shall|may|can|will|would|need) ?n[o']t|don't|doesn't|mustn't|shouldn't|cannot|"
    r"can't|won't|"
    r"never|avoid|refrain from|no longer|stop|without|not|no|nor|neither|rather than|instead of|skip|drop|"
    r"leave out)\b"
)
_DOUBLE_NEGATION = re.compile(
    r"\b(?:do not|don't|never|not) (?:hesitate|be afraid|be shy|forget|fail|omit|avoid|refrain|stop|worry about)\b"
    r"|\b(?:need not|needn't|no need to|don't need to|do not need to|don't have to|do not have to|"
    r"not necessary to|not required to)\b"
    r"|\bnot only\b|\bno matter\b|\bnothing wrong with\b|\bno problem\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r",? (?:ever|please|under any circumstances|in any case|at any time|at all|as a rule|by default|"
    r"whatever happens),?(?= )",
    re.I,
)
_GAP = r"(?:\s+(?!and\b|but\b|then\b)[\w'’/“”\"-]+,?){0,6}?\s+"
"""A few words between a negation and its verb; a new main clause ends its reach."""
_BANNED_AFTER = (
    r"(?:is|are) (?:(?:strictly |absolutely )?(?:forbidden|prohibited|banned|unwelcome|unwanted|off limits|"
    r"not (?:allowed|wanted|"
    r"permitted|welcome|acceptable|okay|ok))|to be avoided|a fault|taboo)"
)
_EXAMPLE = re.compile(
    r"^\s*(?:not|rather|instead|instead of|for example|e\.g\.|good|bad|wrong|better)\b[^:]{0,60}:", re.IGNORECASE
)


class _Rule(NamedTuple):
    subject: str
    """What must stand under a negation."""
    demand: str = r"(?!)"
    """What forbids the fault without a negation."""


_RULES: dict[str, _Rule] = {
    "question_endings": _Rule(
        r"(?:(?:end|ends|ending|finish\w*|clos\w+|conclud\w+|sign(?:ing)? off)\b[^.;]{0,50}\bquestions?\b"
        r"|questions?\b[^.;]{0,30}\bat the (?:very )?end\b|(?:closing|final|trailing|concluding) questions?)",
        r"\b(?:end|finish|close)\b[^.;]{0,40}\b(?:statement|full stop|without (?:a |any )?question|observation)"
        r"|\bat most (?:one|a|every)\b[^.;]{0,40}\bend\w*\b[^.;]{0,20}\bquestion|\bvary\b[^.;]{0,30}\bending|"
        r"\bending\w*\W+vary",
    ),
    "stock_openers": _Rule(
        r"(?:(?:open|opens|opening|begin\w*|start\w*|lead)\b[^.;]{0,50}\b(?:stock|formula\w*|phrases?|thank\w*|"
        r"prais\w*|apolog\w*|"
        r"greeting\w*|pleasantr\w+|great question|good question|i (?:hear|understand|appreciate)|that sounds|"
        r"of course|certainly|"
        r"absolutely|sorry|compliments?|sympathy|same (?:words?|way|phrase))"
        r"|(?:stock|formulaic|canned|set|standard|clichéd?|empty) (?:openers?|openings?|opening phrases?|"
        r"first sentences?|phrases?)"
        r"|pleasantries|formulaic openers)",
        r"\b(?:begin|start|open)\b[^.;]{0,30}\b(?:straight|directly|at once|right away|immediately)\b|"
        r"\bstraight in\b(?! )"
        r"|\bvary\b[^.;]{0,30}\b(?:opening|opener|first (?:words|sentence))",
    ),
    "too_long": _Rule(
        r"(?:\b(?:long|lengthy|longer|wordy|verbose|essays?|lectures?|lecture|ramble|rambling|walls? of text|"
        r"pad(?:ding)?)\b"
        r"|\b(?:more|over|beyond)\b[^.;]{0,25}\b(?:words|sentences|paragraphs?)\b|"
        r"\bexceed\w*\b[^.;]{0,30}\b(?:words|length)"
        r"|\b(?:one and a half|twice|1\.5|two times|double)\b[^.;]{0,30}\b(?:words|long|length|message)\b)",
        r"\b(?:at most|no more than|not more than|up to|maximum of|max\.?|under|below|fewer than|less than|"
        r"within)\b[^.;]{0,25}"
        r"\b(?:words|sentences|lines|half as many|times (?:as many|the))\b"
        r"|\b(?:keep|make|write|be|stay)\b[^.;]{0,30}\b(?:short|shorter|brief|concise|succinct)\b"
        r"|\b(?:no longer|not longer|shorter) than\b|\bas (?:short|brief|long) as (?:the|their|his|"
        r"her) (?:customer|user|client|learner|message)"
        r"|\bmatch\b[^.;]{0,30}\blength\b|\babout as (?:many words|long)\b",
    ),
    "ignores_topic": _Rule(
        r"(?:ignor\w*|skip\w*|leav\w* out|drop\w*|miss\w*|overlook\w*|forget\w*|pass over|omit\w*|"
        r"neglect\w*)\b[^.;]{0,50}"
        r"\b(?:topics?|points?|questions?|problems?|issues?|parts?|concerns?|requests?|matters?|anything|"
        r"what (?:the|they|he|she))",
        r"\b(?:answer|address|take up|cover|respond to|deal with|name|handle|treat|reply to|pick up|"
        r"go into)\b[^.;]{0,25}\b(?:every|each|all)\b"
        r"|\b(?:every|each|all)\b[^.;]{0,40}\b(?:topics?|points?|questions?|problems?|issues?|concerns?)\b[^.;]{0,50}"
        r"\b(?:answer\w*|address\w*|repl(?:y|ies)|taken up|covered|attention|one by one)\b|\bname them all\b",
    ),
    "unsafe": _Rule(
        r"(?:(?:advi[sc]e|recommend\w*|suggest\w*|propose|encourage|tell (?:people|them|users)|instruct\w*|"
        r"give|offer)\b[^.;]{0,60}"
        r"\b(?:unsafe|danger\w*|harm\w*|risk\w*|hazard\w*|medica\w+|medicine|tablets|dos(?:e|age)|plugged in|"
        r"batter\w+|electric\w*|"
        r"drain cleaner|experiments?|alcohol|drugs?|stimulants?|violence|power on)"
        r"|(?:unsafe|dangerous|harmful|risky|reckless)\b[^.;]{0,20}\b(?:advice|suggestions?|tips?|steps?|"
        r"instructions?|things?))",
        r"\bonly\b[^.;]{0,20}\b(?:safe|harmless)\b|\bsafety (?:comes )?first\b|\bmedication is a matter for\b|"
        r"\bonly with what cannot burn\b",
    ),
    "secret": _Rule(r"\b(?:ask\w*|request\w*|demand|want|need|collect|repeat|take|"
                    r"accept)\b[^.;]{0,50}\b(?:passwords?|codes?|pins?|card numbers?|secrets)"),
    "claim": _Rule(
        r"(?:claim\w*|pretend\w*|say|state|promise|act as if|suggest)\b[^.;]{0,50}\b(?:looked|checked|done|did|"
        r"refunded|cancelled|"
        r"something up|access|see (?:orders|accounts)|to have)|(?:invent\w*|make up|making up|made.up)\b",
    ),
    "asks_again": _Rule(
        r"\bask\w*\b[^.;]{0,40}\b(?:again|already|twice|a second time|told)|"
        r"\brepeat\w*\b[^.;]{0,20}\bquestions? (?:they|the)",
        r"\bask only (?:for )?what\b|\bonly for what (?:you|is|was)\b|\buse what (?:you know|they|was given|is there)",
    ),
    "vague": _Rule(
        r"\b(?:vague\w*|non-?committal|evasive|generalit\w+|platitudes?|empty advice)\b",
        r"\b(?:say|state|name|tell|give)\b[^.;]{0,40}\b(?:next step|what happens next|who (?:does|takes)|"
        r"which team|how long|concrete|specific)",
    ),
    "muddled": _Rule(
        r"\b(?:jargon|unclear steps?|several actions in one)\b",
        r"\b(?:number(?:ed)? (?:the )?steps|steps?\W+one action each|one action each|one step at a time|"
        r"in the order (?:of doing|they))",
    ),
    "cold": _Rule(
        r"\b(?:ignor\w*|skip\w*|pass over|overlook\w*)\b[^.;]{0,30}\b(?:feelings?|emotions?|anger|frustration)|"
        r"\b(?:cold|curt)\b",
        r"\b(?:take up|acknowledge|name|find|meet|respond to|speak to)\b[^.;]{0,40}\b(?:feelings?|feels?|"
        r"annoys|emotions?|frustration|upset)"
        r"|\bfind the word or (?:the )?image\b|\btake it up before\b",
    ),
    "caves": _Rule(
        r"\b(?:give in|giving in|cave|caving|yield|bend|change your (?:mind|position))\b",
        r"\b(?:keep to what is true|stay where you are|let the subject decide|hold your (?:ground|position)|"
        r"stand firm)",
    ),
    "presume": _Rule(
        r"\b(?:assum\w+|presum\w+|diagnos\w+|explain people|guess at motives|mind.?read\w*|jump to conclusions)\b",
        r"\b(?:speak|sound|put|offer|is a guess)\b[^.;]{0,40}\b(?:likely|possible|a guess|tentative|"
        r"guess and sounds)|\btentativ\w+\b",
    ),
    "flatter": _Rule(
        r"\b(?:prais\w*|flatter\w*|compliment\w*|gush\w*)\b(?! the deed)",
        r"\bpraise (?:rarely|sparingly|the deed|only)\b|\bpraise\W+the deed\b",
    ),
    "repeats": _Rule(
        r"\b(?:repeat\w*|reus\w+|recycl\w+|say the same)\b[^.;]{0,50}(?:\b(?:advice|phrases?|images?|"
        r"sentences?|explanation|yourself|same|words|wording)\b)",
        r"\bvary your (?:wording|phrases|sentences)\b|\b(?:something|each reply) new\b",
    ),
    "forgets": _Rule(
        r"\bforget\w*\b[^.;]{0,30}\b(?:earlier|said|told|before)",
        r"\b(?:use|remember|draw on|come back to|refer (?:back )?to|hold)\b[^.;]{0,40}\b(?:earlier|"
        r"what you know|told you|said before|several threads|left unfinished)",
    ),
    "rude": _Rule(r"\b(?:rude\w*|scold\w*|blam\w*|lectur\w*|condescend\w*|impolite|sarcas\w*)\b",
        r"\b(?:be|stay|remain) (?:polite|kind|courteous|respectful)\b"),
    "giveaway": _Rule(
        r"\b(?:solv\w+|hand over|give (?:away|them)|do|tell|write)\b[^.;]{0,40}\b(?:task|solution|answer|"
        r"homework|essay|whole way|graded work)\b[^.;]{0,20}",
        r"\bleave the decisive step\b|\bgraded work\b[^.;]{0,30}\bby the learner\b",
    ),
    "wrong": _Rule(
        r"\b(?:something false|false statements?|wrong (?:statements?|facts?)|make (?:things|facts) up)\b",
        r"\b(?:check|verify)\b[^.;]{0,40}\b(?:calculation|facts?|result|every)|\bif you are unsure, say\b",
    ),
}  # fmt: skip
_COMPILED = {
    name: (
        re.compile(rf"\b{_NOT}{_GAP}?{rule.subject}|\b{_NOT}\s+{rule.subject}", re.IGNORECASE),
        re.compile(rf"{rule.subject}[^.;]{{0,40}}?\s{_BANNED_AFTER}", re.IGNORECASE),
        re.compile(rule.demand, re.IGNORECASE),
    )
    for name, rule in _RULES.items()
}
_NEGATED = re.compile(r"\b(?:not|never|n't|don't|no need to|rather than|too)\b[^.;]{0,20}$", re.IGNORECASE)


@lru_cache(maxsize=64)
def forbidden(prompt: str) -> frozenset[str]:
    """The names of the faults (`faults.FAULTS`) that a system prompt forbids."""
    found: set[str] = set()
    for clause in _clauses(prompt):
        for name, (under_negation, banned_after, demand) in _COMPILED.items():
            if name not in found and (
                under_negation.search(clause) or banned_after.search(clause) or _demanded(demand, clause)
            ):
                found.add(name)
    return frozenset(found)


def _demanded(demand: re.Pattern[str], clause: str) -> bool:
    match = demand.search(clause)
    if match is None:
        return False
    before = re.sub(r"\bif not,", "", clause[: match.start()], flags=re.IGNORECASE)
    return not _NEGATED.search(before)


def _clauses(prompt: str) -> list[str]:
    """Sentences and parts between semicolons, without quoted examples, asides, and what is negated twice."""
    found = []
    text = re.sub(r"[*_`#]", "", prompt).replace("’", "'")
    for line in re.split(r"\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)])\s)|\n(?=[A-Z])", text):
        line = " ".join(line.split())
        if _EXAMPLE.match(line.lstrip("-•0123456789.) ")):
            continue
        line = re.sub(
            r"(?:\"[^\"]*\"|“[^”]*”)", lambda quote: quote[0].strip('"“”') if len(quote[0]) < 40 else "", line
        )
        for clause in re.split(r"(?<=[.!?;])\s+|,? but |: (?=[A-Z])", line):
            if not _DOUBLE_NEGATION.search(clause) and not _EXAMPLE.match(clause):
                found.append(_ASIDE.sub("", clause))
    return found
