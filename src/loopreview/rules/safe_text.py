"""Text of models and files made safe to show: what a terminal would obey or hide becomes visible."""

import re
from functools import cache

_NAMED = (  # C1, soft hyphen, joiners, bidirectional controls, fillers, invisible operators, tags, lone surrogates
    "\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile(f"([\x00-\x09\x0b-\x1f\x7f{_NAMED}])")
_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_JOINED = "\u0620-\u08ff\u0900-\u0dff"  # Arabic and Indic letters, which joiners shape
_JOINER = re.compile(f"((?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])|(?<=[{_JOINED}])[\u200c\u200d](?=[{_JOINED}]))")


def safe(text: str, *, keep_newlines: bool = True) -> str:
    """`text` with control, escape, bidirectional, zero-width characters and lone surrogates as pictures: ␛, ⟨U+202E⟩.

    Tabs become four spaces, CR LF a line feed, and without `keep_newlines` a line feed a space. Joiners stay where
    they belong: inside an emoji, between Arabic or Indic letters. Nothing else changes.
    """
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    if not keep_newlines:
        text = text.replace("\n", " ")
    if "\u200d" in text or "\u200c" in text:
        parts = _JOINER.split(text)
        parts[::2] = map(_visible, parts[::2])
        return "".join(parts)
    return _visible(text)


def _visible(text: str) -> str:
    parts = _HIDDEN.split(text)
    if len(parts) == 1:
        return text
    parts[1::2] = map(_picture, parts[1::2])
    return "".join(parts)


@cache
def _picture(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
