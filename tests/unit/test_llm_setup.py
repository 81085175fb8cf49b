"""What is known before the first call, and what errors may say."""

import os

import pytest

from loopreview.llm.client import Client
from loopreview.llm.failures import classify, reason_of, retry_after
from loopreview.llm.reply import without_reasoning
from loopreview.llm.secrets import scrub, shown_address
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings, Settings


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if "API_KEY" in name or "AUTH_TOKEN" in name:
            monkeypatch.delenv(name)


def checked(*, budget_usd: float | None = None, **backend: object) -> Client:
    client = Client(Settings(judges={"ann": ModelSettings.model_validate(backend)}, budget_usd=budget_usd))
    client.check(["ann"])
    return client


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        ("gpt-4o", "OPENAI_API_KEY"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
        ("mistral/mistral-large-latest", "MISTRAL_API_KEY"),
        ("openrouter/meta-llama/llama-3.3-70b-instruct", "OPENROUTER_API_KEY"),
    ],
)
def test_a_missing_key_is_named_before_the_first_call(
    model: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=variable) as missing:
        checked(model=model)
    assert missing.value.exit_code == 2 and "ann" in str(missing.value)
    monkeypatch.setenv(variable, " ")
    if model.startswith(("openai", "gpt")):
        with pytest.raises(UserError, match=variable):
            checked(model=model)
    monkeypatch.setenv(variable, "secret-value-1234")
    checked(model=model)


def test_the_variable_of_the_settings_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value-1234")
    with pytest.raises(UserError, match="WORK_KEY"):
        checked(model="openai/gpt-4o", api_key_env="WORK_KEY")
    monkeypatch.setenv("WORK_KEY", "secret-value-5678")
    checked(model="openai/gpt-4o", api_key_env="WORK_KEY")


@pytest.mark.parametrize(
    "backend",
    [
        {"model": "ollama_chat/llama3.2"},
        {"model": "openai/anything", "api_base": "http://127.0.0.1:8080/v1"},
        {"model": "hosted_vllm/anything", "api_base": "http://127.0.0.1:8000/v1"},
        {"model": "offline/judge-strict"},
        {"model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0"},
    ],
)
def test_servers_of_ones_own_need_no_key(backend: dict[str, str]) -> None:
    checked(**backend)


@pytest.mark.parametrize("model", ["nosuchprovider/m", "some-model", "nosuchprovider/"])
def test_an_unknown_provider_is_named(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=model) as unknown:
        checked(model=model)
    assert unknown.value.exit_code == 2 and "\n" not in str(unknown.value)
    assert capsys.readouterr().out == ""


def test_an_offline_model_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(UserError, match="offline/judge-lenient"):
        checked(model="offline/judge-fair")


def test_a_role_without_a_model_says_where_to_put_one() -> None:
    with pytest.raises(UserError, match=r"\[user_sim\]"):
        Client(Settings()).check(["user_sim"])
    with pytest.raises(UserError, match=r"\[judges.bob\]"):
        Client(Settings()).check(["bob"])


def test_what_the_program_sets_itself_is_refused_among_params() -> None:
    with pytest.raises(UserError, match="stream"):
        checked(model="offline/judge-strict", params={"stream": True})


def test_a_budget_needs_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value-1234")
    local = {"model": "openai/mine", "api_base": "http://127.0.0.1:8080/v1"}
    with pytest.raises(UserError, match="price"):
        checked(budget_usd=1, **local)
    checked(budget_usd=1, price={"input": 0, "output": 0}, **local)
    checked(budget_usd=1, model="openai/gpt-4o")
    checked(budget_usd=1, model="offline/judge-strict")


def test_prices_come_from_the_settings_then_from_the_list_and_are_else_unknown() -> None:
    def price(**backend: object) -> float | None:
        client = Client(Settings(judges={"ann": ModelSettings.model_validate(backend)}))
        return client.estimate("ann", 1_000_000, 100_000)

    assert price(model="openai/gpt-4o", price={"input": 1, "output": 2}) == pytest.approx(1.2)
    assert price(model="openai/gpt-4o") == pytest.approx(2.5 + 1.0)
    assert price(model="openai/gpt-4o", api_base="http://127.0.0.1:8080/v1") is None
    assert price(model="openai/never-heard-of") is None
    assert price(model="offline/judge-strict") == 0


def test_no_secret_of_the_environment_gets_into_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TOKEN", "q+w/e=r t-y")
    monkeypatch.setenv("HOME_PAGE", "quite-harmless")
    text = "bad q+w/e=r t-y at https://x/?key=q%2Bw%2Fe%3Dr%20t-y&a=quite-harmless, Authorization: Bearer abcdefgh12345"
    shown = scrub(text)
    assert "q+w" not in shown and "q%2Bw" not in shown and "abcdefgh" not in shown
    assert "$ODD_TOKEN" in shown and "quite-harmless" in shown
    assert "sk-proj" not in scrub("Incorrect API key provided: sk-proj-********************abcd.")
    assert scrub("http://ann:hunter2@host/v1 refused") == "http://host/v1 refused"
    assert shown_address("http://host/v1?key=abc") == "http://host/v1"
    for harmless in ("model sketch-large-instruct is loading", "pk: 12", "the task-list is long"):
        assert scrub(harmless) == harmless


class _Error(Exception):
    def __init__(self, message: str, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status
        self.litellm_response_headers = headers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"Retry-After": "Fri, 21 Nov 2036 10:00:30 GMT"}, 30),
        ({"Retry-After": "Fri, 21 Nov 2036 09:00:00 GMT"}, 0),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    now = 2110874400.0  # Fri, 21 Nov 2036 10:00:00 GMT
    assert retry_after(_Error("slow down", 429, headers), now=now) == seconds


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (_Error("no", 401), "key"),
        (_Error("API key not valid. Please pass a valid API key.", 400), "key"),
        (_Error("no", 402), "credit"),
        (_Error("model not found", 404), "model"),
        (_Error("slow down", 429), "wait"),
        (_Error("boom", 500), "again"),
        (TimeoutError(), "again"),
        (ConnectionRefusedError(), "unreachable"),
        (_Error("grammar error", 400), "format"),
        (_Error("temperature out of range", 400), "fail"),
        (IndexError("list index out of range"), "again"),
    ],
)
def test_each_class_of_error_has_its_consequence(error: Exception, action: str) -> None:
    assert classify(error).action == action


def test_a_reason_is_one_short_line_in_the_servers_words() -> None:
    wrapped = (
        'litellm.RateLimitError: RateLimitError: OpenAIException - {"error": {"message": "slow\\n down", "type": "x"}}'
    )
    assert "litellm" not in reason_of(_Error(wrapped)) and "slow" in reason_of(_Error(wrapped))
    long = reason_of(
        _Error("litellm.APIError: " + "very long " * 100 + "\nTraceback (most recent call last): secret path")
    )
    assert len(long) <= 200 and "Traceback" not in long and "\n" not in long
    assert reason_of(_Error("")) == "_Error"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<think>hm</think>\n\nYes.", "Yes."),
        ("<think>\n\n</think>\nYes.", "Yes."),
        ("hm, let me see\n</think>\nYes.", "Yes."),
        ("<Thinking>hm</Thinking> <think>again</think>Yes.", "Yes."),
        ("<think>cut off", ""),
        ("Yes, I <think>so</think> it is.", "Yes, I <think>so</think> it is."),
        ("Yes.", "Yes."),
    ],
)
def test_reasoning_in_front_is_left_out(raw: str, text: str) -> None:
    assert without_reasoning(raw) == text
