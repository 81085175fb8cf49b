"""Export: transcripts that people decided about become a folder of training data."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopreview import __version__
from loopreview.dataset.agreement import merged_rows
from loopreview.dataset.card import card, stats
from loopreview.dataset.choose import Chosen, LeftOut, choose, read
from loopreview.dataset.examples import Made, Maker, Wanted, readable_line
from loopreview.dataset.folder import Folder, put, refuse_other, writing
from loopreview.dataset.tally import Tally, counted
from loopreview.formats.preferences import DPO_FORMATS, KTO_FORMATS
from loopreview.formats.sft import SFT_FORMATS
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.transcript import Transcript
from loopreview.progress import Progress, Silent
from loopreview.progress import counted as watched
from loopreview.rules.agreement import JudgeRow
from loopreview.rules.duplicates import groups as near_groups
from loopreview.rules.duplicates import signature
from loopreview.rules.splits import SPLITS, Split, grouped, leaks, persona_key, placed
from loopreview.store import batches, verdicts
from loopreview.workspace import Workspace

if TYPE_CHECKING:
    from loopreview.tokens.tokenizer import ChatTokenizer

FORMATS = {"sft": SFT_FORMATS, "dpo": DPO_FORMATS, "kto": KTO_FORMATS}
LAYOUT = 1
"""Of the folder; counted up when a reader has to know."""


def export(
    workspace: Workspace,
    wanted: Wanted | None = None,
    *,
    to: Path | None = None,
    tokenizer: "ChatTokenizer | None" = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset and return what `export --json` prints, with `identical` (it was there already) and `warnings`.

    `to`: the folder; by default `exports/<hash>` of the workspace. Without a tokenizer only the readable rows are
    written, and nothing holds them to `max_tokens`.
    The same inputs give the same bytes. Raises UserError where nothing can be exported, the splits cannot be kept
    apart, something else is in the folder's place, or the disk is full; then nothing is left behind.
    """
    wanted = wanted or Wanted()
    check(wanted)
    progress = progress or Silent()
    chosen, left_out = choose(workspace.store, wanted.kind)
    if not chosen:
        raise _nothing(wanted, left_out)
    with watched(progress, "agreement", None):
        agreement = merged_rows(workspace)
    work = _Export(workspace, wanted, tokenizer, chosen, left_out, progress)
    target = (to or workspace.root / "exports" / "dataset").expanduser().absolute()
    if to is not None:
        refuse_other(target)
    with writing(target) as folder:
        work.write(folder)
        manifest = work.manifest()
        _documents(folder, work, manifest, agreement)
        hash = folder.finish(manifest)
        if to is None:
            target = target.with_name(hash)
        new = put(folder.path, target)
    return {
        "dataset": str(target),
        "hash": hash,
        "identical": not new,
        "examples": manifest["examples"],
        "tokens": manifest["tokens"],
        "left_out": manifest["left_out"]["rows"],
        "left_out_counts": manifest["left_out"]["counts"],
        "transcripts": work.tally.transcripts,
        "supervised_tokens": manifest["supervised_tokens"],
        "warnings": manifest["warnings"],
    }


def check(wanted: Wanted) -> None:
    """Raises UserError for a format that this kind of data does not come in."""
    known = FORMATS[wanted.kind]
    if wanted.form not in known:
        raise UserError(f"--kind {wanted.kind} does not come as {wanted.form}; choose --format {' or '.join(known)}")


class _Export:
    """One export under way."""

    def __init__(
        self,
        workspace: Workspace,
        wanted: Wanted,
        tokenizer: "ChatTokenizer | None",
        chosen: Sequence[Chosen],
        left_out: Sequence[LeftOut],
        progress: Progress,
    ) -> None:
        self.workspace, self.wanted, self.tokenizer, self.progress = workspace, wanted, tokenizer, progress
        self.chosen, self._not_chosen = chosen, list(left_out)
        self.batches = {batch.id: batch for batch in batches.listed(workspace.store)}
        workspace.keep_versions()
        self._maker = Maker(wanted, workspace.settings, workspace.prompts["system"], tokenizer)
        self._reset()
        self.personas, self.near = self._look_for_groups()

    def _reset(self) -> None:
        self.tally, self.left_out = Tally(), list(self._not_chosen)
        self._with_control_tokens: list[str] = []

    def _look_for_groups(self) -> tuple[dict[str, str | None], list[tuple[str, ...]]]:
        personas: dict[str, str | None] = {}
        signatures: dict[str, bytes] = {}
        with watched(self.progress, "compare", len(self.chosen)):
            for chosen in self.chosen:
                transcript = read(self.workspace.store, chosen)
                personas[chosen.id] = persona_key(transcript.persona)
                signatures[chosen.id] = signature(m.text for m in transcript.messages if m.role != "system")
                self.progress.advance()
        return personas, [group.transcripts for group in near_groups(signatures)]

    def write(self, folder: Folder) -> None:
        """Write rows and lineage. Splits are made of the transcripts that have an example; which those are shows while
        they are written, so that a few transcripts without any may make a second round necessary."""
        splits = self._placed(self.personas)
        # Hashed: a persona may be named after a person.
        self._group = {id: content_hash(name)[:12] for id, name in self._grouped(self.personas).items()}
        while True:
            filled = self._write(folder, splits)
            if not filled:
                raise _nothing(self.wanted, self.left_out)
            again = self._placed({id: key for id, key in self.personas.items() if id in filled})
            if all(splits[id] == split for id, split in again.items()):
                break
            folder.abandon()
            self._reset()
            splits = again
        found = leaks({id: splits[id] for id in filled}, self.personas, self.near)
        if found:
            raise UserError(f"the splits are not apart, nothing was exported: {'; '.join(found[:3])}", exit_code=1)
        self.groups = Counter(
            split for _, split in sorted({(name, splits[id]) for id, name in self._grouped(again).items()})
        )

    def _grouped(self, ids: Mapping[str, Any]) -> dict[str, str]:
        return grouped({id: self.personas[id] for id in ids}, self.near)

    def _placed(self, ids: Mapping[str, Any]) -> dict[str, Split]:
        return placed(self._grouped(ids))

    def _write(self, folder: Folder, splits: Mapping[str, Split]) -> set[str]:
        """One round. Returns the transcripts that have an example."""
        filled: set[str] = set()
        seen: dict[bytes, str] = {}
        for split in SPLITS:  # each is there, even where the last example of a group is left out
            folder.file(f"{split}.jsonl")
        with watched(self.progress, "export", len(self.chosen)):
            for chosen in self.chosen:
                transcript = read(self.workspace.store, chosen)
                mine = self._made(chosen, transcript, seen)
                examples = 0
                panel = [member.backend for member in verdicts.panel(self.workspace.store, chosen.id)]
                for made in mine:
                    split = splits[chosen.id]
                    self._add(folder, split, chosen, transcript, panel, made)
                    examples += 1
                if examples:
                    filled.add(chosen.id)
                    self.tally.transcript(
                        splits[chosen.id], chosen, transcript, len(transcript.exchanges), panel, examples
                    )
                    if self._has_control_tokens(transcript):
                        self._with_control_tokens.append(chosen.id)
                self.progress.advance()
        return filled

    def _made(self, chosen: Chosen, transcript: Transcript, seen: dict[bytes, str]) -> Iterator[Made]:
        """The examples of a transcript, without those that an earlier one has too."""
        for made in self._maker.of(chosen, transcript):
            if isinstance(made, LeftOut):
                self.left_out.append(made)
                continue
            digest = made.digest
            if digest in seen:
                earlier = f"of {seen[digest]}" if seen[digest] != chosen.id else "of this transcript"
                self.left_out.append(LeftOut(chosen.id, made.exchange, "equal to an example before it", earlier))
                continue
            seen[digest] = chosen.id
            yield made

    def _add(
        self, folder: Folder, split: Split, chosen: Chosen, transcript: Transcript, panel: list[str], made: Made
    ) -> None:
        file = folder.file(f"{split}.jsonl")
        file.line(made.row)
        if made.tokens is not None:
            folder.file(f"tokens/{split}.jsonl").line(made.tokens)
        self.tally.example(split, made)
        batch = self.batches[transcript.batch]
        line = {
            "split": split,
            "row": file.lines,
            "transcript": chosen.id,
            "exchange": made.exchange,
            "group": self._group[chosen.id],
            "source": transcript.source,
            "batch": batch.id,
            "origin": batch.origin,
            "versions": {
                "transcript": transcript.hash,
                "generation": batch.generation_version,
                "rubric": list(chosen.rubric_versions),
                "system": content_hash(self.workspace.prompts["system"]),
            },
            "panel": panel,
            "reviewers": list(chosen.reviewers),
            "decision": chosen.decision,
            "tokens": made.length,
            "supervised": made.supervised if made.length is not None else None,
        }
        if made.label is not None:
            line["label"] = made.label
        folder.file("lineage.jsonl").line(readable_line(line))

    def _has_control_tokens(self, transcript: Transcript) -> bool:
        """Whether a message holds, as text, what the tokenizer takes for one of the template's own tokens."""
        control = self.tokenizer.control if self.tokenizer else ()
        return any(token in message.text for message in transcript.messages for token in control)

    def manifest(self) -> dict[str, Any]:
        """All but the files, which are not closed yet."""
        tally, settings, workspace = self.tally, self.workspace.settings, self.workspace
        rows = [{"transcript": one.transcript, "exchange": one.exchange, "reason": one.reason} for one in self.left_out]
        tokenizer = self.tokenizer
        generation = sorted({v for id in tally.batches if (v := self.batches[id].generation_version)})
        return {
            "layout": LAYOUT,
            "loopreview": __version__,
            "kind": self.wanted.kind,
            "format": self.wanted.form,
            "supervise": self.wanted.supervise if self.wanted.kind == "sft" else None,
            "examples": {split: tally.examples[split] for split in SPLITS},
            "transcripts": {split: len(tally.transcripts[split]) for split in SPLITS},
            "groups": {split: self.groups[split] for split in SPLITS},
            "tokens": tally.tokens,
            "supervised_tokens": tally.supervised if tokenizer else None,
            "labels": {"good": tally.labels[True], "bad": tally.labels[False]} if tally.labels else None,
            "system_message": self._maker.system,
            "max_tokens": settings.max_tokens,
            "slice_gap": list(settings.slice_gap),
            "tokenizer": {
                "name": tokenizer.name,
                "hash": tokenizer.hash,
                "chat_template": content_hash(tokenizer.template.source),
                "system": tokenizer.system,
                "end_of_turn": tokenizer.end_of_turn,
                "date": tokenizer.template.today.isoformat() if tokenizer.template.names_the_date else None,
            }
            if tokenizer
            else None,
            "versions": {
                "rubric": workspace.rubric_version,
                "decided_under": sorted(tally.rubric_versions),
                "generation": generation,
                "prompts": {role: content_hash(text) for role, text in workspace.prompts.items()},
            },
            "own_system_messages_replaced": tally.own_system,
            "left_out": {"counts": counted(self.reasons), "rows": rows},
            "warnings": self._warnings(),
        }

    @property
    def reasons(self) -> Counter[str]:
        return Counter(one.why for one in self.left_out)

    def _warnings(self) -> list[str]:
        limit = f"{self.workspace.settings.max_tokens:,}"
        tokenizer = self.tokenizer
        if tokenizer is None:
            return [
                f"max_tokens ({limit}) was not checked and no token rows were written: name the model's tokenizer with "
                "--tokenizer"
            ]
        found = []
        if tokenizer.system == "merged":
            found.append(
                "the chat template has no system message: system.md stands before the first user message instead"
            )
        if not tokenizer.end_of_turn:
            found.append("the chat template ends a reply with no token: the model will not learn where to stop")
        if tokenizer.template.names_the_date:
            found.append(f"the chat template names the date: every example says {tokenizer.template.today}")
        if self._with_control_tokens:
            named = ", ".join(self._with_control_tokens[:5])
            count = len(self._with_control_tokens)
            found.append(f"the words of {count} transcripts hold control tokens of the chat template: {named}")
        return found


def _documents(folder: Folder, work: _Export, manifest: Mapping[str, Any], agreement: Sequence[JudgeRow]) -> None:
    reasons, known = work.reasons, work.batches
    limit = work.workspace.settings.max_tokens
    folder.file("generation_stats.md").text(stats(work.tally, known, reasons, limit))
    folder.file("README.md").text(
        card(
            wanted=work.wanted,
            tally=work.tally,
            manifest=manifest,
            left_out=reasons,
            batches=known,
            agreement=agreement,
            warnings=manifest["warnings"],
        )
    )


def _nothing(wanted: Wanted, left_out: Sequence[LeftOut]) -> UserError:
    reasons = Counter(one.why for one in left_out)
    if not left_out:
        return UserError("nothing to export: there is no transcript yet; `loopreview generate` or `loopreview import`")
    what = ", ".join(f"{count} {why}" for why, count in counted(reasons).items())
    if wanted.kind == "sft" and set(reasons) <= {"not decided"}:
        what = "no transcript is approved"
    todo = "max_tokens is set in loopreview.toml" if "over max_tokens" in reasons else "`loopreview review` decides"
    return UserError(f"nothing to export: {what}; {todo}")
