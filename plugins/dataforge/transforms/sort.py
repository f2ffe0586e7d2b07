"""The sort transform: rows in an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import SqlExpression
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class SortConfig(TransformConfig):
    """Config of `sort`."""

    type: Literal["sort"] = "sort"
    by: SqlExpression | tuple[SqlExpression, ...] = Field(
        description="Sort keys, each with asc (default) or desc, nulls first or nulls last (default).",
        examples=[["amount desc", "order_id"]],
    )


@TRANSFORMS.register(SortConfig)
class Sort:
    """Puts the rows in an order."""

    def __init__(self, config: SortConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * FROM relation ORDER BY key, …`."""
        order = sql.parse_order(self._config.by, relation, scope, "by")
        return sql.select(relation, sql.star()).order_by(*order, copy=False)
