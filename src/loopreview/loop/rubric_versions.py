"""Every version of the rubric and of the prompts that was used: when, what changed, and how many passed under it."""

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopreview import standing
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.transcript import Exchange
from loopreview.rules.checks import CheckResult, measure, run_check
from loopreview.rules.prompts import ROLES
from loopreview.rules.rubric import read_rubric, with_examples
from loopreview.rules.score import assess_transcript
from loopreview.rules.stale import imported_key, shown_examples, verdict_key
from loopreview.store import batches, examples, transcripts, verdicts, versions
from loopreview.store import standing as kept
from loopreview.workspace import Workspace

FOLDER = "prompt_versions"
NEWEST = 500
"""Judged pass rates of earlier versions are taken over this many complete transcripts, the newest."""


class RubricVersion(NamedTuple):
    hash: str
    at: str
    """When it was used first."""
    text: str
    rubric: Rubric | None
    """With the examples of then; None where this program can no longer read its text."""


class Wording(NamedTuple):
    """One criterion as an earlier version of the rubric asked it."""

    version: str
    at: str
    criterion: Criterion


def rubric_versions(workspace: Workspace) -> list[RubricVersion]:
    """Every version that was used, in the order of first use."""
    return [
        RubricVersion(hash, at, text, _read(workspace, hash, at, text))
        for hash, _, at in versions.listed(workspace.store, "rubric")
        if (text := versions.get(workspace.store, hash)) is not None
    ]


def _read(workspace: Workspace, hash: str, at: str, text: str) -> Rubric | None:
    """The rubric with the examples it had: those of the time, or whichever give it the hash it was kept under."""
    try:
        rubric = read_rubric(text, "")
    except UserError:
        return None
    present = [(criterion, example) for _, criterion, example in examples.listed(workspace.store)]
    tried = [with_examples(rubric, added) for added in (examples.in_use_at(workspace.store, at), present, [])]
    return next((found for found in tried if found.version == hash), tried[0])


def asks_alike(one: Criterion, other: Criterion) -> bool:
    """Whether a judge is asked the same: question, NA rule and examples."""
    return (one.question, one.na, one.examples) == (other.question, other.na, other.examples)


def earlier_wordings(workspace: Workspace, criterion: Criterion) -> list[Wording]:
    """What earlier versions of the rubric asked under this id, the latest first, each wording once."""
    found: list[Wording] = []
    for version in reversed(rubric_versions(workspace)):
        old = version.rubric.criterion(criterion.id) if version.rubric else None
        if old is None or not old.question.strip():
            continue
        if not any(asks_alike(old, known) for known in [criterion, *(wording.criterion for wording in found)]):
            found.append(Wording(version.hash, version.at, old))
    return found


def find_version(workspace: Workspace, prefix: str) -> RubricVersion:
    """The one rubric version whose hash begins so. Raises UserError where none or several do."""
    known = rubric_versions(workspace)
    hits = [version for version in known if prefix and version.hash.startswith(prefix.lower())]
    if len(hits) == 1:
        return hits[0]
    raise _not_one(prefix, [version.hash for version in hits], "rubric")


def _not_one(prefix: str, hits: Sequence[str], what: str) -> UserError:
    if hits:
        return UserError(f"{prefix!r} begins several versions: {', '.join(hits[:4])}; give more of its digits")
    return UserError(f"no {what} version begins with {prefix!r}; `loopreview rubric history` lists them")


# What changed


def changes(before: Rubric | None, after: Rubric) -> list[dict[str, str]]:
    """What `after` changed: `{criterion, change}`, and `{criterion: "", change}` for what spans criteria."""
    if before is None:
        return []
    found: list[dict[str, str]] = []
    for criterion in after.criteria:
        old = before.criterion(criterion.id)
        change = "added" if old is None else _change(old, criterion)
        if change:
            found.append({"criterion": criterion.id, "change": change})
    gone = [criterion.id for criterion in before.criteria if after.criterion(criterion.id) is None]
    found += [{"criterion": id, "change": "removed"} for id in gone]
    for name in ("name", "pass_threshold", "categories"):
        if getattr(before, name) != getattr(after, name):
            found.append({"criterion": "", "change": name.replace("_", " ")})
    return found


def _change(old: Criterion, new: Criterion) -> str:
    """In a word or two what changed of one criterion; empty where nothing did."""
    parts = [
        word
        for word, fields in (
            ("reworded", ("question",)),
            ("examples", ("examples",)),
            ("NA rule", ("na",)),
            ("check", ("kind", "check", "params")),
            ("name", ("name",)),
            ("category", ("category", "gate")),
            ("fewest exchanges", ("min_exchanges",)),
        )
        if any(getattr(old, field) != getattr(new, field) for field in fields)
    ]
    return ", ".join(parts)


# Pass rates


class Rate(NamedTuple):
    passed: int
    n: int

    @property
    def share(self) -> float | None:
        return self.passed / self.n if self.n else None


def judged_rates(workspace: Workspace, sides: Sequence[tuple[Rubric, Sequence[str]]]) -> list[Rate]:
    """For each rubric with the assessor prompts (hashes) it may have been asked with: how many of the newest complete
    transcripts the judges passed, of those on which every answer under it is in the store. Nobody is asked."""
    if not sides:
        return []
    tallies = [[0, 0] for _ in sides]
    heads = [head for head in transcripts.heads(workspace.store) if head.complete][-NEWEST:]
    fingerprints = {name: judge.fingerprint for name, judge in workspace.settings.judges.items()}
    for head in heads:
        members = verdicts.panel(workspace.store, head.id)
        panel = [member.backend for member in members]
        given = verdicts.answers(workspace.store, head.id)
        if not panel or not given:
            continue
        order = {(answer.backend, answer.key): (place, answer.answer) for place, answer in enumerate(given)}
        prints = {m.backend: {m.asked_as, fingerprints.get(m.backend, m.asked_as)} - {""} for m in members}
        answered: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        checked: dict[str, CheckResult] = {}
        exchanges: list[Exchange] = []
        for tally, (rubric, assessors) in zip(tallies, sides, strict=True):
            raw: dict[str, dict[str, str]] = {}
            checks: dict[str, CheckResult] = {}
            for criterion in rubric.criteria:
                asked = content_hash(criterion.model_dump(mode="json"))
                if criterion.kind == "check":
                    if asked not in checked:
                        exchanges = exchanges or transcripts.get(workspace.store, head.id).exchanges
                        checked[asked] = run_check(criterion, exchanges, measure(exchanges))
                    checks[criterion.id] = checked[asked]
                place = (asked, tuple(assessors))
                if place not in answered:
                    answered[place] = _latest(head, criterion, assessors, prints, order)
                raw[criterion.id] = answered[place]
            judged = assess_transcript(
                rubric,
                transcript=head.id,
                exchange_count=head.exchanges,
                complete=True,
                panel=panel,
                raw=raw,
                checks=checks,
                review=None,
                rule=workspace.settings.merge,
            ).judged
            if judged is not None:
                tally[0] += judged
                tally[1] += 1
    return [Rate(*tally) for tally in tallies]


def _latest(
    head: transcripts.Head,
    criterion: Criterion,
    assessors: Sequence[str],
    prints: Mapping[str, Iterable[str]],
    order: Mapping[tuple[str, str], tuple[int, str]],
) -> dict[str, str]:
    """backend → its latest answer to this wording, under any of the prompts."""
    shown = shown_examples(criterion, head.id, head.source)
    found: dict[str, str] = {}
    for backend, fingerprints in prints.items():
        keys = [verdict_key(head.hash, criterion, shown, a, f) for a in assessors for f in fingerprints]
        keys.append(imported_key(head.hash, criterion, backend))
        hits = [order[backend, key] for key in keys if (backend, key) in order]
        if hits:
            found[backend] = max(hits)[1]
    return found


# Tables


def history(workspace: Workspace) -> dict[str, Any]:
    """Every rubric and prompt version used, oldest first: what `rubric history --json` prints. Writes the prompts to
    `prompt_versions/`."""
    known = rubric_versions(workspace)
    assessors = _assessors(workspace)
    earlier = {v.hash: v.rubric for v in known if v.rubric is not None and v.hash != workspace.rubric_version}
    counted = judged_rates(workspace, [(rubric, assessors) for rubric in earlier.values()])
    rates = dict(zip(earlier, counted, strict=True))
    rates[workspace.rubric_version] = _present_rate(kept.by_batch(workspace.store, standing.refresh(workspace)))
    if not any(version.hash == workspace.rubric_version for version in known):
        # The file as it is was not used yet.
        known = [*known, RubricVersion(workspace.rubric_version, "", "", workspace.rubric)]
    rows, before = [], None
    for version in known:
        rate = rates.get(version.hash, Rate(0, 0))
        rows.append(
            {
                "version": version.hash,
                "at": version.at or None,
                "now": version.hash == workspace.rubric_version,
                "changed": changes(before, version.rubric) if version.rubric else [],
                "n": rate.n,
                "passed": rate.passed,
                "judged_pass_rate": rate.share,
            }
        )
        before = version.rubric or before
    prompts = write_prompt_versions(workspace)
    folder = workspace.root / FOLDER
    return {"versions": rows, "prompts": prompts, "folder": str(folder), "index": str(folder / "index.md")}


def _present_rate(tallies: Iterable[kept.BatchStanding]) -> Rate:
    """What the judges pass as things stand, over all transcripts."""
    counts = [(tally.judged_passed, tally.judged_passed + tally.judged_failed) for tally in tallies]
    return Rate(sum(passed for passed, _ in counts), sum(n for _, n in counts))


def _assessors(workspace: Workspace) -> list[str]:
    kept_prompts = [hash for hash, role, _ in versions.listed(workspace.store, "prompt") if role == "assessor"]
    return list(dict.fromkeys([*kept_prompts, workspace.assessor_version]))


def prompt_versions(workspace: Workspace) -> list[dict[str, Any]]:
    """Every prompt version used, by role and first use. `pass_rate`: for the two prompts that make transcripts, of
    their batches as they stand now; for the judges' prompt the judged one of the present rubric; else null."""
    store = workspace.store
    tallies = {tally.batch: tally for tally in kept.by_batch(store, standing.refresh(workspace))}
    made_with: dict[tuple[str, str], set[str]] = {}
    for generation, _, _ in versions.listed(store, "generation"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            parts = json.loads(versions.get(store, generation) or "{}")["prompts"]
            for role, hash in parts.items():
                made_with.setdefault((str(role), str(hash)), set()).add(generation)
    listed = versions.listed(store, "prompt")
    now = {role: content_hash(text) for role, text in workspace.prompts.items()}
    assessors = [hash for hash, role, _ in listed if role == "assessor" and hash != now[role]]
    judged = dict(zip(assessors, judged_rates(workspace, [(workspace.rubric, [a]) for a in assessors]), strict=True))
    judged[now["assessor"]] = _present_rate(tallies.values())
    rows: list[dict[str, Any]] = []
    for role in ROLES:
        for number, (hash, at) in enumerate([(h, at) for h, name, at in listed if name == role], 1):
            generations = made_with.get((role, hash), set())
            own = [b.id for b in batches.listed(store) if b.generation_version in generations]
            rate = Rate(0, 0)
            if role in ("user_sim", "assistant"):
                passed = sum(tallies[id].passed for id in own if id in tallies)
                rate = Rate(passed, passed + sum(tallies[id].failed for id in own if id in tallies))
            elif role == "assessor":
                rate = judged[hash]
            rows.append(
                {
                    "role": role,
                    "number": number,
                    "version": hash,
                    "at": at,
                    "now": hash == now.get(role),
                    "batches": own if role in ("user_sim", "assistant") else None,
                    "n": rate.n,
                    "passed": rate.passed,
                    "pass_rate": rate.share,
                    "file": str(workspace.root / FOLDER / f"{role}-{number}-{hash[:8]}.md"),
                }
            )
    return rows


def write_prompt_versions(workspace: Workspace) -> list[dict[str, Any]]:
    """Write every prompt version used, as it was, and a table of them to `prompt_versions/`; what is there already is
    left alone. Returns the rows of the table. Raises UserError where the folder can't be written."""
    rows = prompt_versions(workspace)
    folder = workspace.root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        for row in rows:
            path = Path(row["file"])
            if not path.exists():
                path.write_bytes((versions.get(workspace.store, row["version"]) or "").encode("utf-8"))
        index = _index(rows)
        path = folder / "index.md"
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != index:
            path.write_text(index, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); check its permissions", exit_code=3) from None
    return rows


def _index(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "# Prompt versions",
        "",
        "Written by `loopreview`; each file beside this one is a prompt as it was used. Pass: of the batches made with",
        "it, as they stand now; for `assessor`, what the judges passed under it with the present rubric.",
        "",
        "| prompt | version | first used | batches | pass | file |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = row["batches"]
        made = "" if numbers is None else ", ".join(map(str, numbers)) or "none"
        rate = "–" if row["pass_rate"] is None else f"{row['passed']}/{row['n']} ({row['pass_rate']:.0%})"
        name = Path(row["file"]).name
        now = " (now)" if row["now"] else ""
        lines.append(
            f"| {row['role']} {row['number']}{now} | {row['version'][:8]} | {day(row['at'])} | {made} | {rate} |"
            f" [{name}]({name}) |"
        )
    return "\n".join(lines) + "\n"


# Differences


def difference(workspace: Workspace, a: str, b: str) -> dict[str, Any]:
    """A unified diff of two versions of the rubric or of one prompt: hashes or their beginnings, `now` for the file."""
    known = [(hash, "rubric", at) for hash, _, at in versions.listed(workspace.store, "rubric")]
    known += [(hash, role, at) for hash, role, at in versions.listed(workspace.store, "prompt")]
    found = [None if given == "now" else _resolve(known, given) for given in (a, b)]
    kinds = {one[1] for one in found if one is not None} or {"rubric"}
    if len(kinds) > 1:
        raise UserError(f"{a} is a version of {found[0][1]} and {b} one of {found[1][1]}; give two of one file")  # type: ignore[index]
    kind = kinds.pop()
    path = workspace.rubric_path if kind == "rubric" else workspace.root / "prompts" / f"{kind}.md"
    texts, names = [], []
    for one in found:
        if one is None:
            texts.append(_file_text(path))
            names.append(f"{path.relative_to(workspace.root) if path.is_relative_to(workspace.root) else path} now")
        else:
            texts.append(versions.get(workspace.store, one[0]) or "")
            names.append(f"{kind} {one[0][:8]} {day(one[2])}")
    lines = unified(texts[0], texts[1], *names)
    return {"a": names[0], "b": names[1], "kind": kind, "same": not lines, "diff": "\n".join(lines)}


def unified(before: str, after: str, before_name: str, after_name: str) -> list[str]:
    """The lines of a unified diff; empty where the texts are equal."""
    made = difflib.unified_diff(before.split("\n"), after.split("\n"), before_name, after_name, lineterm="", n=2)
    return list(made)


def day(at: str | None) -> str:
    """A stored time (UTC) as people read it, to the minute."""
    return (at or "")[:16].replace("T", " ")


def _resolve(known: Sequence[tuple[str, str, str]], prefix: str) -> tuple[str, str, str]:
    hits = {entry[0]: entry for entry in known if len(prefix) >= 2 and entry[0].startswith(prefix.lower())}
    if len(hits) == 1:
        return next(iter(hits.values()))
    raise _not_one(prefix, list(hits), "rubric or prompt")


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
