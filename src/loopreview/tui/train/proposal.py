"""What the commands answer about a plan, a machine and a dataset, read without trust in their form."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import MANIFEST
from loopreview.tui.train.following import count, number

HEADED = ("backend", "device", "base", "method", "adapter")
"""Keys of a plan that are said first, in this order."""
NOT_PARTS = ("total", "device", "free", "max_length", "batch")
"""What `memory` holds beside the parts of the estimate."""
_LONGEST = 2_000_000
"""Bytes of a manifest that are read while keys wait; of a longer one the plan says the counts."""


class Check(NamedTuple):
    """`level`: ok, warning or error; an error stops a start."""

    name: str
    level: str
    text: str


class Question(NamedTuple):
    key: str
    asks: str
    why: str


def shown(value: object) -> str:
    """A value of a plan in a line. Anything nested is not one."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else "…"
    if isinstance(value, list | tuple):
        parts = [shown(one) if not isinstance(one, list | tuple | dict) else "…" for one in value[:12]]
        return ", ".join(parts) + (", …" if len(value) > 12 else "") if parts else "none"
    return str(value)[:400] if not isinstance(value, dict) else "…"


def values_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """Each value of a plan in a line, the dataset apart."""
    keys = [*(key for key in HEADED if key in plan), *(str(key) for key in plan if key not in (*HEADED, "data"))]
    return {key: shown(plan.get(key)) for key in keys}


def name_of(path: object) -> str:
    """The last part of a folder or a Hub name."""
    return str(path or "").rstrip("/").rpartition("/")[2]


class Proposal:
    """A plan as `train plan --json` proposes it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        plan = document.get("plan")
        self.plan: Mapping[str, Any] = plan if isinstance(plan, dict) else {}
        self.values = values_of(self.plan)
        reasons = document.get("reasons")
        self.reasons = {str(key): str(why) for key, why in reasons.items()} if isinstance(reasons, dict) else {}
        self.checks = [
            Check(str(one.get("name", "")), str(one.get("level", "")), str(one.get("text", "")))
            for one in _list(document.get("checks"))
        ]
        self.questions = [
            Question(str(one.get("key", "")), str(one.get("asks", "")), str(one.get("why", "")))
            for one in _list(document.get("questions"))
        ]
        memory = document.get("memory")
        self.memory: Mapping[str, Any] = memory if isinstance(memory, dict) else {}

    @property
    def data(self) -> Mapping[str, Any]:
        found = self.plan.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def refusal(self) -> str | None:
        """The first check that says no."""
        return next((f"{one.name}: {one.text}" for one in self.checks if one.level == "error"), None)

    @property
    def needed(self) -> float | None:
        """Bytes that training takes by the estimate."""
        return number(self.memory.get("total"))


class Dataset(NamedTuple):
    """An export, as far as its manifest says. `train` and `valid` count examples; null where that is not read."""

    folder: Path
    train: int | None = None
    valid: int | None = None
    tokenizer: str = ""
    kind: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Dataset | None":
        """None where there is no dataset."""
        path = folder.expanduser() / MANIFEST
        try:
            if path.stat().st_size > _LONGEST:
                return cls(folder)
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(manifest, dict):
            return None
        examples, tokenizer = manifest.get("examples"), manifest.get("tokenizer")
        counts = examples if isinstance(examples, dict) else {}
        name = tokenizer.get("name") if isinstance(tokenizer, dict) else ""
        train, valid = count(counts.get("train")), count(counts.get("valid"))
        return cls(folder, train, valid, str(name or ""), str(manifest.get("kind", "")))


class Backend(NamedTuple):
    """`fix`: the one command that mends what is missing, or empty."""

    name: str
    ready: bool
    why: str
    fix: str


def backends_of(machine: Mapping[str, Any]) -> list[Backend]:
    """What `doctor --json` says of the trainers."""
    found = machine.get("backends")
    if not isinstance(found, dict):
        return []
    return [
        Backend(str(name), one.get("ready") is True, str(one.get("why") or ""), str(one.get("fix") or ""))
        for name, one in found.items()
        if isinstance(one, dict)
    ]


def devices_of(machine: Mapping[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """(name, memory, free memory) of the devices, in GB."""
    return [
        (str(one.get("name") or one.get("kind") or ""), number(one.get("memory_gb")), number(one.get("free_gb")))
        for one in _list(machine.get("devices"))
    ]


def _list(found: object) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
