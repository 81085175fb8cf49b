"""The fields that a line with an answer has, be it a judge's or a person's."""

from collections.abc import Mapping
from typing import Any

from loopreview.models.verdict import JudgeAnswer

ANSWERS: dict[str, JudgeAnswer] = {"YES": "YES", "NO": "NO", "NA": "NA", "N/A": "NA"}
MAX_NAME_CHARS = 200


class BadLine(ValueError):
    """A line that cannot be used; the message says why."""


def name_field(row: Mapping[str, Any], key: str) -> str:
    """A name on one line. Raises BadLine where it is missing, empty or too long."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadLine(f"no `{key}`")
    if not isinstance(value, str):
        raise BadLine(f"`{key}` is no text")
    text = " ".join(value.split())
    if len(text) > MAX_NAME_CHARS:
        raise BadLine(f"`{key}` has {len(text):,} characters, more than {MAX_NAME_CHARS}")
    return text


def answer_field(row: Mapping[str, Any]) -> JudgeAnswer:
    """YES, NO or NA (also N/A), in any case. Raises BadLine."""
    value = row.get("answer")
    if value is None or value == "":
        raise BadLine("no `answer`")
    found = ANSWERS.get(value.strip().upper()) if isinstance(value, str) else None
    if found is None:
        raise BadLine(f"unknown answer `{str(value)[:40]}`; it is YES, NO or NA")
    return found


def text_field(row: Mapping[str, Any], key: str, max_chars: int) -> str:
    """A text that may be missing. Raises BadLine where it is something else, or over `max_chars` characters."""
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadLine(f"`{key}` is no text")
    if len(value) > max_chars:
        raise BadLine(f"`{key}` has {len(value):,} characters; max_message_chars is {max_chars:,}")
    return value
