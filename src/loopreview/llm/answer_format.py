"""How a model is asked for JSON: by schema, as any JSON object, or in words alone."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from loopreview.llm.provider import is_offline, load
from loopreview.models.settings import ModelSettings

Format = Literal["schema", "object", "text"]


def first(backend: ModelSettings, provider: str) -> Format:
    """Where to begin: litellm silently drops what it knows a provider not to have, so words are added there."""
    if is_offline(backend.model):
        return "schema"
    try:
        known = load().get_supported_openai_params(backend.model, custom_llm_provider=provider) or []
    except Exception:  # a model it has no list for
        return "schema"
    return "schema" if "response_format" in known else "text"


def weaker(how: Format) -> Format:
    return "object" if how == "schema" else "text"


def after(how: Format, text: str) -> Format:
    """The format to use next, seen this answer. A server that ignores the schema, as several do, answers in prose: it
    is told the schema in words from then on."""
    return how if text.lstrip().startswith(("{", "[", "```")) else "text"


def asked(
    how: Format, messages: list[dict[str, str]], schema: Mapping[str, Any]
) -> tuple[list[dict[str, str]], dict[str, Any] | None]:
    """The messages and the `response_format` to send. The schema in words goes to the very end, where it does not
    disturb a cached prefix."""
    if how == "schema":
        return messages, {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(schema), "strict": _is_strict(schema)},
        }
    words = (
        "Answer with one JSON value and nothing else: no code fence, no remarks. It must fit this JSON schema:\n"
        + json.dumps(schema, ensure_ascii=False, sort_keys=True)
    )
    if messages and messages[-1]["role"] == "user":
        told = [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{words}"}]
    else:
        told = [*messages, {"role": "user", "content": words}]
    return told, {"type": "json_object"} if how == "object" else None


def _is_strict(schema: Any) -> bool:
    """Whether a schema keeps the rules of strict modes: every object closed, every property required."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" or "properties" in schema:
            closed = schema.get("additionalProperties") is False
            if not closed or set(schema.get("required", ())) != set(schema.get("properties", {})):
                return False
        return all(_is_strict(value) for value in schema.values())
    if isinstance(schema, list):
        return all(_is_strict(value) for value in schema)
    return True
