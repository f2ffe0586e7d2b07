"""The delta destination: Delta Lake tables, local or in S3, each load one commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from dataforge.components import retry
from dataforge.components.base import Capabilities, Connection, ExtractContext, Incoming, LoadContext, LoadReport
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId, TemplatedText
from dataforge.components.paths import filesystem, is_s3, place, s3_call, storage_options
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._lake import (
    MARKER,
    TRIES,
    LakeConfig,
    Marker,
    Plan,
    Rows,
    Way,
    already,
    newest_of,
    planned,
    refuse_keys,
    refuse_loss,
    stored_type,
    way_of,
)
from dataforge.destinations._output_path import outside
from dataforge.errors import ConflictError, DataForgeError, Problem, TerminalError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

HISTORY = 20
"""Commits that are searched for a marker; before those, a run replaces its own rows whether it has some or not."""


class DeltaConfig(LakeConfig):
    """Config of the delta destination."""

    type: Literal["delta"] = "delta"
    path: TemplatedText = Field(
        min_length=1,
        description="Folder of the table, relative to the deployment's output folder, or s3://bucket/key.",
        examples=["lake/orders", "s3://lake/orders"],
    )
    connection: ConnectionId | None = Field(
        default=None, description="Airflow connection of type aws for a path in S3.", examples=["lake"]
    )
    partition_by: tuple[ColumnName, ...] = Field(
        default=(), max_length=5, description="Columns by which a new table is partitioned.", examples=[["day"]]
    )

    @field_validator("path")
    @classmethod
    def _can_be_written(cls, value: str) -> str:
        if message := _refused(value):
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _has_connection(self) -> Self:
        if is_s3(self.path) and self.connection is None:
            raise ValueError(f"path {self.path!r} needs a 'connection' (an Airflow connection of type aws)")
        return self

    def asset(self) -> str | None:
        """Return the table's place; None where it depends on the run."""
        path = self.path.removeprefix("s3://").strip("/")
        return None if "${" in path else f"dataforge://{quote(self.connection or 'files')}/{quote(path)}"

    def extras(self) -> tuple[Extra, ...]:
        """Return deltalake."""
        return (Extra("delta", "deltalake"),)


def _refused(value: str) -> str | None:
    path = value.removeprefix("s3://").partition("/")[2] if is_s3(value) else value
    if not path.strip("/"):
        return f"{value!r} names no folder; write s3://bucket/folder"
    return outside(value, PurePosixPath(path))


@DESTINATIONS.register(DeltaConfig)
@dataclass(frozen=True)
class DeltaDestination:
    """Writes Delta Lake tables: append, replace and merge, each load one commit that carries its marker."""

    config: DeltaConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction"
    )

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Commit all rows as one version of the table; a conflicting commit of others makes it read the table again."""
        if message := _refused(self.config.path):  # placeholders have their values by now
            raise TerminalError(message)
        url, options = self._where(context.connection)
        with _errors(url, self.config.connection):
            read = partial(self._log, url, context)
            report = Loading(self.config, context, url, options, read).run(incoming)
        for note in report.schema_notes:
            context.log(note, target=url)
        return report

    def verify(self) -> Iterable[Problem]:
        """Yield a problem for a partition column that is the run column."""
        if self.config.run_column in self.config.partition_by:
            yield Problem("invalid-value", "a table can't be partitioned by its run column", ("partition_by",))

    def check(self, context: ExtractContext) -> str:
        """Say what table there is."""
        url, options = self._where(context.connection)
        with _errors(url, self.config.connection):
            table = _opened(url, options)
            if table is None:
                return f"there is no Delta table at {url} yet; the first load makes it"
            return f"Delta table at {url}, version {table.version()}, {len(table.schema().fields)} columns"

    def _log(self, url: str, context: LoadContext, version: int) -> bytes:
        """Return a commit as it stands in the table's log; the library's own history blocks all threads meanwhile."""
        name = f"_delta_log/{version:020d}.json"
        if not is_s3(url):
            return (Path(url) / name).read_bytes()
        connection = context.connection(self.config.connection or "")
        found = s3_call(f"{url}/{name}", connection, lambda: _read(filesystem(connection), f"{url}/{name}"))
        if found is None:
            raise FileNotFoundError(name)
        return bytes(found)

    def _where(self, connection: Any) -> tuple[str, dict[str, str]]:
        path = self.config.path
        if is_s3(path):
            return path.rstrip("/"), delta_options(connection(self.config.connection or ""))
        folder = place(path, get_settings().output_folder)
        return str(folder), {}


@dataclass(frozen=True)
class Loading:
    """One load into the table at `url`."""

    config: DeltaConfig
    context: LoadContext
    url: str
    options: dict[str, str]
    log: Callable[[int], bytes]

    def run(self, incoming: Incoming) -> LoadReport:
        """Commit the rows; where another commit is faster, the table is read again and the rows are laid on that."""
        plan: Plan | None = None
        rows: Rows | None = None
        for _ in range(TRIES):
            table = _opened(self.url, self.options)
            marker = Marker.of(self.config, self.context)
            mine = newest_of(marker, self._markers(table.version())) if table is not None else None
            if mine is not None and marker.digest and mine.digest == marker.digest:
                self.context.log("these records are loaded already", target=self.url, rows=mine.rows)
                return already(mine, self.url)
            now = planned(self.config, incoming.schema, _columns(table), self.context, stored_type)
            if plan is None or rows is None:
                plan, rows = now, now.spool(incoming, self.context.scratch)
            elif now.arranged.schema != plan.arranged.schema:
                raise ConflictError(f"{self.url}: another load changed the columns meanwhile")
            may_have = mine is not None or (table is not None and table.version() >= HISTORY)
            way = way_of(self.config, is_there=table is not None, may_have_rows=may_have)
            report = self._committed(table, way, plan, rows, replace(marker, rows=rows.count))
            if report is not None:
                return report
        raise ConflictError(f"{self.url}: other commits were faster {TRIES} times")

    def _markers(self, newest: int) -> Iterator[object]:
        """Yield the markers of the newest commits, as far as the log still has them."""
        for version in range(newest, max(-1, newest - HISTORY), -1):
            try:
                lines = self.log(version).splitlines()
            except FileNotFoundError:
                return
            for line in lines:
                if b'"commitInfo"' in line:
                    yield json.loads(line).get("commitInfo", {}).get(MARKER)

    def _committed(
        self, table: DeltaTable | None, way: Way, plan: Plan, rows: Rows, marker: Marker
    ) -> LoadReport | None:
        """Commit; None when another commit was faster."""
        from deltalake import write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        config = self.config
        before = table.count() if table is not None and way == "replace" else None
        refuse_loss(config, self.url, rows.count, before)
        if config.write_disposition == "merge":
            refuse_keys(config, rows, get_settings().memory_limit_mb)
        own = f"{_quoted(config.run_column)} = {plan.number}"
        ways: dict[str, dict[str, Any]] = {
            "create": {
                "mode": "error",
                "partition_by": list(config.partition_by) or None,
                "storage_options": self.options or None,
            },
            "append": {"mode": "append", "schema_mode": "merge"},
            "own": {"mode": "overwrite", "schema_mode": "merge", "predicate": own},
            "replace": {"mode": "overwrite", "schema_mode": "overwrite"},
        }
        report = LoadReport(
            self.url, rows.count, rows.bytes, inserted=rows.count, deleted=before or 0, created=table is None,
            schema_notes=plan.arranged.notes,
        )  # fmt: skip
        try:
            if table is not None and way == "merge":
                return self._merged(table, rows, marker, report)
            where = table if table is not None else self.url
            write_deltalake(where, rows.reader(), commit_properties=_properties(marker), **ways[way])
        except CommitFailedError:
            return None
        except DeltaError as error:
            if way == "create" and "already exists" in str(error):
                return None
            raise
        return report

    def _merged(self, table: DeltaTable, rows: Rows, marker: Marker, report: LoadReport) -> LoadReport:
        merger = table.merge(
            rows.reader(),
            " AND ".join(f"t.{_quoted(name)} = s.{_quoted(name)}" for name in self.config.primary_key),
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            commit_properties=_properties(marker),
        )
        done = merger.when_matched_update_all().when_not_matched_insert_all().execute()
        counts = {"inserted": done["num_target_rows_inserted"], "updated": done["num_target_rows_updated"]}
        return replace(report, **counts)


def _read(fs: Any, name: str) -> Any:
    try:
        return fs.cat_file(name)
    except FileNotFoundError:
        return None


def _columns(table: DeltaTable | None) -> pa.Schema | None:
    import pyarrow as pa

    if table is None:
        return None
    there: Any = table.schema().to_arrow()
    found = pa.schema(there)
    return pa.schema([pa.field(field.name, stored_type(field.type)) for field in found])


def _quoted(name: str) -> str:
    from sqlglot import exp

    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _properties(marker: Marker) -> CommitProperties:
    from deltalake import CommitProperties

    # No retries: the library would lay an append over a twin's without asking whose it was.
    return CommitProperties(custom_metadata={MARKER: marker.to_text()}, max_commit_retries=0)


def _opened(url: str, options: dict[str, str]) -> DeltaTable | None:
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(url, storage_options=options or None)
    except TableNotFoundError:
        return None


def delta_options(connection: Connection) -> dict[str, str]:
    """Return deltalake's storage options for an Airflow connection of type aws; see `paths.storage_options`."""
    given = storage_options(connection)
    client = given.get("client_kwargs", {})
    endpoint = client.get("endpoint_url", "")
    options = {
        "AWS_ACCESS_KEY_ID": given.get("key"),
        "AWS_SECRET_ACCESS_KEY": given.get("secret"),
        "AWS_SESSION_TOKEN": given.get("token"),
        "AWS_REGION": client.get("region_name", "us-east-1"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else None,
        "AWS_CONDITIONAL_PUT": "etag",
    }
    return {name: str(value) for name, value in options.items() if value}


@contextmanager
def _errors(url: str, connection: str | None) -> Iterator[None]:
    """Turn the library's errors into ours."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DataForgeError:
        raise
    except (DeltaError, OSError, ValueError) as error:
        text = str(error).split("\n", 1)[0]
        verdict = retry.of_object_store(error)
        if verdict is None and any(word in text.lower() for word in ("error sending request", "timed out", "503")):
            verdict = "away"
        raise retry.error_for(verdict or "terminal", f"{url}: {text}", connection or "") from None


__all__ = ["DeltaConfig", "DeltaDestination", "delta_options"]
