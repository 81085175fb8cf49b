"""What calls cost, and a job that stops before it costs more than it may."""

from typing import Any

from loopreview.llm.provider import is_offline, load, provider_of
from loopreview.models.errors import UserError
from loopreview.models.settings import ModelSettings

_MILLION = 1_000_000
_UNMEASURED_OUTPUT = 1000
"""Tokens an answer is taken to have before the first one was seen and where nothing limits it."""


def cost_of(backend: ModelSettings, tokens_in: int | None, tokens_out: int | None) -> float | None:
    """US dollars; None where price or tokens are unknown. `price` of the settings first, then litellm's local list.

    The list knows prices of providers, not of a server at an `api_base` of one's own that uses the same name; and
    its zeros are gaps rather than gifts.
    """
    if is_offline(backend.model):
        return 0.0
    if tokens_in is None or tokens_out is None:
        return None
    if backend.price:
        return (tokens_in * backend.price.input + tokens_out * backend.price.output) / _MILLION
    provider = provider_of(backend.model, backend.api_base)
    if provider is None or (backend.api_base and provider not in ("azure", "azure_ai")):
        return None
    try:
        prices: Any = load().cost_per_token(
            model=backend.model, prompt_tokens=tokens_in, completion_tokens=tokens_out, custom_llm_provider=provider
        )
    except Exception:  # litellm raises many kinds for a model it has no price of
        return None
    return float(sum(prices)) or (0.0 if _listed_and_nothing_used(backend, tokens_in + tokens_out) else None)


def _listed_and_nothing_used(backend: ModelSettings, tokens: int) -> bool:
    return tokens == 0 and bool(cost_of(backend, _MILLION, _MILLION))


class Budget:
    """Dollars spent and promised to calls under way, against a limit."""

    def __init__(self, limit_usd: float | None) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self._promised = 0.0
        self._longest: dict[str, int] = {}

    def expected_tokens(self, name: str, backend: ModelSettings) -> int:
        """Tokens the next answer may have: the longest so far, else `max_tokens`."""
        limit = backend.params.get("max_completion_tokens") or backend.params.get("max_tokens")
        return self._longest.get(name) or (limit if isinstance(limit, int) else _UNMEASURED_OUTPUT)

    def promise(self, cost_usd: float | None) -> float:
        """Sets aside what a call may cost; give it back with `settle`. UserError (exit 3) where it is not there."""
        amount = cost_usd or 0.0
        if self.limit_usd is not None and self.spent_usd + self._promised + amount > self.limit_usd:
            raise UserError(
                f"the next call may cost ${amount:.4f}; ${self.spent_usd + self._promised:.4f} of "
                f"budget_usd = {self.limit_usd:g} are spent or under way. "
                "Raise budget_usd and give the same command: it goes on where it stopped",
                exit_code=3,
            )
        self._promised += amount
        return amount

    def settle(self, promised: float) -> None:
        self._promised = max(0.0, self._promised - promised)

    def add(self, name: str, cost_usd: float | None, tokens_out: int | None) -> None:
        self.spent_usd += cost_usd or 0.0
        self._longest[name] = max(self._longest.get(name, 0), tokens_out or 0)
