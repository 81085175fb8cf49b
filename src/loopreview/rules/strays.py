"""Replies in a language that is not the set's, and foreign letters amid a reply."""

import re
from collections.abc import Callable, Iterable

Detect = Callable[[str], tuple[str, float]]
"""A text → the ISO 639 code of its language and how sure that is, 0 to 1."""

SURE = 0.7
"""Less sure than this, a language is not told. Of 2,399 English texts of two public sets none is told wrongly then."""
FEWEST_LETTERS = 12
HEAD = 300
"""Characters of a reply by which its language is told."""
EXCERPT = 80

_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_SCRIPTS = {
    "Cyrillic": "\u0400-\u052f", "Greek": "\u0370-\u03ff\u1f00-\u1fff", "Arabic": "\u0620-\u06ff\u0750-\u077f",
    "Hebrew": "\u05d0-\u05ea", "Devanagari": "\u0900-\u097f", "Thai": "\u0e00-\u0e7f",
    "Hangul": "\u1100-\u11ff\uac00-\ud7a3",
    "Chinese or Japanese": "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff",
}  # fmt: skip
_RUNS = {script: re.compile(f"[{letters}]+") for script, letters in _SCRIPTS.items()}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_FEWEST = {"Chinese or Japanese": 1, "Hangul": 1, "Greek": 3}  # a Greek letter or two is a formula
_ASIAN = re.compile(f"[{_SCRIPTS['Chinese or Japanese']}{_SCRIPTS['Hangul']}{_SCRIPTS['Thai']}]")


def prose(text: str) -> str:
    """`text` without code and addresses."""
    return _NOT_PROSE.sub(" ", text) if "`" in text or "://" in text else text


def language(text: str, detect: Detect) -> str | None:
    """The language of `text` as an ISO 639 code, or None where it is too short or too mixed to tell."""
    head = prose(text[: 4 * HEAD])[:HEAD]
    letters = sum(map(str.isalpha, head))
    if letters < FEWEST_LETTERS and (letters < 4 or len(_ASIAN.findall(head)) < 4):
        return None
    code, sure = detect(head)
    return code if sure >= SURE else None


def scripts(text: str) -> dict[str, int]:
    """Letters of each script but the Latin one."""
    if text.isascii():
        return {}
    return {script: n for script, runs in _RUNS.items() if (n := sum(map(len, runs.findall(text))))}


def foreign_letters(reply: str, said: Iterable[str]) -> tuple[str, str] | None:
    """A script that a reply slips into and its first letters there; None where there is none. `said`: the scripts that
    the user has used before, which are no slip. A reply that is mostly in that script, or mostly in another than the
    Latin one with Latin words in it, has no slip either."""
    found = scripts(text := prose(reply))
    if not found:
        return None
    main = max(found, key=lambda script: found[script])
    if found[main] < len(_LATIN.findall(text)):
        main = "Latin"
    for script, n in found.items():
        if script != main and script not in said and n >= _FEWEST.get(script, 2):
            match = _RUNS[script].search(text)
            assert match is not None
            return script, text[max(0, match.start() - 20) : match.end() + 20].replace("\n", " ")[:EXCERPT]
    return None
