"""The not_null check: columns without nulls."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.fields import ColumnName
from dataforge.components.registry import CHECKS


class NotNullConfig(CheckConfig):
    """Config of `not_null`."""

    type: Literal["not_null"] = "not_null"
    columns: tuple[ColumnName, ...] = Field(
        description="Columns in which every row must have a value.", examples=[["order_id", "customer_id"]]
    )


@CHECKS.register(NotNullConfig)
class NotNull:
    """Every row has a value in these columns."""

    def __init__(self, config: NotNullConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows with a null in any of the columns."""
        from sqlglot import exp

        found = sql.match_columns(relation.columns, self._config.columns, "columns")
        nulls = [exp.Is(this=sql.column(name), expression=exp.Null()) for name in found]
        says = f"there is no value in {' or '.join(found)}"
        return sql.count_violations(relation, exp.or_(*nulls, copy=False), says, found[0] if len(found) == 1 else "")

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        return f"{violations:,} of {checked:,} rows have no value in {', '.join(self._config.columns)}"
