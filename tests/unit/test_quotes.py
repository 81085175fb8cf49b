import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.rules import quotes
from loopreview.rules.quotes import locate, occurrence_at, stands_in


def found(quote: str, text: str, occurrence: int = 1) -> str | None:
    place = locate(quote, text, occurrence)
    return text[slice(*place)] if place else None


@pytest.mark.parametrize(
    ("quote", "text", "passage"),
    [
        ("I don't know", "Well, I don’t know.", "I don’t know"),
        ("I don’t know", "Well, I don't know.", "I don't know"),
        ('"so be it"', "He said “so be it” twice", "“so be it”"),
        ("a b c", "x a \n\n b\tc y", "a \n\n b\tc"),
        ("a\nb", "a b", "a b"),
        ("well - yes", "well — yes", "well — yes"),
        ("well -- yes", "well – yes", "well – yes"),
        ("wait...", "so wait… then", "wait…"),
        ("wait…", "so wait... then", "wait..."),
        ("…and then", "first and then", "and then"),
        ("and then ...", "first and then", "and then"),
        ("... and then …", "first and then", "and then"),
        ("café", "the cafe\u0301 there", "cafe\u0301"),
        ("cafe\u0301", "the café there", "café"),
        ("fine", "it is ﬁne", "ﬁne"),
        ("office", "soft of\u00adfice", "of\u00adfice"),
        ("ABC", "ＡＢＣ", "ＡＢＣ"),
        ("  padded  ", "is padded well", "padded"),
        ("a b", "a\u00a0b", "a\u00a0b"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ],
)
def test_quotes_are_found_across_white_space_and_typography(quote: str, text: str, passage: str) -> None:
    assert found(quote, text) == passage


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("", "text"),
        ("  ", "a b"),
        ("…", "text"),
        ("I know", "i know"),
        ("I dont know", "I don't know"),
        ("alpha beta", "alphabeta"),
        ("alpha gamma", "alpha beta gamma"),
        ("first … last", "first and last"),
        ("wait.", "so wait… then"),
        ("caf", "cafe\u0301"[3:] + "ca"),
        ("i", "ﬁ"),
        ("text", ""),
    ],
)
def test_none_rather_than_a_wrong_place(quote: str, text: str) -> None:
    assert locate(quote, text) is None


def test_a_letter_is_not_found_inside_a_composed_one() -> None:
    assert locate("cafe", "cafe\u0301") is None


def test_the_nth_occurrence_counts_all_spellings() -> None:
    text = "don't — don’t — don't"
    assert [locate("don’t", text, n) for n in (1, 2, 3, 4)] == [(0, 5), (8, 13), (16, 21), None]
    assert locate("don’t", text, 0) is None
    assert [occurrence_at("don’t", text, start) for start in (0, 8, 16)] == [1, 2, 3]


CHARS = st.sampled_from(list("abcAB .,!?-'\"\n\t") + list("’“”—–…\u00a0\u00adéﬁ漢\u0301\u200b") + ["...", "  "])
TEXTS = st.lists(CHARS, max_size=60).map("".join)
VARIANTS = {
    **dict.fromkeys("'’", "'’‘"),
    **dict.fromkeys('"“”', '"“”'),
    **dict.fromkeys("—–", "—–-"),
    "…": ["…", "..."],
    " ": [" ", "\n", "  "],
}


def plain(text: str) -> str:
    """What a reader would call the same: an independent, slower folding of a whole text."""
    text = re.sub("[\u00ad\u200b]", "", text)
    for kinds, one in (("’‘", "'"), ("“”", '"'), ("—–", "-")):
        text = re.sub(f"[{kinds}]", one, text)
    return re.sub(r"\s+", " ", re.sub("-+", "-", unicodedata.normalize("NFKC", text)))


def bare(quote: str) -> str:
    """Without the ellipses around it and without white space."""
    return re.sub(r"^[.\s]+|[.\s]+$", "", plain(quote)).replace(" ", "")


@given(TEXTS, st.integers(0, 60), st.integers(1, 60), st.integers(1, 3))
def test_a_highlighted_range_really_holds_the_quote(text: str, start: int, length: int, occurrence: int) -> None:
    quote = text[start : start + length]
    place = locate(quote, text, occurrence)
    if place:
        assert 0 <= place[0] < place[1] <= len(text)
        assert bare(quote) in plain(text[slice(*place)]).replace(" ", "")


WORDS = st.sampled_from(["a", "b", "don’t", "“so”", "well—yes", "wait…", "é", "ﬁne", "漢字", "don't", "e.g."])
SPACES = st.sampled_from([" ", "\n\n", "\u00a0 ", " \t"])


@given(st.lists(WORDS, min_size=1, max_size=12), st.data())
def test_a_passage_is_found_however_it_is_respelled(words: list[str], data: st.DataObject) -> None:
    spaces = [data.draw(SPACES) for _ in words]
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    text = "".join(word + space for word, space in zip(words, spaces, strict=True))
    passage = "".join(w + s for w, s in zip(words[start:end], spaces[start:end], strict=True)).rstrip()
    respelled = "".join(data.draw(st.sampled_from(list(VARIANTS.get(c, [c])))) for c in passage)
    place = locate(respelled, text)
    assert place is not None
    assert place[0] <= text.index(passage)


@given(TEXTS, TEXTS)
def test_a_quote_from_elsewhere_is_never_placed_where_it_is_not(quote: str, text: str) -> None:
    place = locate(quote, text)
    if place:
        assert quote.strip() in text or bare(quote) in plain(text).replace(" ", "")


@pytest.mark.parametrize("quote", ["." * 5000 + "x", "… " * 3000 + "x" + " …" * 3000, "-" * 20000, "\u0301" * 5000])
def test_a_hostile_quote_takes_no_time(quote: str) -> None:
    begin = time.perf_counter()
    locate(quote, "some text " * 500)
    assert time.perf_counter() - begin < 0.5


pieces = st.text(st.sampled_from("ab -\u2014.\u2026'\u2019\u0301\u200b\n\ufb01"), max_size=12)


@given(pieces, pieces)
def test_a_quote_stands_where_it_can_be_located(quote: str, text: str) -> None:
    assert stands_in(quote, text) == (locate(quote, text) is not None)
    assert stands_in(quote, f"a{quote}b") == (locate(quote, f"a{quote}b") is not None)


def test_what_is_kept_folded_has_a_limit() -> None:
    for n in range(40):
        locate("nothing", f"{n} " + "word’s " * 10_000)
    assert sum(map(len, quotes._cached)) <= quotes._CACHED_CHARACTERS
    assert quotes._held == sum(map(len, quotes._cached))
    locate("nothing", "word’s " * 200_000)
    assert len(quotes._cached) == 1, "one that is larger than all of it stays alone"
    locate("nothing", "short")
    assert list(quotes._cached) == ["short"]
