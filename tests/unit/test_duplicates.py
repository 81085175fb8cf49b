"""Near duplicates by MinHash."""

import random
import sys

import pytest

from loopreview.models.errors import UserError
from loopreview.rules import duplicates
from loopreview.rules.duplicates import SIGNATURE_BYTES, groups, resemblance, signature
from loopreview.rules.phrases import words_of


def text(seed: int, words: int = 400) -> str:
    chance = random.Random(seed)
    return " ".join(f"w{chance.randrange(5_000)}" for _ in range(words))


def changed(original: str, count: int, offset: int = 0) -> str:
    """The same text with `count` words replaced, far from each other: each takes five shingles with it."""
    words = original.split()
    for i in range(count):
        words[10 + offset + i * len(words) // (count + 1)] = f"x{offset}n{i}"
    return " ".join(words)


def exact(one: str, other: str) -> float:
    a, b = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (words_of(one), words_of(other)))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("count", [0, 2, 5, 9, 15, 40])
def test_the_estimate_is_near_the_jaccard_index(count):
    for seed in range(10):
        one = text(seed)
        other = changed(one, count)
        assert resemblance(signature([one]), signature([other])) == pytest.approx(exact(one, other), abs=0.08)


def test_pairs_clearly_over_the_threshold_are_found_and_those_clearly_under_it_are_not():
    texts = {}
    for seed in range(60):
        texts[f"{seed:02}a"] = text(seed)
        texts[f"{seed:02}b"] = changed(text(seed), 5 if seed % 2 else 14)
    found = {group.transcripts for group in groups({id: signature([said]) for id, said in texts.items()})}
    over, under = set(range(1, 60, 2)), set(range(0, 60, 2))
    assert all(exact(texts[f"{seed:02}a"], texts[f"{seed:02}b"]) > 0.86 for seed in over)
    assert all(exact(texts[f"{seed:02}a"], texts[f"{seed:02}b"]) < 0.73 for seed in under)
    told = {int(ids[0][:2]) for ids in found}
    assert told == over
    assert all(len(ids) == 2 and ids[0][:2] == ids[1][:2] for ids in found)


def test_transcripts_hang_together_by_what_lies_between_them():
    first = text(1)
    second = changed(first, 6)
    third = changed(second, 6, offset=12)
    assert exact(first, third) < 0.75 < 0.85 < min(exact(first, second), exact(second, third))
    (group,) = groups({"1-1": signature([first]), "1-2": signature([second]), "1-3": signature([third])})
    assert group.transcripts == ("1-1", "1-2", "1-3")
    assert 0.8 <= group.jaccard < 1


def test_the_order_in_which_signatures_were_made_does_not_matter():
    made = {f"1-{n}": signature([changed(text(n % 4), 3, offset=n)]) for n in range(1, 30)}
    once = groups(made)
    assert len(once) == 4
    shuffled = list(made.items())
    random.Random(3).shuffle(shuffled)
    again = groups(dict(shuffled))
    assert {(frozenset(g.transcripts), g.jaccard) for g in once} == {
        (frozenset(g.transcripts), g.jaccard) for g in again
    }


def test_case_and_punctuation_do_not_hide_a_duplicate():
    said = "I hear you, and that sounds hard. What would help?"
    assert signature([said]) == signature(["i hear you and that sounds HARD!", "what would help"])


def test_a_text_shorter_than_a_shingle_is_like_itself_alone():
    assert groups({"a": signature(["thank you"]), "b": signature(["Thank you!"]), "c": signature(["thank me"])}) == [
        (("a", "b"), 1.0)
    ]


def test_without_words_nothing_is_alike():
    assert signature([]) == signature(["…", ""]) == b""
    assert groups({"a": b"", "b": b""}) == []
    assert resemblance(b"", signature(["one two"])) == 0


def test_a_signature_has_a_fixed_length_and_a_fixed_value():
    """Parts of an audit and groups of a split are made on different days and machines."""
    made = signature(["the quick brown fox jumps over the lazy dog"])
    assert len(made) == SIGNATURE_BYTES
    assert made[:8].hex() == "12e4d2c003c284a1"


def test_ten_thousand_copies_are_one_group_at_once():
    made = signature([text(1)])
    (group,) = groups({str(n): made for n in range(10_000)})
    assert len(group.transcripts) == 10_000


def test_a_missing_library_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    duplicates._rensa.cache_clear()
    with pytest.raises(UserError, match="pip install rensa"):
        signature(["some words"])
    duplicates._rensa.cache_clear()
