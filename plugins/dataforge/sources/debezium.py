"""The debezium source: change events of databases, from Kafka topics or files, as rows to merge or as a log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files
from dataforge.components.delivery import Reject
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId, TemplatedText
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem, RecordError, TerminalError
from dataforge.sources import _json_text
from dataforge.sources._files import Compression, FileSourceConfig, local_files, path_problems
from dataforge.sources._kafka import Cluster, TopicName, TopicsConfig, begin

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message

Metadata = Literal["deleted", "position", "op", "time", "table", "snapshot", "topic", "partition", "offset"]
ROWS = 20_000
"""Rows of one row group of typed events."""

_OPS = {"c", "u", "d", "r"}
_SKIPPED = {"m"}
_NULL = b"null"


class DebeziumConfig(TopicsConfig):
    """Config of the debezium source."""

    type: Literal["debezium"] = "debezium"
    connection: ConnectionId | None = Field(
        default=None,
        description="Airflow connection: of type kafka for 'topics', of type aws for a 'path' in S3.",
        examples=["events"],
    )
    topics: tuple[TopicName, ...] = Field(
        default=(),
        description="Topics with the events; those of several tables only where their columns go together.",
        examples=[["shop.public.orders"]],
    )
    path: TemplatedText | tuple[TemplatedText, ...] | None = Field(
        default=None,
        description="In place of topics: files with one event a line, in the order of the changes: the value alone, or "
        '{"key": …, "value": …}.',
        examples=["changes/orders-*.ndjson"],
    )
    compression: Compression = Field(default="auto", description="How files are compressed.")
    events: Literal["rows", "log"] = Field(
        default="rows",
        description="rows: each event is the row as it is after the change, of a delete the key with 'deleted' true; "
        "a merge by key makes the table of them. log: each event as it is, with its columns 'key', 'before' and "
        "'after' as JSON.",
    )
    order_by: Literal["source", "time", "offset"] = Field(
        default="source",
        description="What 'position' is made of, by which the newest event of a row is found: source, the place in the "
        "database's own log (LSN, binlog file and position, SCN), which is right also when events come twice; time, "
        "the database's clock; offset, the order in the partition or file.",
    )
    metadata: dict[Metadata, ColumnName] = Field(
        default={"deleted": "_deleted", "position": "_position"},
        description="What is kept of an event besides the row, and the column that it becomes. position is a text that "
        "sorts as the events follow each other.",
        examples=[{"deleted": "_deleted", "position": "_position", "time": "_changed_at", "op": "_op"}],
    )
    tombstones: Literal["skip", "delete"] = Field(
        default="skip",
        description="What a message without a value is: skip, for it only repeats a delete that came before it; "
        "delete, where flattened events leave it in place of one. It has a place in the order by 'offset' only.",
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, one or several."""
        return (self.path,) if isinstance(self.path, str) else self.path or ()

    def extras(self) -> tuple[Extra, ...]:
        """Return the client, where topics are read."""
        return super().extras() if self.topics else ()

    def asset(self) -> str | None:
        """Return the first topic's or file's place."""
        if self.topics:
            return f"dataforge://{quote(self.connection or '')}/{quote(self.topics[0])}"
        return _files(self).asset()

    def position_name(self) -> str | None:
        """Return "offsets" where topics are read on; files are read whole."""
        return super().position_name() if self.topics else None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.topics) == bool(self.path):
            raise ValueError("either 'topics' or 'path' says where the events are")
        if self.topics and self.connection is None:
            raise ValueError("'topics' need a 'connection' of type kafka")
        names = [name.lower() for name in self.metadata.values()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"'metadata' names the column {twice!r} more than once")
        if self.events == "log" and (taken := sorted(set(names) & {"key", "before", "after"})):
            raise ValueError(f"'metadata' can't name a column {taken[0]!r}, which the log has already")
        if self.tombstones == "delete" and self.order_by != "offset":
            raise ValueError("tombstones 'delete' needs order_by 'offset': a message without a value tells no position")
        return self


@SOURCES.register(DebeziumConfig)
class DebeziumSource:
    """Reads Debezium's change events from Kafka topics or files, as rows for a merge by key or as a log.

    It takes envelopes with and without schema, and events that ExtractNewRecordState has flattened. Events may come
    twice; `position` says which of a row is the newest.
    """

    def __init__(self, config: DebeziumConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the events as files: Parquet where their schema gives the types, else NDJSON."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        if self.config.topics:
            assert self.config.connection is not None
            messages = begin(self.config, self.config.connection, self.config.topics, context)
            written = self._written((one for batch in messages for one in map(_from_message, batch)), context)
            if context.position is not None:
                context.position.reach(messages.position)
            return written
        return self._written(_from_files(local_files(_files(self.config), context), context.sample), context)

    def _written(self, events: Iterable[_Event], context: ExtractContext) -> Files:
        log = self.config.events == "log"
        writer = _Writer(self.config, context)
        try:
            for event in events:
                try:
                    change = _told(event, self.config)
                    if change is not None:
                        writer.log(change) if log else writer.row(change)
                    else:
                        writer.skipped += 1
                except RecordError as error:
                    text = (event.value or b"null").decode(errors="replace")
                    record = text if not _json_text.fault(event.value or _NULL) else json.dumps({"value": text})
                    context.reject(Reject("extract", str(error), record, context.source, position=event.place))
        finally:
            writer.close()
        context.log("events read", events=writer.written, skipped=writer.skipped)
        return writer.files()

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the paths as they stand."""
        return path_problems(_files(self.config)) if self.config.path else ()

    def check(self, context: ExtractContext) -> str:
        """Return how many messages or files there are."""
        if not self.config.topics:
            return f"{len(local_files(_files(self.config), context))} file(s)"
        cluster = Cluster(context.connection(self.config.connection or ""), context.log)
        partitions = cluster.partitions(self.config.topics)
        first, end = cluster.offsets(partitions, "first"), cluster.offsets(partitions, "end")
        count = sum(end[one] - first[one] for one in partitions)
        return f"{len(self.config.topics)} topic(s) with {len(partitions)} partitions, at most {count:,} events"


def _files(config: DebeziumConfig) -> FileSourceConfig:
    return FileSourceConfig(
        type="debezium", path=config.path or (), connection=config.connection, compression=config.compression
    )


@dataclass(frozen=True)
class _Event:
    """A message as it came: `order` is its number in its partition or file."""

    key: bytes | None
    value: bytes | None
    place: str
    order: int
    topic: str = ""
    partition: int = 0


def _from_message(message: Message) -> _Event:
    key: Any = message.key()
    value: Any = message.value()
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    return _Event(key, value, f"{topic}/{partition}/{offset}", offset, topic, partition)


def _from_files(paths: Iterable[Path], sample: int | None) -> Iterator[_Event]:
    number = 0
    for path in paths:
        with path.open("rb") as lines:
            for at, line in enumerate(lines, 1):
                text = line.strip()
                if not text:
                    continue
                if sample is not None and number >= sample:
                    return
                number += 1
                key, value = _parted(text)
                yield _Event(key, value, f"{path.name}, line {at}", number, path.name)


def _parted(text: bytes) -> tuple[bytes | None, bytes | None]:
    """Return key and value of a line that holds both, else the line as a value."""
    if text[:8].replace(b" ", b"")[:6] != b'{"key"':
        return None, text
    try:
        found = _members(text)
    except RecordError:
        return None, text
    if set(found) != {"key", "value"}:
        return None, text
    return _some(found["key"]), _some(found["value"])


@dataclass(frozen=True)
class Change:
    """One change. `row` is the text of the row after it (of a delete: before it, or the key), None where unknown.

    `schema` is the Connect schema of the row, where the event brings it. `about` are values by name of the metadata.
    """

    event: _Event
    op: str
    row: bytes | None
    about: Mapping[str, Any]
    key: bytes | None = None
    before: bytes | None = None
    after: bytes | None = None
    schema: bytes | None = None
    drop: tuple[str, ...] = ()

    @property
    def deleted(self) -> bool:
        """Whether the row is gone."""
        return self.op == "d"


def _told(event: _Event, config: DebeziumConfig) -> Change | None:
    """Return what `read_change` does; RecordError also for parts of other kinds than Debezium's."""
    try:
        return read_change(event, config)
    except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise RecordError(f"the message is no change event of Debezium: {error}") from None


def read_change(event: _Event, config: DebeziumConfig) -> Change | None:
    """Return the change that a message tells of, None where it tells of none; RecordError where it can't be read."""
    key = _payload(event.key)[0] if event.key is not None else None
    if event.value is None:
        if config.tombstones == "skip" or key is None:
            return None
        return Change(event, "d", key, _about(event, config, "d", {}, None), key)
    payload, schema = _payload(event.value)
    if payload is None:
        return None
    found = _members(payload)
    if "op" not in found or not ("after" in found or "before" in found):
        return _flat(event, config, payload, found, schema, key)
    op = str(json.loads(found["op"]))
    if op in _SKIPPED:
        return None
    if op not in _OPS:
        what = "the table was emptied (truncate)" if op == "t" else f"the operation {op!r} is not known"
        raise RecordError(f"{what}, which rows can't tell of")
    source = json.loads(found.get("source", _NULL)) or {}
    before, after = _some(found.get("before")), _some(found.get("after"))
    row = after if op != "d" else before or key
    if row is None and config.events == "rows":
        raise RecordError(
            "the event tells neither the row nor its key: "
            + ("a delete needs a message key or the row before it" if op == "d" else "'after' is null")
        )
    when = source.get("ts_ms") or _number(found.get("ts_ms"))
    about = _about(event, config, op, source, when)
    return Change(event, op, row, about, key, before, after, _row_schema(schema))


def _flat(
    event: _Event,
    config: DebeziumConfig,
    payload: bytes,
    found: Mapping[str, bytes],
    schema: bytes | None,
    key: bytes | None,
) -> Change:
    """Return the change of an event that ExtractNewRecordState has flattened: the row, with some fields added."""
    values = {name: json.loads(found[name]) for name in found if name.startswith("__")}
    op = str(values.get("__op") or "u")
    if str(values.get("__deleted", "false")).lower() == "true":
        op = "d"
    source = {
        name.removeprefix("__source_").removeprefix("__"): value for name, value in values.items() if value is not None
    }
    if "lsn" in source:
        source.setdefault("connector", "postgresql")
    about = _about(event, config, op, source, source.get("ts_ms"))
    return Change(event, op, payload, about, key, None, payload, schema, ("__deleted",))


def _about(event: _Event, config: DebeziumConfig, op: str, source: Mapping[str, Any], when: Any) -> dict[str, Any]:
    wanted = config.metadata
    found: dict[str, Any] = {
        "deleted": op == "d",
        "op": op,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.order,
        "snapshot": str(source.get("snapshot", "false")).lower() not in ("false", "none"),
    }
    if "position" in wanted:
        found["position"] = position_of(source, when, event.order, config.order_by)
    if "time" in wanted:
        found["time"] = _instant(when)
    if "table" in wanted:
        parts = [source.get(name) for name in ("schema", "table", "collection")]
        found["table"] = ".".join(str(part) for part in parts if part) or None
    return {name: found[kind] for kind, name in wanted.items()}


def _instant(when: Any) -> str | None:
    from datetime import datetime, timezone

    if when is None:
        return None
    found = datetime.fromtimestamp(int(when) // 1000, timezone.utc)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{int(when) % 1000:03d}Z"


def position_of(source: Mapping[str, Any], when: Any, order: int, by: str) -> str:
    """Return a text that sorts as the changes follow each other; RecordError where the event does not tell its place.

    The number in the partition or file comes last, so that of an event that comes twice the later one is the newer.
    """
    last = f"{order:016d}"
    if by == "offset":
        return last
    if by == "time":
        if when is None:
            raise RecordError("the event has no time (source.ts_ms); set order_by to 'offset'")
        return f"{int(when):016d}-{last}"
    place = _place_in_log(source)
    if place is None:
        raise RecordError(
            f"the event does not tell its place in the log of {source.get('connector') or 'its database'}; set "
            "order_by to 'time' or 'offset'"
        )
    return f"{place}-{last}"


def _place_in_log(source: Mapping[str, Any]) -> str | None:
    connector = str(source.get("connector") or "")
    if connector == "postgresql" and source.get("lsn") is not None:
        return f"{int(source['lsn']):020d}"
    if connector in ("mysql", "mariadb") and source.get("file") and source.get("pos") is not None:
        number = re.search(r"(\d+)\Z", str(source["file"]))
        if number is not None:
            return f"{int(number[1]):010d}.{int(source['pos']):020d}.{int(source.get('row') or 0):010d}"
    if connector == "sqlserver" and (lsn := source.get("commit_lsn") or source.get("change_lsn")):
        return f"{lsn}.{source.get('change_lsn') or ''}.{int(source.get('event_serial_no') or 0):010d}"
    if connector == "oracle" and (scn := source.get("commit_scn") or source.get("scn")):
        return f"{int(str(scn)):020d}.{int(str(source.get('scn') or 0)):020d}"
    if connector == "mongodb" and source.get("ts_ms") is not None:
        return f"{int(source['ts_ms']):016d}.{int(source.get('ord') or 0):010d}"
    return None


# ---- JSON, part by part


def _members(text: bytes) -> dict[str, bytes]:
    """Return the members of a JSON object as texts; RecordError for anything else."""
    import msgspec

    try:
        return {name: bytes(raw) for name, raw in _decoder().decode(text).items()}
    except msgspec.ValidationError:
        raise RecordError("the value is JSON, but no object") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordError(f"the value is no JSON: {error}") from None


_KEPT: list[Any] = []


def _decoder() -> Any:
    import msgspec

    if not _KEPT:
        _KEPT.append(msgspec.json.Decoder(dict[str, msgspec.Raw]))
    return _KEPT[0]


def _some(text: bytes | None) -> bytes | None:
    return None if text is None or text.strip() == _NULL else text


def _payload(text: bytes) -> tuple[bytes | None, bytes | None]:
    """Return what a message says, and its schema where it brings one."""
    if text.lstrip()[:1] != b"{":
        if _some(text) is None:
            return None, None
        raise RecordError("key and value must be JSON objects; the converter of Debezium must be the one for JSON")
    found = _members(text)
    if set(found) == {"schema", "payload"}:
        return _some(found["payload"]), _some(found["schema"])
    return text, None


def _row_schema(schema: bytes | None) -> bytes | None:
    """Return the schema of a row out of that of its envelope."""
    if schema is None:
        return None
    known = _ROW_SCHEMAS.get(schema)
    if known is None:
        fields = json.loads(schema).get("fields") or ()
        found = next((field for field in fields if field.get("field") in ("after", "before")), None)
        if len(_ROW_SCHEMAS) > 1_000:
            _ROW_SCHEMAS.clear()
        known = _ROW_SCHEMAS[schema] = json.dumps((found or {}).get("fields") or []).encode()
    return known


_ROW_SCHEMAS: dict[bytes, bytes] = {}


def _number(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)


# ---- Writing


class _Writer:
    """Changes as NDJSON, or, where they bring schemas, as Parquet, one file for each schema."""

    def __init__(self, config: DebeziumConfig, context: ExtractContext) -> None:
        import msgspec

        self.config, self.context = config, context
        self.skipped = self.written = 0
        self.path = context.scratch / "events.ndjson"
        self._out = self.path.open("wb")
        self._encode = msgspec.json.Encoder().encode
        self._tables: dict[bytes, _Table] = {}
        self._plain = 0
        self._names = set(config.metadata.values())
        self._marks = [json.dumps(name, ensure_ascii=False).encode() for name in self._names]

    def log(self, change: Change) -> None:
        """Write a change as it is."""
        parts = {"key": change.key, "before": change.before, "after": change.after}
        members = b",".join(b'"%s":%s' % (name.encode(), part or _NULL) for name, part in parts.items())
        self._line(b"{" + members + b"}", change)

    def row(self, change: Change) -> None:
        """Write the row that a change leaves."""
        if change.schema is not None:
            self._typed(change)
            return
        row = change.row or b"{}"
        if any(name.encode() in row for name in change.drop):
            members = {name: text for name, text in _members(row).items() if name not in change.drop}
            row = b"{" + b",".join(self._encode(name) + b":" + text for name, text in members.items()) + b"}"
        if any(mark in row for mark in self._marks):
            self._refuse_taken(_members(row))
        self._line(row, change)

    def _line(self, text: bytes, change: Change) -> None:
        self._plain += 1
        self._refuse_mixed()
        self.written += 1
        self._out.write(_json_text.with_members(text, self._encode(change.about)) + b"\n")

    def _typed(self, change: Change) -> None:
        assert change.schema is not None
        table = self._tables.get(change.schema)
        if table is None:
            path = self.context.scratch / f"events-{len(self._tables)}.parquet"
            table = _Table(path, change.schema, self.config, change.drop)
            self._refuse_taken(table.types)
            self._tables[change.schema] = table
        self._refuse_mixed()
        table.add(json.loads(change.row or b"{}"), change.about)
        self.written += 1

    def _refuse_taken(self, names: Iterable[str]) -> None:
        if taken := sorted(set(names) & self._names):
            raise RecordError(
                f"the row has a column {taken[0]!r} of its own; give that column another name under 'metadata'"
            )

    def _refuse_mixed(self) -> None:
        if self._plain and self._tables:
            raise TerminalError(
                "some events bring a schema and others do not, so their values have no common types; read the topics "
                "by several sources, or set the converter's schemas.enable to the same for all"
            )

    def files(self) -> Files:
        """Return what was written."""
        if self._tables:
            return Files("parquet", tuple(table.path for table in self._tables.values()))
        return Files("json", (self.path,), {"format": "newline_delimited"})

    def close(self) -> None:
        """Write what is left."""
        self._out.close()
        for table in self._tables.values():
            table.close()


class _Table:
    """Rows of one schema."""

    def __init__(self, path: Path, schema: bytes, config: DebeziumConfig, drop: tuple[str, ...]) -> None:
        from dataforge.sources._connect_types import field_types

        self.path, self._config = path, config
        said = json.loads(schema)
        fields = said if isinstance(said, list) else said.get("fields") or []
        self.types = {name: found for name, found in field_types({"fields": fields}).items() if name not in drop}
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    @cached_property
    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        own: dict[str, pa.DataType] = {
            "deleted": pa.bool_(),
            "snapshot": pa.bool_(),
            "time": pa.timestamp("ms", "UTC"),
            "partition": pa.int32(),
            "offset": pa.int64(),
        }
        columns = {name: type_ for name, (type_, _) in self.types.items()}
        columns |= {name: own.get(kind, pa.string()) for kind, name in self._config.metadata.items()}
        return pa.schema(list(columns.items()))

    def add(self, values: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Take in a row; RecordError for a value that is not of its type."""
        from dataforge.components.bounds import parse_instant

        row: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self.types or value is None:
                continue
            try:
                row[name] = self.types[name][1](value)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise RecordError(f"the value of {name!r} is not of the type that its schema gives: {error}") from None
        row |= about
        instant = self._config.metadata.get("time")
        if instant is not None and row[instant] is not None:
            row[instant] = parse_instant(row[instant])
        self._rows.append(row)
        if len(self._rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._writer = self._writer or pq.ParquetWriter(self.path, self._schema)
        try:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        except (pa.ArrowException, TypeError) as error:
            raise TerminalError(f"an event's value is not of the type that its schema gives: {error}") from None
        self._rows.clear()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()
