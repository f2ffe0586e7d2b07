"""The iceberg destination: tables of an Iceberg catalog, each load one commit with its marker and the cursor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from dataforge.components.base import Capabilities, Connection, ExtractContext, Incoming, LoadContext, LoadReport
from dataforge.components.delivery import DeadLetter, LoadRecord, State, Undone, cursor_to_json
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId
from dataforge.components.paths import is_s3, place, storage_options
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._lake import (
    MARKER,
    TRIES,
    LakeConfig,
    Marker,
    Plan,
    Rows,
    already,
    newest_of,
    planned,
    refuse_keys,
    refuse_loss,
    stored_type,
    way_of,
)
from dataforge.destinations._output_path import outside
from dataforge.errors import ConflictError, DataForgeError, FencedError, TerminalError, TransientError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

STEP = "dataforge.cursor"
"""The key of a load's cursor step among the properties of its snapshot."""

_STATE = "dataforge.state."
_RETRIES = "commit.retry.num-retries"


class IcebergConfig(LakeConfig):
    """Config of the iceberg destination."""

    type: Literal["iceberg"] = "iceberg"
    catalog: ConnectionId = Field(
        description="Airflow connection of the catalog: type iceberg for a REST catalog (host is its URL; login and "
        "password its client credentials), postgres or sqlite for a catalog in a database."
    )
    table: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}(\.[A-Za-z_][A-Za-z0-9_-]{0,62}){1,3}$",
        description="Table as 'namespace.table'; made, with its namespace, from the records' columns when missing.",
        examples=["sales.orders"],
    )
    warehouse: str | None = Field(
        default=None,
        description="Where a catalog in a database keeps its tables: a folder relative to the deployment's output "
        "folder, or s3://bucket/key. A REST catalog knows by itself.",
        examples=["warehouse", "s3://lake/warehouse"],
    )
    connection: ConnectionId | None = Field(
        default=None, description="Airflow connection of type aws for tables in S3.", examples=["lake"]
    )

    @field_validator("warehouse")
    @classmethod
    def _can_be_written(cls, value: str | None) -> str | None:
        if value is None:
            return None
        path = value.removeprefix("s3://").partition("/")[2] or "." if is_s3(value) else value
        if message := outside(value, PurePosixPath(path)):
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _has_connection(self) -> Self:
        if self.warehouse and is_s3(self.warehouse) and self.connection is None:
            raise ValueError(f"warehouse {self.warehouse!r} needs a 'connection' (an Airflow connection of type aws)")
        return self

    def asset(self) -> str | None:
        """Return catalog and table."""
        return f"dataforge://{quote(self.catalog)}/{quote(self.table.replace('.', '/'))}"

    def extras(self) -> tuple[Extra, ...]:
        """Return pyiceberg."""
        return (Extra("iceberg", "pyiceberg"),)


@DESTINATIONS.register(IcebergConfig)
@dataclass(frozen=True)
class IcebergDestination:
    """Writes Iceberg tables: append, replace and merge, each load one commit with its marker and the cursor."""

    config: IcebergConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction"
    )

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Commit all rows at once; a conflicting commit of others makes it read the table again."""
        with self._errors():
            report = Loading(self.config, context, self._catalog(context.connection)).run(incoming)
        for note in report.schema_notes:
            context.log(note, target=self.config.table)
        return report

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[IcebergLedger]:
        """Open what the table's properties and snapshots tell of a pipeline."""
        with self._errors():
            yield IcebergLedger(self._catalog(context.connection), self.config.table, context)

    def check(self, context: ExtractContext) -> str:
        """Say what table there is."""
        with self._errors():
            table = _opened(self._catalog(context.connection), self.config.table)
            if table is None:
                return f"the catalog is reached; it has no table {self.config.table!r} yet, the first load makes it"
            return f"Iceberg table {self.config.table!r} at {table.location()}, {len(table.schema().fields)} columns"

    def _catalog(self, connection: Any) -> Catalog:
        from pyiceberg.catalog import load_catalog

        config = self.config
        properties = catalog_properties(connection(config.catalog))
        if config.connection is not None:
            properties |= _s3_properties(connection(config.connection))
        if config.warehouse is not None:
            where = config.warehouse.rstrip("/")
            if not is_s3(where):
                folder = place(where, get_settings().output_folder)
                folder.mkdir(parents=True, exist_ok=True)
                where = folder.as_uri()
            properties["warehouse"] = where
        return load_catalog(config.catalog, **properties)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the library's errors into ours."""
        from pyiceberg.exceptions import (
            CommitStateUnknownException,
            ForbiddenError,
            RESTError,
            ServerError,
            ServiceUnavailableError,
            UnauthorizedError,
        )
        from sqlalchemy.exc import DBAPIError, OperationalError

        where = f"table {self.config.table!r} of catalog {self.config.catalog!r}"
        try:
            yield
        except DataForgeError:
            raise
        except (UnauthorizedError, ForbiddenError) as error:
            raise TerminalError(f"{where}: {error}") from None
        except OperationalError as error:  # its text has the statement and its values
            raise TransientError(f"{where}: the catalog's database: {_first_line(error.orig)}") from None
        except DBAPIError as error:
            raise TerminalError(f"{where}: the catalog's database: {_first_line(error.orig)}") from None
        except (ServerError, ServiceUnavailableError, CommitStateUnknownException, OSError) as error:
            raise TransientError(f"{where}: {_first_line(error)}") from None
        except (RESTError, ValueError, NotImplementedError, TypeError) as error:
            raise TerminalError(f"{where}: {_first_line(error)}") from None


@dataclass(frozen=True)
class Loading:
    """One load into the table."""

    config: IcebergConfig
    context: LoadContext
    catalog: Catalog

    def run(self, incoming: Incoming) -> LoadReport:
        """Commit the rows; where another commit is faster, the table is read again and the rows are laid on that."""
        from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError

        marker = Marker.of(self.config, self.context)
        plan: Plan | None = None
        rows: Rows | None = None
        for _ in range(TRIES):
            table = _opened(self.catalog, self.config.table)
            mine = newest_of(marker, (one.get(MARKER) for _, one in _summaries(table)))
            if mine is not None and marker.digest and mine.digest == marker.digest:
                self.context.log("these records are loaded already", target=self.config.table, rows=mine.rows)
                return already(mine, self.config.table)
            self._fence(table)
            now = planned(self.config, incoming.schema, _columns(table), self.context, stored_type)
            if plan is None or rows is None:
                plan, rows = now, now.spool(incoming, self.context.scratch)
            elif now.arranged.schema != plan.arranged.schema:
                raise ConflictError(f"{self.config.table}: another load changed the columns meanwhile")
            try:
                may_have = mine is not None or _is_expired(table)
                return self._committed(table, plan, rows, replace(marker, rows=rows.count), may_have)
            except (CommitFailedException, TableAlreadyExistsError):
                continue
        raise ConflictError(f"{self.config.table}: other commits were faster {TRIES} times")

    def _fence(self, table: Table | None) -> None:
        step = self.context.cursor
        if step is None or step.expected is None:
            return
        if step.mode == "window" and self.config.write_disposition == "append":
            raise TerminalError(
                "a backfill by cursor can't be appended to an Iceberg table: which rows are of the interval is not "
                "known; use write_disposition 'merge'"
            )
        if (_state(table, self.context).cursor or {}) != cursor_to_json(step.expected):
            raise FencedError(
                f"fenced off: the cursor of {self.config.table} moved since these records were read, by another run; "
                "they are read again"
            )

    def _committed(self, table: Table | None, plan: Plan, rows: Rows, marker: Marker, may_have: bool) -> LoadReport:
        from pyiceberg import expressions

        config, is_new = self.config, table is None
        before = _rows_in(table)
        refuse_loss(config, config.table, rows.count, before)
        if config.write_disposition == "merge":
            refuse_keys(config, rows, get_settings().memory_limit_mb)
        if table is None:
            self.catalog.create_namespace_if_not_exists(config.table.rsplit(".", 1)[0])
            table = self.catalog.create_table(config.table, rows.schema)
        # The library would lay an append over a twin's without asking whose it was; here only, nothing is written.
        table.metadata.properties[_RETRIES] = "0"
        properties = {MARKER: marker.to_text()}
        if self.context.cursor is not None:
            properties[STEP] = json.dumps(self.context.cursor.to_marker())
        way = way_of(config, is_there=not is_new, may_have_rows=may_have)
        report = LoadReport(
            config.table, rows.count, rows.bytes, inserted=rows.count, created=is_new,
            schema_notes=plan.arranged.notes,
        )  # fmt: skip
        with table.transaction() as commit:
            if not is_new:
                with commit.update_schema() as update:
                    if way == "replace":
                        kept = {field.name for field in rows.schema}
                        for field in table.schema().fields:
                            if field.name not in kept:
                                update.delete_column(field.name)
                    update.union_by_name(rows.schema)
            if way == "merge":
                done = commit.upsert(rows.reader().read_all(), list(config.primary_key), snapshot_properties=properties)
                report = replace(report, inserted=done.rows_inserted, updated=done.rows_updated)
            elif way == "replace":
                commit.overwrite(rows.reader(), snapshot_properties=properties)
                report = replace(report, deleted=before or 0)
            elif way == "own":
                equal: Any = expressions.EqualTo
                mine = equal(config.run_column, plan.number)
                commit.overwrite(rows.reader(), overwrite_filter=mine, snapshot_properties=properties)
            else:
                commit.append(rows.reader(), snapshot_properties=properties)
            commit.set_properties({_key(self.context): self._after(table)})
        return report

    def _after(self, table: Table) -> str:
        state, step = _state(table, self.context), self.context.cursor
        cursor = cursor_to_json(step.after) if step is not None and step.mode == "advance" else state.cursor
        return _state_text(State(state.epoch + 1, cursor, datetime.now(timezone.utc)))


@dataclass(frozen=True)
class IcebergLedger:
    """What a table tells of one pipeline: the cursor among its properties, the loads among its snapshots."""

    catalog: Catalog
    table: str
    context: LoadContext

    def state(self) -> State:
        """Return cursor and epoch."""
        return _state(_opened(self.catalog, self.table), self.context)

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run, while its snapshot has not expired."""
        return next((one for one in self.loads(1_000_000) if one.run_id == run_id), None)

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return the newest loads first, each run once."""
        pipeline = f"{self.context.dag_id}|{self.context.target}"
        found: dict[str, LoadRecord] = {}
        for at, summary in _summaries(_opened(self.catalog, self.table)):
            marker = Marker.from_text(summary.get(MARKER))
            if marker is None or marker.pipeline != pipeline or marker.run_key in found:
                continue
            step = summary.get(STEP)
            found[marker.run_key] = LoadRecord(
                marker.run_key,
                marker.run_id,
                self.table,
                marker.disposition,
                marker.digest,
                marker.rows,
                0,
                0,
                datetime.fromtimestamp(at / 1000, timezone.utc),
                inserted=marker.rows,
                cursor=json.loads(step) if step else None,
            )
        return list(found.values())[:limit]

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:  # noqa: ARG002 - the caller logs it
        """Put the cursor there; a load that was read from another one is fenced off."""
        table = _opened(self.catalog, self.table)
        if table is None:
            raise TerminalError(f"there is no table {self.table!r} yet, so there is no place for a cursor")
        text = _state_text(State(_state(table, self.context).epoch + 1, cursor, datetime.now(timezone.utc)))
        with table.transaction() as commit:
            commit.set_properties({_key(self.context): text})

    def dead_letters(
        self,
        run_id: str | None = None,  # noqa: ARG002 - there are none
        *,
        pending: bool = False,  # noqa: ARG002
        ids: Iterable[str] = (),  # noqa: ARG002
        limit: int = 1000,  # noqa: ARG002
    ) -> list[DeadLetter]:
        """Return none: the table keeps no dead letters."""
        return []

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return zeros."""
        return 0, 0

    def undo(self, run_id: str, actor: str) -> Undone:  # noqa: ARG002
        """Raise TerminalError: a rollback to a snapshot would take the loads of others back as well."""
        raise TerminalError(
            f"loads into Iceberg tables can't be taken back here; roll {self.table!r} back to an earlier snapshot, "
            "then say with 'dataforge cursor set' from where on it is read"
        )

    def sweep(self) -> list[str]:
        """Return nothing: files that no snapshot names are removed by the catalog's own maintenance."""
        return []


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def catalog_properties(connection: Connection) -> dict[str, str]:
    """Return pyiceberg's properties for an Airflow connection; TerminalError for a type that is no catalog."""
    if connection.type == "iceberg":
        found = {"type": "rest", "uri": connection.host}
        if connection.login and connection.password:
            found["credential"] = f"{connection.login}:{connection.password}"
        return found
    if connection.type == "sqlite":
        return {"type": "sql", "uri": f"sqlite:///{connection.host or connection.schema}"}
    if connection.type == "postgres":
        from sqlalchemy import URL

        url = URL.create(
            "postgresql+psycopg2",
            connection.login or None,
            connection.password or None,
            connection.host or None,
            connection.port,
            connection.schema or None,
        )
        return {"type": "sql", "uri": url.render_as_string(hide_password=False)}
    raise TerminalError(
        f"connection {connection.id!r} has type {connection.type!r}; a catalog needs 'iceberg' (REST), 'postgres' or "
        "'sqlite'"
    )


def _s3_properties(connection: Connection) -> dict[str, str]:
    given = storage_options(connection)
    client = given.get("client_kwargs", {})
    found = {
        "s3.access-key-id": given.get("key"),
        "s3.secret-access-key": given.get("secret"),
        "s3.session-token": given.get("token"),
        "s3.region": client.get("region_name"),
        "s3.endpoint": client.get("endpoint_url"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _opened(catalog: Catalog, name: str) -> Table | None:
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    try:
        return catalog.load_table(name)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def _summaries(table: Table | None) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield time (milliseconds since 1970) and properties of the snapshots that lead to now, newest first."""
    if table is None:
        return
    known = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot.timestamp_ms, snapshot.summary.additional_properties if snapshot.summary else {}
        snapshot = known.get(snapshot.parent_snapshot_id or -1)


def _is_expired(table: Table | None) -> bool:
    """Whether snapshots are gone, so that an older load may have left no marker."""
    if table is None:
        return False
    # each snapshot has the next number; tables of format 1 have none
    return table.metadata.format_version == 1 or len(table.metadata.snapshots) < table.metadata.last_sequence_number


def _rows_in(table: Table | None) -> int | None:
    """Return how many rows the newest snapshot says that there are; None where it does not say."""
    newest = next(_summaries(table), None)
    total = newest[1].get("total-records") if newest else None
    return int(total) if total is not None else None


def _columns(table: Table | None) -> pa.Schema | None:
    import pyarrow as pa

    if table is None:
        return None
    return pa.schema([pa.field(field.name, stored_type(field.type)) for field in table.schema().as_arrow()])


def _key(context: LoadContext) -> str:
    return _STATE + sha256(f"{context.dag_id}|{context.target}".encode()).hexdigest()[:16]


def _state(table: Table | None, context: LoadContext) -> State:
    text = table.properties.get(_key(context)) if table is not None else None
    if text is None:
        return State()
    found = json.loads(text)
    return State(found["epoch"], found["cursor"], datetime.fromisoformat(found["updated_at"]))


def _state_text(state: State) -> str:
    at = state.updated_at.isoformat() if state.updated_at else None
    return json.dumps({"epoch": state.epoch, "cursor": state.cursor, "updated_at": at})
