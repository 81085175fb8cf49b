"""Phrases that come back in reply after reply."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import repeat
from typing import Literal, NamedTuple

from loopreview.rules.words import CJK

SHORTEST, LONGEST = 3, 6
"""Words of a phrase."""
SAME_SHARE = 0.9
"""A phrase inside a longer one that has at least this part of its replies is not listed apart."""

PASSAGE_WORDS = 40
"""Words of a passage that are shown."""

Words = tuple[str, ...]
Level = Literal["critical", "high", "watch"]

# Vowel signs and tone marks are no letters to `re`; the blocks of Indic and South East Asian scripts are taken whole.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff"
    "\u0e00-\u109f\u1780-\u17ff"
)
_WORD = re.compile(rf"[{CJK}]|(?:(?![{CJK}])(?:[^\W_]|[{_MARKS}]))+(?:'(?:(?![{CJK}])(?:[^\W_]|[{_MARKS}]))+)*")
_TYPOGRAPHY = re.compile("[\u2010-\u203e\u2190-\u21ff\u2600-\u2775\u2794-\u27bf\U0001f300-\U0001faff\ufe0f\u200d]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")


def words_of(text: str) -> list[str]:
    """The words of `text` folded: small letters, compatibility forms made plain, no punctuation and no markup.

    Chinese, Japanese and Korean characters are words of their own, as in `count_words`.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKC", text.replace("’", "'").replace("ʼ", "'")).casefold()
    # Most texts have no more than dashes and quotation marks beyond ASCII: then the quicker pattern finds the same.
    plain = _TYPOGRAPHY.sub(" ", folded)
    return _ASCII_WORD.findall(plain) if plain.isascii() else _WORD.findall(folded)


def level(replies: int, total: int) -> Level | None:
    """How serious it is that `replies` of `total` replies share a phrase: over 50 % critical, from 20 % high, from
    10 % watch. A phrase of a single reply is no repetition."""
    if replies < 2:
        return None
    if 2 * replies > total:
        return "critical"
    return "high" if 5 * replies >= total else "watch" if 10 * replies >= total else None


class Phrase(NamedTuple):
    """A phrase in its folded form. `passage`: the longer text that it is a window of, or empty."""

    phrase: str
    replies: int
    share: float
    level: Level
    passage: str = ""


def common_phrases(replies: Callable[[], Iterable[list[str]]], total: int) -> dict[Words, int]:
    """Every phrase of 3 to 6 words in at least a tenth of `total` replies (and in two), with its number of replies.

    `replies` gives the folded words of each reply, the same ones each time: they are read twice. Exact, since a
    phrase is in no more replies than any part of it (the Apriori property; Agrawal and Srikant 1994): the first
    reading counts words, the second keeps the stretches of words that reach a tenth, and from those each length is
    counted only where both shorter parts of it reached a tenth. What is counted stays small, as at most ten times a
    reply's words can each be in a tenth of the replies.
    """
    counts: Counter[str] = Counter()
    for words in replies():
        counts.update(set(words))
    kept = [word for word, n in counts.items() if level(n, total)]
    codes = {word: chr(place) for place, word in enumerate(kept, 1)}  # a stretch of words is a string of codes
    coded = [run for words in replies() if (run := _runs("".join(map(codes.get, words, repeat(_GAP)))))]
    found: dict[Words, int] = {}
    for length in range(2, LONGEST + 1):
        grams: Counter[str] = Counter()
        for reply in coded:
            grams.update({run[i : i + length] for run in reply for i in range(len(run) - length + 1)})
        common = {gram for gram, n in grams.items() if level(n, total)}
        if length >= SHORTEST:
            found |= {tuple(kept[ord(code) - 1] for code in gram): grams[gram] for gram in common}
        coded = [longer for reply in coded if (longer := _longer(reply, length, common))]
    return found


_GAP = "\0"


def _runs(coded: str) -> list[str]:
    return [run for run in coded.split(_GAP) if len(run) > 1]


def _longer(reply: list[str], length: int, common: Collection[str]) -> list[str]:
    """The stretches in which every window of `length` is common, where a longer window fits in."""
    found = []
    for run in reply:
        start = 0
        for i in range(len(run) - length + 1):
            if run[i : i + length] not in common:
                if i + length - 1 - start > length:
                    found.append(run[start : i + length - 1])
                start = i + 1
        if len(run) - start > length:
            found.append(run[start:])
    return found


def listed(counts: Mapping[Words, int], total: int) -> list[Phrase]:
    """The phrases worth reading, most frequent first.

    Left out is a phrase inside a longer one of the same level that has at least `SAME_SHARE` of its replies, so that
    one formula takes one row; a part that is clearly more frequent, or of a graver level, keeps its own. The windows of
    a formula of more than six words make one row too, with the whole of it as `passage`.
    """
    levels = {words: grade for words, n in counts.items() if (grade := level(n, total))}
    passages = _passages(counts, levels)
    covered: dict[tuple[Words, Level], int] = {}
    found: list[Phrase] = []
    for words in sorted(levels, key=lambda words: (-len(words), -counts[words], words)):
        grade, n = levels[words], counts[words]
        if covered.get((words, grade), 0) < SAME_SHARE * n and passages.get(words) != "":
            found.append(Phrase(" ".join(words), n, n / total, grade, passages.get(words, "")))
        for length in range(SHORTEST, len(words)):
            for i in range(len(words) - length + 1):
                part = (words[i : i + length], grade)
                covered[part] = max(covered.get(part, 0), n)
    return sorted(found, key=lambda phrase: (-phrase.replies, -len(phrase.phrase.split()), phrase.phrase))


def _passages(counts: Mapping[Words, int], levels: Mapping[Words, Level]) -> dict[Words, str]:
    """For the longest windows that follow one another with about the same count: the first one's whole passage, and
    an empty text for the others."""
    windows = sorted(words for words in levels if len(words) == LONGEST)
    by_start: dict[Words, list[Words]] = {}
    for words in windows:
        by_start.setdefault(words[:-1], []).append(words)
    following: dict[Words, Words] = {}
    taken: set[Words] = set()
    for words in windows:
        alike = [
            after
            for after in by_start.get(words[1:], ())
            if levels[after] == levels[words]
            and min(counts[after], counts[words]) >= SAME_SHARE * max(counts[after], counts[words])
        ]
        if len(alike) == 1 and alike[0] not in taken:
            following[words] = alike[0]
            taken.add(alike[0])
    made: dict[Words, str] = {}
    for first in following:
        if first in taken:
            continue
        passage, last = list(first), first
        while (last := following.get(last, ())) and last not in made:
            passage.append(last[-1])
            made[last] = ""
        made[first] = " ".join(passage[:PASSAGE_WORDS]) + (" …" if len(passage) > PASSAGE_WORDS else "")
    return made
