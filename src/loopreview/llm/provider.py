"""Loads litellm once, quiet and without a network, with the offline models registered."""

import functools
import logging
import os
import warnings
from typing import Any

OFFLINE = "offline"
"""Prefix of the models that need no network: `offline/assistant`."""


@functools.cache
def load() -> Any:
    """The litellm module. The first call takes two to three seconds, so nothing imports it at the top of a module."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches a price map
    os.environ.setdefault("LITELLM_LOG", "CRITICAL")
    import litellm

    from loopreview.llm.offline.provider import OfflineModels

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.telemetry = False
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
    litellm.custom_provider_map = [
        *(entry for entry in litellm.custom_provider_map if entry["provider"] != OFFLINE),
        {"provider": OFFLINE, "custom_handler": OfflineModels()},
    ]
    return litellm


def is_offline(model: str) -> bool:
    return model.startswith(f"{OFFLINE}/")


def provider_of(model: str, api_base: str | None) -> str | None:
    """litellm's name for the provider of a model string, or None where it knows none."""
    prefix = model.split("/", 1)[0]
    if prefix == OFFLINE:
        return OFFLINE
    litellm = load()
    if prefix in ("github_copilot", "chatgpt"):  # asking about these starts a login
        return prefix
    try:
        return str(litellm.get_llm_provider(model, api_base=api_base)[1])
    except Exception:  # whatever it raises, the answer is that it does not know
        return None
