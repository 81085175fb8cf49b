"""One example as the model will see it, before anything is exported."""

from typing import TYPE_CHECKING

from loopreview.dataset.talk import talk_of
from loopreview.models.errors import UserError
from loopreview.store import transcripts
from loopreview.store.values import storable
from loopreview.workspace import Workspace

if TYPE_CHECKING:
    from loopreview.tokens.conversation import Example
    from loopreview.tokens.tokenizer import ChatTokenizer


def preview(workspace: Workspace, tokenizer: "ChatTokenizer", transcript: str, exchange: int) -> "Example":
    """The slice that ends with `exchange` (from 1): its text, its ids, and which part is supervised.

    Raises UserError where there is no such transcript or exchange, or the chat template does not take it.
    """
    from loopreview.tokens.conversation import Conversation

    talk = talk_of(transcripts.get(workspace.store, transcript), storable(workspace.prompts["system"].strip()))
    if not 1 <= exchange <= len(talk.ends):
        raise UserError(f"{transcript}: has no exchange {exchange}; it has 1 to {len(talk.ends)}")
    talk = talk.merged(tokenizer.prepared(talk.messages))
    end = talk.ends[exchange - 1]
    return Conversation(tokenizer, talk.messages, talk.tools).example(end, [end - 1])
