"""Servers that end with us, the prompt that a server has to be made to see, and answers in columns."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest

from loopreview.cli.columns import beside, cells, wrapped
from loopreview.models.errors import UserError
from loopreview.models.training import Data, Plan
from loopreview.tokens import tiny
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.train import serve
from loopreview.train.chat import Chat
from loopreview.train.prompt import Prompt, check_tokenizer, trained_system, unknown_end
from loopreview.train.serve import SIDES, Served, Server, quantised_base, serving
from loopreview.train.watched import link

# What a model server does for us, without a model: it answers /health, and everything else with what it was started in.
SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = {"pid": os.getpid(), "cwd": os.getcwd(), "files": sorted(os.listdir("base")), "env": dict(os.environ)}
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(said).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
THINKING = """\
{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{{- message['content'] + '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
DATED = """\
{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}
{{- '<|im_start|>date\\n' + date_string + '<|im_end|>\\n' }}""" + tiny.TEMPLATE  # fmt: skip
NO_SYSTEM = (
    """\
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}"""
    + tiny.TEMPLATE
)


def plan(tmp_path: Path, backend: str = "cuda", **more: object) -> Plan:
    data = Data(folder=tmp_path, hash="h", tokens=tmp_path, tokenizer="t", train=1, valid=0)
    return Plan(backend=backend, device="cpu", base=str(tmp_path), max_length=9, data=data, **more)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tiny.build(tmp_path / "model@home")
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    return folder


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_command", lambda plan, port: [sys.executable, "-c", SERVER, str(port)])


def get(api_base: str) -> dict[str, object]:
    with urllib.request.urlopen(api_base, timeout=5) as reply:
        found: dict[str, object] = json.loads(reply.read())
        return found


def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True  # nobody asked for its exit code yet
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_runs_offline_among_links_and_ends_with_the_block(
    model: Path, tmp_path: Path, stub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(model, plan(tmp_path), tmp_path, model, log=tmp_path / "log") as served:
        monkeypatch.delenv("http_proxy")
        assert served.api_base.startswith("http://127.0.0.1:") and not served.one_at_a_time
        said = get(served.api_base)
        assert said["env"]["HF_HUB_OFFLINE"] == "1" and said["env"]["HF_HUB_DISABLE_TELEMETRY"] == "1"  # type: ignore[index]
        assert "model.safetensors" in said["files"] and "tokenizer.json" in said["files"]  # type: ignore[operator]
        assert "@" not in str(said["cwd"])  # transformers serve takes what follows it for a revision
    assert gone(int(str(said["pid"]))) and not Path(str(said["cwd"])).exists()


def test_both_models_at_once_only_where_they_fit(model: Path, tmp_path: Path, stub: None) -> None:
    for free, alone in ((10**6, False), (239, True)):
        with serving(model, plan(tmp_path), tmp_path, model, log=tmp_path / "log", free=free) as served:
            assert served.one_at_a_time is alone


@pytest.mark.parametrize("killed", ["the one who asked", "the one who watches"])
def test_a_kill_leaves_no_server_behind(model: Path, tmp_path: Path, killed: str) -> None:
    if killed == "the one who watches" and sys.platform != "linux":
        pytest.skip("the kernel's help is Linux's")
    holder = f"""
import sys, time
from pathlib import Path
from loopreview.train import serve
from loopreview.train.chat import Chat
from loopreview.train.serve import Server
port = serve._free_port()
server = Server([sys.executable, "-c", {SERVER!r}, str(port)], {{"base": Path({str(model)!r})}}, Path({str(model)!r}),
                Path({str(tmp_path / "log")!r}))
server.wait_until_it_answers(port)
print(port, server._process.pid, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # whoever is killed leaves his folder of links
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        port, watcher = map(int, process.stdout.readline().split())
        pid = int(str(get(f"http://127.0.0.1:{port}/")["pid"]))
        os.kill(process.pid if killed == "the one who asked" else watcher, signal.SIGKILL)
        assert gone(pid)
        process.kill()
    assert gone(watcher)


def test_what_a_server_says_when_it_does_not_start(model: Path, tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "import sys; sys.exit('Traceback\\nValueError: no such architecture\\n\\n---')"]
    with pytest.raises(UserError, match=r"did not start: ValueError: no such architecture; its log: .*log") as said:
        Server(fails, {"base": model}, model, tmp_path / "log").wait_until_it_answers(1)
    assert said.value.exit_code == 3


def test_a_port_that_somebody_else_took_is_changed(
    model: Path, tmp_path: Path, stub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        ports = [other.getsockname()[1], serve._free_port()]
        wanted = iter(ports)
        monkeypatch.setattr(serve, "_free_port", lambda: next(wanted))
        with serving(model, plan(tmp_path), tmp_path, model, log=tmp_path / "log") as served:
            assert served.api_base == f"http://127.0.0.1:{ports[1]}/v1"


def test_commands_and_names_of_both_servers(model: Path, tmp_path: Path, stub: None) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    with serving(model, plan(tmp_path, "mlx"), adapter, tmp_path / "no", log=tmp_path / "log") as served:
        assert served.model("base") == served.model("tuned") == "base"
        assert served.extra == {"base": {}, "tuned": {"adapters": str(adapter)}}
    (adapter / "adapter_config.json").write_text(json.dumps({"quantised_base": str(model)}))
    assert quantised_base(adapter) == model
    (adapter / "adapter_config.json").write_text(json.dumps({"quantised_base": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match="4-bit base of the run is gone"):
        quantised_base(adapter)


def test_servers_listen_on_loopback_alone(tmp_path: Path) -> None:
    for backend in ("mlx", "cuda"):
        command = serve._command(plan(tmp_path, backend), 4711)
        assert command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "4711"


def test_a_served_folder_has_the_tokenizer_of_the_base(model: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer_config.json", "merges.txt"):
        (weights / name).write_text("of the weights")
    link(tmp_path / "both", weights, model)
    of = {path.name: path.resolve().parent.name for path in (tmp_path / "both").iterdir()}
    assert of["model.safetensors"] == of["config.json"] == "weights" and "merges.txt" not in of
    assert of["tokenizer.json"] == of["tokenizer_config.json"] == of["chat_template.jinja"] == "model@home"


def prompt_of(tmp_path: Path, template: str, name: str = "t") -> Prompt:
    return Prompt(ChatTokenizer.load(tiny.build(tmp_path / name, template=template)), today=date(2031, 5, 9))


def test_the_prompt_is_the_one_of_the_training(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hello."}]
    plain = prompt_of(tmp_path, tiny.TEMPLATE)
    assert plain.arguments == {} and not plain.warning
    assert plain.tokenizer._tokenizer.decode(plain.ids(asked), skip_special_tokens=False).endswith("assistant\n")
    # The training writes an empty think block before the last reply and does not supervise it.
    thinking = prompt_of(tmp_path, THINKING, "thinking")
    assert thinking.arguments == {"enable_thinking": False} and not thinking.warning
    seen = thinking.tokenizer._tokenizer.decode(thinking.ids(asked), skip_special_tokens=False)
    assert seen.endswith("<think>\n\n</think>\n\n")
    always = prompt_of(tmp_path, THINKING.replace("enable_thinking is false", "enable_thinking == 7"), "always")
    assert "before a reply" in always.warning


def test_the_date_is_the_one_of_the_training(tmp_path: Path) -> None:
    dated = prompt_of(tmp_path, DATED)
    assert dated.arguments == {"date_string": "26 Jul 2024"} and not dated.warning
    fixed = prompt_of(tmp_path, DATED.replace("date_string", "day"), "fixed")
    assert "another date" in fixed.warning


def test_a_system_message_without_a_place_stands_before_the_first_words(tmp_path: Path) -> None:
    prompt = prompt_of(tmp_path, NO_SYSTEM)
    asked = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hello."}]
    seen = prompt.tokenizer._tokenizer.decode(prompt.ids(asked), skip_special_tokens=False)
    assert seen == "<|im_start|>user\nYou help.\n\nHello.<|im_end|>\n<|im_start|>assistant\n"


def dataset(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"hash": "h"}))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_system_message_of_the_training(tmp_path: Path) -> None:
    kept = ChatTokenizer.load(tiny.build(tmp_path / "kept"))
    merged = ChatTokenizer.load(tiny.build(tmp_path / "merged", template=NO_SYSTEM))
    data = tmp_path / "data"
    given = plan(tmp_path).model_copy(update={"data": plan(tmp_path).data.model_copy(update={"folder": data})})
    assert "--system gives one" in trained_system(given, kept)[1]
    dataset(data, [{"messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hi"}]}])
    assert trained_system(given, kept) == ("You help.", "")
    dataset(data, [{"conversations": [{"from": "system", "value": "You help."}]}])
    assert trained_system(given, kept) == ("You help.", "")
    dataset(data, [{"messages": [{"role": "user", "content": "Hi"}]}])
    assert trained_system(given, kept) == (None, "")
    words = ["Be kind.\n\nHelp.\n\nHi there\n\nand bye", "Be kind.\n\nHelp.\n\nHi", "Be kind.\n\nHelp.\n\nNo"]
    dataset(data, [{"messages": [{"role": "user", "content": text}]} for text in words])
    assert trained_system(given, merged) == ("Be kind.\n\nHelp.", "")
    dataset(data, [{"messages": [{"role": "user", "content": words[0]}]}])
    found, why = trained_system(given, merged)
    assert found is None and "cannot be told" in why


def test_a_changed_template_is_refused(model: Path, tmp_path: Path) -> None:
    trained = ChatTokenizer.load(model)
    given = plan(tmp_path)
    given = given.model_copy(update={"data": given.data.model_copy(update={"tokenizer": trained.hash})})
    check_tokenizer(trained, model, given)
    (model / "chat_template.jinja").write_text(tiny.TEMPLATE.replace("assistant\\n", "assistant\\n\\n"))
    with pytest.raises(UserError, match="not the one that the run was trained with"):
        check_tokenizer(ChatTokenizer.load(model), model, given)


def test_the_end_of_a_reply_is_told_where_the_model_does_not_know_it(model: Path) -> None:
    tokenizer = ChatTokenizer.load(model)
    end = tokenizer.encode("<|im_end|>")[0]
    (model / "config.json").write_text(json.dumps({"eos_token_id": end}))
    assert unknown_end(tokenizer, model) is None
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [end + 1, end + 2]}))
    assert unknown_end(tokenizer, model) == ("<|im_end|>", [end + 1, end + 2, end])


def test_columns_count_cells() -> None:
    assert cells("é") == 1 and cells("e\u0301") == 1 and cells("燈👍") == 4
    assert wrapped("to be or not", 6) == ["to be", "or not"] and wrapped("", 9) == [""]
    assert wrapped("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert wrapped("你好請問燈", 5) == ["你好", "請問", "燈"]
    lines = beside("你好請問我的燈", "one\ntwo three", 20)
    assert lines == ["你好請問 │ one", "我的燈   │ two", "         │ three"]
    assert {cells(line.partition("│")[0]) for line in lines} == {9}


class Answering(http.server.BaseHTTPRequestHandler):
    """Says the model's name and the seed; a model named `deaf` fails."""

    seen: ClassVar[list[dict[str, Any]]] = []
    prompt_tokens = 0

    def do_POST(self) -> None:
        if self.path == "/reset":
            self.seen.append({"model": "reset"})
            self.send_response(200)
            self.end_headers()
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body)
        failed = body["messages"][-1]["content"] == "fail" and body["model"] == "tuned"
        said = {
            "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": f"{body['model']} {body.get('seed')}"}}],
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": 2, "total_tokens": 9},
        }  # fmt: skip
        data = json.dumps({"error": {"message": "no such luck"}} if failed else said).encode()
        self.send_response(400 if failed else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Answering, "seen", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


async def test_both_are_asked_the_same_each_with_its_own_history(
    answering: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    prompt = Prompt(ChatTokenizer.load(model))
    served = Served(answering, "base", "tuned", {"base": {}, "tuned": {}}, True, None)  # type: ignore[arg-type]
    params = {side: {"temperature": 0.5, "max_tokens": 7, "extra_body": {"stop": ["x"]}} for side in SIDES}
    talk = Chat(served, prompt, names={}, system="Be kind.", sides=SIDES, params=params, seed=3, warn=warnings.append)
    opening = {"role": "system", "content": "Be kind."}
    monkeypatch.setattr(Answering, "prompt_tokens", len(prompt.ids([opening, {"role": "user", "content": "Hi"}])))
    assert await talk.again() is None and talk.records("r1-x") == []
    answers = await talk.say("Hi")
    assert {side: answer.text for side, answer in answers.items()} == {"base": "base 3", "tuned": "tuned 3"}
    assert not warnings
    assert (
        Answering.seen[0]["messages"] == Answering.seen[2]["messages"] == [opening, {"role": "user", "content": "Hi"}]
    )
    assert all(
        Answering.seen[0][key] == value for key, value in (("max_tokens", 7), ("temperature", 0.5), ("stop", ["x"]))
    )
    answers = await talk.say("fail")
    assert answers["tuned"].text is None and "no such luck" in (answers["tuned"].error or "")
    assert answers["base"].text == "base 3"
    # The model that is loaded is asked first; the other one's place is made before it.
    assert [body["model"] for body in Answering.seen] == ["base", "reset", "tuned", "tuned", "reset", "base"]
    assert len(warnings) == 1 and "the template is not applied" in warnings[0]
    assert [len(messages) for messages in talk.history.values()] == [5, 3]
    again = await talk.again()
    assert again and again["base"].text == "base 4" and len(talk.history["base"]) == 5
    await talk.say("Well?")
    assert [message["content"] for message in talk.history["tuned"]] == [
        "Be kind.",
        "Hi",
        "tuned 3",
        "Well?",
        "tuned 4",
    ]
    assert [record["id"] for record in talk.records("r1-x")] == ["r1-x-base", "r1-x-tuned"]
    talk.reset()
    assert talk.history == {"base": [opening], "tuned": [opening]}
    await talk.close()
