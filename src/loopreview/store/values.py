"""How Python values become column values and back."""

import json
import re
from datetime import UTC, datetime
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` as it is; a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)


def dump(value: Any) -> str:
    """Compact JSON that loads to an equal value, lone surrogates included."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii() and _SURROGATES.search(text):
        return json.dumps(value, separators=(",", ":"))
    return text


def dump_or_none(value: Any) -> str | None:
    """JSON, or null for None and for what is empty."""
    return dump(value) if value else None


def load(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def row_id(number: int) -> int | None:
    """A number that a person gave, or null, which no row has, where it is larger than SQLite's integers."""
    return number if abs(number) < 2**63 else None


def now() -> str:
    """The time: UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
