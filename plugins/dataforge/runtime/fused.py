"""All stages in one task: records stream from the sources through the query into the destination, with no staging.

Where a check must see all rows before the first is loaded, where several destinations take the same rows, the
transformed rows are first written to the task's own scratch folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from dataforge.components.base import JsonValue, LoadReport
from dataforge.config.pipeline import PipelineConfig
from dataforge.observability.log import timed
from dataforge.runtime import again, cursor, rejects
from dataforge.runtime.checks import CheckResult
from dataforge.runtime.compile import Plan, SqlSegment, compile
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import Views, cut_views, keep, landed, with_widening
from dataforge.runtime.load import BATCH_ROWS, ParquetRows, load
from dataforge.runtime.staging import parquet_rows
from dataforge.runtime.transform import check, make

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from dataforge.runtime.landing import Landed


def run(config: PipelineConfig, context: TaskContext) -> dict[str, JsonValue]:
    """Extract, transform and load in one go; return {"loads": [load report, …], "checks": [result, …]} as JSON.

    Where dead letters are kept, `rows_read` counts the records of the sources.
    """
    return again.until_current(config, lambda turn: _once(config, context))  # noqa: ARG005 each turn reads anew


def _once(config: PipelineConfig, context: TaskContext) -> dict[str, JsonValue]:
    readings = cursor.readings(config, context)
    with (
        timed("extract_transform_load", dag_id=config.dag_id, run_id=context.run_id) as done,
        context.scratch() as scratch,
    ):
        with landed(config, config.inputs, context, scratch, readings=readings) as (con, views):
            came = dict(views)
            cuts = cut_views(con, views, readings, scratch)
            aside = scratch / "aside"
            aside.mkdir()
            rows_read, parts = _set_aside(config, con, came, views, cuts, readings, scratch, aside)
            own = [reading.reached(views.reached.get(name)) for name, reading in readings.items() if reading.own]
            step = cursor.merge([*(cut.step for cut in cuts.values()), *own])
            checked: list[CheckResult] = []

            def stream() -> list[LoadReport]:
                plan = compile(config, {name: view.columns for name, view in views.items()}, context.values)
                if reads_twice(plan):
                    for name, view in views.items():
                        if view.once:
                            views[name] = keep(con, view, scratch / f"kept-{name}.parquet")
                if config.reject_limit.enabled:
                    found = make(config, con, plan, aside, scratch, context, rows_read, parts)
                    views.refuse_incomplete()
                    checked[:] = found.checks
                    rows = ParquetRows((found.part,))
                    handed: dict[str, Any] = {"rejects": rejects.read(found.rejects), "rows_read": rows_read}
                    return [
                        load(config, index, rows, context, scratch, step, **handed)
                        for index in range(len(config.outputs))
                    ]
                if config.checks or len(config.outputs) > 1:
                    rows = _spool(con, plan, scratch)
                    views.refuse_incomplete()
                    checked[:] = check(config, con, rows.paths[0], context)
                    return [load(config, index, rows, context, scratch, step) for index in range(len(config.outputs))]
                incoming = Streaming(con, plan, views.refuse_incomplete)
                try:
                    return [load(config, 0, incoming, context, scratch, step)]
                except Exception:
                    # what crossed the driver's C interface has lost its class; the error as it was raised tells more
                    if incoming.failure is not None:
                        raise incoming.failure from None
                    raise

            reports = with_widening(views.values(), stream)
        done(rows=reports[0].rows, target=", ".join(report.target for report in reports))
        found = {"loads": [asdict(report) for report in reports], "checks": [asdict(result) for result in checked]}
        return {**found, "rows_read": rows_read} if config.reject_limit.enabled else found


def _set_aside(
    config: PipelineConfig,
    con: DuckDBPyConnection,
    came: Mapping[str, Landed],
    views: Views,
    cuts: Mapping[str, cursor.Cut],
    readings: Mapping[str, cursor.Reading],
    scratch: Path,
    aside: Path,
) -> tuple[int, list[Path]]:
    """Keep the views, where dead letters are kept, for what is set aside must be known before the first row is loaded.

    Return how many records were read, and the parts in `aside` with those of them that were set aside.
    """
    if not config.reject_limit.enabled:
        return 0, []
    parts: list[Path] = []
    rows = 0
    for name, view in came.items():
        path = scratch / f"read-{len(parts)}-{name}.parquet"
        views[name] = with_widening([views[name]], partial(keep, con, views[name], path))
        rows += parquet_rows(path)
        if name in cuts:
            part = rejects.next_part(aside)
            if cursor.reject(con, cuts[name], readings[name], part):
                parts.append(part)
        parts += view.write_rejects(aside, name)
        parts += views.write_refused(aside, name)
    rejected = len(rejects.read(parts))
    rejects.refuse_too_many(config.reject_limit, rejected, rows + rejected, parts)
    return rows + rejected, parts


def reads_twice(plan: Plan) -> bool:
    """Whether any relation of the plan is read from more than one place, so that a stream would not do."""
    from sqlglot import exp

    queries = [segment.query for segment in plan.segments if isinstance(segment, SqlSegment)]
    return max(Counter(table.name for query in queries for table in query.find_all(exp.Table)).values()) > 1


def _spool(con: DuckDBPyConnection, plan: Plan, scratch: Path) -> ParquetRows:
    from dataforge.runtime.engines.duckdb_ import write_parquet

    part = scratch / "result.parquet"
    write_parquet(con, plan, part)
    return ParquetRows((part,))


class Streaming:
    """Rows as the engine makes them; each pass runs the query again, and ends with a look at what it was made from.

    `failure` keeps what broke the last pass.
    """

    def __init__(self, con: DuckDBPyConnection, plan: Plan, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._con = con
        self._plan = plan
        self._first: pa.RecordBatchReader | None = None
        self.failure: Exception | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the result."""
        if self._first is None:
            self._first = self._run()
        return self._first.schema

    def reader(self) -> pa.RecordBatchReader:
        """Return a new stream of all rows."""
        import pyarrow as pa

        source, self._first = self._first or self._run(), None
        return pa.RecordBatchReader.from_batches(source.schema, self._guarded(source))

    def _run(self) -> pa.RecordBatchReader:
        from dataforge.runtime.engines.duckdb_ import run

        return run(self._con, self._plan, BATCH_ROWS)

    def _guarded(self, source: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from source
            self._at_end()
        except Exception as error:
            self.failure = error
            raise
