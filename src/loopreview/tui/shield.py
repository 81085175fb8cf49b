"""Text that can be edited without harm: every character that a terminal would obey or hide, or that an editor would
take for the end of a line, has a private stand-in of one cell, and comes back as it was when the text is written."""

from loopreview.rules.safe_text import safe

_FIRST, _LAST = 0xF0000, 0xFFFFD
_stand_ins: dict[str, str] = {}
_originals: dict[int, str] = {}
_pictures: dict[int, str] = {}


def shield(text: str, *, typed: bool = False) -> str:
    """`text` with stand-ins. Characters of the range of stand-ins get one too, unless the text was `typed` or pasted
    and holds stand-ins itself."""
    if text.isascii() and text.isprintable():
        return text
    table = {}
    for character in set(text):
        if typed and ord(character) in _originals:
            continue
        if character not in "\n\t" and (safe(character) != character or _FIRST <= ord(character) <= _LAST):
            table[ord(character)] = _stand_in(character)
    return text.translate(table) if table else text


def unshield(text: str) -> str:
    """The text as it was."""
    return text if text.isascii() else text.translate(_originals)


def picture(text: str) -> str:
    """A shielded line as it is shown, character for character: ␛ for an escape, a box for what is invisible."""
    return text if text.isascii() else text.translate(_pictures)


def _stand_in(character: str) -> str:
    if character not in _stand_ins:
        code = _FIRST + len(_stand_ins)
        shown = safe(character)
        _stand_ins[character] = chr(code)
        _originals[code] = character
        _pictures[code] = shown if len(shown) == 1 and shown != character else "▯"
    return _stand_ins[character]
