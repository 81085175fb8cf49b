"""Opening a workspace: a folder with settings, rubric, prompts, taxonomy, personas and the database."""

import contextlib
import getpass
import json
import os
import shutil
from functools import cached_property
from importlib import resources
from pathlib import Path

from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Rubric
from loopreview.models.settings import ModelSettings, Settings
from loopreview.rules.dice import PersonaDistributions, Taxonomy, read_personas, read_taxonomy
from loopreview.rules.prompts import ROLES, check_prompt
from loopreview.rules.rubric import read_rubric, with_examples
from loopreview.rules.settings import read_settings
from loopreview.store import examples, versions
from loopreview.store.database import Store

SETTINGS, DATABASE = "loopreview.toml", "loopreview.db"
_FILES = ("taxonomy.yaml", "personas.yaml", SETTINGS)
_READ_ONCE = (
    "file_rubric", "rubric", "prompts", "_prompt_versions", "taxonomy", "personas", "generation_version",
)  # fmt: skip
TEMPLATES = ("support-agent", "therapy-coach", "tutor", "blank")
NEEDED = ("rubric.yaml", "taxonomy.yaml", "personas.yaml", *(f"{role}.md" for role in ROLES))


class Workspace:
    """A workspace's files and its store. Each file is read when it is first needed; `refresh` reads them anew."""

    def __init__(self, root: Path, store: Store, settings: Settings) -> None:
        self.root, self.store, self.settings = root, store, settings
        self._kept_rubric: str | None = None

    @classmethod
    def open(cls, root: Path, *, timeout_s: float = 5.0) -> "Workspace":
        """Open the workspace in `root`. `timeout_s`: how long a write waits for another process's write.

        Raises UserError where there is none, or where settings or database can't be read.
        """
        root = root.expanduser().absolute()
        if not (root / SETTINGS).is_file():
            raise UserError(
                f"{root}: no workspace here ({SETTINGS} is missing); make one with "
                f"`loopreview init {root.name or 'DIR'}`, or name one with -w"
            )
        settings = read_settings(_text(root / SETTINGS), SETTINGS)
        return cls(root, Store.open(root / DATABASE, create=True, timeout_s=timeout_s), settings)

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *exc: object) -> None:
        self.store.close()

    def refresh(self) -> None:
        """Forget what was read from files, so that an edit made elsewhere is seen."""
        self.settings = read_settings(_text(self.root / SETTINGS), SETTINGS)
        for name in _READ_ONCE:
            self.__dict__.pop(name, None)

    @property
    def rubric_path(self) -> Path:
        return self.root / self.settings.rubric

    @cached_property
    def file_rubric(self) -> Rubric:
        """The rubric as its file says, without the examples added during review."""
        return read_rubric(_text(self.rubric_path), self.settings.rubric)

    @cached_property
    def rubric(self) -> Rubric:
        """The rubric with the calibration examples of the database."""
        added = [(criterion, example) for _, criterion, example in examples.listed(self.store)]
        return with_examples(self.file_rubric, added)

    @property
    def rubric_version(self) -> str:
        return self.rubric.version

    @cached_property
    def prompts(self) -> dict[str, str]:
        """The four prompts by role. Raises UserError on a missing file or placeholder."""
        found = {}
        for role in ROLES:
            where = f"prompts/{role}.md"
            found[role] = _text(self.root / where)
            check_prompt(role, found[role], where)
        return found

    @property
    def assessor_version(self) -> str:
        """Hash of the prompt that judges are asked with."""
        return self._prompt_versions["assessor"]

    @cached_property
    def _prompt_versions(self) -> dict[str, str]:
        return {role: content_hash(text) for role, text in self.prompts.items()}

    @cached_property
    def taxonomy(self) -> Taxonomy:
        return read_taxonomy(_text(self.root / "taxonomy.yaml"), "taxonomy.yaml")

    @cached_property
    def personas(self) -> PersonaDistributions:
        return read_personas(_text(self.root / "personas.yaml"), "personas.yaml")

    @cached_property
    def generation_version(self) -> str:
        """Hash of all that decides what a generated transcript is like."""
        settings = self.settings
        roles = [model.fingerprint if model else None for model in (settings.user_sim, settings.assistant)]
        return content_hash(
            self.prompts["user_sim"],
            self.prompts["assistant"],
            roles,
            self.taxonomy.model_dump(mode="json"),
            self.personas.model_dump(mode="json"),
            [settings.exchanges, settings.max_redraws, settings.reply_ratio],
            [settings.response_modes, settings.flaw_probability, settings.flawless_share],
        )

    def model(self, name: str) -> ModelSettings:
        """The model of a role or judge. Raises UserError where `loopreview.toml` names none."""
        found = {"user_sim": self.settings.user_sim, "assistant": self.settings.assistant, **self.settings.judges}.get(
            name
        )
        if found is None:
            section = name if name in ("user_sim", "assistant") else f"judges.{name}"
            raise UserError(
                f'{SETTINGS}: no model for {name}; add a section [{section}] with model = "provider/name" '
                '(for a try without a key: model = "offline/'
                + (name if name in ("user_sim", "assistant") else "judge-balanced")
                + '")'
            )
        return found

    def keep_versions(self) -> None:
        """Copy each version that is used now into the store, under the hash that names it there."""
        store = self.store
        self.keep_rubric()
        for role, text in self.prompts.items():
            versions.keep(store, "prompt", text, name=role)
        for name in _FILES:
            versions.keep(store, "file", _text(self.root / name), name=name)
        parts = {
            "prompts": self._prompt_versions,
            "files": {name: content_hash(_text(self.root / name)) for name in _FILES},
        }
        versions.keep(store, "generation", json.dumps(parts, sort_keys=True), hash=self.generation_version)

    def keep_rubric(self) -> None:
        """Copy the rubric into the store under its version, once for each opening of the workspace."""
        if self._kept_rubric != self.rubric_version:
            versions.keep(
                self.store, "rubric", _text(self.rubric_path), name=self.rubric.name, hash=self.rubric_version
            )
            self._kept_rubric = self.rubric_version

    def reviewer(self, given: str | None = None) -> str:
        """Who reviews: the name given, else the one in the settings, else the login name."""
        name = given or self.settings.reviewer
        if not name:
            with contextlib.suppress(OSError, KeyError, ImportError):
                name = getpass.getuser()
        name = (name or "").strip()
        if not name:
            raise UserError("no reviewer's name: give --reviewer NAME or set reviewer in loopreview.toml")
        return name


def starters() -> Path:
    """The folder with the shipped `rubrics/` and `prompts/`: inside the installed package, else (an editable
    install) at the repository's root."""
    packaged = Path(str(resources.files("loopreview"))) / "starters"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def init(root: Path, *, template: str = "support-agent", from_dir: Path | None = None) -> Path:
    """Make a workspace in `root` from a shipped template, or from a folder that holds the files of one, and return
    its absolute path.

    Raises UserError where `root` is a workspace already or has files of the same names, or a file is missing.
    """
    root = root.expanduser().absolute()
    if (root / SETTINGS).exists():
        raise UserError(
            f"{root}: is a workspace already; open it with `loopreview -w {root.name}`, or choose another folder"
        )
    sources = _found(from_dir) if from_dir else _template(template)
    targets = {
        "rubric.yaml": root / "rubrics" / "rubric.yaml",
        "taxonomy.yaml": root / "taxonomy.yaml",
        "personas.yaml": root / "personas.yaml",
        **{f"{role}.md": root / "prompts" / f"{role}.md" for role in ROLES},
    }
    # A folder that holds the files already, in the places a workspace has them, becomes one where it is.
    copies = {sources[name]: target for name, target in targets.items() if not _same(sources[name], target)}
    taken = [target for target in copies.values() if target.exists()]
    if taken:
        raise UserError(f"{taken[0]}: exists already; choose an empty folder, or move that file away")
    own = from_dir / SETTINGS if from_dir else None
    settings = _text(own) if own and own.is_file() else settings_text(judged=template != "blank" or bool(from_dir))
    read_settings(settings, str(own or SETTINGS))
    _validate({name: _text(path) for name, path in sources.items()})
    try:
        for source, target in copies.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for folder in ("exports", "runs"):
            (root / folder).mkdir(exist_ok=True)
        if not (root / ".gitignore").exists():
            (root / ".gitignore").write_text("loopreview.db*\n.jobs/\nexports/\nruns/\n", encoding="utf-8")
        # The settings come last: without them the folder is no workspace, and init can be run again.
        Store.open(root / DATABASE, create=True).close()
        (root / SETTINGS).write_text(settings, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{error.filename or root}: cannot be written ({error.strerror}); check its permissions"
        ) from None
    return root


def settings_text(*, judged: bool) -> str:
    """A fresh `loopreview.toml`: the offline simulator in every role, and what to change for real models."""
    text = _SETTINGS
    return text + _JUDGES if judged else text + _NO_JUDGES


def _template(name: str) -> dict[str, Path]:
    base = starters()
    found = {file: base / ("prompts" if file.endswith(".md") else "rubrics") / name / file for file in NEEDED}
    if name not in TEMPLATES or not all(path.is_file() for path in found.values()):
        ready = [known for known in TEMPLATES if (base / "rubrics" / known / "rubric.yaml").is_file()]
        raise UserError(f"no template called {name}; choose one of {', '.join(ready)}")
    return found


def _found(folder: Path) -> dict[str, Path]:
    """The seven files in a folder of one's own: side by side, or placed as in a workspace."""
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; --from takes a folder with {', '.join(NEEDED)}")
    found = {}
    for name in NEEDED:
        places = [folder / name, folder / "rubrics" / name, folder / "prompts" / name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise UserError(
                f"{folder}: {name} is missing; --from needs {', '.join(NEEDED)} (prompts may lie in prompts/)"
            )
        found[name] = path
    return found


def _validate(texts: dict[str, str]) -> None:
    read_rubric(texts["rubric.yaml"], "rubric.yaml")
    read_taxonomy(texts["taxonomy.yaml"], "taxonomy.yaml")
    read_personas(texts["personas.yaml"], "personas.yaml")
    for role in ROLES:
        check_prompt(role, texts[f"{role}.md"], f"{role}.md")


def _same(one: Path, other: Path) -> bool:
    return other.exists() and os.path.samefile(one, other)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; restore it, or make a new workspace with `loopreview init`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", exit_code=3) from None


_SETTINGS = """\
# Settings of this workspace. Every name is explained in docs/settings.md; what is not here has its default.
# Keys never stand here: they stay in the environment (see api_key_env).

exchanges = [6, 10]          # fewest and most exchanges of a generated transcript

# Who plays the user, and the model you want to improve. "offline/…" is a simulator that needs no key and no network.
# Real ones, for example:
#   model = "anthropic/claude-sonnet-4-5"                        # key in ANTHROPIC_API_KEY
#   model = "openai/gpt-5-mini"                                  # key in OPENAI_API_KEY
#   model = "ollama_chat/qwen3:8b"                               # a server on this machine
#   model = "openai/my-model"                                    # any OpenAI-compatible server:
#   api_base = "http://127.0.0.1:8080/v1"
#   params = {temperature = 0.8, max_tokens = 800}

[user_sim]
model = "offline/user_sim"

[assistant]
model = "offline/assistant"
"""
_JUDGES = """
# Each judge answers every criterion on its own; the strictest answer counts.
[judges.strict]
model = "offline/judge-strict"

[judges.balanced]
model = "offline/judge-balanced"

[judges.lenient]
model = "offline/judge-lenient"
"""
_NO_JUDGES = """
# No judge yet. Each judge answers every criterion on its own; the strictest answer counts. For example:
# [judges.first]
# model = "offline/judge-balanced"
"""
