"""The parse_json transform: JSON text as typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem
from dataforge.transforms._nested import NestedType, fields_of, is_json, item_of, known_type, read_json

if TYPE_CHECKING:
    from sqlglot import exp


class ParseJsonConfig(TransformConfig):
    """Config of `parse_json`."""

    type: Literal["parse_json"] = "parse_json"
    columns: dict[ColumnName, NestedType] = Field(
        description="Column with JSON, as text or of type json, to the type that its values get: struct(name type, …) "
        "for objects, type[] for lists, json to leave all open. Members that the type doesn't name are left out, ones "
        "that are missing are null.",
        examples=[{"payload": "struct(id bigint, customer struct(name text), tags text[])"}],
    )
    on_error: Literal["fail", "null"] = Field(
        default="fail",
        description="What happens to a text that is no JSON or has a value that does not fit its type: fail stops the "
        "run, or sets the row aside where dead letters are kept; null puts null in place of the whole value.",
    )


@TRANSFORMS.register(ParseJsonConfig)
class ParseJson:
    """Reads JSON text as typed records, lists and values; flatten and unnest then make columns and rows of them."""

    def __init__(self, config: ParseJsonConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * REPLACE (typed AS column, …) FROM relation`."""
        from sqlglot import exp

        found = sql.match_keys(relation.columns, self._config.columns, "columns")
        values: dict[str, exp.Expr] = {}
        with sql.Problems() as problems:
            for name, text in self._config.columns.items():
                with problems.under("columns", name):
                    _refuse_other(name, (relation.columns or {}).get(found[name], ""))
                    lenient = self._config.on_error == "null"
                    # the engine computes what an expression repeats outside of its TRY, so this may not raise there
                    whole = sql.cast(sql.column(found[name]), "JSON", safe=lenient)
                    value = read_json(whole, sql.parse_type(text))
                    if lenient:
                        value = exp.Try(this=value)
                    value.meta["path"] = ("columns", name)
                    values[found[name]] = value
        return sql.select(relation, sql.star(replace=values))


def _refuse_other(name: str, type_: str) -> None:
    """Raise ConfigError for a column of a known type that holds no JSON."""
    kind = known_type(type_)
    if kind is None or is_json(kind) or sql.family(type_) == "text":
        return
    hint = "write parse_json for text, cast for single values"
    if fields_of(kind) or item_of(kind):
        hint = "it has its types already: use flatten for records, unnest for lists"
    raise ConfigError(Problem("type-mismatch", f"column {name!r} is of type {type_}, not JSON or text", (), hint))
