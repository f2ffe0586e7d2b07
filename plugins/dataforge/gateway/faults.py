"""What an error of a provider's client means, as one of the gateway's own errors.

The clients are not imported here: their errors are told by class names, HTTP status and the causes behind them. Texts
of providers are cut short, and hold neither keys nor what was sent.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dataforge.components.retry import of_status
from dataforge.errors import (
    AnswerUnfit,
    GatewayError,
    ModelAway,
    ModelFull,
    ModelRefused,
    ModelSlow,
    PromptTooLong,
    bounded,
)
from dataforge.gateway.base import Call
from dataforge.gateway.lines import Line
from dataforge.gateway.redaction import masked
from dataforge.observability import log

MAX_REASON = 300
_LONG = re.compile(
    r"context (length|window|size)|maximum context|too many tokens|prompt is too long|exceeds? the (available )?context"
    r"|context_length_exceeded|input length|input is too long",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|credit balance|billing", re.IGNORECASE)
_CONNECT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "ConnectionError"}
_SLOW = {"ReadTimeout", "WriteTimeout", "TimeoutException", "TimeoutError"}
_BROKEN = {"RemoteProtocolError", "ReadError", "WriteError", "CloseError", "LocalProtocolError", "DecodingError"}


@dataclass(frozen=True)
class Place:
    """Which provider behind which connection, for the texts of errors; `secrets` must not stand in them."""

    connection: str
    provider: str
    url: str
    secrets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"connection {self.connection!r} ({self.provider} at {self.url})"


def fault(error: BaseException, place: Place, line: Line, call: Call | None = None) -> GatewayError:
    """Return what the error means; `line` tells what the server asked for."""
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, AnswerUnfit) and place.connection not in str(one):
            return AnswerUnfit(f"{place}: {one}")
        if isinstance(one, GatewayError):
            return one
    for one in chain:
        status = getattr(one, "status_code", None)
        if isinstance(status, int) and status >= 300:
            return _of_status(status, _reason(one, place), place, line, call)
    names = {base.__name__ for one in chain for base in type(one).__mro__}
    if names & _CONNECT:
        return ModelAway(f"{place}: no model server can be reached there", place.connection)
    if names & _SLOW:
        return ModelSlow(f"{place}: the model server does not answer")
    if names & _BROKEN:
        return AnswerUnfit(f"{place}: the answer broke off before its end")
    if "ResponseError" in names or "APIError" in names:  # told inside of a stream that began well
        reason = _reason(error, place)
        if _LONG.search(reason):
            return PromptTooLong(f"{place}: {reason}")
        return AnswerUnfit(f"{place}: the model server broke its answer off: {reason}")
    log.line("model client failed", level=logging.DEBUG, connection=place.connection, error=type(error).__name__)
    return AnswerUnfit(f"{place}: what the server sent is no answer of a model ({type(error).__name__})")


def _of_status(status: int, reason: str, place: Place, line: Line, call: Call | None) -> GatewayError:
    model = f" for model {call.model!r}" if call is not None else ""
    if status < 400:
        return ModelRefused(f"{place}: the server leads elsewhere (HTTP {status}); write the right address")
    if status in (401, 403):
        return ModelRefused(f"{place}: the key is not accepted{model} (HTTP {status}: {reason})")
    if status == 413 or (status in (400, 422, 500) and _LONG.search(reason)):
        return PromptTooLong(
            f"{place}: the request does not fit into the context of {call.model if call else '?'!r}: {reason}"
        )
    if status == 404 and call is not None:
        return ModelRefused(f"{place}: there is no model {call.model!r} (HTTP 404: {reason}); see `dataforge models`")
    if status == 429:
        wait = 3_600.0 if _QUOTA.search(reason) else line.retry_after
        return ModelFull(f"{place}: too many requests (HTTP 429: {reason})", place.connection, wait)
    if of_status(status) != "terminal" or status >= 500:
        return ModelAway(
            f"{place}: the model server fails (HTTP {status}: {reason})", place.connection, line.retry_after
        )
    return ModelRefused(f"{place}: the request is not taken (HTTP {status}: {reason})")


def _reason(error: BaseException, place: Place) -> str:
    """Return the provider's own words, shortened and without anything secret."""
    body = getattr(error, "body", None)
    text = str(getattr(error, "error", "") or "") or (json.dumps(body) if body is not None else str(error))
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if isinstance(data, dict):
        inner = data.get("error", data)
        found = inner.get("message", inner) if isinstance(inner, dict) else inner
        code = f" [{inner['code']}]" if isinstance(inner, dict) and isinstance(inner.get("code"), str) else ""
        text = f"{found}{code}"
    text = masked(text, place.secrets)
    text = re.sub(r"sk-\S*\*+\S*", "***", " ".join(text.split()))
    return bounded(text, MAX_REASON) or "no reason given"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
