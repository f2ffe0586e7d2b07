"""`export`: one pipeline as the source of one TaskFlow module that needs Airflow and DuckDB, and nothing of ours."""

from __future__ import annotations

import ast
import builtins
import keyword
from collections.abc import Mapping
from dataclasses import dataclass

from dataforge.components.base import Relation
from dataforge.components.database import quote_identifier
from dataforge.components.registry import CHECKS
from dataforge.config.pipeline import (
    AllAssets,
    AnyAsset,
    AssetExpression,
    DefaultArgs,
    Param,
    PipelineConfig,
    interval,
)
from dataforge.errors import ConfigError, Problem
from dataforge.exports.columns import Known
from dataforge.exports.python import WIDTH, block, docstring, duration, instant, literal, sql
from dataforge.exports.python import name as as_name
from dataforge.exports.python import words as as_words
from dataforge.exports.reading import Read, reading
from dataforge.exports.values import Variables, variables
from dataforge.exports.writing import Write, writing
from dataforge.runtime.compile import ArrowSegment, Plan, compile, scope
from dataforge.runtime.values import resolve
from dataforge.settings import get_settings

RESULT = "result"
_TAKEN = frozenset(
    (
        *keyword.kwlist,
        *dir(builtins),
        *("closing", "dag", "database", "duckdb", "get_current_context", "json", "log", "logging", "pendulum"),
        *("run_name", "run_values", "shutil", "task", "timedelta", "work_file"),
        *("AirflowFailException", "Asset", "AssetAll", "AssetAny", "BaseHook", "CronDataIntervalTimetable"),
        *("DeltaDataIntervalTimetable", "Param", "Path", "PostgresHook", "Variable"),
    )
)
"""Names that a module uses; besides them, its constants are in capitals."""
_PARAM_FORMATS = {"date": ("string", "date"), "datetime": ("string", "date-time")}


_ORIGIN = (
    "Written by `dataforge export` from the pipeline {dag_id!r}. It needs Apache Airflow 3 and duckdb, and nothing of "
    "DataForge; edit it as you like."
)
_AT_LEAST_ONCE = (
    "Exactly once: no marker is committed with the rows, no digest of what passes between tasks is checked. A task "
    "that died after its commit does its work again."
)
_RUN_NAME = '''def run_name() -> str:
    """Return the run's id as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in get_current_context()["run_id"])'''
_WORK_FILE = '''def work_file(name: str) -> Path:
    """Return where this run keeps the rows of that name between its tasks."""
    folder = WORK_FOLDER / {dag_id} / run_name()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{{name}}.parquet"'''
_RUN_VALUES = '''def run_values() -> dict[str, object]:
    """Return what the SQL and the paths of this run refer to."""
    context = get_current_context()
    return {{
{lines}    }}'''
_DATABASE = '''def database(**values: object) -> duckdb.DuckDBPyConnection:
    """Return DuckDB in memory; its SQL gets at the values, and at those of the run, by getvariable()."""
    con = duckdb.connect(config={{{limits}}})
    con.execute("SET TimeZone = 'UTC'")
    for name, value in {values}.items():
        con.execute(f'SET VARIABLE "{{name}}" = ?', [value])
    return con'''


@dataclass(frozen=True)
class Exported:
    """A module's source; `notes` are what it does differently, `missing` the parts that a person must write."""

    dag_id: str
    text: str
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def export(config: PipelineConfig, known: Mapping[str, Known]) -> Exported:
    """Return the module of a pipeline; ConfigError when a transform is Python from a package.

    `known` is what is known of the sources by name. The module compiles, but imports nothing of DataForge.
    """
    _refuse_alike(config)
    found = variables(config)
    typed = {name: known[name].columns for name in config.inputs}
    sized = {name: columns if columns and all(columns.values()) else None for name, columns in typed.items()}
    plan = compile(config, sized, found.values)
    if any(isinstance(segment, ArrowSegment) for segment in plan.segments):
        raise ConfigError(
            Problem("not-exportable", "a transform in Python has no SQL", ("transforms",), "leave it out to export")
        )
    reads = {name: reading(name, source, known[name], found) for name, source in config.inputs.items()}
    several = isinstance(config.destination, tuple)
    writes = [
        writing(index + 1 if several else 0, target, plan.columns, found) for index, target in enumerate(config.outputs)
    ]
    return _Module(config, plan, found, reads, writes).exported()


def _refuse_alike(config: PipelineConfig) -> None:
    """Raise ConfigError for two sources whose names are the same as names in Python."""
    known: dict[str, str] = {}
    for name in config.inputs:
        other = known.setdefault(as_name(name).upper(), name)
        if other != name:
            message = f"the sources {other!r} and {name!r} would have the same name in Python"
            raise ConfigError(Problem("not-exportable", message, ("sources", name), "rename one of them to export"))


class _Module:
    """The parts of one module."""

    def __init__(
        self, config: PipelineConfig, plan: Plan, found: Variables, reads: Mapping[str, Read], writes: list[Write]
    ) -> None:
        self.config, self.plan, self.variables, self.reads, self.writes = config, plan, found, reads, writes
        self.cursors = {name: source for name, source in config.inputs.items() if source.cursor_field}

    def exported(self) -> Exported:
        checks = self._checks()
        constants = [
            *(read.constant for read in self.reads.values() if read.constant),
            *([f"TRANSFORM = {sql(self._transform())}"] if self.config.transforms else []),
            *([checks] if checks else []),
            *(write.constant for write in self.writes if write.constant),
            *(f"CURSOR_{as_name(n).upper()} = {literal(f'{self.config.dag_id}.{n}.cursor')}" for n in self.cursors),
        ]
        constant, dag = "\n\n".join(constants), self._dag()
        functions = self._functions(f"{constant}\n{dag}")
        body = "\n\n\n".join([constant, "\n\n\n".join(functions), dag])
        notes, missing = self._notes(), self._missing()
        text = "\n\n".join([self._docstring(notes, missing), self._imports(body), self._folders(body), body]) + "\n"
        ast.parse(text)
        return Exported(self.config.dag_id, text, tuple(notes), tuple(missing))

    # ---- Above the DAG

    def _docstring(self, notes: list[str], missing: list[str]) -> str:
        paragraphs = [
            f"{self.config.dag_id}: {self.config.description}" if self.config.description else f"{self.config.dag_id}.",
            _ORIGIN.format(dag_id=self.config.dag_id),
        ]
        if missing:
            paragraphs += ["To be written by hand; until then these tasks fail:", *(f"- {one}" for one in missing)]
        paragraphs.append("What DataForge did besides, and this file does not:")
        return docstring([*paragraphs, *(f"- {note}" for note in notes)])

    def _notes(self) -> list[str]:
        config = self.config
        notes = [
            _AT_LEAST_ONCE,
            "Circuit breakers, fences against a second run of the same target, rollback and undo, lineage and metrics.",
        ]
        if config.dead_letters or any(check.severity == "reject" for check in config.checks):
            notes.append("Dead letters: a record that does not fit, or breaks a check, fails the run.")
        if config.schema_contract or any(target.schema_contract for target in config.outputs):
            notes.append("Schema contracts: a new or changed column is not added, dropped or refused by a rule.")
        else:
            notes.append("Columns that are new in the source are not added to a table that is there.")
        fixed = self.variables.fixed
        notes += [f"The parameter {name} is a boolean whose default is written into the SQL." for name in fixed]
        for read in self.reads.values():
            notes += read.notes
        for write in self.writes:
            notes += write.notes
        return notes

    def _missing(self) -> list[str]:
        found = [f"extract {name}: {read.missing}." for name, read in self.reads.items() if read.missing]
        return found + [f"{self._load_name(i)}: {one.missing}." for i, one in enumerate(self.writes) if one.missing]

    def _imports(self, body: str) -> str:
        plain = {"import logging"} if "log." in body else set()
        plain |= {"import shutil"} if "shutil." in body else set()
        plain |= {"from datetime import timedelta"} if "timedelta(" in body else set()
        plain |= {"from pathlib import Path"}
        others = {"import duckdb"} | ({"import pendulum"} if "pendulum." in body else set())
        sdk = ["dag", "get_current_context", "task"]
        names = ("Asset", "AssetAll", "AssetAny", "CronDataIntervalTimetable", "DeltaDataIntervalTimetable", "Param")
        sdk += [name for name in (*names, "Variable") if f"{name}(" in body or f"{name}." in body]
        others.add(f"from airflow.sdk import {', '.join(sorted(sdk, key=lambda n: (n[0].islower(), n)))}")
        if "AirflowFailException" in body:
            others.add("from airflow.sdk.exceptions import AirflowFailException")
        for line in (line for part in (self.reads.values(), self.writes) for one in part for line in one.imports):
            (others if "airflow" in line else plain).add(line)
        order = lambda line: (line.startswith("from"), line.split()[1], line)
        first, then = sorted(plain, key=order), sorted(others, key=order)
        return "\n".join(["from __future__ import annotations", "", *first, "", *then])

    def _folders(self, body: str) -> str:
        settings = get_settings()
        lines = ["log = logging.getLogger(__name__)", ""] if "log." in body else []
        if "DATA_FOLDER" in body:
            lines.append(f"DATA_FOLDER = Path({literal(str(settings.configs_folder))})")
        if "OUTPUT_FOLDER" in body:
            lines.append(f"OUTPUT_FOLDER = Path({literal(str(settings.output_folder))})")
        work = settings.output_folder.parent / "work"
        lines += [
            f"WORK_FOLDER = Path({literal(str(work))})",
            "# Between the tasks rows wait in WORK_FOLDER as Parquet files: every worker must reach it there.",
        ]
        return "\n".join(lines)

    def _transform(self) -> str:
        segment = self.plan.segments[-1]
        assert not isinstance(segment, ArrowSegment)
        return self.variables.in_sql(segment.query)

    def _checks(self) -> str:
        entries = []
        relation = Relation(RESULT, self.plan.columns)
        for config in self.config.checks:
            check = CHECKS.build(resolve(config, self.variables.values))
            query = check.queries(relation, scope(self.config, self.variables.values)).count
            says = f"{config.type}: {check.__class__.__doc__ or ''}".split("\n")[0].strip().rstrip(".")
            columns = getattr(config, "columns", None) or getattr(config, "column", None)
            shown = f" ({', '.join([columns] if isinstance(columns, str) else columns)})" if columns else ""
            severity = "warn" if config.severity == "warn" else "fail"
            text = sql(self.variables.in_sql(query))
            entries.append(f"(\n    {literal(says + shown)},\n    {literal(severity)},\n{block(text)},\n),")
        return "CHECKS = [\n" + block("\n".join(entries)) + "\n]" if entries else ""

    def _functions(self, body: str) -> list[str]:
        """Return the functions that the tasks call, those that are called."""
        limits = f'"memory_limit": "{get_settings().memory_limit_mb}MiB", "threads": {get_settings().threads}'
        values = "{**run_values(), **values}" if self.variables.used(body) else "values"
        return [
            _RUN_NAME,
            _WORK_FILE.format(dag_id=literal(self.config.dag_id)),
            *self._run_values(body),
            _DATABASE.format(limits=limits, values=values),
        ]

    def _run_values(self, body: str) -> list[str]:
        used = self.variables.used(body)
        lines = "".join(f"        {literal(one.name)}: {one.python},\n" for one in used)
        return [_RUN_VALUES.format(lines=lines)] if used else []

    # ---- The DAG

    def _dag(self) -> str:
        config = self.config
        arguments = {"dag_id": literal(config.dag_id)}
        if config.description:
            arguments["description"] = literal(config.description)
        arguments["schedule"] = _schedule(config)
        if config.start_date:
            arguments["start_date"] = instant(config.start_date, config.timezone)
        if config.end_date:
            arguments["end_date"] = instant(config.end_date, config.timezone, end=True)
        arguments["catchup"] = literal(config.catchup)
        arguments["max_active_runs"] = literal(config.max_active_runs)
        if config.tags:
            arguments["tags"] = literal(sorted(set(config.tags)))
        if config.params:
            items = ",\n".join(f"    {literal(name)}: {_param(param)}" for name, param in config.params.items())
            arguments["params"] = f"{{\n{block(items)},\n    }}"
        defaults = _defaults(config.default_args, config.owner)
        items = ",\n".join(f"    {literal(name)}: {value}" for name, value in defaults.items())
        arguments["default_args"] = f"{{\n{block(items)},\n    }}"
        header = "@dag(\n" + "".join(f"    {name}={value},\n" for name, value in arguments.items()) + ")"
        name = as_name(config.dag_id)
        name = f"{name}_dag" if name in _TAKEN or name.isupper() else name
        tasks = [*(self._extract(one) for one in config.inputs), self._transform_task()]
        tasks += [self._load(index) for index in range(len(config.outputs))]
        tasks += [self._finish()]
        return f"{header}\ndef {name}() -> None:\n{block(chr(10).join(tasks))}\n{block(self._wiring())}\n\n\n{name}()"

    def _extract(self, name: str) -> str:
        source = self.config.inputs[name]
        assets = _assets(source.asset(), "inlets")
        says = f"Read the source {name}" if self.config.sources else "Read the source"
        body = f"target = work_file({literal(name)})\n{self.reads[name].body}\nreturn str(target)"
        if self.reads[name].missing:
            body = self.reads[name].body
        return _task(
            assets, f"{self._extract_name(name)}() -> str", f"{says}; return the Parquet file of its rows.", body
        )

    def _extract_name(self, name: str) -> str:
        return "extract" if self.config.source else f"extract_{as_name(name)}"

    def _transform_task(self) -> str:
        views = [
            "with database(**files) as con:",
            "    for name in files:",
            '        con.execute(f"CREATE VIEW \\"{name}\\" AS FROM read_parquet(getvariable(\'{name}\'))")',
        ]
        query = "{TRANSFORM}" if self.config.transforms else f'FROM \\"{next(iter(self.config.inputs))}\\"'
        views.append(f'    con.execute(f"COPY ({query}) TO $target (FORMAT parquet)", {{"target": str(target)}})')
        if self.config.checks:
            views += [
                '    con.read_parquet(str(target)).create_view("result")',
                "    for says, severity, query in CHECKS:",
                "        violations, checked = con.execute(query).fetchone()",
                '        if violations and severity == "fail":',
                '            raise AirflowFailException(f"{says}: {violations} of {checked} rows break it")',
                "        if violations:",
                '            log.warning("%s: %s of %s rows break it", says, violations, checked)',
            ]
        body = "\n".join(['target = work_file("result")', *views, "return str(target)"])
        says = "Run the SQL over the rows of the sources" + (", check the result" if self.config.checks else "")
        return _task("", "transform(files: dict[str, str]) -> str", f"{says}; return its Parquet file.", body)

    def _load_name(self, index: int) -> str:
        return f"load_{index + 1}_{self.config.outputs[index].type}" if len(self.writes) > 1 else "load"

    def _load(self, index: int) -> str:
        target = self.config.outputs[index]
        assets = _assets(target.asset(), "outlets")
        place = getattr(target, "table", None) or getattr(target, "path", None) or target.type
        says = f"Write the result to {as_words(place)}: {target.write_disposition}."
        return _task(assets, f"{self._load_name(index)}(file: str) -> None", says, self.writes[index].body)

    def _finish(self) -> str:
        """The last task: remember the cursors, remove the files between the tasks."""
        lines = []
        for name, source in self.cursors.items():
            column = quote_identifier(source.cursor_field or "")
            query = f"SELECT CAST(max({column}) AS VARCHAR) FROM read_parquet(getvariable('{name}'))"
            lines += [
                "with database(**files) as con:",
                f"    (newest,) = con.execute({literal(query)}).fetchone()",
                "if newest is not None:",
                f"    Variable.set(CURSOR_{as_name(name).upper()}, newest)",
            ]
        says = "Remember up to where the sources were read, and remove" if lines else "Remove"
        lines.append('shutil.rmtree(work_file("result").parent, ignore_errors=True)')
        body = "\n".join(lines)
        return _task("", "finish(files: dict[str, str]) -> None", f"{says} what waited between the tasks.", body)

    def _wiring(self) -> str:
        files = ", ".join(f"{literal(name)}: {self._extract_name(name)}()" for name in self.config.inputs)
        lines = [f"files = {{{files}}}", "result = transform(files)"]
        loads = [f"{self._load_name(index)}(result)" for index in range(len(self.writes))]
        lines.append(f"[{', '.join(loads)}] >> finish(files)" if len(loads) > 1 else f"{loads[0]} >> finish(files)")
        return "\n".join(lines)


# ---- Arguments of the DAG


def _schedule(config: PipelineConfig) -> str:
    wanted = config.schedule
    if wanted is None or wanted in ("@once", "@continuous"):
        return literal(wanted)
    if not isinstance(wanted, str):
        return _asset_expression(wanted)
    if wanted.startswith("@") or (" " in wanted and not wanted.startswith("every ")):
        return f"CronDataIntervalTimetable({literal(wanted)}, timezone={literal(config.timezone)})"
    return f"DeltaDataIntervalTimetable({duration(interval(wanted))})"


def _asset_expression(wanted: AssetExpression) -> str:
    if isinstance(wanted, AnyAsset):
        return f"AssetAny({', '.join(map(_asset_expression, wanted.any))})"
    if isinstance(wanted, AllAssets):
        return f"AssetAll({', '.join(map(_asset_expression, wanted.all))})"
    return _asset(wanted.asset)


def _asset(uri: str) -> str:
    from dataforge.dag_factory.builder import asset

    made = asset(uri)
    name = "" if made.name == made.uri else f"name={literal(made.name)}, uri="
    return f"Asset({name}{literal(made.uri)})"


def _assets(uri: str | None, side: str) -> str:
    if not uri:
        return ""
    flat = f"({side}=[{_asset(uri)}])"
    return flat if len(flat) < WIDTH else f"(\n    {side}=[{_asset(uri)}],\n)"


def _param(param: Param) -> str:
    kind, format_ = _PARAM_FORMATS.get(param.type, (param.type, None))
    rules = {
        "type": kind,
        "format": format_,
        "enum": list(param.enum) if param.enum is not None else None,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "description": param.description,
    }
    shown = {name: literal(rule) for name, rule in rules.items() if rule is not None}
    first = [literal(param.default)] if param.default is not None else []
    return f"Param({', '.join([*first, *(f'{name}={rule}' for name, rule in shown.items())])})"


def _defaults(args: DefaultArgs, owner: str | None) -> dict[str, str]:
    plain = DefaultArgs()
    found: dict[str, str] = {}
    if owner or args.owner:
        found["owner"] = literal(owner or args.owner)
    found |= {"retries": literal(args.retries), "retry_delay": duration(args.retry_delay)}
    if args.retry_exponential_backoff:
        found["retry_exponential_backoff"] = "2.0"
    for name in ("max_retry_delay", "execution_timeout"):
        if (value := getattr(args, name)) is not None:
            found[name] = duration(value)
    for name in ("pool", "pool_slots", "queue", "priority_weight", "depends_on_past"):
        if (value := getattr(args, name)) is not None and value != getattr(plain, name):
            found[name] = literal(value)
    return found


def _task(arguments: str, signature: str, says: str, body: str) -> str:
    return f'@task{arguments}\ndef {signature}:\n    """{says}"""\n{block(body)}\n'
