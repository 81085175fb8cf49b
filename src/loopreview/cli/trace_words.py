"""What `trace` prints for a person, and words that it shares with `runs` and `revoke`."""

from collections.abc import Iterator, Sequence
from typing import Any

from loopreview.cli.call import say, table

SHOWN = 20
"""Rows of a list that a person gets; --json has all."""


def lines(document: dict[str, Any]) -> Iterator[str]:
    of = {"example": _example, "transcript": _transcript, "run": _run, "dataset": _dataset}
    yield from of[document["kind"]](document)


def _example(found: dict[str, Any]) -> Iterator[str]:
    batch, versions, kept = found["batch"], found.get("versions") or {}, found["kept"]
    yield f"example {found['id']}"
    yield from _facts(
        ("file", f"{found['file']}, line {found['row']}" if found["file"] else None),
        ("transcript", f"{found.get('transcript')}, exchange {found.get('exchange')}" + _elsewhere(found)),
        ("source", found.get("source")),
        ("batch", f"{batch['id']} ({batch['origin']})" + (f", seed {batch['seed']}" if batch.get("seed") else "")),
        ("content", versions.get("transcript")),
        ("rubric", _joined(versions.get("rubric"))),
        ("system prompt", versions.get("system")),
        ("generation", versions.get("generation")),
        ("prompts", pairs((kept["generation"] or {}).get("prompts"))),
        ("judges", _joined(found.get("panel"))),
        ("reviewers", _joined(found.get("reviewers"))),
        ("decision", found.get("decision")),
        ("tokens", f"{found['tokens']:,}, {found['supervised']:,} supervised" if found.get("tokens") else None),
        ("revoked", _act(found["revoked"])),
    )
    for row in found["runs"]:
        yield f"{row['as']:14} {row['run']} ({row['state']})"
    if not found["runs"]:
        yield "no run used it" + ("; the test split is not for training" if found["split"] == "test" else "")
    if found["problem"]:
        say(found["problem"])


def _transcript(found: dict[str, Any]) -> Iterator[str]:
    batch = found["batch"]
    yield f"transcript {found['transcript']}"
    yield from _facts(
        ("source", found["source"]),
        ("persona", found["persona"]),
        ("batch", f"{batch['id']} ({batch['origin']})" + (f", seed {batch['seed']}" if batch["seed"] else "")),
        ("content", found["versions"]["transcript"]),
        ("generation", found["versions"]["generation"]),
        ("judges", _joined(found["panel"])),
        ("decision", found["decision"]),
        *(("", f"{row['decision']} by {row['reviewer']}, rubric {row['rubric']}") for row in found["decisions"]),
        ("revoked", _act(found["revoked"])),
    )
    for dataset in found["datasets"]:
        yield f"dataset {dataset['hash']}  {_where(dataset)}"
        rows = [(row["split"], row["row"], row["exchange"]) for row in dataset["examples"]]
        yield from (f"  {line}" for line in table(rows[:SHOWN], ("split", "row", "exchange")))
        if len(rows) > SHOWN:
            yield f"  and {len(rows) - SHOWN} more"
    if not found["datasets"]:
        yield "in no dataset"
    for row in found["runs"]:
        yield f"run {row['run']} ({row['state']}): {held(row)}"
    if not found["runs"]:
        yield "in no run"
    for problem in found["problems"]:
        say(problem)


def _run(found: dict[str, Any]) -> Iterator[str]:
    dataset = found["dataset"]
    yield f"run {found['run']} ({found['state']})"
    yield from _facts(
        ("base", found["base"]),
        ("adapter", found["adapter"]),
        ("went on from", _joined([one["run"] + ("" if one["there"] else " (gone)") for one in found["went_on_from"]])),
        ("gone on by", _joined(found["gone_on_by"])),
        ("dataset", f"{dataset['hash']}  {_where(dataset)}" if dataset else None),
        ("revoked", _joined(found["revoked"])),
    )
    yield from _lines(found)


def _dataset(found: dict[str, Any]) -> Iterator[str]:
    yield f"dataset {found['hash']}"
    yield from _facts(("folder", _where(found)), ("revoked", _joined(found["revoked"])))
    yield from _lines(found)
    for row in found["runs"]:
        yield f"run {row['run']} ({row['state']})"
    if not found["runs"]:
        yield "no run used it"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    versions = found["versions"]
    yield from _facts(
        ("examples", pairs(found["examples"])),
        ("judges", pairs(found["judges"])),
        ("reviewers", pairs(found["reviewers"])),
        ("decisions", pairs(found["decisions"])),
        ("rubric", pairs(versions["rubric"])),
        ("system prompt", pairs(versions["system"])),
        ("generation", pairs(versions["generation"])),
    )
    rows = [
        (
            row["transcript"] + _elsewhere(row),
            row["source"],
            row["batch"],
            *(len(row["examples"].get(split, ())) or None for split in ("train", "valid", "test")),
            row["decision"],
            _joined(row["reviewers"]),
            _joined(row["panel"]),
        )
        for row in found["transcripts"]
    ]
    if rows:
        header = ("transcript", "source", "batch", "train", "valid", "test", "decision", "reviewers", "judges")
        yield from table(rows[:SHOWN], header)
    if len(rows) > SHOWN:
        yield f"and {len(rows) - SHOWN} more transcripts; --json has all"
    if found["problem"]:
        say(found["problem"])


def _facts(*facts: tuple[str, str | None]) -> Iterator[str]:
    for name, value in facts:
        if value:
            yield f"{name:14} {value}"


def held(row: dict[str, Any]) -> str:
    """How a run holds a transcript."""
    learnt, measured = (
        ("to learn from", "to measure on") if row["state"] == "planned" else ("learnt from", "measured on")
    )
    said = [f"{learnt} {row['learnt']}"] if row["learnt"] else []
    said += [f"{measured} {row['measured']}"] if row["measured"] else []
    said += [f"went on from {few(row['through'])}"] if row["through"] else []
    return ", ".join(said)


def _where(dataset: dict[str, Any]) -> str:
    there = ", ".join(dataset["folders"])
    return there or "gone: " + ", ".join(dataset["gone"]) if dataset["gone"] or there else "where it lies is not known"


def _elsewhere(row: dict[str, Any]) -> str:
    return "" if row["here"] else " (not of this workspace)"


def _act(found: dict[str, Any] | None) -> str | None:
    if not found:
        return None
    return f"{when(found.get('at'))} by {found.get('by')}" + (f": {found['reason']}" if found.get("reason") else "")


def _joined(values: Any) -> str | None:
    return ", ".join(map(str, values)) if isinstance(values, list) and values else None


def pairs(values: Any) -> str | None:
    return ", ".join(f"{key} {value}" for key, value in values.items()) if isinstance(values, dict) and values else None


def few(values: Sequence[str], shown: int = 5) -> str:
    return ", ".join(values[:shown]) + (f" and {len(values) - shown} more" if len(values) > shown else "")


def when(at: str | None) -> str | None:
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(at)).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return None
