"""The filter transform: keep the rows for which an expression is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import SqlExpression
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class FilterConfig(TransformConfig):
    """Config of `filter`."""

    type: Literal["filter"] = "filter"
    where: SqlExpression = Field(
        description="SQL condition; rows for which it is false or null are left out.",
        examples=["status = 'paid' and amount > 0"],
    )


@TRANSFORMS.register(FilterConfig)
class Filter:
    """Keeps the rows for which a condition is true."""

    def __init__(self, config: FilterConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * FROM relation WHERE condition`."""
        condition = sql.parse_expression(self._config.where, relation, scope, "where")
        condition.meta["condition"] = True
        return sql.select(relation, sql.star()).where(condition, copy=False)
