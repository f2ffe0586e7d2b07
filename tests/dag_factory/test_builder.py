from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest

from dataforge.components.base import RunValues
from dataforge.config.pipeline import parse
from dataforge.errors import CheckFailed, CheckFailure, ConfigError, Problem, TerminalError, TransientError

Make = Callable[..., dict[str, Any]]


def build(data: Mapping[str, Any]) -> Any:
    from dataforge.dag_factory.builder import build_dag

    return build_dag(parse(data))


def serialized(dag: Any) -> Any:
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.to_dict(dag)


def upstream(dag: Any) -> dict[str, set[str]]:
    return {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}


def test_a_staged_pipeline_is_extract_then_transform_then_load(pipeline: Make) -> None:
    assert upstream(build(pipeline())) == {"extract": set(), "transform": {"extract"}, "load": {"transform"}}


def test_a_fused_pipeline_is_one_task(pipeline: Make) -> None:
    dag = build(pipeline(execution="fused"))
    assert upstream(dag) == {"extract_transform_load": set()}
    (task,) = dag.tasks
    assert [asset.name for asset in task.outlets] == ["warehouse/sales.orders"]


def test_named_sources_are_extracted_side_by_side_and_several_destinations_loaded_before_staging_is_removed(
    pipeline: Make,
) -> None:
    source = {"type": "csv", "path": "a.csv"}
    target = {"type": "postgres", "connection": "warehouse"}
    dag = build(
        pipeline(
            source=...,
            sources={"orders": source, "customers": source},
            transforms=[
                {"type": "filter", "input": "orders", "where": "true", "name": "kept"},
                {"type": "union", "with": ["customers"]},
            ],
            destination=[{**target, "table": "a"}, {**target, "table": "b"}],
        )
    )
    assert upstream(dag) == {
        "extract_orders": set(),
        "extract_customers": set(),
        "transform": {"extract_orders", "extract_customers"},
        "load_1_postgres": {"transform"},
        "load_2_postgres": {"transform"},
        "clean_up": {"load_1_postgres", "load_2_postgres"},
    }


def test_nothing_of_a_config_stands_in_templated_task_arguments(pipeline: Make) -> None:
    mark = "{{ 'canary' }}"
    data = pipeline(
        description=mark,
        tags=[mark],
        owner=mark,
        source={"type": "csv", "path": f"data/{mark}.csv"},
        transforms=[{"type": "derive", "columns": {"x": f"'{mark}'"}}],
        params={"p": {"type": "string", "default": mark, "description": mark}},
    )
    dag = build(data)
    for task in dag.tasks:
        for name in task.template_fields:
            assert "canary" not in repr(getattr(task, name)), (task.task_id, name)
    for task in serialized(dag)["dag"]["tasks"]:
        found = {name: task["__var"].get(name) for name in task["__var"]["template_fields"]}
        assert "canary" not in json.dumps(found, default=str)
    assert dag.description == mark
    assert mark in dag.tags


def test_the_config_asks_for_retries_pools_and_limits_and_gets_them(pipeline: Make) -> None:
    dag = build(
        pipeline(
            owner="analytics",
            max_active_runs=3,
            default_args={
                "retries": 5,
                "retry_delay": "10s",
                "max_retry_delay": "2m",
                "execution_timeout": "1h",
                "pool": "warehouse",
                "pool_slots": 2,
                "queue": "big",
                "priority_weight": 7,
                "depends_on_past": True,
            },
        )
    )
    assert dag.max_active_runs == 3
    for task in dag.tasks:
        assert task.owner == "analytics"
        assert task.retries == 5
        assert task.retry_delay == timedelta(seconds=10)
        assert task.retry_exponential_backoff == 2.0
        assert task.max_retry_delay == timedelta(minutes=2)
        assert task.execution_timeout == timedelta(hours=1)
        assert (task.pool, task.pool_slots, task.queue, task.priority_weight) == ("warehouse", 2, "big", 7)
        assert task.depends_on_past


@pytest.mark.parametrize(
    ("wanted", "first_start", "first_end"),
    [
        # 2025-03-30 is the day on which Berlin's clocks go from 02:00 to 03:00
        ("30 6 * * *", "2025-03-29T05:30:00+00:00", "2025-03-30T04:30:00+00:00"),
        ("@daily", "2025-03-28T23:00:00+00:00", "2025-03-29T23:00:00+00:00"),
        ("every 6h", "2025-03-28T23:00:00+00:00", "2025-03-29T05:00:00+00:00"),
    ],
)
def test_schedules_follow_the_clock_of_the_configs_time_zone_and_cover_intervals_without_gap(
    pipeline: Make, wanted: str, first_start: str, first_end: str
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    data = pipeline(schedule=wanted, timezone="Europe/Berlin", start_date="2025-03-29", catchup=True)
    dag = DagSerialization.from_dict(serialized(build(data)))
    timetable = dag.timetable
    allowed = TimeRestriction(
        earliest=pendulum.instance(dag.start_date) if dag.start_date else None, latest=None, catchup=True
    )
    first = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=allowed)
    assert first is not None
    second = timetable.next_dagrun_info_v2(last_dagrun_info=first, restriction=allowed)
    assert second is not None
    assert first.data_interval is not None
    assert second.data_interval is not None
    assert first.data_interval.start.isoformat() == first_start.replace("Z", "+00:00")
    assert first.data_interval.end.isoformat() == first_end
    assert second.data_interval.start == first.data_interval.end


def test_a_date_without_a_time_lasts_the_whole_day_in_the_configs_time_zone(pipeline: Make) -> None:
    dag = build(pipeline(timezone="Asia/Tokyo", start_date="2025-01-01", end_date="2025-01-31"))
    assert dag.start_date == datetime(2024, 12, 31, 15, tzinfo=timezone.utc)
    assert dag.end_date is not None
    assert dag.end_date.isoformat() == "2025-01-31T14:59:59.999999+00:00"


def test_asset_expressions_nest_and_name_the_same_assets_as_destinations_do(pipeline: Make) -> None:
    from airflow.sdk import Asset, AssetAll, AssetAny

    wanted = {"any": [{"asset": "warehouse/sales.orders"}, {"all": [{"asset": "a/b"}, {"asset": "s3://bucket/key"}]}]}
    schedule = build(pipeline("second", schedule=wanted)).timetable.asset_condition
    assert isinstance(schedule, AssetAny)
    own, both = schedule.objects
    assert isinstance(own, Asset)
    assert isinstance(both, AssetAll)
    assert [asset.uri for asset in both.objects if isinstance(asset, Asset)] == ["x-dataforge://a/b", "s3://bucket/key"]
    (outlet,) = build(pipeline()).get_task("load").outlets
    assert (outlet.name, outlet.uri) == (own.name, own.uri)


def test_params_are_checked_by_airflow_with_the_configs_limits(pipeline: Make) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    dag = build(
        pipeline(
            params={
                "region": {"type": "string", "default": "eu", "enum": ["eu", "us"]},
                "days": {"type": "integer", "default": 7, "minimum": 1, "maximum": 31},
                "day": {"type": "date", "default": "2025-01-01"},
                "token": {"type": "string"},
                "quick": True,
            }
        )
    )
    params = dag.params
    assert params.get_param("day").schema["format"] == "date"
    for name, wrong in (("region", "mars"), ("days", 0), ("days", 32), ("day", "tomorrow"), ("quick", "yes")):
        with pytest.raises(ParamValidationError):
            params.get_param(name).resolve(wrong)
    with pytest.raises(ParamValidationError):
        params.get_param("token").resolve()
    assert params.get_param("days").resolve(31) == 31


def test_ten_builds_of_one_config_serialize_alike(pipeline: Make) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    digest: Callable[[Any], str] = SerializedDagModel.hash
    data = pipeline(
        schedule="@daily",
        start_date="2025-01-01",
        tags=["b", "a", "c"],
        params={"x": 1, "a": "b"},
        timezone="Europe/Paris",
    )
    assert len({digest(serialized(build(data))) for _ in range(10)}) == 1


def test_what_airflow_refuses_is_a_config_error_that_says_so(pipeline: Make) -> None:
    with pytest.raises(ConfigError, match="Airflow refuses this pipeline: prohibited name for asset"):
        build(pipeline(schedule={"asset": "self"}))


@pytest.mark.parametrize(
    ("raised", "expected", "retried"),
    [
        (TransientError("the server is away"), "the server is away", True),
        (TerminalError("no such file"), "no such file", False),
        (ConfigError(Problem("x", "wrong", ("source", "path"))), "/source/path: wrong", False),
        (CheckFailed([CheckFailure("not_null", "3 of 9 lack it", 3, 9)]), "check not_null: 3 of 9 lack it", False),
    ],
)
def test_only_transient_errors_are_tried_again_and_all_are_told_by_their_text_alone(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: str, retried: bool
) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from dataforge.dag_factory.builder import attempt
    from dataforge.runtime import context

    def stage(_: object) -> dict[str, Any]:
        raise raised

    monkeypatch.setattr(context, "from_airflow", lambda: context.TaskContext("d", "r", RunValues()))
    with pytest.raises(AirflowException) as caught:
        attempt(stage)
    assert str(caught.value) == expected
    assert isinstance(caught.value, AirflowFailException) is not retried
    assert caught.value.__suppress_context__
