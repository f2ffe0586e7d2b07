"""From a `PipelineConfig` to its DAG: `extract >> transform >> load`, or one fused task.

The config reaches the tasks by closure. Arguments of a task are Airflow templates, so nothing of a config may stand
there; what passes between tasks is the manifest. The work itself lives in `dataforge.runtime`, imported when a task
runs: a DAG parse never pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk import DAG, Asset, AssetAll, AssetAny, Param, get_parsing_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from dataforge.components.base import JsonValue
from dataforge.config.pipeline import (
    AllAssets,
    AnyAsset,
    AssetExpression,
    DefaultArgs,
    PipelineConfig,
    interval,
)
from dataforge.config.pipeline import Param as ParamConfig
from dataforge.errors import ConfigError, DataForgeError, NothingToLoad, Problem, TransientError

if TYPE_CHECKING:
    from dataforge.runtime.context import TaskContext

TAG = "dataforge"
"""The tag of every DAG that comes from a config."""

OWN_SCHEME = "dataforge://"
BACKOFF_FACTOR = 2.0
PARAM_FORMATS = {"date": ("string", "date"), "datetime": ("string", "date-time")}


def build_dag(config: PipelineConfig, *, doc_md: str = "", pools: Mapping[int, str] | None = None) -> DAG:
    """Return the DAG of `config`; ConfigError when Airflow refuses what the config asks for.

    `pools` are Airflow pools of one slot, known to exist, for the loads into some destinations; one that the config
    names goes first.
    The same config gives an equal DAG on every call, so that repeated parses make no new DAG version.
    """
    with _refusals():
        dag = _empty_dag(config, doc_md)
        with dag:
            (_fused if config.execution == "fused" else _staged)(config, pools or {})
    return dag


def check_dag(config: PipelineConfig) -> None:
    """Raise ConfigError when Airflow refuses what the config asks for; makes no task, which is most of the work."""
    with _refusals():
        _empty_dag(config, "")
        for source in config.inputs.values():
            _assets(source.asset())
        for target in config.outputs:
            _assets(target.asset())


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ConfigError(Problem("refused-by-airflow", f"Airflow refuses this pipeline: {error}")) from None


def _empty_dag(config: PipelineConfig, doc_md: str) -> DAG:
    return DAG(
        dag_id=config.dag_id,
        description=config.description or None,
        schedule=schedule(config),
        start_date=_instant(config.start_date, config.timezone, time.min),
        end_date=_instant(config.end_date, config.timezone, time.max),
        catchup=config.catchup,
        max_active_runs=config.max_active_runs,
        tags=sorted({*config.tags, TAG}),
        default_args=default_args(config.default_args, config.owner),
        params={name: param(value) for name, value in config.params.items()},
        doc_md=doc_md or None,
    )


def schedule(config: PipelineConfig) -> Any:
    """Return what Airflow takes as `schedule`: a timetable in the config's time zone, assets, a preset, or None.

    Cron expressions, presets and intervals cover data intervals: a run starts when its interval has ended, and
    `${data_interval_start}` to `${data_interval_end}` span one period without gap or overlap.
    """
    wanted = config.schedule
    if wanted is None or wanted in ("@once", "@continuous"):
        return wanted
    if not isinstance(wanted, str):
        return asset_expression(wanted)
    if wanted.startswith("@") or (" " in wanted and not wanted.startswith("every ")):
        return _cron(wanted, config.timezone)
    from airflow.sdk import DeltaDataIntervalTimetable

    return DeltaDataIntervalTimetable(interval(wanted))


def _cron(expression: str, zone: str) -> Any:
    """Return our timetable, or Airflow's where ours can't be decoded or, in a task's process, nobody will."""
    if get_parsing_context().dag_id is None:
        from dataforge.dag_factory.timetable import cron_timetable

        if ours := cron_timetable(expression, zone):
            return ours
    from airflow.sdk import CronDataIntervalTimetable

    return CronDataIntervalTimetable(expression, timezone=zone)


def asset_expression(wanted: AssetExpression) -> Asset | AssetAny | AssetAll:
    """Return the Airflow assets that `wanted` describes."""
    if isinstance(wanted, AnyAsset):
        return AssetAny(*map(asset_expression, wanted.any))
    if isinstance(wanted, AllAssets):
        return AssetAll(*map(asset_expression, wanted.all))
    return asset(wanted.asset)


def asset(uri: str) -> Asset:
    """Return the asset of a URI or of our short form `connection/table`.

    Ours have the scheme `x-dataforge`: Airflow takes `x-` schemes as they are, where any other scheme makes it import
    the asset modules of all installed providers, which costs a task 150 ms.
    """
    if "://" not in uri or uri.startswith(OWN_SCHEME):
        name = uri.removeprefix(OWN_SCHEME).rstrip("/")
        return Asset(name=name, uri=f"x-{OWN_SCHEME}{name}")
    return Asset(uri)


def param(value: ParamConfig) -> Param:
    """Return the Airflow parameter: checked by Airflow on every trigger, shown in its trigger form."""
    kind, format_ = PARAM_FORMATS.get(value.type, (value.type, None))
    rules: dict[str, JsonValue] = {"type": kind, "format": format_, "minimum": value.minimum, "maximum": value.maximum}
    rules["enum"] = list(value.enum) if value.enum is not None else None
    rules = {name: rule for name, rule in rules.items() if rule is not None}
    if value.default is not None:
        rules["default"] = value.default
    return Param(description=value.description, **rules)


def default_args(args: DefaultArgs, owner: str | None) -> dict[str, Any]:
    """Return the arguments of every task."""
    wanted = {
        "owner": owner or args.owner,
        "retries": args.retries,
        "retry_delay": args.retry_delay,
        "retry_exponential_backoff": BACKOFF_FACTOR if args.retry_exponential_backoff else 0.0,
        "max_retry_delay": args.max_retry_delay,
        "execution_timeout": args.execution_timeout,
        "pool": args.pool,
        "pool_slots": args.pool_slots,
        "queue": args.queue,
        "priority_weight": args.priority_weight,
        "depends_on_past": args.depends_on_past,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _staged(config: PipelineConfig, pools: Mapping[int, str]) -> None:
    manifests = {name: _extract(config, name) for name in config.inputs}
    staged = _transform(config, manifests)
    loads = [_load(config, index, staged, _pool(config, pools, index)) for index in _indexes(config)]
    if len(loads) > 1:
        loads >> _clean_up()


def _indexes(config: PipelineConfig) -> range:
    return range(len(config.outputs))


def _extract(config: PipelineConfig, source: str) -> Any:
    @task(task_id="extract" if config.source else f"extract_{source}", inlets=_assets(config.inputs[source].asset()))
    def extract():  # type: ignore[no-untyped-def]  # an annotated dict would be split into several XComs
        from dataforge.runtime import extract as stage

        return attempt(lambda context: stage.run(config, source, context))

    return extract()


def _transform(config: PipelineConfig, manifests: Mapping[str, Any]) -> Any:
    @task(task_id="transform")
    def transform(manifests):  # type: ignore[no-untyped-def]
        from dataforge.runtime import transform as stage

        return attempt(lambda context: stage.run(config, manifests, context))

    return transform(dict(manifests))


def _pool(config: PipelineConfig, pools: Mapping[int, str], *indexes: int) -> dict[str, Any]:
    """Return the arguments that put a task into the first pool of its destinations; one slot, since it has no more."""
    name = next((pools[index] for index in indexes if index in pools), None)
    return {"pool": name, "pool_slots": 1} if name and config.default_args.pool is None else {}


def _load(config: PipelineConfig, index: int, staged: Any, pool: Mapping[str, Any]) -> Any:
    target = config.outputs[index]
    several = isinstance(config.destination, tuple)

    @task(task_id=f"load_{index + 1}_{target.type}" if several else "load", outlets=_assets(target.asset()), **pool)
    def load(manifest):  # type: ignore[no-untyped-def]
        from dataforge.runtime import load as stage

        return attempt(lambda context: stage.run(config, index, manifest, context))

    return load(staged)


def _clean_up() -> Any:
    @task(task_id="clean_up")
    def clean_up():  # type: ignore[no-untyped-def]
        from dataforge.runtime import clean_up as stage

        return attempt(stage.run)

    return clean_up()


def _fused(config: PipelineConfig, pools: Mapping[int, str]) -> None:
    inlets = [asset for source in config.inputs.values() for asset in _assets(source.asset())]
    outlets = [asset for target in config.outputs for asset in _assets(target.asset())]

    @task(task_id="extract_transform_load", inlets=inlets, outlets=outlets, **_pool(config, pools, *_indexes(config)))
    def extract_transform_load():  # type: ignore[no-untyped-def]
        from dataforge.runtime import fused as stage

        # counts only: examples are rows, and rows have no place in XCom; the task's log has them
        return attempt(lambda context: {key: it for key, it in stage.run(config, context).items() if key != "checks"})

    extract_transform_load()


def attempt(stage: Callable[[TaskContext], dict[str, JsonValue]]) -> dict[str, JsonValue]:
    """Run one stage of the task that runs in this process; turn our errors into Airflow's, told by their text alone.

    A TransientError is tried again as the task's retries say; where there is nothing to load, the task and what follows
    is skipped; any other error of ours fails the task for good.
    """
    from dataforge.dag_factory.asking import with_models
    from dataforge.runtime.breaker import guarded
    from dataforge.runtime.context import from_airflow

    try:
        with guarded(from_airflow()) as context:
            return stage(with_models(context))
    except TransientError as error:
        raise AirflowException(str(error)) from None
    except NothingToLoad as nothing:
        raise AirflowSkipException(str(nothing)) from None
    except DataForgeError as error:
        raise AirflowFailException(str(error)) from None


def _assets(uri: str | None) -> list[Asset]:
    return [asset(uri)] if uri else []


def _instant(value: date | datetime | None, zone: str, of_day: time) -> datetime | None:
    """Return an aware instant: a date without a time means `of_day`, one without an offset is in `zone`."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        value = datetime.combine(value, of_day)
    if value.tzinfo is None:
        return pendulum.instance(value, tz=pendulum.timezone(zone))
    return pendulum.instance(value)
