"""The select transform: keep only some columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class SelectConfig(TransformConfig):
    """Config of `select`."""

    type: Literal["select"] = "select"
    columns: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] = Field(
        description="Columns to keep, in this order; or an object of column to new name.",
        examples=[["order_id", "amount"], {"id": "order_id", "amount": "amount"}],
    )


@TRANSFORMS.register(SelectConfig)
class Select:
    """Keeps only the named columns, in the given order, under new names where given."""

    def __init__(self, config: SelectConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT column [AS name], … FROM relation`."""
        wanted = self._config.columns
        if not isinstance(wanted, dict):
            return sql.select(relation, *map(sql.column, sql.match_columns(relation.columns, wanted, "columns")))
        found = sql.match_keys(relation.columns, wanted, "columns")
        for index, (name, new) in enumerate(wanted.items()):
            sql.refuse_repeat(new, list(wanted.values())[:index], "columns", name)
        return sql.select(relation, *(sql.aliased(sql.column(found[name]), new) for name, new in wanted.items()))
