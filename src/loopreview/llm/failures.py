"""What to do about a call that raised, by class of error."""

import email.utils
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from loopreview.llm.secrets import scrub

Action = Literal["key", "model", "credit", "unreachable", "wait", "again", "format", "fail"]
"""key, model, credit: stop everything. unreachable: a few short retries, then stop. wait (rate limit), again
(time-out, server error, nonsense): retry. format: ask for JSON in another way. fail: this call only."""


class Failure(NamedTuple):
    action: Action
    reason: str
    wait_s: float | None = None
    """What the server asks for, in seconds."""


_FORMAT = re.compile(r"response.?format|json.?schema|json.?object|grammar|structured.?output|guided", re.IGNORECASE)
_KEY = re.compile(
    r"(invalid|incorrect|missing|wrong|not valid|expired|no)\W.{0,30}(api|access|auth)\w*.?(key|token)"
    r"|(api|access).?(key|token)\W.{0,30}(invalid|incorrect|missing|not valid|expired|required)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context (length|window|size)|maximum context|too many tokens|prompt is too long|exceeds? the available", re.I
)
_CONTENT = re.compile(r"content.?(filter|policy|management)|safety (system|setting)|blocked by", re.IGNORECASE)
_CREDIT = re.compile(r"insufficient.?(quota|credit|balance|funds)|exceeded your current quota|credit balance", re.I)
_NOISE = re.compile(r"^(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?::\s*| - )", re.IGNORECASE)


def classify(error: BaseException) -> Failure:
    """Sorts what litellm raised. Status codes decide before words: the same class stands for several causes there."""
    chain = list(_causes(error))
    reason = reason_of(error)
    status = _status(error)
    if any(_is_unreachable(cause) for cause in chain):
        return Failure("unreachable", _why_unreachable(chain))
    if status in (401, 403):
        return Failure("key", reason)
    if status == 402 or _CREDIT.search(reason):
        return Failure("credit", reason)
    if status == 404 or type(error).__name__ == "LiteLLMUnknownProvider":
        return Failure("model", reason)
    if status == 429:
        return Failure("wait", reason, retry_after(error))
    if type(error).__name__ == "ContextWindowExceededError" or status == 413 or _CONTEXT.search(reason):
        return Failure("fail", f"longer than the model can read: {reason}")
    if type(error).__name__ == "ContentPolicyViolationError" or (status == 400 and _CONTENT.search(reason)):
        return Failure("fail", f"declined by the provider's content filter: {reason}")
    if status in (400, 422) and not any("JSONDecodeError" in type(cause).__name__ for cause in chain):
        if _KEY.search(reason):
            return Failure("key", reason)
        if _FORMAT.search(reason):
            return Failure("format", reason)
        return Failure("fail", reason)
    if isinstance(error, AttributeError) and "choices" in str(error):  # litellm's way to report an openai 422
        return Failure("format", "the server refuses the request (422)")
    if isinstance(error, TimeoutError) or status == 408:
        return Failure("again", "no answer within the time limit", retry_after(error))
    return Failure("again", reason, retry_after(error))


def reason_of(error: BaseException) -> str:
    """One line of at most 200 characters: the server's own words, without litellm's layers and without secrets."""
    text = str(error).split("Traceback (most recent call last)")[0]
    if match := re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)+)"', text):
        text = match[1]
    text = " ".join(text.split())
    while match := _NOISE.match(text):
        text = text[match.end() :]
    text = re.sub(r"\s*(Handle with|Received Model Group|LiteLLM Retried).*$", "", text)
    text = scrub(text).strip() or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def retry_after(error: BaseException, *, now: float | None = None) -> float | None:
    """Seconds that the server asks to wait (`Retry-After` as seconds or as an HTTP date, `retry-after-ms`)."""
    headers: dict[str, str] = {}
    for holder in (
        getattr(getattr(error, "response", None), "headers", None),
        getattr(error, "litellm_response_headers", None),
    ):
        headers.update({str(k).lower(): str(v) for k, v in dict(holder or {}).items()})
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if (seconds := _number(value)) is not None:
        return max(0.0, seconds)
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, at - (time.time() if now is None else now))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None


def _status(error: BaseException) -> int | None:
    code: Any = getattr(error, "status_code", None)
    try:
        return int(code)
    except (TypeError, ValueError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < 10:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_unreachable(error: BaseException) -> bool:
    return isinstance(error, ConnectionRefusedError | socket.gaierror) or type(error).__name__ in (
        "ConnectError", "ConnectTimeout", "ClientConnectorError", "ClientConnectorDNSError", "ServerTimeoutError",
    )  # fmt: skip


def _why_unreachable(chain: list[BaseException]) -> str:
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "connection refused"
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return "no such host"
    return "no connection"
