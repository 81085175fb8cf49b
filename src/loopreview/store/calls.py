"""Every model call: what it was for, what it took."""

from typing import NamedTuple

from loopreview.store.database import Store
from loopreview.store.values import now, storable, storable_or_none


class Cost(NamedTuple):
    """US dollars of the calls with a known price, calls without one, and all calls."""

    known_usd: float
    unknown: int
    calls: int


def record(
    store: Store,
    role: str,
    model: str,
    purpose: str,
    batch: int | None = None,
    transcript: str | None = None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
    cost_usd: float | None = None,
    latency_s: float | None = None,
) -> None:
    """Note one call. `cost_usd` None: the price is unknown."""
    with store.writing():
        store.execute(
            "INSERT INTO calls (at, role, model, purpose, batch, transcript, tokens_in, tokens_out, cost_usd,"
            " latency_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now(), storable(role), storable(model), storable(purpose), batch, storable_or_none(transcript),
                tokens_in, tokens_out, cost_usd, latency_s,
            ),
        )  # fmt: skip


def cost(store: Store, batch: int | None = None) -> Cost:
    """What the calls of a batch, or all calls, cost."""
    where, parameters = ("", ()) if batch is None else (" WHERE batch = ?", (batch,))
    row = store.one(f"SELECT total(cost_usd), count(*) - count(cost_usd), count(*) FROM calls{where}", parameters)
    return Cost(*row)
