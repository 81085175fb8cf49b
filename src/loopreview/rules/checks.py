"""What code can measure in a transcript, and the criteria it answers alone."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Exchange
from loopreview.models.verdict import Evidence, JudgeAnswer
from loopreview.rules.quotes import locate, occurrence_at
from loopreview.rules.words import (
    LANGUAGES,
    STOCK_OPENERS,
    count_words,
    cut_off,
    ends_in_question,
    language_of,
    opener,
    stock_opener,
)


class Measurements(NamedTuple):
    """Numbers over the exchanges of one transcript. A ratio is reply words / user words."""

    user_words: tuple[int, ...]
    assistant_words: tuple[int, ...]
    ratios: tuple[float | None, ...]
    """One per exchange; None where the user's text has no words."""
    mean_ratio: float | None
    """Mean of the exchanges' ratios; None where there is none."""
    share_above_2: float | None
    """Share of the ratios above 2."""
    share_question_endings: float
    """Share of replies that end in a question; 0 without replies."""
    repeated_openers: tuple[tuple[str, int], ...]
    """(first words, replies that begin with them), at least two replies each, most frequent first."""


def measure(exchanges: Sequence[Exchange]) -> Measurements:
    user = tuple(count_words(e.user) for e in exchanges)
    assistant = tuple(count_words(e.assistant) for e in exchanges)
    ratios = tuple(a / u if u else None for u, a in zip(user, assistant, strict=True))
    known = [ratio for ratio in ratios if ratio is not None]
    questions = sum(ends_in_question(e.assistant) for e in exchanges)
    openers = Counter(filter(None, (opener(e.assistant) for e in exchanges)))
    repeated = sorted(((words, n) for words, n in openers.items() if n > 1), key=lambda pair: (-pair[1], pair[0]))
    return Measurements(
        user,
        assistant,
        ratios,
        sum(known) / len(known) if known else None,
        sum(ratio > 2 for ratio in known) / len(known) if known else None,
        questions / len(exchanges) if exchanges else 0.0,
        tuple(repeated),
    )


class CheckResult(NamedTuple):
    """What a check found. `answer` None: the criterion's question goes to the judges."""

    answer: JudgeAnswer | None
    reasoning: str
    evidence: tuple[Evidence, ...] = ()


def run_check(criterion: Criterion, exchanges: Sequence[Exchange], measurements: Measurements) -> CheckResult:
    """The answer of a `kind: check` criterion. YES is the good answer, as everywhere; NA where nothing can be checked.

    Raises pydantic's ValidationError for parameters that `read_rubric` would have refused.
    """
    assert criterion.check is not None
    if not exchanges:
        return CheckResult("NA", "there is no exchange to check")
    params = PARAMS[criterion.check].model_validate(criterion.params)
    result = _CHECKS[criterion.check](params, criterion, exchanges, measurements)
    return result._replace(evidence=tuple(e for e in result.evidence if e.quote))


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


def _known_language(code: str) -> str:
    if code.lower().split("-")[0] not in LANGUAGES:
        raise ValueError(f"the language {code!r} cannot be told; known are {', '.join(LANGUAGES)}")
    return code.lower().split("-")[0]


Share = Annotated[float, Field(ge=0, le=1)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class LengthRatioParams(_Params):
    """Good: mean under `good_mean`, and a share under `good_share` above `above`. Bad: mean over `bad_mean`, or a share
    over `bad_share`."""

    good_mean: float = Field(default=1.5, gt=0)
    good_share: Share = 0.25
    bad_mean: float = Field(default=2.0, gt=0)
    bad_share: Share = 0.5
    above: float = Field(default=2.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> "LengthRatioParams":
        if self.good_mean > self.bad_mean or self.good_share > self.bad_share:
            raise ValueError("good_mean and good_share must not be above bad_mean and bad_share")
        return self


class QuestionEndingsParams(_Params):
    share: Share = 0.75
    """Bad from this share of replies that end in a question."""


class FormulaicOpenersParams(_Params):
    share: Share = 0.75
    """Bad from this share of replies with a stock opener, or with the same first words as another reply."""
    openers: tuple[str, ...] = ()
    """Stock openers beside the built-in English ones."""


class LanguageParams(_Params):
    language: Annotated[str, AfterValidator(_known_language)] = "en"
    share: Share = 0.9
    """Share of the replies whose language can be told that must be in `language`."""


class TruncationParams(_Params):
    pass


class ArtifactsParams(_Params):
    patterns: tuple[Pattern, ...] = ()
    """Regular expressions beside the built-in ones; case is ignored."""


class RegexParams(_Params):
    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, validate_by_name=False, validate_by_alias=True
    )

    pattern: Pattern
    must: bool = True
    """Whether the pattern must occur, or must not."""
    within: Literal["assistant", "user"] = Field(default="assistant", alias="in")
    each: Literal["any", "every"] = "any"
    """must, any: in at least one message; must, every: in each. must not, any: in none; must not, every: not in all."""


PARAMS: Mapping[str, type[BaseModel]] = {
    "length_ratio": LengthRatioParams,
    "question_endings": QuestionEndingsParams,
    "formulaic_openers": FormulaicOpenersParams,
    "language": LanguageParams,
    "truncation": TruncationParams,
    "artifacts": ArtifactsParams,
    "regex": RegexParams,
}
"""check → the model of its parameters."""

MOST_EVIDENCE = 5


def _length_ratio(
    params: LengthRatioParams, criterion: Criterion, exchanges: Sequence[Exchange], measurements: Measurements
) -> CheckResult:
    known = [(ratio, e) for ratio, e in zip(measurements.ratios, exchanges, strict=True) if ratio is not None]
    if measurements.mean_ratio is None:
        return CheckResult("NA", "no user message has words to compare with")
    mean = measurements.mean_ratio
    share = sum(ratio > params.above for ratio, _ in known) / len(known)
    said = f"replies have {mean:.2f} times the user's words on average; {share:.0%} have over {params.above:g} times"
    if mean > params.bad_mean or share > params.bad_share:
        longest = sorted(known, key=lambda pair: -pair[0])[:3]
        return CheckResult("NO", said, tuple(_quote(e, 0, _first_line_end(e.assistant)) for _, e in longest))
    if mean < params.good_mean and share < params.good_share:
        return CheckResult("YES", said)
    return CheckResult(None if criterion.question.strip() else "NA", f"{said}; between good and bad")


def _question_endings(
    params: QuestionEndingsParams, _: Criterion, exchanges: Sequence[Exchange], __: Measurements
) -> CheckResult:
    asking = [e for e in exchanges if ends_in_question(e.assistant)]
    said = f"{len(asking)} of {len(exchanges)} replies end in a question"
    if not asking or len(asking) / len(exchanges) < params.share:
        return CheckResult("YES", said)
    return CheckResult("NO", said, tuple(_quote_end(e) for e in asking[-3:]))


def _formulaic_openers(
    params: FormulaicOpenersParams, _: Criterion, exchanges: Sequence[Exchange], measurements: Measurements
) -> CheckResult:
    repeated = {words for words, _ in measurements.repeated_openers}
    stock = (*STOCK_OPENERS, *(words.replace("’", "'").casefold() for words in params.openers))
    found = [e for e in exchanges if stock_opener(e.assistant, stock) or opener(e.assistant) in repeated]
    said = f"{len(found)} of {len(exchanges)} replies begin with a stock opener or like another reply"
    if not found or len(found) / len(exchanges) < params.share:
        return CheckResult("YES", said)
    return CheckResult("NO", said, tuple(_quote(e, 0, _first_line_end(e.assistant)) for e in found[:3]))


def _language(params: LanguageParams, _: Criterion, exchanges: Sequence[Exchange], __: Measurements) -> CheckResult:
    told = [(e, code) for e in exchanges if (code := language_of(e.assistant))]
    if not told:
        return CheckResult("NA", "the replies are too short to tell their language")
    strays = [(e, code) for e, code in told if code != params.language]
    said = f"{len(told) - len(strays)} of {len(told)} replies are in {params.language}"
    if 1 - len(strays) / len(told) >= params.share:
        return CheckResult("YES", said)
    names = ", ".join(sorted({code for _, code in strays}))
    evidence = tuple(_quote(e, 0, _first_line_end(e.assistant)) for e, _ in strays[:MOST_EVIDENCE])
    return CheckResult("NO", f"{said}; others look like {names}", evidence)


def _truncation(_: TruncationParams, __: Criterion, exchanges: Sequence[Exchange], ___: Measurements) -> CheckResult:
    cut = cut_off([e.assistant for e in exchanges])
    if not cut:
        return CheckResult("YES", "every reply comes to its end")
    said = "; ".join(f"reply {exchanges[i].number} {why}" for i, why in list(cut.items())[:MOST_EVIDENCE])
    evidence = tuple(_quote_end(exchanges[i]) for i in cut if exchanges[i].assistant.strip())
    return CheckResult("NO", said, evidence[:MOST_EVIDENCE])


def _artifacts(params: ArtifactsParams, _: Criterion, exchanges: Sequence[Exchange], __: Measurements) -> CheckResult:
    found = find_artifacts(exchanges, params.patterns)
    if not found:
        return CheckResult("YES", "no meta talk, broken character or provider name was found")
    said = "; ".join(dict.fromkeys(f"{kind} in reply {e.number}" for kind, e, _, _ in found))
    return CheckResult("NO", said, tuple(_quote(e, start, end) for _, e, start, end in found[:MOST_EVIDENCE]))


def _regex(params: RegexParams, _: Criterion, exchanges: Sequence[Exchange], __: Measurements) -> CheckResult:
    texts = [(e, e.assistant if params.within == "assistant" else e.user) for e in exchanges]
    pattern = re.compile(params.pattern)
    matches = [(e, match) for e, text in texts if (match := pattern.search(text))]
    occurs = len(matches) == len(texts) if params.each == "every" else bool(matches)
    said = f"the pattern occurs in {len(matches)} of {len(texts)} {params.within} messages"
    evidence = tuple(_quote(e, m.start(), m.end(), params.within) for e, m in matches if m[0].strip())
    return CheckResult("YES" if occurs == params.must else "NO", said, () if params.must else evidence[:MOST_EVIDENCE])


_CHECKS: Mapping[str, Callable[[Any, Criterion, Sequence[Exchange], Measurements], CheckResult]] = {
    "length_ratio": _length_ratio,
    "question_endings": _question_endings,
    "formulaic_openers": _formulaic_openers,
    "language": _language,
    "truncation": _truncation,
    "artifacts": _artifacts,
    "regex": _regex,
}


def _quote(exchange: Exchange, start: int, end: int, role: Literal["user", "assistant"] = "assistant") -> Evidence:
    """The exact text from `start` to `end`, at most 160 characters, with the occurrence that `locate` will find;
    empty where nothing visible stands there."""
    text = exchange.assistant if role == "assistant" else exchange.user
    start += len(text[start:end]) - len(text[start:end].lstrip())
    quote = text[start : min(end, start + 160)].rstrip()
    if locate(quote, text) is None:
        quote = ""
    return Evidence(exchange=exchange.number, role=role, quote=quote, occurrence=occurrence_at(quote, text, start))


def _quote_end(exchange: Exchange) -> Evidence:
    """The last sentence or so of a reply."""
    text = exchange.assistant.rstrip()
    last = text[-120:]
    breaks = [match.end() for match in re.finditer(r"\n|[.!?] ", last)]
    return _quote(exchange, len(text) - len(last) + (breaks[-1] if breaks else 0), len(text))


def _first_line_end(text: str) -> int:
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return min(len(text) if end < 0 else end, start + 80)


_ARTIFACTS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for kind, pattern in (
        (
            "meta talk",
            r"\b(?:as|i am|i'm|i’m|being) (?:just |only |merely )?an? (?:(?:ai|artificial intelligence)"
            r"(?: (?:language )?model| assistant| chatbot| system| coach| companion| tutor)?"
            r"|(?:large )?language model|virtual assistant|chatbot)"
            r"(?=[,.;:!?)—–]|\s*$|\s+(?:i|so|but|and|or|trained|made|created|designed|developed|without|that|who|with)\b)",
        ),
        (
            "meta talk",
            r"\bmy (?:training data|knowledge cut-?off|system prompt|(?:content |usage )guidelines|programming)\b",
        ),
        (
            "meta talk",
            r"\b(?:here is|here's|here’s) (?:a|my|the) (?:draft |possible |revised |suggested )*"
            r"(?:response|reply) (?:to|that|in|as|from|for)\b",
        ),
        ("broken character", r"\b(?:stay|staying|remain|break|breaking|broke) (?:in |out of )?character\b"),
        (
            "broken character",
            r"\bin this (?:role-?play|simulation|simulated conversation)\b|\bi(?:'ll| will| can(?:'|no)t) role-?play\b",
        ),
        (
            "broken character",
            r"^(?:\*\*)?(?:user|assistant|human|ai|system|therapist|coach|agent|tutor)(?:\*\*)?:(?:\*\*)?(?=\s)",
        ),
        (
            "left-over markup",
            r"<\|[a-z_]+\|>|</?(?:think|thinking|start_of_turn|end_of_turn|tool_call)>|\[/?INST\]|\{\{\s*\w+\s*\}\}",
        ),
        (
            "left-over placeholder",
            r"\[(?:insert|your|user(?:'s)?|client(?:'s)?|customer(?:'s)?|company|agent) ?[a-z ]{0,30}\](?!\()",
        ),
        (
            "provider name",
            r"\b(?:openai|chat-?gpt|gpt-[345][\w.-]*|anthropic|google deepmind|deepmind|deepseek|qwen\w*|mistral ai|"
            r"google (?:bard|gemini|gemma)|gemini (?:pro|flash|ultra|advanced)|meta ai|llama[- ]?[234][\w.]*|"
            r"claude (?:ai|opus|sonnet|haiku|[1-5]\b)|"
            r"(?:i am|i'm|i’m|my name is) (?:claude|gemini|gemma|llama|copilot|grok))\b",
        ),
    )
)
"""Kind and pattern; a name that the user has said before is no artifact of the assistant's."""


def find_artifacts(exchanges: Sequence[Exchange], patterns: Sequence[str] = ()) -> list[tuple[str, Exchange, int, int]]:
    """(kind, exchange, start, end in its reply) of what gives a model or a template away, in order of exchanges."""
    own = tuple(("a pattern of this criterion", re.compile(p, re.IGNORECASE | re.MULTILINE)) for p in patterns)
    found = []
    said = ""
    for exchange in exchanges:
        said += exchange.user.casefold() + "\n"
        for kind, pattern in (*_ARTIFACTS, *own):
            for match in pattern.finditer(exchange.assistant):
                if match[0].strip() and not (kind == "provider name" and match[0].casefold() in said):
                    found.append((kind, exchange, match.start(), match.end()))
    return found
