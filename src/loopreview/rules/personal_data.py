"""Personal data by its form: e-mail addresses, payment cards, bank accounts, phone numbers, numbers like those of the
US social security, IP addresses. Check digits are verified where the form has them."""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Literal, NamedTuple

Kind = Literal["email", "card", "iban", "ssn", "phone", "ip"]
KINDS: tuple[Kind, ...] = ("email", "card", "iban", "ssn", "phone", "ip")


class Found(NamedTuple):
    """Where in the text, and what. `reserved`: from a range that is set aside for examples, tests or private networks,
    so that it belongs to nobody."""

    kind: Kind
    start: int
    end: int
    reserved: bool


def find(text: str) -> list[Found]:
    """What looks like personal data in `text`, in its order. Overlapping finds count once: the more certain kind."""
    found: list[Found] = []
    if not _SIGN.search(text):
        return found
    plain = text if text.isascii() else text.translate(_PLAIN)
    if "@" in plain:
        found += _emails(plain)
    if _DIGIT.search(plain):
        for kind, finder in _FINDERS:
            if kind == "ip" and "." not in plain and ":" not in plain:
                continue
            for start, end, reserved in finder(plain):
                if all(end <= other.start or start >= other.end for other in found):
                    found.append(Found(kind, start, end, reserved))
    return sorted(found, key=lambda one: one.start)


def masked(text: str, found: Found) -> str:
    """The find with all but its kind and last characters hidden, fit for a report."""
    value = text[found.start : found.end].translate(_PLAIN)
    if found.kind == "email":
        return f"{value[0]}…@…{value[value.rfind('.') :]}"
    if found.kind == "ip":
        return f"…{value[max(value.rfind('.'), value.rfind(':')) :]}"
    return f"…{re.sub(r'[^0-9A-Za-z]', '', value)[-2:]}"


_SIGN = re.compile("[@＠]|[0-9０-９][^a-zA-Z0-9]{0,3}[0-9０-９]|::")
_DIGIT = re.compile("[0-9]")
# Full-width digits and signs, the many dashes and spaces: one character for one, so that places stay.
_PLAIN = {
    **{0xFF10 + digit: str(digit) for digit in range(10)},
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFF0D], "-"),
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x3000], " "),
    0xFF20: "@",
    0xFF0B: "+",
    0xFF0E: ".",
    0xFF1A: ":",
    0xFF08: "(",
    0xFF09: ")",
}

# Every repetition is bounded and begins where a run begins: the time grows with the text's length alone.
_EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])",
    re.ASCII,
)
_NOBODYS_DOMAIN = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu)|(?:example|test|invalid|localhost))$", re.IGNORECASE
)


def _emails(text: str) -> Iterator[Found]:
    for match in _EMAIL.finditer(text):
        yield Found("email", match.start(), match.end(), _NOBODYS_DOMAIN.search(match[1]) is not None)


Finder = Callable[[str], Iterator[tuple[int, int, bool]]]

_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FK FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Country → characters of its IBANs (SWIFT's registry)."""


def _ibans(text: str) -> Iterator[tuple[int, int, bool]]:
    for match in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper())
        end, value = match.start(), ""
        while length and len(value) < length and end < len(text):
            if text[end].isascii() and text[end].isalnum():
                value += text[end]
            elif text[end] not in " -" or not text[end - 1].isalnum():
                break
            end += 1
        follows = text[end : end + 1]
        if len(value) == length and not (follows.isascii() and follows.isalnum()) and is_iban(value):
            yield match.start(), end, False


def is_iban(value: str) -> bool:
    """Whether the check digits of an IBAN without spaces are right (ISO 7064, mod 97-10)."""
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


_CARD = re.compile(r"(?<![0-9A-Za-z.])[3-6][0-9](?:[ -]?[0-9]){10,17}(?![0-9A-Za-z])(?!\.[0-9])")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}|(?:50|5[6-9]|6\d)\d{10,17}"
)
_GAP = re.compile("[ -]")
_CARD_2 = re.compile(r"(?<![0-9A-Za-z.])2[2-7](?:[ -]?[0-9]){14}(?![0-9A-Za-z])(?!\.[0-9])")
# Numbers that payment providers publish for tests.
_TEST_CARDS = {
    "4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444",
    "5105105105105100", "5200828282828210", "2223003122003222", "378282246310005", "371449635398431",
    "6011111111111117", "6011000990139424", "3056930009020004", "30569309025904", "38520000023237",
    "3566002020360505", "6200000000000005",
}  # fmt: skip


def _cards(text: str) -> Iterator[tuple[int, int, bool]]:
    for pattern in (_CARD, _CARD_2):
        at = 0
        while match := pattern.search(text, at):
            at = match.start() + 1
            for end in [match.end(), *(gap.start() + match.start() for gap in reversed([*_GAP.finditer(match[0])]))]:
                digits = re.sub("[ -]", "", text[match.start() : end])
                if _ISSUERS.fullmatch(digits) and is_luhn(digits):
                    yield match.start(), end, digits in _TEST_CARDS
                    at = end
                    break


def is_luhn(digits: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812, Luhn's formula)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


_SSN = re.compile(r"(?<![0-9A-Za-z-])(?!000|666|9)([0-9]{3})([- ])(?!00)([0-9]{2})\2(?!0000)([0-9]{4})(?![0-9A-Za-z-])")
_PUBLISHED_SSNS = {"078051120", "219099999", "123456789"}


def _ssns(text: str) -> Iterator[tuple[int, int, bool]]:
    for match in _SSN.finditer(text):
        yield match.start(), match.end(), match[1] + match[3] + match[4] in _PUBLISHED_SSNS


_PHONE = re.compile(
    r"(?<![\w+.-])(?<![0-9][ /])(?:"
    # international
    r"(?:\+|00)[1-9][0-9]{0,14}(?:[ ./-]{0,2}\([0-9]{1,5}\)(?:[0-9]{2,9})?)?(?:[ ./-]{1,2}[0-9]{2,9}){0,6}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}"  # North America
    r"|0[1-9](?:\.[0-9]{2}){4}"  # France
    r"|(?:0[1-9][0-9]{0,4}|\(0[1-9][0-9]{0,4}\))(?:[ /-]{1,3}[0-9]{2,8}){1,5}"  # others, with a leading 0
    r")(?![\w:-])(?!\.[0-9])",
    re.ASCII,
)
_DATE = re.compile(r"[0-9]{2}[ /-][0-9]{2}[ /-](?:19|20)[0-9]{2}(?![0-9])")
_FICTION = re.compile(r"(?:\+?1)?[2-9]\d\d55501\d\d|(?:\+44|0044|0)(?:7700900|20794[6]0|1632960)\d{3}")


def _phones(text: str) -> Iterator[tuple[int, int, bool]]:
    for match in _PHONE.finditer(text):
        digits = re.sub("[^0-9]", "", match[0])
        national = match[0].lstrip("(").startswith("0") and not match[0].startswith("00")
        if 9 <= len(digits) <= (12 if national else 17) and not _DATE.match(match[0]):
            yield match.start(), match.end(), _FICTION.fullmatch(re.sub("[^0-9+]", "", match[0])) is not None


_IP = re.compile(
    r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])|(?<![\w.:])[0-9A-Fa-f:]{2,39}::?[0-9A-Fa-f]{1,4}(?![\w:])",
    re.ASCII,
)
_NO_ADDRESS = re.compile(r"(?:\b(?:v|ver|vers|version|release|build|section|chapter|§)\.? ?)$", re.IGNORECASE)


def _ips(text: str) -> Iterator[tuple[int, int, bool]]:
    for match in _IP.finditer(text):
        value = match[0]
        if ":" in value and (value.count(":") < 3 or not _DIGIT.search(value)):
            continue  # a time of day, a name of C++
        if _NO_ADDRESS.search(text[max(0, match.start() - 12) : match.start()]):
            continue
        try:
            address = ip_address(value)
        except ValueError:
            continue
        yield match.start(), match.end(), not address.is_global


_FINDERS: tuple[tuple[Kind, Finder], ...] = (
    ("iban", _ibans), ("card", _cards), ("ssn", _ssns), ("ip", _ips), ("phone", _phones),
)  # fmt: skip
