"""What append, replace and merge do to a table, as statements over a stage table; and how a load is taken back.

Every statement runs in the load's one transaction. They are plain SQL, the same in every database; what differs
between databases is asked of `Tables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from dataforge.components.delivery import LoadRecord, Reject
from dataforge.destinations._ledger import Later, LedgerTables
from dataforge.destinations._table import TableConfig
from dataforge.destinations._tables import Tables, Target, Upsert
from dataforge.errors import TerminalError

ROW = "_dataforge_row"
"""The number of a row in its stage table; by it single rows are found again."""

CLOSED_BY = "_dataforge_closed_run"
"""In scd2 tables: the run that closed a version."""


REPLACE_KEPT = "replace/kept"
"""How the ledger spells a replace that kept the rows before it."""


def previous_of(db: Tables, target: Target) -> Target:
    """Return the table that keeps the rows before a replace; TerminalError when its name would be too long."""
    name = f"{target.table}__previous"
    if len(name.encode()) > db.max_name_bytes:
        raise TerminalError(
            f"keep_previous is not possible for {target}: the name {name!r} has more than {db.max_name_bytes} bytes, "
            "and the database would cut it off; nothing was written"
        )
    return target.beside(name)


def later_loads(ledger: LedgerTables, target: Target, record: LoadRecord) -> list[Later]:
    """Return the loads of any pipeline into the table that stand and came after that one, the newest first.

    Those of other pipelines are seen whose ledger is the same, or that in the table's schema.
    """
    names = {target.fold(name) for name in (target.table, str(target))}

    def is_table(name: str) -> bool:
        return target.fold(unquote(name.rpartition("/")[2])) in names

    found = ledger.later(record, is_table)
    beside = LedgerTables(ledger.db, target.schema, ledger.pipeline, ledger.target)
    if ledger.schema != target.schema and beside.exists():
        found += beside.later(record, is_table, of_record=False)
    return sorted(found, key=lambda one: one.committed_at, reverse=True)


def named(loads: Sequence[Later], pipeline: str) -> str:
    """Return the runs of those loads for a message, with the pipelines of those that are not of `pipeline`."""
    most = 10
    shown = [
        repr(one.run_id) if one.pipeline == pipeline else f"{one.run_id!r} of pipeline {one.pipeline!r}"
        for one in loads[:most]
    ]
    return ", ".join([*shown, *([f"and {len(loads) - most:,} more"] if len(loads) > most else [])])


@dataclass
class Counts:
    """What a load did to the rows of the target, and the rows that it set aside."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rejects: list[Reject] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """Where the rows of a load stand: `values` are target column names to the SQL that gives their value from `s`."""

    table: str
    values: Mapping[str, str]
    rows: int
    flag: str | None = None

    def value(self, target: Target, column: str) -> str:
        """Return the SQL of the value for the target's column of that name, in whatever case it is written."""
        wanted = target.name_of(column)
        return next(value for name, value in self.values.items() if target.name_of(name) == wanted)


class Dispositions:
    """The statements of one load."""

    def __init__(
        self, db: Tables, config: TableConfig, target: Target, ledger: LedgerTables, number: int, now: datetime
    ) -> None:
        self.db, self.config, self.target, self.ledger = db, config, target, ledger
        self.number, self.now = number, now
        self.keep_missing = False
        self.quote = db.quote
        self.into = db.quoted(target)

    # ---- Rows of this run

    def remove_own(self, record: LoadRecord) -> int:
        """Take out what an earlier load of this run put in; TerminalError where its rows can't be told from others."""
        if record.disposition == "append":
            return self._remove_by_number()
        if record.disposition == "merge/scd2":
            return self._reopen(record, "repeated")[0]
        return 0  # replace empties the table anyway, upsert and delete_insert find their rows by key

    def _remove_by_number(self) -> int:
        column = self.run_column()
        if column is None:
            raise TerminalError(
                f"table {self.target} holds rows of an earlier load of this run, and has no column that tells them "
                f"from others; nothing was written. Remove them by hand and then the marker, or add the column "
                f"{self.config.run_column or '_dataforge_run'!r} (bigint) to the table for later loads"
            )
        return self.db.run(f"delete from {self.into} where {self.quote(column)} = {self.number}")

    def run_column(self) -> str | None:
        """Return the target's run column; None where it has none."""
        return self.target.name_of(self.config.run_column) if self.config.run_column else None

    def remove_window(self, column: str, start: str, end: str) -> int:
        """Take out the rows of an interval that this pipeline loaded; TerminalError where they can't be told."""
        run = self.run_column()
        own = self.target.name_of(column)
        if run is None or own is None:
            missing = f"{self.config.run_column or '_dataforge_run'!r}" if run is None else f"{column!r}"
            raise TerminalError(
                f"table {self.target} has no column {missing}, by which a run of an interval finds the rows that it "
                "replaces; nothing was written. Keep the cursor field through the transforms and let the table have a "
                "run column, or use write_disposition merge"
            )
        return self.db.run(
            f"delete from {self.into} where {self.quote(own)} >= {start} and {self.quote(own)} < {end} "
            f"and {self.quote(run)} in ({self.ledger.run_numbers()})"
        )

    # ---- Dispositions

    def insert(self, stage: Stage, where: str = "", into: Target | None = None) -> int:
        """Insert rows of the stage table into the target, or into the table that will take its place."""
        names = ", ".join(self.quote(name) for name in stage.values)
        values = ", ".join(stage.values.values())
        select = f"select {values} from {stage.table} s {where}".strip()
        return self.db.insert(into or self.target, names, select, stage.rows)

    def merge(self, stage: Stage, *, rejected: bool = False) -> Counts:
        """Merge the stage table by the config's strategy, after its keys were guarded.

        Where records were `rejected`, rows that seem to be missing stay: theirs would be among them.
        """
        counts = Counts(rejects=self.guard_keys(stage))
        self.keep_missing = rejected or bool(counts.rejects)
        strategy = {"upsert": self._upsert, "delete_insert": self._delete_insert, "scd2": self._scd2}
        strategy[self.config.merge_strategy](stage, counts)
        return counts

    def _upsert(self, stage: Stage, counts: Counts) -> None:
        keys = self.config.primary_key
        match = self._match(keys, stage)
        present = f"not ({stage.flag})" if stage.flag else "true"
        if self.config.missing_rows == "delete":
            counts.deleted += self._delete_missing(stage, keys)
        if stage.flag:
            counts.deleted += self.db.run(
                f"delete from {self.into} where exists (select 1 from {stage.table} s where "
                f"{self._match(keys, stage, self.into)} and {stage.flag}{self._not_older(stage, self.into)})"
            )
        key_columns = {self.target.name_of(key) for key in keys}
        others = [name for name in stage.values if self.target.name_of(name) not in key_columns]
        changed = [name for name in others if name != self.run_column()]
        if changed and self._at_once(stage, counts, match, present, others, changed):
            return
        if changed:
            sets = ", ".join(f"{self.quote(name)} = {stage.values[name]}" for name in others)
            differs = " or ".join(self._differs(name, stage) for name in changed)
            counts.updated += self.db.run(
                f"update {self.into} as t set {sets} from {stage.table} s where {match} and {present} and ({differs})"
                f"{self._not_older(stage)}"
            )
        counts.inserted += self.insert(
            stage,
            f"where {present} and not exists (select 1 from {self.into} t where {match})",
        )

    def _at_once(
        self,
        stage: Stage,
        counts: Counts,
        match: str,
        present: str,
        others: Sequence[str],
        changed: Sequence[str],
    ) -> bool:
        """Update and insert in one statement, which reads the target once, where the database has one."""
        statement = Upsert(
            f"(select * from {stage.table} s where {present})",
            match,
            f"({' or '.join(self._differs(name, stage) for name in changed)}){self._not_older(stage)}",
            {self.quote(name): stage.values[name] for name in others},
            {self.quote(name): value for name, value in stage.values.items()},
        )
        done = self.db.upsert(self.target, statement)
        if done is None:
            return False
        counts.inserted += done[0]
        counts.updated += done[1]
        return True

    def _delete_insert(self, stage: Stage, counts: Counts) -> None:
        keys = self.config.merge_key or self.config.primary_key
        if self.config.missing_rows == "delete":
            counts.deleted += self._delete_missing(stage, keys)
        counts.deleted += self.db.run(
            f"delete from {self.into} where exists (select 1 from {stage.table} s where "
            f"{self._match(keys, stage, self.into)})"
        )
        counts.inserted += self.insert(stage, f"where not ({stage.flag})" if stage.flag else "")

    def _delete_missing(self, stage: Stage, keys: Sequence[str]) -> int:
        if self.keep_missing:
            return 0
        self._guard_missing(stage, int(self.db.rows(f"select count(*) from {self.into}")[0][0]))
        return self.db.run(
            f"delete from {self.into} where not exists (select 1 from {stage.table} s where "
            f"{self._match(keys, stage, self.into)})"
        )

    def _guard_missing(self, stage: Stage, before: int) -> None:
        """Raise TerminalError when there are too few records for all others to be deleted, without leave to."""
        records = int(self.db.rows(f"select count(*) from {stage.table}")[0][0])
        what = f"there are {records:,} records for the {before:,} rows of {self.target}, and missing_rows 'delete'"
        if records == 0 < before and not self.config.allow_empty:
            raise TerminalError(
                f"{what} would delete all of them; nothing was changed. Set allow_empty to true if that is right"
            )
        if 0 < records * 2 < before and not self.config.allow_shrink:
            raise TerminalError(
                f"{what} would delete more than half of them; nothing was changed. Set allow_shrink to true if that is "
                "right"
            )

    def _scd2(self, stage: Stage, counts: Counts) -> None:
        keys = self.config.primary_key
        match = self._match(keys, stage)
        valid_from, valid_to = self.quote(self.config.valid_from), self.quote(self.config.valid_to)
        number, run = str(self.number), self.quote(self.run_column() or "")
        now = self.ledger.instant(self.now)
        key_columns = {self.target.name_of(key) for key in keys}
        changed = [name for name in stage.values if self.target.name_of(name) not in key_columns]
        differs = [self._differs(name, stage) for name in changed]
        if stage.flag:
            differs.append(stage.flag)
        close = f"set {valid_to} = {now}, {self.quote(CLOSED_BY)} = {number}"
        if differs:
            counts.updated += self.db.run(
                f"update {self.into} as t {close} from {stage.table} s "
                f"where t.{valid_to} is null and {match} and ({' or '.join(differs)})"
            )
        if self.config.missing_rows == "delete" and not self.keep_missing:
            # those that were just closed have a record
            still = int(self.db.rows(f"select count(*) from {self.into} where {valid_to} is null")[0][0])
            self._guard_missing(stage, counts.updated + still)
            counts.deleted += self.db.run(
                f"update {self.into} {close} where {valid_to} is null and not exists "
                f"(select 1 from {stage.table} s where {self._match(keys, stage, self.into)})"
            )
        names = [*map(self.quote, stage.values), valid_from, run]
        values = [*stage.values.values(), now, number]
        present = f"not ({stage.flag})" if stage.flag else "true"
        counts.inserted += self.db.insert(
            self.target,
            ", ".join(names),
            f"select {', '.join(values)} from {stage.table} s where {present} and not exists "
            f"(select 1 from {self.into} t where {match} and t.{valid_to} is null)",
            stage.rows,
        )

    def _not_older(self, stage: Stage, alias: str = "t") -> str:
        """Return SQL that leaves rows alone which are newer, by `latest_by`, than the record that comes for them."""
        name = self.config.latest_by
        own = self.target.name_of(name) if name else None
        if name is None or own is None or self.target.column(own) is None:
            return ""
        there = f"{alias}.{self.quote(own)}"
        return f" and ({there} is null or {stage.value(self.target, name)} >= {there})"

    def _differs(self, name: str, stage: Stage) -> str:
        column = self.target.column(name)
        return self.db.differs(f"t.{self.quote(name)}", stage.values[name], column.type if column else "")

    def _match(self, keys: Sequence[str], stage: Stage, alias: str = "t") -> str:
        pairs = ((self.quote(self.target.name_of(key) or key), stage.value(self.target, key)) for key in keys)
        return " and ".join(f"{alias}.{column} = {value}" for column, value in pairs)

    # ---- Keys

    def guard_keys(self, stage: Stage) -> list[Reject]:
        """Refuse, remove or set aside staged rows without a key and rows of the same key, as the config says."""
        found = []
        for name, keys in (("primary", self.config.primary_key), ("merge", self.config.merge_key)):
            if keys and (name == "primary" or self.config.merge_strategy == "delete_insert"):
                found += self._guard_nulls(stage, name, keys)
        if not self.config.primary_key:
            return found
        keys = self.config.primary_key
        names = ", ".join(map(repr, keys))
        # as the values will stand in the table: texts that differ can be the same UUID or number
        by = ", ".join(stage.value(self.target, key) for key in keys)
        twice = f"select {by} from {stage.table} s group by {by} having count(*) > 1"
        several = self.db.rows(f"select count(*) from ({twice}) d")[0][0]
        if not several:
            return found
        if self.config.duplicate_keys == "fail":
            raise TerminalError(
                f"table {self.target}: {several:,} values of the primary key ({names}) stand in more than one record; "
                "nothing was written. Add a deduplicate transform, or set duplicate_keys to 'deduplicate' or "
                "'dead_letter'"
            )
        row = self.quote(ROW)
        order = [f"s.{row} desc"]
        if self.config.latest_by:
            latest = f"s.{self.quote(self.config.latest_by)}"
            order = [f"case when {latest} is null then 1 else 0 end", f"{latest} desc", *order]
        ranked = f"select s.{row}, row_number() over (partition by {by} order by {', '.join(order)}) as n"
        older = f"s.{row} in (select r.{row} from ({ranked} from {stage.table} s) r where r.n > 1)"
        if self.config.duplicate_keys == "dead_letter":
            return found + self._set_aside(stage, older, f"a later record has the same primary key ({names})", keys)
        self.db.run(f"delete from {stage.table} as s where {older}")
        return found

    def _guard_nulls(self, stage: Stage, name: str, keys: Sequence[str]) -> list[Reject]:
        """Refuse or set aside staged rows without a value in a key, which match no row however often they come."""
        empty = " or ".join(f"s.{self.quote(key)} is null" for key in keys)
        what = f"no value in the {name} key ({', '.join(map(repr, keys))})"
        nulls = self.db.rows(f"select count(*) from {stage.table} s where {empty}")[0][0]
        if nulls and self.config.null_keys == "fail":
            raise TerminalError(
                f"table {self.target}: {nulls:,} records have {what}; nothing was written. Filter them out, or set "
                "null_keys to 'dead_letter'"
            )
        return self._set_aside(stage, empty, what, keys) if nulls else []

    def _set_aside(self, stage: Stage, where: str, reason: str, keys: Sequence[str]) -> list[Reject]:
        records = self.db.records(f"select s.* from {stage.table} s where {where}", without=(ROW,))
        self.db.run(f"delete from {stage.table} as s where {where}")
        column = keys[0] if len(keys) == 1 else ""
        return [Reject("key", reason, record, column=column) for record in records]

    # ---- Replace

    def guard_replace(self, before: int, after: int) -> None:
        """Raise TerminalError when a replace would leave nothing, or fewer than half of the rows, without leave to."""
        if after == 0 < before and not self.config.allow_empty:
            raise TerminalError(
                f"replacing table {self.target} would leave no rows, where there are {before:,}; nothing was changed. "
                "Set allow_empty to true if that is right"
            )
        if 0 < after * 2 < before and not self.config.allow_shrink:
            raise TerminalError(
                f"replacing table {self.target} would leave {after:,} of {before:,} rows, fewer than half; nothing was "
                "changed. Set allow_shrink to true if that is right"
            )

    # ---- Undo

    def undo(self, record: LoadRecord) -> tuple[int, int]:
        """Take a load of this run back; return (rows removed, rows brought back); TerminalError where it can't be."""
        disposition = record.disposition
        if disposition == "append":
            return self._remove_by_number(), 0
        if disposition == "merge/scd2":
            return self._reopen(record, "taken back")
        if disposition == REPLACE_KEPT:
            return self._restore_previous(record)
        if disposition == "replace":
            raise self._not_kept()
        raise TerminalError(
            f"a load by {disposition.replace('/', ' with ')} can't be taken back: the rows that it changed are not "
            "kept. Use the strategy scd2, which keeps them"
        )

    def _reopen(self, record: LoadRecord, what: str) -> tuple[int, int]:
        run, valid_to = self.quote(self.run_column() or ""), self.quote(self.config.valid_to)
        closed = self.quote(CLOSED_BY)
        self._refuse_built_on(record, what)
        removed = self.db.run(f"delete from {self.into} where {run} = {self.number}")
        back = self.db.run(f"update {self.into} set {valid_to} = null, {closed} = null where {closed} = {self.number}")
        return removed, back

    def _refuse_built_on(self, record: LoadRecord, what: str) -> None:
        """Raise TerminalError when later runs closed versions of this run, or wrote new ones after those it closed."""
        run, closed = self.quote(self.run_column() or ""), self.quote(CLOSED_BY)
        later = later_loads(self.ledger, self.target, record)
        rows = self.db.rows(
            f"select distinct {closed} from {self.into} where {run} = {self.number} and {closed} is not null "
            f"and {closed} <> {self.number}"
        )
        numbers = {int(number) for (number,) in rows}
        keys = [self.quote(self.target.name_of(key) or key) for key in self.config.primary_key]
        if later:
            same = " and ".join(f"o.{key} = n.{key}" for key in keys)
            after = ", ".join(str(one.number) for one in later)
            rows = self.db.rows(
                f"select distinct n.{run} from {self.into} n where n.{run} in ({after}) and exists "
                f"(select 1 from {self.into} o where o.{closed} = {self.number} and {same})"
            )
            numbers |= {int(number) for (number,) in rows}
        if not numbers:
            return
        known = [one for one in later if one.number in numbers]
        runs = named(known, self.ledger.pipeline) or "which the ledger does not know"
        then = "then clear this run and those after it" if what == "repeated" else "then this one"
        raise TerminalError(
            f"run {record.run_id!r} can't be {what}: later runs built on the versions that it wrote to {self.target} "
            f"or closed there: {runs}; nothing was changed. Take those back first, the newest before the others "
            f"('dataforge undo'), {then}"
        )

    def _not_kept(self) -> TerminalError:
        return TerminalError(
            f"this replace of {self.target} can't be taken back: the rows before it are not kept. keep_previous keeps "
            "those before the newest load"
        )

    def _restore_previous(self, record: LoadRecord) -> tuple[int, int]:
        previous = previous_of(self.db, self.target)
        if not self.db.has_table(previous.schema, previous.table):
            raise self._not_kept()
        self.db.before_replace(self.target, undo=True)  # from here on nobody else writes
        if later := later_loads(self.ledger, self.target, record):
            raise TerminalError(
                f"run {record.run_id!r} can't be taken back: {self.target} was loaded since by "
                f"{named(later, self.ledger.pipeline)}, and the rows from before the replace would take the place of "
                "those rows too; nothing was changed. Take those loads back first, the newest before the others "
                "('dataforge undo'), or run the pipeline again to replace the rows anew"
            )
        removed = self.db.run(f"delete from {self.into}")
        names = ", ".join(self.quote(column.name) for column in self.target.columns or () if not column.generated)
        back = self.db.insert(self.target, names, f"select {names} from {self.db.quoted(previous)}", -1)
        self.db.run(f"drop table {self.db.quoted(previous)}")
        return removed, back
