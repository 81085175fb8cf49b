"""What the audit and the coverage find, counted beside the screen by our own commands."""

import json
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError
from loopreview.tui.counting import run_loopreview

ALL, APPROVED = "all", "approved"


def scope_args(scope: str) -> list[str]:
    """`all`, `approved` or `batch 3` as options of `loopreview audit`."""
    if scope == APPROVED:
        return ["--approved"]
    return ["--batch", scope.removeprefix("batch ")] if scope.startswith("batch ") else []


async def audit_of(root: Path, scope: str) -> dict[str, Any]:
    """What `loopreview audit --json` prints of a scope. Raises UserError."""
    return await _asked(["audit", "--json", "-w", str(root), *scope_args(scope)])


async def coverage_of(root: Path) -> dict[str, Any]:
    """What `loopreview coverage --json` prints. Raises UserError."""
    return await _asked(["coverage", "--json", "-w", str(root)])


async def _asked(args: list[str]) -> dict[str, Any]:
    code, out, errors = await run_loopreview(args)
    try:
        found = json.loads(out) if code == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        said = errors.removeprefix("loopreview: ")
        raise UserError(said or f"`loopreview {args[0]}` said nothing; try it in a shell")
    return found
