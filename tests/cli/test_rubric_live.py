"""Changing a rubric: versions, differences, and what an edit flips against people's labels."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loopreview.rules.statistics import mcnemar_exact

OLD = "Does each reply address every topic the user raised?"
NEW = "Does a later reply come back to what the user raised earlier and left unfinished, or remember it?"
JUDGES = ["strict", "balanced", "lenient"]
IDS = ["1-1", "1-2", "1-3", "1-4"]


@pytest.fixture
def judged(small, cli, once) -> Path:
    """Four judged transcripts; a person has answered H1 on the first three."""

    def fill() -> None:
        settings = small / "loopreview.toml"
        longer = settings.read_text(encoding="utf-8").replace("exchanges = [2, 3]", "exchanges = [4, 4]")
        settings.write_text(longer, encoding="utf-8")
        cli("generate", "-w", small, "--seed", 7, "--count", 4, "--assess")
        for id, answer in zip(IDS, ("yes", "no", "no"), strict=False):
            cli("review", "answer", id, "H1", answer, "--reviewer", "ann", "-w", small)

    return once(small, fill)


def edit(root: Path, old: str = OLD, new: str = NEW) -> None:
    path = root / "rubrics" / "rubric.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def answers(cli, root: Path, criterion: str = "H1") -> dict[str, dict[str, str]]:
    """transcript → judge → the answer that counts."""
    found = {}
    for id in IDS:
        rows = cli("show", "-w", root, id, "--json").json["criteria"]
        found[id] = next(row for row in rows if row["id"] == criterion)["answers"]
    return found


def trial(cli, root: Path, *options: object) -> dict:
    return cli("rubric", "test", "H1", "-w", root, "--json", *options).json


def test_flips_are_counted_against_the_labels_as_fixed_broken_and_kept(judged, cli):
    before = answers(cli, judged)
    edit(judged)
    found = trial(cli, judged)
    cli("assess", "-w", judged)
    after = answers(cli, judged)
    assert before != after, "the new question asks something else"
    truth = {"1-1": "YES", "1-2": "NO", "1-3": "NO"}
    expected: dict[str, list] = {"fixed": [], "broken": [], "kept": []}
    for id, right in truth.items():
        for judge in JUDGES:
            was, now = before[id][judge] == right, after[id][judge] == right
            expected["fixed" if now > was else "broken" if was > now else "kept"].append((id, judge))
    for name, places in expected.items():
        assert sorted((flip["transcript"], flip["backend"]) for flip in found[name]) == sorted(places), name
    (row,) = found["criteria"]
    assert row["labelled"] == 3 and row["waiting"] == 0 and row["unlike"] == 0
    for judge in row["judges"][:-1]:
        own = [len([place for place in expected[name] if place[1] == judge["backend"]]) for name in expected]
        assert [judge["fixed"], judge["broken"], judge["kept"]] == own
        assert judge["p"] == mcnemar_exact(own[0], own[1])
    assert [judge["backend"] for judge in row["judges"]] == [*JUDGES, "merged"]
    assert row["old"]["question"] == OLD and row["new"]["question"] == NEW


def test_answers_that_changed_without_a_label_are_neither_fixed_nor_broken(judged, cli):
    before = answers(cli, judged)
    edit(judged)
    found = trial(cli, judged)
    (row,) = found["criteria"]
    cli("assess", "-w", judged)
    after = answers(cli, judged)
    assert row["fresh"] == ["1-4"]
    moved = {judge for judge in JUDGES if before["1-4"][judge] != after["1-4"][judge]}
    assert {flip["backend"] for flip in row["moved"]} == moved
    assert all(flip["truth"] is None for flip in row["moved"])
    assert "1-4" not in {flip["transcript"] for name in ("fixed", "broken", "kept") for flip in found[name]}


def test_calls_come_first_and_are_made_once(judged, cli):
    edit(judged)
    dry = trial(cli, judged, "--dry-run")
    assert dry["calls"] == 4 * 3 and dry["cost_usd"] == 0
    assert dry["fixed"] == dry["broken"] == dry["kept"] == [] and dry["criteria"][0]["waiting"] == 12
    assert trial(cli, judged, "--dry-run")["calls"] == 12, "looking costs nothing"
    assert trial(cli, judged)["calls"] >= 12
    assert trial(cli, judged)["calls"] == 0
    assert trial(cli, judged, "--fresh", 0, "--dry-run")["criteria"][0]["fresh"] == []


def test_what_a_test_asked_is_not_asked_again_and_going_back_asks_nothing(judged, cli):
    before = answers(cli, judged)
    edit(judged)
    trial(cli, judged)
    assert cli("assess", "-w", judged, "--dry-run", "--json").json["calls"] == 0
    edit(judged, NEW, OLD)
    assert cli("assess", "-w", judged, "--dry-run", "--json").json["calls"] == 0
    assert answers(cli, judged) == before


def test_both_wordings_are_asked_in_the_same_group_without_moving_what_counts(judged, cli):
    edit(judged)
    cli("assess", "-w", judged, "--only", "H1")
    counting = answers(cli, judged)
    dry = trial(cli, judged, "--dry-run")
    assert dry["criteria"][0]["unlike"] == 12, "the old wording was asked together with S1, the new one alone"
    found = trial(cli, judged)
    assert found["criteria"][0]["unlike"] == 0 and found["criteria"][0]["waiting"] == 0
    assert answers(cli, judged) == counting


def test_how_steady_a_judge_is_stays_unknown_until_it_was_asked_twice(judged, cli):
    edit(judged)
    found = trial(cli, judged)
    assert [judge["retest"] for judge in found["criteria"][0]["judges"]] == [None] * 4
    counting = answers(cli, judged)
    dry = trial(cli, judged, "--retest", "--dry-run")
    assert dry["calls"] == 12
    twice = trial(cli, judged, "--retest")["criteria"][0]["judges"]
    assert [judge["retest"]["n"] for judge in twice[:-1]] == [4, 4, 4] and twice[-1]["retest"] is None
    assert all(0 <= judge["retest"]["same"] <= 4 for judge in twice[:-1])
    assert trial(cli, judged, "--retest")["calls"] == 0
    assert answers(cli, judged) == counting


def test_without_a_name_the_criteria_of_the_last_edit_are_tested(judged, cli):
    edit(judged)
    edit(judged, "Is every piece of advice safe to follow?", "Is all advice safe?")
    found = cli("rubric", "test", "-w", judged, "--json").json
    assert [row["criterion"] for row in found["criteria"]] == ["H1", "S1"]
    assert found["criteria"][1]["labelled"] == 0 and found["criteria"][1]["judges"][0]["p"] is None


def test_an_added_example_is_tested_like_a_new_wording_but_not_where_it_came_from(judged, cli):
    added = ("--response", "Call the bank.", "--reasoning", "It names the step.", "--transcript", "1-2")
    cli("examples", "add", "H1", "pass", *added, "-w", judged)
    found = trial(cli, judged)
    assert found["criteria"][0]["old"]["examples"] == 0 and found["criteria"][0]["new"]["examples"] == 1
    assert {flip["transcript"] for name in ("fixed", "broken", "kept") for flip in found[name]} == {"1-1", "1-3"}


def test_one_persons_labels_or_the_majority(judged, cli):
    for reviewer in ("bob", "cleo"):
        cli("review", "answer", "1-1", "H1", "no", "--reviewer", reviewer, "-w", judged)
    edit(judged)

    def truth_of(*options: object) -> set[str]:
        found = trial(cli, judged, *options)
        return {f["truth"] for name in ("fixed", "broken", "kept") for f in found[name] if f["transcript"] == "1-1"}

    assert truth_of() == {"NO"}
    assert truth_of("--reviewer", "ann") == {"YES"}


def test_an_earlier_version_can_be_named(judged, cli):
    edit(judged)
    cli("assess", "-w", judged)
    edit(judged, NEW, "Is the reply short?")
    first, second = [row["version"] for row in cli("rubric", "history", "-w", judged, "--json").json["versions"]][:2]
    assert trial(cli, judged, "--dry-run")["criteria"][0]["old"]["version"] == second
    assert trial(cli, judged, "--dry-run", "--against", first[:6])["criteria"][0]["old"]["question"] == OLD
    cli("rubric", "test", "H1", "--against", "ffff", "-w", judged, code=2).says("ffff", "rubric history")


def test_what_cannot_be_tested_is_said_in_one_line(judged, cli):
    cli("rubric", "test", "H1", "-w", judged, code=2).says("H1", "no earlier wording")
    cli("rubric", "test", "-w", judged, code=2).says("one version only")
    cli("rubric", "test", "T1", "-w", judged, code=2).says("T1", "code")
    cli("rubric", "test", "H9", "-w", judged, code=2).says("no criterion H9", "H1")
    text = (judged / "loopreview.toml").read_text(encoding="utf-8")
    (judged / "loopreview.toml").write_text(text.partition("# Each judge")[0], encoding="utf-8")
    edit(judged)
    cli("rubric", "test", "H1", "-w", judged, code=2).says("no judge is configured")


class _Babbling(BaseHTTPRequestHandler):
    """A server whose model never answers in JSON."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = {"role": "assistant", "content": "I would rather not say."}
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
             "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
             "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def babbling() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Babbling)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def test_a_judge_that_gives_no_usable_answer_is_an_error_and_asked_again(judged, cli, babbling):
    settings = judged / "loopreview.toml"
    text = settings.read_text(encoding="utf-8")
    lenient = 'model = "offline/judge-lenient"'
    assert lenient in text
    settings.write_text(
        text.replace(lenient, f'model = "openai/m"\napi_base = "{babbling}"\nprice = {{input = 1, output = 1}}'),
        encoding="utf-8",
    )
    edit(judged)
    found = cli("rubric", "test", "H1", "-w", judged, "--json", code=3)
    found.says("the same command asks them again")
    document = json.loads(found.out)
    assert {error["backend"] for error in document["errors"]} == {"lenient"} and len(document["errors"]) == 8
    (row,) = document["criteria"]
    numbers = {judge["backend"]: judge["n"] for judge in row["judges"]}
    assert numbers == {"strict": 3, "balanced": 3, "lenient": 0, "merged": 0}
    assert trial(cli, judged, "--dry-run")["calls"] == 8


def test_history_tells_when_what_and_how_many_passed(judged, cli):
    before = cli("assess", "-w", judged, "--json").json["transcripts"]
    edit(judged)
    after = cli("assess", "-w", judged, "--json").json["transcripts"]
    first, second = cli("rubric", "history", "-w", judged, "--json").json["versions"]
    for row, stood in ((first, before), (second, after)):
        passed = [transcript["judged"] for transcript in stood]
        assert (row["n"], row["passed"]) == (4, sum(passed))
        assert row["judged_pass_rate"] == sum(passed) / 4
        assert row["at"].startswith("20")
    assert first["changed"] == [] and second["changed"] == [{"criterion": "H1", "change": "reworded"}]
    assert (first["now"], second["now"]) == (False, True)


def test_a_version_that_was_not_judged_has_no_rate(judged, cli):
    edit(judged)
    *_, now = cli("rubric", "history", "-w", judged, "--json").json["versions"]
    assert now["now"] and now["at"] is None and now["judged_pass_rate"] is None and now["n"] == 0


def test_history_names_every_kind_of_change(judged, cli):
    edit(judged, "help: {weight: 0.6}", "help: {weight: 0.5, floor: 0.5}")
    edit(judged, "tone: {weight: 0.4}", "tone: {weight: 0.5}")
    edit(judged, "    na: invalid\n  - id: T1\n    name: No question at every end\n", "  - id: T9\n    name: Endings\n")
    *_, now = cli("rubric", "history", "-w", judged, "--json").json["versions"]
    assert {(change["criterion"], change["change"]) for change in now["changed"]} == {
        ("T9", "added"), ("T1", "removed"), ("", "categories"), ("H1", "NA rule"),
    }  # fmt: skip


def test_every_prompt_version_is_kept_as_it_was_with_its_pass_rate(judged, cli):
    prompt = judged / "prompts" / "assistant.md"
    first = prompt.read_bytes()
    folder = judged / "prompt_versions"
    assert [path.read_bytes() for path in folder.glob("assistant-1-*.md")] == [first], "written with the batch"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "\nNever end with a question.\n", encoding="utf-8")
    cli("generate", "-w", judged, "--seed", 8, "--count", 2, "--assess")
    rows = cli("rubric", "history", "-w", judged, "--json").json["prompts"]
    mine = [row for row in rows if row["role"] == "assistant"]
    assert [(row["number"], row["batches"], row["now"]) for row in mine] == [(1, [1], False), (2, [2], True)]
    batches = cli("status", "-w", judged, "--json").json["batches"]
    assert [row["pass_rate"] for row in mine] == [batch["pass_rate"] for batch in batches]
    assert Path(mine[0]["file"]).read_bytes() == first and Path(mine[1]["file"]).read_bytes() == prompt.read_bytes()
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert all(row["version"][:8] in index and Path(row["file"]).name in index for row in rows)


def test_what_a_person_wrote_into_a_kept_prompt_is_left_alone(judged, cli):
    (kept,) = (judged / "prompt_versions").glob("system-1-*.md")
    kept.write_text("my notes", encoding="utf-8")
    cli("rubric", "history", "-w", judged)
    assert kept.read_text(encoding="utf-8") == "my notes"


def test_diff_takes_the_first_digits_and_now(judged, cli):
    first = cli("rubric", "history", "-w", judged, "--json").json["versions"][0]["version"]
    edit(judged)
    found = cli("rubric", "diff", first[:6], "now", "-w", judged, "--json").json
    lines = found["diff"].split("\n")
    assert f"-    question: {OLD}" in lines and f"+    question: {NEW}" in lines and not found["same"]
    assert cli("rubric", "diff", "now", first, "-w", judged).out.count("question: ") == 2
    same = cli("rubric", "diff", first, first, "-w", judged)
    assert same.out == "" and "same" in same.err


def test_diff_of_prompts_and_of_what_is_not_there(judged, cli):
    rows = cli("rubric", "history", "-w", judged, "--json").json["prompts"]
    version = {row["role"]: row["version"] for row in rows}
    (judged / "prompts" / "system.md").write_text("Be brief.\n", encoding="utf-8")
    found = cli("rubric", "diff", version["system"], "now", "-w", judged, "--json").json
    assert found["kind"] == "system" and "+Be brief." in found["diff"].split("\n")
    cli("rubric", "diff", version["system"], version["assistant"], "-w", judged, code=2).says("system", "assistant")
    cli("rubric", "diff", "zzzz", "now", "-w", judged, code=2).says("zzzz", "rubric history")
    assert "no rubric or prompt" in cli("rubric", "diff", "", "now", "-w", judged, code=2).err
