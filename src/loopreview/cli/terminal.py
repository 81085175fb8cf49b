"""The one place where the command line opens the terminal program."""

import gc
from pathlib import Path


def open_terminal(root: Path, *, screen: str = "loop", reviewer: str | None = None) -> None:
    """Run the terminal program in the workspace `root` until it is left."""
    # Looking for garbage among what is only being imported takes a sixth of the time until the first paint; the
    # program looks for it again once it is on the screen.
    gc.disable()
    from loopreview.tui.app import open_app

    open_app(root, screen=screen, reviewer=reviewer)
