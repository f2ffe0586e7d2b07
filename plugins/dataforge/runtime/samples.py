"""What a sample of a source says of its columns: how many values are missing, how many differ, least and greatest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataforge.components import sql
from dataforge.components.base import Columns, Relation
from dataforge.config.pipeline import PipelineConfig
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import landed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from sqlglot import exp

MAX_COLUMNS = 300
MAX_TEXT = 60
"""Characters of a least or greatest value."""


@dataclass(frozen=True)
class Statistics:
    """One column of a sample: the share of rows without a value, the number of values, the least and greatest as text.

    Columns of nested types have neither values nor bounds (None).
    """

    type: str
    nulls: float
    distinct: int | None = None
    least: str | None = None
    greatest: str | None = None


@dataclass(frozen=True)
class Sample:
    """Some rows of a source. `count` rows were read for the statistics, of which the first are `rows`."""

    columns: Columns
    count: int
    statistics: Mapping[str, Statistics]
    rows: tuple[Mapping[str, Any], ...]


def sample(config: PipelineConfig, source: str, context: TaskContext, count: int = 1_000, rows: int = 5) -> Sample:
    """Read about `count` records of a source, and say what they are like."""
    with (
        context.scratch() as scratch,
        landed(config, (source,), context, scratch, (scratch,), count) as (con, views),
    ):
        return _sample(con, source, dict(list(views[source].columns.items())[:MAX_COLUMNS]), count, rows)


def _sample(con: DuckDBPyConnection, view: str, columns: Columns, count: int, rows: int) -> Sample:
    from dataforge.runtime.engines.duckdb_ import read

    # a stream can be read once only
    con.execute(f"CREATE TEMP TABLE sampled AS {_all(view).limit(count).sql(sql.DIALECT)}")
    said = read(con, _about(columns)).to_pylist()[0]
    total = int(said["total"])
    statistics = {
        name: Statistics(
            type_, round(1 - said[f"filled {place}"] / total, 4) if total else 0.0,
            said[f"several {place}"], _cut(said[f"least {place}"]), _cut(said[f"greatest {place}"]),
        )
        for place, (name, type_) in enumerate(columns.items())
    }  # fmt: skip
    return Sample(columns, total, statistics, tuple(read(con, _all("sampled").limit(rows)).to_pylist()))


def _all(view: str) -> exp.Select:
    from sqlglot import exp

    return sql.select(Relation(view), exp.Star())


def _about(columns: Columns) -> exp.Select:
    """Return the query of one row that tells all columns of the sample."""
    from sqlglot import exp

    found: list[exp.Expr] = [sql.aliased(exp.Count(this=exp.Star()), "total")]
    for place, (name, type_) in enumerate(columns.items()):
        plain = not any(mark in type_.upper() for mark in ("[", "STRUCT", "MAP", "UNION", "JSON", "BLOB", "VARIANT"))
        column = sql.column(name)
        parts: dict[str, exp.Expr] = {
            "filled": exp.Count(this=column.copy()),
            "several": exp.Count(this=exp.Distinct(expressions=[column.copy()])) if plain else exp.null(),
            "least": sql.cast(exp.Min(this=column.copy()), "varchar") if plain else exp.null(),
            "greatest": sql.cast(exp.Max(this=column.copy()), "varchar") if plain else exp.null(),
        }
        found += [sql.aliased(part, f"{key} {place}") for key, part in parts.items()]
    return sql.select(Relation("sampled"), *found)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
