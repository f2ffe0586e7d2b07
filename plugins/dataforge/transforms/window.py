"""The window transform: values computed over the rows around each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, SqlExpression
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem, bounded

if TYPE_CHECKING:
    from sqlglot import exp

Rows = Annotated[int, Field(ge=0, le=1_000_000)]


class WindowConfig(TransformConfig):
    """Config of `window`."""

    type: Literal["window"] = "window"
    columns: dict[ColumnName, SqlExpression] = Field(
        description="New column to one function of the window: row_number(), rank(), lag(amount), sum(amount), "
        "first_value(price) … An existing column is replaced.",
        examples=[{"number": "row_number()", "so_far": "sum(amount)", "before": "lag(amount)"}],
    )
    partition_by: tuple[ColumnName, ...] = Field(
        default=(), description="Columns that divide the rows; all rows are one part when not set.", examples=[["shop"]]
    )
    order_by: SqlExpression | tuple[SqlExpression, ...] | None = Field(
        default=None,
        description="Order of the rows within a part, each key with asc or desc. With it, an aggregate is that of the "
        "rows so far; without, that of the whole part.",
        examples=[["ordered_at", "order_id"]],
    )
    preceding: Rows | None = Field(
        default=None,
        description="How many rows before a row belong to its window, with order_by: 6 for the last seven rows; from "
        "the first one when not set.",
        examples=[6],
    )
    following: Rows | None = Field(
        default=None, description="How many rows after a row belong to its window, with order_by; none when not set."
    )


@TRANSFORMS.register(WindowConfig)
class Window:
    """Adds columns computed over the rows around each row: numbers, ranks, running totals, earlier values."""

    def __init__(self, config: WindowConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT *, function OVER (PARTITION BY … ORDER BY … ROWS …) AS column, … FROM relation`."""
        config = self._config
        known = {name.lower(): name for name in relation.columns or ()}
        replaced: dict[str, exp.Expr] = {}
        added: dict[str, exp.Expr] = {}
        keys: list[str] = []
        order: list[exp.Expr] = []
        with sql.Problems() as problems:
            with problems.under():
                sql.match_keys(None, config.columns, "columns")
            if config.partition_by:
                with problems.under():
                    keys = sql.match_columns(relation.columns, config.partition_by, "partition_by")
            if config.order_by is not None:
                with problems.under():
                    order = sql.parse_order(config.order_by, relation, scope, "order_by")
            for key in ("preceding", "following"):
                if getattr(config, key) is not None and config.order_by is None:
                    message = f"{key!r} counts rows, which have no order without 'order_by'"
                    problems.add(Problem("missing-key", message, (key,), "set order_by"))
            for name, text in config.columns.items():
                with problems.under("columns", name):
                    value = self._over(text, relation, scope, keys, order)
                    value.meta["path"] = ("columns", name)
                    (replaced if name.lower() in known else added)[known.get(name.lower(), name)] = value
        return sql.select(
            relation, sql.star(replace=replaced), *(sql.aliased(value, name) for name, value in added.items())
        )

    def _over(self, text: str, relation: Relation, scope: Scope, keys: list[str], order: list[exp.Expr]) -> exp.Window:
        from sqlglot import exp

        message = f"{bounded(text, 100)!r} is not one function of a window"
        hint = "write one, such as sum(amount); compute with its result in a derive step after it"
        unfit = Problem("not-an-expression", message, (), hint)
        try:
            # the new line ends a comment; what the parser makes of it is held against the allow-list as any SQL is
            value = sql.parse_expression(f"{text}\nover ()", relation, scope, windows=True)
        except ConfigError as error:
            if any(problem.code == "invalid-sql" for problem in error.problems):
                raise ConfigError(unfit) from None
            raise
        if not isinstance(value, exp.Window) or len(list(value.find_all(exp.Window))) > 1:
            raise ConfigError(unfit)
        value.set("partition_by", [sql.column(key) for key in keys])
        if order:
            value.set("order", exp.Order(expressions=[key.copy() for key in order]))
        if self._config.preceding is not None or self._config.following is not None:
            value.set("spec", self._frame())
        return value

    def _frame(self) -> exp.WindowSpec:
        from sqlglot import exp

        before, after = self._config.preceding, self._config.following
        return exp.WindowSpec(
            kind="ROWS",
            start=sql.literal(before) if before is not None else "UNBOUNDED",
            start_side="PRECEDING",
            end=sql.literal(after) if after else "CURRENT ROW",
            end_side="FOLLOWING" if after else None,
        )
