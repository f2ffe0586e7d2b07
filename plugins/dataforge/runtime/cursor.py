"""Incremental reading: which records a run reads by its cursor, and where the cursor stands afterwards.

A run asks the ledger of its destination where the cursor stands and hands that over with what it read; the destination
moves the cursor in the transaction that writes the rows, if it still stands there. Records with the very value of the
cursor are told apart by digests, so that one which comes later is read and none is read twice.

    readings    what each source reads in this run
    Reading     the same for one source; `bounds` is what the source may leave out by itself
    cut         leaves exactly the wanted records, and says where the cursor goes
    merge       one step of all sources
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.base import CursorBounds, Files, JsonValue, Position, SourceConfig
from dataforge.components.bounds import (
    Family,
    family,
    is_number,
    is_time,
    is_zoned,
    parse_instant,
    parse_number,
)
from dataforge.components.database import quote_identifier as name_sql
from dataforge.components.database import quote_literal as text_sql
from dataforge.components.delivery import (
    EVERY_LOAD,
    CursorPosition,
    CursorStep,
    LoadRecord,
    State,
    Window,
    cursor_from_json,
    windows_of,
)
from dataforge.config import incremental
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, FencedError, Problem, TerminalError
from dataforge.observability.log import line
from dataforge.runtime import ledgers
from dataforge.runtime.context import TaskContext

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dataforge.runtime.landing import Landed

MAX_TIES = 10_000
"""Records with the greatest value that can be told apart; their digests take 35 bytes each in the ledger."""

POSITION_TYPE = "JSON"
"""The type of the cursor of a source that keeps a position of its own."""

_FINER = (
    "use write_disposition 'merge' with a primary_key, which needs no telling apart, or a cursor_field that tells "
    "records apart more finely"
)
_ROW = "file_row_number"


@dataclass(frozen=True)
class Reading:
    """What one source reads in a run.

    `step` is that of the whole pipeline, with `after` as far as it is known before reading (a repeat). `keyed` says
    that records which are read twice are recognised by their key, so that those with the cursor's own value are all
    read again. `taken` are intervals that backfills have made theirs, which a repeat leaves to them.
    """

    source: str
    config: SourceConfig
    step: CursorStep
    keyed: bool = False
    span: tuple[datetime, datetime] | None = None
    place: tuple[str, ...] = ()
    taken: tuple[Window, ...] = ()

    @property
    def field(self) -> str:
        """The cursor field as the config spells it, or the name of the source's own position."""
        return self.config.cursor_name or ""

    @property
    def own(self) -> bool:
        """Whether the source keeps a position of its own, so that it gives exactly what is wanted by itself."""
        return self.config.cursor_field is None

    @property
    def before(self) -> CursorPosition | None:
        """Where the cursor of this source stood."""
        return self.step.before.get(self.source)

    @property
    def after(self) -> CursorPosition | None:
        """In a repeat: up to where the run read the first time; None when it read nothing."""
        return self.step.after.get(self.source) if self.step.mode == "repeat" else None

    @property
    def exact(self) -> bool:
        """Whether records at the edges are told apart by digests; else all of them are read."""
        if self.step.mode == "repeat":
            return bool(self.after and self.after.ties)
        return self.step.mode == "advance" and not self.keyed and self.config.lookback is None

    @property
    def below(self) -> bool:
        """Whether only records up to the cursor are wanted: the next run appends those above it."""
        return self.step.mode == "window" and not self.keyed

    @property
    def nulls(self) -> bool:
        """Whether records without a value concern this run: no interval has any."""
        return self.step.mode != "window"

    def position(self, reach: Callable[[JsonValue], None]) -> Position:
        """Return from where on a source with a position of its own reads; in a repeat nothing but the same range."""
        before, after = self.before, self.after
        if self.step.mode == "repeat" and after is None:
            raise TerminalError(f"the run that is repeated noted no {self.field}; undo it with 'dataforge undo'")
        return Position(
            None if before is None else json.loads(before.value), json.loads(after.value) if after else None, reach
        )

    def reached(self, value: JsonValue) -> CursorStep:
        """Return the step of a source with a position of its own that ended at that position."""
        if self.step.mode == "repeat" or value is None:
            return self.step
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        position = CursorPosition(self.field, text, POSITION_TYPE)
        return replace(self.step, after={**self.step.before, self.source: position})

    def bounds(self) -> CursorBounds:
        """Return what the source may leave out: never a record that `cut` would keep."""
        nulls = self.nulls and self.config.null_cursor != "skip"
        if self.step.mode == "window":
            start, end = self.interval()
            return CursorBounds(self.field, start.isoformat(), end.isoformat(), "TIMESTAMPTZ", nulls)
        lower, type_ = self.lower()
        upper = self.after.value if self.after else None
        return CursorBounds(self.field, lower, upper, type_, nulls)

    def lower(self) -> tuple[str | None, str]:
        """Return the least value that is read, and its type; None for no limit."""
        if self.before is None:
            initial = self.config.initial_value
            return (None if initial is None else str(initial)), ""
        lookback = None if self.step.mode == "repeat" and self.exact else self.config.lookback
        if lookback is None:
            return self.before.value, self.before.type
        return self._looked_back(self.before, lookback), self.before.type

    def _looked_back(self, position: CursorPosition, lookback: timedelta | float) -> str:
        kind = family(position.type)
        if is_time(kind):
            span = lookback if isinstance(lookback, timedelta) else timedelta(seconds=lookback)
            try:
                found = parse_instant(position.value) - span
            except OverflowError:
                found = datetime.min.replace(tzinfo=timezone.utc)
            if kind == "date":
                return found.date().isoformat()
            return _clock(found, zoned=is_zoned(position.type))
        if is_number(kind) and not isinstance(lookback, timedelta):
            number = parse_number(position.value) if kind != "float" else Decimal(position.value)
            return format(number - Decimal(str(lookback)), "f")
        what = "a duration" if isinstance(lookback, timedelta) else "a number"
        wanted = "a number" if is_number(kind) else "no lookback"
        message = f"lookback is {what}, but the cursor field {self.field!r} is {position.type}, which takes {wanted}"
        raise ConfigError(Problem("invalid-value", message, (*self.place, "lookback")))

    def interval(self) -> tuple[datetime, datetime]:
        """Return the data interval of a window."""
        assert self.span is not None
        return self.span


@dataclass(frozen=True)
class Cut:
    """The wanted records of one source as a view, and the step that reading them makes.

    `rows_read` counts them and the records without a cursor value. `whole` is whether the file at `path` holds exactly
    the wanted records. `without` names a view of the records that are to be set aside, if there are any.
    """

    view: Landed
    step: CursorStep
    path: Path
    whole: bool
    rows_read: int
    without: str | None = None


def readings(config: PipelineConfig, context: TaskContext) -> dict[str, Reading]:
    """Return what each source with a cursor field reads in this run; asks the ledger of the destination.

    ConfigError where the pipeline can't be read that way, TerminalError where this run can't.
    """
    chosen = {name: source for name, source in config.inputs.items() if source.cursor_name is not None}
    if not chosen:
        return {}
    refuse(config)
    keyed = config.outputs[0].write_disposition == "merge"
    with ledgers.opened(config, 0, context) as ledger:
        marker, state = ledger.load(context.run_id), ledger.state()
        # by key it does not matter who brings a record; else each record is that of one run
        taken = () if keyed or marker is None else tuple(windows_of(ledger.loads(EVERY_LOAD)))
    step, span = _step(context, marker, state)
    if step.mode == "repeat" and not keyed:
        step = replace(step, windows=len(taken))
    found = {}
    for name, source in chosen.items():
        place = ("source",) if config.source is not None else ("sources", name)
        reading = Reading(name, source, step, keyed, span, place, taken if step.mode == "repeat" else ())
        for position in (reading.before, reading.after):
            if position is not None and position.field.lower() != reading.field.lower():
                raise TerminalError(
                    f"the cursor stands at {position.value!r} of the field {position.field!r}, but the config names "
                    f"{reading.field!r}; 'dataforge cursor set' or 'dataforge cursor reset' says where to go on"
                )
        if reading.own and step.mode == "window":
            raise TerminalError(
                f"source {source.type!r} reads on from its {reading.field}, which say nothing about a data interval: a "
                "backfill is not possible; run the pipeline as scheduled, or put the cursor back with "
                "'dataforge cursor set'"
            )
        _refuse_ahead(reading)
        found[name] = reading
    return found


def refuse(config: PipelineConfig) -> None:
    """Raise ConfigError when the pipeline as a whole can't be read by a cursor."""
    if found := incremental.problems(config):
        raise ConfigError(found)
    if config.outputs[0].write_disposition == "replace":
        chosen = next(source for source in config.inputs.values() if source.cursor_name is not None)
        how = "'cursor_field'" if chosen.cursor_field is not None else f"a source with its own {chosen.cursor_name}"
        message = f"{how} reads new records only, and 'replace' would remove all others"
        raise ConfigError(Problem("conflicting-keys", message, (*ledgers.place(config, 0), "write_disposition")))


def _step(
    context: TaskContext, marker: LoadRecord | None, state: State
) -> tuple[CursorStep, tuple[datetime, datetime] | None]:
    if marker is not None:
        known = CursorStep.from_json(marker.cursor)
        if known is None:
            raise TerminalError(
                f"run {context.run_id!r} was loaded before the pipeline had a cursor, so what it read is not known; "
                "undo it with 'dataforge undo', then the next run reads on"
            )
        if known.mode == "window" and known.window is not None:
            return _windowed(state), (parse_instant(known.window.start), parse_instant(known.window.end))
        line("run repeated", run_id=context.run_id, reason="it was loaded before and is read again in its own bounds")
        return CursorStep("repeat", known.before, known.after, seen=cursor_from_json(state.cursor)), None
    if not context.scoped:
        return CursorStep("advance", cursor_from_json(state.cursor)), None
    start, end = context.values.data_interval_start, context.values.data_interval_end
    if start is None or end is None:
        raise TerminalError("a backfill needs a data interval; this run has none, so no records can be told to be its")
    span = (start.astimezone(timezone.utc), end.astimezone(timezone.utc))
    return _windowed(state), span


def _windowed(state: State) -> CursorStep:
    cursor = cursor_from_json(state.cursor)
    return CursorStep("window", cursor, cursor, seen=cursor)


def _refuse_ahead(reading: Reading) -> None:
    """Raise TerminalError for an interval of which nobody can tell what the next run will read of it."""
    if reading.below and reading.before is None and reading.config.initial_value is None:
        raise TerminalError(
            "the pipeline has no cursor yet, so its first run reads all records, and would append those of this "
            "interval a second time; run the pipeline first, say with 'dataforge cursor set' from where on it reads, "
            "or use write_disposition 'merge' with a primary_key"
        )


# ---- Cutting


def cut(con: DuckDBPyConnection, view: Landed, reading: Reading, path: Path) -> Cut:
    """Read a landed view once, into the Parquet file `path`, and put a view of its wanted records in its place.

    ConfigError for a cursor field that is not there or has a type without an order; TerminalError for records that
    have no value where they must, and for more than MAX_TIES records with the greatest value.
    """
    from dataforge.runtime.engines.duckdb_ import write_parquet
    from dataforge.runtime.landing import Landed, land

    name = view.view
    edges = _Edges.of(reading, view.columns)
    view.only(edges.name, edges.coarse)
    coarse = f"wanted of {name}"
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {name_sql(coarse)} AS SELECT * FROM {name_sql(name)} WHERE {edges.coarse}"
    )
    write_parquet(con, coarse, path)
    view.refuse_broken()
    con.execute(f"DROP VIEW temp.{name_sql(coarse)}")
    # a stream, or a temporary view over one, would hide the view that takes its place
    con.unregister(name)
    con.execute(f"DROP VIEW IF EXISTS temp.{name_sql(name)}")
    landed = land(con, name, Files("parquet", (path,)), scratch=path.parent)
    files = f"read_parquet({text_sql(str(path))}, {_ROW} = true)"
    total, valued = _row(con, f"SELECT count(*), count({edges.column}) FROM {files}")
    nulls = total - valued
    edges.refuse_values(con, files, valued)
    _refuse_nulls(reading, nulls, total)
    dropped = edges.drop(con, files, f"dropped of {name}") if valued else 0
    columns = ", ".join(map(name_sql, landed.columns))
    without = None
    if nulls or dropped:
        wanted = f"{edges.column} IS NOT NULL"
        if dropped:
            wanted += f" AND {_ROW} NOT IN (SELECT n FROM {name_sql(f'dropped of {name}')})"
        con.execute(f"CREATE OR REPLACE VIEW {name_sql(name)} AS SELECT {columns} FROM {files} WHERE {wanted}")
    if nulls and reading.config.null_cursor == "dead_letter":
        without = f"without cursor of {name}"
        con.execute(
            f"CREATE OR REPLACE VIEW {name_sql(without)} AS SELECT {columns} FROM {files} WHERE {edges.column} IS NULL"
        )
    elif nulls:
        line("records skipped", source=reading.source, rows=nulls, reason=f"no value in {reading.field!r}")
    step = edges.step(con, name, valued - dropped)
    return Cut(Landed(name, landed.columns), step, path, not (nulls or dropped), total - dropped, without)


def reject(con: DuckDBPyConnection, cut: Cut, reading: Reading, path: Path) -> int:
    """Write the records without a cursor value as a reject part, when they are to be set aside; return how many."""
    from dataforge.runtime.rejects import write_rows

    if cut.without is None:
        return 0
    return write_rows(
        con,
        path,
        f"SELECT * FROM {name_sql(cut.without)}",
        cut.view.columns,
        stage="extract",
        reason=text_sql("no value in the cursor field"),
        source=reading.source,
        column=text_sql(reading.field),
    )


def _refuse_nulls(reading: Reading, nulls: int, total: int) -> None:
    if nulls and reading.config.null_cursor == "fail":
        raise TerminalError(
            f"{nulls:,} of {total:,} records have no value in the cursor field {reading.field!r}, so it can't be told "
            "whether they are new; set null_cursor to 'skip' or 'dead_letter', or take another cursor_field"
        )


@dataclass(frozen=True)
class _Edges:
    """The limits of a reading as SQL over the columns at hand."""

    reading: Reading
    columns: Mapping[str, str]
    name: str
    type: str
    kind: Family

    @classmethod
    def of(cls, reading: Reading, columns: Mapping[str, str]) -> _Edges:
        from dataforge.components.sql import match_column

        try:
            name = match_column(columns, reading.field, "cursor_field")
        except ConfigError as error:
            raise error.under(*reading.place) from None
        if _ROW in map(str.lower, columns):
            raise TerminalError(f"a source that is read by a cursor can't have a column {_ROW!r}; give it another name")
        type_ = columns[name]
        kind = family(type_)
        if kind is None:
            message = f"the cursor field {name!r} is {type_}; a number, date, time or declared text is needed"
            raise ConfigError(Problem("type-mismatch", message, (*reading.place, "cursor_field"))) from None
        edges = cls(reading, columns, name, type_, kind)
        for position in (reading.before, reading.after):
            if position is not None and kind == "date" and family(position.type) == "time":
                # the day of the cursor would count as read, though it has records after the cursor's time
                raise edges._changed(position.value, position.type)
        return edges

    @property
    def column(self) -> str:
        return name_sql(self.name)

    # -- what is wanted

    @property
    def coarse(self) -> str:
        """A condition that every wanted record meets, told without looking at other records."""
        reading = self.reading
        if self.kind == "text" and not self._declared_text():
            return "true"  # the type of a column without values; with any, refuse_values tells what is wrong
        if reading.step.mode == "window":
            return self._within()
        parts = []
        lower, lower_type = reading.lower()
        if lower is not None:
            parts.append(self._compare(">=", lower, lower_type))
        if reading.step.mode == "repeat":
            after = reading.after
            parts.append(self._compare("<=", after.value, after.type) if after else "false")
            for window in reading.taken:
                inside = [self._compare(">=", window.start, window.type), self._compare("<", window.end, window.type)]
                parts.append(f"NOT ({' AND '.join(inside)})")
        wanted = " AND ".join(parts) or "true"
        return f"({wanted}) OR {self.column} IS NULL"

    def _within(self) -> str:
        if not is_time(self.kind):
            raise TerminalError(
                f"the cursor field {self.name!r} is {self.type}, no time, so it can't be told which records belong to "
                "a data interval: a backfill is not possible; run the pipeline as scheduled, or move the cursor back "
                "with 'dataforge cursor set'"
            )
        window = self.window()
        start, end = (self._literal(text, self.type) for text in (window.start, window.end))
        within = f"{self.column} >= {start} AND {self.column} < {end}"
        if not self.reading.below:
            return within
        if (before := self.reading.before) is not None:
            return f"{within} AND {self._compare('<=', before.value, before.type)}"
        initial = self.reading.config.initial_value
        return within if initial is None else f"{within} AND {self._compare('<', str(initial), '')}"

    def window(self) -> Window:
        """Return the data interval in terms of the column: clock readings are UTC, dates are their midnight in UTC."""
        start, end = self.reading.interval()
        if self.kind == "date":
            return Window(self.name, _first_date(start).isoformat(), _first_date(end).isoformat(), "DATE")
        zoned = is_zoned(self.type)
        type_ = "TIMESTAMPTZ" if zoned else "TIMESTAMP"
        return Window(self.name, _clock(start, zoned=zoned), _clock(end, zoned=zoned), type_)

    def refuse_values(self, con: DuckDBPyConnection, files: str, valued: int) -> None:
        """Raise where the values that are there can't be put in order."""
        if not valued:
            return
        if self.kind == "text" and not self._declared_text():
            if (before := self.reading.before) is not None and family(before.type) != "text":
                raise self._changed(before.value, before.type)
            (example,) = _row(con, f"SELECT any_value({self.column}) FROM {files}")
            raise TerminalError(
                f"the cursor field {self.name!r} is text, such as {str(example)[:40]!r}. Give it a type, such as "
                f'"columns": {{"{self.name}": "timestamptz"}}, or, where the texts themselves are in order, say so: '
                f'"columns": {{"{self.name}": "text"}}'
            )
        if self.kind in ("float", "time", "date"):
            odd = f"isinf({self.column})" + (f" OR isnan({self.column})" if self.kind == "float" else "")
            (count,) = _row(con, f"SELECT count(*) FILTER ({odd}) FROM {files}")
            if count:
                raise TerminalError(
                    f"{count:,} records have infinity or no number in the cursor field {self.name!r}; nothing could "
                    "come after them"
                )

    def _declared_text(self) -> bool:
        return any(column.lower() == self.name.lower() for column in self.reading.config.columns)

    # -- ties

    def drop(self, con: DuckDBPyConnection, files: str, table: str) -> int:
        """Note in a table the rows at the edges that are not wanted; return how many."""
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name_sql(table)} (n BIGINT)")
        reading = self.reading
        if not (reading.exact or reading.below):
            return 0
        if reading.below and reading.before is not None:
            self._drop(con, files, table, reading.before, ">")
        elif reading.before is not None:
            self._drop(con, files, table, reading.before, "<=")
        if reading.after is not None:
            self._drop(con, files, table, reading.after, ">")
        (count,) = _row(con, f"SELECT count(DISTINCT n) FROM {name_sql(table)}")
        return int(count)

    def _drop(self, con: DuckDBPyConnection, files: str, table: str, at: CursorPosition, unwanted: str) -> None:
        """Note those rows at a position whose number among the rows of the same digest is `unwanted`."""
        con.execute(
            "CREATE OR REPLACE TEMP TABLE known_ties AS SELECT digest, count(*) AS times "
            "FROM (SELECT unnest($1::VARCHAR[]) AS digest) GROUP BY digest",
            [list(at.ties)],
        ).fetchall()
        con.execute(
            f"INSERT INTO {name_sql(table)} SELECT n FROM (SELECT {_ROW} AS n, digest, row_number() OVER "
            f"(PARTITION BY digest ORDER BY {_ROW}) AS number FROM (SELECT {_ROW}, {self._digest()} AS digest "
            f"FROM {files} WHERE {self._compare('=', at.value, at.type)})) "
            f"LEFT JOIN known_ties USING (digest) WHERE number {unwanted} coalesce(times, 0)"
        ).fetchall()

    def _digest(self) -> str:
        """SQL for the MD5 of a record: its values by name, without nulls, a number or instant alike in every type."""
        parts = []
        for column in sorted(self.columns):
            text = f"CAST({name_sql(column)} AS VARCHAR)"
            kind = family(self.columns[column])
            if kind in ("decimal", "float"):
                text = (
                    f"CASE WHEN contains({text}, '.') AND NOT contains({text}, 'e') "
                    f"THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
                )
            elif is_time(kind):
                text = f"regexp_replace(regexp_replace({text}, '\\+00$', ''), ' 00:00:00$', '')"
            head = text_sql(json.dumps(column, ensure_ascii=False) + ":")
            parts.append(
                f"CASE WHEN {name_sql(column)} IS NOT NULL THEN {head} || CAST(to_json({text}) AS VARCHAR) END"
            )
        return f"md5(concat_ws(',', {', '.join(parts)}))"

    # -- where the cursor goes

    def step(self, con: DuckDBPyConnection, view: str, rows: int) -> CursorStep:
        """Return the step that reading the rows of the view makes."""
        reading = self.reading
        if reading.step.mode == "window":
            return replace(reading.step, window=self.window())
        if reading.step.mode == "repeat":
            return reading.step
        after = dict(reading.step.before)
        if (position := self._position(con, view, rows)) is not None:
            after[reading.source] = position
        return CursorStep("advance", reading.step.before, after)

    def _position(self, con: DuckDBPyConnection, view: str, rows: int) -> CursorPosition | None:
        before = self.reading.before
        if not rows:
            return before
        (greatest,) = _row(con, f"SELECT CAST(max({self.column}) AS VARCHAR) FROM {name_sql(view)}")
        if before is not None:
            above = self._compare(">", before.value, before.type)
            (further,) = _row(con, f"SELECT count(*) FILTER ({above}) FROM {name_sql(view)}")
            if not further:
                ties = self._ties(con, view, before.value, before.type, before.ties)
                return CursorPosition(before.field, before.value, before.type, ties)
        return CursorPosition(self.name, greatest, self.type, self._ties(con, view, greatest, self.type, ()))

    def _ties(
        self, con: DuckDBPyConnection, view: str, value: str, type_: str, known: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the digests of the known and the read records with that value, each as often as there are such."""
        if not self.reading.exact:
            return ()
        where = f"FROM {name_sql(view)} WHERE {self._compare('=', value, type_)}"
        (count,) = _row(con, f"SELECT count(*) {where}")
        if len(known) + count > MAX_TIES:
            raise TerminalError(
                f"{len(known) + count:,} records have the same, greatest value {value!r} in the cursor field "
                f"{self.name!r}; at most {MAX_TIES:,} can be told apart; {_FINER}"
            )
        found = con.execute(f"SELECT {self._digest()} {where}").fetchall()
        return tuple(sorted([*known, *(digest for (digest,) in found)]))

    # -- comparing

    def _compare(self, operator: str, text: str, type_: str) -> str:
        """SQL that compares the column with a text of another type of the same kind; TerminalError where none is."""
        kind = family(type_) if type_ else self.kind
        if kind == self.kind and type_.upper() == self.type.upper():
            return f"{self.column} {operator} {self._literal(text, self.type)}"
        if (is_number(kind) and is_number(self.kind)) or kind == self.kind == "text":
            return f"{self.column} {operator} {self._number_or_text(text)}"
        if is_time(kind) and is_time(self.kind):
            # as clock readings in UTC: a date is its midnight
            other = self._literal(_clock(self._parsed(text), zoned=False), "TIMESTAMP")
            return f"CAST({self.column} AS TIMESTAMP) {operator} {other}"
        raise self._changed(text, type_)

    def _changed(self, text: str, type_: str) -> TerminalError:
        return TerminalError(
            f"the cursor stands at {text!r} ({type_}), but the cursor field {self.name!r} is {self.type} now, so it "
            "can't be told which records are new; give the field its type under 'columns', or say from where on it is "
            "read: 'dataforge cursor set' with the new --type, or 'dataforge cursor reset' for all records"
        )

    def _parsed(self, text: str) -> datetime:
        try:
            return parse_instant(text)
        except ValueError as error:
            raise self._misfit(error) from None

    def _number_or_text(self, text: str) -> str:
        if self.kind == "text":
            return text_sql(text)
        if self.kind == "float":
            return f"CAST({text_sql(text)} AS DOUBLE)"
        try:
            value = parse_number(text)
        except ValueError as error:
            raise self._misfit(error) from None
        if isinstance(value, int):
            return f"CAST({text_sql(str(value))} AS {'BIGINT' if abs(value) < 1 << 63 else 'HUGEINT'})"
        digits = format(value, "f").lstrip("-")
        scale = len(digits.partition(".")[2])
        width = min(38, max(len(digits.replace(".", "")), scale + 1))
        if scale >= 38:
            return f"CAST({text_sql(text)} AS DOUBLE)"
        return f"CAST({text_sql(format(value, 'f'))} AS DECIMAL({width},{scale}))"

    def _misfit(self, error: ValueError) -> ConfigError | TerminalError:
        if self.reading.before is None and self.reading.step.mode == "advance":
            message = f"{error}; the cursor field {self.name!r} is {self.type}"
            return ConfigError(Problem("invalid-value", message, (*self.reading.place, "initial_value")))
        return TerminalError(f"the cursor of {self.name!r} can't be read: {error}; see 'dataforge cursor show'")

    def _literal(self, text: str, type_: str) -> str:
        return f"CAST({text_sql(text)} AS {type_})"


# ---- Several sources


def merge(steps: Iterable[CursorStep | None]) -> CursorStep | None:
    """Return one step of the steps that the sources of a run made; None when none has a cursor.

    FencedError when the sources saw different states, since another load was committed between them: they must be read
    again. TerminalError for a backfill whose sources have different cursor fields.
    """
    found = [step for step in steps if step is not None]
    if not found:
        return None
    first = found[0]
    if any(replace(step, after={}, window=None) != replace(first, after={}, window=None) for step in found):
        raise FencedError("fenced off: another load was committed while the sources were read; they must be read again")
    windows = {step.window for step in found}
    if len(windows) > 1:
        fields = ", ".join(sorted(repr(window.field) for window in windows if window is not None))
        raise TerminalError(
            f"the sources have different cursor fields ({fields}), so it can't be told which rows of the target belong "
            "to the data interval: a backfill is not possible"
        )
    after: dict[str, CursorPosition] = dict(first.before) if first.mode == "advance" else dict(first.after)
    for step in found:
        after |= {name: position for name, position in step.after.items() if position != first.before.get(name)}
    return replace(first, after=after)


# ---- Small things


def _row(con: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    # all rows, though there is one: a result that is not read to its end keeps the connection from other work
    (found,) = con.execute(sql).fetchall()
    return tuple(found)


def _clock(instant: datetime, *, zoned: bool) -> str:
    """Return an instant as DuckDB's text in UTC."""
    text = instant.astimezone(timezone.utc).replace(tzinfo=None).isoformat(sep=" ")
    return f"{text}+00" if zoned else text


def _first_date(instant: datetime) -> date:
    """Return the first date whose midnight in UTC is not before the instant."""
    day = instant.astimezone(timezone.utc)
    return day.date() if day.time() == datetime.min.time() else day.date() + timedelta(days=1)
