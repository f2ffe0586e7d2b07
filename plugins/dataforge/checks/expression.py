"""The expression check: a condition on every row."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.fields import SqlExpression
from dataforge.components.registry import CHECKS
from dataforge.errors import bounded


class ExpressionConfig(CheckConfig):
    """Config of `expression`."""

    type: Literal["expression"] = "expression"
    expression: SqlExpression = Field(
        description="SQL condition that no row may break; a row for which it is null passes, as in SQL constraints.",
        examples=["shipped_at >= ordered_at"],
    )
    message: str | None = Field(
        default=None, max_length=500, description="What to say when it is broken.", examples=["shipped before ordered"]
    )


@CHECKS.register(ExpressionConfig)
class Expression:
    """A condition is false for no row."""

    def __init__(self, config: ExpressionConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows for which the condition is false."""
        from sqlglot import exp

        condition = sql.parse_expression(self._config.expression, relation, scope, "expression")
        condition.meta["condition"] = True
        says = self._config.message or f"it breaks {bounded(self._config.expression, 200)!r}"
        return sql.count_violations(relation, exp.Not(this=exp.Paren(this=condition)), says)

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        broken = self._config.message or f"they break {bounded(self._config.expression, 200)!r}"
        return f"{violations:,} of {checked:,} rows: {broken}"
