"""Generate: a simulated user with a persona talks with the assistant, one batch of transcripts at a time."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from loopreview.llm.client import About, CallFailed, Client, Reply
from loopreview.llm.together import run_all
from loopreview.models.hashing import content_hash
from loopreview.models.settings import Settings
from loopreview.models.transcript import Dice, Message, Transcript, exchanges_of, persona_name
from loopreview.progress import Progress
from loopreview.rules.dice import roll
from loopreview.rules.prompts import assistant_messages, user_sim_messages
from loopreview.rules.words import count_words
from loopreview.store import batches, calls, transcripts
from loopreview.workspace import Workspace

ROLES = ("user_sim", "assistant")


def choose_batch(workspace: Workspace, *, count: int, seed: int | None, fresh: random.Random) -> batches.Batch:
    """The batch that this command is about: the one that seed, count and versions name; without a seed an
    unfinished one; else a new one, with all its dice rolled and stored before its first message."""
    store, version = workspace.store, workspace.generation_version
    if seed is None:
        found = batches.unfinished(store, version)
    else:
        found = batches.find(store, seed=seed, count=count, generation_version=version)
    if found:
        return found
    chosen = fresh.randrange(2**31) if seed is None else seed
    dice = [
        roll(chosen, index, workspace.taxonomy, workspace.personas, workspace.settings) for index in range(1, count + 1)
    ]
    workspace.keep_versions()
    return batches.create_generated(store, seed=chosen, generation_version=version, dice=dice)


async def generate(
    workspace: Workspace,
    client: Client,
    batch: batches.Batch,
    progress: Progress,
    *,
    finished: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """Finish `batch` and say what is in it. Each message is stored as it arrives; what is there is not made anew.

    `finished` is awaited with the id of each transcript as it is completed. A transcript whose call failed for good
    stays as it is and is named under `errors`; the others go on. Raises UserError for what stops everything.
    """
    began = time.monotonic()
    before = calls.cost(workspace.store, batch.id)
    ids = transcripts.ids(workspace.store, batch.id)
    heads = {head.id: head for head in transcripts.heads(workspace.store, batch=batch.id)}
    missing = sum(
        2 * (head.target_exchanges or 0) - len(transcripts.get(workspace.store, id).messages)
        for id, head in heads.items()
        if not head.complete
    )
    errors: list[dict[str, Any]] = []
    progress.start(f"batch {batch.id}: messages", missing)

    async def one(id: str) -> None:
        try:
            await _converse(workspace, client, id, batch, progress)
        except CallFailed as error:
            have = transcripts.get(workspace.store, id)
            errors.append({"transcript": id, "exchange": len(have.exchanges) + 1, "reason": error.reason})
            progress.note(f"{id}: stopped at exchange {len(have.exchanges) + 1}: {error.reason}")
            return
        if finished:
            await finished(id)

    try:
        await run_all([one(id) for id in ids])
    finally:
        progress.finish()
    after = calls.cost(workspace.store, batch.id)
    return {
        "batch": batch.id,
        "seed": batch.seed,
        "transcripts": [_row(transcripts.get(workspace.store, id)) for id in ids],
        "calls": after.calls - before.calls,
        "cost_usd": None if after.unknown > before.unknown else round(after.known_usd - before.known_usd, 6),
        "seconds": round(time.monotonic() - began, 2),
        "errors": errors,
    }


def estimate(workspace: Workspace, client: Client, *, count: int) -> dict[str, Any]:
    """What a new batch would take: calls, and dollars where every price is known (redraws not counted)."""
    low, high = workspace.settings.exchanges
    exchanges = round((low + high) / 2)
    words = [sum(style.words) / 2 for style in workspace.personas.writing_styles.values()]
    message = 1.4 * sum(words) / len(words)
    prompt = {role: len(workspace.prompts[role]) / 4 for role in ROLES}
    # Each call reads the prompt and the conversation so far; a reply is about as long as the user's message.
    cost: float | None = 0.0
    for role in ROLES:
        read = exchanges * prompt[role] + exchanges**2 * 1.25 * message
        each = client.estimate(role, round(read), round(exchanges * message))
        cost = None if cost is None or each is None else cost + each * count
    return {"calls": count * exchanges * 2, "cost_usd": None if cost is None else round(cost, 4), "count": count}


async def _converse(workspace: Workspace, client: Client, id: str, batch: batches.Batch, progress: Progress) -> None:
    transcript = transcripts.get(workspace.store, id)
    dice = transcript.dice
    assert dice is not None, "a generated transcript has its dice"
    messages = list(transcript.messages)
    while len(messages) < 2 * dice.target_exchanges:
        role = ROLES[len(messages) % 2]
        message = await _next_message(workspace, client, role, dice, messages, id, batch)
        transcripts.append_message(workspace.store, id, len(messages), message)
        messages.append(message)
        progress.advance()


async def _next_message(
    workspace: Workspace,
    client: Client,
    role: str,
    dice: Dice,
    messages: list[Message],
    id: str,
    batch: batches.Batch,
) -> Message:
    """Ask for the next message, again where it is outside its limits; the last one is kept and marked."""
    prompt = workspace.prompts[role]
    asked = user_sim_messages(prompt, dice, messages) if role == "user_sim" else assistant_messages(prompt, messages)
    cost: float | None = 0.0
    reply: Reply | None = None
    faults: list[str] = []
    redraws = workspace.settings.max_redraws
    for attempt in range(redraws + 1):
        # A redraw is the same question under another seed: the assistant never sees our limits.
        seed = int(content_hash(dice.seed, dice.index, len(messages), attempt), 16) % 2**31
        try:
            reply = await client.complete(role, asked, seed=seed, about=About("generate", batch.id, id))
        except CallFailed as error:
            if error.empty and (attempt < redraws or reply is not None):
                continue
            raise
        cost = None if cost is None or reply.cost_usd is None else cost + reply.cost_usd
        faults = outside_limits(role, reply, dice, messages, workspace.settings)
        if not faults:
            break
    assert reply is not None
    if reply.refused:
        raise CallFailed(f"the model for {role} refused to answer")
    return Message(
        role="user" if role == "user_sim" else "assistant",
        text=reply.text,
        tokens=reply.tokens_out,
        latency_s=reply.latency_s,
        cost_usd=cost,
        model=reply.model,
        extra={"marks": faults} if faults else {},
    )


def outside_limits(role: str, reply: Reply, dice: Dice, messages: list[Message], settings: Settings) -> list[str]:
    """What is wrong with a message by counting alone; empty where nothing is."""
    if reply.refused:
        return ["refused"]
    faults = ["cut off"] if reply.finish == "length" else []
    words = count_words(reply.text)
    if role == "user_sim":
        least, most = dice.persona.words
        if not least <= words <= most:
            faults.append(f"{words} words, asked for {least} to {most}")
    else:
        most = int(settings.reply_ratio * max(1, count_words(messages[-1].text)))
        if words > most:
            faults.append(f"{words} words, at most {most} ({settings.reply_ratio:g} times the user's)")
    return faults


def _row(transcript: Transcript) -> dict[str, Any]:
    return {
        "id": transcript.id,
        "persona": persona_name(transcript.persona),
        "exchanges": len(exchanges_of(transcript.messages)),
        "complete": transcript.complete,
    }
