"""Reading `loopreview.toml`, with the line in each message."""

import re
import tomllib

from loopreview.models.errors import UserError
from loopreview.models.settings import Settings
from loopreview.rules.documents import Document, build

_HEADER = re.compile(r"\s*\[+([^\]]+)\]+")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_.\"'-]+)\s*=")


def read_settings(text: str, where: str) -> Settings:
    """The settings in `text`. Raises UserError naming file, line and the nearest known key."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not valid TOML: {error}") from None
    return build(Settings, Document(value, where, _positions(text)))


def _positions(text: str) -> dict[tuple[str | int, ...], tuple[int, int]]:
    """Where each key stands, found by its text, since tomllib does not tell."""
    positions: dict[tuple[str | int, ...], tuple[int, int]] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header.group(1))
            positions.setdefault(table, (number, 1))
        elif key := _KEY.match(line):
            positions.setdefault((*table, *_parts(key.group(2))), (number, len(key.group(1)) + 1))
    return positions


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in name.split("."))
