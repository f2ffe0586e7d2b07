"""The reconciler: what it finds when Airflow and a ledger tell different stories, with a real ledger in PostgreSQL."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.runtime import clean_up, extract, load, transform
from dataforge.runtime.context import local
from dataforge.runtime.ledgers import opened, without_run
from dataforge.runtime.reconcile import Divergence, Reconciled, load_task, run

LATER = timedelta(hours=1)


@dataclass
class Story:
    """What an Airflow would say: the state of each run's load task, and when runs began."""

    told: dict[str, dict[str, str | None]] = field(default_factory=dict)
    beginnings: dict[str, datetime] = field(default_factory=dict)

    def states(self, dag_id: str, tasks: Iterable[str]) -> Mapping[str, Mapping[str, str | None]]:
        return {
            run: {task: state for task, state in states.items() if task in tasks} for run, states in self.told.items()
        }

    def began(self, dag_id: str, run_id: str) -> datetime | None:
        return self.beginnings.get(run_id)


def now() -> datetime:
    return datetime.now(timezone.utc)


@pytest.fixture
def config(tmp_path: Path, warehouse: str, home: Path) -> PipelineConfig:
    (home / "configs").mkdir(parents=True)
    (home / "configs" / "orders.csv").write_text("id\n1\n2\n")
    return parse(
        {
            "dag_id": "orders",
            "source": {"type": "csv", "path": "orders.csv"},
            "destination": {"type": "postgres", "connection": "warehouse", "table": f"r{os.getpid()}.{tmp_path.name}"},
        }
    )


def loaded(config: PipelineConfig, run_id: str) -> None:
    """Load the pipeline's rows as that run."""
    context = local(config, {}, run_id=run_id)
    manifest = transform.run(config, {"source": extract.run(config, "source", context)}, context)
    load.run(config, 0, manifest, context)
    clean_up.run(context)


def found(config: PipelineConfig, story: Story, *, after: timedelta = LATER, days: float = 7) -> Reconciled:
    return run([config], story, days=days, now=now() + after)


def kinds(found: Reconciled) -> list[tuple[str, str]]:
    return [(one.kind, one.run_id) for one in found.divergences]


def test_both_tell_the_same(config: PipelineConfig) -> None:
    loaded(config, "scheduled__1")
    told = found(config, Story({"scheduled__1": {"load": "success"}}))
    assert (told.targets, told.markers, told.divergences) == (1, 1, ())


def test_a_marker_that_airflow_calls_a_failure_is_found(config: PipelineConfig) -> None:
    loaded(config, "scheduled__1")
    told = found(config, Story({"scheduled__1": {"load": "failed"}}))
    assert kinds(told) == [("marker-without-success", "scheduled__1")]
    assert "2 rows of this run, but Airflow says that its load is 'failed'" in told.divergences[0].message


def test_a_marker_of_a_run_that_airflow_does_not_know_is_found(config: PipelineConfig) -> None:
    loaded(config, "forged")
    told = found(config, Story())
    assert kinds(told) == [("marker-without-success", "forged")]
    assert "dataforge undo" in told.divergences[0].message


def test_a_success_without_a_marker_is_found(config: PipelineConfig) -> None:
    loaded(config, "scheduled__1")
    story = Story({name: {"load": "success"} for name in ("scheduled__1", "scheduled__2")}, {"scheduled__2": now()})
    assert kinds(found(config, story)) == [("success-without-marker", "scheduled__2")]


@pytest.mark.parametrize("state", [None, "queued", "running", "up_for_retry"])
def test_a_run_under_way_is_left_alone(config: PipelineConfig, state: str | None) -> None:
    loaded(config, "scheduled__1")
    assert found(config, Story({"scheduled__1": {"load": state}})).divergences == ()


def test_a_marker_of_just_now_may_be_of_a_task_that_is_about_to_report(config: PipelineConfig) -> None:
    loaded(config, "scheduled__1")
    story = Story({"scheduled__1": {"load": "failed"}})
    assert found(config, story, after=timedelta(minutes=1)).divergences == ()


def test_what_is_older_than_the_days_asked_for_is_left_alone(config: PipelineConfig) -> None:
    loaded(config, "forged")
    story = Story({"old": {"load": "success"}}, {"old": now() - timedelta(days=2)})
    assert found(config, story, days=1, after=timedelta(days=2)).divergences == ()


def test_runs_of_the_command_line_are_none_of_airflows_business(config: PipelineConfig) -> None:
    loaded(config, "cli__2024")
    assert found(config, Story()).divergences == ()


def test_a_load_that_was_taken_back_is_explained(config: PipelineConfig) -> None:
    loaded(config, "scheduled__1")
    with opened(config, 0, without_run(config)) as ledger:
        ledger.undo("scheduled__1", "somebody")
    assert found(config, Story({"scheduled__1": {"load": "success"}})).divergences == ()


def test_a_target_that_is_away_is_told_and_stops_nothing(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded(config, "forged")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONNECT_SECONDS", "0")
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}')
    away = config.model_copy(
        update={"dag_id": "away", "destination": config.outputs[0].model_copy(update={"connection": "away"})}
    )
    with caplog.at_level(logging.WARNING, logger="dataforge"):
        told = run([away, config], Story(), days=7, now=now() + LATER)
    assert kinds(told) == [("unreachable", ""), ("marker-without-success", "forged")]
    assert any(record.message.startswith("unreachable dag_id=away") for record in caplog.records)
    assert any(record.message.startswith("marker-without-success dag_id=orders") for record in caplog.records)


def test_what_a_killed_load_left_behind_is_removed(config: PipelineConfig, warehouse: str) -> None:
    from adbc_driver_postgresql import dbapi

    loaded(config, "cli__1")
    schema = str(getattr(config.outputs[0], "table")).partition(".")[0]  # noqa: B009  # the config is of any destination
    with dbapi.connect(warehouse) as connection, connection.cursor() as cursor:
        cursor.execute(f'create table "{schema}"."_dataforge_stage_0123456789abcdef_x" (a int)')
        connection.commit()
    assert found(config, Story()).swept == ("_dataforge_stage_0123456789abcdef_x",)
    assert found(config, Story()).swept == ()


def test_what_goes_into_xcom_stays_small() -> None:
    many = tuple(Divergence("marker-without-success", "d" * 200, "t", "m" * 500, "r" * 500) for _ in range(1000))
    assert len(repr(Reconciled(1000, 1000, many, ("x" * 60,) * 1000).to_json())) < 2000


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"execution": "fused"},
        {"destination": [{"type": "csv", "path": "a/"}, {"type": "duckdb", "table": "b"}]},
    ],
)
def test_the_names_of_load_tasks_are_those_of_the_dag(changes: dict[str, Any]) -> None:
    from dataforge.dag_factory.builder import build_dag

    base = {
        "dag_id": "named",
        "source": {"type": "csv", "path": "a.csv"},
        "destination": {"type": "duckdb", "table": "a"},
    }
    config = parse({**base, **changes})
    assert {load_task(config, index) for index in range(len(config.outputs))} <= set(build_dag(config).task_ids)
