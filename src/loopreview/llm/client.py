"""Calls to language models: any provider that litellm knows, by configuration alone."""

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from loopreview.llm import answer_format
from loopreview.llm.budget import Budget, cost_of
from loopreview.llm.failures import Failure, classify
from loopreview.llm.provider import is_offline, load, provider_of
from loopreview.llm.reply import About, CallFailed, Reply, without_reasoning
from loopreview.llm.secrets import key_for, key_variable, require_key, shown_address
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings, Settings

__all__ = ["About", "CallFailed", "Client", "Reply"]

_OURS = {"model", "messages", "api_key", "api_base", "base_url", "stream", "n", "response_format", "timeout",
         "num_retries", "max_retries", "fallbacks", "drop_params", "metadata"}  # fmt: skip
_FIRST_WAIT_S = {"wait": 2.0, "again": 1.0, "unreachable": 0.3}
_LONGEST_WAIT_S = 60.0
_LONGEST_ASKED_S = 600.0
"""A server that asks for more than this is not waited for."""
_GRACE_S = 5.0
"""How long a provider's own time-out may be late before ours ends the call: it counts pauses between bytes only."""
_UNREACHABLE_TRIES = 3
_NONSENSE_TRIES = 2
"""Times an empty answer is asked for again."""


class Client:
    """Calls the models of a workspace's settings by the role they have: "user_sim", "assistant", or a judge's name.

    One client serves one event loop. `on_call(name, reply, about)` is told of every answer that was paid for, empty
    ones too. `budget_usd` overrides the one in the settings. `rng` draws the jitter, and `backoff_s` is the unit of
    the waits between retries.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_call: Callable[[str, Reply, About | None], None] | None = None,
        budget_usd: float | None = None,
        rng: random.Random | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self._settings = settings
        self._on_call = on_call
        self._budget = Budget(settings.budget_usd if budget_usd is None else budget_usd)
        self._rng = rng or random.Random()
        self._backoff_s = backoff_s
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._resume_at: dict[str, float] = {}
        self._formats: dict[str, answer_format.Format] = {}
        self._refused_params: dict[str, set[str]] = {}
        self._stopped: UserError | None = None
        self._checked: dict[str, str] = {}
        self._called_network = False

    @property
    def spent_usd(self) -> float:
        """Dollars of all answers so far whose price is known."""
        return self._budget.spent_usd

    def check(self, names: Iterable[str]) -> None:
        """Raises UserError (exit 2) for what can be known before the first call: no model for a role, an unknown
        provider, a key that is not set, a parameter that is not the user's to give, a budget without prices."""
        for name in names:
            if name not in self._checked:
                self._checked[name] = self._check(name, self._backend(name))

    def estimate(self, name: str, tokens_in: int, tokens_out: int) -> float | None:
        """US dollars of a call with that many tokens; None where the price is unknown; 0 for offline models."""
        return cost_of(self._backend(name), tokens_in, tokens_out)

    async def complete(
        self,
        name: str,
        messages: Sequence[Mapping[str, str]],
        *,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
        about: About | None = None,
    ) -> Reply:
        """Asks the model with the role `name`. `schema` (a JSON schema) asks for JSON.

        Raises UserError for what stops the whole job (then every later call raises it too), CallFailed for a call
        that failed for good.
        """
        self.check([name])
        backend = self._backend(name)
        slots = self._slots.setdefault(name, asyncio.Semaphore(backend.concurrency))
        async with slots:
            try:
                return await self._with_retries(name, backend, messages, seed, schema, about)
            except UserError as stop:
                self._stopped = self._stopped or stop
                raise

    async def close(self) -> None:
        """Closes the connections that are kept open between calls."""
        if self._called_network:
            with contextlib.suppress(Exception):
                await load().close_litellm_async_clients()

    def _backend(self, name: str) -> ModelSettings:
        if name in ("user_sim", "assistant"):
            backend = self._settings.user_sim if name == "user_sim" else self._settings.assistant
            where = f"[{name}]"
        else:
            backend, where = self._settings.judges.get(name), f"[judges.{name}]"
        if backend is None:
            raise UserError(f'loopreview.toml names no model for {name}; add {where} with model = "provider/name"')
        return backend

    def _check(self, name: str, backend: ModelSettings) -> str:
        provider = provider_of(backend.model, backend.api_base)
        if provider is None:
            raise UserError(
                f'{name}: no known provider in model = "{backend.model}" (loopreview.toml); write provider/name, such '
                "as anthropic/…, openai/…, gemini/…, ollama_chat/…; openai/NAME with api_base for a compatible server"
            )
        if is_offline(backend.model) and backend.model not in _offline_models():
            raise UserError(
                f"{name}: there is no {backend.model}; the offline models are {', '.join(_offline_models())}"
            )
        for key in sorted(_OURS & backend.params.keys()):
            raise UserError(f"{name}: `{key}` cannot be among params in loopreview.toml; the program sets it")
        require_key(name, backend, provider)
        if self._budget.limit_usd is not None and cost_of(backend, 1000, 1000) is None:
            raise UserError(
                f"{name}: budget_usd is set, but the price of {backend.model} is unknown; "
                "add price = {input = …, output = …} (dollars per million tokens)"
            )
        return provider

    async def _with_retries(
        self, name: str, backend: ModelSettings, messages: Sequence[Mapping[str, str]], seed: int | None,
        schema: Mapping[str, Any] | None, about: About | None,
    ) -> Reply:  # fmt: skip
        tries = {"wait": 0, "again": 0, "unreachable": 0, "empty": 0}
        while True:
            await self._wait_for_turn(name)
            how = self._format(name, backend) if schema else "text"
            request = self._request(name, backend, messages, seed, schema, how)
            promised = self._budget.promise(self._expected_cost(name, backend, messages))
            litellm = load()
            started = time.monotonic()
            try:
                async with asyncio.timeout(backend.timeout_s + _GRACE_S):
                    response = await litellm.acompletion(**request)
                reply = self._read(backend, response, time.monotonic() - started)
            except Exception as error:
                failure = classify(error)
                if not self._sidestep(name, backend, failure, request, how):
                    await self._back_off(name, backend, failure, tries)
                continue
            finally:
                self._budget.settle(promised)
            self._budget.add(name, reply.cost_usd, reply.tokens_out)
            if self._on_call:
                self._on_call(name, reply, about)
            if reply.text or reply.refused:
                if schema and how == "schema" and backend.answer_format == "auto" and not reply.refused:
                    self._formats[name] = answer_format.after(how, reply.text)
                return reply
            if reply.finish == "length":
                raise CallFailed(
                    f"{backend.model} used all its tokens before it wrote a word; raise max_tokens in params",
                    empty=True,
                )
            tries["empty"] += 1
            if tries["empty"] > min(_NONSENSE_TRIES, self._settings.retries):
                raise CallFailed(f"{backend.model} gave an empty answer", empty=True)

    async def _wait_for_turn(self, name: str) -> None:
        """A rate limit holds up every call to that backend, not only the one that met it."""
        while not self._stopped and (left := self._resume_at.get(name, 0.0) - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1.0))
        if self._stopped:
            raise UserError(str(self._stopped), exit_code=self._stopped.exit_code)

    def _request(
        self, name: str, backend: ModelSettings, messages: Sequence[Mapping[str, str]], seed: int | None,
        schema: Mapping[str, Any] | None, how: answer_format.Format,
    ) -> dict[str, Any]:  # fmt: skip
        request: dict[str, Any] = {
            "temperature": 0 if name in self._settings.judges else None,
            "seed": seed,
            **backend.params,
        }
        refused = self._refused_params.get(name, set())
        request = {key: value for key, value in request.items() if value is not None and key not in refused}
        sent = [dict(message) for message in messages]
        if schema:
            sent, response_format = answer_format.asked(how, sent, schema)
            if response_format:
                request["response_format"] = response_format
        key = key_for(backend)
        if backend.api_base and not backend.api_key_env:
            request["extra_headers"] = _without_account_headers(request.get("extra_headers"))
        if backend.api_base:
            request["api_base"] = backend.api_base
        if key is not None:
            request["api_key"] = key
        self._called_network = self._called_network or not is_offline(backend.model)
        return {
            **request,
            "model": backend.model,
            "messages": sent,
            "timeout": backend.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
        }

    def _read(self, backend: ModelSettings, response: Any, latency_s: float) -> Reply:
        choice = response.choices[0]
        message = choice.message
        fields = getattr(message, "provider_specific_fields", None) or {}
        refusal = getattr(message, "refusal", None) or fields.get("refusal") or ""
        finish = str(choice.finish_reason or "stop")
        usage = getattr(response, "usage", None)
        tokens_in = int(getattr(usage, "prompt_tokens", 0) or 0) or None
        tokens_out = int(getattr(usage, "completion_tokens", 0) or 0) if tokens_in else None
        text = without_reasoning(message.content or "").strip() or str(refusal)
        return Reply(
            text=text,
            model=backend.model,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=cost_of(backend, tokens_in, tokens_out),
            latency_s=round(latency_s, 3),
            finish=finish,
            refused=bool(refusal) or finish in ("content_filter", "refusal"),
        )

    def _sidestep(
        self, name: str, backend: ModelSettings, failure: Failure, request: Mapping[str, Any], how: answer_format.Format
    ) -> bool:
        """Whether the request can be asked in another way at once: another answer format, or without a parameter
        that we added and the server does not know. Both are remembered."""
        if failure.action == "format" and "response_format" in request and backend.answer_format == "auto":
            self._formats[name] = answer_format.weaker(how)
            return True
        if failure.action == "fail":
            for param in ("seed", "temperature"):
                if param in request and param not in backend.params and param in failure.reason.lower():
                    self._refused_params.setdefault(name, set()).add(param)
                    return True
        return False

    async def _back_off(self, name: str, backend: ModelSettings, failure: Failure, tries: dict[str, int]) -> None:
        """Sleeps before the next try, or raises where there is none."""
        if failure.action not in _FIRST_WAIT_S:
            raise self._final(name, backend, failure)
        tries[failure.action] += 1
        allowed = (
            min(_UNREACHABLE_TRIES, self._settings.retries)
            if failure.action == "unreachable"
            else self._settings.retries
        )
        made = tries[failure.action] if failure.action == "unreachable" else tries["wait"] + tries["again"]
        if made > allowed:
            raise self._final(name, backend, failure)
        if failure.wait_s is not None and failure.wait_s > _LONGEST_ASKED_S:
            raise CallFailed(f"{backend.model} asks to wait {failure.wait_s:.0f} seconds: {failure.reason}")
        wait_s = min(_FIRST_WAIT_S[failure.action] * 2 ** (made - 1), _LONGEST_WAIT_S)
        wait_s *= self._backoff_s * self._rng.uniform(0.5, 1.0)
        if failure.wait_s is not None:
            wait_s = failure.wait_s + 0.1 * wait_s
        if failure.action == "wait":
            self._resume_at[name] = max(self._resume_at.get(name, 0.0), time.monotonic() + wait_s)
        else:
            await asyncio.sleep(wait_s)

    def _final(self, name: str, backend: ModelSettings, failure: Failure) -> Exception:
        server = shown_address(backend.api_base) or "the provider"
        match failure.action:
            case "key":
                variable = key_variable(backend, self._checked[name])
                mend = f"check the key in {variable}" if variable else "name the variable of its key as api_key_env"
                return UserError(f"{name}: {server} refuses the key for {backend.model}; {mend} ({failure.reason})")
            case "model":
                return UserError(
                    f"{name}: {server} does not know {backend.model}; check model"
                    f"{' and api_base' if backend.api_base else ''} in loopreview.toml ({failure.reason})"
                )
            case "credit":
                return UserError(f"{name}: {server} wants payment for {backend.model}: {failure.reason}", exit_code=3)
            case "unreachable":
                where = shown_address(backend.api_base) or f"the provider of {backend.model}"
                mend = "start the server, or check api_base and the network"
                return UserError(f"{name}: cannot reach {where} ({failure.reason}); {mend}", exit_code=3)
            case "format":
                return CallFailed(
                    f"{backend.model} cannot give answer_format = {backend.answer_format}: {failure.reason}"
                )
        return CallFailed(f"{backend.model}: {failure.reason}")

    def _format(self, name: str, backend: ModelSettings) -> answer_format.Format:
        if backend.answer_format != "auto":
            return backend.answer_format
        if name not in self._formats:
            self._formats[name] = answer_format.first(backend, self._checked[name])
        return self._formats[name]

    def _expected_cost(self, name: str, backend: ModelSettings, messages: Sequence[Mapping[str, str]]) -> float | None:
        if self._budget.limit_usd is None:
            return None
        tokens_in = len(json.dumps([dict(m) for m in messages], ensure_ascii=False).encode()) // 3
        return cost_of(backend, tokens_in, self._budget.expected_tokens(name, backend))


def _offline_models() -> tuple[str, ...]:
    from loopreview.llm.offline.answering import MODELS

    return MODELS


def _without_account_headers(given: Mapping[str, str] | None) -> dict[str, str]:
    """The openai library adds the account's organisation and project from the environment to every request; a server
    of the user's own is not told."""
    headers = dict(given or {})
    for header, variables in {
        "OpenAI-Organization": ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID"),
        "OpenAI-Project": ("OPENAI_PROJECT_ID", "OPENAI_PROJECT"),
    }.items():
        if any(os.environ.get(variable) for variable in variables):
            headers.setdefault(header, "")
    return headers
