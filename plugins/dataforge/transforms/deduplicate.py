"""The deduplicate transform: one row for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, SqlExpression
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp


class DeduplicateConfig(TransformConfig):
    """Config of `deduplicate`."""

    type: Literal["deduplicate"] = "deduplicate"
    keys: tuple[ColumnName, ...] | None = Field(
        default=None,
        description="Columns that make a row unique; nulls are equal. All columns when not set.",
        examples=[["order_id"]],
    )
    order_by: SqlExpression | tuple[SqlExpression, ...] | None = Field(
        default=None,
        description="The first row in this order is kept, such as the newest; any one of them when not set.",
        examples=["updated_at desc"],
    )


@TRANSFORMS.register(DeduplicateConfig)
class Deduplicate:
    """Keeps one row for each key: the first in the given order."""

    def __init__(self, config: DeduplicateConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * … QUALIFY row_number() OVER (PARTITION BY keys ORDER BY …) = 1`, or SELECT DISTINCT."""
        from sqlglot import exp

        if self._config.keys is None:
            if self._config.order_by is not None:
                raise ConfigError(Problem("missing-key", "'order_by' chooses among rows that share 'keys'; name them"))
            return sql.select(relation, sql.star()).distinct(copy=False)
        with sql.Problems() as problems:
            keys: list[str] = []
            order: list[exp.Expr] = []
            with problems.under():
                keys = sql.match_columns(relation.columns, self._config.keys, "keys")
            if self._config.order_by is not None:
                with problems.under():
                    order = sql.parse_order(self._config.order_by, relation, scope, "order_by")
        window = exp.Window(
            this=exp.RowNumber(),
            partition_by=[sql.column(key) for key in keys],
            order=exp.Order(expressions=order) if order else None,
            over="OVER",
        )
        first = exp.EQ(this=window, expression=exp.Literal.number(1))
        query = sql.select(relation, sql.star())
        query.set("qualify", exp.Qualify(this=first))
        return query
