"""What tests of transforms share: a pipeline of given steps, run for real in DuckDB over given rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow.parquet as pq
import pytest

from dataforge.components.base import Columns, DestinationConfig, RunValues, SourceConfig
from dataforge.components.delivery import Reject
from dataforge.components.registry import CHECKS, TRANSFORMS
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, Problem
from dataforge.runtime import extract, rejects
from dataforge.runtime import transform as transforming
from dataforge.runtime.compile import compile
from dataforge.runtime.context import local
from dataforge.runtime.engines.duckdb_ import connect, run
from dataforge.runtime.staging import Manifest, Staging
from dataforge.settings import get_settings

ORDERS = """
    SELECT * FROM (VALUES
        (1, 'paid', 10.50::DECIMAL(12,2), 'ann@example.com', DATE '2024-01-01', 7),
        (2, 'open', NULL, NULL, DATE '2024-01-02', 8),
        (3, 'paid', 30.00, 'bob@example.org', DATE '2024-01-03', 7),
        (4, NULL, 5.25, 'a', NULL, NULL)
    ) t(id, Status, amount, email, day, customer)
"""
CUSTOMERS = "SELECT * FROM (VALUES (7, 'Ann', 'x'), (9, 'Zoe', 'y')) t(id, name, status)"

Rows = list[tuple[Any, ...]]


class AnySource(SourceConfig):
    """A source that nobody reads: the rows are already in the engine."""

    type: Literal["rows"] = "rows"


class AnyDestination(DestinationConfig):
    """A destination that nobody writes."""

    type: Literal["nowhere"] = "nowhere"


def pipeline(
    *transforms: Mapping[str, Any],
    sources: Iterable[str] = ("source",),
    checks: Sequence[Mapping[str, Any]] = (),
    params: Mapping[str, Any] | None = None,
) -> PipelineConfig:
    """Return a config of these steps and checks over sources of these names."""
    return PipelineConfig(
        dag_id="test",
        sources={name: AnySource() for name in sources},
        destination=AnyDestination(),
        params=params or {},
        transforms=tuple(TRANSFORMS.get(step["type"]).config.model_validate(step) for step in transforms),
        checks=tuple(CHECKS.get(check["type"]).config.model_validate(check) for check in checks),
    )


Transformed = Callable[..., tuple[list[str], Rows]]


@pytest.fixture
def transformed(tmp_path: Path) -> Transformed:
    """A function that runs steps over tables and returns the result's column names and rows."""

    def transform(
        *steps: Mapping[str, Any],
        tables: Mapping[str, str] | None = None,
        values: RunValues | None = None,
        params: Mapping[str, Any] | None = None,
        known: bool = True,
    ) -> tuple[list[str], Rows]:
        tables = tables or {"source": ORDERS, "customers": CUSTOMERS}
        config = pipeline(*steps, sources=tables, params=params)
        con = connect(tmp_path)
        inputs: dict[str, Columns | None] = {}
        for name, query in tables.items():
            quoted = '"' + name.replace('"', '""') + '"'
            con.execute(f"CREATE TABLE {quoted} AS {query}")
            rows = con.execute(f"DESCRIBE {quoted}").fetchall()
            inputs[name] = {row[0]: row[1] for row in rows} if known else None
        plan = compile(config, inputs, values)
        table = run(con, plan).read_all()
        if known:
            assert list(plan.columns or ()) == table.column_names
        result = [tuple(row.values()) for row in table.to_pylist()]
        con.close()
        return table.column_names, result

    return transform


def columns_of(query: str) -> Columns:
    """Return the columns of a query as compile wants them."""
    return {row[0]: row[1] for row in duckdb.execute(f"DESCRIBE {query}").fetchall()}


def problems_of(
    *steps: Mapping[str, Any], inputs: Mapping[str, Columns | None] | None = None, **more: Any
) -> list[Problem]:
    """Return the problems that compiling these steps over orders and customers finds."""
    known = inputs if inputs is not None else {"source": columns_of(ORDERS), "customers": columns_of(CUSTOMERS)}
    with pytest.raises(ConfigError) as caught:
        compile(pipeline(*steps, sources=known, **more), known)
    return list(caught.value.problems)


@pytest.fixture
def configs(home: Path) -> Path:
    """An empty configs folder, which sources read from."""
    folder = home / "configs"
    folder.mkdir(parents=True)
    get_settings.cache_clear()
    return folder


def made(config: PipelineConfig, **changes: Any) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Run extract and transform; return the rows and the rejects that a load would get."""
    context = replace(local(config, {}), **changes)
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    manifest = Manifest.from_json(transforming.run(config, manifests, context))
    staging = Staging.open(context.settings, context.connection)
    with context.scratch() as scratch:
        rows = [row for path in staging.fetch(manifest, scratch) for row in pq.read_table(path).to_pylist()]
        return rows, list(rejects.read(staging.fetch_rejects(manifest, scratch)))


RUN = RunValues(
    params={
        "region": "EU",
        "least": 10,
        "rate": 0.5,
        "quick": True,
        "since": "2024-01-02",
        "at": "2024-01-02T12:00:00Z",
    },
    data_interval_start=datetime(2024, 1, 2, tzinfo=timezone.utc),
    data_interval_end=datetime(2024, 1, 3, tzinfo=timezone.utc),
    run_id="run-1",
)
