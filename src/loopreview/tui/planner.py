"""What an export would write, found out beside the screen and written nowhere.

    python -m loopreview.tui.planner ROOT

A process that reads requests and answers them, both in JSON lines, until its input ends. It holds the tokenizer, which
is large and slow to load, and what it learnt of each transcript, so that looking again after one decision is quick.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from loopreview.dataset.choose import Chosen, LeftOut, choose, read
from loopreview.dataset.examples import Made, Maker, Wanted
from loopreview.dataset.export import check
from loopreview.dataset.folder import MANIFEST
from loopreview.dataset.which_tokenizer import tokenizer_meant
from loopreview.models.errors import UserError
from loopreview.rules.duplicates import groups, signature
from loopreview.rules.splits import SPLITS, grouped, persona_key, placed
from loopreview.store import transcripts
from loopreview.tokens.hub import load
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.workspace import Workspace

UNDECIDED = "not decided"
TELL_S = 0.1
"""Progress is told at most this often."""

Answer = dict[str, Any]


class Known(NamedTuple):
    """What one transcript gives. `made`: (exchange, tokens, supervised tokens, label, digest) of each example."""

    of: tuple[Chosen, str]
    made: list[tuple[int, int | None, int, bool | None, bytes]]
    left_out: list[LeftOut]
    persona: str | None
    signature: bytes


class Planner:
    """Makes the examples of every transcript as an export does, and keeps their sizes only."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.tokenizer: ChatTokenizer | None = None
        self._wanted = Wanted()
        self._reference = ""
        self._basis: tuple[object, ...] = ()
        self._known: dict[str, Known] = {}
        self._chosen: dict[str, Chosen] = {}

    def plan(self, wanted: Wanted, reference: str) -> Iterator[Answer]:
        """Progress, then the plan. `reference`: the tokenizer, as `export --tokenizer` takes it. Raises UserError.

        `rows`: [transcript, split or null, [[at, exchange, tokens or null, supervised, label or null], …]], where `at`
        counts the examples of a transcript; `left_out`: [transcript, exchange or null, why, detail], those that nobody
        decided about only counted.
        """
        began = time.monotonic()
        check(wanted)
        self.workspace.refresh()
        meant = tokenizer_meant(self.workspace, reference) or ""
        if meant != self._reference or (meant and self.tokenizer is None):
            yield _progress("loading the tokenizer", 0, None)
            self.tokenizer, self._reference = None, meant
            self.tokenizer = load(meant) if meant else None
        yield _progress("reading decisions", 0, None)
        chosen, left_out = choose(self.workspace.store, wanted.kind)
        self._chosen, self._wanted = {one.id: one for one in chosen}, wanted
        maker = self._maker(wanted)
        self._forget(wanted, maker)
        for done, one in enumerate(chosen):
            yield _progress("making examples", done, len(chosen))
            self._learn(one, maker)
        rows, more, problem = self._rows()
        left_out += more
        without = sum(one.exchange is None and one.transcript not in self._chosen for one in left_out)
        settings = self.workspace.settings
        yield {
            "answer": "plan",
            "transcripts": len(chosen) + without,
            "chosen": len(chosen),
            "rows": rows,
            "left_out": [list(one) for one in left_out if one.why != UNDECIDED],
            "counts": dict(Counter(one.why for one in left_out).most_common()),
            "problem": problem,
            "limit": settings.max_tokens,
            "target": settings.target_examples,
            "tokenizer": self._described(),
            "last": last_export(self.workspace.root),
            "seconds": round(time.monotonic() - began, 3),
        }

    def _maker(self, wanted: Wanted) -> Maker:
        return Maker(wanted, self.workspace.settings, self.workspace.prompts["system"], self.tokenizer)

    def _forget(self, wanted: Wanted, maker: Maker) -> None:
        """Let go of what was learnt under other settings, and of transcripts that are not chosen any more."""
        settings = self.workspace.settings
        tokenizer = self.tokenizer.hash if self.tokenizer else None
        basis = (wanted, maker.system, settings.max_tokens, settings.slice_gap, tokenizer)
        if basis != self._basis:
            self._known, self._basis = {}, basis
        self._known = {id: known for id, known in self._known.items() if id in self._chosen}

    def _learn(self, chosen: Chosen, maker: Maker) -> None:
        of = (chosen, transcripts.head(self.workspace.store, chosen.id).hash)
        known = self._known.get(chosen.id)
        if known is not None and known.of == of:
            return
        transcript = read(self.workspace.store, chosen)
        made, left_out = [], []
        for one in maker.of(chosen, transcript):
            if isinstance(one, Made):
                made.append((one.exchange, one.length, one.supervised, one.label, one.digest))
            else:
                left_out.append(one)
        words = signature(message.text for message in transcript.messages if message.role != "system")
        self._known[chosen.id] = Known(of, made, left_out, persona_key(transcript.persona), words)

    def _rows(self) -> tuple[list[list[Any]], list[LeftOut], str]:
        """The examples by transcript, what is left out of them, and why they cannot be split, if they cannot."""
        rows: list[list[Any]] = []
        left_out: list[LeftOut] = []
        seen: set[bytes] = set()
        for id in self._chosen:
            known, own = self._known[id], []
            left_out += known.left_out
            for at, (exchange, tokens, supervised, label, digest) in enumerate(known.made):
                if digest in seen:
                    left_out.append(LeftOut(id, exchange, "equal to an example before it"))
                    continue
                seen.add(digest)
                own.append([at, exchange, tokens, supervised, label])
            if own:
                rows.append([id, None, own])
        if not rows:
            return rows, left_out, ""
        near = groups({id: known.signature for id, known in self._known.items()})
        try:
            splits = placed(
                grouped({id: self._known[id].persona for id, _, _ in rows}, [group.transcripts for group in near])
            )
        except UserError as error:
            return rows, left_out, str(error)
        return [[id, splits[id], own] for id, _, own in rows], left_out, ""

    def _described(self) -> dict[str, Any] | None:
        tokenizer = self.tokenizer
        if tokenizer is None:
            return None
        return {"name": tokenizer.name, "system": tokenizer.system, "end_of_turn": tokenizer.end_of_turn}

    def example(self, id: str, at: int) -> Answer:
        """One example of the last plan as the model will see it: `parts` of text, with the spans that are supervised.

        With a tokenizer the text is what its template makes of the very row, and the spans are those of its labels;
        without one, the messages under their roles. Raises UserError where it is not there any more.
        """
        chosen = self._chosen.get(id)
        if chosen is None:
            raise UserError(f"{id}: is not in the dataset any more; r looks again")
        form = "trl" if self.tokenizer or self._wanted.kind != "sft" else "openai"
        maker = self._maker(self._wanted._replace(form=form))
        found = (one for one in maker.of(chosen, read(self.workspace.store, chosen)) if isinstance(one, Made))
        made = next((one for number, one in enumerate(found) if number == at), None)
        if made is None:
            raise UserError(f"{id}: this example is not there any more; r looks again")
        row = json.loads(made.row)
        tokens = json.loads(made.tokens) if made.tokens else None
        parts = [
            self._rendered(title, messages, row.get("tools"), tokens[f"{prefix}labels"])
            if tokens is not None
            else plain(title, messages, supervised)
            for title, prefix, messages, supervised in _versions(row)
        ]
        return {
            "answer": "example",
            "transcript": id,
            "at": at,
            "exchange": made.exchange,
            "tokens": made.length,
            "supervised": made.supervised if made.length is not None else None,
            "label": made.label,
            "rendered": self.tokenizer is not None,
            "parts": parts,
        }

    def _rendered(self, title: str, messages: list[Any], tools: Any, labels: list[int]) -> dict[str, Any]:
        assert self.tokenizer is not None
        text = self.tokenizer.template.render(messages, tools=tools)
        return {"title": title, "text": text, "lit": lit_spans(self.tokenizer.spans(text), labels)}


def _versions(row: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any], set[int]]]:
    """(title, what its token row's names begin with, messages, places of supervised replies): one, or two of a pair."""
    if "messages" in row:
        messages = row["messages"]
        yield "", "", messages, {n for n, message in enumerate(messages) if message.get("weight") == 1}
        return
    for name, title in (("completion", ""), ("chosen", "the better reply"), ("rejected", "the worse reply")):
        if name in row:
            prompt = row["prompt"]
            yield title, "" if name == "completion" else f"{name}_", [*prompt, *row[name]], {len(prompt)}


def lit_spans(reach: list[tuple[int, int]], labels: list[int]) -> list[tuple[int, int]]:
    """The characters of supervised tokens, as few spans as they make. `reach`: from which to which character each token
    goes. Empty where the two are not of the same tokens."""
    spans: list[tuple[int, int]] = []
    if len(reach) != len(labels):
        return spans
    before = False
    for (start, end), label in zip(reach, labels, strict=True):
        if label >= 0:
            if before:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        before = label >= 0
    return spans


def plain(title: str, messages: list[Any], supervised: set[int]) -> dict[str, Any]:
    """Messages under their roles, for want of a template."""
    text, lit = "", []
    for number, message in enumerate(messages):
        said = str(message.get("content") or "")
        calls = message.get("tool_calls")
        if calls:
            said = f"{said}\n{json.dumps(calls, ensure_ascii=False)}".strip()
        text += f"{message['role']}\n"
        if number in supervised:
            lit.append((len(text), len(text) + len(said)))
        text += f"{said}\n\n"
    return {"title": title, "text": text.rstrip("\n"), "lit": lit}


def last_export(root: Path) -> dict[str, Any] | None:
    """The newest dataset under `exports/` that can be read: where it is, when it was made, how many examples."""
    found = []
    for manifest in root.glob(f"exports/*/{MANIFEST}"):
        with contextlib.suppress(OSError):
            found.append((manifest.stat().st_mtime, manifest))
    for at, manifest in sorted(found, reverse=True):
        try:
            document = json.loads(manifest.read_text(encoding="utf-8"))
            examples = {split: int(document["examples"][split]) for split in SPLITS}
            return {"dataset": str(manifest.parent), "at": at, "examples": examples, "kind": str(document["kind"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _progress(label: str, done: int, total: int | None) -> Answer:
    return {"answer": "progress", "label": label, "done": done, "total": total}


def serve(planner: Planner, requests: Iterable[str], tell: IO[str]) -> None:
    """Answer requests until they end. A plan under way stops for examples, and gives way to the next plan."""
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def receive() -> None:
        for line in requests:
            inbox.put(line)
        inbox.put(None)

    threading.Thread(target=receive, daemon=True).start()
    work: Iterator[Answer] | None = None
    number, told = 0, 0.0

    def say(id: int, answer: Answer) -> None:
        tell.write(json.dumps({"id": id, **answer}) + "\n")
        tell.flush()

    while True:
        try:
            line = inbox.get(block=work is None)
        except queue.Empty:
            line = ""
        if line is None:
            return
        if line:
            request = json.loads(line)
            if request["ask"] == "plan":
                wanted = Wanted(request["kind"], request["form"], request["supervise"])
                work, number, told = planner.plan(wanted, request["tokenizer"]), request["id"], 0.0
            else:
                say(request["id"], _tried(lambda: planner.example(request["transcript"], request["at"])))  # noqa: B023
            continue
        assert work is not None
        answer = _tried(lambda: next(work))  # noqa: B023
        if answer["answer"] == "progress":
            if time.monotonic() - told < TELL_S:
                continue
            told = time.monotonic()
        else:
            work = None
        say(number, answer)


def _tried(act: Any) -> Answer:
    try:
        found: Answer = act()
        return found
    except UserError as error:
        return {"answer": "error", "why": str(error)}
    except Exception as error:  # one transcript that nobody thought of must not end the rest
        return {"answer": "error", "why": f"{type(error).__name__}: {error}"}


def main(root: Path) -> None:
    try:
        with Workspace.open(root) as workspace:
            serve(Planner(workspace), sys.stdin, sys.stdout)
    except UserError as error:
        print(f"loopreview: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
