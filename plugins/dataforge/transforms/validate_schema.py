"""The validate_schema transform: records held against a JSON Schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import JsonValue, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem, TerminalError, bounded

if TYPE_CHECKING:
    import pyarrow as pa

MAX_REASON = 300
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class ValidateSchemaConfig(TransformConfig):
    """Config of `validate_schema`."""

    type: Literal["validate_schema"] = "validate_schema"
    schema_: dict[str, JsonValue] = Field(
        alias="schema",
        description="JSON Schema (draft 2020-12, or the one that its $schema names) of a record: an object of column "
        "names to values. Dates and instants are ISO 8601 text, decimals are numbers, binary values base64 text; "
        "columns of type json are what they hold. References lead only to places in the schema itself.",
        examples=[{"required": ["id"], "properties": {"email": {"type": "string", "pattern": "@"}}}],
    )
    column: ColumnName | None = Field(
        default=None, description="Column whose value is held against the schema; the whole record when not set."
    )
    nulls: Literal["absent", "null"] = Field(
        default="absent",
        description="What a column without a value is to the schema: absent, so that only 'required' asks for it, or "
        "null. Nulls inside of nested values are always null.",
    )
    invalid: Literal["fail", "dead_letter"] = Field(
        default="fail",
        description="What happens to a record that breaks the schema: fail stops the run; dead_letter sets it aside.",
    )


@TRANSFORMS.register(ValidateSchemaConfig)
class ValidateSchema:
    """Holds each record against a JSON Schema; what breaks it fails the run or is set aside, the others pass as is."""

    row_wise: Literal[True] = True

    def __init__(self, config: ValidateSchemaConfig) -> None:
        self._config = config
        self._validator: Any = None

    @property
    def sifts(self) -> bool:
        """Whether records that break the schema are set aside."""
        return self._config.invalid == "dead_letter"

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the schema."""
        import jsonschema

        schema = self._config.schema_
        for path, target in _references(schema, ("schema",)):
            if not target.startswith("#"):
                message = f"{bounded(target, 100)!r} leads out of the schema; nothing is fetched"
                yield Problem("not-allowed", message, path, "put it under $defs and write #/$defs/NAME")
        try:
            _kind(schema).check_schema(schema)
        except jsonschema.exceptions.SchemaError as error:
            yield Problem("invalid-value", bounded(error.message, MAX_REASON), ("schema", *error.absolute_path))

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the same schema; ConfigError for a column that is not there, or a schema that is none."""
        problems = list(self.verify())
        if problems:
            raise ConfigError(problems)
        if self._config.column is not None:
            sql.match_column(dict.fromkeys(schema.names, ""), self._config.column, "column")
        return schema

    def made_from(self) -> dict[str, tuple[str, ...]]:
        """Return nothing: no column is changed."""
        return {}

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches as they are; TerminalError at the first record that breaks the schema."""
        seen = 0
        for batch in batches:
            if not self.sifts:  # otherwise only sound records come
                for place, reason in enumerate(self._reasons(batch), seen + 1):
                    if reason is not None:
                        raise TerminalError(f"validate_schema: record {place:,}: {reason}")
            seen += batch.num_rows
            yield batch

    def reasons(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        """Return for each record what it breaks, null for one that is sound."""
        import pyarrow as pa

        return pa.array(self._reasons(batch), pa.string())

    def _reasons(self, batch: pa.RecordBatch) -> Iterator[str | None]:
        from jsonschema.exceptions import best_match
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        if self._validator is None:
            kind = _kind(self._config.schema_)
            # without a registry of its own, jsonschema would fetch what a reference names
            self._validator = kind(self._config.schema_, format_checker=kind.FORMAT_CHECKER, registry=Registry())
        for record in self._records(batch):
            try:
                error = best_match(self._validator.iter_errors(record))
            except Unresolvable as lost:
                raise TerminalError(f"validate_schema: a reference leads nowhere: {bounded(str(lost), 200)}") from None
            except RecursionError:
                raise TerminalError("validate_schema: the schema refers to itself without an end") from None
            if error is None:
                yield None
            else:
                place = "".join(f"/{part}" for part in error.absolute_path)
                yield bounded(f"{place}: {error.message}" if place else error.message, MAX_REASON)

    def _records(self, batch: pa.RecordBatch) -> Iterator[JsonValue]:
        column = self._config.column
        if column is not None:
            column = sql.match_column(dict.fromkeys(batch.schema.names, ""), column)
        names = batch.schema.names if column is None else [column]
        values = [_plain_column(batch.column(name)) for name in names]
        omitted = self._config.nulls == "absent"
        for row in zip(*values, strict=True):
            if column is not None:
                yield row[0]
            else:
                yield {name: value for name, value in zip(names, row, strict=True) if not (omitted and value is None)}


def _kind(schema: Mapping[str, JsonValue]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return validator_for(schema, default=Draft202012Validator)


def _references(value: JsonValue, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield place and target of each reference in a schema."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in _REFERENCES and isinstance(inner, str):
                yield (*path, key), inner
            else:
                yield from _references(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(inner, (*path, index))


def _plain_column(column: pa.Array[Any]) -> list[JsonValue]:
    """The values of a column as JSON has them."""
    import pyarrow as pa
    from pyarrow import types as t

    found = column.to_pylist()
    if isinstance(column.type, pa.JsonType):
        return [None if value is None else json.loads(value) for value in found]
    if t.is_integer(column.type) or t.is_string(column.type) or t.is_boolean(column.type):
        return found
    return [_plain(value) for value in found]


def _plain(value: Any) -> JsonValue:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
