"""An export as the screen asks for it: the very command a person would type, started and followed."""

import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview import jobs
from loopreview.formats.preferences import DPO_FORMATS, KTO_FORMATS
from loopreview.formats.sft import SFT_FORMATS

FORMATS = {"sft": SFT_FORMATS, "dpo": DPO_FORMATS, "kto": KTO_FORMATS}

STOPPED = "stopped; nothing of it is left"


class Wish(NamedTuple):
    """What is to be exported. `tokenizer`: as `export --tokenizer` takes it, or empty; `to`: a folder, or empty for
    `exports/`."""

    tokenizer: str = ""
    kind: str = "sft"
    form: str = "trl"
    supervise: str = "last_reply"
    to: str = ""

    @property
    def args(self) -> list[str]:
        """Options of `loopreview export`; what is as it is anyway is left out."""
        found = []
        for option, given, default in (
            ("--to", self.to, ""), ("--tokenizer", self.tokenizer, ""), ("--kind", self.kind, "sft"),
            ("--format", self.form, "trl"), ("--supervise", self.supervise, "last_reply"),
        ):  # fmt: skip
            if given != default:
                # As one word: a folder's name may begin with a dash.
                found.append(f"{option}={given}")
        return found

    def command(self, root: Path) -> str:
        """The command as one types it into a shell."""
        return shlex.join(["loopreview", "export", "-w", str(root), *self.args])

    @property
    def said(self) -> str:
        """Kind, format and what is supervised, in words."""
        form = "" if self.form == "trl" else f" for {self.form}"
        supervised = {"last_reply": "last reply", "all_replies": "all replies"}[self.supervise]
        return f"{self.kind}{form}, {supervised}" if self.kind == "sft" else f"{self.kind}{form}"

    def problem(self) -> str | None:
        """Why this cannot be exported, in a line, if it cannot."""
        if any("\n" in text for text in self):
            return "a folder's name is one line"
        if self.form not in FORMATS[self.kind]:
            return f"{self.kind} does not come as {self.form}; choose {' or '.join(FORMATS[self.kind])}"
        if self.supervise != "last_reply" and self.kind != "sft":
            return f"all_replies is for sft; {self.kind} is always about the last reply"
        return None


def remembered(kept: Mapping[str, Any]) -> Wish:
    """A wish of what was kept, which anybody may have written into."""
    wish = Wish(**{name: value for name in Wish._fields if isinstance(value := kept.get(name), str)})
    known = wish.kind in FORMATS and wish.supervise in ("last_reply", "all_replies")
    return wish if known and wish.problem() is None else Wish()


class Exporter:
    """The export that runs in a workspace, whoever started it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._job: jobs.Job | None = None
        self._offset = 0
        self._stopped = False
        self.label, self.done, self.total = "", 0, None
        self.dataset = ""
        """The folder that the last export wrote."""
        self.failed = ""
        """Why the last export, started here, ended without one."""

    @property
    def running(self) -> bool:
        return self._process is not None or self._job is not None

    def start(self, args: list[str]) -> None:
        """Raises OSError."""
        self._process = jobs.start(self._root, "export", args)
        self._job, self.dataset, self.failed, self._stopped = None, "", "", False
        self.label, self.done, self.total = "starting", 0, None

    def look(self) -> bool:
        """Read what is new; True when an export ended, with `dataset` or `failed` saying how."""
        ended = self._process is not None and self._process.poll() is not None
        job = self._find()
        if job is not None and (self._job is None or job.path != self._job.path):
            self._offset = 0
            if self._process is None:
                self.dataset = self.failed = ""
        if job is None and self._process is None:
            ended = self._job is not None
        self._job = job or self._job
        self._read()
        if not ended:
            return False
        code = self._process.returncode if self._process is not None else 0
        if not self.dataset and (self._stopped or code == 130):
            self.failed = STOPPED
        elif not self.dataset and not self.failed:
            said = jobs.last_words(self._root, "export").removeprefix("loopreview: ")
            self.failed = said or "it ended without a dataset"
        self._process = self._job = None
        self._stopped = False
        return True

    def _find(self) -> jobs.Job | None:
        found = next((job for job in jobs.find(self._root) if job.kind == "export"), None)
        if found is None and self._process is not None:
            path = next(jobs.folder(self._root).glob(f"export-*-{self._process.pid}.jsonl"), None)
            found = jobs.Job("export", self._process.pid, path) if path is not None else None
        return found

    def _read(self) -> None:
        if self._job is None:
            return
        events, self._offset = jobs.tail(self._job, self._offset)
        for event in events:
            match event.get("event"):
                case "progress":
                    self.label, self.done = str(event.get("label", "")), int(event.get("done") or 0)
                    self.total = event.get("total")
                case "done":
                    self.dataset = str(event.get("dataset", ""))
                case "failed":
                    self.failed = str(event.get("reason", ""))
                case "cancelled":
                    self.failed = STOPPED

    def stop(self) -> None:
        """Ask it to stop as ctrl+c would."""
        self._stopped = True
        if self._job is not None:
            jobs.cancel(self._job)
        elif self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
