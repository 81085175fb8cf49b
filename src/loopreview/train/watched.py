"""Run a server that ends with the process that started it, however that one ends.

    python -m loopreview.train.watched '{"models": {"base": ["weights/", "tokenizer/"]}, "command": […]}'

The one who starts it holds the other end of its stdin: where that is closed, by intent or because its holder was
killed, the server is killed. The server runs in a temporary folder in which each of `models` is a folder of links:
the files of the first folder, with the tokenizer and chat template of the second.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json", "additional_chat_templates",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


def link(where: Path, weights: Path, tokenizer: Path) -> None:
    """Make the folder `where`: links to the files of `weights`, with the tokenizer files of `tokenizer` alone."""
    where.mkdir()
    found = {path.name: path for path in weights.iterdir() if path.name not in TOKENIZER_FILES}
    found |= {path.name: path for name in TOKENIZER_FILES if (path := tokenizer / name).exists()}
    for name, path in found.items():
        (where / name).symlink_to(path.resolve())


def run(models: dict[str, Sequence[str]], command: Sequence[str]) -> int:
    """Run `command` until it ends, or until stdin does. Returns its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="loopreview-chat-") as folder:
        for name, (weights, tokenizer) in models.items():
            link(Path(folder) / name, Path(weights), Path(tokenizer))
        server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, preexec_fn=_dies_with_parent())
        threading.Thread(target=_kill_at_end_of_stdin, args=(server,), daemon=True).start()
        try:
            return server.wait()
        finally:
            server.kill()


def _kill_at_end_of_stdin(server: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    server.kill()


def _dies_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel kills the server where this very process is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(**json.loads(sys.argv[1])))
