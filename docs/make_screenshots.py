"""Make the pictures of the documentation: SVG screenshots of a workspace of the offline simulator.

    python docs/make_screenshots.py [FOLDER]        (default: docs/screenshots)

The same seeds give the same conversations, so that a picture changes only where the program does; the speed, the memory
and the seconds of the training run are those of the machine that makes the pictures. Those of Train are left out where
no trainer is installed (extra `cuda`).
"""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Colours in the pictures do not depend on the terminal that makes them.
os.environ.pop("NO_COLOR", None)
os.environ["COLORTERM"] = "truecolor"

from loopreview import review
from loopreview.models.errors import UserError
from loopreview.store import transcripts
from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.workspace import Workspace, init

Picture = tuple[str, tuple[int, int], str, tuple[str, ...]]
NARROW, WIDE = (80, 24), (160, 45)
PICTURES: tuple[Picture, ...] = (
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
TRAIN_PICTURES: tuple[Picture, ...] = (
    ("train", NARROW, "loop", ("5", "l")),
    ("train-runs", WIDE, "loop", ("5", "h", "space", "j", "space")),
)
"""Of a copy of the workspace in which all that may be is approved, and a tiny model was trained on it twice."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = init(Path(temporary) / "support", template="support-agent")
        for seed in ("7", "8"):
            _run(root, "generate", "--seed", seed, "--assess")
        _pictures(PICTURES, root, folder)
        if importlib.util.find_spec("peft"):
            _pictures(TRAIN_PICTURES, _trained(root, Path(temporary) / "trained" / root.name), folder)


def _pictures(pictures: Sequence[Picture], root: Path, folder: Path) -> None:
    for name, size, screen, keys in pictures:
        svg = asyncio.run(_picture(root, root.parent / name, size, screen, keys))
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(folder / f"{name}.svg")


def _trained(root: Path, copy: Path) -> Path:
    """A copy of the workspace with two real, small training runs on this machine's processor."""
    from loopreview.train.tiny import build

    shutil.copytree(root, copy)
    model = build(copy.parent / "tiny-llama")
    settings = copy / "loopreview.toml"
    settings.write_text(f"base_model = {str(model)!r}\n{settings.read_text(encoding='utf-8')}", encoding="utf-8")
    with Workspace.open(copy) as workspace:
        for head in transcripts.heads(workspace.store):
            with contextlib.suppress(UserError):  # where a gate says NO
                review.record(workspace, "approve", reviewer="you", transcript=head.id)
    _run(copy, "export", "--tokenizer", str(model))
    for rate in ("0.0003", "0.001"):
        given = (f"learning_rate={rate}", "accumulation=1", "eval_steps=3", "save_steps=3", "patience=0")
        options = (word for pair in given for word in ("--set", pair))
        _run(copy, "train", "start", "--yes", "--backend", "cuda", "--adapter", "full", "--epochs", "2", *options)
    return copy


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
