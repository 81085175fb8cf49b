"""How far judges and people agree, counted beside the screen."""

import json
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError
from loopreview.tui.counting import run_loopreview


async def agreement_of(root: Path) -> dict[str, Any]:
    """What `loopreview agreement --json` prints, from a process of its own. Raises UserError."""
    code, out, errors = await run_loopreview(["agreement", "--json", "-w", str(root)])
    try:
        found = json.loads(out) if code == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(errors or "agreement could not be counted; try `loopreview agreement`")
    return found
