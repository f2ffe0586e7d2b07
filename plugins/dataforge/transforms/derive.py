"""The derive transform: columns computed from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, SqlExpression
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class DeriveConfig(TransformConfig):
    """Config of `derive`."""

    type: Literal["derive"] = "derive"
    columns: dict[ColumnName, SqlExpression] = Field(
        description="New column to SQL expression over the columns before this step; an existing column is replaced.",
        examples=[{"order_day": "cast(ordered_at as date)", "total": "quantity * price"}],
    )


@TRANSFORMS.register(DeriveConfig)
class Derive:
    """Adds computed columns, or replaces columns by computed ones."""

    def __init__(self, config: DeriveConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * [REPLACE (expression AS column)], expression AS column, … FROM relation`."""
        known = {name.lower(): name for name in relation.columns or ()}
        replaced: dict[str, exp.Expr] = {}
        added: dict[str, exp.Expr] = {}
        with sql.Problems() as problems:
            with problems.under():
                sql.match_keys(None, self._config.columns, "columns")
            for name, text in self._config.columns.items():
                with problems.under("columns", name):
                    value = sql.parse_expression(text, relation, scope, windows=True)
                    value.meta["path"] = ("columns", name)
                    (replaced if name.lower() in known else added)[known.get(name.lower(), name)] = value
        return sql.select(
            relation, sql.star(replace=replaced), *(sql.aliased(value, name) for name, value in added.items())
        )
