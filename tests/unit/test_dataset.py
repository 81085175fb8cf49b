"""Dataset: what goes into an export, what stays out and why, and that splits, rows and lineage agree."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopreview.dataset.examples import Wanted
from loopreview.dataset.export import export
from loopreview.dataset.preview import preview
from loopreview.models.errors import UserError
from loopreview.models.review import Event
from loopreview.models.transcript import Message, Transcript
from loopreview.models.verdict import Verdict
from loopreview.rules.stale import imported_key
from loopreview.store import batches, events, transcripts, verdicts
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.workspace import Workspace

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "examples" / "tiny_tokenizer.py"))["build"]
SPLITS = ("train", "valid", "test")


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with Workspace.open(root) as opened:
        yield opened


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(build(tmp_path_factory.mktemp("tiny")))


def messages(name: str, exchanges: int = 3) -> list[Message]:
    found = []
    for n in range(exchanges):
        found.append(Message(role="user", text=f"{name} asks for the {n}th time about parcel {name * 3}"))
        found.append(Message(role="assistant", text=f"The {n}th answer to {name} is {name}{n}"))
    return found


def add(workspace: Workspace, *talks: list[Message], target: int | None = None, persona: Any = None) -> list[str]:
    """Store transcripts; the ids they got."""
    given = [
        Transcript(
            id="", batch=0, number=0, origin="imported", source=f"file.jsonl#{n}", messages=talk, persona=persona,
            target_exchanges=target,
        )
        for n, talk in enumerate(talks)
    ]  # fmt: skip
    stored = transcripts.add_imported(workspace.store, batches.create_imported(workspace.store).id, given)
    return [head.id for head, _ in stored]


def say(workspace: Workspace, kind: Any, id: str, reviewer: str = "ann", **data: Any) -> None:
    events.append(workspace.store, Event(reviewer=reviewer, kind=kind, transcript=id, data=data))


def approved(workspace: Workspace, count: int = 12, exchanges: int = 3, start: int = 0) -> list[str]:
    names = [f"{chr(97 + n % 26)}{n}{n * 7919}" for n in range(start, start + count)]
    ids = add(workspace, *(messages(name, exchanges) for name in names))
    for id in ids:
        say(workspace, "approve", id)
    return ids


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reasons(result: dict[str, Any]) -> dict[tuple[str, int | None], str]:
    return {(row["transcript"], row["exchange"]): row["reason"] for row in result["left_out"]}


def rows(result: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """The readable rows by transcript and exchange, as the lineage leads to them."""
    folder = Path(result["dataset"])
    read = {split: lines(folder / f"{split}.jsonl") for split in SPLITS}
    return {
        (line["transcript"], line["exchange"]): read[line["split"]][line["row"] - 1]
        for line in lines(folder / "lineage.jsonl")
    }


# --- the folder ----------------------------------------------------------------------------------------------------


def test_rows_tokens_lineage_manifest_and_answer_agree(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 20, 9)
    result = export(workspace, tokenizer=tokenizer)
    folder = Path(result["dataset"])
    assert folder == workspace.root / "exports" / result["hash"]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    lineage = lines(folder / "lineage.jsonl")
    assert manifest["hash"] == result["hash"]
    lengths = []
    for split in SPLITS:
        readable, tokens = lines(folder / f"{split}.jsonl"), lines(folder / "tokens" / f"{split}.jsonl")
        mine = [line for line in lineage if line["split"] == split]
        assert len(readable) == len(tokens) == len(mine) == result["examples"][split] == manifest["examples"][split]
        assert [line["row"] for line in mine] == list(range(1, len(mine) + 1))
        assert manifest["files"][f"{split}.jsonl"]["lines"] == len(readable)
        for row, ids_and_labels, line in zip(readable, tokens, mine, strict=True):
            text = tokenizer.template.render(row["messages"])
            assert ids_and_labels["input_ids"] == tokenizer.encode(text)
            assert len(ids_and_labels["input_ids"]) == len(ids_and_labels["labels"]) == line["tokens"]
            lengths.append(line["tokens"])
        assert {line["transcript"] for line in mine} == set(result["transcripts"][split])
    assert sorted(id for found in result["transcripts"].values() for id in found) == sorted(ids)
    assert result["tokens"]["min"] == min(lengths) and result["tokens"]["max"] == max(lengths)
    assert result["supervised_tokens"] == sum(line["supervised"] for line in lineage) > 0
    first = lineage[0]
    assert first["reviewers"] == ["ann"] and first["decision"] == "approved" and first["panel"] == []
    assert first["source"] == "file.jsonl#0" and first["batch"] == 1
    assert {"README.md", "generation_stats.md"} <= {path.name for path in folder.iterdir()}


def test_every_slice_ends_with_a_reply_under_our_system_message(workspace: Workspace) -> None:
    approved(workspace, 6, 11)
    result = export(workspace)
    for (_, exchange), row in rows(result).items():
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system"] + ["user", "assistant"] * exchange
        assert row["messages"][0]["content"] == workspace.prompts["system"].strip()


def test_the_same_inputs_give_the_same_bytes(workspace: Workspace, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    approved(workspace)
    one = export(workspace, tokenizer=tokenizer)
    again = export(workspace, tokenizer=tokenizer)
    other = export(workspace, tokenizer=tokenizer, to=tmp_path / "deep" / "other")
    assert one["hash"] == again["hash"] == other["hash"]
    assert (one["identical"], again["identical"], other["identical"]) == (False, True, False)
    names = {path.relative_to(one["dataset"]) for path in Path(one["dataset"]).rglob("*") if path.is_file()}
    assert len(names) == 10
    for name in names:
        assert (Path(one["dataset"]) / name).read_bytes() == (Path(other["dataset"]) / name).read_bytes()
    assert [path.name for path in (workspace.root / "exports").iterdir()] == [one["hash"]]


def test_what_is_in_the_way_is_not_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    approved(workspace)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="something else is there"):
        export(workspace, to=tmp_path / "full")
    with pytest.raises(UserError, match="something else is there"):
        export(workspace, to=tmp_path / "full" / "thesis.txt")
    (tmp_path / "empty").mkdir()
    first = export(workspace, to=tmp_path / "empty")
    approved(workspace, 1, start=40)
    with pytest.raises(UserError, match="another dataset is there already"):
        export(workspace, to=tmp_path / "empty")
    export(workspace, to=tmp_path / "second")
    (tmp_path / "second" / "train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"was changed after it was exported \(train.jsonl\)"):
        export(workspace, to=tmp_path / "second")
    assert json.loads((tmp_path / "empty" / "manifest.json").read_text(encoding="utf-8"))["hash"] == first["hash"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_full_disk_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    approved(workspace, 30, 12)
    code = f"""
import resource
from pathlib import Path
from loopreview import standing
from loopreview.dataset.export import export
from loopreview.models.errors import UserError
from loopreview.workspace import Workspace
with Workspace.open(Path({str(workspace.root)!r})) as workspace:
    workspace.keep_versions()
    standing.refresh(workspace)  # the database has written all it will
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    try:
        export(workspace, to=Path({str(tmp_path / "out")!r}))
    except UserError as error:
        print(error.exit_code, error)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.startswith(f"3 {tmp_path}: the dataset could not be written (File too large)")
    assert printed.count("\n") == 1 and "nothing is left of it" in printed
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".out*")) == []


def test_an_interrupted_export_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    approved(workspace)

    class Impatient:
        def start(self, label: str, total: int | None) -> None: ...
        def note(self, text: str) -> None: ...
        def finish(self) -> None: ...
        def advance(self, n: int = 1) -> None:
            if list(tmp_path.glob(".out*/train.jsonl")):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(workspace, to=tmp_path / "out", progress=Impatient())
    assert list(tmp_path.iterdir()) == [workspace.root]


# --- what stays out ------------------------------------------------------------------------------------------------


def test_only_approved_and_complete_transcripts_go_in(workspace: Workspace) -> None:
    good = approved(workspace)
    undecided, rejected, contested, withdrawn = add(workspace, *(messages(name) for name in ("u", "r", "c", "w")))
    say(workspace, "reject", rejected)
    say(workspace, "approve", contested)
    say(workspace, "reject", contested, reviewer="ben")
    say(workspace, "approve", withdrawn)
    last = events.of(workspace.store, withdrawn)[-1]
    events.append(workspace.store, Event(reviewer="ann", kind="undo", target=last.id, transcript=withdrawn))
    (unfinished,) = add(workspace, messages("half"), target=9)
    say(workspace, "approve", unfinished)
    (short,) = add(workspace, messages("short", 2))
    say(workspace, "approve", short)
    result = export(workspace)
    assert {id for ids in result["transcripts"].values() for id in ids} == set(good)
    assert reasons(result) == {
        (undecided, None): "not decided",
        (rejected, None): "rejected",
        (contested, None): "rejected",
        (withdrawn, None): "not decided",
        (unfinished, None): "not complete: 3 of 9 exchanges",
        (short, None): "too short for a slice: 2 exchanges; the first slice has 3",
    }
    assert result["left_out_counts"] == {
        "not decided": 2, "rejected": 2, "not complete": 1, "too short for a slice": 1,
    }  # fmt: skip


def test_a_marked_reply_is_not_learnt_but_stays_as_context(workspace: Workspace) -> None:
    ids = approved(workspace, 12, 4)
    say(workspace, "mark", ids[0], exchange=3)
    say(workspace, "mark", ids[1], exchange=1)
    say(workspace, "mark", ids[2], exchange=4, better="A better one")
    result = export(workspace)
    found = rows(result)
    assert {exchange for id, exchange in found if id == ids[0]} == {4}
    assert {exchange for id, exchange in found if id == ids[1]} == {3, 4}
    assert {exchange for id, exchange in found if id == ids[2]} == {3}
    assert found[ids[0], 4]["messages"][6]["content"].startswith("The 2th answer")
    assert reasons(result) == {
        (ids[0], 3): "the reply is marked as bad",
        (ids[2], 4): "the reply is marked as bad",
    }


def test_an_empty_reply_and_one_of_no_weight_are_not_learnt(workspace: Workspace) -> None:
    approved(workspace)
    talk = messages("empty", 4)
    talk[7] = Message(role="assistant", text=" \n")
    talk[5] = Message(role="assistant", text="no", extra={"weight": 0})
    (id,) = add(workspace, talk)
    say(workspace, "approve", id)
    result = export(workspace)
    assert reasons(result) == {(id, 3): "the reply came with a weight of 0", (id, 4): "the reply is empty"}


def test_slices_over_the_limit_are_left_out_and_never_cut(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 10, 30)
    object.__setattr__(workspace.settings, "max_tokens", 900)
    result = export(workspace, tokenizer=tokenizer)
    assert result["tokens"]["max"] <= 900
    found = rows(result)
    for id in ids:
        mine = [exchange for name, exchange in found if name == id]
        over = [exchange for name, exchange in reasons(result) if name == id]
        assert over and over[-1] == 30 and max(mine) < min(over)
        # the last exchange that fits: one more would be over the limit, or it is near the slice before
        text = tokenizer.template.render(found[id, max(mine)]["messages"])
        assert len(tokenizer.encode(text)) > 900 - 4 * 80
    assert all("over max_tokens: " in reason and "the limit is 900" in reason for reason in reasons(result).values())
    object.__setattr__(workspace.settings, "max_tokens", 20)
    with pytest.raises(UserError, match=r"nothing to export: .* over max_tokens"):
        export(workspace, tokenizer=tokenizer)


def test_no_two_examples_are_equal(workspace: Workspace) -> None:
    ids = approved(workspace, 12, 3)
    first = transcripts.get(workspace.store, ids[0])
    (longer,) = add(workspace, [*first.messages, *messages("later", 3)])
    say(workspace, "approve", longer)
    result = export(workspace)
    assert reasons(result)[longer, 3] == f"equal to an example before it: of {ids[0]}"
    texts = [json.dumps(row) for row in rows(result).values()]
    assert len(set(texts)) == len(texts) == sum(result["examples"].values())


def test_nothing_approved_or_no_transcript_at_all(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="there is no transcript yet"):
        export(workspace)
    add(workspace, messages("a"), messages("b"))
    with pytest.raises(UserError, match="no transcript is approved"):
        export(workspace)
    assert not list((workspace.root / "exports").iterdir())


def test_one_transcript_cannot_fill_three_splits(workspace: Workspace) -> None:
    approved(workspace, 1)
    with pytest.raises(UserError, match=r"1 group of .* 2 more are missing") as raised:
        export(workspace)
    assert raised.value.exit_code == 2
    assert not list((workspace.root / "exports").iterdir())


# --- splits --------------------------------------------------------------------------------------------------------


def test_a_persona_and_near_duplicates_are_in_one_split(workspace: Workspace) -> None:
    approved(workspace, 30)
    same = [add(workspace, messages(name), persona={"id": "p1"})[0] for name in ("one", "two", "three", "four")]
    long = messages("near", 12)
    twins = [add(workspace, [*long, *messages(name, 1)])[0] for name in ("left", "right", "middle")]
    for id in (*same, *twins):
        say(workspace, "approve", id)
    result = export(workspace)
    split = {id: split for split, ids in result["transcripts"].items() for id in ids}
    assert len({split[id] for id in same}) == 1 and len({split[id] for id in twins}) == 1


def test_approving_more_moves_no_transcript(workspace: Workspace) -> None:
    approved(workspace, 40)
    before = export(workspace)["transcripts"]
    approved(workspace, 40, start=100)
    after = export(workspace)["transcripts"]
    for split in SPLITS:
        assert set(before[split]) < set(after[split])


def test_a_transcript_without_an_example_fills_no_split(workspace: Workspace) -> None:
    # the only groups with an example are three, whatever the hashes of the many short ones are
    short = add(workspace, *(messages(f"s{n}", 2) for n in range(40)))
    for id in short:
        say(workspace, "approve", id)
    ids = approved(workspace, 3)
    result = export(workspace)
    assert sorted(id for found in result["transcripts"].values() for id in found) == ids
    assert all(result["examples"][split] == 1 for split in SPLITS)


# --- forms ---------------------------------------------------------------------------------------------------------


def test_all_replies_make_one_example_of_a_transcript(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 8, 6)
    say(workspace, "mark", ids[0], exchange=2)
    result = export(workspace, Wanted(supervise="all_replies"), tokenizer=tokenizer)
    assert sum(result["examples"].values()) == 8
    folder = Path(result["dataset"])
    for line in lines(folder / "lineage.jsonl"):
        assert line["exchange"] == 6
        labels = lines(folder / "tokens" / f"{line['split']}.jsonl")[line["row"] - 1]["labels"]
        stretches = sum(1 for a, b in zip([-100, *labels], labels, strict=False) if a == -100 != b)
        assert stretches == (5 if line["transcript"] == ids[0] else 6)
    limit = result["tokens"]["min"] - 1
    object.__setattr__(workspace.settings, "max_tokens", limit)
    shorter = export(workspace, Wanted(supervise="all_replies"), tokenizer=tokenizer)
    assert shorter["tokens"]["max"] <= limit and sum(shorter["examples"].values()) == 8
    assert "the longest prefix that fits ends with exchange" in reasons(shorter)[ids[1], 6]


def test_pairs_come_from_rewritten_replies(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 5)
    rejected, undecided = add(workspace, messages("r"), messages("u"))
    (unfinished,) = add(workspace, messages("i"), target=9)
    say(workspace, "reject", rejected)
    for id in (*ids[:4], rejected, undecided, unfinished):
        say(workspace, "mark", id, exchange=2, better=f"Better for {id}")
    say(workspace, "mark", ids[0], exchange=2, better="Better still")
    say(workspace, "mark", ids[0], exchange=2, reviewer="ben", better="And another")
    say(workspace, "mark", ids[1], exchange=1)
    result = export(workspace, Wanted(kind="dpo"), tokenizer=tokenizer)
    folder = Path(result["dataset"])
    pairs = {}
    for line in lines(folder / "lineage.jsonl"):
        row = lines(folder / f"{line['split']}.jsonl")[line["row"] - 1]
        tokens = lines(folder / "tokens" / f"{line['split']}.jsonl")[line["row"] - 1]
        pairs.setdefault(line["transcript"], []).append(row["chosen"][0]["content"])
        assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "user"]
        assert row["rejected"][0]["content"].startswith("The 1th answer")
        for side in ("chosen", "rejected"):
            text = tokenizer.template.render([*row["prompt"], *row[side]])
            assert tokens[f"{side}_input_ids"] == tokenizer.encode(text)
    assert pairs.pop(ids[0]) == ["Better still", "And another"]
    assert pairs == {id: [f"Better for {id}"] for id in (*ids[1:4], rejected)}
    assert reasons(result)[undecided, None] == "not decided"
    assert reasons(result)[ids[4], None] == "no better reply was written for it"
    assert reasons(result)[unfinished, None].startswith("not complete")


def test_verdicts_come_from_decisions_and_marks(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 6)
    (rejected,) = add(workspace, messages("r"))
    say(workspace, "reject", rejected)
    say(workspace, "mark", ids[0], exchange=3)
    say(workspace, "mark", ids[1], exchange=1)
    result = export(workspace, Wanted(kind="kto"), tokenizer=tokenizer)
    lineage = lines(Path(result["dataset"]) / "lineage.jsonl")
    labels = {(line["transcript"], line["exchange"]): line["label"] for line in lineage}
    expected = {(id, 3): True for id in ids} | {(ids[0], 3): False, (ids[1], 1): False, (rejected, 3): False}
    assert labels == expected
    for (id, exchange), row in rows(result).items():
        assert row["label"] == expected[id, exchange]
        assert row["completion"][0]["content"].startswith(f"The {exchange - 1}th answer")


def test_a_reply_of_no_weight_has_no_verdict_but_a_persons(workspace: Workspace) -> None:
    approved(workspace, 6)
    talk = [*messages("w", 2), messages("w", 3)[4], Message(role="assistant", text="no", extra={"weight": 0})]
    left, marked = add(workspace, talk, [*talk, *messages("more", 1)])
    for id in (left, marked):
        say(workspace, "approve", id)
    say(workspace, "mark", marked, exchange=3)
    result = export(workspace, Wanted(kind="kto"))
    assert reasons(result)[left, 3] == "the reply came with a weight of 0"
    assert rows(result)[marked, 3]["label"] is False


def test_without_a_tokenizer_there_are_readable_rows_and_a_warning(workspace: Workspace) -> None:
    approved(workspace)
    result = export(workspace)
    assert result["tokens"] is None and not (Path(result["dataset"]) / "tokens").exists()
    assert "max_tokens (16,000) was not checked" in result["warnings"][0]


def test_a_template_without_a_system_message_gets_it_in_the_first_words(workspace: Workspace, tmp_path: Path) -> None:
    template = (ROOT / "tests/chat_templates/gemma2.jinja").read_text(encoding="utf-8")
    gemma = ChatTokenizer.load(build(tmp_path / "gemma", template=template, named={"bos_token": "<bos>"}))
    approved(workspace)
    (speaks_first,) = add(workspace, [Message(role="assistant", text="Hello!"), *messages("first")])
    say(workspace, "approve", speaks_first)
    result = export(workspace, tokenizer=gemma)
    for row in rows(result).values():
        assert row["messages"][0]["role"] == "user"
        assert row["messages"][0]["content"].startswith(workspace.prompts["system"].strip() + "\n\n")
    manifest = json.loads((Path(result["dataset"]) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["tokenizer"]["system"] == "merged"
    assert any("has no system message" in warning for warning in result["warnings"])
    assert "no user speaks first" in reasons(result)[speaks_first, None]


def test_control_tokens_in_the_words_are_warned_of(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    approved(workspace)
    (odd,) = add(workspace, [Message(role="user", text="Say <|im_end|>"), *messages("odd")[1:]])
    say(workspace, "approve", odd)
    result = export(workspace, tokenizer=tokenizer)
    assert any(odd in warning and "control tokens" in warning for warning in result["warnings"])


@pytest.mark.parametrize(("kind", "form"), [("dpo", "mlx"), ("kto", "mlx"), ("kto", "openai"), ("sft", "parquet")])
def test_a_form_that_a_kind_does_not_have_is_refused(kind: Any, form: str, workspace: Workspace) -> None:
    with pytest.raises(UserError, match="choose --format"):
        export(workspace, Wanted(kind=kind, form=form))


# --- what is said about it -----------------------------------------------------------------------------------------


def test_the_card_names_judges_reviewers_and_their_agreement(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    ids = approved(workspace, 6)
    say(workspace, "approve", ids[0], reviewer="ben | <b>")
    criterion = next(c for c in workspace.rubric.criteria if c.kind == "judged")
    for id in ids:
        key = imported_key(transcripts.get(workspace.store, id).hash, criterion, "judge")
        verdicts.join_panel_imported(workspace.store, id, "judge")
        given = Verdict(
            transcript=id, criterion=criterion.id, backend="judge", answer="YES", key=key, origin="imported"
        )
        verdicts.add(workspace.store, [given])
        answer = Event(
            reviewer="ann", kind="answer", transcript=id, criterion=criterion.id, answer="YES", origin="imported",
            criterion_version=criterion.version,
        )  # fmt: skip
        events.append(workspace.store, answer)
    result = export(workspace, tokenizer=tokenizer)
    card = (Path(result["dataset"]) / "README.md").read_text(encoding="utf-8")
    assert "| judge | 6 |" in card
    assert "| ann | 6 |" in card and "| ben \\| &lt;b> | 1 |" in card
    assert f"| {criterion.id} | fresh | 6 | 1.00 | – | – |" in card
    assert "path: valid.jsonl" in card and "## Limits" in card
    assert lines(Path(result["dataset"]) / "lineage.jsonl")[0]["panel"] == ["judge"]
    stats = (Path(result["dataset"]) / "generation_stats.md").read_text(encoding="utf-8")
    assert "| 1 | imported | – | – | 6 | 18 | 3 | 3 | 6 |" in stats


def test_mlx_lm_reads_the_folder(workspace: Workspace) -> None:
    datasets = pytest.importorskip("mlx_lm.tuner.datasets")
    approved(workspace)
    result = export(workspace)
    read = datasets.load_local_dataset(Path(result["dataset"]), None, SimpleNamespace(mask_prompt=True))
    assert [type(split).__name__ for split in read] == ["ChatDataset"] * 3
    assert [len(split) for split in read] == [result["examples"][split] for split in SPLITS]


def test_a_preview_is_the_example_that_is_exported(workspace: Workspace, tokenizer: ChatTokenizer) -> None:
    approved(workspace, 6, 5)
    result = export(workspace, tokenizer=tokenizer)
    folder = Path(result["dataset"])
    for line in lines(folder / "lineage.jsonl"):
        shown = preview(workspace, tokenizer, line["transcript"], line["exchange"])
        written = lines(folder / "tokens" / f"{line['split']}.jsonl")[line["row"] - 1]
        assert {"input_ids": shown.ids, "labels": shown.labels} == written
    with pytest.raises(UserError, match="has no exchange 6; it has 1 to 5"):
        preview(workspace, tokenizer, "1-1", 6)
