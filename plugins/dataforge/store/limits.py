"""Requests of persons, counted for all processes: at most so many of a kind within any so many seconds, exactly.

taken = take(store, "ada", "request", limit=100, seconds=900)

Where a Redis or Valkey server is configured, it counts in place of the store, by one script that nothing interrupts.
"""

from __future__ import annotations

import hashlib
import math
import time
import uuid
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, insert, select

from dataforge.errors import ConfigError, Problem, TransientError
from dataforge.store.database import Store
from dataforge.store.schema import REQUESTS

_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local window, limit = ARGV[1] * 1000000, tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local used = redis.call('ZCARD', KEYS[1])
local allowed = 0
if used < limit then
  allowed = 1
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {allowed, used, string.format('%.0f', first and first + window - now or window)}
"""
_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


@dataclass(frozen=True)
class Taken:
    """Whether one more was allowed; `reset` are the seconds until the next one is freed."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


def take(store: Store, actor: str, kind: str, *, limit: int, seconds: int) -> Taken:
    """Count one request of a person, unless `limit` of them lie within the last `seconds`."""
    actor = actor[:200]
    mine = (REQUESTS.c.actor == actor, REQUESTS.c.kind == kind)
    with store.transaction(durable=False) as connection:
        store.lock(connection, f"requests {kind} {actor}")
        now = time.time()
        connection.execute(delete(REQUESTS).where(*mine, REQUESTS.c.at <= now - seconds))
        used, first = connection.execute(select(func.count(), func.min(REQUESTS.c.at)).where(*mine)).one()
        allowed = used < limit
        if allowed:
            connection.execute(insert(REQUESTS).values(actor=actor, kind=kind, at=now))
    return _taken(allowed, limit, used, (now if first is None else float(first)) + seconds - now, seconds)


def take_from(url: str, actor: str, kind: str, *, limit: int, seconds: int) -> Taken:
    """Do the same on a Redis or Valkey server; ConfigError without a client for it, TransientError when it is away."""
    name = f"dataforge:requests:{kind}:{hashlib.sha256(actor.encode()).hexdigest()[:32]}"
    library, client, script = _opened(url)
    try:
        allowed, used, free = script(keys=[name], args=[seconds, limit, uuid.uuid4().hex], client=client)
    except library.exceptions.RedisError as error:
        raise _failed(error) from None
    return _taken(bool(allowed), limit, int(used), float(free) / 1_000_000, seconds)


def check(url: str) -> str:
    """Return where a Redis or Valkey server counts, without login; raises as `take_from` does when it can't."""
    library, client, script = _opened(url)
    try:
        script(keys=[f"dataforge:requests:check:{uuid.uuid4().hex}"], args=[1, 1, uuid.uuid4().hex], client=client)
    except library.exceptions.RedisError as error:
        raise _failed(error) from None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or parts.path}" + (f":{parts.port}" if parts.port else "")


def _failed(error: Exception) -> TransientError:
    kind = type(error).__name__
    return TransientError(f"the server that counts requests ([dataforge] limits_url) failed: {kind}")


@cache
def _opened(url: str) -> tuple[Any, Any, Any]:
    """Return the library, a client whose connections all threads share, and the script."""
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        hint = "write redis://host:6379/0, rediss:// or valkey://"
        raise ConfigError(Problem("invalid-setting", "[dataforge] limits_url is no URL of Redis or Valkey", (), hint))
    name = next((one for one in ("redis", "valkey") if find_spec(one) is not None), None)
    if name is None:
        hint = "install airflow-dataforge[redis]"
        message = "[dataforge] limits_url is set, but there is no client for Redis or Valkey"
        raise ConfigError(Problem("invalid-setting", message, (), hint))
    plain = scheme.replace("valkeys", "rediss").replace("valkey", "redis").replace("redis", name)
    library = import_module(name)
    try:
        client = library.from_url(
            f"{plain}://{url.partition('://')[2]}", socket_timeout=5, socket_connect_timeout=2, health_check_interval=30
        )
    except ValueError:
        message = "[dataforge] limits_url is no URL of Redis or Valkey"
        raise ConfigError(Problem("invalid-setting", message, ())) from None
    return library, client, client.register_script(_SCRIPT)


def _taken(allowed: bool, limit: int, used: int, free: float, seconds: int) -> Taken:
    return Taken(allowed, limit, max(0, limit - used - allowed), min(seconds, max(1, math.ceil(free))))
