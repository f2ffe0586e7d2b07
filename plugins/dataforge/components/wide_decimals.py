"""Decimals of more than 38 digits, which the engine does not have: it would take them for doubles. They become texts.

A text keeps every digit, and is what other sources give for such numbers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DIGITS = 38


def held(type_: pa.DataType) -> pa.DataType:
    """Return the type in which the engine holds all values of an Arrow type as they are; nested ones stay nested."""
    import pyarrow as pa
    from pyarrow import types as t

    if t.is_decimal256(type_):
        return pa.decimal128(type_.precision, type_.scale) if type_.precision <= MAX_DIGITS else pa.string()
    if t.is_list(type_):
        return pa.list_(_held_field(type_.value_field))
    if t.is_large_list(type_):
        return pa.large_list(_held_field(type_.value_field))
    if t.is_fixed_size_list(type_):
        sized: pa.DataType = pa.list_(_held_field(type_.value_field), type_.list_size)
        return sized
    if t.is_struct(type_):
        return pa.struct([_held_field(type_.field(index)) for index in range(type_.num_fields)])
    if t.is_map(type_):
        map_: Any = pa.map_  # the stubs know no fields here
        mapped: pa.DataType = map_(_held_field(type_.key_field), _held_field(type_.item_field), type_.keys_sorted)
        return mapped
    return type_


def held_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the types in which the engine holds its columns; the same one where it holds them all."""
    import pyarrow as pa

    fields = [_held_field(field) for field in schema]
    return schema if fields == list(schema) else pa.schema(fields)


def held_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with its columns as the types of a schema that `held_schema` gave."""
    import pyarrow as pa

    if batch.schema.types == schema.types:
        return batch
    columns = [_cast(column, type_) for column, type_ in zip(batch.columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _held_field(field: pa.Field[Any]) -> pa.Field[Any]:
    type_ = held(field.type)
    return field if type_ == field.type else field.with_type(type_)


def _cast(array: pa.Array[Any], to: pa.DataType) -> pa.Array[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types as t

    found: pa.Array[Any] = array if array.type == to else array.cast(to)
    if not (t.is_decimal(array.type) and t.is_string(to)):
        return found
    # Arrow writes small numbers with an exponent
    short = pc.match_substring(found, "E")
    if not pc.any(short, min_count=0).as_py():
        return found
    texts = [None if value is None else format(value, "f") for value in array.filter(short).to_pylist()]
    plain: pa.Array[Any] = pc.replace_with_mask(found, short, pa.array(texts, to))
    return plain
