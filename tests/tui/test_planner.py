"""The planner: what an export would write, and each example as the model will see it."""

import io
import json
import random
import runpy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopreview import review
from loopreview.dataset.examples import Wanted
from loopreview.dataset.export import export
from loopreview.models.errors import UserError
from loopreview.models.transcript import Message
from loopreview.tokens.hub import load
from loopreview.tui.planner import Planner, last_export, lit_spans, serve
from loopreview.tui.planning import Planning
from loopreview.workspace import Workspace

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "examples" / "tiny_tokenizer.py"))["build"]
WORDS = (
    "lamp", "order", "letter", "friday", "mother", "phone", "square", "answer", "garden", "river", "bread", "window",
)  # fmt: skip


def talk(number: int, exchanges: int) -> list[Message]:
    """Words drawn for this talk, so that no two are near duplicates."""
    draw = random.Random(number)
    found = []
    for n in range(1, exchanges + 1):
        said = [" ".join(draw.choices(WORDS, k=12)) for _ in range(2)]
        found.append(Message(role="user", text=f"Question {n} of {number}: {said[0]}?"))
        found.append(Message(role="assistant", text=f"Reply {n} of {number}: {said[1]}."))
    return found


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def workspace(make_workspace: Any) -> Workspace:
    """Six transcripts of 3 to 18 exchanges, the first five approved, one of these with a marked reply."""
    talks = [talk(n, exchanges) for n, exchanges in enumerate((9, 14, 3, 18, 2, 9), 1)]
    made: Workspace = make_workspace([{}] * 6, messages=talks, max_tokens=1500)
    for n in range(1, 6):
        review.record(made, "approve", reviewer="ann", transcript=f"1-{n}")
    review.record(
        made, "mark", reviewer="ann", transcript="1-1", data={"exchange": 9, "better": "Better: garden bread."}
    )
    settings = (made.root / "loopreview.toml").read_text(encoding="utf-8")
    (made.root / "loopreview.toml").write_text(f"max_tokens = 1500\n{settings}", encoding="utf-8")
    return made


def plan_of(planner: Planner, tokenizer: str = "", **wanted: Any) -> dict[str, Any]:
    *_, found = planner.plan(Wanted(**wanted), tokenizer)
    return found


@pytest.mark.parametrize("wanted", [{}, {"supervise": "all_replies"}, {"kind": "kto"}])
@pytest.mark.parametrize("named", [True, False])
def test_the_plan_is_what_the_export_then_writes(
    workspace: Workspace, tiny: str, tmp_path: Path, wanted: dict[str, Any], named: bool
) -> None:
    found = plan_of(Planner(workspace), tiny if named else "", **wanted)
    written = export(workspace, Wanted(**wanted), to=tmp_path / "out", tokenizer=load(tiny) if named else None)
    lines = [json.loads(line) for line in (tmp_path / "out" / "lineage.jsonl").read_text(encoding="utf-8").splitlines()]
    planned = {
        (id, split, exchange, tokens, label)
        for id, split, own in found["rows"]
        for _, exchange, tokens, _, label in own
    }
    assert planned == {(r["transcript"], r["split"], r["exchange"], r["tokens"], r.get("label")) for r in lines}
    assert found["counts"] == written["left_out_counts"] and found["problem"] == ""
    assert sum(row[3] for _, _, own in found["rows"] for row in own) == (written["supervised_tokens"] or 0)
    assert (found["transcripts"], found["chosen"]) == (6, 5)


def test_what_is_over_the_limit_and_undecided_is_counted(workspace: Workspace, tiny: str) -> None:
    found = plan_of(Planner(workspace), tiny)
    assert found["limit"] == 1500 and found["counts"]["over max_tokens"] >= 1
    assert found["counts"]["not decided"] == 1
    assert all(why != "not decided" for _, _, why, _ in found["left_out"])
    assert all(row[2] <= 1500 for _, _, own in found["rows"] for row in own)


def test_too_few_groups_are_a_problem_of_the_plan_and_not_its_end(make_workspace: Any) -> None:
    made = make_workspace([{}], messages=[talk(1, 9)])
    review.record(made, "approve", reviewer="ann", transcript="1-1")
    found = plan_of(Planner(made))
    assert "2 more are missing" in found["problem"]
    assert [split for _, split, _ in found["rows"]] == [None]


def test_nothing_at_all_is_a_plan_too(tmp_path: Path) -> None:
    from loopreview.workspace import init

    with Workspace.open(init(tmp_path / "empty")) as empty:
        found = plan_of(Planner(empty))
    assert (found["transcripts"], found["chosen"], found["rows"], found["problem"]) == (0, 0, [], "")


def test_a_second_look_makes_only_what_changed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopreview.tui import planner as module

    planner, seen = Planner(workspace), []
    real = module.read
    monkeypatch.setattr(module, "read", lambda store, chosen: seen.append(chosen.id) or real(store, chosen))
    first = plan_of(planner)
    assert len(seen) == 5
    review.record(workspace, "approve", reviewer="ann", transcript="1-6")
    review.record(workspace, "reject", reviewer="bob", transcript="1-2")
    second = plan_of(planner)
    assert seen[5:] == ["1-6"]
    assert {row[0] for row in first["rows"]} - {row[0] for row in second["rows"]} == {"1-2"}
    assert second == {**plan_of(Planner(workspace)), "seconds": second["seconds"]}


def lit(part: dict[str, Any]) -> list[str]:
    return [part["text"][start:end] for start, end in part["lit"]]


def test_the_lit_part_is_the_reply_and_what_ends_its_turn(workspace: Workspace, tiny: str) -> None:
    planner = Planner(workspace)
    plan_of(planner, tiny)
    found = planner.example("1-2", 0)
    (part,) = found["parts"]
    assert lit(part) == [talk(2, 14)[5].text + "<|im_end|>"]
    assert part["text"].startswith("<|im_start|>system\n") and found["rendered"] and found["exchange"] == 3
    assert found["tokens"] == len(load(tiny).encode(part["text"]))


def test_every_unmarked_reply_is_lit_where_all_are_supervised(workspace: Workspace, tiny: str) -> None:
    planner = Planner(workspace)
    plan_of(planner, tiny, supervise="all_replies")
    (part,) = planner.example("1-1", 0)["parts"]
    assert [text.split(":")[0] for text in lit(part)] == [f"Reply {n} of 1" for n in range(1, 9)]
    assert "Reply 9 of 1" in part["text"]


@pytest.mark.parametrize("named", [True, False])
def test_both_replies_of_a_pair_are_given(workspace: Workspace, tiny: str, named: bool) -> None:
    planner = Planner(workspace)
    plan_of(planner, tiny if named else "", kind="dpo")
    better, worse = planner.example("1-1", 0)["parts"]
    assert (better["title"], worse["title"]) == ("the better reply", "the worse reply")
    assert lit(better)[0].startswith("Better: garden") and lit(worse)[0].startswith("Reply 9 of 1")


def test_without_a_tokenizer_messages_stand_under_their_roles(workspace: Workspace) -> None:
    planner = Planner(workspace)
    plan_of(planner)
    found = planner.example("1-2", 0)
    (part,) = found["parts"]
    assert not found["rendered"] and found["tokens"] is None
    assert lit(part) == [talk(2, 14)[5].text] and "\n\nuser\nQuestion 1 of 2" in part["text"]


def test_the_base_model_is_the_tokenizer_where_none_is_named(workspace: Workspace, tiny: str) -> None:
    file, planner = workspace.root / "loopreview.toml", Planner(workspace)
    named, without = plan_of(planner, tiny), plan_of(planner)
    assert named["tokenizer"]["name"] == Path(tiny).name and without["tokenizer"] is None
    file.write_text(f'base_model = "{tiny}"\n{file.read_text(encoding="utf-8")}', encoding="utf-8")
    for given, expected in (("", named), ("none", without), (tiny, named)):
        assert {**plan_of(planner, given), "seconds": 0} == {**expected, "seconds": 0}


def test_an_example_that_is_gone_is_an_error_in_a_line(workspace: Workspace) -> None:
    planner = Planner(workspace)
    plan_of(planner)
    for id, at in (("1-6", 0), ("9-9", 0), ("1-2", 99)):
        with pytest.raises(UserError, match="r looks again"):
            planner.example(id, at)


def test_spans_are_joined_where_tokens_follow_each_other() -> None:
    reach = [(0, 2), (2, 5), (5, 6), (6, 9), (9, 10)]
    assert lit_spans(reach, [-100, 7, 7, -100, 7]) == [(2, 6), (9, 10)]
    assert lit_spans(reach, [7]) == [], "other tokens than those shown light nothing"


def test_the_last_export_is_the_newest_that_can_be_read(workspace: Workspace) -> None:
    root = workspace.root
    assert last_export(root) is None
    made = export(workspace, Wanted())
    (root / "exports" / "broken").mkdir()
    found = last_export(root)
    assert found is not None and found["dataset"] == made["dataset"] and found["examples"] == made["examples"]
    (root / "exports" / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    assert last_export(root) == found


def test_requests_are_answered_by_number_and_an_error_does_not_end_it(workspace: Workspace) -> None:
    asked = {"ask": "plan", "tokenizer": "", "kind": "sft", "form": "trl", "supervise": "last_reply"}
    told = io.StringIO()

    def requests() -> Iterator[str]:
        yield json.dumps({"id": 1, **asked, "tokenizer": "./nowhere"})
        while '"error"' not in told.getvalue():
            time.sleep(0.01)
        yield json.dumps({"id": 2, "ask": "example", "transcript": "1-1", "at": 0})
        yield json.dumps({"id": 3, **asked, "kind": "kto", "form": "mlx"})
        while '"id": 3' not in told.getvalue():
            time.sleep(0.01)
        yield json.dumps({"id": 4, **asked})
        while '"plan"' not in told.getvalue():
            time.sleep(0.01)

    serve(Planner(workspace), requests(), told)
    answers = [json.loads(line) for line in told.getvalue().splitlines()]
    last = {answer["id"]: answer for answer in answers}
    assert "no such folder" in last[1]["why"] and last[2]["answer"] == "error"
    assert "does not come as mlx" in last[3]["why"] and last[4]["answer"] == "plan"


def wait(planning: Planning, heard: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        planning.look()
        for answer in heard:
            if answer["answer"] == kind:
                return answer
        time.sleep(0.05)
    raise AssertionError(f"no {kind} in {heard}")


def test_the_process_answers_and_is_started_anew_after_its_end(workspace: Workspace, tiny: str) -> None:
    heard: list[dict[str, Any]] = []
    planning = Planning(workspace.root, heard.append)
    wanted = {"kind": "sft", "form": "trl", "supervise": "last_reply"}
    try:
        number = planning.ask(ask="plan", tokenizer=tiny, **wanted)
        found = wait(planning, heard, "plan")
        assert found["id"] == number and found["chosen"] == 5
        process = planning._process
        assert process is not None
        process.kill()
        process.wait()
        heard.clear()
        assert "ended" in wait(planning, heard, "error")["why"]
        planning.ask(ask="plan", tokenizer="", **wanted)
        assert wait(planning, heard, "plan")["tokenizer"] is None
    finally:
        planning.close()


def test_a_workspace_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    planning = Planning(tmp_path / "nowhere", heard.append)
    try:
        planning.ask(ask="example", transcript="1-1", at=0)
        assert "no workspace here" in wait(planning, heard, "error")["why"]
    finally:
        planning.close()
