"""What models and servers do wrong, seen from the command line: one line, the right exit code, nothing lost."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Answer = tuple[int, dict[str, Any]]


def said(content: str | None, **message: Any) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return 200, {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


class Server:
    """An OpenAI-compatible server on loopback that answers with what `answer` makes of each request."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                status, document = answer(body)
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[dict[str, Any]], Answer]], Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[dict[str, Any]], Answer]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def use(root: Path, section: str, *lines: str) -> None:
    """Make `section` of the settings the only judge, or give the assistant another model."""
    path = root / "loopreview.toml"
    text = path.read_text(encoding="utf-8")
    if section == "assistant":
        text = text.replace('model = "offline/assistant"', "\n".join(lines))
    else:
        text = "\n".join([text[: text.index("[judges.")], f"[{section}]", *lines, ""])
    path.write_text(text if text.startswith("retries") else "retries = 1\n" + text, encoding="utf-8")


@pytest.fixture
def made(small, cli, once) -> Path:
    return once(small, lambda: cli("generate", "-w", small, "--seed", 7, "--count", 1))


def verdicts_for(request: dict[str, Any], ids: tuple[str, ...] = ("H1", "S1")) -> str:
    quote = {"exchange": 1, "role": "assistant", "quote": "the"}
    return json.dumps(
        {
            "verdicts": [
                {"criterion": id, "reasoning": "r", "answer": "YES", "evidence": [quote], "counter_evidence": None}
                for id in ids
            ]
        }
    )


def test_a_whole_loop_through_a_server_of_ones_own(small, cli, serve):
    def answer(request: dict[str, Any]) -> Answer:
        if "response_format" in request:
            return said(verdicts_for(request))
        return said("I can help with that order today, and I will write to you tomorrow. " * 3)

    server = serve(answer)
    lines = ('model = "openai/local"', f'api_base = "{server.address}"', "price = {input = 1.0, output = 2.0}")
    use(small, "assistant", *lines)
    use(small, "judges.only", *lines)
    made = cli("generate", "-w", small, "--seed", 7, "--count", 1, "--json").json
    assert made["transcripts"][0]["complete"] and made["cost_usd"] > 0
    judged = cli("assess", "-w", small, "--json").json
    assert judged["errors"] == [] and judged["calls"] == 1
    assert judged["cost_usd"] == pytest.approx((10 * 1.0 + 5 * 2.0) / 1e6)
    row = cli("show", "-w", small, "1-1", "--json").json["criteria"][0]
    assert row["answers"] == {"only": "YES"}


def test_what_each_role_is_sent(small, cli, serve):
    server = serve(lambda request: said("Thank you. " * 15))
    use(small, "assistant", 'model = "openai/local"', f'api_base = "{server.address}"', "params = {top_p = 0.5}")
    cli("generate", "-w", small, "--seed", 7, "--count", 1)
    first = server.requests[0]
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][0]["content"] == (small / "prompts" / "assistant.md").read_text(encoding="utf-8")
    assert first["top_p"] == 0.5
    assert "persona" not in json.dumps(server.requests), "the assistant never sees persona or dice"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("It looks fine to me!"), "no JSON"),
        (said('{"verdicts": [{"criterion": "H1", "answer": "MAYBE"}]}'), "MAYBE"),
        (said(""), "empty answer"),
        (said(None, refusal="I cannot help with that."), "refused"),
        ((500, {"error": {"message": "boom"}}), "boom"),
    ],
)
def test_a_judge_without_a_usable_answer_is_an_error_never_a_no(made, cli, serve, answer, reason):
    server = serve(lambda request: answer)
    use(made, "judges.only", 'model = "openai/local"', f'api_base = "{server.address}"')
    result = cli("assess", "-w", made, "--json", code=3)
    result.says("2 answers are missing")
    assert {(e["criterion"], e["backend"]) for e in result.json["errors"]} == {("H1", "only"), ("S1", "only")}
    assert all(reason in error["reason"] for error in result.json["errors"]), result.json["errors"]
    (row,) = result.json["transcripts"]
    assert (row["passed"], row["unscored"], row["open"]) == (None, True, ["H1", "S1"])
    assert cli("assess", "-w", made, "--dry-run", "--json").json["stale"] == 2, "an error is asked again"


def test_two_repairs_then_the_good_part_is_kept(made, cli, serve):
    server = serve(lambda request: said(verdicts_for(request, ("H1",))))
    use(made, "judges.only", 'model = "openai/local"', f'api_base = "{server.address}"')
    result = cli("assess", "-w", made, "--json", code=3)
    assert len(server.requests) == 3
    assert "S1" in server.requests[1]["messages"][-1]["content"]
    assert [error["criterion"] for error in result.json["errors"]] == ["S1"]
    assert result.json["transcripts"][0]["open"] == ["S1"]


def test_a_refused_key_stops_at_once_and_names_its_variable(made, cli, serve, monkeypatch):
    monkeypatch.setenv("MY_GATEWAY_KEY", "sk-very-secret-123456")
    server = serve(lambda request: (401, {"error": {"message": "Incorrect API key: sk-very-secret-123456"}}))
    lines = ('model = "openai/local"', f'api_base = "{server.address}"', 'api_key_env = "MY_GATEWAY_KEY"')
    use(made, "judges.only", *lines)
    result = cli("assess", "-w", made, code=2)
    result.says("MY_GATEWAY_KEY")
    assert "sk-very-secret" not in result.err + result.out
    assert len(server.requests) == 1
    for path in [made / "loopreview.db", *made.glob(".jobs/*")]:
        assert b"sk-very-secret" not in path.read_bytes()


def test_the_users_other_keys_are_never_sent_to_a_server_of_ones_own(made, cli, serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient")
    server = serve(lambda request: said(verdicts_for(request)))
    use(made, "judges.only", 'model = "openai/local"', f'api_base = "{server.address}"')
    cli("assess", "-w", made)
    assert server.headers and "sk-ambient" not in json.dumps(server.headers)


@pytest.mark.parametrize(
    ("lines", "code", "parts"),
    [
        (('model = "nobody/knows"',), 2, ("nobody/knows", "provider")),
        (('model = "anthropic/claude-sonnet-4-5"',), 2, ("ANTHROPIC_API_KEY",)),
        (('model = "openai/gpt-5-mini"', 'api_key_env = "MY_KEY"'), 2, ("MY_KEY",)),
        (('model = "openai/x"', 'api_base = "http://127.0.0.1:9/v1"'), 3, ("127.0.0.1:9",)),
        (('model = "offline/judge-furious"',), 2, ("offline/judge-furious", "offline/judge-strict")),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_lost(made, cli, lines, code, parts):
    use(made, "judges.only", *lines)
    cli("assess", "-w", made, code=code).says(*parts)
    assert cli("show", "-w", made, "1-1", "--json").json["complete"]


def test_a_generation_that_fails_keeps_its_messages_and_goes_on_later(small, cli, serve):
    calls = []

    def answer(request: dict[str, Any]) -> Answer:
        calls.append(1)
        good = said("I can look into that for you today and write to you tomorrow. " * 3)
        return good if len(calls) == 1 else said("")

    server = serve(answer)
    use(small, "assistant", 'model = "openai/local"', f'api_base = "{server.address}"')
    failed = cli("generate", "-w", small, "--seed", 7, "--count", 1, "--json", code=3)
    assert failed.json["transcripts"][0]["complete"] is False
    assert failed.json["errors"][0]["exchange"] == 2
    kept = cli("show", "-w", small, "1-1", "--json").json["messages"]
    calls.clear()
    use_good = serve(lambda request: said("I can look into that for you today and write to you tomorrow. " * 3))
    text = (small / "loopreview.toml").read_text(encoding="utf-8")
    (small / "loopreview.toml").write_text(text.replace(server.address, use_good.address), encoding="utf-8")
    again = cli("generate", "-w", small, "--seed", 7, "--count", 1, "--json").json
    assert again["batch"] == 1 and again["transcripts"][0]["complete"]
    assert cli("show", "-w", small, "1-1", "--json").json["messages"][: len(kept)] == kept


def test_a_budget_stops_before_it_is_exceeded(small, cli, serve):
    server = serve(lambda request: said("I can help with that order today. " * 5))
    lines = ('model = "openai/local"', f'api_base = "{server.address}"', "price = {input = 1000.0, output = 1000.0}")
    use(small, "assistant", *lines)
    path = small / "loopreview.toml"
    path.write_text("budget_usd = 0.05\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    cli("generate", "-w", small, "--seed", 7, "--count", 5, code=3).says("budget")
    assert cli("status", "-w", small, "--json").json["cost_usd"] <= 0.05
