"""export and export-labels."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from loopreview.dataset import push as hub
from loopreview.rules.slices import slice_points

ROOT = Path(__file__).parents[2]
THERAPY = ROOT.parent / "shared" / "data" / "therapy"
SCRIPT = ROOT / "examples" / "tiny_tokenizer.py"
SPLITS = ("train", "valid", "test")
Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer as a person makes one to try things out."""
    folder = tmp_path_factory.mktemp("tokenizer") / "tiny"
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(folder)
    return folder


@pytest.fixture
def reviewed(cli: Cli, root: Path, tmp_path: Path) -> Path:
    """Twelve approved transcripts, one rejected and one undecided."""
    file = tmp_path / "talks.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for n in range(14):
            name = f"{chr(97 + n)}{n * 7919}"
            turns = [
                {"role": role, "content": f"{role} {name} says {name}{turn} about {name * 2}"}
                for turn in range(4)
                for role in ("user", "assistant")
            ]
            out.write(json.dumps({"id": name, "messages": turns, "persona": {"id": f"p{n}"}}) + "\n")
    ids = [row["id"] for row in cli("-w", root, "--json", "import", file).json["imported"]]
    for id in ids[:12]:
        cli("-w", root, "review", "approve", id, "--reviewer", "ann")
    cli("-w", root, "review", "reject", ids[12], "--reviewer", "ann")
    return root


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_export_prints_what_it_wrote(cli: Cli, reviewed: Path, tiny: Path) -> None:
    done = cli("-w", reviewed, "--json", "export", "--tokenizer", tiny)
    found = done.json
    folder = Path(found["dataset"])
    assert folder.is_absolute() and folder.parent == reviewed.absolute() / "exports" and folder.name == found["hash"]
    assert set(found["examples"]) == set(found["transcripts"]) == set(SPLITS)
    for split in SPLITS:
        assert len(lines(folder / f"{split}.jsonl")) == found["examples"][split] > 0
        assert len(lines(folder / "tokens" / f"{split}.jsonl")) == found["examples"][split]
    assert set(found["tokens"]) == {"min", "median", "max"}
    assert {(row["exchange"], row["reason"]) for row in found["left_out"]} == {
        (None, "rejected"),
        (None, "not decided"),
    }
    assert "left out: 1 rejected" in done.err


def test_export_for_a_person(cli: Cli, reviewed: Path, tmp_path: Path) -> None:
    done = cli("export", "-w", reviewed, "--to", tmp_path / "here")
    assert done.out.startswith(str(tmp_path / "here"))
    assert "train" in done.out and "max_tokens (16,000) was not checked" in done.err
    again = cli("export", "-w", reviewed, "--to", tmp_path / "here")
    assert "the very same" in again.err


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--format", "mlx"], "messages"),
        (["--format", "openai"], "messages"),
        (["--format", "sharegpt"], "conversations"),
        (["--supervise", "all_replies"], "messages"),
        (["--kind", "kto"], "completion"),
        (["--kind", "kto", "--format", "sharegpt"], "conversations"),
    ],
)
def test_each_form_is_written(cli: Cli, reviewed: Path, tiny: Path, options: list[str], key: str) -> None:
    found = cli("-w", reviewed, "--json", "export", "--tokenizer", tiny, *options).json
    for split in SPLITS:
        assert all(key in row for row in lines(Path(found["dataset"]) / f"{split}.jsonl"))


def test_the_base_model_of_the_settings_is_the_tokenizer(
    cli: Cli, reviewed: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = cli("-w", reviewed, "--json", "export", "--tokenizer", tiny).json
    settings = reviewed / "loopreview.toml"
    written = settings.read_text(encoding="utf-8")

    def exported(base: str, *options: str) -> Any:
        settings.write_text(f'base_model = "{base}"\n{written}', encoding="utf-8")
        return cli("-w", reviewed, "--json", "export", *options).json

    assert exported(str(tiny))["hash"] == named["hash"]
    shutil.copytree(tiny, reviewed / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert exported("models/tiny")["hash"] == named["hash"], "a folder is looked for in the workspace"
    without = exported("models/tiny", "--tokenizer", "none")
    assert without["tokens"] is None and not (Path(without["dataset"]) / "tokens").exists()
    assert exported("./nowhere", "--tokenizer", str(tiny))["hash"] == named["hash"]
    settings.write_text(f'base_model = "./nowhere"\n{written}', encoding="utf-8")
    assert "./nowhere: no such folder" in cli("-w", reviewed, "export", code=2).err


def test_pairs_of_rewritten_replies(cli: Cli, reviewed: Path) -> None:
    for n in range(1, 5):
        cli("-w", reviewed, "review", "mark", f"1-{n}", 2, "--better", f"Better {n}", "--reviewer", "ann")
    found = cli("-w", reviewed, "--json", "export", "--kind", "dpo").json
    chosen = {
        row["chosen"][0]["content"] for split in SPLITS for row in lines(Path(found["dataset"]) / f"{split}.jsonl")
    }
    assert chosen == {f"Better {n}" for n in range(1, 5)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--public"], "give --push ID too"),
        (["--kind", "dpo", "--supervise", "all_replies"], "--supervise is about --kind sft"),
        (["--kind", "dpo", "--format", "mlx"], "choose --format trl or openai or sharegpt"),
        (["--tokenizer", "./nowhere"], "no such folder"),
        (["--push", "no name"], "is no name of a repository"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(cli: Cli, reviewed: Path, options: list[str], says: str) -> None:
    done = cli("-w", reviewed, "--json", "export", *options, code=2)
    assert says in done.err and done.out == "" and done.err.count("\n") == 1
    assert not list((reviewed / "exports").iterdir())


def test_nothing_approved_and_one_approved(cli: Cli, root: Path, tmp_path: Path) -> None:
    assert "there is no transcript yet" in cli("-w", root, "export", code=2).err
    talk = [{"role": role, "content": f"{role} {n}"} for n in range(3) for role in ("user", "assistant")]
    (tmp_path / "one.json").write_text(json.dumps(talk), encoding="utf-8")
    cli("-w", root, "import", tmp_path / "one.json")
    assert "no transcript is approved" in cli("-w", root, "export", code=2).err
    cli("-w", root, "review", "approve", "1-1")
    assert "2 more are missing" in cli("-w", root, "export", code=2).err


def test_push_sends_the_folder_and_says_where_it_is(cli: Cli, reviewed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    sent: list[tuple[Path, str, str, bool]] = []

    def push(folder: Path, id: str, *, token: str, public: bool, hash: str) -> str:
        sent.append((folder, id, token, public))
        return f"https://huggingface.co/datasets/{id}"

    monkeypatch.setattr(hub, "push", push)
    done = cli("-w", reviewed, "--json", "export", "--push", "nia/talks")
    assert done.json["pushed"] == "https://huggingface.co/datasets/nia/talks"
    assert sent == [(Path(done.json["dataset"]), "nia/talks", "hf_secret", False)]
    assert "hf_secret" not in done.out + done.err
    assert not [file for file in Path(done.json["dataset"]).rglob("*.*") if "hf_secret" in file.read_text("utf-8")]


# --- labels --------------------------------------------------------------------------------------------------------


def test_labels_go_out_sorted_and_come_in_again(cli: Cli, small: Path, tmp_path: Path) -> None:
    talks = tmp_path / "talks.jsonl"
    turns = [[{"role": role, "content": f"{n} {role}"} for role in ("user", "assistant")] for n in range(3)]
    talks.write_text("".join(json.dumps({"id": f"t{n}", "messages": m}) + "\n" for n, m in enumerate(turns)), "utf-8")
    cli("-w", small, "import", talks)
    criteria = [c["id"] for c in cli("-w", small, "--json", "show", "1-1").json["criteria"]][:2]
    for transcript, criterion, answer, who in (
        ("1-3", criteria[0], "no", "ann"),
        ("1-1", criteria[1], "yes", "ben"),
        ("1-1", criteria[1], "no", "ann"),
        ("1-1", criteria[1], "na", "ann"),
    ):
        cli("-w", small, "review", "answer", transcript, criterion, answer, "--reviewer", who, "--note", "a\u202eb “c”")
    cli("-w", small, "review", "answer", "1-2", criteria[0], "yes", "--reviewer", "ann")
    cli("-w", small, "review", "undo", "--reviewer", "ann")
    done = cli("-w", small, "export-labels")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["transcript"], row["reviewer"], row["answer"]) for row in found] == [
        ("talks.jsonl#t0", "ann", "NA"), ("talks.jsonl#t0", "ben", "YES"), ("talks.jsonl#t2", "ann", "NO"),
    ]  # fmt: skip
    assert done.out.splitlines() == sorted(done.out.splitlines())
    assert "\u202e" not in done.out and found[0]["note"] == "a\u202eb “c”"
    assert cli("-w", small, "--json", "export-labels").json == {"labels": found}

    # in a workspace that got the same file after another one, the same lines mean the same
    other = tmp_path / "other"
    cli("init", other, "--from", small)
    first = tmp_path / "first.json"
    first.write_text(json.dumps([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]), "utf-8")
    cli("-w", other, "import", first)
    cli("-w", other, "import", talks)
    labels = tmp_path / "labels.jsonl"
    labels.write_text(done.out, "utf-8")
    assert cli("-w", other, "--json", "import-labels", labels).json["imported"] == 3
    assert cli("-w", other, "export-labels").out == done.out


def test_a_source_that_two_transcripts_have_gives_way_to_the_id(cli: Cli, small: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        talk = [{"role": "user", "content": folder}, {"role": "assistant", "content": "y"}]
        (tmp_path / folder / "same.json").write_text(json.dumps({"id": "t", "messages": talk}), "utf-8")
        cli("-w", small, "import", tmp_path / folder / "same.json")
    criterion = cli("-w", small, "--json", "show", "1-1").json["criteria"][0]["id"]
    cli("-w", small, "review", "answer", "2-1", criterion, "yes", "--reviewer", "ann")
    assert json.loads(cli("-w", small, "export-labels").out)["transcript"] == "2-1"


# --- the coaching conversations -------------------------------------------------------------------------------------


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the shared conversations are not here")
def test_the_coaching_conversations_become_a_dataset(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    root = tmp_path / "coach"
    cli("init", root, "--template", "therapy-coach")
    imported = cli("-w", root, "--json", "import", THERAPY).json["imported"]
    assert len(imported) == 41
    unfinished = {row["id"] for row in imported if not row["complete"]}
    assert len(unfinished) == 3
    for row in imported:
        done = cli("-w", root, "review", "approve", row["id"], "--reviewer", "ann")
        assert ("not complete" in done.err) == (row["id"] in unfinished)
    found = cli("-w", root, "--json", "export", "--tokenizer", tiny, "--to", tmp_path / "one").json
    again = cli("-w", root, "--json", "export", "--tokenizer", tiny, "--to", tmp_path / "two").json
    one, two = Path(found["dataset"]), Path(again["dataset"])
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)

    manifest = json.loads((one / "manifest.json").read_text("utf-8"))
    texts, tokens = [], []
    for split in SPLITS:
        texts += (one / f"{split}.jsonl").read_text("utf-8").splitlines()
        rows = lines(one / "tokens" / f"{split}.jsonl")
        tokens += [len(row["input_ids"]) for row in rows]
        assert len(rows) == manifest["examples"][split] == found["examples"][split] > 0
    assert len(set(texts)) == len(texts)
    assert max(tokens) == found["tokens"]["max"] <= 16_000
    talks = {row["id"]: THERAPY / row["source"].partition("#")[0] for row in imported}
    persona = {id: json.loads(file.read_text("utf-8"))["persona"]["id"] for id, file in talks.items()}
    where: dict[str, set[str]] = {}
    for split, ids in found["transcripts"].items():
        for id in ids:
            where.setdefault(persona[id], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    left_out = {row["transcript"]: row["reason"] for row in found["left_out"] if row["exchange"] is None}
    assert set(left_out) == unfinished and all(reason.startswith("not complete") for reason in left_out.values())
    fifty = [row["id"] for row in imported if row["exchanges"] == 50]
    assert 8 <= mean(len(slice_points(id, 50, (4, 8))) for id in fifty) <= 10.6
