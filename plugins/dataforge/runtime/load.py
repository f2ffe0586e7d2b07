"""The last stage: hand the staged rows to one destination, which writes all of them or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.base import Incoming, JsonValue, LoadReport
from dataforge.components.delivery import CursorStep
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, TransientError
from dataforge.observability.log import timed
from dataforge.runtime import again, rejects
from dataforge.runtime.context import TaskContext
from dataforge.runtime.ledgers import accountable, built, opened, place
from dataforge.runtime.staging import Manifest, Staging

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 20_000
"""Rows of one batch: large enough to amortise the calls, small enough that a queue of four stays below 30 MB."""


def run(
    config: PipelineConfig, index: int, manifest: Mapping[str, JsonValue], context: TaskContext
) -> dict[str, JsonValue]:
    """Load the staged rows into the destination at `index`; return the load report as JSON."""
    target = config.outputs[index]
    staging = Staging.open(context.settings, context.connection)

    def once(turn: int) -> tuple[LoadReport, Manifest]:
        staged = Manifest.from_json(manifest if turn == 0 else again.staged(config, context, turn))
        with context.scratch() as scratch:
            try:
                paths = staging.fetch(staged, scratch)
            except TransientError:
                # they are removed after the commit: this attempt may follow one that was killed right then
                if (done_before := _committed(config, index, staged, context)) is not None:
                    return done_before, staged
                raise
            extra = staging.contents(staged).extra
            step = CursorStep.from_json(extra.get("cursor"))
            aside = rejects.read(staging.fetch_rejects(staged, scratch))
            read, _ = rejects.counts(extra, staged.rows)
            handed: dict[str, Any] = {"digest": staged.digest, "rejects": aside, "rows_read": read}
            return load(config, index, ParquetRows(tuple(paths)), context, scratch, step, **handed), staged

    with timed("load", dag_id=config.dag_id, run_id=context.run_id, destination=target.type) as done:
        report, staged = again.until_current(config, once)
        done(rows=report.rows, bytes=report.bytes or staged.bytes, target=report.target)
    if len(config.outputs) == 1:
        staging.remove_run(context.dag_id, context.run_id)
    return asdict(report)


def _committed(config: PipelineConfig, index: int, staged: Manifest, context: TaskContext) -> LoadReport | None:
    """Return what an earlier attempt stored of exactly these staged rows; None when no marker says so."""
    if index not in accountable(config):
        return None
    with opened(config, index, context) as ledger:
        record = ledger.load(context.run_id)
    if record is None or record.digest != staged.digest:
        return None
    figures = {name: getattr(record, name) for name in ("inserted", "updated", "deleted", "rejected", "schema_version")}
    return LoadReport(record.target, record.rows, already=True, **figures)


def load(
    config: PipelineConfig,
    index: int,
    incoming: Incoming,
    context: TaskContext,
    scratch: Path,
    step: CursorStep | None = None,
    **handed: Any,
) -> LoadReport:
    """Hand `incoming` to the destination at `index`; config errors get their place in the config.

    `handed` is what else the load must commit, by the names that LoadContext has for it.
    """
    destination, prepared = built(config, index, context, scratch)
    began = time.monotonic()
    try:
        report = destination.load(incoming, replace(prepared, cursor=step, **handed))
    except ConfigError as error:
        raise error.under(*place(config, index)) from None
    return replace(report, seconds=time.monotonic() - began)


@dataclass(frozen=True)
class ParquetRows:
    """Staged Parquet parts as incoming rows; each pass streams them from the front."""

    paths: Sequence[Path]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the first part; all parts share it."""
        import pyarrow.parquet as pq

        return pq.read_schema(self.paths[0])

    def reader(self) -> pa.RecordBatchReader:
        """Return a new stream of all rows in batches of at most BATCH_ROWS."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        for path in self.paths:
            # without buffering ahead, memory stays that of one row group however long the file is
            with pq.ParquetFile(path, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=BATCH_ROWS)
