"""The rename transform: give columns other names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class RenameConfig(TransformConfig):
    """Config of `rename`."""

    type: Literal["rename"] = "rename"
    columns: dict[ColumnName, ColumnName] = Field(
        description="Old name to new name; all at once, so names can be swapped.", examples=[{"id": "order_id"}]
    )


@TRANSFORMS.register(RenameConfig)
class Rename:
    """Gives columns other names; their order, types and values stay."""

    def __init__(self, config: RenameConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * RENAME (old AS new, …) FROM relation`."""
        wanted = self._config.columns
        found = sql.match_keys(relation.columns, wanted, "columns")
        staying = [name for name in relation.columns or () if name not in found.values()]
        with sql.Problems() as problems:
            for name, new in wanted.items():
                with problems.under("columns", name):
                    sql.refuse_repeat(new, staying)
                staying.append(new)
        return sql.select(relation, sql.star(rename={found[name]: new for name, new in wanted.items()}))
