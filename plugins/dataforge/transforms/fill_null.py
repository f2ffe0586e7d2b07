"""The fill_null transform: values in place of nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class FillNullConfig(TransformConfig):
    """Config of `fill_null`."""

    type: Literal["fill_null"] = "fill_null"
    columns: dict[ColumnName, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        description="Column name to the value that takes the place of null; dates and instants as ISO 8601 text.",
        examples=[{"country": "unknown", "discount": 0}],
    )


@TRANSFORMS.register(FillNullConfig)
class FillNull:
    """Puts a value in the place of nulls."""

    def __init__(self, config: FillNullConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * REPLACE (COALESCE(column, value) AS column, …) FROM relation`."""
        from sqlglot import exp

        found = sql.match_keys(relation.columns, self._config.columns, "columns")
        values: dict[str, exp.Expr] = {}
        with sql.Problems() as problems:
            for name, value in self._config.columns.items():
                with problems.under("columns", name):
                    sql.check_value(value, (relation.columns or {}).get(found[name], ""))
                    filled = exp.Coalesce(this=sql.column(found[name]), expressions=[sql.literal(value)])
                    filled.meta["path"] = ("columns", name)
                    values[found[name]] = filled
        return sql.select(relation, sql.star(replace=values))
