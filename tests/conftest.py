"""Fixtures that every test may use: a workspace in a temporary folder, and the command line run in this process."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.forked import Forked

# Before any import of litellm: tests never look for a price list on the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# Before any import of torch or mlx: two threads for a tiny model take many times as long as one.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

SMALL_RUBRIC = """\
name: small
categories:
  help: {weight: 0.6}
  tone: {weight: 0.4}
  safety: {weight: 0}
criteria:
  - id: H1
    name: Answers every topic
    category: help
    question: Does each reply address every topic the user raised?
    na: invalid
  - id: T1
    name: No question at every end
    category: tone
    kind: check
    check: question_endings
  - id: S1
    name: No unsafe advice
    category: safety
    gate: true
    na: invalid
    question: Is every piece of advice safe to follow?
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def says(self, *parts: str) -> None:
        """The error is one line, the last on stderr, and holds each of `parts`."""
        assert "Traceback" not in self.err, self.err
        last = self.err.strip().splitlines()[-1]
        assert last.startswith("loopreview: "), self.err
        for part in parts:
            assert part in last, last


Cli = Callable[..., Result]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that processes that run tests side by side end together."""
    items.sort(key=lambda item: (item.get_closest_marker("train") is None, "twenty_random_kills" not in item.name))


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each of the processes that run tests side by side has its own place for state, a device's lock above all."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    os.environ.pop("XDG_STATE_HOME") if before is None else os.environ.update(XDG_STATE_HOME=before)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name.startswith("LOOPREVIEW_"):
            monkeypatch.delenv(name)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `loopreview ARGS…` in this process."""

    def run(*args: object, code: int | None = 0) -> Result:
        from loopreview.cli.main import run as main

        monkeypatch.setattr(sys, "argv", ["loopreview", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        result = Result(int(left.value.code or 0), out, err)
        if code is not None:
            assert result.code == code, f"exit {result.code}\n{out}\n{err}"
        return result

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace folder with the shipped support-agent domain and the offline models."""
    from loopreview.workspace import init

    return init(tmp_path / "workspace")


@pytest.fixture
def small(root: Path) -> Path:
    """The same, with three criteria and short conversations."""
    (root / "rubrics" / "rubric.yaml").write_text(SMALL_RUBRIC, encoding="utf-8")
    settings = (root / "loopreview.toml").read_text(encoding="utf-8")
    (root / "loopreview.toml").write_text(
        settings.replace("exchanges = [6, 10]", "exchanges = [2, 3]"), encoding="utf-8"
    )
    return root


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Callable[[], object]], Path]:
    """`once(root, fill)` fills the workspace `root` the first time in a module, and copies what that made after it."""
    filled = tmp_path_factory.mktemp("once") / "workspace"

    def make(root: Path, fill: Callable[[], object]) -> Path:
        if filled.exists():
            shutil.rmtree(root)
            shutil.copytree(filled, root)
        else:
            fill()
            shutil.copytree(root, filled)
        return root

    return make


@pytest.fixture
def spawn() -> Iterator[Callable[..., Forked]]:
    """Start `loopreview ARGS…` as a process of its own; what still runs at the end is killed."""
    with ExitStack() as stack:
        yield lambda *args, **environment: stack.enter_context(Forked(*args, **environment))
