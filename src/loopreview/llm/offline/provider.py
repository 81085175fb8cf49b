"""The offline models as a litellm provider, so that each call takes the path of a real one."""

import asyncio
import os
import time
from typing import Any

from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import Usage

from loopreview.llm.offline.answering import answer, tokens

LATENCY_VARIABLE = "LOOPREVIEW_OFFLINE_LATENCY"


class OfflineModels(CustomLLM):
    """Answers from the messages, the schema and the seed alone."""

    def completion(self, *args: Any, **given: Any) -> Any:
        time.sleep(_latency_s())
        return _response(given)

    async def acompletion(self, *args: Any, **given: Any) -> Any:
        if latency_s := _latency_s():
            await asyncio.sleep(latency_s)
        return _response(given)


def _latency_s() -> float:
    try:
        return max(0.0, float(os.environ.get(LATENCY_VARIABLE) or 0))
    except ValueError:
        return 0.0


def _response(given: dict[str, Any]) -> Any:
    """Fills litellm's response; it needs a model name of its own, which litellm would otherwise make up."""
    options = given.get("optional_params") or {}
    messages = given["messages"]
    text = answer(given["model"], messages, options.get("response_format"), options.get("seed"))
    response = given["model_response"]
    response.model = f"offline/{given['model']}"
    response.choices[0].message.content = text
    response.choices[0].finish_reason = "stop"
    tokens_in = sum(tokens(str(message.get("content") or "")) for message in messages)
    tokens_out = tokens(text)
    response.usage = Usage(prompt_tokens=tokens_in, completion_tokens=tokens_out, total_tokens=tokens_in + tokens_out)
    return response
