"""What can be seen to be wrong with a verdict before a person reads it."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from loopreview.models.transcript import Exchange
from loopreview.models.verdict import Evidence, Verdict
from loopreview.rules.quotes import locate, occurrence_at, stands_in


def lint_verdict(verdict: Verdict, exchanges: Sequence[Exchange]) -> list[str]:
    """A sentence for each fault: evidence missing, an exchange that does not exist, a quote that is not there."""
    if verdict.answer == "ERROR":
        return []
    found = []
    if not verdict.evidence and verdict.answer != "NA":
        found.append(f"{verdict.answer} without a quote")
    for evidence in verdict.evidence:
        found += _misquoted(evidence, exchanges, "quote")
    if verdict.counter_evidence:
        found += _misquoted(verdict.counter_evidence, exchanges, "counter-quote")
    return list(dict.fromkeys(found))


def _misquoted(evidence: Evidence, exchanges: Sequence[Exchange], what: str) -> list[str]:
    if not evidence.quote.strip():
        return [f"the {what} is empty"]
    short = evidence.quote if len(evidence.quote) <= 40 else evidence.quote[:39] + "…"
    cited = next((e for e in exchanges if e.number == evidence.exchange), None)
    if cited is None:
        return [f"{what} “{short}”: there is no exchange {evidence.exchange}, the last is {len(exchanges)}"]
    own, other = (
        (cited.assistant, cited.user) if evidence.role == "assistant" else (cited.user, cited.assistant)
    )  # fmt: skip
    there = stands_in(evidence.quote, own)
    if there and (evidence.occurrence == 1 or locate(evidence.quote, own, evidence.occurrence)):
        return []
    if there:
        return [f"{what} “{short}” is in exchange {cited.number}, but not {evidence.occurrence} times"]
    if stands_in(evidence.quote, other):
        whose = "user" if evidence.role == "assistant" else "assistant"
        return [f"{what} “{short}” is the {whose}'s in exchange {cited.number}, not the {evidence.role}'s"]
    for exchange in exchanges:
        if stands_in(evidence.quote, exchange.user) or stands_in(evidence.quote, exchange.assistant):
            return [f"{what} “{short}” is in exchange {exchange.number}, not in {cited.number}"]
    return [f"{what} “{short}” is not in exchange {cited.number}"]


_FAMILIES = (
    ("gpt", r"gpt|chatgpt|o[1345](?:-|$)|davinci"),
    ("claude", r"claude"),
    ("gemini and gemma", r"gemini|gemma|palm|bison"),
    ("llama", r"(?:meta-)?llama|codellama|vicuna"),
    ("mistral", r"mistral|mixtral|ministral|magistral|codestral|pixtral|devstral"),
    ("qwen", r"qwen|qwq"),
    ("deepseek", r"deepseek"),
    ("grok", r"grok"),
    ("command", r"command|c4ai|aya"),
    ("phi", r"phi-?\d"),
    ("nova", r"nova"),
    ("glm", r"glm|chatglm"),
    ("kimi", r"kimi|moonshot"),
)


def model_family(model: str) -> str:
    """The family of a litellm model string (`provider/name`); for an unknown one its name up to a version or size."""
    name = model.rsplit("/", 1)[-1].lower()
    parts = [name, *re.split(r"[.:_]", name)]
    for family, pattern in _FAMILIES:
        if any(re.match(pattern, part) for part in parts):
            return family
    return re.split(r"[-:_@]?v?\d|:", name)[0].strip("-_.") or name


def lint_backend(backend_model: str, generator_model: str) -> str | None:
    """A sentence where a judge is of the generator's own family, which it may favour; None else, and for offline."""
    if backend_model.startswith("offline/") or generator_model.startswith("offline/"):
        return None
    family = model_family(backend_model)
    if family != model_family(generator_model):
        return None
    return f"{backend_model} judges {generator_model}, a model of its own family ({family}), and may favour its replies"


_TO_THE_JUDGE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,30}\b(?:previous|prior|above|earlier|preceding|rubric|all)\b"
    r"[^.!?\n]{0,20}\b(?:instructions?|prompts?|rules|criteria|rubric|questions?)\b"
    r"|\b(?:dear|note to|message to|attention|hey|hello|to)(?: the| all| any)? (?:ai |llm |automated )?"
    r"(?:judges?|evaluators?|graders?|assessors?|annotators?|raters?)\b(?=\s*[:,!]|\s+(?:reading|of|please|you|who)\b)"
    r"|\b(?:answer|respond|reply|say|output|return|mark|rate|score|grade)\b[^.!?\n]{0,25}"
    r"(?-i:\bYES\b|\bPASS(?:ED)?\b|\b10/10\b|\bfull marks\b)[^.!?\n]{0,30}"
    r"\b(?:every|all|each|criteri(?:on|a)|questions?|transcript|conversation|rubric)\b"
    r"|\b(?:this|the) (?:transcript|conversation|reply|response) (?:should|must|deserves to|has to)"
    r" (?:be (?:marked|scored|rated|graded|judged)|pass|receive|get)\b"
    r"|\bif you(?:'re|’re| are) (?:an? |the )?(?:ai |llm |automated )?(?:judge|evaluator|grader|assessor)\b"
    r"|\b(?:as|for) (?:the|an?) (?:ai |llm |automated )(?:judge|evaluator|grader|assessor)\b",
    re.IGNORECASE,
)


def addresses_judge(exchanges: Sequence[Exchange]) -> list[Evidence]:
    """Text that speaks to whoever judges the transcript instead of to the other side: the first ten, English only."""
    sides: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
    matches = (
        (exchange, role, text, match)
        for exchange in exchanges
        for role, text in zip(sides, exchange[1:], strict=True)
        for match in _TO_THE_JUDGE.finditer(text)
    )
    return [
        Evidence(
            exchange=exchange.number,
            role=role,
            quote=match[0],
            occurrence=occurrence_at(match[0], text, match.start()),
        )
        for exchange, role, text, match in islice(matches, 10)
    ]
