"""The redis source: keys by pattern as rows, or the entries of streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files, JsonValue, SourceConfig
from dataforge.components.delivery import Grade, Reject
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.redis_client import about, client, errors
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.sources import _json_text

StreamKey = Annotated[str, Field(min_length=1, max_length=500)]
_PAGE = 1_000


class RedisConfig(SourceConfig):
    """Config of the redis source."""

    type: Literal["redis"] = "redis"
    connection: ConnectionId = Field(
        description="Airflow connection of type redis, to Redis or Valkey; no cluster.", examples=["cache"]
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Which keys to read, in Redis's own patterns: * and ? for characters, [ab] for one of some.",
        examples=["order:*"],
    )
    kind: Literal["hash", "string", "json"] = Field(
        default="hash",
        description="What the keys hold: hashes, whose fields become columns of text; strings, which become the column "
        "'value'; json, strings with a JSON object each, whose keys become columns. Keys of other types are left out. "
        "Give columns of hashes their types under 'columns'.",
    )
    streams: tuple[StreamKey, ...] = Field(
        default=(),
        description="In place of a pattern: streams to read, whose entries' fields become columns of text. Each run "
        "reads on from the entry that the run before ended at.",
        examples=[["orders"]],
    )
    key_column: ColumnName = Field(
        default="_key", description="Column for the key that a row stands under, or for the stream's key."
    )
    id_column: ColumnName = Field(default="_id", description="Column for the id of an entry, of streams only.")
    resume: bool = Field(
        default=True,
        description="Whether streams are read on from where the run before ended, which is committed with the rows; "
        "false reads all entries each time.",
    )
    on_lost: Literal["fail", "continue"] = Field(
        default="fail",
        description="What happens when entries behind that place were removed before they were read, by trimming or "
        "because the stream was made anew: fail, or continue with the oldest entry there is.",
    )
    max_records: int | None = Field(
        default=None, ge=1, description="Most entries of each stream that one run reads; the next run goes on there."
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return the client."""
        return (Extra("redis", "redis"),)

    def asset(self) -> str:
        """Return the place of the keys."""
        what = self.streams[0] if self.streams else self.pattern or ""
        return f"dataforge://{quote(self.connection)}/{quote(what, safe='')}"

    def position_name(self) -> str | None:
        """Return "entries" where streams are read on."""
        return "entries" if self.streams and self.resume else None

    def grade(self) -> Grade:
        """A stream is a replayable order; keys may change while a scan goes over them."""
        return "ordered" if self.streams else "unstable"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.streams) == (self.pattern is not None):
            raise ValueError("either 'pattern' or 'streams' says what to read")
        if self.streams and self.cursor_field is not None:
            raise ValueError("streams are read on by their entries' ids; leave 'cursor_field' out")
        if self.key_column.lower() == self.id_column.lower() and self.streams:
            raise ValueError("'key_column' and 'id_column' are the same")
        return self


@SOURCES.register(RedisConfig)
class RedisSource:
    """Reads hashes, strings or JSON texts of Redis or Valkey by key pattern, or the entries of streams.

    A scan over keys sees each key that was there all the time, in the state that it has when it is reached; streams
    are read in ranges that are fixed when a run begins.
    """

    def __init__(self, config: RedisConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the rows as NDJSON."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        path = context.scratch / "rows.ndjson"
        connection = context.connection(self.config.connection)
        with errors(connection, "reading"), client(connection) as found, path.open("wb") as out:
            about(found)
            lines = self._entries(found, context) if self.config.streams else self._keys(found, context)
            for number, line in enumerate(lines, 1):
                out.write(line + b"\n")
                if context.sample is not None and number >= context.sample:
                    break
        return Files("json", (path,), {"format": "newline_delimited"})

    def check(self, context: ExtractContext) -> str:
        """Say which server answers, and how many entries or keys it has."""
        connection = context.connection(self.config.connection)
        with errors(connection, "the check"), client(connection) as found:
            server = about(found)
            if self.config.streams:
                counts = [found.xlen(name) for name in self.config.streams]
                return f"{server}, {len(counts)} stream(s) with {sum(counts):,} entries"
            return f"{server}, {found.dbsize():,} keys in all"

    # ---- Keys

    def _keys(self, found: Any, context: ExtractContext) -> Iterator[bytes]:
        seen: set[bytes] = set()
        wanted, cursor = "string" if self.config.kind == "json" else self.config.kind, 0
        while True:
            cursor, page = found.scan(cursor, match=self.config.pattern, count=_PAGE, _type=wanted)
            # a scan may give a key more than once
            fresh = [key for key in dict.fromkeys(page) if key not in seen]
            seen.update(fresh)
            if fresh:
                yield from self._rows(found, fresh, context)
            if not cursor:
                return

    def _rows(self, found: Any, keys: list[bytes], context: ExtractContext) -> Iterator[bytes]:
        with found.pipeline(transaction=False) as pipe:
            for key in keys:
                (pipe.hgetall if self.config.kind == "hash" else pipe.get)(key)
            # a key may have become one of another type meanwhile
            values = pipe.execute(raise_on_error=False)
        for key, value in zip(keys, values, strict=True):
            if isinstance(value, Exception):
                if "WRONGTYPE" in str(value):
                    continue
                raise value
            if value is None or value == {}:
                continue  # removed since
            try:
                yield self._row(key.decode(), value)
            except ValueError as error:
                place = key.decode(errors="replace")
                context.reject(
                    Reject("extract", f"{error}", json.dumps({"key": place}), context.source, position=place)
                )

    def _row(self, key: str, value: Any) -> bytes:
        own = {self.config.key_column: key}
        if self.config.kind == "json":
            if reason := _json_text.fault(value):
                raise ValueError(f"the value is no JSON: {reason}")
            if value.lstrip()[:1] != b"{":
                raise ValueError("the value is JSON, but no object")
            if self.config.key_column in json.loads(value):
                raise ValueError(f"the value has a key {self.config.key_column!r} of its own; set 'key_column'")
            return _json_text.with_members(value, _encoded(own))
        if self.config.kind == "string":
            return _encoded({"value": _text(value), **own})
        return _encoded(_joined(value, own))

    # ---- Streams

    def _entries(self, found: Any, context: ExtractContext) -> Iterator[bytes]:
        position = context.position
        repeated = position is not None and position.until is not None
        before = _places(position.before if position is not None else None)
        until = _places(position.until if position is not None else None)
        ranges = []
        for name in until if repeated else self.config.streams:
            start, end = before.get(name, _BEGIN), until.get(name)
            ranges.append(self._range(found, name, start, end, context))
        context.log("entries fixed", ranges={one.stream: [str(one.start), str(one.end)] for one in ranges})
        reached: dict[str, JsonValue] = {}
        for one in ranges:
            last, count = one.start, 0
            for id_, number, fields in one.entries(found, None if repeated else self.config.max_records):
                last, count = _Place(id_, number), count + 1
                try:
                    own = {self.config.key_column: one.stream, self.config.id_column: id_}
                    yield _encoded(_joined(fields, own))
                except ValueError as error:
                    record, place = json.dumps({"stream": one.stream, "id": id_}), f"{one.stream}/{id_}"
                    context.reject(Reject("extract", f"{error}", record, context.source, position=place))
            # what was trimmed or deleted before the run read the first time was no part of it
            if repeated and (last.added < one.end.added if one.end.read is None else count < one.end.read):
                raise TerminalError(
                    f"the run that is done again read entries of the stream {one.stream!r} that are not there any "
                    "more: what it read can't be read again, its rows stay"
                )
            whole = self.config.max_records is None or last.added - one.start.added < self.config.max_records
            reached[one.stream] = str(replace(one.end if whole else last, read=count))
        if position is not None:
            position.reach(reached)

    def _range(self, found: Any, name: str, start: _Place, end: _Place | None, context: ExtractContext) -> _Range:
        """Return what to read of a stream, fixed now; TerminalError where entries behind `start` were removed."""
        if end is not None:
            return _Range(name, start, end)
        info = found.xinfo_stream(name) if found.exists(name) else _NOTHING
        there, added = int(info["length"]), int(info["entries-added"])
        last = _Place(info["last-generated-id"].decode(), added)
        if start.id == _BEGIN.id:
            return _Range(name, _Place(start.id, added - there), last)
        if not start.added:  # a person set it
            start = _Place(start.id, added - len(found.xrange(name, min=f"({start.id}")))
        anew = last.order < start.order
        first = info["first-entry"]
        trimmed = not anew and (first is None or _Place(first[0].decode()).order > start.order)
        lost = added - start.added - there if trimmed else 0
        if anew or lost > 0:
            what = "was made anew" if anew else f"was trimmed: {lost:,} entries behind {start.id} were removed unread"
            if self.config.on_lost == "fail":
                raise TerminalError(
                    f"the stream {name!r} {what}; nothing was loaded. Set on_lost to 'continue' to go on with the "
                    "oldest entry there is"
                )
            context.log("entries lost", stream=name, reason=what)
            start = _Place(_BEGIN.id if anew else start.id, added - there)
        return _Range(name, start, last)


@dataclass(frozen=True)
class _Place:
    """An entry's id, and how many entries the stream had ever got with it; as text id@number.

    `read` is how many of them the run read that ended there, None where that is not known; as text id@number@read.
    """

    id: str
    added: int = 0
    read: int | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What sorts as the entries follow each other."""
        first, _, second = self.id.partition("-")
        return int(first), int(second or 0)

    def __str__(self) -> str:
        return f"{self.id}@{self.added}" + ("" if self.read is None else f"@{self.read}")


_BEGIN = _Place("0-0")
_NOTHING: Mapping[str, Any] = {
    "length": 0, "entries-added": 0, "last-generated-id": b"0-0", "first-entry": None
}  # fmt: skip


@dataclass(frozen=True)
class _Range:
    """The entries of a stream behind `start` up to `end`, which is included."""

    stream: str
    start: _Place
    end: _Place

    def entries(self, found: Any, most: int | None) -> Iterator[tuple[str, int, Mapping[bytes, bytes]]]:
        """Yield id, number and fields of entries."""
        last, count = self.start.id, 0
        while most is None or count < most:
            wanted = _PAGE if most is None else min(_PAGE, most - count)
            page = found.xrange(self.stream, min=f"({last}", max=self.end.id, count=wanted)
            for id_, fields in page:
                last = id_.decode()
                count += 1
                yield last, self.start.added + count, fields
            if len(page) < wanted:
                return


def _places(value: JsonValue) -> dict[str, _Place]:
    if value is None:
        return {}
    try:
        parts = {name: text.split("@") for name, text in value.items()}
        found = {name: _Place(id_, *map(int, numbers)) for name, (id_, *numbers) in parts.items()}
        return {name: place for name, place in found.items() if place.order >= (0, 0)}
    except (AttributeError, TypeError, ValueError):
        raise TerminalError(
            f"the cursor stands at {value!r}, which are no entries; 'dataforge cursor set' takes them as JSON, such as "
            """'{"orders": "1700000000000-0"}'"""
        ) from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the value is not UTF-8: {error}") from None


def _joined(fields: Mapping[bytes, bytes], own: Mapping[str, str]) -> dict[str, str]:
    found = {_text(name): _text(value) for name, value in fields.items()}
    if taken := sorted(set(found) & set(own)):
        raise ValueError(f"the value has a field {taken[0]!r} of its own; set 'key_column' or 'id_column'")
    return {**found, **own}


def _encoded(value: Mapping[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(value)
