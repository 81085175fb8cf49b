"""What is kept between sessions: the theme, and where the reviewer was. Losing it costs nothing, so that no error
here ever stops the program."""

import contextlib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any


class Preferences:
    """`config` holds what the user writes (`config.toml`: theme, keys), `state` what the program keeps."""

    def __init__(self, config: Path, state: Path) -> None:
        self.config_file = config / "config.toml"
        self.state = state

    def theme(self) -> str:
        """The theme of `config.toml`, else the one chosen last."""
        with contextlib.suppress(OSError, ValueError):
            theme = tomllib.loads(self.config_file.read_text(encoding="utf-8")).get("theme")
            if isinstance(theme, str):
                return theme
        return str(self._read("preferences.json").get("theme", ""))

    def keep_theme(self, theme: str) -> None:
        self._write("preferences.json", {"theme": theme})

    def place(self, root: Path) -> dict[str, Any]:
        """Where the reviewer was in this workspace."""
        return self._read(self._name(root))

    def keep_place(self, root: Path, place: dict[str, Any]) -> None:
        self._write(self._name(root), place)

    def _name(self, root: Path) -> str:
        return f"place-{hashlib.sha256(str(root).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}.json"

    def _read(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.state / name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.state.mkdir(parents=True, exist_ok=True)
            part = self.state / f"{name}.part"
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(self.state / name)
