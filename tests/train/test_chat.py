"""`loopreview chat`: real runs of both backends, served by real servers, asked through the client."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import Cli
from tests.train.made import make_export

from loopreview.formats.exported import Exported
from loopreview.runs import Run, listed
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.train.plan import read_plan
from loopreview.train.prompt import Prompt
from loopreview.train.rows import IGNORED, read_rows
from loopreview.train.serve import SIDES

pytestmark = pytest.mark.train
ANSWER = "It comes on Monday."
WORDS = "Case 3, question 0: where is my parcel, which I ordered 6 days ago?"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of each backend, trained at once, that learned one answer."""
    root = tmp_path_factory.mktemp("chat") / "workspace"
    make_export(root, tiny_model, count=10, answer=ANSWER)
    settings = ("learning_rate=0.01", "dropout=0", "batch=4", "accumulation=1", "patience=0", "eval_steps=50",
                "save_steps=50", "gradient_checkpointing=false", "targets=q_proj,v_proj,o_proj,up_proj,down_proj",
                "adapter=lora")  # fmt: skip
    jobs = []
    for backend in ("cuda", "mlx"):
        command = [sys.executable, "-m", "loopreview", "train", "start", "-w", str(root), "--base", str(tiny_model),
                   "--backend", backend, "--epochs", "8", "--yes"]  # fmt: skip
        state = str(tmp_path_factory.mktemp("state"))
        environment = {**os.environ, **ENVIRONMENT, "XDG_STATE_HOME": state}
        command += [f"--set={pair}" for pair in settings]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for job in jobs:
        said = job.communicate()[1]
        assert job.returncode == 0, said
    return root


def run_of(root: Path, backend: str) -> Run:
    return next(run for run in listed(root) if read_plan(run.plan_file).backend == backend)


@pytest.fixture(params=["cuda", "mlx"])
def run(request: pytest.FixtureRequest, trained: Path) -> Run:
    return run_of(trained, request.param)


def test_the_tuned_model_says_what_it_learned_and_the_base_does_not(run: Run, cli: Cli, tmp_path: Path) -> None:
    root = run.folder.parent.parent
    found = cli("chat", run.id, "--say", WORDS, "--say", "Thanks.", "--max-tokens", 16, "-w", root, "--json")
    said = found.json
    assert said["run"] == run.id and said["system"] == "You help customers."
    assert said["base"]["model"] and said["tuned"]["model"] != said["base"]["model"]
    assert [turn["user"] for turn in said["turns"]] == [WORDS, "Thanks."]
    first = said["turns"][0]
    assert first["tuned"].startswith("It") and first["base"] != first["tuned"]
    assert set(first["seconds"]) == set(SIDES) and all(seconds > 0 for seconds in first["seconds"].values())
    assert "template" not in found.err  # the server saw as many tokens as the training's form has


def test_the_prompt_has_the_ids_that_were_trained_on(run: Run) -> None:
    plan = read_plan(run.plan_file)
    prompt = Prompt(ChatTokenizer.load(Path(plan.base)))
    rows = Exported.open(plan.data.folder).rows("train")
    for trained_on, readable in zip(read_rows(plan.data.tokens / "train.jsonl"), rows, strict=True):
        before = next(place for place, label in enumerate(trained_on.labels) if label != IGNORED)
        assert prompt.ids(readable["messages"][:-1]) == list(trained_on.ids[:before])


def descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def talking(root: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """A chat with the mlx run that was told one line and has answered it, and waits for the next."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loopreview", "chat", run_of(root, "mlx").id, "-w", str(root), "--max-tokens", "8",
         *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **ENVIRONMENT, **environment},
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(f"{WORDS}\n")
    process.stdin.flush()
    assert "tuned · r" in process.stdout.readline()
    return process


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_no_server_outlives_a_chat_that_is_killed(trained: Path) -> None:
    with talking(trained, "--only", "tuned") as process:
        servers = descendants(process.pid)
        assert len(servers) >= 2  # the server, and the one who watches it
        process.kill()
    until = time.monotonic() + 10
    while (left := {pid for pid in servers if Path(f"/proc/{pid}/cmdline").exists()}) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def test_typed_lines_commands_what_is_saved_and_ctrl_c(trained: Path, tmp_path: Path, cli: Cli) -> None:
    saved = tmp_path / "talk.jsonl"
    # Nobody listens on port 9: what asked a proxy for our own loopback would fail.
    process = talking(
        trained, "--temperature", "1.5", "--system", "none", COLUMNS="120", http_proxy="http://127.0.0.1:9"
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(f"\n/again\n/nonsense\n/save {saved}\n/save {saved}\n/reset\n/save {tmp_path / 'none.jsonl'}\n")
    process.stdin.flush()
    narrated = ""
    while "nothing to save yet" not in narrated:
        line = process.stderr.readline()
        assert line, narrated
        narrated += line
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.count("base · ") == 1 and out.count("│ tuned · r") == 1  # and once before
    assert not any(ord(char) < 32 and char != "\n" for char in out)
    for said in ("/nonsense: no such command", "2 conversations", "not saved (File exists)"):
        assert said in narrated
    records = [json.loads(line) for line in saved.read_text(encoding="utf-8").splitlines()]
    assert [[message["role"] for message in record["messages"]] for record in records] == [["user", "assistant"]] * 2
    assert all(record["messages"][0]["content"] == WORDS for record in records)
    workspace = tmp_path / "workspace"
    cli("init", workspace)
    assert len(cli("import", saved, "-w", workspace, "--json").json["imported"]) == 2


def test_a_run_that_is_not_done_is_refused_in_a_line(trained: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "runs" / "r7-half"
    folder.mkdir(parents=True)
    (folder / "plan.yaml").write_bytes(run_of(trained, "cuda").plan_file.read_bytes())
    cli("chat", "r7", "-w", tmp_path, code=2).says("r7-half: is planned, not done")
    (folder / "events.jsonl").write_text('{"event": "failed", "at": 1, "reason": "out of memory"}\n')
    cli("chat", "-w", tmp_path, code=2).says("r7-half: is failed, not done", "out of memory")


def test_a_base_with_another_template_is_refused(trained: Path, tiny_model: Path, cli: Cli) -> None:
    template = tiny_model / "chat_template.jinja"
    before = template.read_text(encoding="utf-8")
    template.write_text(before.replace("assistant\\n", "assistant: "), encoding="utf-8")
    try:
        cli("chat", run_of(trained, "mlx").id, "--say", "Hi", "-w", trained, code=1).says(
            "not the one that the run was trained with"
        )
    finally:
        template.write_text(before, encoding="utf-8")
