"""One GraphQL request after the other: errors inside of answers, and rate limits that are counted in points."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _json_text
from dataforge.sources._http import Answer, Client, Ruling

THROTTLED = frozenset({"THROTTLED", "RATE_LIMITED", "RATELIMITED", "TOO_MANY_REQUESTS", "MAX_COST_EXCEEDED_RATE"})
MAX_PAUSE = 900.0
"""Longest pause in seconds for a limit to pass; beyond it the task's own retries take over."""
# As GraphQL has it: a carriage return ends a line too, a byte order mark is a blank, and in a block string a backslash
# says something only before three quotes.
_SKIPPED = re.compile(r'"""(?:\\"""|(?!""").)*"""|"(?:[^"\\\r\n]|\\.)*"|#[^\r\n]*', re.DOTALL)
_WRITES = re.compile(r"(?:\A|[}\s,\ufeff])(mutation|subscription)\b")


def without_texts(text: str) -> str:
    """Return a GraphQL document with a blank in place of each text and comment."""
    return _SKIPPED.sub(" ", text)


def check_query(text: str) -> str:
    """Return a GraphQL document that only reads; ValueError for one that writes, or whose braces don't close."""
    plain = without_texts(text)
    depth, top = 0, []
    for char in plain:
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            top.append("}")
        elif depth == 0:
            top.append(char)
        if depth < 0:
            break
    if depth != 0 or "{" not in plain:
        raise ValueError("the query is no GraphQL document: its braces don't close")
    if match := _WRITES.search("".join(top)):
        raise ValueError(f"a source only reads: the query holds a {match[1]}")
    return text


@dataclass
class Points:
    """What is known of a limit that is counted in points: how many there are, and how fast they come back."""

    available: float = 0.0
    restore: float = 0.0
    needed: float = 0.0
    at: float = field(default=0.0)

    def pause(self) -> float:
        """Return the seconds until the next request can be paid."""
        if self.restore <= 0 or self.needed <= 0:
            return 0.0
        missing = self.needed - self.available - (time.monotonic() - self.at) * self.restore
        return max(0.0, missing / self.restore)

    def learn(self, cost: Mapping[str, Any]) -> None:
        """Take over what `extensions.cost` of an answer says."""
        status = cost.get("throttleStatus")
        if not isinstance(status, Mapping):
            return
        self.available, self.restore = _number(status.get("currentlyAvailable")), _number(status.get("restoreRate"))
        asked, most = _number(cost.get("requestedQueryCost")), _number(status.get("maximumAvailable"))
        self.needed = min(asked, most) if most else asked
        self.at = time.monotonic()


class Conversation:
    """Asks a GraphQL endpoint; an answer with errors is a failure also where it has data."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.url, self.points = client, url, Points()
        self._first, client.judge = client.judge, self.judge

    def ask(self, query: str, variables: Mapping[str, Any], operation: str | None = None) -> Answer:
        """Return the answer to a query, after the pause that the limit asks for."""
        if (pause := self.points.pause()) > 0:
            self._sleep(pause, "points of the rate limit come back")
        body: dict[str, Any] = {"query": query, "variables": dict(variables)}
        if operation:
            body["operationName"] = operation
        answer = self.client.send("POST", self.url, None, body)
        if answer.file is not None:
            raise TerminalError("the answer is too large for memory; ask for fewer records per page")
        if not answer.body.lstrip().startswith(b"{"):
            raise TerminalError(f"{self.url} answered no GraphQL: {self.client.excerpt(answer.body)}")
        self._learn(answer)
        return answer

    def judge(self, answer: Answer) -> Ruling | None:
        """Decide about an answer by its `errors`; one that says that the limit is reached is asked for again."""
        if (ruling := self._first(answer)) is not None:
            return ruling
        errors = _at(answer.body, "errors")
        if not isinstance(errors, list) or not errors:
            return None
        if cost := _at(answer.body, "extensions.cost"):
            self.points.learn(cost if isinstance(cost, Mapping) else {})
        if any(_code(error) in THROTTLED for error in errors):
            pause = self.points.pause()
            self.points = Points()  # the wait before the next try has paid for it
            return Ruling("rate_limited", "the rate limit is reached", pause if pause > 0 else None)
        told = "; ".join(_told(error) for error in errors[:3])
        return Ruling("fail", self.client.redact(told)[:600])

    def _learn(self, answer: Answer) -> None:
        cost = _at(answer.body, "extensions.cost")
        if isinstance(cost, Mapping):
            self.points.learn(cost)
            return
        if answer.headers.get("x-ratelimit-remaining") == "0" and (reset := answer.headers.get("x-ratelimit-reset")):
            until = _number(reset)
            self._sleep(until - time.time() if until > 1e9 else until, "the rate limit's hour ends")
            return
        limit = _at(answer.body, "data.rateLimit")
        if isinstance(limit, Mapping) and _number(limit.get("remaining"), 1.0) < max(1.0, _number(limit.get("cost"))):
            self._sleep(_until(str(limit.get("resetAt"))), "the rate limit's hour ends")

    def _sleep(self, seconds: float, reason: str) -> None:
        if seconds <= 0:
            return
        if seconds > min(MAX_PAUSE, self.client.ends - time.monotonic()):
            raise TransientError(f"the rate limit of {self.url} is used up for {seconds:.0f} s more")
        self.client.log("waiting", seconds=round(seconds, 3), reason=reason)
        time.sleep(seconds)


def nodes(body: bytes, path: str) -> tuple[list[Any], dict[str, Any] | None]:
    """Return the records at a path below `data`, each as its own text, and the `pageInfo` beside them.

    The path may lead to a list, to a connection (`nodes` or `edges`), or to one object. TerminalError where there is
    nothing, which an answer without errors does not give.
    """
    place = f"data.{path}" if path else "data"
    text = _json_text.value_at(body, place)
    if text is None:
        if _has_null(body, place):
            return [], None
        raise TerminalError(f"the answer has nothing at {place!r}")
    return members(text, place)


def members(text: bytes, place: str) -> tuple[list[Any], dict[str, Any] | None]:
    """Return the records of a connection, list or object, each as its own text, and the `pageInfo` of a connection."""
    if text[:1] != b"{":
        return _present(text, place), None
    page = _at(text, "pageInfo")
    info = page if isinstance(page, dict) else None
    if (found := _json_text.value_at(text, "nodes")) is not None and found[:1] == b"[":
        return _present(found, place), info
    if (found := _json_text.value_at(text, "edges")) is not None and found[:1] == b"[":
        edges = [_json_text.value_at(bytes(edge), "node") for edge in _present(found, place)]
        return [edge for edge in edges if edge is not None], info
    return [text], info


def _present(text: bytes, place: str) -> list[Any]:
    records = _json_text.records_at(text, "")
    if records is None:
        raise TerminalError(f"{place!r} holds no object and no list")
    return [record for record in records if bytes(record).strip() != b"null"]


def _at(body: bytes, path: str) -> Any:
    try:
        text = _json_text.value_at(body, path) if body.lstrip()[:1] == b"{" else None
        return json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None


def _has_null(body: bytes, path: str) -> bool:
    """Whether null stands at a path: an object that is not there, as the schema allows."""
    value: Any = json.loads(body)
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
        if value is None:
            return True
    return False


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return str(code or (error.get("type") if isinstance(error, dict) else "") or "").upper()


def _told(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)[:200]
    path = ".".join(map(str, error["path"])) if isinstance(error.get("path"), list) else ""
    code = _code(error)
    return f"{str(error.get('message'))[:200]!r}" + (f" at {path}" if path else "") + (f" [{code}]" if code else "")


def _number(value: Any, default: float = 0.0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def _until(text: str) -> float:
    try:
        then = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return (then - datetime.now(timezone.utc)).total_seconds()
