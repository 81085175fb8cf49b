"""The TRAIN gate's questions, and what the data gate finds in a dataset."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.train.made import make_export
from tests.unit.made_base import make_base

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.hashing import content_hash
from loopreview.models.training import Data, Plan
from loopreview.train import gates
from loopreview.train.base import Base
from loopreview.train.gates import QUESTIONS, Check, TrainGate, data_gate, parse_answers, refuse

YES = [f"{question.key}=yes" for question in QUESTIONS]


# --- the TRAIN gate ------------------------------------------------------------------------------------------------


def test_the_five_questions_can_be_answered() -> None:
    assert [question.key for question in QUESTIONS] == [
        "task_stability", "required_knowledge", "available_examples", "impact_of_mistakes", "necessary_evaluation",
    ]  # fmt: skip
    assert all(question.asks.endswith("?") and question.why.endswith(".") for question in QUESTIONS)
    answers = parse_answers([*YES[:3], "impact_of_mistakes=no: a nurse reads  every reply", "necessary_evaluation = Y"])
    assert answers["impact_of_mistakes"] == {"answer": "no", "reason": "a nurse reads every reply"}
    assert answers["necessary_evaluation"] == {"answer": "yes", "reason": ""}
    TrainGate.check(answers)
    record = TrainGate.record(answers, by="ann")
    assert record["answered"] is True and record["by"] == "ann" and record["answers"] == answers


def test_an_open_question_and_a_no_without_a_reason_stop() -> None:
    for left_out in range(5):
        answers = parse_answers([answer for n, answer in enumerate(YES) if n != left_out])
        with pytest.raises(UserError, match=QUESTIONS[left_out].key) as raised:
            TrainGate.check(answers)
        assert raised.value.exit_code == 1
    bare = parse_answers([*YES[:4], "necessary_evaluation=no"])
    with pytest.raises(UserError, match="no reason is given") as raised:
        TrainGate.check(bare)
    assert raised.value.exit_code == 1
    kept = TrainGate.record({})
    assert kept["answered"] is False and kept["by"]
    assert kept["answers"] == {question.key: {"answer": None, "reason": ""} for question in QUESTIONS}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("task_stabilty=yes", "unknown question `task_stabilty`; did you mean `task_stability`?"),
        ("nonsense=yes", "the questions are task_stability, required_knowledge"),
        ("task_stability=maybe", "must be task_stability=yes or task_stability=no: and the reason"),
        ("task_stability=nothing", "must be task_stability=yes or"),
        ("task_stability", "must be task_stability=yes or"),
    ],
)
def test_an_answer_that_is_none_is_refused(given: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_answers([given])
    assert says in str(raised.value)
    with pytest.raises(UserError, match="answered twice"):
        parse_answers(["task_stability=yes", "task_stability=no: x"])


def test_errors_refuse_and_warnings_do_not() -> None:
    refuse([Check("A", "ok", "fine"), Check("B", "warning", "hm")])
    with pytest.raises(UserError, match=r"^C: broken \(and 1 more\)$") as raised:
        refuse([Check("B", "warning", "hm"), Check("C", "error", "broken"), Check("D", "error", "too")])
    assert raised.value.exit_code == 1


# --- the data gate -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.open(str(make_base(tmp_path_factory.mktemp("model") / "tiny")))


@pytest.fixture(scope="module")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("gates") / "workspace", base.folder, count=14)


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    for path in made.rglob("*"):
        if path.is_file():
            to = tmp_path / "dataset" / path.relative_to(made)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    return tmp_path / "dataset"


def plan_of(folder: Path, base: Base, **changed: Any) -> Plan:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    data = Data(
        folder=folder,
        hash=manifest["hash"],
        tokens=folder / "tokens",
        tokenizer=base.tokenizer.hash,
        train=manifest["examples"]["train"],
        valid=manifest["examples"]["valid"],
    )
    return Plan(
        **{"backend": "cuda", "device": "cpu", "base": base.reference, "max_length": 1024, "data": data, **changed}
    )


def found(folder: Path, base: Base, plan: Plan | None = None, **more: Any) -> dict[str, Check]:
    checks = data_gate(Exported.open(folder), plan or plan_of(folder, base), base, **more)
    return {check.name: check for check in checks}


def sealed(folder: Path) -> None:
    """Give the changed files a manifest that fits them, as an export of them would have."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    from hashlib import sha256

    for name, said in manifest["files"].items():
        data = (folder / name).read_bytes()
        said |= {"lines": data.count(b"\n"), "sha256": sha256(data).hexdigest()}
    del manifest["hash"]
    (folder / "manifest.json").write_text(json.dumps({"hash": content_hash(manifest), **manifest}), encoding="utf-8")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def put(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_good_dataset_passes(made: Path, base: Base) -> None:
    checks = found(made, base)
    assert {check.level for name, check in checks.items() if name != "Examples"} == {"ok"}, checks
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    longest = max(
        len(row["input_ids"]) for split in ("train", "valid") for row in lines(made / f"tokens/{split}.jsonl")
    )
    assert f"{longest:,} tokens" in checks["Length"].text
    assert f"{manifest['groups']['train']} in train" in checks["Splits"].text
    assert "Base model" not in checks, "no pass rate is known"
    assert data_gate(Exported.open(made), plan_of(made, base)) == list(checks.values()), (
        "the base of the plan is opened"
    )


def test_changed_files_are_found(dataset: Path, base: Base) -> None:
    plan = plan_of(dataset, base)
    (dataset / "test.jsonl").write_text("", encoding="utf-8")
    assert found(dataset, base)["Dataset"] == Check(
        "Dataset", "error", f"{dataset / 'test.jsonl'}: was changed after it was exported; export again"
    )
    sealed(dataset)
    assert "has changed since the plan was made" in found(dataset, base, plan)["Dataset"].text
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "supervise": "all_replies"}), encoding="utf-8")
    assert "manifest.json: was changed after the export" in found(dataset, base)["Dataset"].text


def test_another_tokenizer_than_the_rows_is_found(made: Path, base: Base, tmp_path: Path) -> None:
    other = Base.open(str(make_base(tmp_path / "other", vocabulary=400)))
    check = found(made, other, plan_of(made, base))["Dataset"]
    assert check.level == "error" and "another tokenizer or chat template" in check.text


def test_a_transcript_in_two_splits_is_found(dataset: Path, base: Base) -> None:
    lineage = lines(dataset / "lineage.jsonl")
    test = next(line for line in lineage if line["split"] == "test")
    test["transcript"] = next(line["transcript"] for line in lineage if line["split"] == "train")
    put(dataset / "lineage.jsonl", lineage)
    sealed(dataset)
    check = found(dataset, base)["Splits"]
    assert check.level == "error" and f"transcript {test['transcript']} is in" in check.text


def test_a_persona_in_two_splits_is_found(dataset: Path, base: Base) -> None:
    lineage = lines(dataset / "lineage.jsonl")
    test = next(line for line in lineage if line["split"] == "test")
    test["group"] = next(line["group"] for line in lineage if line["split"] == "train")
    put(dataset / "lineage.jsonl", lineage)
    sealed(dataset)
    check = found(dataset, base)["Splits"]
    assert check.level == "error" and f"transcript {test['transcript']} in test shares its persona" in check.text


def test_equal_examples_in_two_splits_are_found(dataset: Path, base: Base) -> None:
    train, test = lines(dataset / "train.jsonl"), lines(dataset / "test.jsonl")
    put(dataset / "test.jsonl", [*test[:-1], train[2]])
    sealed(dataset)
    check = found(dataset, base)["Splits"]
    assert check.level == "error"
    assert f"example 3 of train and example {len(test)} of test are equal" in check.text
    # The same text within a split is no leak.
    put(dataset / "test.jsonl", test)
    put(dataset / "train.jsonl", [*train[:-1], train[0]])
    sealed(dataset)
    assert found(dataset, base)["Splits"].level == "ok"


def test_examples_equal_to_the_model_are_found(dataset: Path, base: Base) -> None:
    train, valid = lines(dataset / "tokens/train.jsonl"), lines(dataset / "tokens/valid.jsonl")
    put(dataset / "tokens/valid.jsonl", [train[1], *valid[1:]])
    sealed(dataset)
    check = found(dataset, base)["Splits"]
    assert check.level == "error" and "example 2 of train and example 1 of valid are equal in tokens" in check.text


def test_an_example_over_the_limit_is_named(made: Path, base: Base) -> None:
    rows = lines(made / "tokens/train.jsonl") + lines(made / "tokens/valid.jsonl")
    lengths = sorted(len(row["input_ids"]) for row in rows)
    check = found(made, base, plan_of(made, base, max_length=lengths[-1] - 1))["Length"]
    over = lengths.count(lengths[-1])
    assert check.level == "error" and f"{over} are over it" in check.text and f"{lengths[-1]} tokens (" in check.text
    assert found(made, base, plan_of(made, base, max_length=lengths[-1]))["Length"].level == "ok"


def test_revoked_transcripts_are_named(dataset: Path, base: Base) -> None:
    (dataset / "revoked.json").write_text(json.dumps({"1-2": {"at": "now"}}), encoding="utf-8")
    check = found(dataset, base)["Revoked"]
    assert check.level == "error" and "1-2 may not be used any more" in check.text


def test_rows_that_are_missing_are_found(dataset: Path, base: Base) -> None:
    plan = plan_of(dataset, base)
    train = lines(dataset / "tokens/train.jsonl")
    put(dataset / "tokens/train.jsonl", train[1:])
    check = found(dataset, base, plan)["Rows"]
    assert check.level == "error" and f"train: {len(train) - 1} token rows, {len(train)} in the dataset's" in check.text
    fewer = plan.model_copy(update={"data": plan.data.model_copy(update={"train": len(train) - 1})})
    assert found(dataset, base, fewer)["Rows"].level == "error", "plan and rows agree, the manifest does not"
    (dataset / "tokens/valid.jsonl").unlink()
    assert "valid.jsonl: cannot be read" in found(dataset, base, plan)["Rows"].text


def test_nothing_to_measure_on_is_a_warning(dataset: Path, base: Base) -> None:
    for name in ("valid.jsonl", "tokens/valid.jsonl"):
        put(dataset / name, [])
    put(dataset / "lineage.jsonl", [line for line in lines(dataset / "lineage.jsonl") if line["split"] != "valid"])
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    manifest["examples"]["valid"] = 0
    (dataset / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    sealed(dataset)
    checks = found(dataset, base)
    assert checks["Validation"].level == "warning"
    assert not [check for check in checks.values() if check.level == "error"]


def test_few_examples_and_a_good_base_are_warnings(made: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(lines(made / "tokens/train.jsonl"))
    assert found(made, base)["Examples"] == Check(
        "Examples", "warning", f"{count} to train on; 1,000 is what to begin with, 10,000 is best"
    )
    monkeypatch.setattr(gates, "TO_BEGIN", count)
    assert found(made, base)["Examples"].level == "ok"
    good = found(made, base, pass_rate=0.71)["Base model"]
    assert good.level == "warning" and "71%" in good.text and "reconsider fine-tuning" in good.text
    assert found(made, base, pass_rate=0.7)["Base model"].level == "ok"
