"""A reply drawn anew: the assistant, as it is set up now, is asked once more at one place of a conversation."""

import random
from typing import Any

from loopreview.llm.reply import About, CallFailed
from loopreview.loop.batch import client_of, run
from loopreview.models.errors import UserError
from loopreview.models.transcript import Message, Transcript
from loopreview.rules.prompts import assistant_messages
from loopreview.store import transcripts
from loopreview.workspace import Workspace

ROLE = "assistant"


def before_reply(transcript: Transcript, exchange: int) -> list[Message]:
    """The messages that stand before the assistant's first reply of an exchange (from 1).

    Raises UserError where there is no such exchange, or where the assistant speaks first in it.
    """
    number, replied = 1, False
    for position, message in enumerate(transcript.messages):
        if message.role == "user" and replied:
            number, replied = number + 1, False
        if message.role == "assistant" and not replied:
            if number == exchange:
                if not any(m.role == "user" for m in transcript.messages[:position]):
                    raise UserError(f"{transcript.id}: the assistant speaks first there; there is nothing to answer")
                return transcript.messages[:position]
            replied = True
    raise UserError(f"{transcript.id}: has no exchange {exchange}; it has 1 to {len(transcript.exchanges)}")


def redraw(
    workspace: Workspace, transcript: str, exchange: int, *, dry_run: bool = False, fresh: random.Random
) -> dict[str, Any]:
    """Draw another reply, or with `dry_run` say what that costs. Nothing but the call is stored: whoever asked accepts
    it with a mark. `fresh` gives the seed, so that each drawing differs.

    Returns what `review redraw --json` prints: `text` and `model` are null in a dry run, `cost_usd` where the price is
    not known. Raises UserError for what stops the call (exit 2 or 3).
    """
    found = transcripts.get(workspace.store, transcript)
    asked = assistant_messages(workspace.prompts[ROLE], before_reply(found, exchange))
    client = client_of(workspace)
    client.check([ROLE])
    result: dict[str, Any] = {"transcript": found.id, "exchange": exchange, "calls": 1, "text": None, "model": None}
    if dry_run:
        told = sum(len(message["content"]) for message in asked)
        reply = len(found.exchanges[exchange - 1].assistant)
        # About four characters a token; a new reply is about as long as the one that stands.
        return result | {"cost_usd": client.estimate(ROLE, told // 4, reply // 4)}
    about = About("redraw", found.batch, found.id)
    try:
        answered = run(client.complete(ROLE, asked, seed=fresh.randrange(2**31), about=about), client)
    except CallFailed as error:
        raise UserError(f"{found.id}: no other reply could be drawn ({error.reason}); try again", exit_code=3) from None
    if answered.refused or not answered.text.strip():
        raise UserError(f"{found.id}: the assistant gave no reply; try again", exit_code=3)
    return result | {"text": answered.text, "model": answered.model, "cost_usd": answered.cost_usd}
