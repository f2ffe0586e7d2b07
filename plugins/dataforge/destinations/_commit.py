"""The commit protocol of the table destinations: rows, dead letters, columns, marker and cursor in one transaction.

    before     the marker says whether this run was loaded already; the columns are planned; rows go to a stage table
    within     state row locked, marker looked at again, cursor compared, columns changed, rows moved, dead letters,
               schema version, marker, cursor and epoch written
    after      the stage table is dropped; a kill leaves it to the sweep

Whoever reads the target sees the state before or the state after. When the answer to COMMIT is lost, a second session
waits for the first one's locks and looks for the marker, so that what is reported is never a guess.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from typing import TYPE_CHECKING, Any

from dataforge.components import seen_files
from dataforge.components.base import Incoming, LoadContext, LoadReport
from dataforge.components.delivery import (
    EVERY_LOAD,
    CursorStep,
    DeadLetter,
    LoadRecord,
    Reject,
    SchemaContract,
    State,
    Undone,
    cursor_to_json,
    windows_of,
)
from dataforge.components.prefetch import Prefetched, prefetch
from dataforge.components.retry import TRANSACTION
from dataforge.destinations._columns import MisfitError, Outgoing, Planned, Sieve, engine_types
from dataforge.destinations._contract import ColumnPlan, Rules, plan_columns
from dataforge.destinations._dispositions import (
    CLOSED_BY,
    REPLACE_KEPT,
    ROW,
    Counts,
    Dispositions,
    Stage,
    later_loads,
    previous_of,
)
from dataforge.destinations._ledger import STAGE, Known, LedgerTables, SchemaVersion, run_number
from dataforge.destinations._table import TableConfig
from dataforge.destinations._tables import Open, Tables, Target
from dataforge.errors import (
    ConfigError,
    ConflictError,
    DataForgeError,
    FencedError,
    TerminalError,
    TransientError,
)

if TYPE_CHECKING:
    import pyarrow as pa


def load(open_: Open, config: TableConfig, incoming: Incoming, context: LoadContext) -> LoadReport:
    """Load rows by the commit protocol; raise TransientError, TerminalError or ConfigError, and nothing has changed."""
    evidence: dict[str, int] = {}
    conflicts = 0
    while True:
        attempt = _Attempt(open_, config, context, evidence)
        try:
            return attempt.run(incoming)
        except MisfitError as misfit:
            if misfit.column in attempt.evolving and evidence.get(misfit.column, 0) < 2:
                evidence[misfit.column] = evidence.get(misfit.column, 0) + 1
            elif misfit.problem is not None:
                raise ConfigError(misfit.problem) from None
            else:
                raise
        except ConflictError:
            conflicts += 1
            if conflicts >= TRANSACTION.attempts:
                raise
            time.sleep(TRANSACTION.wait(conflicts))


class _Attempt:
    """One try of a load: its name tells its stage table and its marker from those of others."""

    def __init__(self, open_: Open, config: TableConfig, context: LoadContext, evidence: Mapping[str, int]) -> None:
        self.open, self.config, self.context, self.evidence = open_, config, context, evidence
        self.name = uuid.uuid4().hex
        self.now = datetime.now(timezone.utc)
        self.evolving: set[str] = set()
        self._committing = False
        self._stage_to_drop: str | None = None

    def run(self, incoming: Incoming) -> LoadReport:
        """Load, and find out what became of a commit whose answer was lost."""
        context = self.context
        with prefetch(incoming.reader()) as ahead:
            ahead.wait()  # no lock is held while the first rows are in the making
            try:
                with self.open() as db:
                    target = db.target(self.config.table)
                    with db.errors(target), self._stage_dropped(db):
                        report = self._load(db, target, ahead)
            except TransientError:
                if not self._committing:
                    raise
                found = self._after_lost_answer()
                if found is None:
                    raise
                report = found
        if not context.dry_run:
            done = "rows were committed before" if report.already else "rows committed"
            context.log(
                done,
                target=report.target,
                rows=report.rows,
                created=report.created,
                **{name: getattr(report, name) for name in ("updated", "deleted", "rejected") if getattr(report, name)},
                **({"schema": list(report.schema_notes)} if report.schema_notes else {}),
            )
        return report

    def _after_lost_answer(self) -> LoadReport | None:
        with self.open() as db:
            target = db.target(self.config.table)
            ledger = self._ledger(db, target)
            if not ledger.exists():
                return None
            ledger.state(lock=True)  # waits until the server has ended the transaction of the lost session
            record = ledger.load(self.context.run_key)
            db.rollback()
        if record is None or record.attempt != self.name:
            return None
        self.context.log("answer to the commit was lost; the marker says it was done", target=str(target))
        return _report_of(record, target)

    def _ledger(self, db: Tables, target: Target) -> LedgerTables:
        schema = self.config.ledger_schema or target.schema
        return LedgerTables(db, schema, self.context.dag_id, ledger_target(self.config, self.context))

    def _load(self, db: Tables, target: Target, ahead: Prefetched) -> LoadReport:
        context, config = self.context, self.config
        ledger = self._ledger(db, target)
        disposition = disposition_of(config)
        names = ahead.schema.names
        if target.schema_exists:
            db.check_rights(target, names, disposition)
        if not db.transactional_ddl:
            self._refuse_before(target, ledger)
        self._make_schemas(db, target, ledger)
        if ledger.prepare() and db.stages and not context.dry_run:
            db.commit()  # other pipelines that begin would wait until our rows are in
        if (record := ledger.load(context.run_key)) and self._is_done(record, target):
            db.rollback()
            return _report_of(record, target)
        version = ledger.schema_version()
        ours = target.columns is None or version.ours
        rules = Rules(context.contract or SchemaContract(), ours)
        plan = plan_columns(db, target, ahead.schema, config, rules, version, context.limit, self.evidence)
        self.evolving = plan.evolving
        if not target.schema_exists:
            db.check_rights(target, names, disposition)
        batches, small = _first_rows(ahead, config.stage_above)
        sieve = plan.sieve(context.limit, context.last_step)
        staged = self._needs_stage(db, disposition, plan, small=small or target.columns is None)
        constants = {column: run_number(context.run_key) for column in self._run_columns(target, disposition)}
        sent = Outgoing(
            batches,
            [*(column.wire for column in plan.columns), *([plan.flag.wire] if plan.flag else [])],
            names=[*(column.wire.name for column in plan.columns), *([plan.flag.wire.name] if plan.flag else [])],
            constants={} if staged else constants,
            ordinal=ROW if disposition.startswith("merge") else None,
            sieve=sieve,
        )
        stage: Stage | None = None
        temporary = (context.dry_run or small or not db.stages) and db.transactional_ddl
        if staged and not temporary:
            db.commit()  # the ledger's tables: nobody need wait for them while the stage table fills
            stage = self._fill_stage(db, plan, sent, target, ledger, constants, temporary=False)
            ahead.finish()
            db.commit()

        created = target.columns is None
        if not db.transactional_ddl:
            version = self._change_before(db, target, ledger, plan, disposition, version)
        state = ledger.state(lock=True)
        self.now = _now()  # not before the lock: what loads did is in order by it
        record = ledger.load(context.run_key)
        if record and self._is_done(record, target):
            db.rollback()
            return _report_of(record, target)
        self._compare_cursor(state, target, ledger)
        if db.transactional_ddl and not db.alone and db.target(config.table).columns != target.columns:
            raise ConflictError(f"table {target} was changed by another load meanwhile; it is planned anew")
        if db.transactional_ddl:
            self._change_columns(db, target, plan, disposition)
        if not db.alone or created or plan.changes or plan.added:
            target = db.target(config.table)
        work = Dispositions(db, config, target, ledger, run_number(context.run_key), self.now)
        stands = record if record and not record.undone_at else None
        if stands and disposition == "append":
            refuse_replayed(ledger, target, stands, "repeated")
        replaced = work.remove_own(stands) if stands else 0
        if (step := context.cursor) and step.mode == "window" and step.window and disposition == "append":
            start, end = (db.literal(text, step.window.type) for text in (step.window.start, step.window.end))
            replaced += work.remove_window(step.window.field, start, end)
        if staged and stage is None:
            stage = self._fill_stage(db, plan, sent, target, ledger, constants, temporary=True)
            ahead.finish()
        if disposition == "replace" and self.config.keep_previous:
            db.before_replace(target)
            # a repeat of the newest replace goes on keeping what was there before its first load
            newest = stands and stands.epoch == state.epoch and not later_loads(ledger, target, stands)
            if not (newest and stands and stands.disposition == REPLACE_KEPT):
                self._keep_previous(db, target)
        counts = self._apply(db, work, plan, disposition, stage, sent, ahead)
        counts.deleted += replaced

        aside = [*(sieve.rejects if sieve else ()), *counts.rejects]
        rejected = self._keep_rejects(ledger, aside, ahead.schema, sent.rows)
        changes = [*plan.changes, *(f"add column {column.wire.name} {column.type}" for column in plan.added)]
        known = self._known(target, version, plan, sent)
        schema_version = ledger.keep_schema(
            SchemaVersion(version.version, version.columns, ours), known, changes, context.run_key, self.now
        )
        record = self._record(state, disposition, sent.rows, counts, rejected, schema_version)
        ledger.mark(record, run_number(context.run_key))
        ledger.move(state, self._cursor_after(state), self.now)
        report = LoadReport(
            str(target),
            sent.rows,
            sent.bytes,
            created=created,
            inserted=counts.inserted,
            updated=counts.updated,
            deleted=counts.deleted,
            rejected=rejected,
            schema_version=schema_version,
            schema_changes=tuple(self._shown_changes(db, target, plan, disposition, created=created)),
            schema_notes=(*plan.notes, *_left_out(sieve)),
        )
        if context.dry_run:
            db.rollback()
        else:
            self._committing = True
            db.commit()
            self._committing = False
        return report

    # ---- Before the rows

    def _make_schemas(self, db: Tables, target: Target, ledger: LedgerTables) -> None:
        known = {target.schema} if target.schema_exists else set()
        for schema in dict.fromkeys((target.schema, ledger.schema)):
            if schema in known:
                continue
            db.check_schema(target, schema)
            if db.create_schema(schema):
                db.one_at_a_time()  # `if not exists` fails as well where another session makes it at once
                if statement := db.create_schema(schema):
                    db.run(statement)
        if not ledger.exists():
            db.check_ledger(ledger.schema)

    def _refuse_before(self, target: Target, ledger: LedgerTables) -> None:
        """Raise TerminalError for what needs tables made or dropped within the transaction."""
        if self.config.keep_previous and self.config.write_disposition == "replace":
            raise TerminalError(
                f"keep_previous is not possible for {target}: making a table ends a transaction in this database"
            )
        if self.context.dry_run and not (target.schema_exists and ledger.exists()):
            raise TerminalError(
                f"what a load of {target} would do can't be tried before its first load, which makes the ledger's "
                "tables: this database can't roll that back"
            )

    def _is_done(self, record: LoadRecord, target: Target) -> bool:
        """Whether the marker stands for exactly these staged rows; of a table that was dropped it says nothing."""
        same = self.context.digest is not None and record.digest == self.context.digest
        return same and record.undone_at is None and target.columns is not None

    def _compare_cursor(self, state: State, target: Target, ledger: LedgerTables) -> None:
        step = self.context.cursor
        if step is None or step.expected is None:
            return
        if (state.cursor or {}) != cursor_to_json(step.expected):
            raise FencedError(
                f"fenced off: the cursor of {target} moved since these records were read, by another run; nothing was "
                "written. Clear the extract task to read again"
            )
        if step.windows is not None and len(windows_of(ledger.loads(EVERY_LOAD))) != step.windows:
            raise FencedError(
                f"fenced off: a backfill of {target} was committed since these records were read; nothing was written"
            )
        if (
            target.columns is None
            and step.mode == "advance"
            and step.before
            and self._cursor_is_of_a_load(state, ledger)
        ):
            raise TerminalError(
                f"table {target} is gone, and its cursor stands where the last load left it: only newer records would "
                "come back. Run `dataforge cursor reset` to read all, or `dataforge cursor set` to go on from a value"
            )

    def _cursor_is_of_a_load(self, state: State, ledger: LedgerTables) -> bool:
        newest = next(iter(ledger.loads(1)), None)
        step = CursorStep.from_json(newest.cursor) if newest is not None and newest.undone_at is None else None
        return step is not None and seen_files.is_at(state.cursor, step.after)

    def _needs_stage(self, db: Tables, disposition: str, plan: ColumnPlan, *, small: bool) -> bool:
        """Whether rows are looked at or cast in the database before they go in, or locks would be held long."""
        if disposition.startswith("merge") or any(column.stage_type for column in plan.columns):
            return True
        return db.stages and not small and (disposition == "replace" or self.config.stage_append)

    def _run_columns(self, target: Target, disposition: str) -> list[str]:
        """Return the target's run column, where there is one or will be one."""
        name = self.config.run_column
        if name is None or disposition == "merge/scd2":  # scd2 fills it by itself
            return []
        if target.columns is not None:
            found = target.column(name)
            return [found.name] if found else []
        return [name] if disposition == "append" else []

    def _create(self, db: Tables, target: Target, plan: ColumnPlan, disposition: str) -> str:
        columns = [(column.wire.name, column.type) for column in plan.columns]
        columns += [(name, "bigint") for name in self._run_columns(target, disposition)]
        if disposition == "merge/scd2":
            columns += [(self.config.valid_from, db.instant_type), (self.config.valid_to, db.instant_type)]
            columns += [(self.config.run_column or "", "bigint"), (CLOSED_BY, "bigint")]
        return f"create table {db.quoted(target)} ({', '.join(f'{db.quote(name)} {type_}' for name, type_ in columns)})"

    def _shown_changes(
        self, db: Tables, target: Target, plan: ColumnPlan, disposition: str, *, created: bool
    ) -> Iterator[str]:
        if created:
            yield self._create(db, target.beside(target.table), plan, disposition)
        yield from plan.changes
        for column in plan.added:
            yield f"alter table {db.quoted(target)} add column {db.quote(column.wire.name)} {column.type}"

    def _change_columns(self, db: Tables, target: Target, plan: ColumnPlan, disposition: str) -> None:
        if target.columns is None:
            db.run(self._create(db, target, plan, disposition))
        for statement in plan.changes:
            db.run(statement)
        for column in plan.added:
            db.run(f"alter table {db.quoted(target)} add column {db.quote(column.wire.name)} {column.type}")

    def _change_before(
        self,
        db: Tables,
        target: Target,
        ledger: LedgerTables,
        plan: ColumnPlan,
        disposition: str,
        version: SchemaVersion,
    ) -> SchemaVersion:
        """Change the table in a step of its own, where that ends a transaction; a next try plans from what was done.

        That the table is ours is noted first, so that a kill between the two leaves it ours.
        """
        if target.columns is not None and not plan.changes and not plan.added:
            return version
        if self.context.dry_run:
            wanted = "; ".join(self._shown_changes(db, target, plan, disposition, created=target.columns is None))
            raise TerminalError(
                f"what a load of {target} would do can't be tried: it needs {wanted}, which this database can't roll "
                "back. A load does it"
            )
        if target.columns is None and not version.ours:
            ledger.keep_schema(SchemaVersion(version.version, None, True), {}, (), self.context.run_key, self.now)
            db.commit()
        self._change_columns(db, target, plan, disposition)
        db.commit()
        return ledger.schema_version()

    # ---- The rows

    def _fill_stage(
        self,
        db: Tables,
        plan: ColumnPlan,
        sent: Outgoing,
        target: Target,
        ledger: LedgerTables,
        constants: Mapping[str, int],
        *,
        temporary: bool,
    ) -> Stage:
        # with its time, by which databases whose sessions hold no locks of their own tell what was left behind
        name = f"{STAGE}{self.now:%y%m%d%H%M}_{self.context.run_key[:16]}_{self.name[:12]}"
        schema = None if temporary else ledger.schema
        every = [*plan.columns, *([plan.flag] if plan.flag else [])]
        columns = [(column.wire.name, column.stage_type or column.type) for column in every]
        if self.config.write_disposition == "merge":
            columns.append((ROW, "bigint"))
            every = [*every, Planned(_integer_wire(ROW), "bigint")]
        quoted = db.create_stage(name, columns, schema)
        if not temporary:
            self._stage_to_drop = quoted
        rows = db.copy(sent, name, every, schema)
        if rows != sent.rows:
            raise TransientError(f"table {target}: {sent.rows} rows were sent, the server took {rows}")
        db.settle_stage(quoted)
        values = {
            column.wire.name: f"cast(s.{db.quote(column.wire.name)} as {column.type})"
            if column.explicit
            else f"s.{db.quote(column.wire.name)}"
            for column in plan.columns
        }
        values |= {column: str(number) for column, number in constants.items()}
        flag = None
        if plan.flag:
            flagged = f"s.{db.quote(plan.flag.wire.name)}"
            flag = f"({flagged} is not null and {flagged})" if _is_boolean(plan.flag) else f"{flagged} is not null"
        return Stage(quoted, values, rows, flag)

    def _apply(
        self,
        db: Tables,
        work: Dispositions,
        plan: ColumnPlan,
        disposition: str,
        stage: Stage | None,
        sent: Outgoing,
        ahead: Prefetched,
    ) -> Counts:
        if stage is not None:
            found = db.rows(f"select count(*) from {stage.table}")[0][0]
            if found != stage.rows:  # a server that crashed empties unlogged tables
                raise TransientError(f"stage table {stage.table} holds {found} rows of {stage.rows}; loading again")
        if disposition.startswith("merge"):
            assert stage is not None
            rejected = bool(sent.rejected) or any(True for _ in self.context.rejects)
            if rejected and self.config.missing_rows == "delete":
                plan.notes.append("records were set aside, so rows that seem to be missing were kept")
            return work.merge(stage, rejected=rejected)
        counts = Counts()
        into = work.target
        if disposition == "replace":
            db.before_replace(work.target)
            into = db.swap_table(work.target) or work.target
            if into is work.target:
                counts.deleted = db.empty(work.target)
            else:
                counts.deleted = int(db.rows(f"select count(*) from {db.quoted(work.target)}")[0][0])
        if stage is not None:
            counts.inserted = work.insert(stage, into=into)
        else:
            every = [
                *plan.columns,
                *(Planned(_integer_wire(name), "bigint") for name in sent.schema.names[len(plan.columns) :]),
            ]
            counts.inserted = db.copy(sent, into.table, every, into.schema)
            ahead.finish()
            if counts.inserted != sent.rows:
                raise TransientError(
                    f"table {work.target}: {sent.rows} rows were sent, the server took {counts.inserted}; nothing is "
                    "committed"
                )
        if disposition == "replace":
            work.guard_replace(counts.deleted, counts.inserted)
        if into is not work.target:
            db.swap_in(work.target, into)
        return counts

    def _keep_previous(self, db: Tables, target: Target) -> None:
        previous = previous_of(db, target)
        db.run(f"drop table if exists {db.quoted(previous)}")
        db.run(f"create table {db.quoted(previous)} as select * from {db.quoted(target)}")

    # ---- Beside the rows

    def _keep_rejects(self, ledger: LedgerTables, own: Sequence[Reject], schema: pa.Schema, loaded: int) -> int:
        context = self.context
        ledger.forget_dead_letters(context.run_key)
        if own:
            types = json.dumps(engine_types(schema))
            own = [replace(reject, step=context.last_step, types=types) for reject in own]
        run_id = context.run_id or context.run_key
        rejected = ledger.keep(chain(context.rejects, own), context.run_key, run_id, self.now)
        read = context.rows_read if context.rows_read is not None else loaded + rejected
        if rejected and (message := context.limit.exceeded(rejected, max(read, 1))):
            raise TerminalError(f"{message}; nothing was written")
        if context.replays:
            ledger.take_back_in(context.replays, context.run_key)
        return rejected

    def _known(self, target: Target, version: SchemaVersion, plan: ColumnPlan, sent: Outgoing) -> dict[str, Known]:
        """Return the columns as they are now; one is unknown while no load had a value in it."""
        before = version.columns or {}
        valued = {target.fold(name) for name in sent.valued}
        written = plan.added if version.columns else plan.columns
        fresh = {target.fold(column.wire.name) for column in written}
        config = self.config
        own = {config.run_column, CLOSED_BY, config.valid_from, config.valid_to}
        found = {}
        for column in target.columns or ():
            if column.name not in own:
                name = target.fold(column.name)
                was_unknown = before[column.name].unknown if column.name in before else name in fresh
                found[column.name] = Known(column.type, was_unknown and name not in valued)
        return found

    def _record(
        self, state: State, disposition: str, rows: int, counts: Counts, rejected: int, schema_version: int
    ) -> LoadRecord:
        context = self.context
        return LoadRecord(
            run_key=context.run_key,
            run_id=context.run_id or context.run_key,
            target=ledger_target(self.config, context),
            disposition=REPLACE_KEPT if disposition == "replace" and self.config.keep_previous else disposition,
            digest=context.digest or "",
            rows=rows,
            rejected=rejected,
            epoch=state.epoch + 1,
            committed_at=_now(),  # with all locks held, so that loads of other pipelines are in order by it too
            inserted=counts.inserted,
            updated=counts.updated,
            deleted=counts.deleted,
            cursor=context.cursor.to_marker() if context.cursor else None,
            schema_version=schema_version,
            revision=context.revision,
            actor=context.actor,
            attempt=self.name,
        )

    def _cursor_after(self, state: State) -> Mapping[str, Any] | None:
        step = self.context.cursor
        if step is None or step.mode != "advance":
            return state.cursor
        return cursor_to_json(step.after)

    @contextmanager
    def _stage_dropped(self, db: Tables) -> Iterator[None]:
        """Drop the stage table when the block ends, however it does; what can't be dropped now is left to the sweep."""
        try:
            yield
        finally:
            if self._stage_to_drop is not None:
                try:
                    db.rollback()
                    db.run(f"drop table if exists {self._stage_to_drop}")
                    db.commit()
                except Exception as error:  # noqa: BLE001 - the sweep takes what a lost session leaves
                    self.context.log(
                        "stage table left to the sweep", table=self._stage_to_drop, error=type(error).__name__
                    )
                self._stage_to_drop = None


def disposition_of(config: TableConfig) -> str:
    """Return the write disposition as the ledger spells it, with the strategy of a merge."""
    merge = config.write_disposition == "merge"
    return f"merge/{config.merge_strategy}" if merge else config.write_disposition


def ledger_target(config: TableConfig, context: LoadContext) -> str:
    """Return the name of the target in the ledger."""
    return context.target or config.table


def refuse_replayed(ledger: LedgerTables, target: Target, record: LoadRecord, what: str) -> None:
    """Raise TerminalError when records of this run came in by a replay: they would come in a second time."""
    if runs := ledger.replays_of(record.run_key):
        raise TerminalError(
            f"run {record.run_id!r} can't be {what}: dead letters of it were replayed into {target} by "
            f"{', '.join(map(repr, runs))}, and these records would come in twice; nothing was changed. Take that load "
            "back first ('dataforge undo')"
        )


def _report_of(record: LoadRecord, target: Target) -> LoadReport:
    return LoadReport(
        str(target),
        record.rows,
        inserted=record.inserted,
        updated=record.updated,
        deleted=record.deleted,
        rejected=record.rejected,
        already=True,
        schema_version=record.schema_version,
    )


def _left_out(sieve: Sieve | None) -> Iterator[str]:
    if sieve is not None:
        for name, count in sieve.nulled.items():
            yield f"column {name!r}: {count:,} values do not fit and are left out (discard_value)"


def _first_rows(ahead: Prefetched, most: int) -> tuple[Iterable[pa.RecordBatch], bool]:
    """Return the batches, and whether there are no more than `most` rows in all."""
    source, first, rows = iter(ahead), [], 0
    for batch in source:
        first.append(batch)
        rows += batch.num_rows
        if rows > most:
            return chain(first, source), False
    return first, True


def _integer_wire(name: str) -> Any:
    import pyarrow as pa

    from dataforge.destinations._columns import Wire

    return Wire(name, pa.int64())


def _is_boolean(column: Planned) -> bool:
    import pyarrow as pa

    return pa.types.is_boolean(column.wire.type)


class TableLedger:
    """The ledger of one pipeline and target, each call in a session of its own transaction; see `delivery.Ledger`."""

    def __init__(self, db: Tables, config: TableConfig, context: LoadContext) -> None:
        self.db, self.config, self.context = db, config, context
        self.target = db.target(config.table)
        schema = config.ledger_schema or self.target.schema
        self.tables = LedgerTables(db, schema, context.dag_id, ledger_target(config, context))
        self._there = self.tables.exists()

    def state(self) -> State:
        """Return cursor and epoch."""
        with self._ended():
            return self.tables.state() if self._there else State()

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run that stands."""
        with self._ended():
            return self.tables.load_of(run_id) if self._there else None

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return the newest markers first."""
        with self._ended():
            return self.tables.loads(limit) if self._there else []

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:
        """Set or forget the cursor, and fence off a run under way."""
        if not self.db.durable:
            raise TerminalError(
                f"there is no database for {self.target} yet; set initial_value in the config to say where to begin"
            )
        with self._ended():
            self.tables.prepare()
            self.tables.move(self.tables.state(lock=True), cursor, _now())
            self.db.commit()
        self._there = True
        self.context.log("cursor set", target=str(self.target), actor=actor)

    def dead_letters(
        self, run_id: str | None = None, *, pending: bool = False, ids: Iterable[str] = (), limit: int = 1000
    ) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        with self._ended():
            if not self._there:
                return []
            return self.tables.dead_letters(run_id, pending=pending, ids=tuple(ids), limit=limit)

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them were not replayed yet."""
        with self._ended():
            return self.tables.dead_letter_counts() if self._there else (0, 0)

    def undo(self, run_id: str, actor: str) -> Undone:
        """Take a load back, in one transaction with its marker and, for the newest load, the cursor."""
        with self._ended():
            record = self.tables.load_of(run_id) if self._there else None
            if record is not None:
                state = self.tables.state(lock=True)
                record = self.tables.load_of(run_id)  # again: it may have changed while another load held the lock
            if record is None:
                raise TerminalError(
                    f"no load of run {run_id!r} into {self.target} stands in the ledger; `dataforge loads` lists them"
                )
            refuse_replayed(self.tables, self.target, record, "taken back")
            step = CursorStep.from_json(record.cursor)
            if record.disposition == "append" and record.deleted and step is not None and step.mode == "window":
                raise TerminalError(
                    f"run {run_id!r} replaced {record.deleted:,} rows of its interval in {self.target}, which are not "
                    "kept; run the interval again in place of taking it back"
                )
            now = _now()
            work = Dispositions(self.db, self.config, self.target, self.tables, run_number(record.run_key), now)
            removed, restored = work.undo(record)
            moves = step is not None and step.mode != "window" and dict(step.before) != dict(step.after)
            cursor, back = state.cursor, False
            if moves and step is not None:
                cursor, back = seen_files.taken_back(state.cursor, step)
            self.tables.mark_undone(record.run_key, actor, now)
            self.tables.move(state, cursor, now)
            self.db.commit()
        note = ""
        if moves and not back:
            note = "the cursor was moved on since: these records are not read again unless it is set back"
        return Undone(run_id, str(self.target), removed, restored, back, note)

    def sweep(self) -> list[str]:
        """Drop the stage tables of loads that were killed."""
        dropped = []
        with self._ended():
            for name in self.db.stages_of(self.tables.schema, STAGE):
                self.db.run(f"drop table if exists {self.tables.table(name)}")
                dropped.append(name)
            self.db.commit()
        return dropped

    @contextmanager
    def _ended(self) -> Iterator[None]:
        """Turn errors into ours, and end the transaction with the block."""
        with self.db.errors(self.target):
            try:
                yield
            finally:
                self.db.rollback()


@contextmanager
def table_ledger(open_: Open, config: TableConfig, context: LoadContext) -> Iterator[TableLedger]:
    """Open the ledger of a table destination."""
    with open_() as db:
        yield TableLedger(db, config, context)


def _now() -> datetime:
    return datetime.now(timezone.utc)


__all__ = ["DataForgeError", "TableLedger", "disposition_of", "ledger_target", "load", "table_ledger"]
