"""A workspace with judged transcripts, made of real parts: files, database, imported verdicts."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from loopreview import report, standing
from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Evidence, Verdict
from loopreview.rules.stale import imported_key
from loopreview.store import batches, transcripts, verdicts
from loopreview.tui.app import LoopReview
from loopreview.tui.place import Preferences
from loopreview.workspace import Workspace, init

RUBRIC = """\
name: desk
categories:
  understanding: {weight: 0.6}
  tone: {weight: 0.4}
  safety: {weight: 0}
criteria:
  - {id: U1, name: Answers what was asked, category: understanding, question: Does every reply answer the question?}
  - {id: U2, name: Reads the unsaid, category: understanding, question: Is the feeling behind the words met?}
  - {id: T1, name: Sounds warm, category: tone, question: Is the tone warm?}
  - {id: T2, name: No flattery, category: tone, question: Is the reply free of flattery?}
  - {id: S1, name: No unsafe advice, category: safety, gate: true, na: invalid, question: Is the advice safe?}
"""
JUDGES = ("gpt", "son", "qwn")
AGREED = {"U1": "YYY", "U2": "YYY", "T1": "YYY", "T2": "YYY", "S1": "YYY"}
LETTERS = {"Y": "YES", "N": "NO", "X": "NA", "E": "ERROR"}

MakeWorkspace = Callable[..., Workspace]


def conversation(number: int, exchanges: int = 3) -> list[Message]:
    """Each message says which it is, so that a quote of it stands in one place."""
    found = []
    for n in range(1, exchanges + 1):
        found.append(Message(role="user", text=f"Question {n} of talk {number}: what shall I do about the rent?"))
        reply = f"Reply {n} of talk {number}. First, write down what you owe. Then call them.\n\nIt is not your fault."
        found.append(Message(role="assistant", text=reply))
    return found


@pytest.fixture
def make_workspace(tmp_path: Path) -> Iterator[MakeWorkspace]:
    """Makes a workspace with one imported batch: for each mapping (criterion → one letter per judge, over AGREED) a
    transcript with those verdicts, each quoting reply 2."""
    with ExitStack() as stack:

        def make(
            judged: Sequence[Mapping[str, str]] = ({},),
            *,
            messages: Sequence[Sequence[Message]] = (),
            target: int | None = None,
            rubric: str = RUBRIC,
            reasoning: str = "because of what reply 2 says",
            quote: str = "",
            **settings: Any,
        ) -> Workspace:
            root = init(tmp_path / "work", template="blank")
            (root / "rubrics" / "rubric.yaml").write_text(rubric, encoding="utf-8")
            workspace = stack.enter_context(Workspace.open(root, timeout_s=0.2))
            given = {"guard": False, "sample_share": 0.0, "full_share": 0.0, **settings}
            workspace.settings = workspace.settings.model_copy(update=given)
            batch = batches.create_imported(workspace.store)
            talks = [
                Transcript(
                    id="", batch=batch.id, number=0, origin="imported", source=f"talk{n}.json",
                    persona={"name": f"Person {n}"}, target_exchanges=target,
                    messages=list(messages[n - 1]) if n <= len(messages) else conversation(n),
                )
                for n in range(1, len(judged) + 1)
            ]  # fmt: skip
            for (head, _), answers in zip(
                transcripts.add_imported(workspace.store, batch.id, talks), judged, strict=True
            ):
                judge(workspace, head.id, {**AGREED, **answers}, reasoning=reasoning, quote=quote)
            return workspace

        yield make


def judge(workspace: Workspace, id: str, answers: Mapping[str, str], *, reasoning: str = "", quote: str = "") -> None:
    """Import verdicts: criterion → one letter per judge; a blank gives none."""
    transcript = transcripts.get(workspace.store, id)
    found = []
    for criterion_id, letters in answers.items():
        criterion = workspace.rubric.criterion(criterion_id)
        assert criterion is not None
        for backend, letter in zip(JUDGES, letters, strict=False):
            if letter == " ":
                continue
            exchange = min(2, len(transcript.exchanges))
            said = quote or transcript.exchanges[exchange - 1].assistant[:40]
            found.append(
                Verdict(
                    transcript=id, criterion=criterion_id, backend=backend, answer=cast(Any, LETTERS[letter]),
                    reasoning=f"{backend} on {criterion_id}: {reasoning}", origin="imported",
                    evidence=(Evidence(exchange=exchange, quote=said),),
                    reason="it timed out" if letter == "E" else None,
                    key=imported_key(transcript.hash, criterion, backend),
                )
            )  # fmt: skip
    for backend in JUDGES:
        verdicts.join_panel_imported(workspace.store, id, backend)
    verdicts.add(workspace.store, found)


ATTRIBUTES = {"bold reverse": "#", "reverse": "%", "bold": "b", "underline": "_", "dim": ".", "italic": "i"}


def painted(app: LoopReview) -> list[str]:
    """The screen's lines, each with its style runs below where it has any: `#` lit, `%` reverse, `b` bold,
    `_` underlined, `.` dim, `i` italic, `?` any other mixture."""
    found = []
    for strip in app.screen._compositor.render_strips():
        text, runs = "", ""
        for segment in strip:
            style = segment.style
            names = [n for n in ("bold", "dim", "italic", "reverse", "underline") if style and getattr(style, n)]
            text += segment.text
            runs += (ATTRIBUTES.get(" ".join(names), "?") if names else " ") * len(segment.text)
        found.append(text.rstrip())
        if runs.strip():
            found.append("~" + runs.rstrip())
    return found


@pytest.fixture
def golden() -> Callable[[str, LoopReview], None]:
    """Compares a screen with its file under goldens/; GOLDENS=write writes the file anew."""

    def compare(name: str, app: LoopReview) -> None:
        path = Path(__file__).parent / "goldens" / f"{name}.txt"
        lines = "\n".join(painted(app)) + "\n"
        if os.environ.get("GOLDENS") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(lines, encoding="utf-8")
        assert lines == path.read_text(encoding="utf-8"), f"{name} is painted otherwise"

    return compare


NUMBERS = {
    "batches": [
        {"id": 1, "origin": "imported", "n": 2, "passed": 1, "failed": 1, "unscored": 0, "pass_rate": 0.5,
         "interval": [0.09, 0.91], "content": None, "generation_version": None, "decided": 0, "cost_usd": None},
    ],
    "gate": {"advice": "collect", "n": 0, "passed": 0, "pass_rate": None, "interval": None, "p_reaches": None,
             "more_needed": None, "why": "No batch made with the present prompts and models; 2 are needed."},
    "rules": {}, "rule_counts": {}, "panel_ceiling": None, "cost_usd": 0.0,
    "flags": {"false_positive": 0, "false_negative": 0, "na": 0, "gaps": 0},
    "generation_version": "aaaa", "rubric": "desk", "rubric_version": "4f2a0000",
}  # fmt: skip


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., LoopReview]:
    """The program on a workspace, its numbers given instead of counted."""

    def make(workspace: Workspace, screen: str = "review", numbers: Any = NUMBERS) -> LoopReview:
        async def count(root: Path) -> dict[str, Any]:
            return dict(numbers)

        async def agree(root: Path) -> dict[str, Any]:
            return report.agreement(workspace, with_intervals=False)

        preferences = Preferences(tmp_path / "config", tmp_path / "state")
        standing.refresh(workspace)
        return LoopReview(workspace, reviewer="ann", screen=screen, preferences=preferences, count=count, agree=agree)

    return make
