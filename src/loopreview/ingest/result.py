"""What an import says of itself: rows of its result, made safe for a terminal."""

from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError
from loopreview.rules.safe_text import safe

Result = dict[str, Any]


def skipped(source: str, line: int | None, reason: str, *, duplicate: bool = False) -> Result:
    """A row of `skipped`."""
    return {"source": source, "line": line, "reason": safe(reason, keep_newlines=False), "duplicate": duplicate}


def noted(source: str, note: str) -> Result:
    """A row of `notes`."""
    return {"source": source, "note": safe(note, keep_newlines=False)}


def check_file(path: Path) -> None:
    """Raises UserError for what is no file."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name")
