"""Keys: which variable holds one, whether it is there, and keeping its value out of every message."""

import os
import re
from urllib.parse import quote, urlsplit, urlunsplit

from loopreview.llm.provider import OFFLINE, is_offline, load
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings

NO_KEY = "no-key"
"""Sent to a server of the user's own that needs no key, so that no key from the environment goes there."""

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SECRET_SHAPE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|r8|nvapi|glpat|ghp)[-_][A-Za-z0-9*._-]{10,}|\bAIza[A-Za-z0-9_-]{20,}"
    r"|(?i:bearer\s+)[^\s'\",}]{6,}"
    r"|(?<=[?&]key=)[^&\s'\"]+"
)
_OWN_LOGIN = frozenset(
    {OFFLINE, "vertex_ai", "bedrock", "sagemaker", "ollama", "ollama_chat", "github_copilot", "chatgpt"}
)
"""Providers that need no key, or find their credentials in other places than one variable."""
_KEY_VARIABLES = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY"),
    "text-completion-openai": ("OPENAI_API_KEY",),
}


def scrub(text: str) -> str:
    """`text` with the value of each secret of the environment replaced by its variable's name, and whatever looks
    like a key or a password in an address removed."""
    secrets = [(n, v) for n, v in os.environ.items() if _SECRET_NAME.search(n) and len(v.strip()) >= 6]
    for name, value in sorted(secrets, key=lambda pair: -len(pair[1])):
        for form in {value, value.strip(), quote(value, safe="")}:
            text = text.replace(form, f"${name}")
    text = re.sub(r"(?<=://)[^/\s@]+@", "", text)
    return _SECRET_SHAPE.sub("[key removed]", text)


def shown_address(api_base: str | None) -> str:
    """An address as it may be shown: without a query, which can hold a key."""
    return urlunsplit(urlsplit(api_base)._replace(query="")) if api_base else ""


def key_for(backend: ModelSettings) -> str | None:
    """The key to send: that of `api_key_env`; a dummy to a server of the user's own without one; None leaves it to
    litellm, which reads the provider's own variable."""
    if is_offline(backend.model):
        return None
    if backend.api_key_env:
        return os.environ.get(backend.api_key_env, "").strip() or NO_KEY
    return NO_KEY if backend.api_base else None


def key_variable(backend: ModelSettings, provider: str) -> str | None:
    """The variable a key of this backend is read from; None where none is sent."""
    if backend.api_key_env:
        return backend.api_key_env
    if backend.api_base or provider in _OWN_LOGIN:
        return None
    names = _KEY_VARIABLES.get(provider, (f"{provider.upper()}_API_KEY",))
    return next((name for name in names if os.environ.get(name)), names[0])


def require_key(role: str, backend: ModelSettings, provider: str) -> None:
    """Raises UserError (exit 2) that names the variable, where a key that will be needed is not set."""
    if backend.api_key_env:
        if not os.environ.get(backend.api_key_env, "").strip():
            raise UserError(
                f"{role}: the variable {backend.api_key_env} (its `api_key_env`) is not set; "
                f"set it to the key for {backend.model}"
            )
        return
    if backend.api_base or provider in _OWN_LOGIN:
        return
    found = load().validate_environment(backend.model)
    missing = [str(name) for name in found["missing_keys"] if not _given(str(name), backend)]
    usual = f"{provider.upper()}_API_KEY"
    if not missing and os.environ.get(usual) is not None and not os.environ[usual].strip():
        missing = [usual]
    if missing:
        alternatives = " or ".join(missing) if provider == "gemini" else ", ".join(missing)
        raise UserError(
            f"{role}: {backend.model} needs {alternatives}, not set in the environment; "
            "set it, or name another variable as `api_key_env`"
        )


def _given(variable: str, backend: ModelSettings) -> bool:
    """Whether `params` gives what a variable would (AZURE_API_VERSION as api_version)."""
    return any(variable.lower().endswith(key.lower()) for key in backend.params)
