"""The way back from a run to the conversations it learnt from, and forth from a conversation to the runs."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loopreview.formats.exported import MANIFEST, REVOKED, Exported
from loopreview.lineage.known import LEARNT, MEASURED, Known, Line, holding, is_of
from loopreview.models.errors import UserError
from loopreview.rules.review import fold
from loopreview.runs import Run
from loopreview.store import batches, events, revocations, transcripts, verdicts, versions
from loopreview.workspace import Workspace

_EXAMPLE = re.compile(r"(?P<where>.+):(?P<split>train|valid|test):(?P<row>[0-9]{1,12})")
_TRANSCRIPT = re.compile(r"[0-9]+-[0-9]+")
_BEGINNING = 4
"""Characters of a hash that name a dataset at least, lest a run's number be taken for one."""
_FORMS = (
    "give a run (r3, 3, its id or folder), a transcript (6-1), a dataset (its hash, the beginning of it, or its "
    "folder), or an example (HASH:train:17 or RUN:train:17)"
)


def trace(workspace: Workspace, name: str) -> dict[str, Any]:
    """What `trace --json` prints: a document with `kind` run, dataset, transcript or example.

    Raises UserError where `name` names nothing, or several things.
    """
    known = Known(workspace.root)
    if match := _EXAMPLE.fullmatch(name):
        return _example(workspace, known, match["where"], match["split"], int(match["row"]))
    kind, found = _meant(workspace, known, name)
    if kind == "transcript":
        return _transcript(workspace, known, found)
    if kind == "run":
        return _run(workspace, known, found)
    return _dataset(workspace, known, found)


def _meant(workspace: Workspace, known: Known, name: str) -> tuple[str, Any]:
    """("run", Run), ("dataset", its hash) or ("transcript", its id)."""
    for found in (_exactly(workspace, known, name), _beginning(known, name)):
        if len(found) > 1:
            raise UserError(f"{name}: names {' and '.join(_named(*one) for one in found[:4])}; say which")
        if found:
            return found[0]
    if _TRANSCRIPT.fullmatch(name):
        return "transcript", transcripts.head(workspace.store, name).id
    try:
        return "transcript", transcripts.resolve(workspace.store, name)
    except UserError as error:
        if "several" in str(error):
            raise
    raise UserError(f"{name}: there is no such run, transcript or dataset; {_FORMS}")


def _exactly(workspace: Workspace, known: Known, name: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    found += [("run", run) for run in known.runs if name in (run.id, f"r{run.number}", str(run.number))]
    if name in known.datasets:
        found.append(("dataset", name))
    for folder in dict.fromkeys((Path(name).expanduser().absolute(), known.root / name)):
        if (folder / "plan.yaml").is_file():
            run = known.add(Run(folder))
            found += [("run", run)] if ("run", run) not in found else []
        elif (folder / MANIFEST).is_file():
            hash = known.add_dataset(folder)
            found += [("dataset", hash)] if ("dataset", hash) not in found else []
    return found


def _beginning(known: Known, name: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("run", run) for run in known.runs if run.id.startswith(name)]
    if len(name) >= _BEGINNING:
        found += [("dataset", hash) for hash in known.datasets if hash.startswith(name)]
    return found


def _named(kind: str, what: Any) -> str:
    return f"{kind} {what.id if isinstance(what, Run) else what}"


def _example(workspace: Workspace, known: Known, where: str, split: str, row: int) -> dict[str, Any]:
    kind, found = _meant(workspace, known, where)
    if kind == "transcript":
        raise UserError(f"{where}: is a transcript; an example is named by its dataset or run, such as HASH:train:17")
    use = known.use(found) if kind == "run" else None
    hash = use.hash if use else found
    if hash is None:
        raise UserError(f"{where}: {use.rows.problem if use else ''}; which dataset it used is not known")
    rows = known.lines(hash)
    line = next((one for one in rows.lines if one.get("split") == split and one.get("row") == row), None)
    if line is None:
        counts = Counter(str(one.get("split")) for one in rows.lines)
        there = ", ".join(f"{name} 1 to {count}" for name, count in counts.items()) or "no row at all"
        raise UserError(f"{where}: has no row {row} in {split}; it has {there}" + (_because(rows.problem)))
    folders = known.datasets[hash].folders
    return {
        "kind": "example",
        "id": f"{hash}:{split}:{row}",
        "dataset": _dataset_head(known, hash),
        "file": str(folders[0] / f"{split}.jsonl") if folders else None,
        **{key: value for key, value in line.items() if key not in ("split", "row")},
        "split": split,
        "row": row,
        "batch": _batch(workspace, line) or {"id": line.get("batch"), "origin": line.get("origin")},
        "kept": _kept(workspace, line),
        "here": _here(workspace, line),
        "revoked": _revoked(workspace, known, hash, line),
        "runs": list(_runs_with(known, hash, split)),
        "problem": rows.problem,
    }


def _transcript(workspace: Workspace, known: Known, id: str) -> dict[str, Any]:
    store = workspace.store
    head = transcripts.head(store, id)
    review = fold(events.of(store, id)).transcripts.get(id)
    found = []
    problems = []
    for hash in known.datasets:
        rows = known.lines(hash)
        mine = [line for line in rows.lines if is_of(line, id, head.hash)]
        if rows.problem:
            problems.append(f"dataset {hash}: {rows.problem}")
        if mine:
            examples = [{key: line.get(key) for key in ("split", "row", "exchange")} for line in mine]
            found.append({**_dataset_head(known, hash), "examples": examples})
    held, unknown = holding(known, id, head.hash)
    revoked = revocations.standing(store).get(id)
    batch = batches.get(store, head.batch)
    return {
        "kind": "transcript",
        "transcript": id,
        "source": head.source,
        "persona": head.persona_name or None,
        "exchanges": head.exchanges,
        "complete": head.complete,
        "batch": batch._asdict(),
        "versions": {"transcript": head.hash, "generation": batch.generation_version},
        "panel": [member.backend for member in verdicts.panel(store, id)],
        "decision": review.decision if review else None,
        "decisions": [
            {"reviewer": who, "decision": event.kind, "at": event.at, "rubric": event.rubric_version}
            for who, event in sorted(review.decisions.items() if review else ())
        ],
        "revoked": {"at": revoked.at, "by": revoked.reviewer, "reason": revoked.reason} if revoked else None,
        "datasets": found,
        "runs": [
            {
                **_run_head(one.run),
                "dataset": known.use(one.run).hash,
                "learnt": one.learnt,
                "measured": one.measured,
                "through": list(one.through),
            }
            for one in held
        ],
        "problems": list(dict.fromkeys([*problems, *unknown])),
    }


def _run(workspace: Workspace, known: Known, run: Run) -> dict[str, Any]:
    use = known.use(run)
    ancestors = known.ancestors(run)
    children = [one for one in list(known.runs) if any(run.id == a.id for a in known.ancestors(one)) and one is not run]
    plan = known.plan(run)
    return {
        "kind": "run",
        **_run_head(run),
        "base": plan.base if plan else None,
        "adapter": plan.adapter if plan else None,
        "dataset": _dataset_head(known, use.hash) if use.hash else None,
        "went_on_from": [{"run": one.id, "there": one.run is not None} for one in ancestors],
        "gone_on_by": [one.id for one in children],
        **_of_lines(workspace, use.rows.lines),
        "revoked": sorted(run.read_json(run.revoked_file)),
        "problem": use.rows.problem,
    }


def _dataset(workspace: Workspace, known: Known, hash: str) -> dict[str, Any]:
    rows = known.lines(hash)
    return {
        "kind": "dataset",
        **_dataset_head(known, hash),
        **_of_lines(workspace, rows.lines),
        "runs": [_run_head(run) for run in known.runs if known.use(run).hash == hash],
        "problem": rows.problem,
    }


def _of_lines(workspace: Workspace, lines: Sequence[Line]) -> dict[str, Any]:
    """The transcripts of these examples, and all that they were made and decided with."""
    of: dict[str, dict[str, Any]] = {}
    for line in lines:
        id = str(line.get("transcript"))
        row = of.get(id)
        if row is None:
            row = of[id] = {
                "transcript": id,
                **{key: line.get(key) for key in ("source", "batch", "origin", "versions", "decision")},
                "panel": _texts(line.get("panel")),
                "reviewers": _texts(line.get("reviewers")),
                "here": _here(workspace, line),
                "examples": {},
            }
        row["examples"].setdefault(str(line.get("split")), []).append(line.get("row"))
    made = [row["versions"] if isinstance(row["versions"], dict) else {} for row in of.values()]
    return {
        "examples": dict(Counter(str(line.get("split")) for line in lines)),
        "transcripts": list(of.values()),
        "versions": {
            "rubric": dict(Counter(v for one in made for v in _texts(one.get("rubric")))),
            "generation": dict(Counter(v for one in made if isinstance(v := one.get("generation"), str))),
            "system": dict(Counter(v for one in made if isinstance(v := one.get("system"), str))),
        },
        "judges": dict(Counter(judge for row in of.values() for judge in row["panel"])),
        "reviewers": dict(Counter(who for row in of.values() for who in row["reviewers"])),
        "decisions": dict(Counter(str(row["decision"]) for row in of.values())),
    }


def _dataset_head(known: Known, hash: str) -> dict[str, Any]:
    """`folders`: where it lies; `gone`: where a run found it, and it is no more."""
    dataset = known.datasets[hash]
    marked: dict[str, None] = {}
    manifest: dict[str, Any] = {}
    for folder in dataset.folders:
        opened = Exported.open(folder)
        manifest = manifest or opened.manifest
        marked |= dict.fromkeys(opened.revoked())
    return {
        "hash": hash,
        "folders": [str(folder) for folder in dataset.folders],
        "gone": [str(folder) for folder in dataset.gone],
        "format": manifest.get("format"),
        "data_kind": manifest.get("kind"),
        "dataset_versions": manifest.get("versions"),
        "tokenizer": manifest.get("tokenizer"),
        "revoked": sorted(marked),
    }


def _run_head(run: Run) -> dict[str, Any]:
    return {"run": run.id, "folder": str(run.folder), "state": run.standing().state}


def _runs_with(known: Known, hash: str, split: str) -> Iterator[dict[str, Any]]:
    """The runs that learnt from a split of a dataset, or were measured on it, or are planned to."""
    how = {LEARNT: "learnt", MEASURED: "measured"}.get(split)
    for run in known.runs if how else ():
        if known.use(run).hash == hash:
            head = _run_head(run)
            yield {**head, "as": "planned" if head["state"] == "planned" else how}


def _batch(workspace: Workspace, line: Line) -> dict[str, Any] | None:
    """The batch of an example, where it is one of this workspace."""
    if not _here(workspace, line):
        return None
    head = transcripts.head(workspace.store, str(line["transcript"]))
    return batches.get(workspace.store, head.batch)._asdict()


def _here(workspace: Workspace, line: Line) -> bool:
    """Whether this workspace has the very transcript."""
    try:
        head = transcripts.head(workspace.store, str(line.get("transcript")))
    except UserError:
        return False
    return is_of(line, head.id, head.hash)


def _kept(workspace: Workspace, line: Line) -> dict[str, Any]:
    """What the workspace keeps of the versions an example names: its prompts and files for a generated one, and
    whether the rubrics of its decision are there."""
    named = line.get("versions")
    named = named if isinstance(named, dict) else {}
    generation = versions.get(workspace.store, str(named.get("generation") or ""))
    return {
        "generation": json.loads(generation) if generation else None,
        "rubric": {v: versions.get(workspace.store, v) is not None for v in _texts(named.get("rubric"))},
        "system": versions.get(workspace.store, str(named.get("system") or "")) is not None,
    }


def _revoked(workspace: Workspace, known: Known, hash: str, line: Line) -> dict[str, Any] | None:
    """Who withdrew the transcript of an example, when and why: by the mark of its dataset, or by the workspace."""
    transcript = str(line.get("transcript"))
    for folder in known.datasets[hash].folders:
        mark = Run(folder).read_json(folder / REVOKED).get(transcript)
        if isinstance(mark, dict):
            return mark
    act = revocations.standing(workspace.store).get(transcript) if _here(workspace, line) else None
    return {"at": act.at, "by": act.reviewer, "reason": act.reason} if act else None


def _because(problem: str | None) -> str:
    return f" ({problem})" if problem else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
