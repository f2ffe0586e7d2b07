"""The sql transform: one SELECT over the named inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import SqlQuery
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class SqlConfig(TransformConfig):
    """Config of `sql`."""

    type: Literal["sql"] = "sql"
    query: SqlQuery = Field(
        description="One SELECT in DuckDB's SQL over the named inputs; `input` names the previous step. Only listed "
        "functions; no files, no other statements.",
        examples=["select o.*, c.country from input o left join customers c on c.id = o.customer_id"],
    )


@TRANSFORMS.register(SqlConfig)
class Sql:
    """Runs one SELECT over the named inputs."""

    def __init__(self, config: SqlConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return the query, its tables bound to the inputs."""
        return sql.parse_query(self._config.query, relation, scope, "query")
