"""Talking to a run's base and its tuned model at once: the same words to both, each with its own history."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.llm.client import CallFailed, Client
from loopreview.llm.provider import load
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings, Settings
from loopreview.models.training import Plan
from loopreview.runs import Run
from loopreview.tokens.template import ChatMessage
from loopreview.tokens.tokenizer import ChatTokenizer
from loopreview.train.prompt import Prompt, check_tokenizer, trained_system, unknown_end
from loopreview.train.serve import SIDES, Served, Side, serving

_ANSWER_SECONDS = 3600
"""A long answer of a large model on a CPU; ctrl+c is the shorter way out."""


class Answer(NamedTuple):
    """`error`: why there is no text, in a line. `cut`: the limit of tokens ended it."""

    text: str | None
    seconds: float
    cut: bool = False
    error: str | None = None


Answers = dict[Side, Answer]


class Sampling(NamedTuple):
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int = 0


class Chat:
    """Two conversations with one user. Belongs to one event loop."""

    def __init__(
        self,
        served: Served,
        prompt: Prompt,
        *,
        names: dict[Side, str],
        system: str | None,
        sides: tuple[Side, ...],
        params: dict[Side, dict[str, Any]],
        seed: int,
        warn: Callable[[str], None],
    ) -> None:
        models = {
            side: ModelSettings(
                model=f"openai/{served.model(side)}",
                api_base=served.api_base,
                params=params[side],
                concurrency=1,
                timeout_s=_ANSWER_SECONDS,
            )
            for side in sides
        }
        self.system, self.sides, self.seed, self.names = system, sides, seed, names
        self._served, self._prompt, self._warn = served, prompt, warn
        self._client = Client(Settings(judges=dict(models), retries=0))
        self._client.check(models)
        self._last = sides[0]
        self._warned = False
        self.history: dict[Side, list[ChatMessage]] = {}
        self.reset()

    def reset(self) -> None:
        """Both begin anew."""
        opening: list[ChatMessage] = [{"role": "system", "content": self.system}] if self.system else []
        self.history = {side: list(opening) for side in self.sides}

    async def say(self, text: str) -> Answers:
        """What each answers. A side that gave no answer forgets that it was asked.

        The server answers one request at a time: they are asked one after the other, so that the seconds are each
        one's own, and first the one whose model is loaded.
        """
        answers: Answers = {}
        for side in sorted(self.sides, key=lambda side: side != self._last):
            if side != self._last and self._served.one_at_a_time:
                await asyncio.to_thread(self._served.unload)
            self._last = side
            answers[side] = await self._ask(side, text)
        return answers

    async def again(self) -> Answers | None:
        """Both answer the last words once more, under another seed; None where nothing was said."""
        asked = [[message for message in self.history[side] if message["role"] == "user"] for side in self.sides]
        last = max(asked, key=len)
        if not last:
            return None
        for side, words in zip(self.sides, asked, strict=True):
            if len(words) == len(last):
                del self.history[side][-2:]
        self.seed += 1
        return await self.say(last[-1]["content"])

    async def close(self) -> None:
        await self._client.close()

    def records(self, run: str) -> list[dict[str, Any]]:
        """Both conversations as `loopreview import` reads them; those without an answer are left out."""
        return [
            {"id": f"{run}-{side}", "model": f"{run}:{side}", "messages": self.history[side]}
            for side in self.sides
            if any(message["role"] == "assistant" for message in self.history[side])
        ]

    async def _ask(self, side: Side, text: str) -> Answer:
        messages = [*self.history[side], {"role": "user", "content": text}]
        sent = self._prompt.tokenizer.prepared(messages)
        began = time.monotonic()
        try:
            reply = await self._client.complete(side, sent, seed=self.seed)
        except CallFailed as error:
            reason = error.reason.removeprefix(f"openai/{self._served.model(side)}: ")
            if reason == "Internal Server Error":
                reason = f"{self._served.server.last_words()}; the server's log: {self._served.server.log}"
            return Answer("" if error.empty else None, time.monotonic() - began, error=reason)
        except UserError as error:
            server = self._served.server
            reason = str(error).partition(" (")[2].removesuffix(")") or str(error)
            why = f"did not answer: {reason}" if server.runs() else f"ended: {server.last_words()}"
            raise UserError(f"{side}: the server {why}; its log: {server.log}", exit_code=3) from None
        if reply.tokens_in is not None:
            self._compare(reply.tokens_in, messages)
        self.history[side] = [*messages, {"role": "assistant", "content": reply.text}]
        return Answer(reply.text, reply.latency_s, cut=reply.finish == "length")

    def _compare(self, seen: int, messages: list[ChatMessage]) -> None:
        meant = len(self._prompt.ids(messages))
        if seen != meant and not self._warned:
            self._warned = True
            self._warn(
                f"the server's prompt has {seen} tokens, in training it would have {meant}: the template is not "
                "applied as it was there"
            )


@contextmanager
def opened(
    run: Run,
    *,
    only: Side | None,
    sampling: Sampling,
    warn: Callable[[str], None],
    system: Callable[[Plan, ChatTokenizer], tuple[str | None, str]] = trained_system,
) -> Iterator[Chat]:
    """Start what a finished run needs to be talked to. `system`: the system message, and what there is to say of it.

    Raises UserError.
    """
    from loopreview.train.base import Base, fetch
    from loopreview.train.plan import read_plan, refuse_changed

    refuse_changed(run)
    plan = read_plan(run.plan_file)
    sides = (only,) if only else SIDES
    base = Base.open(plan.base)
    check_tokenizer(base.tokenizer, base.folder, plan)
    prompt = Prompt(base.tokenizer)
    if prompt.warning:
        warn(prompt.warning)
    if run.read_json(run.revoked_file):
        warn(f"{run.id}: transcripts that it was trained on were revoked since")
    opening, about = system(plan, base.tokenizer)
    if about:
        warn(about)
    tuned = run.adapter if plan.adapter == "full" else run.merged
    if plan.backend == "cuda" and "tuned" in sides and not _complete(tuned):
        _merge(run, warn)
    free = _free_memory(run, plan) if plan.backend == "cuda" and not only else None
    folder = fetch(plan.base)
    _avoid_proxies()
    # Loading litellm takes as long as a server takes to start.
    threading.Thread(target=load, daemon=True).start()
    with serving(folder, plan, run.adapter, tuned, log=run.folder / "serve.log", sides=sides, free=free) as served:
        names: dict[Side, str] = {"base": plan.base, "tuned": str(run.adapter if plan.backend == "mlx" else tuned)}
        params = {side: _params(side, plan, served, prompt, folder, sampling) for side in sides}
        yield Chat(
            served, prompt, names=names, system=opening, sides=sides, params=params, seed=sampling.seed, warn=warn
        )


def _params(side: Side, plan: Plan, served: Served, prompt: Prompt, folder: Path, sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = dict(served.extra[side])
    if prompt.arguments:
        body["chat_template_kwargs"] = prompt.arguments
    end = unknown_end(prompt.tokenizer, folder)
    if plan.backend == "mlx":
        if end:
            body["stop"] = [end[0]]
    else:
        # It draws only where this file of the model, or this text, says so, whatever the temperature.
        config: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if end:
            config["eos_token_id"] = end[1]
        body["generation_config"] = json.dumps(config)
    return {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "extra_body": body}


def _free_memory(run: Run, plan: Plan) -> int:
    """Bytes on the device that answers: the GPU that was trained on, else the CPU."""
    from loopreview.train.machine import look

    devices = look(run.folder).devices
    return next((device for device in devices if device.kind == plan.device), devices[-1]).free


def _avoid_proxies() -> None:
    """A proxy that the environment names is not for our own loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        named = os.environ.get(name, "")
        if "127.0.0.1" not in named:
            os.environ[name] = ",".join(filter(None, (named, "127.0.0.1")))


def _complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _merge(run: Run, warn: Callable[[str], None]) -> None:
    """By the command that a person would type, so that no trainer is loaded here."""
    warn(f"{run.id}: merging base and adapter, once; a large model takes minutes")
    command = [sys.executable, "-P", "-m", "loopreview", "train", "merge", str(run.folder)]
    quiet = subprocess.DEVNULL
    done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode or not _complete(run.merged):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(
            f"could not be merged: {said[-1].removeprefix('loopreview: ')}", exit_code=2 if done.returncode == 2 else 3
        )
