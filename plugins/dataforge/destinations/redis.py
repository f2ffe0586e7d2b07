"""The redis destination: each row a hash or a JSON text under a key made of its primary key."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field

from dataforge.components.base import (
    Capabilities,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
    WriteDisposition,
)
from dataforge.components.delivery import Reject
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.redis_client import about, client, errors
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._document_ledger import (
    TRIES,
    DocumentLedger,
    Page,
    document_name,
    guard,
    letters_text,
    report_of,
    too_busy,
)
from dataforge.errors import TerminalError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

OURS = "dataforge:"
"""What the keys of ledgers and of rows that wait begin with."""

COMMIT_SECONDS = 300.0
_STALE_SECONDS = 24 * 3600
_ROWS = 1_000


def _check_prefix(text: str) -> str:
    if text.startswith(OURS) or any(char in "*?[]\\" or ord(char) <= 32 for char in text):
        raise ValueError(f"{text!r} is no prefix: it begins with {OURS!r}, or has a blank or one of *?[]\\")
    return text


Prefix = Annotated[str, AfterValidator(_check_prefix), Field(min_length=1, max_length=200)]

_COMMIT = """
local staged, index, dropped = ARGV[3], KEYS[2], KEYS[3]
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local names = redis.call('LRANGE', index, 0, -1)
if #names ~= tonumber(ARGV[5]) or redis.call('LLEN', dropped) ~= tonumber(ARGV[6]) then return -1 end
for _, name in ipairs(names) do
  if redis.call('EXISTS', staged .. name) == 0 then return -1 end
end
if ARGV[7] == 'replace' then
  local new = {}
  for _, name in ipairs(names) do new[name] = true end
  for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    if not new[name] then
      redis.call('UNLINK', ARGV[4] .. name)
      redis.call('SREM', KEYS[4], name)
    end
  end
end
for _, name in ipairs(names) do
  redis.call('RENAME', staged .. name, ARGV[4] .. name)
  redis.call('SADD', KEYS[4], name)
end
for _, name in ipairs(redis.call('LRANGE', dropped, 0, -1)) do
  redis.call('UNLINK', ARGV[4] .. name)
  redis.call('SREM', KEYS[4], name)
end
redis.call('DEL', index, dropped)
if ARGV[8] ~= '' then redis.call('SET', KEYS[5], ARGV[8]) else redis.call('DEL', KEYS[5]) end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""The commit: a script runs as one, so that readers see all rows of a load or none, with its marker and cursor."""

_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisConfig(DestinationConfig):
    """Config of the redis destination."""

    type: Literal["redis"] = "redis"
    connection: ConnectionId = Field(
        description="Airflow connection of type redis, to Redis or Valkey; no cluster.", examples=["cache"]
    )
    prefix: Prefix = Field(description="What the key of each row begins with.", examples=["order:"])
    primary_key: tuple[ColumnName, ...] = Field(
        min_length=1,
        description="Columns whose values follow the prefix; several are joined by ':', in which ':' and '%' inside of "
        "a value are written as %3A and %25.",
        examples=[["order_id"]],
    )
    store: Literal["hash", "json"] = Field(
        default="hash",
        description="hash: a field for each column, as text, none for null; json: one JSON object as a string.",
    )
    delete_flag: ColumnName | None = Field(
        default=None,
        description="Column that marks deleted records: where it is true, or is no boolean and not null, merge deletes "
        "the key. It is not written.",
        examples=["_deleted"],
    )
    null_keys: Literal["fail", "dead_letter"] = Field(
        default="fail", description="What happens to records that have no value in a column of the key."
    )
    duplicate_keys: Literal["fail", "deduplicate"] = Field(
        default="fail", description="What happens to records of the same key: deduplicate keeps the last."
    )
    write_disposition: WriteDisposition = Field(
        default="merge",
        description="merge writes the keys of the records, whole, and leaves others; replace also removes the keys "
        "that earlier loads wrote and this one does not.",
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return the client."""
        return (Extra("redis", "redis"),)

    def asset(self) -> str:
        """Return `dataforge://connection/prefix`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.prefix, safe='')}"

    def slot(self) -> str:
        """Return the place of the keys."""
        return f"{self.connection}.{self.prefix}"


@DESTINATIONS.register(RedisConfig)
class RedisDestination:
    """Writes rows as hashes or JSON texts of Redis or Valkey, all of a load at once.

    Rows are written under names of their own first; one script then renames them, with the load's marker and cursor.
    The server works on nothing else meanwhile: about two seconds for a million rows.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"replace", "merge"}), transactional=True, kind="table", commit="transaction"
    )

    def __init__(self, config: RedisConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Write all rows or none."""
        connection = context.connection(self.config.connection)
        with errors(connection, "the load"), client(connection) as found:
            about(found)
            return _Load(self.config, found, context).run(incoming)

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[DocumentLedger]:
        """Open the ledger of this pipeline and prefix."""
        connection = context.connection(self.config.connection)
        with errors(connection, "the ledger"), client(connection) as found:
            yield DocumentLedger(_Keys(found, document_name(context)), self.config.prefix)

    def check(self, context: ExtractContext) -> str:
        """Say which server answers and how many keys were written."""
        connection = context.connection(self.config.connection)
        with errors(connection, "the check"), client(connection) as found:
            return f"{about(found)}, {found.scard(_members(self.config)):,} keys with prefix {self.config.prefix!r}"


def _members(config: RedisConfig) -> str:
    return f"{OURS}members:{config.prefix}"


class _Keys:
    """The documents of a ledger in Redis."""

    def __init__(self, found: Any, name: str) -> None:
        self.found, self.name = found, f"{OURS}ledger:{name}"

    def read(self) -> str | None:
        """Return the document."""
        data = self.found.get(self.name)
        return None if data is None else str(data.decode())

    def swap(self, before: str | None, after: str) -> bool:
        """Put another document in its place."""
        return bool(self.found.eval(_SWAP, 1, self.name, before or "", after))

    def letters_key(self, run_key: str) -> str:
        """Return the key of a load's dead letters."""
        return f"{self.name}:letters:{run_key}"

    def letters(self, run_key: str) -> str | None:
        """Return the dead letters of a load."""
        data = self.found.get(self.letters_key(run_key))
        return None if data is None else str(data.decode())

    def sweep(self) -> list[str]:
        """Remove rows that wait since a day for a load that must be dead."""
        gone = []
        for key in self.found.scan_iter(match=f"{OURS}stage:*", count=1_000):
            began = key.decode().removeprefix(f"{OURS}stage:").partition("-")[0]
            if began.isdigit() and time.time() - int(began) > _STALE_SECONDS:
                self.found.unlink(key)
                gone.append(key.decode())
        return gone


class _Load:
    """One attempt of a load; its name tells its rows that wait from those of others."""

    def __init__(self, config: RedisConfig, found: Any, context: LoadContext) -> None:
        self.config, self.found, self.context = config, found, context
        self.name = uuid.uuid4().hex
        self.keys = _Keys(found, document_name(context))
        self.staged = f"{OURS}stage:{int(time.time())}-{self.name}:"
        self.index, self.dropped = f"{self.staged}\x01names", f"{self.staged}\x01dropped"
        self.rejects: list[Reject] = list(context.rejects)
        self.given = len(self.rejects)
        self.state: dict[str, bool] = {}
        """Name of each row to whether it stays."""
        self.read = 0
        self.committed = False

    def run(self, incoming: Incoming) -> LoadReport:
        """Load, and find out what became of a commit whose answer was lost."""
        context = self.context
        if (done := Page.of(self.keys.read()).done(context)) is not None:
            context.log("rows were committed before", target=self.config.prefix, rows=done.rows)
            return done
        try:
            with incoming.reader() as reader:
                plan = _Plan.of(self.config, reader.schema)
                for batch in reader:
                    for first in range(0, batch.num_rows, _ROWS):
                        self._stage(batch.slice(first, _ROWS), plan)
            self._refuse_too_many()
            self._list()
            report = self._committed()
        finally:
            with suppress(Exception):
                self._forget()
        context.log("rows committed", target=report.target, rows=report.rows, deleted=report.deleted)
        return report

    def _stage(self, batch: pa.RecordBatch, plan: _Plan) -> None:
        with self.found.pipeline(transaction=False) as pipe:
            for row in batch.to_pylist():
                self.read += 1
                name = plan.name(row)
                if name is None:
                    self._set_aside(row)
                    continue
                if name in self.state:
                    if self.config.duplicate_keys == "fail":
                        raise TerminalError(
                            f"more than one record has the key {self.config.prefix + name!r}; nothing was written. Add "
                            "a deduplicate transform, or set duplicate_keys to 'deduplicate'"
                        )
                    pipe.unlink(self.staged + name)
                self.state[name] = self.config.write_disposition == "replace" or not plan.is_deleted(row)
                if self.state[name]:
                    plan.write(pipe, self.staged + name, row)
            pipe.execute()

    def _list(self) -> None:
        """Write down the names of the rows that wait, and of those that go."""
        for key, stays in ((self.index, True), (self.dropped, False)):
            names = [name for name, state in self.state.items() if state is stays]
            for first in range(0, len(names), _ROWS):
                self.found.rpush(key, *names[first : first + _ROWS])

    def _set_aside(self, row: dict[str, Any]) -> None:
        from dataforge.destinations._columns import record_json

        keys = ", ".join(map(repr, self.config.primary_key))
        what = f"no value in the primary key ({keys})"
        if self.config.null_keys == "fail" or not self.context.limit.enabled:
            raise TerminalError(f"a record has {what}; nothing was written. Set null_keys to 'dead_letter'")
        self.rejects.append(Reject("key", what, record_json(row), step=self.context.last_step))

    def _refuse_too_many(self) -> None:
        read = self.context.rows_read if self.context.rows_read is not None else self.read
        own = len(self.rejects) - self.given
        if own and (message := self.context.limit.exceeded(len(self.rejects), read)):
            raise TerminalError(message)

    def _committed(self) -> LoadReport:
        config, context = self.config, self.context
        kept = sum(self.state.values())
        dropped = len(self.state) - kept
        letters, count = letters_text(self.rejects, context)
        where = f"keys with prefix {config.prefix!r}"
        for _ in range(TRIES):
            text = self.keys.read()
            page = Page.of(text)
            if (done := page.done(context)) is not None:
                return done
            page.fence(context, where)
            if config.write_disposition == "replace":
                before = int(self.found.scard(_members(config)))
                guard(before, kept, where, allow_empty=config.allow_empty, allow_shrink=config.allow_shrink)
            if context.dry_run:
                return LoadReport(config.prefix, kept, deleted=dropped, rejected=count)
            after = page.after(context, config.write_disposition, kept, count, self.name, deleted=dropped)
            answer = self._commit(text, after, kept, dropped, letters if count else "")
            if answer == 1:
                self.committed = True
                return LoadReport(config.prefix, kept, deleted=dropped, rejected=count)
            if answer == -1:
                raise TransientError(f"{where}: rows that waited for the commit are gone; did the server evict them?")
        raise too_busy(where)

    def _commit(self, text: str | None, after: Page, kept: int, dropped: int, letters: str) -> int:
        import redis

        keys = (self.keys.name, self.index, self.dropped, _members(self.config))
        keys = (*keys, self.keys.letters_key(self.context.run_key))  # type: ignore[assignment]
        values = (text or "", after.text(), self.staged, self.config.prefix, kept, dropped)
        patient = client(self.context.connection(self.config.connection), COMMIT_SECONDS)
        try:
            with patient:
                return int(patient.eval(_COMMIT, len(keys), *keys, *values, self.config.write_disposition, letters))
        except (redis.ConnectionError, redis.TimeoutError):
            # the script runs to its end without us, and the next command waits for that
            record = Page.of(self.keys.read()).standing(self.context.run_key)
            if record is None or record.attempt != self.name:
                raise
            self.context.log(
                "answer to the commit was lost; the marker says it was done", target=report_of(record).target
            )
            return 1

    def _forget(self) -> None:
        """Remove rows that still wait, after a load that failed or had been done before."""
        names = [self.staged + name for name, stays in self.state.items() if stays]
        if not self.committed:
            for first in range(0, len(names), _ROWS):
                self.found.unlink(*names[first : first + _ROWS])
            self.found.unlink(self.index, self.dropped)


class _Plan:
    """How rows of a schema become keys and values."""

    def __init__(self, config: RedisConfig, keys: Sequence[str], columns: Sequence[str], flag: str | None) -> None:
        import msgspec

        self.config, self.keys, self.columns, self.flag = config, keys, columns, flag
        self._encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode

    @classmethod
    def of(cls, config: RedisConfig, schema: pa.Schema) -> _Plan:
        """Return the plan; TerminalError for a column that is not there."""
        for name in (*config.primary_key, *((config.delete_flag,) if config.delete_flag else ())):
            if name not in schema.names:
                raise TerminalError(f"the records have no column {name!r}; columns: {', '.join(schema.names)}")
        columns = [name for name in schema.names if name != config.delete_flag]
        return cls(config, config.primary_key, columns, config.delete_flag)

    def name(self, row: dict[str, Any]) -> str | None:
        """Return what stands behind the prefix; None for a record without a key."""
        values = [row[name] for name in self.keys]
        if any(value is None for value in values):
            return None
        texts = [_text(value) for value in values]
        if len(texts) == 1:
            return texts[0]
        return ":".join(text.replace("%", "%25").replace(":", "%3A") for text in texts)

    def is_deleted(self, row: dict[str, Any]) -> bool:
        """Whether a record says that its row is gone."""
        value = row[self.flag] if self.flag else None
        return value if isinstance(value, bool) else value is not None

    def write(self, pipe: Any, key: str, row: dict[str, Any]) -> None:
        """Add the command that writes a row."""
        from dataforge.destinations._columns import record_json

        values = {name: row[name] for name in self.columns}
        if self.config.store == "json":
            pipe.set(key, record_json(values))
            return
        fields = {
            name: value
            if isinstance(value, bytes)
            else self._encode(value)
            if isinstance(value, dict | list)
            else _text(value)
            for name, value in values.items()
            if value is not None
        }
        pipe.hset(key, mapping=fields)


def _text(value: Any) -> str:
    """Return a value as text: ISO 8601 for times, all digits of numbers, true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
