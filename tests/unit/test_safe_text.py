import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.rules.safe_text import safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("a\x00b\x7fc\x08", "a␀b␡c␈"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("a\u202eb\u2066c\u200fd", "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200F⟩d"),
        ("a\u200bb\ufeffc\u2060d\u00ade", "a⟨U+200B⟩b⟨U+FEFF⟩c⟨U+2060⟩d⟨U+00AD⟩e"),
        ("a\u200db\u200cc", "a⟨U+200D⟩b⟨U+200C⟩c"),
        ("a\ud800b", "a⟨U+D800⟩b"),
        ("a\U000e0041b", "a⟨U+E0041⟩b"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("a\tb", "a    b"),
        ("a\r\nb\rc\n", "a\nb␍c\n"),
    ],
)
def test_what_a_terminal_obeys_or_hides_becomes_visible(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    "text", ["plain [/foo] text", "naïve “quotes” — …", "漢字かな", "👩\u200d💻 ❤\ufe0f", "می\u200cخواهم", "क्\u200dष"]
)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert safe(text) == text


def test_one_line_on_request() -> None:
    assert safe("a\nb\r\nc", keep_newlines=False) == "a b c"


@given(st.text(st.characters(codec=None)))
def test_nothing_dangerous_is_left_and_it_is_stable(text: str) -> None:
    shown = safe(text)
    assert not [c for c in shown if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")
    assert safe(shown) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize("unit", ["hello world. ", "“héllo” — wörld\n", "漢字かな交じり文。"])
def test_200_kb_take_a_few_milliseconds(unit: str) -> None:
    text = unit * (200_000 // len(unit.encode()))
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        safe(text)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.01
