"""The files that are edited here: what they are, what is wrong with a text, and how it is written: as it was typed."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from loopreview import jobs
from loopreview.models.errors import UserError
from loopreview.rules.dice import read_personas, read_taxonomy
from loopreview.rules.documents import DocumentError, Problem, read_yaml
from loopreview.rules.prompts import ROLES, check_prompt
from loopreview.rules.rubric import check_rubric
from loopreview.rules.settings import read_settings
from loopreview.tui.shield import shield, unshield
from loopreview.workspace import SETTINGS, Workspace

Kind = Literal["rubric", "prompt", "taxonomy", "personas", "settings"]
_BOM = "\ufeff"
_SYNTAX = "not valid YAML: "
_PLACE = re.compile(r"line (\d+)(?:, column (\d+))?")
_ITEM = re.compile(r"\s*-\s*\{?\s*(?:\"id\"|'id'|id)\s*:\s*[\"']?([A-Za-z0-9][A-Za-z0-9_.-]*)")


class Title(NamedTuple):
    """`name` is the path inside the workspace, `part` a prompt's role, `language` what it is highlighted as."""

    kind: Kind
    name: str
    part: str
    language: str


def titles(workspace: Workspace) -> list[Title]:
    """The files in the order in which they are gone through."""
    return [
        Title("rubric", workspace.settings.rubric, "", "yaml"),
        *(Title("prompt", f"prompts/{role}.md", role, "markdown") for role in ROLES),
        Title("taxonomy", "taxonomy.yaml", "", "yaml"),
        Title("personas", "personas.yaml", "", "yaml"),
        Title("settings", SETTINGS, "", ""),
    ]


class Manuscript:
    """One file. Texts are shielded (shield.py) and have plain line ends, whatever the file has."""

    def __init__(self, root: Path, title: Title) -> None:
        self.title = title
        self.path = root / title.name
        self.disk = ""
        """The text of the file as it was last taken in."""
        self.settled = ""
        """The text that an edit can go back to."""
        self._draft = jobs.folder(root) / "drafts" / f"{title.name.replace('/', '__')}.json"
        self._signature: tuple[int, ...] = ()
        self._bom, self._newline = "", "\n"

    def open(self) -> str:
        """Read the file; returns the text to edit: a draft that was not written, else the file's.

        Raises UserError where the file can't be read.
        """
        self.disk = self.settled = self._read()
        with contextlib.suppress(OSError, ValueError, TypeError):
            draft = json.loads(self._draft.read_text(encoding="utf-8"))
            if draft["base"] == unshield(self.disk) and isinstance(draft["text"], str):
                return shield(draft["text"])
        return self.disk

    def look(self) -> str | None:
        """The file's text where somebody else changed it since it was last taken in. Raises UserError."""
        if self._stat() == self._signature:
            return None
        text = self._read()
        return text if text != self.disk else None

    def write(self, text: str) -> None:
        """Put `text` in the file, whole or not at all. Raises UserError."""
        content = (self._bom + unshield(text).replace("\n", self._newline)).encode("utf-8", "surrogatepass")
        target = self.path.resolve()
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise UserError(f"{self.title.name}: not written ({error.strerror}); your text is still here") from None
        self.disk = text
        self._signature = self._stat()
        self.keep_draft(text)

    def keep_draft(self, text: str) -> None:
        """Keep a text that is not written, so that leaving or a crash does not lose it."""
        with contextlib.suppress(OSError):
            if text == self.disk:
                self._draft.unlink(missing_ok=True)
                return
            self._draft.parent.mkdir(parents=True, exist_ok=True)
            part = self._draft.with_suffix(".part")
            part.write_text(json.dumps({"base": unshield(self.disk), "text": unshield(text)}), encoding="utf-8")
            part.replace(self._draft)

    def problems(self, text: str) -> list[Problem]:
        """All that is wrong with a text, by line; empty for one that can be written."""
        return problems_of(self.title, unshield(text))

    def _read(self) -> str:
        self._signature = self._stat()
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.title.name}: cannot be read ({error.strerror})") from None
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.title.name}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
        self._bom = _BOM if text.startswith(_BOM) else ""
        text = text.removeprefix(_BOM)
        # Mixed line ends are kept as they are: a carriage return that does not end every line is shown.
        ends = text.count("\r\n")
        self._newline = "\r\n" if ends and ends == text.count("\n") == text.count("\r") else "\n"
        if self._newline == "\r\n":
            text = text.replace("\r\n", "\n")
        return shield(text)

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def all_valid(root: Path, files: Iterable[Title]) -> bool:
    """Whether every one of these files can be read and has no problem."""
    for title in files:
        manuscript = Manuscript(root, title)
        try:
            if manuscript.problems(manuscript._read()):
                return False
        except UserError:
            return False
    return True


def problems_of(title: Title, text: str) -> list[Problem]:
    """What is wrong with `text` as the content of this file, by line."""
    readers: dict[str, Callable[[], object]] = {
        "prompt": lambda: check_prompt(title.part, text, title.name),
        "taxonomy": lambda: read_taxonomy(text, title.name),
        "personas": lambda: read_personas(text, title.name),
        "settings": lambda: read_settings(text, title.name),
    }
    if title.kind == "rubric":
        return check_rubric(text, title.name)
    try:
        readers[title.kind]()
    except DocumentError as error:
        return error.problems
    except UserError as error:
        message = str(error)
        place = _PLACE.search(message)
        line, column = (int(place[1]), int(place[2] or 0)) if place else (1, 0)
        return [Problem(line, column, message.removeprefix(title.name).removeprefix(f" line {line}").lstrip(": "))]
    return []


def words_of(problem: Problem) -> str:
    """`line 12: unknown key …`; a place that YAML only noticed later is named as that."""
    if not problem.line:
        return problem.message
    if problem.message.startswith(_SYNTAX):
        return f"noticed at line {problem.line}: {problem.message.removeprefix(_SYNTAX)}"
    return f"line {problem.line}: {problem.message}"


def outline(text: str) -> list[tuple[int, str]]:
    """(line from 1, id) of the criteria of a rubric, valid or not, from top to bottom."""
    plain = unshield(text)
    try:
        document = read_yaml(plain, "")
    except DocumentError:
        matches = ((number, _ITEM.match(line)) for number, line in enumerate(plain.split("\n"), 1))
        return [(number, match[1]) for number, match in matches if match]
    listed = document.at(("criteria",))
    found = []
    for place, criterion in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(criterion, dict) and isinstance(criterion.get("id"), str):
            found.append((document.line("criteria", place), criterion["id"]))
    return found
