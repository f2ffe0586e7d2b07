"""Which column type a field of the records gets in a database of the sql destination, and how its values are bound."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

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
from dataforge.destinations._sql_dialects import Dialect
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

SQLITE_DIGITS = 19
"""Decimals with more digits before the point become text in SQLite, which has integers and doubles of 64 bits."""


def written_type(type_: str, dialect: Dialect) -> str:
    """Return a type of the database as it is spelled in the dialect in which statements are written."""
    if dialect.name == dialect.written:
        return type_
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        kind = exp.DataType.build(type_, dialect=dialect.name)
    except (SqlglotError, ValueError):
        return type_
    if dialect.name == "mysql" and type_.lower() == "tinyint(1)":
        return "boolean"
    if dialect.name == "mysql" and kind.is_type("datetime", "timestamp", "timestamptz", "timestampltz"):
        return "timestamp"
    if dialect.name == "tsql" and kind.is_type("bit"):
        return "boolean"
    if kind.is_type("timestampltz"):
        return "timestamptz"
    if signed := _UNSIGNED.get(kind.this.value):
        return signed + "".join(f"({size})" for size in [", ".join(one.name for one in kind.expressions)] if size)
    return kind.sql("postgres").lower()


_UNSIGNED = {
    "UDECIMAL": "numeric",
    "UDOUBLE": "double precision",
    "UTINYINT": "smallint",
    "USMALLINT": "integer",
    "UMEDIUMINT": "integer",
    "UINT": "bigint",
    "UBIGINT": "numeric(20,0)",
}


def sized(name: str, length: Any, precision: Any, scale: Any) -> str:
    """Return a type of the information schema with its size."""
    plain = name.lower()
    if length is not None and "char" in plain:
        return f"{plain}({'max' if int(length) < 0 else int(length)})"
    if precision is not None and plain in ("decimal", "numeric", "number"):
        return f"{plain}({int(precision)},{int(scale or 0)})"
    return plain


def arrow_of(type_: str, dialect: Dialect) -> pa.DataType | None:
    """Return the Arrow type of a column's values by its written type; None for types without a plain one."""
    import pyarrow as pa
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        kind = exp.DataType.build(type_, dialect=dialect.written) if type_ else None
    except (SqlglotError, ValueError):
        kind = None
    if kind is None:
        return _by_affinity(type_) if dialect.name == "sqlite" else None
    if kind.is_type("decimal", "bigdecimal"):
        return _decimal(kind)
    own_names: dict[str, pa.DataType] = {"money": pa.decimal128(19, 4), "number": pa.decimal128(38, 0)}
    if type_.lower() in own_names and dialect.name != "postgres":
        return own_names[type_.lower()]
    groups: tuple[tuple[tuple[str, ...], pa.DataType], ...] = (
        (("boolean",), pa.bool_()),
        (("smallint", "tinyint"), pa.int16()),
        (("int", "mediumint"), pa.int32() if dialect.name != "sqlite" else pa.int64()),
        (("bigint",), pa.int64()),
        (("float",), pa.float32() if dialect.name in ("postgres", "mysql") else pa.float64()),
        (("double",), pa.float64()),
        (("date",), pa.date32()),
        (("time",), pa.time64("us")),
        (("timestamp", "datetime", "datetime2", "timestampntz"), pa.timestamp("us")),
        (("timestamptz", "timestampltz"), pa.timestamp("us", "UTC")),
        (("text", "varchar", "nvarchar", "char", "nchar", "longtext", "mediumtext", "tinytext"), pa.string()),
        (("varbinary", "binary", "blob", "longblob", "mediumblob", "tinyblob"), pa.binary()),
    )
    if dialect.name == "sqlite" and kind.is_type("smallint", "tinyint", "mediumint"):
        return pa.int64()
    if dialect.name == "sqlite" and type_.lower().startswith("real"):
        return pa.float64()
    found = next((arrow for names, arrow in groups if kind.is_type(*names)), None)
    return _by_affinity(type_) if found is None and dialect.name == "sqlite" else found


def _decimal(kind: Any) -> pa.DataType | None:
    import pyarrow as pa

    sizes = [int(size.name) for size in kind.expressions if size.name.isdigit()]
    if not sizes:
        return None
    precision, scale = sizes[0], sizes[1] if len(sizes) > 1 else 0
    return pa.decimal128(precision, scale) if precision <= 38 and scale <= precision else None


def _by_affinity(type_: str) -> pa.DataType | None:
    """Return what SQLite makes of a type that it does not know; None where it takes anything."""
    import pyarrow as pa

    name = type_.upper()
    if "INT" in name:
        return pa.int64()
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return pa.string()
    if "BLOB" in name:
        return pa.binary()
    return pa.float64() if any(part in name for part in ("REAL", "FLOA", "DOUB")) else None


def plan_column(field: pa.Field[Any], column: TargetColumn, dialect: Dialect) -> Planned | None:
    """Return how an Arrow field goes into an existing column; None when its type does not go there."""
    import pyarrow as pa
    from pyarrow import types as t

    arrow = arrow_of(column.type, dialect)
    source = field.type.value_type if t.is_dictionary(field.type) else field.type
    if dialect.name == "mysql" and arrow == pa.timestamp("us") and t.is_timestamp(source) and source.tz is not None:
        arrow = pa.timestamp("us", "UTC")  # instants stand in MySQL's datetime columns as UTC, see `bound`
    if arrow is not None:
        if is_text(arrow) and is_nested(source):
            wire: Wire | None = Wire(field.name, pa.string(), json_text())
        else:
            wire = lossless(field.name, field.type, arrow, column.type)
        return Planned(_guarded(wire, column.type, dialect), column.type) if wire else None
    plain = column.type.lower()
    if plain.split("(")[0] in ("numeric", "decimal", "number", ""):
        return _unsized(field, column, dialect)
    if is_nested(source):
        wire = Wire(field.name, pa.string(), json_text()) if plain in ("json", "jsonb", "variant") else None
    else:
        wire = lossless(field.name, field.type, pa.string(), column.type)
    if wire is None or plain == "array" or plain.endswith("[]"):
        return None
    wire = _guarded(wire, column.type, dialect)
    if dialect.name == "sqlite":
        return Planned(wire, column.type)
    return Planned(wire, column.type, dialect.text, explicit=True)


def _unsized(field: pa.Field[Any], column: TargetColumn, dialect: Dialect) -> Planned | None:
    """Return the plan for a column of numbers of any size, or, in SQLite, of anything."""
    from pyarrow import types as t

    if not column.type:
        return replace(new_column(field, dialect), type=column.type)
    number = t.is_integer(field.type) or t.is_decimal(field.type) or t.is_null(field.type)
    if not number and not (dialect.name == "sqlite" and t.is_floating(field.type)):
        return None
    return Planned(_guarded(Wire(field.name, field.type), column.type, dialect), column.type)


def new_column(field: pa.Field[Any], dialect: Dialect) -> Planned:
    """Return the column that a new table gets for an Arrow field, its type in the written dialect."""
    import pyarrow as pa
    from pyarrow import types as t

    source = field.type.value_type if t.is_dictionary(field.type) else field.type
    extension = getattr(source, "extension_name", "")
    if is_nested(source):
        return Planned(_guarded(Wire(field.name, pa.string(), json_text()), dialect.json, dialect), dialect.json)
    if extension == "arrow.json":
        wire = lossless(field.name, field.type, pa.string(), dialect.json)
        assert wire is not None
        return Planned(_guarded(wire, dialect.json, dialect), dialect.json)
    if extension == "arrow.uuid":
        type_ = dialect.text if dialect.name == "sqlite" else "uuid"
        return Planned(Wire(field.name, pa.string(), _uuid_text), type_)
    type_, to = _new_type(source, dialect)
    wire = lossless(field.name, field.type, to, type_)
    if wire is None:
        raise TerminalError(
            f"column {field.name!r} has the type {field.type}, which {dialect.title} can't store; cast it"
        )
    return Planned(_guarded(wire, type_, dialect), type_)


def _uuid_text(array: pa.Array[Any]) -> pa.Array[Any]:
    import pyarrow as pa

    return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())


def _new_type(source: pa.DataType, dialect: Dialect) -> tuple[str, pa.DataType]:
    import pyarrow as pa
    from pyarrow import types as t

    if t.is_uint64(source):
        source = pa.decimal128(20, 0)
    if t.is_decimal(source):
        scale = max(source.scale, 0)
        precision = max(source.precision - min(source.scale, 0), scale)
        # 38 digits in all are what inference gives to numbers that a double would not hold
        if precision > 38 or (dialect.name == "sqlite" and (precision == 38 or precision - scale > SQLITE_DIGITS)):
            return dialect.text, pa.string()
        return f"numeric({precision},{scale})", pa.decimal128(precision, scale)
    if is_bytes(source):
        return "blob" if dialect.name == "sqlite" else "bytea", pa.binary()
    return standard_type(source) or (dialect.text, pa.string())


# ---- Values that the database would refuse, cut or change


def _guarded(wire: Wire, type_: str, dialect: Dialect) -> Wire:
    """Return a wire that refuses what the database would change on the way in, or the driver can't say."""
    from pyarrow import types as t

    guards: list[Callable[[pa.Array[Any]], str | None]] = []
    if t.is_timestamp(wire.type) or t.is_date(wire.type):
        guards.append(_out_of_calendar)
    if t.is_floating(wire.type) and not dialect.special_floats:
        guards.append(lambda array: _special(array, infinite=dialect.name != "sqlite", title=dialect.title))
    if is_text(wire.type) and dialect.name == "postgres":
        guards.append(_nul)
    if is_text(wire.type) and dialect.name != "sqlite" and (size := re.search(r"char[\w ]*\((\d+)\)", type_.lower())):
        guards.append(lambda array, most=int(size[1]): _too_long(array, most))  # type: ignore[misc]
    if dialect.name == "sqlite":
        if t.is_decimal(wire.type):
            guards.append(_inexact)
        elif is_text(wire.type) and not any(part in type_.upper() for part in ("CHAR", "CLOB", "TEXT", "BLOB")):
            guards.append(_number_like)
    if not guards:
        return wire

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        array = wire.convert(array) if wire.convert else array
        for guard in guards:
            if message := guard(array):
                raise MisfitError(f"column {wire.name!r} {message}", wire.name)
        return array

    return replace(wire, convert=convert)


_FIRST_DAY, _LAST_DAY = date.min.toordinal() - date(1970, 1, 1).toordinal(), date.max.toordinal() - 719_163
_FIRST = _FIRST_DAY * 86_400_000_000
_LAST = (_LAST_DAY + 1) * 86_400_000_000 - 1


def _out_of_calendar(array: pa.Array[Any]) -> str | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types as t

    day = t.is_date(array.type)
    ends = pc.min_max(array.cast(pa.int32() if day else pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    first, last = (_FIRST_DAY, _LAST_DAY) if day else (_FIRST, _LAST)
    if low is None or (low >= first and high <= last):
        return None
    return "holds a date outside of the years 1 to 9999; replace it with null or another date in a transform"


def _special(array: pa.Array[Any], *, infinite: bool, title: str) -> str | None:
    import pyarrow.compute as pc

    present = array.drop_null()
    if pc.any(pc.is_nan(present)).as_py() or (infinite and pc.any(pc.is_inf(present)).as_py()):
        return f"holds {'NaN or an infinite number' if infinite else 'NaN'}, which {title} can't store"
    return None


def _nul(array: pa.Array[Any]) -> str | None:
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(array, "\0")).as_py():
        return None
    return (
        "holds a character that the database can't store, NUL (U+0000); remove it with a derive transform: "
        "replace(column, chr(0), '')"
    )


def _too_long(array: pa.Array[Any], most: int) -> str | None:
    import pyarrow.compute as pc

    length: Any = pc.utf8_length  # the stubs know arrays of texts only by that type
    longest = pc.max(length(array)).as_py()
    if longest is None or longest <= most:
        return None
    return f"holds a text of {longest} characters, the table's column takes {most}"


def _inexact(array: pa.Array[Any]) -> str | None:
    if all(value is None or exact_number(value) is not None for value in array.to_pylist()):
        return None
    return "holds a decimal with more digits than SQLite's numbers have; cast it to text with a transform"


def exact_number(value: Decimal) -> int | float | None:
    """Return a decimal as the number by which SQLite keeps it digit by digit; None where there is none."""
    if value == value.to_integral_value():
        return int(value) if -(2**63) <= value < 2**63 else None
    number = float(value)
    return number if math.isfinite(number) and Decimal(repr(number)) == value else None


_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def _number_like(array: pa.Array[Any]) -> str | None:
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(array, _NUMBER)).as_py():
        return None
    return "holds a text that SQLite would turn into a number in a column of that type; make it a text column"


# ---- Python values


def bound(array: pa.Array[Any], dialect: Dialect) -> list[Any]:
    """Return the values as the driver takes them: as they are, except where that would lose something."""
    from pyarrow import types as t

    kind = array.type
    values = array.to_pylist()
    if dialect.name == "sqlite":
        if t.is_decimal(kind):
            return [None if value is None else exact_number(value) for value in values]
        if t.is_date(kind) or t.is_time(kind):
            return [None if value is None else value.isoformat() for value in values]
        if t.is_timestamp(kind):
            return [None if value is None else value.isoformat(sep=" ") for value in values]
    elif t.is_timestamp(kind) and kind.tz is not None and not dialect.aware:
        if dialect.name == "mysql":  # the session's zone is UTC, and so is what its columns hold
            return [None if value is None else value.replace(tzinfo=None) for value in values]
        return [None if value is None else value.isoformat(sep=" ") for value in values]
    return values


def unbound(value: Any, kind: pa.DataType | None) -> Any:
    """Return what a driver gives for a value of an Arrow type as that type's Python value."""
    from pyarrow import types as t

    if value is None or kind is None:
        return value
    if t.is_boolean(kind):
        return bool(value)
    if t.is_decimal(kind) and not isinstance(value, Decimal):
        return Decimal(str(value)).quantize(Decimal(1).scaleb(-kind.scale))
    if t.is_timestamp(kind) and kind.tz is not None and isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)
    if isinstance(value, memoryview):
        return bytes(value)
    return value


def text_of(value: Any, kind: str) -> Any:
    """Return a value of a SQLite column as the text that it would be had it come as text; `kind` is the old type."""
    import pyarrow as pa

    if value is None or isinstance(value, str | bytes):
        return value
    if kind.lower().startswith("bool"):
        return "true" if value else "false"
    if size := re.match(r"(?:numeric|decimal)\s*\(\s*\d+\s*,\s*(\d+)\s*\)", kind.lower()):
        return format(Decimal(repr(value)).quantize(Decimal(1).scaleb(-int(size[1]))), "f")
    return pa.scalar(value).cast(pa.string()).as_py()
