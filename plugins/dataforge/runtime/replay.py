"""Dead letters taken back in: each goes through the rest of the pipeline, and all that come out are loaded in one load.

A record that a type rejected is typed anew, with the types that the config gives now; one that a step rejected begins
at that step; one that a check, contract, key or the target rejected begins behind the last step. What is rejected again
becomes a dead letter of the replay. The load's run is named after the letters, and marks them as replayed in the
transaction that writes the rows, so that a replay takes effect exactly once.

Steps that look at many rows (aggregate, deduplicate, join, …) make no sense of one row without the others: a letter
that would have to pass one is refused, and has to be corrected in its source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.base import Files, JsonValue, RowWise
from dataforge.components.database import quote_identifier as name_sql
from dataforge.components.database import quote_literal as text_sql
from dataforge.components.delivery import DeadLetter
from dataforge.config.pipeline import DeadLetters, PipelineConfig
from dataforge.errors import ConfigError, TerminalError
from dataforge.observability.log import timed
from dataforge.runtime import ledgers, rejects
from dataforge.runtime.compile import Plan, compile
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import connect_for
from dataforge.runtime.landing import land, sql_type
from dataforge.runtime.load import ParquetRows, load
from dataforge.runtime.sieve import Misfits, told, unfit
from dataforge.runtime.strain import is_row_wise
from dataforge.runtime.transform import make

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PREFIX = "replay__"
MOST = 10_000
"""Dead letters of a destination that are taken back in at a time, where nobody says which."""
_RECORD = '"dataforge record"'


@dataclass(frozen=True)
class _Group:
    """Letters that take the same way: from the step `start` on, as records of the relation `source`."""

    stage: str
    source: str
    start: int
    types: str
    letters: tuple[DeadLetter, ...]


def run_id(letters: Sequence[DeadLetter]) -> str:
    """Return the run that replays exactly these letters: the same whenever they are replayed together."""
    return PREFIX + _digest(letters)[:16]


def replay(
    config: PipelineConfig, letters: Sequence[DeadLetter], context: TaskContext, *, index: int = 0
) -> list[dict[str, JsonValue]]:
    """Take kept dead letters of the destination at `index` back in; return its load report as the one item of a list.

    The letters are those of one pipeline's ledger, none replayed yet. TerminalError for one that can't be replayed.
    """
    if not letters:
        return []
    _refuse_replayed(letters)
    if config.outputs[index].write_disposition == "replace":
        _refuse_replaced(config, letters, context, index)
    values = replace(context.values, run_id=run_id(letters))
    context = replace(context, run_id=run_id(letters), values=values)
    config = _adding(config, index)
    with (
        timed("replay", dag_id=config.dag_id, run_id=context.run_id, letters=len(letters)) as done,
        context.scratch() as scratch,
        closing(connect_for(config, context, scratch, ())) as con,
    ):
        parts: list[Path] = []
        aside: list[Path] = []
        for number, group in enumerate(_groups(config, once_each(letters))):
            folder = scratch / f"group-{number}"
            folder.mkdir()
            made, found = _through(config, con, group, folder, context)
            parts.append(made)
            aside += found
        rows = ParquetRows((_together(con, parts, scratch / "result.parquet"),))
        rejected = rejects.read(aside)
        report = load(
            config,
            index,
            rows,
            context,
            scratch,
            None,
            digest=_digest(letters),
            rejects=rejected,
            rows_read=len(letters),
            replays=tuple(sorted(letter.id for letter in letters)),
        )
        done(rows=report.rows, rejected=len(rejected), target=report.target)
    return [asdict(report)]


def replay_pending(config: PipelineConfig, context: TaskContext, ids: Sequence[str] = ()) -> tuple[int, int]:
    """Take dead letters of all destinations back in: those of the ids, or all that were not replayed yet.

    Return how many, and how many records of them were set aside again. Those of loads that were taken back are left
    out, since the next run reads their records again. TerminalError when there is none of the ids to replay.
    """
    replayed = rejected = 0
    for index in ledgers.accountable(config):
        with ledgers.opened(config, index, context) as ledger:
            letters = ledger.dead_letters(pending=True, ids=ids, limit=MOST)
        gone = taken_back(config, index, context, letters)
        letters = [letter for letter in letters if letter.run_id not in gone]
        reports = replay(config, letters, context, index=index)
        replayed += len(letters)
        rejected += sum(int(report["rejected"]) for report in reports)
    if ids and not replayed:
        raise TerminalError("none of these dead letters can be replayed: they were before, or their load was undone")
    return replayed, rejected


def taken_back(config: PipelineConfig, index: int, context: TaskContext, letters: Sequence[DeadLetter]) -> set[str]:
    """Return the runs of these letters whose loads were undone."""
    with ledgers.opened(config, index, context) as ledger:
        return {run for run in {letter.run_id for letter in letters} if ledger.load(run) is None}


def _digest(letters: Sequence[DeadLetter]) -> str:
    return hashlib.sha256("\n".join(sorted(letter.id for letter in letters)).encode()).hexdigest()


def _refuse_replayed(letters: Sequence[DeadLetter]) -> None:
    done = [letter for letter in letters if letter.replayed_by]
    if done:
        raise TerminalError(
            f"{_named(done)} replayed before, by {done[0].replayed_by!r}; a dead letter is taken back in only once"
        )


def _refuse_replaced(config: PipelineConfig, letters: Sequence[DeadLetter], context: TaskContext, index: int) -> None:
    """Letters of a run whose rows a later run replaced have no place beside that run's rows."""
    with ledgers.opened(config, index, context) as ledger:
        loads = (one for one in ledger.loads() if one.undone_at is None and not one.run_id.startswith(PREFIX))
        newest = next(loads, None)
    late = [letter for letter in letters if newest is None or letter.run_id != newest.run_id]
    late = [letter for letter in late if not letter.run_id.startswith(PREFIX)]
    if late:
        raise TerminalError(
            f"{_named(late)} set aside by run {late[0].run_id!r}, whose rows a later run replaced; only dead letters "
            "of the newest run can be replayed where write_disposition is 'replace'"
        )


def _named(letters: Sequence[DeadLetter]) -> str:
    shown = ", ".join(letter.id for letter in letters[:5])
    many = f" and {len(letters) - 5:,} more were" if len(letters) > 5 else " were" if len(letters) > 1 else " was"
    return f"dead letter{'s' if len(letters) > 1 else ''} {shown}{many}"


def _adding(config: PipelineConfig, index: int) -> PipelineConfig:
    """The config of the load: it adds to what is there, and keeps whatever is rejected again."""
    target = config.outputs[index]
    if target.write_disposition == "replace":
        target = target.model_copy(update={"write_disposition": "append"})
    outputs = (*config.outputs[:index], target, *config.outputs[index + 1 :])
    return config.model_copy(
        update={
            "destination": outputs if isinstance(config.destination, tuple) else target,
            "dead_letters": DeadLetters(max_share=1, max_rows=1_000_000),
        }
    )


def once_each(letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Return the letters without those that tell of a record again, as a backfill or another full read does.

    A record counts as often as the run that rejected it most often did so: twins within a run are two records.
    """
    by_record: dict[tuple[str, int, str, str], dict[str, list[DeadLetter]]] = {}
    for letter in letters:
        reject = letter.reject
        runs = by_record.setdefault((reject.stage, reject.step, reject.source, reject.record), {})
        runs.setdefault(letter.run_id, []).append(letter)
    return [letter for runs in by_record.values() for letter in max(runs.values(), key=len)]


def _groups(config: PipelineConfig, letters: Sequence[DeadLetter]) -> Iterator[_Group]:
    found: dict[tuple[str, str, int, str], list[DeadLetter]] = {}
    last = len(config.transforms)
    for letter in letters:
        reject = letter.reject
        if reject.stage == "extract":
            key = ("extract", reject.source, 0, reject.types)
        elif reject.stage == "transform":
            if reject.step >= last:
                raise TerminalError(
                    f"{_named([letter])} set aside by step {reject.step + 1}; the pipeline has only {last} now"
                )
            key = ("transform", reject.source, reject.step, reject.types)
        else:
            key = ("result", reject.source or "result", last, reject.types)
        found.setdefault(key, []).append(letter)
    for (stage, source, start, types), some in found.items():
        yield _Group(stage, source, start, types, tuple(some))


def _through(
    config: PipelineConfig, con: DuckDBPyConnection, group: _Group, folder: Path, context: TaskContext
) -> tuple[Path, list[Path]]:
    """Take a group through the rest of the pipeline; return the part with the rows, and the parts rejected again."""
    columns, parts = _typed(config, con, group, folder)
    rest = _rest(config, group)
    try:
        plan = compile(rest, {group.source: columns}, context.values, context.for_transforms())
    except ConfigError as error:
        raise TerminalError(f"the rest of the pipeline can't take the records of {group.source!r}: {error}") from None
    _refuse_many(plan, group.start)
    made = make(rest, con, plan, folder, folder, context, len(group.letters), parts, first=group.start)
    return made.part, list(made.rejects)


def _rest(config: PipelineConfig, group: _Group) -> PipelineConfig:
    """The pipeline from where the group comes in, with the group's relation as its only source."""
    first = next(iter(config.inputs))
    if group.stage == "extract" and group.source not in config.inputs:
        raise TerminalError(f"the pipeline has no source {group.source!r} any more")
    steps = list(config.transforms[group.start :])
    reads = (steps[0].input or first) if steps else first
    if group.stage == "extract" and reads != group.source:
        raise TerminalError(
            f"records of the source {group.source!r} only come in together with others; correct them in the source"
        )
    if steps:
        steps[0] = steps[0].model_copy(update={"input": None})
    source = config.inputs[group.source if group.stage == "extract" else first]
    return config.model_copy(update={"source": None, "sources": {group.source: source}, "transforms": tuple(steps)})


def _refuse_many(plan: Plan, start: int) -> None:
    for step in plan.steps:
        before = plan.steps[step.index - 1].name if step.index else next(iter(plan.inputs))
        if step.reads != (before,) or not (is_row_wise(step.query) or isinstance(step.component, RowWise)):
            raise TerminalError(
                f"transforms/{start + step.index} ({step.type}) looks at more than one row, or at other inputs, so a "
                "record can't go through it alone; correct the record in its source and run the pipeline anew"
            )


# --------------------------------------------------------------------------------------------------- records as columns


def _typed(
    config: PipelineConfig, con: DuckDBPyConnection, group: _Group, folder: Path
) -> tuple[dict[str, str], list[Path]]:
    """Make a view of the group's records, typed; return its columns, and the part with those that do not fit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [_fields(letter) for letter in group.letters]
    types: dict[str, str] = json.loads(group.types) if group.types else {}
    overridden: set[str] = set()
    names = list(dict.fromkeys([*(name for record in records for name in record), *types]))
    if group.stage == "extract":
        if not group.types:
            raise TerminalError(f"{_named(group.letters)} no record that could be read; correct it in its source")
        overrides = config.inputs[group.source].columns if group.source in config.inputs else {}
        overridden = set(overrides)
        types |= {name: sql_type(name, text) for name, text in overrides.items()}
        names += [name for name in types if name not in names]
    elif not types:
        types = _inferred(con, group, folder)
    # where the config asks for JSON, it is the text of the value that is read as such; elsewhere it is the value itself
    whole = {name for name, type_ in types.items() if type_ == "JSON" and name not in overridden}
    texts = {
        name: pa.array([_text(record.get(name), whole=name in whole) for record in records], pa.string())
        for name in names
    }
    table = pa.table({**texts, _RECORD.strip('"'): pa.array([letter.reject.record for letter in group.letters])})
    path = folder / "records.parquet"
    pq.write_table(table, path)
    read = f"read_parquet({text_sql(str(path))})"
    bad = Misfits(
        {
            name: (_unfit(con, name_sql(name), types[name]), told(name, name_sql(name), types[name]))
            for name in names
            if types.get(name, "VARCHAR") not in ("VARCHAR", "TEXT")
        }
    )
    parts = []
    rows = f"SELECT * FROM {read} WHERE {bad.any}"
    count = con.execute(f"SELECT count(*) FROM ({rows})").fetchone()
    if count and count[0]:
        parts.append(rejects.next_part(folder))
        rejects.write_rows(
            con,
            parts[0],
            rows,
            dict.fromkeys(names, "VARCHAR"),
            stage=group.stage if group.stage != "result" else "check",
            reason=bad.reason,
            column=bad.column,
            source=group.source,
            step=group.start,
            record=_RECORD,
            types=types,
        )
    values = {name: _value(con, name_sql(name), types.get(name, "VARCHAR")) for name in names}
    items = ", ".join(f"{value} AS {name_sql(name)}" for name, value in values.items())
    con.execute(f"CREATE OR REPLACE VIEW {name_sql(group.source)} AS SELECT {items} FROM {read} WHERE NOT ({bad.any})")
    described = con.execute(f"DESCRIBE SELECT * FROM {name_sql(group.source)}").fetchall()
    return {row[0]: row[1] for row in described}, parts


def _fields(letter: DeadLetter) -> dict[str, Any]:
    """Return the record's values, numbers with the digits they were written with."""
    found = json.loads(letter.reject.record, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    if not isinstance(found, dict):
        raise TerminalError(f"{_named([letter])} no record of columns; correct it in its source")
    return found


class _Number(str):
    """A number as it stands in the JSON text."""

    __slots__ = ()


def _text(value: Any, *, whole: bool) -> str | None:
    """The value as a text to cast: a text itself, all else as JSON; `whole` for texts as JSON too."""
    if value is None or (isinstance(value, str) and not whole):
        return None if value is None else str(value)
    return _dumped(value)


def _dumped(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_dumped(item)}" for name, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_dumped, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _inferred(con: DuckDBPyConnection, group: _Group, folder: Path) -> dict[str, str]:
    """The types that the values of the records show, for letters that came without."""
    path = folder / "records.ndjson"
    path.write_text("".join(f"{letter.reject.record}\n" for letter in group.letters), encoding="utf-8")
    return land(con, "untyped records", Files("json", (path,)), scratch=folder).columns


def _value(con: DuckDBPyConnection, text: str, type_: str) -> str:
    """SQL for a text of a record as the type it is to have; NULL where it is none."""
    if type_ in ("VARCHAR", "TEXT"):
        return text
    kind = str(con.sqltype(type_).id)
    if kind == "blob":
        return f"TRY(from_base64({text}))"
    if kind in ("list", "array", "struct", "map", "union"):
        return f"TRY_CAST(TRY_CAST({text} AS JSON) AS {type_})"
    return f"TRY_CAST({text} AS {type_})"


def _unfit(con: DuckDBPyConnection, text: str, type_: str) -> str:
    if str(con.sqltype(type_).id) in ("blob", "list", "array", "struct", "map", "union"):
        return f"({text} IS NOT NULL AND {_value(con, text, type_)} IS NULL)"
    return unfit(text, "VARCHAR", type_)


def _together(con: DuckDBPyConnection, parts: Sequence[Path], path: Path) -> Path:
    """Write all rows as one part: columns that a group lacks are null there."""
    import duckdb

    listed = ", ".join(text_sql(str(part)) for part in parts)
    try:
        con.execute(
            f"COPY (SELECT * FROM read_parquet([{listed}], union_by_name = true)) TO {text_sql(str(path))} "
            "(FORMAT parquet)"
        )
    except duckdb.Error as error:
        raise TerminalError(
            f"the dead letters have columns of different types and can't be loaded together ({error}); replay them "
            "run by run"
        ) from None
    return path
