"""The ledger of the table destinations: four tables beside the data, in the same database and the same transactions.

    _dataforge_state         a row for each pipeline and target: cursor and epoch; its lock lets one load in at a time
    _dataforge_loads         a marker for each committed load
    _dataforge_dead_letters  the records that were set aside
    _dataforge_schemas       the columns of the target, each time they changed

Statements are plain SQL that PostgreSQL, DuckDB, SQLite and others run as it is; values stand in it as literals that
SQLGlot builds for the database's dialect.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from dataforge.components.database import quote_literal
from dataforge.components.delivery import DeadLetter, LoadRecord, Reject, State
from dataforge.errors import FencedError, TransientError

STATE, LOADS, DEAD_LETTERS, SCHEMAS = (
    "_dataforge_state",
    "_dataforge_loads",
    "_dataforge_dead_letters",
    "_dataforge_schemas",
)
STAGE = "_dataforge_stage_"
"""Prefix of stage tables; the run key and the attempt follow."""

ROWS_IN_STATEMENT = 200

_TABLES = {
    STATE: (
        "pipeline varchar(200) not null, target varchar(400) not null, epoch bigint not null, cursor_json {text}, "
        "updated_at {instant}, primary key (pipeline, target)"
    ),
    LOADS: (
        "pipeline varchar(200) not null, target varchar(400) not null, run_key varchar(64) not null, "
        "run_number bigint not null, run_id varchar(1000) not null, attempt varchar(64) not null, "
        "disposition varchar(40) not null, digest varchar(64) not null, row_count bigint not null, "
        "inserted bigint not null, updated bigint not null, deleted bigint not null, rejected bigint not null, "
        "epoch bigint not null, cursor_json {text}, schema_version integer not null, revision varchar(64) not null, "
        "actor varchar(200) not null, committed_at {instant} not null, undone_at {instant}, undone_by varchar(200), "
        "primary key (pipeline, target, run_key)"
    ),
    DEAD_LETTERS: (
        "id varchar(64) not null primary key, pipeline varchar(200) not null, target varchar(400) not null, "
        "run_key varchar(64) not null, run_id varchar(1000) not null, stage varchar(20) not null, "
        "step integer not null, source varchar(200) not null, column_name varchar(200) not null, "
        "reason {text} not null, record_position {text} not null, record {text} not null, types_json {text} not null, "
        "kept_at {instant} not null, replayed_by varchar(64) not null"
    ),
    SCHEMAS: (
        "pipeline varchar(200) not null, target varchar(400) not null, version integer not null, "
        "columns_json {text} not null, changes_json {text} not null, run_key varchar(64) not null, "
        "made_by_us boolean not null, since {instant} not null, primary key (pipeline, target, version)"
    ),
}
_LOAD_FIELDS = (
    "run_key, run_id, target, disposition, digest, row_count, rejected, epoch, committed_at, inserted, updated, "
    "deleted, cursor_json, schema_version, revision, actor, attempt, undone_at"
)

_STANDARD_TEXTS = frozenset({"duckdb", "postgres", "sqlite"})
"""Dialects whose text literals are those of standard SQL: importing SQLGlot for them takes as long as a small load."""


class Statements(Protocol):
    """One open transaction of a database."""

    dialect: str
    text_type: str
    instant_type: str
    keys: bool
    """Whether the ledger's tables have primary keys; DuckDB can't replace a row of a key within a transaction."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        ...

    def run(self, sql: str) -> int:
        """Run a statement; return the number of rows it touched, -1 when unknown."""
        ...

    def commit(self) -> None:
        """Commit; the next statement begins a new transaction."""
        ...

    def rollback(self) -> None:
        """Roll back; the next statement begins a new transaction."""
        ...

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        ...

    def has_table(self, schema: str, table: str) -> bool:
        """Whether there is a table of that name."""
        ...

    def one_at_a_time(self) -> None:
        """Let no other session make ledger tables until the transaction ends."""
        ...


@dataclass(frozen=True)
class Known:
    """One column of a target in a schema version; `unknown` while no load had a value in it."""

    type: str
    unknown: bool = False


@dataclass(frozen=True)
class SchemaVersion:
    """The columns of a target as a load left them; `ours` when the table was made by DataForge."""

    version: int = 0
    columns: Mapping[str, Known] | None = None
    ours: bool = False


@dataclass(frozen=True)
class Later:
    """A load that stands and was committed after another one; `number` is what its rows carry."""

    pipeline: str
    run_id: str
    number: int
    committed_at: datetime


class LedgerTables:
    """The ledger's statements, within the transaction of `db`; nothing here commits unless it says so."""

    def __init__(self, db: Statements, schema: str, pipeline: str, target: str) -> None:
        self.db, self.schema, self.pipeline, self.target = db, schema, pipeline, target
        self._exists = False
        self._own = f"pipeline = {self.text(pipeline)} and target = {self.text(target)}"

    def text(self, value: str) -> str:
        """Return a text literal; NUL can't stand in one, and its escape in JSON does not need it."""
        value = value.replace("\0", "\\u0000")
        if self.db.dialect in _STANDARD_TEXTS:
            return quote_literal(value)
        from sqlglot import exp

        return exp.Literal.string(value).sql(self.db.dialect)

    def instant(self, value: datetime) -> str:
        """Return an instant as a literal of the ledger's type for them."""
        return f"cast({self.text(value.astimezone(timezone.utc).isoformat(sep=' '))} as {self.db.instant_type})"

    def table(self, name: str) -> str:
        """Return the quoted, qualified name of one of the ledger's tables."""
        return f"{self.db.quote(self.schema)}.{self.db.quote(name)}" if self.schema else self.db.quote(name)

    def exists(self) -> bool:
        """Whether the ledger's tables are there."""
        self._exists = self._exists or self.db.has_table(self.schema, LOADS)
        return self._exists

    def prepare(self) -> bool:
        """Make what is missing, the tables and the state row; return whether anything was."""
        known = self.exists() and self.db.rows(f"select 1 from {self.table(STATE)} where {self._own}")
        if known:
            return False
        self.db.one_at_a_time()
        for name, columns in _TABLES.items():
            if not self.db.has_table(self.schema, name):
                columns = columns.format(text=self.db.text_type, instant=self.db.instant_type)
                if not self.db.keys:
                    columns = re.sub(r",? primary key( \(.*?\))?", "", columns)
                self.db.run(f"create table if not exists {self.table(name)} ({columns})")
        if not self.db.rows(f"select 1 from {self.table(STATE)} where {self._own}"):
            self.db.run(
                f"insert into {self.table(STATE)} (pipeline, target, epoch) "
                f"values ({self.text(self.pipeline)}, {self.text(self.target)}, 0)"
            )
        return True

    def state(self, *, lock: bool = False) -> State:
        """Return cursor and epoch. With `lock`, other loads of this pipeline and target wait until our commit."""
        # an update locks the row in every database, and waits for the transaction of an attempt that may still work
        if lock:
            self.db.run(f"update {self.table(STATE)} set epoch = epoch where {self._own}")
        rows = self.db.rows(f"select epoch, cursor_json, updated_at from {self.table(STATE)} where {self._own}")
        if not rows and lock:
            raise TransientError(f"the ledger has lost the state of {self.target}; it is made anew at the next try")
        if not rows:
            return State()
        epoch, cursor, updated = rows[0]
        return State(int(epoch), json.loads(cursor) if cursor else None, instant_of(updated))

    def move(self, before: State, cursor: Mapping[str, Any] | None, now: datetime) -> None:
        """Raise the epoch and set the cursor; TransientError when another load has done so since `before` was read."""
        value = "null" if cursor is None else self.text(_json(cursor))
        touched = self.db.run(
            f"update {self.table(STATE)} set epoch = epoch + 1, cursor_json = {value}, "
            f"updated_at = {self.instant(now)} where {self._own} and epoch = {before.epoch}"
        )
        if touched == 0:
            raise FencedError(f"fenced off: another load of {self.target} was committed meanwhile")

    def load(self, run_key: str) -> LoadRecord | None:
        """Return the marker of that run key, undone or not."""
        return next(self._loads(f"and run_key = {self.text(run_key)}"), None)

    def load_of(self, run_id: str) -> LoadRecord | None:
        """Return the marker of that run that stands."""
        return next(self._loads(f"and run_id = {self.text(run_id)} and undone_at is null"), None)

    def loads(self, limit: int) -> list[LoadRecord]:
        """Return the newest markers first."""
        return list(self._loads(f"order by epoch desc, committed_at desc limit {int(limit)}"))

    def later(self, record: LoadRecord, is_table: Callable[[str], bool], *, of_record: bool = True) -> list[Later]:
        """Return the loads that stand and came after that one, of any pipeline whose target `is_table`.

        Loads of this pipeline and target are told by their epoch, where this is the ledger `of_record`; others by time.
        """
        found = []
        for pipeline, target, run_id, number, epoch, committed in self.db.rows(
            f"select pipeline, target, run_id, run_number, epoch, committed_at from {self.table(LOADS)} "
            "where undone_at is null"
        ):
            at = instant_of(committed)
            assert at is not None
            assert record.committed_at is not None
            own = of_record and (pipeline, target) == (self.pipeline, self.target)
            others = (pipeline, run_id) != (self.pipeline, record.run_id) and is_table(target)
            if epoch > record.epoch if own else others and at >= record.committed_at:
                found.append(Later(pipeline, run_id, int(number), at))
        return found

    def replays_of(self, run_key: str) -> list[str]:
        """Return the runs that took dead letters of this run back in, and stand."""
        rows = self.db.rows(
            f"select run_id from {self.table(LOADS)} where {self._own} and undone_at is null and run_key in "
            f"(select replayed_by from {self.table(DEAD_LETTERS)} where {self._own} "
            f"and run_key = {self.text(run_key)} and replayed_by <> '') order by run_id"
        )
        return [run_id for (run_id,) in rows]

    def _loads(self, which: str) -> Iterator[LoadRecord]:
        for row in self.db.rows(f"select {_LOAD_FIELDS} from {self.table(LOADS)} where {self._own} {which}"):
            values = dict(zip(_LOAD_FIELDS.replace("row_count", "rows").split(", "), row, strict=True))
            cursor = values.pop("cursor_json")
            values |= {name: instant_of(values[name]) for name in ("committed_at", "undone_at")}
            yield LoadRecord(**values, cursor=json.loads(cursor) if cursor else None)

    def mark(self, record: LoadRecord, number: int) -> None:
        """Write the marker of a load, in place of an older one of the same run."""
        assert record.committed_at is not None
        self.db.run(f"delete from {self.table(LOADS)} where {self._own} and run_key = {self.text(record.run_key)}")
        values = [
            *map(self.text, (self.pipeline, self.target, record.run_key)),
            str(number),
            *map(self.text, (record.run_id, record.attempt, record.disposition, record.digest)),
            *map(str, (record.rows, record.inserted, record.updated, record.deleted, record.rejected, record.epoch)),
            "null" if record.cursor is None else self.text(_json(record.cursor)),
            str(record.schema_version),
            *map(self.text, (record.revision, record.actor)),
            self.instant(record.committed_at),
        ]
        self.db.run(
            f"insert into {self.table(LOADS)} (pipeline, target, run_key, run_number, run_id, attempt, disposition, "
            "digest, row_count, inserted, updated, deleted, rejected, epoch, cursor_json, schema_version, revision, "
            f"actor, committed_at) values ({', '.join(values)})"
        )

    def mark_undone(self, run_key: str, actor: str, now: datetime) -> None:
        """Write into the marker that the load was taken back, and forget its dead letters."""
        self.db.run(
            f"update {self.table(LOADS)} set undone_at = {self.instant(now)}, undone_by = {self.text(actor)} "
            f"where {self._own} and run_key = {self.text(run_key)}"
        )
        self.forget_dead_letters(run_key)
        self.db.run(
            f"update {self.table(DEAD_LETTERS)} set replayed_by = '' where {self._own} "
            f"and replayed_by = {self.text(run_key)}"
        )

    def run_numbers(self) -> str:
        """Return a query for the run numbers of this pipeline's loads that stand."""
        return f"select run_number from {self.table(LOADS)} where {self._own} and undone_at is null"

    def forget_dead_letters(self, run_key: str) -> None:
        """Remove the dead letters of a run that is loaded anew."""
        self.db.run(f"delete from {self.table(DEAD_LETTERS)} where {self._own} and run_key = {self.text(run_key)}")

    def keep(self, rejects: Iterable[Reject], run_key: str, run_id: str, now: datetime) -> int:
        """Write dead letters; return how many. An id is made of the run, the record and its number, so it is stable."""
        count = 0
        rows: list[str] = []
        for reject in rejects:
            seed = "\n".join((self.pipeline, self.target, run_key, str(count), reject.record))
            values = [
                self.text(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:32]),
                *map(self.text, (self.pipeline, self.target, run_key, run_id, reject.stage)),
                str(reject.step),
                *map(
                    self.text,
                    (reject.source, reject.column, reject.reason, reject.position, reject.record, reject.types),
                ),
                self.instant(now),
                "''",
            ]
            rows.append(f"({', '.join(values)})")
            count += 1
            if len(rows) == ROWS_IN_STATEMENT:
                self._insert_dead_letters(rows)
                rows = []
        if rows:
            self._insert_dead_letters(rows)
        return count

    def _insert_dead_letters(self, rows: Sequence[str]) -> None:
        self.db.run(
            f"insert into {self.table(DEAD_LETTERS)} (id, pipeline, target, run_key, run_id, stage, step, source, "
            f"column_name, reason, record_position, record, types_json, kept_at, replayed_by) values {', '.join(rows)}"
        )

    def dead_letters(
        self, run_id: str | None, *, pending: bool, ids: Sequence[str] = (), limit: int
    ) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        which = [self._own]
        if run_id is not None:
            which.append(f"run_id = {self.text(run_id)}")
        if pending:
            which.append("replayed_by = ''")
        if ids:
            which.append(f"id in ({', '.join(map(self.text, ids))})")
        rows = self.db.rows(
            "select id, run_id, stage, reason, record, source, step, column_name, record_position, types_json, "
            f"kept_at, replayed_by from {self.table(DEAD_LETTERS)} where {' and '.join(which)} "
            f"order by kept_at, id limit {int(limit)}"
        )
        return [
            DeadLetter(id_, run, Reject(stage, why, record, source, int(step), *rest), instant_of(kept), by)
            for id_, run, stage, why, record, source, step, *rest, kept, by in rows
        ]

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them were not replayed yet."""
        rows = self.db.rows(
            "select count(*), count(case when replayed_by = '' then 1 end) "
            f"from {self.table(DEAD_LETTERS)} where {self._own}"
        )
        return int(rows[0][0]), int(rows[0][1])

    def take_back_in(self, ids: Sequence[str], run_key: str) -> None:
        """Note which load replays those dead letters; TransientError when another one has done so."""
        done = 0
        for first in range(0, len(ids), ROWS_IN_STATEMENT):
            some = ", ".join(map(self.text, ids[first : first + ROWS_IN_STATEMENT]))
            self.db.run(
                f"update {self.table(DEAD_LETTERS)} set replayed_by = {self.text(run_key)} where {self._own} "
                f"and id in ({some}) and replayed_by in ('', {self.text(run_key)})"
            )
            # counted, since some databases tell of an update only how many rows it made different
            done += self.db.rows(
                f"select count(*) from {self.table(DEAD_LETTERS)} where {self._own} and id in ({some}) "
                f"and replayed_by = {self.text(run_key)}"
            )[0][0]
        if done != len(ids):
            raise TransientError(
                f"{len(ids) - done} of {len(ids)} dead letters were replayed by another load meanwhile; list them again"
            )

    def schema_version(self) -> SchemaVersion:
        """Return the newest schema version; version 0 where none was kept yet."""
        rows = self.db.rows(
            f"select version, columns_json, made_by_us from {self.table(SCHEMAS)} where {self._own} "
            "order by version desc limit 1"
        )
        if not rows:
            return SchemaVersion()
        version, columns, ours = rows[0]
        found = {name: Known(one["type"], bool(one.get("unknown"))) for name, one in json.loads(columns).items()}
        return SchemaVersion(int(version), found, bool(ours))

    def keep_schema(
        self, before: SchemaVersion, columns: Mapping[str, Known], changes: Sequence[str], run_key: str, now: datetime
    ) -> int:
        """Keep the columns as a new version when they differ from `before`; return the version that is true now."""
        if before.version and dict(before.columns or {}) == dict(columns):
            return before.version
        shown = {name: {"type": one.type, "unknown": one.unknown} for name, one in columns.items()}
        self.db.run(
            f"insert into {self.table(SCHEMAS)} (pipeline, target, version, columns_json, changes_json, run_key, "
            f"made_by_us, since) values ({self.text(self.pipeline)}, {self.text(self.target)}, {before.version + 1}, "
            f"{self.text(json.dumps(shown))}, {self.text(json.dumps(list(changes)))}, {self.text(run_key)}, "
            f"{'true' if before.ours else 'false'}, {self.instant(now)})"
        )
        return before.version + 1


def run_number(run_key: str) -> int:
    """Return the run key as a signed 64-bit number, which is what rows carry: 8 bytes in place of 16."""
    try:
        value = int(run_key, 16) if len(run_key) == 16 else None
    except ValueError:
        value = None
    if value is None:
        value = int.from_bytes(hashlib.sha256(run_key.encode()).digest()[:8], "big")
    return value - (1 << 64) if value >= 1 << 63 else value


def instant_of(value: Any) -> datetime | None:
    """Return what a driver gave for an instant as an aware datetime; what has no offset is UTC."""
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
