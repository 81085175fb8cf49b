import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.models.rubric import CHECKS, Criterion
from loopreview.models.transcript import Exchange
from loopreview.rules.checks import CheckResult, measure, run_check
from loopreview.rules.quotes import locate

THERAPY = Path(__file__).parents[2].parent / "shared" / "data" / "therapy"


def talk(*replies: str, user: str = "one two three four") -> list[Exchange]:
    return [Exchange(i, user, reply) for i, reply in enumerate(replies, 1)]


def words(n: int) -> str:
    return " ".join(["word"] * n) + "."


def run(check: str, exchanges: Sequence[Exchange], question: str = "", **params: Any) -> CheckResult:
    criterion = Criterion(id="C", name="c", category="c", kind="check", check=check, question=question, params=params)
    result = run_check(criterion, exchanges, measure(exchanges))
    for evidence in result.evidence:
        cited = exchanges[evidence.exchange - 1]
        assert locate(evidence.quote, cited.user if evidence.role == "user" else cited.assistant, evidence.occurrence)
    return result


def test_what_is_measured() -> None:
    m = measure([
        Exchange(1, "one two", "I hear you. A b c d?"),
        Exchange(2, "", "I hear you."),
        Exchange(3, "你好吗", "很好。"),
        Exchange(4, "one two", "Yes **it is?**"),
    ])  # fmt: skip
    assert m.user_words == (2, 0, 3, 2)
    assert m.assistant_words == (7, 3, 2, 3)
    assert m.ratios == (3.5, None, 2 / 3, 1.5)
    assert m.mean_ratio == pytest.approx((3.5 + 2 / 3 + 1.5) / 3)
    assert m.share_above_2 == pytest.approx(1 / 3)
    assert m.share_question_endings == 0.5
    assert m.repeated_openers == (("i hear you", 2),)


def test_a_ratio_of_exactly_2_is_not_above_2() -> None:
    assert measure(talk(words(8), words(9))).share_above_2 == 0.5


def test_without_exchanges_or_user_words_there_is_no_ratio() -> None:
    assert measure([])[3:] == (None, None, 0.0, ())
    m = measure([Exchange(1, "", "hello"), Exchange(2, "…", "hello there")])
    assert (m.ratios, m.mean_ratio, m.share_above_2) == ((None, None), None, None)


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_answers_na_without_exchanges(check: str) -> None:
    params = {"pattern": "x"} if check == "regex" else {}
    assert run(check, [], **params).answer == "NA"


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60)), min_size=1, max_size=5), st.sampled_from(CHECKS))
def test_every_check_answers_whatever_was_said(texts: list[tuple[str, str]], check: str) -> None:
    exchanges = [Exchange(i, user, assistant) for i, (user, assistant) in enumerate(texts, 1)]
    params = {"pattern": r"\w"} if check == "regex" else {}
    assert run(check, exchanges, **params).answer in ("YES", "NO", "NA")


@pytest.mark.parametrize(
    ("lengths", "answer"),
    [
        ([4, 4, 4, 5], "YES"),
        ([6, 6, 6, 6], None),  # mean 1.5 is not under it
        ([4, 4, 4, 9], None),  # 25 % above 2 is not under it
        ([4, 4, 4, 4, 9], "YES"),
        ([8, 8, 8, 8], None),  # mean 2 is not over it
        ([8, 8, 8, 9], "NO"),
        ([1, 1, 9, 9], None),  # 50 % above 2 is not over it
        ([1, 9, 9], "NO"),
    ],
)
def test_length_ratio_is_good_bad_or_for_the_judges(lengths: list[int], answer: str | None) -> None:
    exchanges = talk(*map(words, lengths))
    assert run("length_ratio", exchanges, question="Is the length right?").answer == answer
    assert run("length_ratio", exchanges).answer == (answer or "NA")


def test_length_ratio_quotes_the_longest_and_skips_empty_user_texts() -> None:
    exchanges = [*talk(words(9), words(40), words(9), words(9)), Exchange(5, "", words(500))]
    result = run("length_ratio", exchanges)
    assert result.answer == "NO"
    assert result.evidence[0].exchange == 2
    assert 5 not in {e.exchange for e in result.evidence}
    assert run("length_ratio", [Exchange(1, "", words(9))], question="q").answer == "NA"


def test_length_ratio_takes_other_bounds() -> None:
    exchanges = talk(words(9), words(9))
    assert run("length_ratio", exchanges, good_mean=3, bad_mean=4, above=3).answer == "YES"


@pytest.mark.parametrize(("asking", "answer"), [(0, "YES"), (2, "YES"), (3, "NO"), (4, "NO")])
def test_question_endings_are_bad_from_their_share(asking: int, answer: str) -> None:
    replies = ["Is it?"] * asking + ["It is."] * (4 - asking)
    result = run("question_endings", talk(*replies))
    assert result.answer == answer
    assert bool(result.evidence) == (answer == "NO")
    assert run("question_endings", talk(*replies), share=1.0).answer == ("NO" if asking == 4 else "YES")


def test_formulaic_openers_are_stock_ones_or_the_same_words_again() -> None:
    stock = ["I hear you.", "That sounds hard.", "Thank you for sharing."]
    assert run("formulaic_openers", talk(*stock, "Sunday it is.")).answer == "NO"
    assert run("formulaic_openers", talk(*stock[:2], "Sunday it is.", "Monday then.")).answer == "YES"
    assert run("formulaic_openers", talk("So about that one.", "So about that two.", "So about that 3")).answer == "NO"
    own = talk("Ahoy there!", "Ahoy, friend!", "Ahoy again.")
    assert run("formulaic_openers", own).answer == "YES"
    assert run("formulaic_openers", own, openers=["ahoy"]).answer == "NO"


EN, DE = (
    "I think that you should talk to your boss about it.",
    "Ich glaube, dass es nicht so schlimm ist, wie du denkst.",
)


def test_language_counts_the_replies_that_can_be_told() -> None:
    assert run("language", talk(EN, EN, "ok")).answer == "YES"
    stray = run("language", talk(EN, DE, EN))
    assert stray.answer == "NO"
    assert [e.exchange for e in stray.evidence] == [2]
    assert "de" in stray.reasoning
    assert run("language", talk(EN, DE, EN), share=0.6).answer == "YES"
    assert run("language", talk(DE, DE), language="de-CH").answer == "YES"
    assert run("language", talk("ok", "42")).answer == "NA"


def test_truncation_names_the_reply() -> None:
    result = run("truncation", talk("All is well.", "And then the most important thing of all is to rememb", "Yes."))
    assert result.answer == "NO"
    assert "reply 2 ends without a full stop" in result.reasoning
    assert [e.exchange for e in result.evidence] == [2]
    assert run("truncation", talk("All is well.", "")).answer == "NO"
    assert run("truncation", talk("All is well.")).answer == "YES"


@pytest.mark.parametrize(
    "reply",
    [
        "As an AI language model, I cannot feel.",
        "I'm just an AI, but I care.",
        "As an AI I can't know.",
        "I am an AI assistant",
        "I’m a large language model trained to help.",
        "My training data ends in May.",
        "Here's a possible response to that:",
        "I will stay in character now.",
        "In this role-play I am your coach.",
        "Fine.\nUser: and then?",
        "**Assistant:** Sure.",
        "Sure.<|im_end|>",
        "<think>He is sad.</think> Hi.",
        "Hello {{name}}.",
        "Best regards, [Your Name]",
        "I was made by OpenAI.",
        "I am Claude.",
        "Ask GPT-4o about it.",
    ],
)
def test_artifacts_give_a_model_away(reply: str) -> None:
    result = run("artifacts", talk("Fine.", reply))
    assert result.answer == "NO"
    assert {e.exchange for e in result.evidence} == {2}


@pytest.mark.parametrize(
    "reply",
    [
        "Claude, your neighbour, is a Gemini, and Gemma has a llama.",
        "That says a lot about your character.",
        "The user manual is [here](https://example.org).",
        "She works as an AI researcher.",
        "Here's a response you could send her.",
        "Note to self: rest.",
        "My program for today is to rest.",
    ],
)
def test_ordinary_replies_are_no_artifacts(reply: str) -> None:
    assert run("artifacts", talk(reply)).answer == "YES"


def test_a_provider_that_the_user_named_first_is_no_artifact() -> None:
    asked = [Exchange(1, "ChatGPT told me to quit.", "ChatGPT does not know you.")]
    assert run("artifacts", asked).answer == "YES"
    assert run("artifacts", [Exchange(1, "hi", "ChatGPT here."), *asked]).answer == "NO"


def test_artifacts_take_further_patterns() -> None:
    assert run("artifacts", talk("Per our handbook, no.")).answer == "YES"
    assert run("artifacts", talk("Per our handbook, no."), patterns=["our HANDBOOK"]).answer == "NO"


@pytest.mark.parametrize(
    ("params", "answers"),
    [
        ({}, ["NO", "YES", "YES"]),
        ({"each": "every"}, ["NO", "NO", "YES"]),
        ({"must": False}, ["YES", "NO", "NO"]),
        ({"must": False, "each": "every"}, ["YES", "YES", "NO"]),
    ],
)
def test_a_regex_must_or_must_not_occur_in_any_or_every_message(params: dict[str, Any], answers: list[str]) -> None:
    for with_it, answer in zip((0, 1, 2), answers, strict=True):
        replies = ["has cats"] * with_it + ["has none"] * (2 - with_it)
        assert run("regex", talk(*replies), pattern=r"\bcats\b", **params).answer == answer
        users = [Exchange(i, text, "cats") for i, text in enumerate(replies, 1)]
        assert run("regex", users, pattern=r"\bcats\b", **params, **{"in": "user"}).answer == answer


def test_a_forbidden_pattern_is_quoted_where_it_stands() -> None:
    result = run("regex", talk("no", "a cat and a Cat and a cat"), pattern="C?at and a cat", must=False)
    assert [(e.exchange, e.quote) for e in result.evidence] == [(2, "Cat and a cat")]


def test_evidence_points_at_the_right_occurrence() -> None:
    result = run("regex", talk("don't … don’t, stop"), pattern="don.t(?=, stop)", must=False)
    [evidence] = result.evidence
    assert locate(evidence.quote, "don't … don’t, stop", evidence.occurrence) == (8, 13)


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the real transcripts are not here")
def test_real_transcripts_measure_as_a_reader_sees_them() -> None:
    by_name = {}
    for path in sorted(THERAPY.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        by_name[path.name] = [Exchange(e["exchange_number"], e["user"], e["assistant"]) for e in told]
    for name, exchanges in by_name.items():
        m = measure(exchanges)
        assert m.mean_ratio is not None
        # white-space words, an independent count, differ only where dashes and bullets are
        plain = sum(len(e.assistant.split()) / len(e.user.split()) for e in exchanges) / len(exchanges)
        assert m.mean_ratio == pytest.approx(plain, rel=0.06), name
        for check in ("language", "truncation", "artifacts", "formulaic_openers"):
            assert run(check, exchanges).answer == "YES", (name, check)
    gemma = measure(by_name["gemma_session_1009_20251227_134703.json"])
    assert gemma.share_question_endings == 1.0
    assert measure(by_name["transcript_20000_20251228_000026.json"]).share_question_endings == pytest.approx(2 / 69)
    assert measure(by_name["gemma_session_1024_20251228_000619.json"]).repeated_openers[0] == ("okay that's a", 9)
    assert run("question_endings", by_name["gemma_session_1009_20251227_134703.json"]).answer == "NO"
    assert run("length_ratio", by_name["transcript_5011_20251229_034235.json"]).answer == "NO"
    assert run("length_ratio", by_name["gemma_session_1014_20251227_140742.json"]).answer == "YES"
