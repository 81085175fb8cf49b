"""The base of a run and its token rows: what is refused, and that rows made here are the export's own."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.made_base import make_base

from loopreview import review
from loopreview.dataset.examples import Wanted
from loopreview.dataset.make import make_dataset
from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.transcript import Message, Transcript
from loopreview.progress import Silent
from loopreview.store import batches, transcripts
from loopreview.tokens.tiny import TEMPLATE
from loopreview.train.base import Base, fetch
from loopreview.train.example import show_example
from loopreview.train.prepare import measure, token_folder
from loopreview.train.rows import read_rows
from loopreview.workspace import Workspace, init

BAD = "This reply is bad, nobody should learn it"
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
KEPT = """\
{%- if tools %}{{ '<|tools|>' + tools | tojson }}{% endif %}
{%- for message in messages %}
{{- '<|' + message.role + '|>' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '<|call|>' + call.function.name + (call.function.arguments.keys() | join(',')) }}
{%- endfor %}
{{- '<|end|>' if message.weight is not defined else raise_exception('a weight') }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
"""
MERGED = (
    """\
{%- if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}
"""
    + KEPT
)
SPECIAL = ("<|tools|>", "<|call|>", "<|end|>", "<|assistant|>", "<|user|>", "<|system|>", "<|tool|>")
TRAINED_ON = ("train", "valid")


def said(name: str, exchanges: int) -> list[Message]:
    found = []
    for n in range(exchanges):
        found.append(
            Message(role="user", text=f"{name} asks for the {n}th time, née \u2028 \U0001f600, about {name * 3}")
        )
        found.append(Message(role="assistant", text=f"The {n}th answer to {name} is {name}{n} — ça va"))
    return found


def conversations() -> list[list[Message]]:
    """Long and short, with tools, a reply of weight 0, an empty one, and a bad one."""
    found = [said(f"{chr(97 + n)}{n * 7919}", 3 + n % 5 * 3) for n in range(14)]
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"key": "né"}'}}
    tools = [
        Message(role="user", text="Where is it?", extra={"tools": TOOLS}),
        Message(role="assistant", text="", extra={"tool_calls": [call]}),
        Message(role="tool", text="In the cellar", extra={"tool_call_id": "c1", "name": "find"}),
        Message(role="assistant", text="It is in the cellar."),
    ]
    # Two users' messages in a row are one exchange; of its two replies one is empty.
    twice = [
        *said("twice", 2),
        Message(role="user", text="One more thing."),
        Message(role="user", text="And another."),
        Message(role="assistant", text=" "),
        Message(role="assistant", text="Here are both."),
        *said("again", 2),
    ]
    found.append([*tools, *said("tools", 4)])
    light = said("light", 5)
    light[5] = light[5].model_copy(update={"extra": {"weight": 0}})
    empty = said("empty", 5)
    empty[3] = empty[3].model_copy(update={"text": " "})
    bad = said("bad", 5)
    bad[7] = bad[7].model_copy(update={"text": BAD})
    return [*found, light, empty, bad, said("filler", 3), twice]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = init(tmp_path_factory.mktemp("prepare") / "workspace")
    with Workspace.open(root) as opened:
        batch = batches.create_imported(opened.store).id
        given = [
            Transcript(
                id="", batch=0, number=0, origin="imported", source=f"made.jsonl#{n}", messages=talk, persona=None
            )
            for n, talk in enumerate(conversations())
        ]
        for head, _ in transcripts.add_imported(opened.store, batch, given):
            review.record(opened, "approve", reviewer="ann", transcript=head.id)
            if BAD in transcripts.get(opened.store, head.id).messages[7 if head.exchanges > 4 else 1].text:
                review.record(opened, "mark", reviewer="ann", transcript=head.id, data={"exchange": 4})
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "kept": make_base(folder / "kept", template=KEPT, special=SPECIAL),
        "merged": make_base(folder / "merged", template=MERGED, special=SPECIAL, pieces="words"),
        "other": make_base(folder / "other", template=TEMPLATE),
    }


Export = Callable[..., Exported]


@pytest.fixture(scope="module")
def export(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export once with these choices, and open what was made."""
    made: dict[Any, Exported] = {}

    def make(tokenizer: Path | None = None, **wanted: Any) -> Exported:
        key = (tokenizer, tuple(sorted(wanted.items())))
        if key not in made:
            to = tmp_path_factory.mktemp("exports") / "dataset"
            with Workspace.open(workspace) as opened:
                name = str(tokenizer) if tokenizer else None
                make_dataset(opened, Wanted(**wanted), to=to, tokenizer=name, watcher=Silent())
            made[key] = Exported.open(to)
        return made[key]

    return make


def rows_of(folder: Path) -> dict[str, str]:
    return {split: (folder / f"{split}.jsonl").read_text(encoding="utf-8") for split in TRAINED_ON}


def copied(dataset: Exported, to: Path, **changed: Any) -> Exported:
    """The dataset with another manifest."""
    to.mkdir()
    for path in dataset.folder.glob("*.jsonl"):
        (to / path.name).write_bytes(path.read_bytes())
    manifest = {key: value for key, value in {**dataset.manifest, **changed}.items() if value is not ...}
    (to / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Exported.open(to)


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("supervise", ["last_reply", "all_replies"])
@pytest.mark.parametrize("form", ["trl", "mlx", "openai"])
@pytest.mark.parametrize("model", ["kept", "merged"])
def test_rows_made_here_are_the_exports_own(
    export: Export, models: dict[str, Path], tmp_path: Path, model: str, form: str, supervise: str
) -> None:
    own = export(models[model], supervise=supervise, form=form)
    bare = export(None, supervise=supervise, form=form)
    made = token_folder(bare, Base.open(str(models[model])), tmp_path)
    assert made == tmp_path / "tokens"
    assert rows_of(made) == rows_of(own.folder / "tokens")
    assert len(read_rows(made / "train.jsonl")) == own.manifest["examples"]["train"] > 10
    readable = "".join(rows_of(bare.folder).values())
    for rare in ("Here are both.", "in the cellar", "answer to light", "answer to empty", BAD):
        assert rare in readable, f"{rare}: is in the test split, where nothing is compared; change the conversations"
    assert sum(row.supervised for split in TRAINED_ON for row in read_rows(made / f"{split}.jsonl")) > 300


def test_an_export_for_another_model_is_made_anew(export: Export, models: dict[str, Path], tmp_path: Path) -> None:
    made = token_folder(export(models["kept"]), Base.open(str(models["merged"])), tmp_path)
    assert rows_of(made) == rows_of(export(models["merged"]).folder / "tokens")


def test_the_datasets_own_rows_are_taken_where_they_fit(
    export: Export, models: dict[str, Path], tmp_path: Path
) -> None:
    own = export(models["kept"])
    assert token_folder(own, Base.open(str(models["kept"])), tmp_path / "run") == own.folder / "tokens"
    assert not (tmp_path / "run").exists()
    # ShareGPT's readable rows cannot be trained on, its token rows can.
    shared = export(models["kept"], form="sharegpt")
    assert token_folder(shared, Base.open(str(models["kept"])), tmp_path / "run") == shared.folder / "tokens"


def test_a_template_changed_since_makes_new_rows(export: Export, models: dict[str, Path], tmp_path: Path) -> None:
    changed = make_base(tmp_path / "changed", template=KEPT.replace("<|end|>", "<|end|>\\n"), special=SPECIAL)
    made = token_folder(export(models["kept"]), Base.open(str(changed)), tmp_path / "run")
    assert made == tmp_path / "run" / "tokens"
    assert rows_of(made) != rows_of(export(models["kept"]).folder / "tokens")


def test_a_bad_reply_stays_unsupervised(export: Export, models: dict[str, Path], tmp_path: Path) -> None:
    bare, base = export(None, supervise="all_replies"), Base.open(str(models["kept"]))
    made = token_folder(bare, base, tmp_path)
    with_it = [
        number
        for number, row in enumerate(bare.rows("train"), 1)
        if any(message["content"] == BAD for message in row["messages"])
    ]
    assert with_it, "the bad reply is not among the training examples: change the conversations"
    shown = show_example(made, base, with_it[0])
    assert BAD in "".join(text for text, supervised in shown if not supervised)
    assert BAD not in "".join(text for text, supervised in shown if supervised)
    assert sum(supervised for _, supervised in shown) == 4, "the other four replies are learnt"


def test_where_nothing_says_what_is_learnt_it_is_refused(
    export: Export, models: dict[str, Path], tmp_path: Path
) -> None:
    base = Base.open(str(models["kept"]))
    dataset = export(None, supervise="all_replies")
    for name, changed in {"no-list": {"left_out": ...}, "no-rows": {"left_out": {"counts": {}}}}.items():
        with pytest.raises(UserError, match=r"nothing in the dataset says .* export again with --tokenizer BASE"):
            token_folder(copied(dataset, tmp_path / name, **changed), base, tmp_path / f"run-{name}")
    without = copied(dataset, tmp_path / "no-lineage")
    (without.folder / "lineage.jsonl").unlink()
    with pytest.raises(UserError, match="nothing in the dataset says"):
        token_folder(without, base, tmp_path / "run")
    assert not (tmp_path / "run" / "tokens").exists()


def test_what_cannot_be_trained_on_is_refused(export: Export, models: dict[str, Path], tmp_path: Path) -> None:
    kept, merged = Base.open(str(models["kept"])), Base.open(str(models["merged"]))
    for dataset, base, says in (
        (copied(export(None), tmp_path / "dpo", kind="dpo"), kept, "holds dpo data; only sft"),
        (export(None, form="sharegpt"), kept, "ShareGPT rows cannot be trained on; export with --format trl"),
        (export(models["merged"]), kept, "without system messages, .* export again with --tokenizer BASE"),
    ):
        with pytest.raises(UserError, match=says):
            token_folder(dataset, base, tmp_path / "run")
    broken = copied(export(None), tmp_path / "broken")
    lines = (broken.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[1])
    row["messages"] = [message for message in row["messages"] if message["role"] != "user"]
    (broken.folder / "train.jsonl").write_text("\n".join([lines[0], json.dumps(row)]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.jsonl line 2: the chat template has no system message"):
        token_folder(broken, merged, tmp_path / "run")


def test_rows_are_made_once(export: Export, models: dict[str, Path], tmp_path: Path) -> None:
    base = Base.open(str(models["kept"]))
    made = token_folder(export(None), base, tmp_path) / "train.jsonl"
    before = made.stat().st_mtime_ns
    token_folder(export(None), base, tmp_path)
    assert made.stat().st_mtime_ns == before
    token_folder(export(None, form="openai"), base, tmp_path)
    assert made.stat().st_mtime_ns != before, "another dataset in the same folder"


def test_lengths_are_those_of_the_rows(export: Export, models: dict[str, Path]) -> None:
    folder = export(models["kept"]).folder / "tokens"
    found = measure(folder)
    lengths = [len(json.loads(line)["input_ids"]) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert list(found.train) == lengths
    tokens, split, row = found.longest
    line = (folder / f"{split}.jsonl").read_text().splitlines()[row - 1]
    assert tokens == len(json.loads(line)["input_ids"]) == max([*found.train, *found.valid])
    assert sorted(lengths)[len(lengths) // 2] == found.median


# --- an example as the model sees it -------------------------------------------------------------------------------


def test_an_example_reads_as_it_was_rendered(export: Export, models: dict[str, Path]) -> None:
    own, base = export(models["kept"]), Base.open(str(models["kept"]))
    for number, row in enumerate(own.rows("train"), 1):
        shown = show_example(own.folder / "tokens", base, number)
        text = base.tokenizer.template.render(row["messages"], tools=row.get("tools"))
        assert "".join(part for part, _ in shown) == text
        learnt = [part for part, supervised in shown if supervised]
        assert learnt == [row["messages"][-1]["content"] + "<|end|>"]
        assert 0 < shown.supervised < shown.tokens == len(base.tokenizer.encode(text))


def test_a_character_cut_by_a_border_is_not_lost(models: dict[str, Path], tmp_path: Path) -> None:
    base = Base.open(str(models["kept"]))
    text = "<|user|>né 😀 ok<|end|><|assistant|>é😀!<|end|>"
    ids = base.tokenizer.encode(text)
    # A border at each place, within characters too: an emoji is four byte tokens here.
    rows = [{"input_ids": ids, "labels": [-100] * cut + ids[cut:]} for cut in range(1, len(ids))]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for number in range(1, len(rows) + 1):
        shown = show_example(tmp_path, base, number)
        assert "".join(part for part, _ in shown) == text
        assert shown.supervised == len(ids) - number
        before = "".join(part for part, supervised in shown if not supervised)
        assert len(before) <= len(text) and before == text[: len(before)]
        whole = len(base.tokenizer.encode(before))
        assert whole <= number < whole + 4, "what is before the border is whole characters, and all of them"
    with pytest.raises(UserError, match=f"example {len(ids)}: there is none; train has 1 to {len(ids) - 1}"):
        show_example(tmp_path, base, len(ids))


# --- the base ------------------------------------------------------------------------------------------------------


def test_a_base_is_opened(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models["kept"].parent)
    base = Base.open("./kept")
    assert base.reference == str(models["kept"]) and base.folder.is_absolute() and base.name == "kept"
    assert base.positions == 32_768
    assert base.linear_layers == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert base.parameters == 2 * (7 * 64 * 64 + 64 + 64 * 4) + 2 * 700 * 64
    assert fetch("./kept") == models["kept"]


@pytest.mark.parametrize(
    ("config", "files", "says"),
    [
        ({}, {"config.json": None}, "no config.json in it"),
        ({}, {"config.json": None, "model.safetensors": None, "x.gguf": b""}, "holds GGUF files"),
        ({}, {"model.safetensors": None, "x.gguf": b""}, "weights as GGUF only"),
        ({}, {"model.safetensors": None, "x.bin": b""}, "pickle files are not read; convert to safetensors"),
        ({}, {"model.safetensors": None}, "has no weights"),
        ({"architectures": ["T5ForX"]}, {}, "T5ForX is no causal language model"),
        ({"architectures": None}, {}, "is no causal language model"),
        ({"auto_map": {"AutoModel": "x.Y"}, "model_type": "own"}, {}, "needs code of its own"),
        ({"quantization_config": {"bits": 4}}, {}, "quantised already"),
        ({}, {"chat_template.jinja": None}, "no chat template; take the folder of an instruction-tuned model"),
        ({}, {"tokenizer.json": None}, "no tokenizer.json in it"),
        ({}, {"config.json": b"{"}, "config.json: cannot be read"),
    ],
)  # fmt: skip
def test_a_base_that_cannot_be_trained_is_refused(
    tmp_path: Path, config: dict[str, Any], files: dict[str, bytes | None], says: str
) -> None:
    folder = make_base(tmp_path / "model", config=config)
    for name, data in files.items():
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=says) as raised:
        Base.open(str(folder))
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)


def test_code_of_its_own_is_not_needed_where_the_trainer_knows_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_base(tmp_path / "model", config={"auto_map": {"AutoModel": "x.Y"}, "model_type": "phi3"})
    (tmp_path / "library" / "models" / "phi3").mkdir(parents=True)
    library = SimpleNamespace(submodule_search_locations=[str(tmp_path / "library")])
    monkeypatch.setattr("loopreview.train.base.find_spec", lambda name: library if name == "transformers" else None)
    assert Base.open(str(folder)).config["model_type"] == "phi3"
    monkeypatch.setattr("loopreview.train.base.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs code of its own"):
        Base.open(str(folder))


def test_layers_by_the_index_alone(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "model")
    base = Base.open(str(folder))
    (folder / "model.safetensors").unlink()
    names = [
        "model.embed_tokens",
        "model.layers.0.attn.q_proj",
        "model.layers.0.q_norm",
        "model.layers.0.own",
        "lm_head",
    ]
    index = {"weight_map": {f"{name}.weight": "model-1.safetensors" for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert base.linear_layers == ("q_proj", "own")
    assert base.parameters > 100_000, "reckoned from the config"


def test_a_broken_weights_file_is_named(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"model\.safetensors: is no safetensors file"):
        _ = Base.open(str(folder)).parameters


def test_of_the_hub_only_what_is_needed_is_fetched(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    snapshot = make_base(tmp_path / "snapshot")
    (snapshot / "pytorch_model.bin").write_bytes(b"")

    def download(id: str, *, allow_patterns: list[str], token: object) -> str:
        asked.append(allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    weights = (snapshot / "model.safetensors").read_bytes()
    (snapshot / "model.safetensors").unlink()
    base = Base.open("some/model")
    assert base.reference == "some/model" and base.name == "model" and base.folder == snapshot
    assert "config.json" in asked[0] and not any("*" in pattern for pattern in asked[0])
    assert base.linear_layers == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    with pytest.raises(UserError, match="some/model: has its weights as pickle files only"):
        fetch("some/model")
    (snapshot / "model.safetensors").write_bytes(weights)
    assert fetch("some/model") == snapshot
    assert "*.safetensors" in asked[-1] and not any(".bin" in name or "gguf" in name for name in asked[-1])
