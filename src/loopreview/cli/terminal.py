"""The one place where the command line opens the terminal program."""

from pathlib import Path


def open_terminal(root: Path, *, screen: str = "loop", reviewer: str | None = None) -> None:
    """Run the terminal program in the workspace `root` until it is left."""
    from loopreview.tui.app import open_app

    open_app(root, screen=screen, reviewer=reviewer)
