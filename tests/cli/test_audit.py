"""`audit`, `analyse` and `coverage`: reports that a person reads and a program can gate on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FIELDS = {
    "replies", "phrases", "length_ratio", "structure", "praise", "endings", "strays", "near_duplicates",
    "personal_data", "gate",
}  # fmt: skip


def records(*replies: str, user: str = "What can I do about it?") -> list[dict]:
    return [
        {"id": f"t{n}", "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]}
        for n, reply in enumerate(replies, 1)
    ]


@pytest.fixture
def bring(small, tmp_path, cli):
    """Import records as one batch of the workspace `small`."""

    def run(found: list[dict], name: str = "chats") -> None:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
        cli("import", "-w", small, path)

    return run


def plain(count: int, start: int = 0) -> list[str]:
    return [f"Alpha{n} beta{n} gamma{n} delta{n}." for n in range(start, start + count)]


def test_the_json_has_its_fields_and_the_phrases_theirs(small, bring, cli):
    bring(records(*(f"It sounds like number{n}." for n in range(3)), *plain(2)))
    found = cli("audit", "-w", small, "--json").json
    assert found.keys() >= FIELDS
    assert found["replies"] == 5 and {"mean", "share_above_2"} <= found["length_ratio"].keys()
    (row,) = found["phrases"]
    assert (row["phrase"], row["share"], row["level"]) == ("it sounds like", 0.6, "critical")


def test_a_report_exits_0_and_the_gate_1_on_a_no(small, bring, cli):
    bring(records(*(f"It sounds like number{n}." for n in range(3))))
    assert "gate: no" in cli("audit", "-w", small).out
    assert cli("audit", "-w", small, "--gate", "--json", code=1).json["gate"]["passed"] is False


def test_the_gate_is_open_where_nothing_repeats_and_shut_where_there_is_nothing(small, bring, cli):
    assert cli("audit", "-w", small, "--gate", code=1).out
    bring(records(*plain(4)))
    assert cli("audit", "-w", small, "--gate", "--json").json["gate"]["passed"] is True


def test_parts_put_together_say_exactly_what_one_run_says(small, tmp_path, bring, cli):
    bring(records(*(f"It sounds like number{n}. Write to a{n}@firm.de" for n in range(7)), *plain(4)))
    once = cli("audit", "-w", small, "--json").json
    parts = [tmp_path / f"part{i}" for i in (1, 2, 3)]
    for i, part in enumerate(parts, 1):
        written = cli("audit", "-w", small, "--shard", f"{i}/3", "--to", part, "--json").json
        assert written["part"] == str(part) and written["shard"] == f"{i}/3"
    assert cli("audit", "--merge", parts[2], parts[0], parts[1], "--json").json == once
    both = tmp_path / "both"
    cli("audit", "--merge", *parts[:2], "--to", both)
    assert cli("audit", "--merge", both, parts[2], "--json").json == once


def test_a_missing_shard_is_told(small, tmp_path, bring, cli):
    bring(records(*plain(4)))
    for i in (1, 3):
        cli("audit", "-w", small, "--shard", f"{i}/3", "--to", tmp_path / f"part{i}")
    assert "shards 2/3 are not among the parts" in cli("audit", "--merge", tmp_path / "part1", tmp_path / "part3").err


def test_one_batch_is_audited_alone(small, bring, cli):
    bring(records(*plain(2)), "first")
    bring(records(*plain(3, start=9)), "second")
    assert cli("audit", "-w", small, "--batch", 2, "--json").json["replies"] == 3
    assert cli("audit", "-w", small, "--json").json["replies"] == 5
    assert "no batch 9" in cli("audit", "-w", small, "--batch", 9, code=2).err


def test_approved_are_those_that_an_export_would_take(small, bring, cli):
    whole, cut, other = records(*plain(3))
    bring([whole, {**cut, "target_exchanges": 5}, other])
    for id in ("1-1", "1-2"):
        cli("review", "approve", id, "-w", small, "--reviewer", "ada")
    found = cli("audit", "-w", small, "--approved", "--json")
    assert (found.json["transcripts"], found.json["left_out"]) == (1, ["1-2"])
    assert "1-2" in found.err
    assert cli("audit", "-w", small, "--json").json["incomplete"] == 1, "by default incomplete ones count too"


def test_two_sets_stand_side_by_side(small, tmp_path, bring, cli):
    bring(records(*(f"It sounds like number{n}." for n in range(3))), "first")
    bring(records(*plain(3)), "second")
    found = cli("audit", "-w", small, "--compare", 1, 2, "--json").json
    assert (found["a"]["set"], found["b"]["set"]) == ("batch 1", "batch 2")
    assert found["phrases"] == [{"phrase": "it sounds like", "a": 1.0, "b": None}]
    assert "it sounds like" in cli("audit", "-w", small, "--compare", 1, 2).out
    cli("audit", "-w", small, "--batch", 1, "--to", tmp_path / "part")
    assert cli("audit", "-w", small, "--compare", tmp_path / "part", "all", "--json").json["b"]["replies"] == 6
    cli("audit", "-w", small, "--compare", 2, 1, "--gate", code=1)
    cli("audit", "-w", small, "--compare", 1, 2, "--gate")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "1/2"), "--to"),
        (("--shard", "3/2", "--to", "p"), "i/n"),
        (("--merge",), "--merge takes"),
        (("part",), "only after --merge"),
        (("--merge", "nowhere"), "cannot be read"),
        (("--merge", "."), "cannot be read"),
        (("--merge", "p", "--batch", "1"), "leave out"),
        (("--compare", "1", "2", "--approved"), "leave out"),
        (("--compare", "all", "nothing"), "no batch and no file"),
        (("--to", "nowhere/part"), "no such folder"),
        (("--batch", "9" * 30), "no batch"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(small, cli, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    cli("audit", "-w", small, *options, code=2).says(said)


def test_the_same_part_twice_is_refused(small, tmp_path, bring, cli):
    bring(records(*plain(2)))
    cli("audit", "-w", small, "--to", tmp_path / "part")
    cli("audit", "--merge", tmp_path / "part", tmp_path / "part", code=2).says("1-1", "in two parts")


@pytest.mark.parametrize(
    "texts",
    [
        ["\x1b[31m[/foo]\u202e evil \x07"] * 3, ["听起来真的很难。"] * 3, [""] * 3, ["", "one two three"],
        ["😀" * 40] * 2, ["one reply"], ["nul \x00 byte", "{{x}} %s"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("user", ["", "hello there"])
def test_any_text_is_reported_safely(small, bring, cli, texts, user):
    bring(records(*texts, user=user))
    for command in ("audit", "analyse", "coverage"):
        shown = cli(command, "-w", small)
        assert "\x1b" not in shown.out and "\u202e" not in shown.out
        assert cli(command, "-w", small, "--json").json


def test_an_empty_workspace_is_reported_too(small, cli):
    found = cli("audit", "-w", small, "--json").json
    assert (found["replies"], found["gate"]["passed"]) == (0, None)
    for command, said in (("audit", "no reply"), ("analyse", "loopreview assess"), ("coverage", "loopreview generate")):
        assert said in cli(command, "-w", small).out


def test_a_judged_batch_is_analysed(small, cli):
    cli("generate", "-w", small, "--seed", 7, "--count", 6)
    cli("assess", "-w", small)
    found = cli("analyse", "-w", small, "--json").json
    status = cli("status", "-w", small, "--json").json["batches"][0]
    assert (found["passed"], found["failed"], found["unscored"]) == (
        status["passed"],
        status["failed"],
        status["unscored"],
    )
    assert {row["criterion"] for row in found["criteria"]} == {"H1", "T1", "S1"}
    assert found["fixable"] + found["systemic"] == found["failed"] == len(found["failing"])
    assert cli("analyse", "-w", small, "--batch", 1, "--json").json["transcripts"] == 6
    assert "criteria, most failed first" in cli("analyse", "-w", small).out
    assert "no batch 9" in cli("analyse", "-w", small, "--batch", 9, code=2).err


def test_coverage_shows_what_was_asked_drawn_and_approved(small, cli):
    cli("generate", "-w", small, "--seed", 7, "--count", 6)
    cli("review", "approve", "1-1", "-w", small, "--reviewer", "ada")
    found = cli("coverage", "-w", small, "--json").json
    assert found["transcripts"] == {"generated": 6, "imported": 0, "approved": 1}
    parts = {part["kind"]: part for part in found["parts"]}
    topics = parts["topic"]["rows"]
    assert sum(row["asked"] for row in topics) == pytest.approx(1)
    assert sum(row["drawn"] for row in topics) == parts["topic"]["drawn"] >= 12, "two to four topics each"
    assert parts["age range"]["approved"] == 1
    assert any(row["kind"] == "age range" for row in found["missing"])
    assert "asked" in cli("coverage", "-w", small).out


def test_starting_the_command_line_loads_none_of_the_libraries():
    code = (
        "import sys; import loopreview.cli.audit;"
        "sys.exit(any(name in sys.modules for name in ('rensa', 'py3langid', 'numpy', 'pydantic', 'sqlite_utils')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False).returncode == 0
