"""What Airflow knows of pipelines, read from its own tables in a fixed number of queries, however many there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LAST_RUNS = 10
FRESH_SECONDS, OLD_SECONDS = 2.0, 30.0
"""For how long the list of all pipelines is told from memory: many people look at it, and it looks at many runs."""

MOST_LOGS = 5
MOST_LINES = 20_000
"""Logs of failed tasks that are read of a run, and lines of each."""

REST = 5
"""How many times as long as a look took nobody looks again."""


@dataclass(frozen=True)
class Glance:
    """A pipeline as its line in the list shows it; `runs` are the newest first."""

    parsed: bool = False
    paused: bool | None = None
    import_error: str | None = None
    runs: tuple[dict[str, Any], ...] = ()
    succeeded_at: datetime | None = None

    def told(self, *, with_runs: bool) -> dict[str, Any]:
        """Return what the list says of it; without the runs for those who may not read them."""
        runs = self.runs if with_runs else ()
        age = (datetime.now(timezone.utc) - self.succeeded_at).total_seconds() if self.succeeded_at else None
        return {
            "parsed": self.parsed,
            "paused": self.paused,
            "import_error": self.import_error,
            "last_run": runs[0] if runs else None,
            "runs": [run["state"] for run in runs],
            "freshness_seconds": max(0.0, age) if age is not None and with_runs else None,
        }


@dataclass(frozen=True)
class _Kept:
    until: float
    glances: dict[str, Glance]


_kept: dict[frozenset[str], _Kept] = {}
_lock = threading.Lock()


def glances(files: Mapping[str, str]) -> dict[str, Glance]:
    """Return what Airflow knows of these DAGs, given with the name of the config that each stands in."""
    wanted = frozenset(files)
    kept = _kept.get(wanted)
    if kept is not None and time.monotonic() < kept.until:
        return kept.glances
    old = kept is None or time.monotonic() > kept.until + OLD_SECONDS
    if not _lock.acquire(blocking=old):  # one looks anew; who has something to show does not wait for it
        assert kept is not None
        return kept.glances
    try:
        kept = _kept.get(wanted)
        if kept is None or time.monotonic() >= kept.until:
            began = time.monotonic()
            found = _look(files)
            took = time.monotonic() - began
            _kept.clear()
            kept = _kept[wanted] = _Kept(began + took + max(FRESH_SECONDS, REST * took), found)
        return kept.glances
    finally:
        _lock.release()


def forget() -> None:
    """Let the next list be read anew, after something was changed."""
    with _lock:
        _kept.clear()


def _look(files: Mapping[str, str]) -> dict[str, Glance]:
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    ids = sorted(files)
    columns = (DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date, DagRun.logical_date)
    # one pass over the runs: a look into the index for each DAG is faster in SQLite, but at times far slower elsewhere
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.run_after.desc()).label("place")
    numbered = select(*columns, place).where(DagRun.dag_id.in_(ids)).subquery()
    newest = select(numbered).where(numbered.c.place <= LAST_RUNS).order_by(numbered.c.place)
    done = select(DagRun.dag_id, func.max(DagRun.end_date)).where(DagRun.dag_id.in_(ids), DagRun.state == "success")
    with create_session(scoped=False) as session:
        dags = {one.dag_id: one for one in session.execute(_dags().where(DagModel.dag_id.in_(ids)))}
        runs: dict[str, list[dict[str, Any]]] = {}
        for one in session.execute(newest):
            runs.setdefault(one.dag_id, []).append(_brief(one))
        succeeded = {one[0]: one[1] for one in session.execute(done.group_by(DagRun.dag_id))}
        errors = _errors(session)
    return {
        dag_id: Glance(
            parsed=dag_id in dags and not dags[dag_id].is_stale,
            paused=bool(dags[dag_id].is_paused) if dag_id in dags else None,
            import_error=_error_of(file, dags[dag_id].relative_fileloc if dag_id in dags else None, errors),
            runs=tuple(runs.get(dag_id, ())),
            succeeded_at=succeeded.get(dag_id),
        )
        for dag_id, file in files.items()
    }


def _dags() -> Any:
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    return select(DagModel.dag_id, DagModel.is_paused, DagModel.is_stale, DagModel.relative_fileloc)


def _brief(run: Any) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "state": str(run.state),
        "start": _told(run.start_date),
        "end": _told(run.end_date),
        "logical_date": _told(run.logical_date),
    }


def _told(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


# ------------------------------------------------------------------------------------------------------ import errors


def _errors(session: Session) -> dict[str, str]:
    """Return Airflow's import errors by the name of the DAG file."""
    from airflow.models.errors import ParseImportError
    from sqlalchemy import select

    rows = session.execute(select(ParseImportError.filename, ParseImportError.stacktrace)).all()
    return {str(name): str(text or "") for name, text in rows if name}


def _error_of(file: str, stub: str | None, errors: Mapping[str, str]) -> str | None:
    """Return what of the errors is about a config: its stub's own, or its lines where one DAG file tells of all."""
    for name in (stub, f"{file}.py", f"{file}.errors.py"):
        if name is not None and name in errors:
            return in_short(errors[name])
    told = (text for name, text in errors.items() if name.endswith("dataforge_errors.py"))
    lines = [line for text in told for line in text.splitlines() if line.startswith(f"{file}:")]
    return "\n".join(lines) or None


def in_short(trace: str) -> str:
    """Return the error that ends a trace, without the trace: what is wrong in a config, or Python's last line."""
    _, ours, text = trace.rpartition("InvalidConfigError: ")
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    return (text.strip() if ours else lines[-1].strip() if lines else "")[:4_000]


# ---------------------------------------------------------------------------------------------------------- one DAG


@dataclass(frozen=True)
class Status:
    """What Airflow has made of a config; `docs` is the documentation of the DAG as it was parsed last."""

    glance: Glance
    version: int | None = None
    docs: str = field(default="", repr=False)


def status(dag_id: str, file: str) -> Status:
    """Return what Airflow has made of a pipeline."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        row = session.execute(_dags().where(DagModel.dag_id == dag_id)).first()
        stub = row.relative_fileloc if row else None
        error = _error_of(file, stub, _errors(session))
        glance = Glance(row is not None and not row.is_stale, bool(row.is_paused) if row else None, error)
        version = DagVersion.get_latest_version(dag_id, session=session)
        found = SerializedDagModel.get(dag_id, session=session)
        data: Any = (found.data if found else None) or {}
        return Status(glance, version.version_number if version else None, str(data.get("dag", {}).get("doc_md") or ""))


def runs(dag_id: str, limit: int, *, stages: bool, figures: bool, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the newest runs first, or one: with their tasks, and with what those counted, where that may be read."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    newest = select(
        DagRun.run_id, DagRun.state, DagRun.run_type, DagRun.start_date, DagRun.end_date, DagRun.logical_date
    )
    task = TaskInstance
    tasks = select(task.run_id, task.task_id, task.state, task.try_number, task.duration)
    xcoms = select(XComModel.run_id, XComModel.task_id, XComModel.value)
    with create_session(scoped=False) as session:
        which = (DagRun.dag_id == dag_id, *([DagRun.run_id == run_id] if run_id else []))
        in_order = newest.where(*which).order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(limit)
        found = session.execute(in_order).all()
        ids = [run.run_id for run in found]
        done = session.execute(tasks.where(task.dag_id == dag_id, task.run_id.in_(ids))).all() if stages else []
        mine = (XComModel.dag_id == dag_id, XComModel.run_id.in_(ids), XComModel.key == "return_value")
        values = session.execute(xcoms.where(*mine)).all() if stages and figures else []
    counted = {(run_id, task_id): value for run_id, task_id, value in values if isinstance(value, Mapping)}
    by_run: dict[str, list[Any]] = {}
    for one in sorted(done, key=lambda one: (_place(one.task_id), one.task_id)):
        by_run.setdefault(one.run_id, []).append(one)
    return [_whole(run, by_run.get(run.run_id, ()), counted) for run in found]


def has_failed(dag_id: str, run_id: str) -> bool:
    """Return whether a task of that run failed."""
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        return session.execute(_failed(dag_id, run_id).limit(1)).first() is not None


def failed_log(dag_id: str, run_id: str) -> str:
    """Return the logs of the run's failed tasks, their last tries, wherever Airflow keeps them, as JSON lines."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.log.log_reader import TaskLogReader
    from airflow.utils.session import create_session
    from sqlalchemy.orm import joinedload

    reader = TaskLogReader()
    lines: list[str] = []
    with create_session(scoped=False) as session:
        query = _failed(dag_id, run_id).order_by(TaskInstance.start_date).limit(MOST_LOGS)
        related = (joinedload(TaskInstance.dag_run), joinedload(TaskInstance.dag_model))
        for task in session.scalars(query.options(*related)):
            said, _ = reader.read_log_chunks(task, task.try_number, {"end_of_log": False})
            lines += (one.model_dump_json() for one in islice(said, MOST_LINES))
    return "\n".join(lines)


def _failed(dag_id: str, run_id: str) -> Any:
    from airflow.models.taskinstance import TaskInstance as Task
    from sqlalchemy import select

    ended = Task.state.in_(("failed", "up_for_retry"))
    return select(Task).where(Task.dag_id == dag_id, Task.run_id == run_id, ended)


_STAGES = ("extract", "transform", "load", "clean_up")


def _place(task_id: str) -> int:
    if task_id == "extract_transform_load":
        return 1
    return next((place for place, name in enumerate(_STAGES) if task_id.startswith(name)), len(_STAGES))


def _whole(run: Any, tasks: Iterable[Any], counted: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    found = [(one, counted.get((run.run_id, one.task_id), {})) for one in tasks]
    extracts = [value for one, value in found if _place(one.task_id) == 0]
    transformed = next((value for one, value in found if one.task_id == "transform"), {})
    stages = [_stage(one, value, extracts, transformed) for one, value in found]
    loads = [stage for stage in stages if stage["task_id"].startswith(("load", "extract_transform_load"))]
    aside = [stage["rejected"] for stage in stages if not stage["task_id"].startswith("load")]
    late = [stage["rejected"] for stage in loads if stage["task_id"].startswith("load")]
    seconds = (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None
    fused = next((stage["rows_in"] for stage in stages if stage["task_id"] == "extract_transform_load"), None)
    return {
        **_brief(run),
        "run_type": str(run.run_type),
        "seconds": seconds,
        "stages": stages,
        "rows_in": _sum(value.get("rows_read", value.get("rows")) for value in extracts) if extracts else fused,
        "rows_out": _most(stage["rows"] for stage in loads),
        "rejected": _sum([*aside, _most(late)]),
    }


def _stage(
    task: Any, value: Mapping[str, Any], extracts: Sequence[Mapping[str, Any]], transformed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one task with what it counted; `rejected` are the records that it itself set aside."""
    rows, size, rows_in, rejected = (value.get(key) for key in ("rows", "bytes", "rows_read", "rejected"))
    if task.task_id == "transform":
        rows_in = _sum(one.get("rows") for one in extracts)
        rejected = _less(rejected, _sum(one.get("rejected") for one in extracts))
    elif task.task_id == "extract_transform_load":
        loads = [one for one in value.get("loads", ()) if isinstance(one, Mapping)]
        rows, rejected = (_most(one.get(key) for one in loads) for key in ("rows", "rejected"))
        size = _sum(one.get("bytes") for one in loads)
    elif task.task_id.startswith("load"):
        rows_in = transformed.get("rows")
        rejected = _less(rejected, transformed.get("rejected"))
    seconds = round(task.duration, 3) if task.duration is not None else None
    return {
        "task_id": task.task_id,
        "state": str(task.state) if task.state else None,
        "try_number": task.try_number,
        "seconds": seconds,
        "rows": rows,
        "rows_in": rows_in,
        "rejected": rejected,
        "bytes": size,
    }


def _sum(values: Iterable[Any]) -> int | None:
    known = [value for value in values if isinstance(value, int)]
    return sum(known) if known else None


def _most(values: Iterable[Any]) -> int | None:
    return max((value for value in values if isinstance(value, int)), default=None)


def _less(value: Any, before: Any) -> int | None:
    """Return what a count grew by since the stage before; counts go on from stage to stage."""
    return max(0, value - (before or 0)) if isinstance(value, int) else None
