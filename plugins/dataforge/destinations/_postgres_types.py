"""Which column type a field of the records gets in PostgreSQL, and how its values are handed to the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataforge.components.wide_decimals import MAX_DIGITS
from dataforge.destinations._columns import (
    MisfitError,
    Planned,
    TargetColumn,
    Wire,
    is_bytes,
    is_nested,
    is_text,
    json_text,
    lossless,
    standard_type,
)
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column(TargetColumn):
    """A table's column as the catalogue has it: `base` is pg_type's name, `size` precision and scale of a numeric,
    `kind` pg_type's typtype, `element` the name of an array's element type, `plain` the type below a domain.
    """

    base: str = ""
    kind: str = "b"
    element: str = ""
    plain: str = ""
    size: tuple[int, int] | None = None


def column_of(row: Sequence[Any]) -> Column:
    name, type_, not_null, has_default, generated, base, kind, element, plain, typmod, type_not_null = row
    size = None
    if base == "numeric" and typmod >= 4:
        # numeric's modifier: 16 bits of precision, 11 bits of signed scale, offset by 4 (numeric.h in PostgreSQL)
        precision, scale = (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4 & 0x7FF) ^ 1024) - 1024
        size = (precision, scale)
    return Column(
        name,
        type_,
        required=(not_null or type_not_null) and not has_default,
        generated=generated,
        base=base,
        kind=kind,
        element=element,
        plain=plain,
        size=size,
    )


def _wire_types() -> dict[str, pa.DataType]:
    """Return the types that the driver writes in binary, by pg_type's names."""
    import pyarrow as pa

    return {
        "bool": pa.bool_(),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "float4": pa.float32(),
        "float8": pa.float64(),
        "text": pa.string(),
        "varchar": pa.string(),
        "bpchar": pa.string(),
        "bytea": pa.binary(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "interval": pa.month_day_nano_interval(),
    }


def arrow_of(column: Column) -> pa.DataType | None:
    """Return the Arrow type of a column's values; None for types without a plain one."""
    import pyarrow as pa

    if column.base == "numeric":
        if column.size is None or column.size[0] > 38 or not 0 <= column.size[1] <= column.size[0]:
            return None
        return pa.decimal128(*column.size)
    if column.kind == "d":
        return None
    return _wire_types().get(column.base)


def plan_column(field: pa.Field[Any], column: Column) -> Planned | None:
    """Return how an Arrow field goes into a column; None when its type does not go there."""
    import pyarrow as pa
    from pyarrow import types as t

    name, source = field.name, field.type
    if column.kind == "d" and not t.is_nested(source):
        return _staged(field, column, column.plain, explicit=False)
    if column.base in ("jsonb", "json"):
        return _json(field, column.base)
    if column.base == "numeric":
        return _numeric(field, column)
    if column.base == "uuid" and (source == pa.binary(16) or getattr(source, "extension_name", "") == "arrow.uuid"):
        wire = lossless(name, source, pa.binary(16), column.type)
        return Planned(wire, column.type) if wire else None
    types = _wire_types()
    if column.base == "interval" and t.is_duration(source):
        return Planned(Wire(name, source), column.type)
    if column.element in types and t.is_list(source):
        wire = lossless(name, source, pa.list_(types[column.element]), column.type)
        return Planned(_without_gaps(_elements_in_range(wire)), column.type) if wire else None
    if column.base not in types:
        return _staged(field, column, "text", explicit=True)
    wire = lossless(name, source, types[column.base], column.type)
    return Planned(_in_range(wire), column.type) if wire else None


def _without_gaps(wire: Wire) -> Wire:
    """Return a wire for arrays that refuses null elements where the driver is too old to write them as null."""
    from importlib.metadata import version

    import pyarrow.compute as pc

    if tuple(int(part) for part in version("adbc-driver-postgresql").split(".")[:2]) >= (1, 13):
        return wire

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        array = wire.convert(array) if wire.convert else array
        if pc.list_flatten(array).null_count:
            raise MisfitError(
                f"column {wire.name!r} holds an array with a null element, which adbc-driver-postgresql before 1.13 "
                "would write as another value; install a newer one, or cast the column to json and the table's to "
                "jsonb",
                wire.name,
            )
        return array

    return replace(wire, convert=convert)


def _staged(field: pa.Field[Any], column: Column, stage_type: str, *, explicit: bool) -> Planned | None:
    """Return a plan by way of the temporary table: as text, cast by the server, or as the type below a domain."""
    import pyarrow as pa

    if explicit or stage_type not in _BASES:
        wire = lossless(field.name, field.type, pa.string(), column.type)
        return Planned(wire, column.type, "text", explicit=True) if wire else None
    wire = lossless(field.name, field.type, _wire_types()[_BASES[stage_type]], column.type)
    return Planned(_in_range(wire), column.type, stage_type) if wire else None


_BASES = {
    "boolean": "bool",
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "text": "text",
    "bytea": "bytea",
    "date": "date",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}
"""format_type's names of the types in `_wire_types` that stand below domains without a size of their own."""


def _numeric(field: pa.Field[Any], column: Column) -> Planned | None:
    import pyarrow as pa
    from pyarrow import types as t

    source = field.type
    if is_text(source) and (column.size is None or 0 <= column.size[1] <= column.size[0] > MAX_DIGITS):
        # the engine has no such decimals: they come as texts, and no transform could cast them
        return Planned(_number(field, column), column.type, "text", explicit=True)
    if column.size is not None:
        precision, scale = column.size
        if precision > 76 or not 0 <= scale <= precision:
            return _staged(field, column, "text", explicit=True)
        to = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        wire = lossless(field.name, source, to, column.type)
    elif t.is_decimal(source):
        wire = Wire(field.name, source)
    elif t.is_floating(source):  # by its shortest text, which reads back as the same number
        return _staged(field, column, "text", explicit=True)
    else:
        wire = lossless(field.name, source, pa.decimal128(38, 0), column.type)
    return Planned(wire, column.type) if wire else None


_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"


def _number(field: pa.Field[Any], column: Column) -> Wire:
    """Return a wire for texts that go into a column of numbers: only those of numbers that it holds as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wire = lossless(field.name, field.type, pa.string(), column.type)
    assert wire is not None
    first, pattern = wire.convert, _NUMBER
    if column.size is not None:
        precision, scale = column.size
        whole = f"0|[1-9][0-9]{{0,{precision - scale - 1}}}" if precision > scale else "0"
        pattern = rf"^-?({whole})(\.[0-9]{{0,{scale}}}0*)?$"

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        array = first(array) if first else array
        if pc.all(pc.match_substring_regex(array, pattern), min_count=0).as_py() is False:
            raise MisfitError(
                f"column {field.name!r}: a text is no number that the table's type {column.type} holds without loss; "
                "correct it with a transform, or widen the column",
                field.name,
            )
        return array

    return replace(wire, convert=convert)


def _json(field: pa.Field[Any], base: str) -> Planned | None:
    import pyarrow as pa

    to_text: Callable[[pa.Array[Any]], pa.Array[Any]] | None
    if is_nested(field.type):
        to_text = json_text()
    else:
        wire = lossless(field.name, field.type, pa.string(), base)
        if wire is None or not (pa.types.is_null(field.type) or is_text(field.type)):
            return None
        to_text = wire.convert
    if base == "json":
        return Planned(Wire(field.name, pa.string(), to_text), base)
    # jsonb's binary form is a version byte, then the text.
    return Planned(Wire(field.name, pa.binary(), lambda array: _jsonb(to_text(array) if to_text else array)), base)


def _jsonb(array: pa.Array[Any]) -> pa.Array[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    version, nothing = pa.scalar(b"\x01", pa.binary()), pa.scalar(b"", pa.binary())
    join: Any = pc.binary_join_element_wise  # the stubs don't know arrays beside scalars
    joined: pa.Array[Any] = join(version, array.cast(pa.binary()), nothing)
    return joined


def new_column(field: pa.Field[Any]) -> Planned:
    """Return the column that a new table gets for an Arrow field."""
    import pyarrow as pa
    from pyarrow import types as t

    source = field.type.value_type if t.is_dictionary(field.type) else field.type
    extension = getattr(source, "extension_name", "")
    if array := _new_array(field):
        return array
    if is_nested(source) or extension == "arrow.json":
        plan = _json(field, "jsonb")
        assert plan is not None
        return plan
    if extension == "arrow.uuid":
        wire = lossless(field.name, field.type, pa.binary(16), "uuid")
        assert wire is not None
        return Planned(wire, "uuid")
    type_, to = _new_type(source)
    wire = lossless(field.name, field.type, to, type_)
    if wire is None:
        raise TerminalError(f"column {field.name!r} has the type {field.type}, which can't be stored; cast it")
    return Planned(_in_range(wire), type_)


def _new_array(field: pa.Field[Any]) -> Planned | None:
    """Return the array column for a list of plain values; None for other fields, and for lists of lists or structs."""
    import pyarrow as pa
    from pyarrow import types as t

    if not (t.is_list(field.type) or t.is_large_list(field.type)):
        return None
    element = field.type.value_type
    if is_nested(element) or isinstance(element, pa.BaseExtensionType) or t.is_null(element):
        return None
    if t.is_dictionary(element) or t.is_duration(element) or t.is_decimal256(element):
        return None
    type_, to = _new_type(element)
    wire = lossless(field.name, field.type, pa.list_(to), f"{type_}[]")
    return Planned(_without_gaps(_elements_in_range(wire)), f"{type_}[]") if wire else None


def _new_type(source: pa.DataType) -> tuple[str, pa.DataType]:
    import pyarrow as pa
    from pyarrow import types as t

    if t.is_decimal(source):
        scale = max(source.scale, 0)
        precision = max(source.precision - min(source.scale, 0), scale)
        to = source if source.scale >= 0 else pa.decimal256(precision, 0)
        return f"numeric({precision},{scale})", to
    if t.is_uint64(source):
        return "numeric(20,0)", pa.decimal128(20, 0)
    if t.is_duration(source):
        return "interval", source
    if t.is_interval(source):
        return "interval", pa.month_day_nano_interval()
    if is_bytes(source):
        return "bytea", pa.binary()
    return standard_type(source) or ("text", pa.string())


def _elements_in_range(wire: Wire) -> Wire:
    """Return a wire for arrays that refuses elements as `_in_range` refuses values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert isinstance(wire.type, pa.ListType)
    elements = _in_range(Wire(wire.name, wire.type.value_type))
    inspect = elements.convert
    if inspect is None:
        return wire

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        array = wire.convert(array) if wire.convert else array
        inspect(pc.list_flatten(array))
        return array

    return replace(wire, convert=convert)


_FIRST_MICROSECOND = -210_866_803_200_000_000
"""4713-01-01 BC, the first instant of PostgreSQL."""


def _in_range(wire: Wire) -> Wire:
    """Return a wire that refuses instants which the driver would turn into others (DuckDB's infinity among them)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(wire.type):
        return wire

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        array = wire.convert(array) if wire.convert else array
        ends = pc.min_max(array.cast(pa.int64()))
        low, high = ends["min"].as_py(), ends["max"].as_py()
        if low is not None and (low < _FIRST_MICROSECOND or high == 2**63 - 1):
            raise MisfitError(
                f"column {wire.name!r} holds an infinite instant or one before 4713 BC, which can't be handed to "
                "PostgreSQL; replace it with null or with a date of your choice in a transform",
                wire.name,
            )
        return array

    return replace(wire, convert=convert)
