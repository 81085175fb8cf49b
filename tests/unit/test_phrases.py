"""Phrases that come back: exact from a tenth of the replies on, and listed so that they can be read."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.rules.phrases import common_phrases, level, listed, words_of


def counted(*replies: str) -> dict[str, int]:
    words = [words_of(reply) for reply in replies]
    return {" ".join(phrase): n for phrase, n in common_phrases(lambda: words, len(words)).items()}


def rows(*replies: str) -> list[tuple[str, int, str]]:
    words = [words_of(reply) for reply in replies]
    found = listed(common_phrases(lambda: words, len(words)), len(words))
    return [(row.phrase, row.replies, row.level) for row in found]


def filler(number: int) -> str:
    return " ".join(f"{letter}{number}" for letter in "abcdefgh")


# --- folding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "I hear you, and it's hard.",
        "i HEAR you -- and it’s hard!",
        "**I hear you** and *it's* hard",
        "# I hear you\n\n- and it's hard",
        "“I hear you” … and it's hard 😀",
    ],
)
def test_case_punctuation_and_markup_make_no_difference(text):
    assert words_of(text) == ["i", "hear", "you", "and", "it's", "hard"]


def test_chinese_japanese_and_korean_characters_are_words_of_their_own():
    assert words_of("我明白。OK！") == ["我", "明", "白", "ok"]


def test_vowel_signs_and_accents_stay_in_their_word():
    assert words_of("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words_of("Cafe\u0301 CAFÉ") == ["café", "café"]


@given(st.text(alphabet=st.sampled_from("abc ABC'’.,!-—…😀é我\n"), max_size=60))
def test_folding_what_is_folded_changes_nothing(text):
    words = words_of(text)
    assert words_of(" ".join(words)) == words


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "total", "expected"),
    [
        (51, 100, "critical"), (50, 100, "high"), (20, 100, "high"), (19, 100, "watch"), (10, 100, "watch"),
        (9, 100, None), (1, 1, None), (1, 2, None), (2, 2, "critical"),
    ],
)  # fmt: skip
def test_levels_begin_over_a_half_at_a_fifth_and_at_a_tenth(replies, total, expected):
    assert level(replies, total) == expected


def test_a_single_reply_repeats_nothing():
    assert rows("that is what I would try first, that is what I would try first") == []


def test_a_phrase_counts_once_a_reply_however_often_it_is_in_it():
    assert counted("so it goes, so it goes, so it goes", "so it goes", filler(1), filler(2))["so it goes"] == 2


def test_phrases_have_three_to_six_words():
    found = counted(*["one two three four five six seven"] * 2)
    assert {len(phrase.split()) for phrase in found} == {3, 4, 5, 6}


# --- exact ----------------------------------------------------------------------------------------------------------

some_replies = st.lists(st.lists(st.sampled_from("abcde"), max_size=12), max_size=25)


@given(some_replies)
def test_every_phrase_of_a_tenth_is_found_with_its_exact_number(replies):
    """Against counting everything."""
    every = Counter()
    for words in replies:
        every.update({tuple(words[i : i + n]) for n in (3, 4, 5, 6) for i in range(len(words) - n + 1)})
    expected = {phrase: n for phrase, n in every.items() if n >= 2 and n / len(replies) >= 0.1}
    assert common_phrases(lambda: replies, len(replies)) == expected


def test_a_phrase_in_exactly_a_tenth_is_found_and_one_just_below_is_not():
    said = ["come what may"] * 3
    assert counted(*map(filler, range(27)), *said)["come what may"] == 3
    assert "come what may" not in counted(*map(filler, range(28)), *said)


# --- the list -------------------------------------------------------------------------------------------------------


def test_a_formula_takes_one_row_and_not_one_for_each_of_its_parts():
    replies = [f"It sounds like you are {filler(n)}" for n in range(6)] + [filler(n) for n in range(10, 14)]
    assert rows(*replies) == [("it sounds like you are", 6, "critical")]


def test_a_part_that_is_clearly_more_frequent_keeps_its_own_row():
    replies = [f"it sounds like you are {filler(n)}" for n in range(3)] + [
        f"it sounds like {filler(n)}" for n in range(3, 9)
    ]
    assert rows(*replies, *map(filler, range(20, 25))) == [
        ("it sounds like", 9, "critical"),
        ("it sounds like you are", 3, "high"),
    ]


def test_a_part_of_a_graver_level_is_never_hidden():
    longer = [f"it sounds like you are {filler(n)}" for n in range(19)]
    replies = [*longer, *[f"it sounds like {filler(n)}" for n in (90, 91)], *map(filler, range(20, 39))]
    assert [(phrase, found) for phrase, _, found in rows(*replies)] == [
        ("it sounds like", "critical"),
        ("it sounds like you are", "high"),
    ], "21 of 40 and 19 of 40: nearly the same share, on both sides of the gate"


def test_the_windows_of_a_long_formula_take_one_row_with_the_whole_of_it():
    formula = "thank you for reaching out to our friendly support team today"
    words = [words_of(f"{formula} {filler(n)}") for n in range(5)]
    (row,) = listed(common_phrases(lambda: words, 5), 5)
    assert row.phrase == "thank you for reaching out to"
    assert row.passage == formula


def test_two_identical_giant_replies_are_told_in_seconds_and_shown_in_a_line():
    reply = [f"w{n}" for n in range(30_000)]
    began = time.perf_counter()
    (row,) = listed(common_phrases(lambda: [reply, reply], 2), 2)
    assert time.perf_counter() - began < 20
    assert len(row.passage.split()) == 41 and row.passage.endswith("…")
