"""The kafka source: messages of topics in ranges of offsets, as records."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files
from dataforge.components.delivery import Reject
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.registry import SOURCES
from dataforge.errors import RecordError
from dataforge.sources import _json_text
from dataforge.sources._kafka import Clock, Cluster, TopicName, TopicsConfig, begin, place_of
from dataforge.sources._schema_registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message

Metadata = Literal["topic", "partition", "offset", "timestamp", "key", "headers", "deleted"]
ROWS = 20_000
"""Rows of one row group of what is decoded."""


class KafkaConfig(TopicsConfig):
    """Config of the kafka source."""

    type: Literal["kafka"] = "kafka"
    connection: ConnectionId = Field(
        description="Airflow connection of type kafka: its extra holds bootstrap.servers and how to log in.",
        examples=["events"],
    )
    topics: tuple[TopicName, ...] = Field(
        min_length=1,
        description="Topics to read, with all their partitions, those that are added later too.",
        examples=[["orders"]],
    )
    value: Literal["json", "avro", "text"] = Field(
        default="json",
        description="What the values are: json objects, whose keys become columns; avro records as a schema registry's "
        "serialisers write them, each with its own schema; text, which becomes the column 'value'.",
    )
    registry: ConnectionId | None = Field(
        default=None,
        description="Airflow connection of type http to the schema registry; avro needs it.",
        examples=["schemas"],
    )
    metadata: dict[Metadata, ColumnName] = Field(
        default={"partition": "_partition", "offset": "_offset", "timestamp": "_timestamp"},
        description="What is kept of a message besides its value, and the column that it becomes. headers become a "
        "JSON list of keys and values; deleted is true for a message without a value (a tombstone), which is left out "
        "where there is no such column.",
        examples=[{"key": "order_id", "offset": "_offset", "deleted": "_deleted"}],
    )
    key: Literal["text", "json", "base64"] = Field(
        default="text", description="What the keys are, where 'metadata' keeps them."
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return the client and, for avro, its decoder."""
        return (*super().extras(), *((Extra("kafka", "fastavro"),) if self.value == "avro" else ()))

    def asset(self) -> str | None:
        """Return the first topic's place."""
        return f"dataforge://{quote(self.connection)}/{quote(self.topics[0])}"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.value == "avro" and self.registry is None:
            raise ValueError("value 'avro' needs 'registry', the connection to the schema registry")
        names = [name.lower() for name in self.metadata.values()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"'metadata' names the column {twice!r} more than once")
        return self


@SOURCES.register(KafkaConfig)
class KafkaSource:
    """Reads Kafka topics on from the offsets that were committed with the rows of the run before.

    The range of each partition is fixed when a run begins; only what transactions have committed is read. A message
    that can't be decoded becomes a dead letter with topic, partition and offset, or ends the run.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the messages of this run as files: NDJSON, or Parquet where a schema gives the types."""
        messages = begin(self.config, self.config.connection, self.config.topics, context)
        context.scratch.mkdir(parents=True, exist_ok=True)
        writer: _Writer = _Lines(self.config, context) if self.config.value != "avro" else _Avro(self.config, context)
        try:
            for batch in messages:
                writer.write(batch)
        finally:
            writer.close()
        if context.position is not None:
            context.position.reach(messages.position)
        context.log("messages read", messages=messages.records, skipped=writer.skipped)
        return writer.files()

    def check(self, context: ExtractContext) -> str:
        """Return how many messages there are."""
        cluster = Cluster(context.connection(self.config.connection), context.log)
        partitions = cluster.partitions(self.config.topics)
        first, end = cluster.offsets(partitions, "first"), cluster.offsets(partitions, "end")
        if self.config.registry is not None:
            Registry(context.connection(self.config.registry))
        count = sum(end[one] - first[one] for one in partitions)
        return f"{len(self.config.topics)} topic(s) with {len(partitions)} partitions, at most {count:,} messages"

    def measure(self, context: ExtractContext) -> tuple[int, int]:
        """Return how many messages there are at most; their bytes are not known."""
        cluster = Cluster(context.connection(self.config.connection), context.log)
        partitions = cluster.partitions(self.config.topics)
        first, end = cluster.offsets(partitions, "first"), cluster.offsets(partitions, "end")
        return sum(end[one] - first[one] for one in partitions), 0


class _Writer(Protocol):
    skipped: int

    def write(self, messages: list[Message]) -> None: ...

    def files(self) -> Files: ...

    def close(self) -> None: ...


def refuse(message: Message, reason: str, context: ExtractContext) -> None:
    """Set a message aside, with what it holds as text where it is text, else as Base64."""
    value = message.value() or b""
    try:
        record: Any = value.decode()
    except UnicodeDecodeError:
        record = {"base64": base64.b64encode(value).decode()}
    text = record if isinstance(record, str) and not _json_text.fault(value) else json.dumps({"value": record})
    context.reject(Reject("extract", reason, text, context.source, position=place_of(message)))


class About:
    """What is kept of a message besides its value: columns by name, in the config's order."""

    def __init__(self, metadata: dict[Metadata, ColumnName], key: str) -> None:
        self.metadata, self._key, self._clock = metadata, key, Clock()
        self._made: dict[str, Callable[[Message], Any]] = {
            "topic": lambda message: message.topic(),
            "partition": lambda message: message.partition(),
            "offset": lambda message: message.offset(),
            "timestamp": self._clock.text,
            "key": self.key,
            "headers": self._headers,
            "deleted": lambda message: message.value() is None,
        }
        self._columns = [(name, self._made[kind]) for kind, name in metadata.items()]

    def of(self, message: Message) -> dict[str, Any]:
        """Return the columns; RecordError for a key that is not what the config says."""
        return {name: make(message) for name, make in self._columns}

    def key(self, message: Message) -> Any:
        """Return the key as text or as what its JSON stands for."""
        key: Any = message.key()
        if key is None:
            return None
        key = key.encode() if isinstance(key, str) else key
        if self._key == "base64":
            return base64.b64encode(key).decode()
        try:
            return json.loads(key) if self._key == "json" else key.decode()
        except ValueError as error:
            raise RecordError(f"the key is no {self._key}: {error}") from None

    def _headers(self, message: Message) -> Any:
        found: Any = message.headers()
        return [{"key": key, "value": _header(value)} for key, value in found or ()]


def _header(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return bytes(value).decode(errors="replace")


class _Lines:
    """Messages as NDJSON: a JSON value is copied as it stands, so that its numbers keep their digits."""

    def __init__(self, config: KafkaConfig, context: ExtractContext) -> None:
        import msgspec

        self.config, self.context, self.skipped = config, context, 0
        self.path = context.scratch / "messages.ndjson"
        self._about = About(config.metadata, config.key)
        self._encode = msgspec.json.Encoder().encode
        self._list = msgspec.json.Decoder(list[msgspec.Raw])
        self._marks = [json.dumps(name, ensure_ascii=False).encode() for name in config.metadata.values()]
        self._out = self.path.open("wb")

    def write(self, messages: list[Message]) -> None:
        """Write messages, those that are no JSON objects to the dead letters."""
        messages = self._kept(messages)
        sound = self.config.value == "json" and self._is_sound(messages)
        lines = []
        for message in messages:
            try:
                lines.append(self._line(message, sound))
            except RecordError as error:
                refuse(message, str(error), self.context)
        lines.append(b"")
        self._out.write(b"\n".join(lines))

    def _kept(self, messages: list[Message]) -> list[Message]:
        if "deleted" in self.config.metadata:
            return messages
        kept = [message for message in messages if message.value() is not None]
        self.skipped += len(messages) - len(kept)
        return kept

    def _is_sound(self, messages: list[Message]) -> bool:
        """Whether all values are JSON objects without a column of ours; cheaper of all together than one by one."""
        values = [value for message in messages if (value := message.value()) is not None]
        joined = b"[" + b",".join(values) + b"]"
        if any(mark in joined for mark in self._marks) or not all(value[:1] == b"{" for value in values):
            return False
        try:
            joined.decode()
            return len(self._list.decode(joined)) == len(values)
        except (ValueError, RecursionError):
            return False

    def _line(self, message: Message, sound: bool) -> bytes:
        about = self._about.of(message)
        value: Any = message.value()
        if self.config.value == "text":
            return bytes(self._encode({"value": _text(value), **about}))
        if value is None:
            return bytes(self._encode(about))
        if not sound:
            self._refuse_unsound(value)
        if b"\n" in value or b"\r" in value:
            value = value.replace(b"\n", b" ").replace(b"\r", b" ")
        if not about:
            return bytes(value)
        body = value.rstrip()[:-1]
        comma = b"" if len(body) < 16 and body.strip() == b"{" else b","
        return bytes(body + comma + self._encode(about)[1:])

    def _refuse_unsound(self, value: bytes) -> None:
        try:
            value.decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"the value is not UTF-8: {error}") from None
        if reason := _json_text.fault(value):
            raise RecordError(f"the value is no JSON: {reason}")
        if value.lstrip()[:1] != b"{":
            raise RecordError("the value is JSON, but no object; 'value': 'text' would keep it as it is")
        keys = json.loads(value).keys()
        if taken := sorted(set(keys) & set(self.config.metadata.values())):
            raise RecordError(
                f"the value has a key {taken[0]!r} of its own; give that column another name under 'metadata'"
            )

    def files(self) -> Files:
        """Return the file."""
        return Files("json", (self.path,), {"format": "newline_delimited"})

    def close(self) -> None:
        """Write what is left."""
        self._out.close()


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"the value is not UTF-8: {error}") from None


class _Avro:
    """Messages as Parquet, one file for each schema that wrote any of them."""

    def __init__(self, config: KafkaConfig, context: ExtractContext) -> None:
        assert config.registry is not None
        self.config, self.context, self.skipped = config, context, 0
        self._registry = Registry(context.connection(config.registry))
        self._about = About(config.metadata, config.key)
        self._shapes: dict[int, _Shape] = {}
        self._unfit: dict[int, str] = {}

    def write(self, messages: list[Message]) -> None:
        """Decode messages, each by the schema it names; those that can't be are set aside."""
        for message in messages:
            value: Any = message.value()
            if value is None and "deleted" not in self.config.metadata:
                self.skipped += 1
                continue
            try:
                number = -1 if value is None else schema_number(value)
                shape = self._shapes.get(number) or self._shape(number)
                shape.add({} if value is None else shape.decode(value), self._about.of(message))
            except RecordError as error:
                refuse(message, str(error), self.context)

    def _shape(self, number: int) -> _Shape:
        if number in self._unfit:
            raise RecordError(self._unfit[number])
        path = self.context.scratch / f"schema-{len(self._shapes)}.parquet"
        try:
            self._shapes[number] = _Shape(number, self._registry, path, self.config)
        except RecordError as error:
            self._unfit[number] = str(error)
            raise
        return self._shapes[number]

    def files(self) -> Files:
        """Return the files; an empty one where there was no message."""
        if not self._shapes:
            nothing = self.context.scratch / "nothing.ndjson"
            nothing.touch()
            return Files("json", (nothing,), {"format": "newline_delimited"})
        return Files("parquet", tuple(shape.path for shape in self._shapes.values()))

    def close(self) -> None:
        """Write what is left."""
        for shape in self._shapes.values():
            shape.close()


def schema_number(value: bytes) -> int:
    """Return the number of the schema that a value was written with; RecordError where it names none."""
    if len(value) < 5 or value[0] != 0:
        raise RecordError("the value does not begin as a schema registry's serialisers write it: 0 and a schema number")
    return int.from_bytes(value[1:5], "big")


class _Shape:
    """The records of one schema; without one (-1), those of messages without a value."""

    def __init__(self, number: int, registry: Registry, path: Path, config: KafkaConfig) -> None:
        import pyarrow as pa

        self.path, self._rows = path, list[dict[str, Any]]()
        self._writer: Any = None
        self._parsed: Any = None
        self._converts: dict[str, Callable[[Any], Any]] = {}
        fields = pa.schema([])
        if number >= 0:
            self._parsed, fields, self._converts = _parsed(number, registry)
        own = [(name, about_types()[kind]) for kind, name in config.metadata.items()]
        if taken := sorted(set(fields.names) & {name for name, _ in own}):
            raise RecordError(
                f"the value has a field {taken[0]!r} of its own; give that column another name under 'metadata'"
            )
        self._schema: pa.Schema = pa.schema([*fields, *own])
        self._as_text = config.metadata.get("key") if config.key == "json" else None
        self._headers = config.metadata.get("headers")
        self._instant = config.metadata.get("timestamp")

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return the record; RecordError where the bytes are not of the schema."""
        import io

        import fastavro

        try:
            found: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), self._parsed, None)
        except Exception as error:  # noqa: BLE001 - the decoder raises what the bytes happen to break
            raise RecordError(f"the value does not fit its schema ({type(error).__name__}: {error})") from None
        for name, convert in self._converts.items():
            found[name] = convert(found[name])
        return dict(found)

    def add(self, record: dict[str, Any], about: dict[str, Any]) -> None:
        """Take in a record."""
        from dataforge.components.bounds import parse_instant

        for name in (self._as_text, self._headers):
            if name is not None and about[name] is not None:
                about[name] = json.dumps(about[name], ensure_ascii=False)
        if self._instant is not None and about[self._instant] is not None:
            about[self._instant] = parse_instant(about[self._instant])
        record.update(about)
        self._rows.append(record)
        if len(self._rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._writer = self._writer or pq.ParquetWriter(self.path, self._schema)
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()


def about_types() -> dict[str, pa.DataType]:
    """Return the Arrow type of each thing that is kept of a message besides its value."""
    import pyarrow as pa

    return {
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("ms", "UTC"),
        "key": pa.string(),
        "headers": pa.string(),
        "deleted": pa.bool_(),
    }


def _parsed(number: int, registry: Registry) -> tuple[Any, pa.Schema, dict[str, Callable[[Any], Any]]]:
    """Return a schema as the decoder takes it, as Arrow, and how its values get there; RecordError for another kind."""
    import fastavro
    import pyarrow as pa

    from dataforge.sources._avro import arrow_type, record_schema

    said = registry.schema(number)
    if (kind := said.get("schemaType", "AVRO")) != "AVRO":
        raise RecordError(f"its schema {number} is of type {kind}, no AVRO")
    named: dict[str, Any] = {}
    try:
        for _, other in registry.references(said):
            fastavro.parse_schema(json.loads(other["schema"]), named_schemas=named)
        parsed: Any = fastavro.parse_schema(json.loads(said["schema"]), named_schemas=named)
    except (ValueError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise RecordError(f"its schema {number} can't be read: {error}") from None
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        arrow_type(parsed, named)
        raise RecordError(f"its schema {number} is no record")
    fields, converts = record_schema(parsed, named)
    return parsed, pa.schema(fields), {name: convert for name, convert in converts.items() if convert is not None}
