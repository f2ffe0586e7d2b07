"""The unique check: no two rows with the same key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.fields import ColumnName
from dataforge.components.registry import CHECKS


class UniqueConfig(CheckConfig):
    """Config of `unique`."""

    type: Literal["unique"] = "unique"
    columns: tuple[ColumnName, ...] = Field(
        description="Columns whose values together no two rows share; as in SQL, rows with a null among them are "
        "not compared.",
        examples=[["order_id"]],
    )


@CHECKS.register(UniqueConfig)
class Unique:
    """No two rows share the values of these columns."""

    def __init__(self, config: UniqueConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows whose key another row has too; an example is a key and how many rows have it."""
        from sqlglot import exp

        found = sql.match_columns(relation.columns, self._config.columns, "columns")
        keys = [sql.column(name) for name in found]
        rows = _free("rows", found)
        present = [exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null())) for key in keys]
        repeated = (
            sql.select(relation, *keys, sql.aliased(exp.Count(this=exp.Star()), rows))
            .where(*present, copy=False)
            .group_by(*(key.copy() for key in keys), copy=False)
            .having(exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1)), copy=False)
        )
        total = exp.Select(expressions=[exp.Count(this=exp.Star())]).from_(relation.table(), copy=False)
        surplus = exp.Coalesce(this=exp.Sum(this=sql.column(rows)), expressions=[exp.Literal.number(0)])
        count = exp.Select(
            expressions=[
                sql.aliased(sql.cast(surplus, "BIGINT"), "violations"),
                sql.aliased(exp.Subquery(this=total), "checked"),
            ]
        ).from_(exp.Subquery(this=repeated, alias=exp.TableAlias(this=sql.identifier("repeated"))), copy=False)
        return CheckQueries(count, repeated.copy().order_by(*(key.copy() for key in keys), copy=False))

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        return f"{violations:,} of {checked:,} rows share their {', '.join(self._config.columns)} with another row"


def _free(name: str, taken: list[str]) -> str:
    while any(name == other.lower() for other in taken):
        name += "_"
    return name
