"""The cast transform: give columns other types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, DataType
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class CastConfig(TransformConfig):
    """Config of `cast`."""

    type: Literal["cast"] = "cast"
    columns: dict[ColumnName, DataType] = Field(
        description="Column name to SQL type.", examples=[{"amount": "decimal(12,2)", "ordered_at": "timestamp"}]
    )
    on_error: Literal["fail", "null"] = Field(
        default="fail", description="What becomes of a value that does not fit: fail the run, or null in its place."
    )


@TRANSFORMS.register(CastConfig)
class Cast:
    """Gives columns other types; a value that does not fit fails the run or becomes null."""

    def __init__(self, config: CastConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * REPLACE (CAST(column AS type) AS column, …) FROM relation`."""
        values: dict[str, exp.Expr] = {}
        with sql.Problems() as problems:
            with problems.under():
                found = sql.match_keys(relation.columns, self._config.columns, "columns")
            for name, type_ in self._config.columns.items():
                with problems.under("columns", name):
                    to = sql.parse_type(type_)
                    if not problems.found:
                        value = sql.cast(sql.column(found[name]), to, safe=self._config.on_error == "null")
                        value.meta["path"] = ("columns", name)
                        values[found[name]] = value
        return sql.select(relation, sql.star(replace=values))
