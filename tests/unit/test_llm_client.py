"""Calls through litellm to a real HTTP server on loopback that does what real ones do on bad days."""

import asyncio
import email.utils
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from loopreview.llm.client import About, CallFailed, Client, Reply
from loopreview.llm.provider import load
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings, Settings

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Is the kettle on?"}]
AMBIENT = {
    "OPENAI_API_KEY": "sk-ambient-openai-000000",
    "OPENAI_ORGANIZATION": "org-ambient",
    "OPENAI_PROJECT_ID": "proj-ambient",
    "ANTHROPIC_API_KEY": "ambient-anthropic-key",
    "ANTHROPIC_AUTH_TOKEN": "ambient-anthropic-token",
    "GEMINI_API_KEY": "ambient-gemini-key",
    "GOOGLE_API_KEY": "ambient-google-key",
    "MISTRAL_API_KEY": "ambient-mistral-key",
    "OLLAMA_API_KEY": "ambient-ollama-key",
    "HOSTED_VLLM_API_KEY": "ambient-vllm-key",
}


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


class ScriptedServer:
    """Gives one scripted answer to each request, the last one again and again, and keeps what it received.

    An answer is (status, headers, body), or "hang up", or a number of seconds to sleep before a good answer."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.received: list[Received] = []
        self.together = 0
        self.most_together = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                outer.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        # It looks this often whether it is to stop: by default every half second, for which `close` waits.
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.base = f"http://127.0.0.1:{self._http.server_port}/v1"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("content-length", 0))) or b"{}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body, time.monotonic()))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            if step == "hang up":
                request.close_connection = True
                return
            if isinstance(step, float):
                time.sleep(step)
                step = good()
            status, more, text = step
            request.send_response(status)
            for name, value in {"content-type": "application/json", **more}.items():
                request.send_header(name, value)
            request.send_header("content-length", str(len(text.encode())))
            request.end_headers()
            request.wfile.write(text.encode())
        except BrokenPipeError:
            pass
        finally:
            self.together -= 1

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def good(
    text: str | None = "It is.", *, finish: str = "stop", refusal: str | None = None, usage: bool = True
) -> tuple[int, dict[str, str], str]:
    message = {"role": "assistant", "content": text, **({"refusal": refusal} if refusal else {})}
    answer: dict[str, Any] = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
    }  # fmt: skip
    if usage:
        answer["usage"] = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    return 200, {}, json.dumps(answer)


def failing(
    status: int, message: str = "boom", headers: dict[str, str] | None = None, **more: Any
) -> tuple[int, dict[str, str], str]:
    return status, headers or {}, json.dumps({"error": {"message": message, "type": "x", **more}})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    load()  # its seconds belong to no test's clock
    running = ScriptedServer()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if "API_KEY" in name or name in AMBIENT:
            monkeypatch.delenv(name)


def settings(base: str | None, *, retries: int = 5, budget_usd: float | None = None, **backend: Any) -> Settings:
    model = ModelSettings(**{"model": "openai/m", "api_base": base, "timeout_s": 5, **backend})
    return Settings(retries=retries, budget_usd=budget_usd, assistant=model, judges={"ann": model})


def client(base: str | None, *, backoff_s: float = 0.01, **given: Any) -> Client:
    return Client(settings(base, **given), backoff_s=backoff_s)


async def test_an_answer_comes_with_its_tokens_price_and_time(server: ScriptedServer) -> None:
    server.script = [good()]
    calls: list[tuple[str, Reply, About | None]] = []
    asked = Client(settings(server.base, price={"input": 2, "output": 10}), on_call=lambda *call: calls.append(call))
    reply = await asked.complete("assistant", ASKED, seed=7, about=About("generate", 3, "3-1"))
    assert (reply.text, reply.model, reply.finish, reply.refused) == ("It is.", "openai/m", "stop", False)
    assert (reply.tokens_in, reply.tokens_out) == (1000, 200)
    assert reply.cost_usd == pytest.approx(1000 * 2e-6 + 200 * 10e-6)
    assert asked.spent_usd == reply.cost_usd and 0 <= reply.latency_s < 5
    assert calls == [("assistant", reply, About("generate", 3, "3-1"))]
    assert server.received[0].body["messages"] == ASKED and server.received[0].body["seed"] == 7
    await asked.close()


async def test_a_price_nobody_gave_is_unknown_and_not_nothing(server: ScriptedServer) -> None:
    server.script = [good()]
    reply = await client(server.base, model="openai/gpt-4o").complete("assistant", ASKED)
    assert reply.cost_usd is None
    assert client(None, model="openai/gpt-4o", api_key_env="X").estimate("assistant", 1000, 100) == pytest.approx(
        0.0035
    )
    assert client(None, model="ollama_chat/nobody-knows").estimate("assistant", 1000, 100) is None


async def test_tokens_a_server_does_not_count_are_unknown(server: ScriptedServer) -> None:
    server.script = [good(usage=False)]
    reply = await client(server.base, price={"input": 1, "output": 1}).complete("assistant", ASKED)
    assert (reply.tokens_in, reply.tokens_out, reply.cost_usd) == (None, None, None)


@pytest.mark.parametrize(
    "model",
    [
        "openai/m",
        "hosted_vllm/m",
        "ollama_chat/m",
        "anthropic/m",
        "gemini/m",
        "mistral/m",
        "lm_studio/m",
        "llamafile/m",
    ],
)
async def test_a_server_of_ones_own_is_never_sent_a_key_from_the_environment(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    server.script = [failing(400, "no")]
    with pytest.raises(CallFailed):
        await client(server.base, model=model).complete("assistant", ASKED)
    assert server.received
    sent = repr(server.received).lower()
    assert not [value for value in AMBIENT.values() if value.lower() in sent]


async def test_the_named_key_is_sent(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVER_KEY", "secret-of-mine-1234")
    server.script = [good()]
    await client(server.base, api_key_env="MY_SERVER_KEY").complete("assistant", ASKED)
    assert server.received[0].headers["authorization"] == "Bearer secret-of-mine-1234"


async def test_judges_are_asked_at_temperature_zero_unless_set(server: ScriptedServer) -> None:
    server.script = [good()]
    await client(server.base).complete("ann", ASKED)
    await client(server.base, params={"temperature": 0.7}).complete("ann", ASKED)
    await client(server.base).complete("assistant", ASKED)
    assert [r.body.get("temperature") for r in server.received] == [0, 0.7, None]


async def test_retry_after_in_seconds_is_waited_out(server: ScriptedServer) -> None:
    server.script = [failing(429, "slow down", {"Retry-After": "1"}), good()]
    assert (await client(server.base).complete("assistant", ASKED)).text == "It is."
    first, second = server.received
    assert 1.0 <= second.at - first.at < 6.0


async def test_retry_after_as_a_date_is_waited_out(server: ScriptedServer) -> None:
    date = email.utils.formatdate(time.time() + 2.5, usegmt=True)
    server.script = [failing(503, "later", {"Retry-After": date}), good()]
    await client(server.base).complete("assistant", ASKED)
    first, second = server.received
    assert 1.0 <= second.at - first.at < 8.0


async def test_a_rate_limit_holds_up_the_other_calls_to_that_backend(server: ScriptedServer) -> None:
    server.script = [failing(429, "slow down", {"Retry-After": "1"}), good()]
    limited = client(server.base)

    async def a_moment_later() -> Reply:
        while not server.received:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return await limited.complete("assistant", ASKED)

    await asyncio.gather(limited.complete("assistant", ASKED), a_moment_later())
    first, *later = server.received
    assert len(later) == 2 and all(r.at - first.at >= 1.0 for r in later)


@pytest.mark.parametrize(
    "bad", [failing(500), failing(502), failing(529, "overloaded"), "hang up", (200, {}, "<html>"), (200, {}, "")]
)
async def test_a_server_error_is_tried_again(server: ScriptedServer, bad: Any) -> None:
    server.script = [bad, bad, good()]
    assert (await client(server.base).complete("assistant", ASKED)).text == "It is."
    assert len(server.received) == 3


async def test_retries_end_and_only_that_call_has_failed(server: ScriptedServer) -> None:
    server.script = [failing(500, "the disk is on fire")]
    trying = client(server.base, retries=2)
    with pytest.raises(CallFailed, match="the disk is on fire"):
        await trying.complete("assistant", ASKED)
    assert len(server.received) == 3
    server.script = [good()]
    assert (await trying.complete("assistant", ASKED)).text == "It is."


async def test_a_slow_answer_is_given_up_and_asked_for_again(server: ScriptedServer) -> None:
    server.script = [1.5, good()]
    assert (await client(server.base, timeout_s=0.5).complete("assistant", ASKED)).text == "It is."
    server.script = [1.5]
    with pytest.raises(CallFailed, match="time limit"):
        await client(server.base, timeout_s=0.3, retries=1).complete("assistant", ASKED)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_stops_everything_at_once_and_names_its_variable(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MY_SERVER_KEY", "secret-of-mine-1234")
    server.script = [failing(status, "Incorrect API key provided: secret-of-mine-1234 / sk-abcdef1234567890")]
    asked = client(server.base, api_key_env="MY_SERVER_KEY", concurrency=1)
    found = await asyncio.gather(*(asked.complete("ann", ASKED) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(error, UserError) and error.exit_code == 2 for error in found)
    assert "MY_SERVER_KEY" in str(found[0]) and "ann" in str(found[0])
    assert "secret-of-mine-1234" not in str(found) and "abcdef1234567890" not in str(found)
    assert len(server.received) == 1


async def test_a_server_that_wants_a_key_it_was_not_given_is_told_apart(server: ScriptedServer) -> None:
    server.script = [failing(401, "who are you?")]
    with pytest.raises(UserError, match="api_key_env") as stopped:
        await client(server.base).complete("assistant", ASKED)
    assert stopped.value.exit_code == 2


async def test_an_unknown_model_stops_with_both_names(server: ScriptedServer) -> None:
    server.script = [failing(404, "model m not found")]
    with pytest.raises(UserError, match="openai/m") as stopped:
        await client(server.base).complete("assistant", ASKED)
    assert stopped.value.exit_code == 2 and server.base in str(stopped.value)


async def test_no_credit_stops_with_exit_3(server: ScriptedServer) -> None:
    server.script = [failing(429, "You exceeded your current quota", code="insufficient_quota")]
    with pytest.raises(UserError, match="quota") as stopped:
        await client(server.base).complete("assistant", ASKED)
    assert stopped.value.exit_code == 3 and len(server.received) == 1


async def test_nobody_listening_stops_soon_with_the_address(server: ScriptedServer) -> None:
    base = server.base
    server.close()
    began = time.monotonic()
    with pytest.raises(UserError, match="connection refused") as stopped:
        await client(base).complete("assistant", ASKED)
    assert stopped.value.exit_code == 3 and time.monotonic() - began < 10
    assert base in str(stopped.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failing(400, "This model's maximum context length is 4096 tokens", code="context_length_exceeded"), "longer"),
        (failing(413, "payload too large"), "longer"),
        (failing(400, "blocked by our content_filter", code="content_filter"), "content filter"),
        (failing(400, "top_k must be positive"), "top_k"),
    ],
)
async def test_a_request_that_cannot_be_answered_fails_without_retries(
    server: ScriptedServer, answer: Any, reason: str
) -> None:
    server.script = [answer]
    with pytest.raises(CallFailed, match=reason):
        await client(server.base).complete("assistant", ASKED)
    assert len(server.received) == 1


@pytest.mark.parametrize("empty", [good(""), good(None), good("<think>hm"), good("  \n")])
async def test_an_empty_answer_is_asked_for_again_and_then_fails(server: ScriptedServer, empty: Any) -> None:
    server.script = [empty, good()]
    assert (await client(server.base).complete("assistant", ASKED)).text == "It is."
    server.script = [empty]
    with pytest.raises(CallFailed, match="empty"):
        await client(server.base).complete("assistant", ASKED)


async def test_tokens_spent_on_reasoning_alone_are_named_as_the_cause(server: ScriptedServer) -> None:
    server.script = [good("<think>on and on", finish="length")]
    with pytest.raises(CallFailed, match="max_tokens"):
        await client(server.base).complete("assistant", ASKED)


async def test_a_refusal_and_a_cut_answer_are_reported_and_kept(server: ScriptedServer) -> None:
    server.script = [
        good(None, refusal="I cannot help with that"),
        good("", finish="content_filter"),
        good("It i", finish="length"),
    ]
    asked = client(server.base)
    flagged = await asked.complete("assistant", ASKED)
    filtered = await asked.complete("assistant", ASKED)
    cut = await asked.complete("assistant", ASKED)
    assert flagged.refused and flagged.text == "I cannot help with that"
    assert filtered.refused and filtered.text == ""
    assert not cut.refused and (cut.text, cut.finish) == ("It i", "length")


async def test_reasoning_before_the_answer_is_left_out(server: ScriptedServer) -> None:
    server.script = [good("<think>The kettle…\n</think>\n\nIt is.")]
    assert (await client(server.base).complete("assistant", ASKED)).text == "It is."


async def test_json_is_asked_for_by_schema(server: ScriptedServer) -> None:
    server.script = [good('{"verdict": "YES"}')]
    await client(server.base).complete("ann", ASKED, schema=SCHEMA)
    asked = server.received[0].body
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA and asked["messages"] == ASKED


@pytest.mark.parametrize(
    "complaint", ["response_format is not supported", "json_schema: unknown type", "failed to parse grammar"]
)
async def test_a_server_without_schemas_is_asked_for_any_object_then_in_words_and_that_is_remembered(
    server: ScriptedServer, complaint: str
) -> None:
    server.script = [failing(400, complaint), failing(400, "response_format must be text"), good('{"verdict": "NO"}')]
    judging = client(server.base)
    await judging.complete("ann", ASKED, schema=SCHEMA)
    await judging.complete("ann", ASKED, schema=SCHEMA)
    formats = [r.body.get("response_format", {}).get("type") for r in server.received]
    assert formats == ["json_schema", "json_object", None, None]
    assert '"verdict"' in server.received[-1].body["messages"][-1]["content"]


async def test_a_server_that_ignores_the_schema_is_told_it_in_words_the_next_time(server: ScriptedServer) -> None:
    server.script = [good("In my opinion the verdict is YES."), good('{"verdict": "YES"}')]
    judging = client(server.base)
    assert (await judging.complete("ann", ASKED, schema=SCHEMA)).text.startswith("In my opinion")
    await judging.complete("ann", ASKED, schema=SCHEMA)
    assert "JSON schema" in server.received[1].body["messages"][-1]["content"]


@pytest.mark.parametrize(("fixed", "sent"), [("schema", "json_schema"), ("object", "json_object"), ("text", None)])
async def test_a_fixed_answer_format_is_kept(server: ScriptedServer, fixed: str, sent: str | None) -> None:
    server.script = [failing(400, "response_format is not supported")]
    with pytest.raises(CallFailed, match="response_format"):
        await client(server.base, answer_format=fixed).complete("ann", ASKED, schema=SCHEMA)
    assert [r.body.get("response_format", {}).get("type") for r in server.received] == [sent]


async def test_a_parameter_of_ours_that_a_server_does_not_know_is_left_out_from_then_on(server: ScriptedServer) -> None:
    server.script = [failing(400, "Unknown field: seed"), good()]
    asked = client(server.base)
    await asked.complete("assistant", ASKED, seed=1)
    await asked.complete("assistant", ASKED, seed=2)
    assert ["seed" in r.body for r in server.received] == [True, False, False]


async def test_calls_at_once_stay_within_the_concurrency(server: ScriptedServer) -> None:
    server.script = [0.15]
    asked = client(server.base, concurrency=2)
    await asyncio.gather(*(asked.complete("assistant", ASKED) for _ in range(6)))
    assert server.most_together == 2


async def test_a_budget_stops_before_the_call_that_would_exceed_it(server: ScriptedServer) -> None:
    server.script = [good()]
    price = {"input": 0, "output": 1000}  # each answer costs 0.20
    asked = client(server.base, price=price, budget_usd=0.5, params={"max_tokens": 200})
    await asked.complete("assistant", ASKED)
    await asked.complete("assistant", ASKED)
    with pytest.raises(UserError, match="budget_usd") as stopped:
        await asked.complete("assistant", ASKED)
    assert stopped.value.exit_code == 3 and len(server.received) == 2 and asked.spent_usd == pytest.approx(0.4)


async def test_nothing_is_printed_on_stdout() -> None:
    program = (
        "import asyncio\n"
        "from loopreview.llm.client import Client\n"
        "from loopreview.models.settings import ModelSettings, Settings\n"
        "def tried(**given):\n"
        "    client = Client(Settings(assistant=ModelSettings(**given)), backoff_s=0.01)\n"
        "    try:\n"
        "        asyncio.run(client.complete('assistant', [{'role': 'user', 'content': 'x'}]))\n"
        "    except Exception as error:\n"
        "        import sys; print(type(error).__name__, error, file=sys.stderr)\n"
        "tried(model='nosuchprovider/m')\n"
        "tried(model='openai/m', api_base='http://127.0.0.1:9/v1')\n"
        "tried(model='anthropic/m')\n"
        "tried(model='offline/assistant')\n"
    )
    environment = {k: v for k, v in os.environ.items() if "API_KEY" not in k} | {"https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "" and done.returncode == 0
    assert len(done.stderr.splitlines()) == 3, done.stderr
    assert "ANTHROPIC_API_KEY" in done.stderr and "nosuchprovider/m" in done.stderr
