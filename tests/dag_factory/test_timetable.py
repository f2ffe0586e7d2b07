"""Our timetable against Airflow's own, where Airflow has loaded our plugin and where it has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]

PLUGINS = Path(__file__).parents[2] / "plugins"
STORED = """
import json, sys
from airflow.serialization.serialized_objects import DagSerialization
from dataforge.dag_factory.stub import dag
stored = DagSerialization.to_dict(dag("a.json", sys.argv[1]))
"""


def python(code: str, config: dict[str, Any], plugins: Path, **environment: str) -> Any:
    """Run `code` after what stores the DAG of `config`; return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", STORED + code, json.dumps(config)],
        env={
            **os.environ,
            "PYTHONPATH": str(PLUGINS),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **environment,
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_stored_dag_names_our_timetable_and_airflow_decodes_it_once(pipeline: Make) -> None:
    code = (
        "from airflow.serialization.serialized_objects import LazyDeserializedDAG\n"
        "lazy = LazyDeserializedDAG(data=stored)\n"
        "print(json.dumps([stored['dag']['timetable'], lazy.timetable is lazy.timetable]))"
    )
    wanted = pipeline(schedule="@daily", start_date="2025-01-01", timezone="Europe/Berlin")
    stored, same = python(code, wanted, PLUGINS)
    assert stored == {
        "__type": "dataforge.dag_factory.timetable.CronTimetable",
        "__var": {"expression": "0 0 * * *", "timezone": "Europe/Berlin"},
    }
    assert same


def test_where_the_plugin_is_not_loaded_or_in_a_task_it_is_airflows_own(pipeline: Make, tmp_path: Path) -> None:
    code = "print(json.dumps(stored['dag']['timetable']['__type']))"
    wanted = pipeline(schedule="30 6 * * 1-5", start_date="2025-01-01")
    airflows = "airflow.timetables.interval.CronDataIntervalTimetable"
    assert python(code, wanted, tmp_path) == airflows
    assert python(code, wanted, PLUGINS, _AIRFLOW_PARSING_CONTEXT_DAG_ID="orders") == airflows
    assert python(code, wanted, PLUGINS) != airflows


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0 6 1 * 1", "@weekly", "5 4 * * 5#2"])
def test_its_intervals_and_words_are_airflows_through_a_change_of_clocks(expression: str) -> None:
    import pendulum
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.interval import CronDataIntervalTimetable

    from dataforge.dag_factory.timetable import CronTimetable

    theirs = CronDataIntervalTimetable(expression, "Europe/Berlin")
    ours = CronTimetable.deserialize(theirs.serialize())
    assert (ours.description, ours.summary, ours.serialize()) == (
        theirs.description,
        theirs.summary,
        theirs.serialize(),
    )
    restriction = TimeRestriction(earliest=pendulum.datetime(2025, 10, 24), latest=None, catchup=True)
    last = None
    for _ in range(300):
        wanted = theirs.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        assert wanted is not None
        assert ours.next_dagrun_info(last_automated_data_interval=last, restriction=restriction) == wanted
        last = wanted.data_interval
    by_hand = pendulum.datetime(2025, 10, 26, 0, 45)
    assert ours.infer_manual_data_interval(run_after=by_hand) == theirs.infer_manual_data_interval(run_after=by_hand)


def test_a_time_zone_may_be_an_offset() -> None:
    from dataforge.dag_factory.timetable import CronTimetable

    made = CronTimetable.deserialize({"expression": "0 6 * * *", "timezone": 19800})
    assert made.serialize() == {"expression": "0 6 * * *", "timezone": 19800}
