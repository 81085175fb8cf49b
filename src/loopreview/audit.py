"""Auditing a set of transcripts: the faults that no single one shows."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from loopreview.models.errors import UserError
from loopreview.progress import Progress, Silent, counted
from loopreview.rules import audit_report
from loopreview.rules.audit import Collected, Digest, digest
from loopreview.rules.duplicates import SIGNATURE_BYTES
from loopreview.rules.review import fold
from loopreview.rules.strays import Detect
from loopreview.store import batches, events, revocations, transcripts
from loopreview.workspace import Workspace

PART_VERSION = 1
MAX_LINE = 64_000_000
"""Characters of a line of a part; a longer one is none of ours."""


class Chosen(NamedTuple):
    """Which transcripts: `name` for a person, and approved ones that are left out because they are not complete."""

    name: str
    ids: list[str]
    incomplete: tuple[str, ...] = ()


def chosen(workspace: Workspace, *, approved: bool = False, batch: int | None = None) -> Chosen:
    """All transcripts, those of a batch, or the approved ones that are complete and not revoked (what an export
    takes); with both options, the approved ones of the batch. Raises UserError for a batch that is not there."""
    if batch is not None:
        batches.get(workspace.store, batch)
    ids = transcripts.ids(workspace.store, batch)
    name = "all" if batch is None else f"batch {batch}"
    if not approved:
        return Chosen(name, ids)
    wanted = approved_ids(workspace) - revocations.standing(workspace.store).keys()
    heads = {head.id: head.complete for head in transcripts.heads(workspace.store, batch=batch) if head.id in wanted}
    name = "approved" if batch is None else f"approved of {name}"
    return Chosen(name, [id for id in heads if heads[id]], tuple(id for id in heads if not heads[id]))


def approved_ids(workspace: Workspace) -> set[str]:
    """The transcripts whose approval stands."""
    found = set()
    for id in events.reviewed(workspace.store):
        review = fold(events.of(workspace.store, id)).transcripts.get(id)
        if review is not None and review.decision == "approved":
            found.add(id)
    return found


def collect(workspace: Workspace, ids: Sequence[str], progress: Progress | None = None) -> Collected:
    """The digests of these transcripts, read one at a time."""
    collected = Collected()
    progress = progress or Silent()
    detect = detector()
    with counted(progress, "audit", len(ids)):
        for id in ids:
            collected.add(digest(transcripts.get(workspace.store, id), detect))
            progress.advance()
    return collected


def audit(
    workspace: Workspace, *, approved: bool = False, batch: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """What `audit --json` prints."""
    which = chosen(workspace, approved=approved, batch=batch)
    return reported(which.name, collect(workspace, which.ids, progress), left_out=which.incomplete)


def reported(name: str, collected: Collected, *, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """The report of a set under its name. `left_out`: approved transcripts that are not complete."""
    return {"set": name, **audit_report.report(collected), "left_out": list(left_out)}


def write_shard(
    workspace: Workspace,
    shard: tuple[int, int],
    to: Path,
    *,
    approved: bool = False,
    batch: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Audit the i-th of n shards into the file `to`: every n-th transcript, beginning with the i-th."""
    i, n = shard
    which = chosen(workspace, approved=approved, batch=batch)
    check_target(to)
    collected = collect(workspace, which.ids[i - 1 :: n], progress)
    return write_part(collected, to, name=which.name, shard=f"{i}/{n}", left_out=which.incomplete)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` → (2, 8). Raises UserError for anything but i of n with 1 ≤ i ≤ n."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: write it as i/n, the i-th of n parts, such as 1/4")
    return int(match[1]), int(match[2])


class Merged(NamedTuple):
    """Parts put together. `name`: that of the set, where all are parts of the same; `missing`: shards that were not
    given, such as 2/3."""

    name: str
    collected: Collected
    left_out: tuple[str, ...]
    missing: tuple[str, ...]


def merge(paths: Sequence[Path]) -> Merged:
    """The parts in these files, put together. Raises UserError for a file that is no part, and for a transcript that
    is in two of them."""
    headers = [_header(path) for path in paths]
    collected = Collected()
    for path in paths:
        for one in read_part(path):
            try:
                collected.add(one)
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
    names = {header.set for header in headers}
    shards = {header.shard for header in headers if header.shard}
    of = {shard.partition("/")[2] for shard in shards}
    whole = [f"{i}/{n}" for n in of for i in range(1, int(n) + 1)] if len(of) == 1 else []
    return Merged(
        names.pop() if len(names) == 1 else "merged parts",
        collected,
        tuple(dict.fromkeys(id for header in headers for id in header.left_out)),
        tuple(shard for shard in whole if shard not in shards),
    )


def compare(workspace: Workspace, a: str, b: str, progress: Progress | None = None) -> dict[str, Any]:
    """Two sets side by side. Each is a batch's number, `all`, `approved`, or the file of a part."""
    which = [_side(workspace, name) for name in (a, b)]  # both, before any work is done for one
    sides = [
        (side.name, collect(workspace, side.ids, progress))
        if isinstance(side, Chosen)
        else (str(side), merge([side]).collected)
        for side in which
    ]
    found = audit_report.compared(sides[0][1], sides[1][1])
    for key, (name, _) in zip("ab", sides, strict=True):
        found[key] = {"set": name, **found[key]}
    return found


def _side(workspace: Workspace, name: str) -> Chosen | Path:
    if name in ("all", "approved"):
        return chosen(workspace, approved=name == "approved")
    if re.fullmatch("[0-9]+", name):
        return chosen(workspace, batch=int(name))
    if not Path(name).exists():
        raise UserError(f"--compare {name}: is no batch and no file; give a batch's number, all, approved, or a part")
    _header(Path(name))
    return Path(name)


@cache
def detector() -> Detect:
    """Tells the language of a text, without a network. Loaded once, in half a second."""
    try:
        langid = import_module("py3langid.langid")
    except ImportError:
        raise UserError(
            "the audit tells languages by the package py3langid; install it with `pip install py3langid`"
        ) from None
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def detect(text: str) -> tuple[str, float]:
        code, sure = identifier.classify(text)
        return str(code), float(sure)

    return detect


class Header(BaseModel):
    """The first line of a part. `shard`: i/n."""

    file: Literal["loopreview audit part"] = "loopreview audit part"
    version: int = PART_VERSION
    set: str
    shard: str | None = Field(default=None, pattern="^[0-9]{1,6}/[0-9]{1,6}$")
    transcripts: int = Field(ge=0)
    left_out: tuple[str, ...] = ()


_DIGEST = TypeAdapter(Digest)


def check_target(path: Path) -> None:
    """Raise UserError where a part cannot be written to `path`: no such folder, or a file that is no part."""
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder; make it first")
    if path.exists() and (path.is_dir() or path.stat().st_size):
        try:
            _header(path)
        except UserError:
            raise UserError(f"{path}: exists and is no audit part; choose another name") from None


def write_part(
    collected: Collected, path: Path, *, name: str, shard: str | None = None, left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the digests to a file, JSON Lines after one line that says what it is; in whole or not at all.

    It holds the replies' words: whoever has the file can read what was said.
    """
    check_target(path)
    header = Header(set=name, shard=shard, transcripts=len(collected), left_out=tuple(left_out))
    unfinished = path.with_name(path.name + ".unfinished")
    replies = 0
    try:
        with unfinished.open("wb") as file:
            file.write(header.model_dump_json().encode() + b"\n")
            for one in collected.whole():
                replies += len(one.lengths)
                file.write(_DIGEST.dump_json(one) + b"\n")
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror})", exit_code=3) from None
    return {"part": str(path.absolute()), **header.model_dump(mode="json", exclude={"file"}), "replies": replies}


def read_part(path: Path) -> Iterator[Digest]:
    """The digests in a file that `write_part` wrote. Raises UserError for any other file, with its line."""
    expected = _header(path).transcripts
    read = 0
    for number, line in _lines(path):
        if number == 1:
            continue
        try:
            one = _DIGEST.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(
                f"{path} line {number}: no digest of a transcript ({where}: {first['msg']}); write the part anew"
            ) from None
        per_reply = {len(one.lengths), len(one.headers), len(one.items), len(one.languages)}
        if len(one.signature) not in (0, SIGNATURE_BYTES) or len(per_reply) != 1:
            raise UserError(f"{path} line {number}: the digest of {one.id} is damaged; write the part anew")
        read += 1
        yield one
    if read != expected:
        raise UserError(f"{path}: holds {read} of {expected} transcripts, it was cut off; write the part anew")


def _header(path: Path) -> Header:
    for _, line in _lines(path):
        with contextlib.suppress(ValidationError):
            header = Header.model_validate_json(line)
            if header.version != PART_VERSION:
                raise UserError(f"{path}: is a part of another version of loopreview; write it anew with this one")
            return header
        break
    raise UserError(f"{path}: is no audit part; write one with `loopreview audit --shard 1/2 --to FILE`")


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise UserError(f"{path} line {number}: is too long for an audit part")
                yield number, line
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
