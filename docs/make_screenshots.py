"""Make the pictures of the documentation: SVG screenshots of a workspace of the offline simulator.

    python docs/make_screenshots.py [FOLDER]        (default: docs/screenshots)

The same seeds give the same conversations, so that a picture changes only where the program does.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Colours in the pictures do not depend on the terminal that makes them.
os.environ.pop("NO_COLOR", None)
os.environ["COLORTERM"] = "truecolor"

from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.workspace import Workspace, init

NARROW, WIDE = (80, 24), (160, 45)
PICTURES: tuple[tuple[str, tuple[int, int], str, tuple[str, ...]], ...] = (
    ("loop", NARROW, "loop", ()),
    ("review", NARROW, "review", ("j", "k")),
    ("review-wide", WIDE, "review", ("j", "k", "tab")),
    ("review-corrected", NARROW, "review", ("n",)),
    ("review-why", NARROW, "review", ("z", "j", "k")),
    ("example", NARROW, "review", ("c",)),
    ("help", NARROW, "review", ("question_mark",)),
    ("rubric", WIDE, "review", ("e",)),
    ("agreement", NARROW, "review", ("i",)),
    ("data", NARROW, "loop", ("4",)),
)
"""Name, size, screen, keys."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = init(Path(temporary) / "support", template="support-agent")
        for seed in ("7", "8"):
            _run(root, "generate", "--seed", seed, "--assess")
        for name, size, screen, keys in PICTURES:
            state = Path(temporary) / name
            svg = asyncio.run(_picture(root, state, size, screen, keys))
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(folder / f"{name}.svg")


def _run(root: Path, *args: str) -> None:
    command = [sys.executable, "-m", "loopreview", *args, "-w", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _picture(root: Path, state: Path, size: tuple[int, int], screen: str, keys: Sequence[str]) -> str:
    with Workspace.open(root) as workspace:
        workspace.settings = workspace.settings.model_copy(update={"guard": False})
        preferences = Preferences(state, state)
        app = LoopReview(workspace, reviewer="you", screen=screen, preferences=preferences)
        async with app.run_test(size=size) as pilot:
            for _ in range(100):
                await pilot.pause(0.1)
                if app.status is not None:
                    break
            for key in keys:
                await pilot.press(key)
            # The judges' quotes are checked one criterion at a time.
            await pilot.pause(2.0)
            return app.export_screenshot(title="loopreview")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "screenshots")
