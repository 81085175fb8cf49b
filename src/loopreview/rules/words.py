"""Reading plain text by rule: its words, its language, how it opens and how it ends."""

import re
import unicodedata
from collections.abc import Sequence

CJK = (
    "\u3005-\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # signs, Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\uff66-\uff9f"  # Han, half-width Kana
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3\uffa1-\uffdc"  # Hangul
)
"""Characters that count as a word each, as the inside of a regular expression's class."""

_CJK = re.compile(f"[{CJK}]")
_PIECE = re.compile(r"[^\s\u2013\u2014\u2015\u2026]+")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def count_words(text: str) -> int:
    """Words of `text`: pieces between white space, dashes (– —) and ellipses that hold a letter or digit.

    Han, Kana and Hangul count by characters. Thai, Lao and Khmer, which put no spaces between words, count by piece.
    """
    found = 0
    if not text.isascii():
        text, found = _CJK.subn(" ", unicodedata.normalize("NFC", text))
    return found + sum(1 for piece in _PIECE.findall(text) if _LETTER_OR_DIGIT.search(piece))


_SCRIPTS = {
    "latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "arabic": "\u0620-\u06ff\u0750-\u077f",
    "hebrew": "\u05d0-\u05ea",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "kana": "\u3041-\u3096\u30a1-\u30fa",
    "hangul": "\uac00-\ud7a3",
    "han": "\u3400-\u4dbf\u4e00-\u9fff",
}
_LETTERS = {script: re.compile(f"[{letters}]") for script, letters in _SCRIPTS.items()}
_ONE_LANGUAGE = {"greek": "el", "hebrew": "he", "devanagari": "hi", "thai": "th", "hangul": "ko", "han": "zh"}
_COMMON = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the and to of is it that you in for with was this are be have not your what but they we how about when",
        "de": "der die das und ist nicht ich sie ein eine zu mit auf für es den von wie auch aber dass wir haben war",
        "fr": "le la les des et est pas vous que je un une dans pour ce qui sur avec il elle nous mais votre c'est",
        "es": "el la los las que y es no un una por con para lo se su como pero más del está mi muy usted te qué",
        "it": "il lo gli che e è non un una per con di si come ma della sono mi più anche questo del ti ho ha",
        "pt": "o os as que e é não um uma por com para do da em se mais mas como você seu sua ao isso está eu foi",
        "nl": "de het een en is niet ik je dat van op te met voor zijn maar ook er hebben wat dit wel naar aan bij",
        "pl": "i w nie na się że to jest z do o jak ale co tak po czy jestem może tego już dla od przez być",
        "sv": "och att det är inte jag du en ett som på för med av den har till om men så kan vi var från",
        "tr": "ve bir bu da de için ile çok ne ben sen değil ama gibi daha var olarak mi kadar sonra",
        "id": "yang dan di ini itu tidak saya untuk dengan anda dari akan ada ke pada bisa juga kami sudah apa",
    }.items()
}
LANGUAGES = (*sorted(_COMMON), "ar", "el", "fa", "he", "hi", "ja", "ko", "ru", "th", "uk", "zh")
"""The languages that `language_of` can name, as ISO 639-1 codes."""

_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_LATIN_WORD = re.compile(f"[{_SCRIPTS['latin']}]+(?:'[{_SCRIPTS['latin']}]+)?")


def language_of(text: str) -> str | None:
    """The language that most of `text` is in, by script and common words; None where it is too short to tell.

    A heuristic that needs no network. Latin script takes three common words, and more of them than in any other
    known language. Bulgarian and Serbian are taken for Russian, Urdu for Arabic, Danish and Norwegian for Swedish,
    and a sentence in a second language inside a long text is not seen. Code and addresses are left out.
    """
    text = _NOT_PROSE.sub(" ", text)
    counts = {script: len(letters.findall(text)) for script, letters in _LETTERS.items()}
    if counts["kana"] * 10 > counts["han"]:
        counts["kana"], counts["han"] = counts["kana"] + counts["han"], 0
    script = max(counts, key=lambda name: counts[name])
    if counts[script] < (8 if script == "latin" else 2):
        return None
    if script == "latin":
        return _latin(text)
    if script == "kana":
        return "ja"
    if script == "cyrillic":
        return "uk" if len(re.findall("[іїєґ]", text.lower())) > len(re.findall("[ыэёъ]", text.lower())) else "ru"
    if script == "arabic":
        return "fa" if len(re.findall("[پچژگی]", text)) * 50 > counts["arabic"] else "ar"
    return _ONE_LANGUAGE[script]


def _latin(text: str) -> str | None:
    words = _LATIN_WORD.findall(text.replace("’", "'").lower())
    scores = sorted(((sum(word in common for word in words), code) for code, common in _COMMON.items()), reverse=True)
    (best, code), (second, _) = scores[0], scores[1]
    return code if best >= 3 and best > second else None


STOCK_OPENERS = (
    "i hear you", "i hear that", "i hear how", "that sounds", "it sounds like", "sounds like", "thank you for sharing",
    "thanks for sharing", "thank you for telling", "thank you for reaching out", "thanks for reaching out",
    "thank you for contacting", "i understand", "i completely understand", "i totally understand", "i can understand",
    "i can imagine", "i can see how", "i can see why", "i can hear", "i appreciate", "great question", "good question",
    "that's a great", "that's a good question", "that's a really", "what a great", "certainly", "of course",
    "absolutely", "i'm sorry to hear", "i'm so sorry", "i am sorry to hear", "i apologize for", "it's understandable",
    "it's completely understandable", "that's understandable", "that's completely understandable",
    "it makes sense that", "that makes sense", "that makes a lot of sense", "i'm here for you", "i'm glad you",
    "i'd be happy to", "i would be happy to", "happy to help",
)  # fmt: skip

_QUESTION = "?？؟⁇⁈⁉"
_ENDS = _QUESTION + ".!…。！｡‼।۔"
_OPEN_ENDS = {  # words that hardly any sentence ends in
    "a", "an", "the", "and", "or", "but", "because", "your", "my", "their", "our", "its", "into",
    "i'm", "you're", "it's", "that's", "they're", "we're",
}  # fmt: skip


def _plain(text: str) -> str:
    return text.replace("’", "'").casefold()


def opener(text: str) -> str:
    """The first three words in small letters, without markup; the first four characters of Chinese or Japanese."""
    pieces = re.split(r"[\s\u2013-\u2015\u2026]+", _plain(text.lstrip()[:200]))
    words = [word for piece in pieces if (word := re.sub(r"^[\W_]+|[\W_]+$", "", piece))][:3]
    if words and _CJK.match(words[0]):
        return "".join(_CJK.findall("".join(words)))[:4]
    return " ".join(words)


def stock_opener(text: str, openers: Sequence[str] = STOCK_OPENERS) -> str | None:
    """The stock opener that `text` begins with, or None. `openers` in small letters."""
    plain = re.sub(r"^[\W_]+", "", _plain(text.lstrip()[:200]))
    for words in openers:
        rest = plain[len(words) :]
        if words and plain.startswith(words) and (not rest[:1].isalnum() or _CJK.match(rest)):
            return words
    return None


def ends_in_question(text: str) -> bool:
    """Whether the last sentence asks, whatever quotes, emphasis or emoji follow the mark."""
    end = len(text)
    while end and not text[end - 1].isalnum() and text[end - 1] not in _ENDS:
        end -= 1
    marks = text[:end][-3:]
    return marks[-1:] in set(_QUESTION) or (marks[-1:] == "!" and marks[-2:-1] in set(_QUESTION))


def cut_off(replies: Sequence[str]) -> dict[int, str]:
    """Index → why, for the replies of one transcript that stop before their end.

    Certain signs: nothing there, a code fence that is not closed, a last word or mark that no sentence ends in.
    A last sentence without a full stop counts only where most replies have one, and not in a heading, table, last
    list item, signature or other short line.
    """
    found = {i: why for i, reply in enumerate(replies) if (why := _certainly_cut(reply))}
    unclosed = [i for i, reply in enumerate(replies) if i not in found and _lacks_end(reply)]
    if len(unclosed) * 2 <= len(replies) or len(replies) == 1:
        found.update((i, "ends without a full stop") for i in unclosed)
    return dict(sorted(found.items()))


def _certainly_cut(reply: str) -> str | None:
    text = reply.rstrip()
    if not text:
        return "is empty"
    fence = None
    for mark, rest in re.findall(r"^[ ]{0,3}(`{3,}|~{3,})(.*)$", text, re.MULTILINE):
        if fence is None:
            fence = mark
        elif mark.startswith(fence) and not rest.strip():
            fence = None
    if fence:
        return "leaves a code fence open"
    if text[-1] in ",([{“‘、，–—" and text.splitlines()[-1].strip("–— "):
        return f"ends in {text[-1]!r}"
    if text.splitlines()[-1].count("**") % 2:
        return "leaves bold text open"
    last = re.search(r"[^\W\d_]+(?:['’][^\W\d_]+)?$", text[-30:])
    if last and last[0].islower() and _plain(last[0]) in _OPEN_ENDS and len(text.splitlines()[-1].split()) > 2:
        return f"ends in {last[0]!r}"
    return None


def _lacks_end(reply: str) -> bool:
    line = reply.rstrip().splitlines()[-1].strip()
    if line.rstrip("*_ ").endswith(":"):
        return True
    if not line[-1].isalnum() or re.match(r"#{1,6} |\||[-*+•] |\d+[.)] |https?://\S+$", line):
        return False
    if len(line.split()) <= 5 and len(line) <= 40:
        return False
    return re.match("[\u0e00-\u0eff\u1780-\u17ff]", line[-1]) is None  # Thai, Lao and Khmer use no full stop
