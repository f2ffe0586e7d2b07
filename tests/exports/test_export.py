"""Exported modules: what they say, that Airflow takes them without DataForge, and that they load the same rows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import duckdb
import psycopg
import pyarrow as pa
import pytest

from dataforge.cli import main
from dataforge.components.base import TransformConfig
from dataforge.components.registry import TRANSFORMS, Component
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import ConfigError
from dataforge.exports.columns import Known, ask
from dataforge.exports.module import Exported, export
from dataforge.runtime import fused
from dataforge.runtime.context import local
from dataforge.settings import get_settings

START, END = datetime(2025, 3, 1, tzinfo=timezone.utc), datetime(2025, 3, 2, tzinfo=timezone.utc)
ORDERS = (
    "order_id;zip;amount;status;note;at\n"
    '1;01234;10.50;paid;"a ""b""; c";2025-03-01T10:00:00Z\n'
    "2;99999;;open;;2025-03-01T11:00:00Z\n"
    "3;00007;7;paid;ü€;2025-03-01T12:00:00Z\n"
    "3;00007;8.25;paid;later;2025-03-01T13:00:00Z\n"
)
DUCKDB = {"type": "duckdb", "table": "orders", "write_disposition": "replace"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configs folder with a file of orders."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "orders.csv").write_text(ORDERS, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def config(**changes: Any) -> PipelineConfig:
    return parse(
        {"dag_id": "orders", "source": {"type": "csv", "path": "orders.csv"}, "destination": DUCKDB, **changes}
    )


def exported(wanted: PipelineConfig) -> Exported:
    return export(wanted, ask(wanted))


def run(module: Exported, params: dict[str, Any] | None = None, run_id: str = "manual__1") -> None:
    """Run the functions of the module's tasks in order, as Airflow would, with Airflow's context given."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(module.text, "exported.py", "exec"), names)  # the module is what is tested
    dag = names[module.dag_id]()
    values = {name: one.value for name, one in dag.params.items()} | (params or {})
    names["get_current_context"] = lambda: {
        "run_id": run_id,
        "params": values,
        "data_interval_start": START,
        "data_interval_end": END,
    }
    tasks: dict[str, Callable[..., Any]] = {one.task_id: one.python_callable for one in dag.tasks}
    files = {name: tasks[task_id]() for name, task_id in re.findall(r'"([^"]+)": (extract\w*)\(\)', module.text)}
    result = tasks["transform"](files)
    for task_id in [one for one in tasks if one.startswith("load")]:
        tasks[task_id](result)
    tasks["finish"](files)


def ours(wanted: PipelineConfig, params: dict[str, Any] | None = None) -> None:
    fused.run(wanted, local(wanted, params or {}, (START, END)))


def stored(table: str = "orders") -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
    """Return the columns with their types, and the rows, of a table in the warehouse file; then remove the file."""
    path = get_settings().output_folder / "warehouse.duckdb"
    with duckdb.connect(str(path), read_only=True) as con:
        columns = [row[:2] for row in con.execute(f'DESCRIBE "{table}"').fetchall() if row[0] != "_dataforge_run"]
        names = ", ".join(f'CAST("{name}" AS VARCHAR)' for name, _ in columns)
        rows = con.execute(f'SELECT {names} FROM "{table}" ORDER BY ALL').fetchall()
    path.unlink()
    return columns, rows


STEPS: list[dict[str, Any]] = [
    {"type": "filter", "where": "status = 'paid'"},
    {"type": "derive", "columns": {"day": "cast(at as date)", "twice": "amount * 2", "back": '\'\\ and """\''}},
    {"type": "mask", "columns": {"zip": "hash"}},
    {"type": "deduplicate", "keys": ["order_id"], "order_by": "at desc"},
]


class Same(TransformConfig):
    """Config of `same`."""

    type: Literal["same"] = "same"


class AsItIs:
    """A Python transform, as a package would bring it."""

    def __init__(self, config: Same) -> None:
        self.config = config

    def schema(self, schema: pa.Schema) -> pa.Schema:
        return schema

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        return batches


class TestRows:
    def test_a_file_goes_into_a_table_as_our_own_run_brings_it(self) -> None:
        wanted = config(transforms=STEPS, checks=[{"type": "not_null", "columns": ["order_id"]}])
        ours(wanted)
        expected = stored()
        run(exported(wanted))
        assert stored() == expected
        assert len(expected[1]) == 2

    def test_nothing_stays_in_the_work_folder(self) -> None:
        run(exported(config()))
        assert not list((get_settings().output_folder.parent / "work").rglob("*.parquet"))

    def test_parameters_and_the_interval_reach_the_sql_and_the_path(self) -> None:
        wanted = config(
            params={
                "status": "paid",
                "least": {"type": "integer", "default": 1},
                "since": {"type": "date", "default": "2025-01-01"},
                "most": {"type": "number", "default": 100.5},
            },
            transforms=[
                {"type": "filter", "where": "status = ${params.status} and order_id >= ${params.least}"},
                {"type": "filter", "where": "amount < ${params.most}"},
                {"type": "filter", "where": "at >= ${data_interval_start} and at < ${data_interval_end}"},
                {"type": "filter", "where": "cast(at as date) >= ${params.since}"},
                {"type": "derive", "columns": {"label": "'run of ${data_interval_start:%d.%m.%Y}, ${params.status}'"}},
            ],
            destination={"type": "parquet", "path": "orders/${data_interval_start:%Y-%m}/"},
        )
        run(exported(wanted), {"least": 2})
        (part,) = (get_settings().output_folder / "orders" / "2025-03").glob("*.parquet")
        with duckdb.connect() as con:
            rows = con.execute("SELECT order_id, label FROM read_parquet(?)", [str(part)]).fetchall()
        assert rows == [(3, "run of 01.03.2025, paid")] * 2

    def test_merge_updates_rows_of_known_keys(self, configs: Path) -> None:
        target = {"type": "duckdb", "table": "orders", "write_disposition": "merge", "primary_key": ["order_id"]}
        steps = [{"type": "deduplicate", "keys": ["order_id"], "order_by": "at desc"}]
        wanted = config(destination=target, transforms=steps)
        later = ORDERS.replace("01234", "55555") + "4;1;1;new;;2025-03-01T14:00:00Z\n"
        seen = []
        for load in (ours, lambda it: run(exported(it))):
            (configs / "orders.csv").write_text(ORDERS, encoding="utf-8")
            load(wanted)
            (configs / "orders.csv").write_text(later, encoding="utf-8")
            load(wanted)
            seen.append(stored())
        assert seen[0] == seen[1]
        assert len(seen[0][1]) == 4

    @pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
    def test_files_hold_the_same_rows(self, kind: str) -> None:
        path = f"out/orders.{kind}"
        wanted = config(transforms=STEPS, destination={"type": kind, "path": path, "write_disposition": "replace"})
        reader = {"csv": "read_csv", "ndjson": "read_json", "parquet": "read_parquet"}[kind]
        seen = []
        for load in (ours, lambda it: run(exported(it))):
            load(wanted)
            with duckdb.connect() as con:
                numbers = "REPLACE (amount::DOUBLE AS amount, twice::DOUBLE AS twice)"
                query = f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT * {numbers} FROM {reader}(?)) ORDER BY ALL"
                seen.append(con.execute(query, [str(get_settings().output_folder / path)]).fetchall())
        assert seen[0] == seen[1]
        assert len(seen[0]) == 2

    def test_json_records_inside_of_an_object_and_two_joined_sources(self, configs: Path) -> None:
        people = [{"zip": "01234", "name": "Ann", "tags": ["x", "y"]}, {"zip": "00007", "name": "Bo", "tags": []}]
        (configs / "people.json").write_text(json.dumps({"data": {"people": people}}), encoding="utf-8")
        wanted = config(
            source=None,
            sources={
                "orders": {"type": "csv", "path": "orders.csv"},
                "the-people": {"type": "json", "path": "people.json", "records": "data.people"},
            },
            transforms=[{"type": "join", "with": "the-people", "on": ["zip"], "how": "left"}],
        )
        ours(wanted)
        columns, rows = stored()
        assert columns[-1] == ("tags", "VARCHAR")
        run(exported(wanted))
        assert stored() == ([*columns[:-1], ("tags", "JSON")], rows)

    def test_a_failed_check_loads_nothing(self) -> None:
        from airflow.sdk.exceptions import AirflowFailException

        wanted = config(checks=[{"type": "not_null", "columns": ["amount"]}])
        with pytest.raises(AirflowFailException, match=r"not_null.*1 of 4 rows"):
            run(exported(wanted))
        assert not (get_settings().output_folder / "warehouse.duckdb").exists()

    def test_a_replace_without_rows_keeps_the_old_ones(self) -> None:
        from airflow.sdk.exceptions import AirflowFailException

        run(exported(config()))
        with pytest.raises(AirflowFailException, match="no rows"):
            run(exported(config(transforms=[{"type": "filter", "where": "order_id > 100"}])))
        assert len(stored()[1]) == 4

    def test_a_cursor_reads_what_is_new(self, configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk import Variable

        kept: dict[str, str] = {}
        monkeypatch.setattr(Variable, "get", lambda key, default=None, **_: kept.get(key, default))
        monkeypatch.setattr(Variable, "set", lambda key, value, **_: kept.update({key: value}))
        wanted = config(
            source={"type": "csv", "path": "orders.csv", "cursor_field": "at"},
            destination={"type": "duckdb", "table": "orders"},
        )
        run(exported(wanted), run_id="one")
        (configs / "orders.csv").write_text(ORDERS + "4;1;1;new;;2025-03-01T14:00:00Z\n", encoding="utf-8")
        run(exported(wanted), run_id="two")
        assert len(stored()[1]) == 5
        assert kept == {"orders.source.cursor": "2025-03-01 14:00:00+00"}


class TestPostgres:
    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("disposition", ["append", "replace", "merge"])
    def test_a_table_goes_into_another_as_our_own_run_brings_it(self, warehouse: str, disposition: str) -> None:
        with psycopg.connect(warehouse, autocommit=True) as con:
            con.execute("DROP SCHEMA IF EXISTS exported CASCADE")
            con.execute("CREATE SCHEMA exported")
            con.execute(
                "CREATE TABLE exported.raw (id int, amount numeric(12,2), free numeric, name text, day date, "
                "at timestamptz, local timestamp, data jsonb, bytes bytea, yes boolean, real double precision)"
            )
            con.execute(
                "INSERT INTO exported.raw VALUES (1, 10.50, 1.5, '', '2025-01-01', '2025-01-01 10:00+02', "
                "'2025-01-01 10:00', '{\"a\": [1, \"x\"]}', '\\x00ff', true, 0.1), "
                "(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), "
                "(3, 7, 2.25, 'a,\"b\"' || chr(10) || 'c', '2025-02-01', now(), localtimestamp, '[]', '', false, 1e300)"
            )
        target = {"type": "postgres", "connection": "warehouse", "write_disposition": disposition}
        keyed = {"primary_key": ["id"]} if disposition == "merge" else {}
        query = "select * from exported.raw where id < ${params.most} and day is distinct from '2000-01-01'"
        seen = []
        for table in ("ours", "theirs"):
            wanted = config(
                params={"most": {"type": "integer", "default": 100}},
                source={"type": "postgres", "connection": "warehouse", "query": query},
                transforms=[{"type": "derive", "columns": {"twice": "amount * 2"}}],
                destination={**target, **keyed, "table": f"exported.{table}"},
            )
            for most in (2, 100):
                if table == "ours":
                    ours(wanted, {"most": most})
                else:
                    run(exported(wanted), {"most": most}, run_id=f"run {most}")
            with psycopg.connect(warehouse) as con:
                columns = con.execute(
                    "SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns "
                    "WHERE table_schema = 'exported' AND table_name = %s AND column_name <> '_dataforge_run' "
                    "ORDER BY ordinal_position",
                    [table],
                ).fetchall()
                names = ", ".join(f'"{row[0]}"::text' for row in columns)
                seen.append((columns, con.execute(f"SELECT {names} FROM exported.{table} ORDER BY 1").fetchall()))
        assert seen[0] == seen[1]
        assert len(seen[0][1]) == (4 if disposition == "append" else 3)


class TestModule:
    def test_it_imports_nothing_of_dataforge_and_airflow_takes_it(self, tmp_path: Path) -> None:
        wanted = config(
            description='Says "hello" and \\ and """',
            schedule={"any": [{"asset": "warehouse/sales.orders"}, {"asset": "s3://bucket/key"}]},
            start_date="2025-01-01",
            end_date="2025-12-31T10:00:00+02:00",
            timezone="Europe/Berlin",
            tags=["sales"],
            owner="ann",
            params={"day": {"type": "date", "default": "2025-01-01"}, "yes": True},
            transforms=STEPS,
        )
        module = exported(wanted)
        imported = {
            name
            for node in ast.walk(ast.parse(module.text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
        }
        assert {name.split(".")[0] for name in imported} <= {"__future__", "airflow", "datetime", "duckdb", "logging",
                                                             "pathlib", "pendulum", "shutil"}  # fmt: skip
        (tmp_path / "dags").mkdir()
        (tmp_path / "dags" / "orders.py").write_text(module.text, encoding="utf-8")
        (tmp_path / "dags" / "hourly.py").write_text(
            exported(config(dag_id="hourly", schedule="every 2h", source={"type": "csv", "path": "orders.csv"})).text
        )
        (tmp_path / "dags" / "cron.py").write_text(
            exported(config(dag_id="cron", schedule="0 6 * * *", start_date="2025-01-01")).text
        )
        told = subprocess.run(
            [sys.executable, "-c", _PARSE, str(tmp_path / "dags")],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_HOME": str(tmp_path / "plain"),
                "HOME": str(tmp_path),
            },
        )
        assert told.returncode == 0, told.stderr
        found = json.loads(told.stdout.splitlines()[-1])
        assert found["errors"] == {}
        assert found["dataforge"] is False
        assert found["dags"]["orders"]["tasks"] == ["extract", "finish", "load", "transform"]
        assert found["dags"]["orders"]["start"].startswith("2024-12-31T23:00:00")
        assert found["dags"]["orders"]["retries"] == 3
        assert found["dags"]["hourly"]["timetable"] == "DeltaDataIntervalTimetable"
        assert found["dags"]["cron"]["timetable"] == "CronDataIntervalTimetable"

    def test_what_has_no_form_fails_aloud_and_is_named_at_the_top(self) -> None:
        source = {"type": "http", "connection": "shop", "endpoint": "/orders"}
        module = export(config(source=source), {"source": Known()})
        assert "type 'http'" in module.missing[0]
        assert "extract source: " in (ast.get_docstring(ast.parse(module.text)) or "")
        with pytest.raises(NotImplementedError, match="/orders"):
            run(module)

    def test_merges_that_a_few_statements_can_not_do_are_told(self) -> None:
        target = {"type": "duckdb", "table": "o", "write_disposition": "merge", "primary_key": ["order_id"]}
        for more in ({"merge_strategy": "scd2"}, {"delete_flag": "status"}, {"missing_rows": "delete"}):
            assert exported(config(destination={**target, **more})).missing

    def test_what_it_does_not_do_stands_at_the_top(self) -> None:
        module = exported(config(dead_letters={}, schema_contract="freeze"))
        top = ast.get_docstring(ast.parse(module.text)) or ""
        assert "Exactly once" in top
        assert "Dead letters" in top
        assert "Schema contracts" in top

    def test_a_transform_in_python_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TRANSFORMS, "_known", {**TRANSFORMS._known, "same": Component("same", Same, AsItIs, "")})
        with pytest.raises(ConfigError, match="has no SQL"):
            exported(config(transforms=[{"type": "same"}]))

    def test_the_examples_can_all_be_exported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from dataforge.config.files import config_files, read_file

        folder = ROOT / "configs"
        monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
        get_settings.cache_clear()
        for path in config_files(folder):
            for loaded in read_file(path, root=folder).pipelines:
                known = {name: Known(trouble="offline") for name in loaded.config.inputs}
                ast.parse(export(loaded.config, known).text)


class TestCommand:
    def test_it_writes_a_file_and_says_what_is_left_out(
        self, configs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = configs / "orders.json"
        path.write_text(
            json.dumps({"dag_id": "orders", "source": {"type": "csv", "path": "orders.csv"}, "destination": DUCKDB})
        )
        assert main(["export", str(path), "--output", str(configs / "orders.py")]) == 0
        assert "left out: Exactly once" in capsys.readouterr().err
        ast.parse((configs / "orders.py").read_text(encoding="utf-8"))
        assert main(["export", str(path), "--offline"]) == 0
        out = capsys.readouterr().out
        assert "sample_size = -1" in out

    def test_it_exits_1_where_a_person_must_write_a_part(
        self, configs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = configs / "orders.json"
        source = {"type": "http", "connection": "shop", "endpoint": "/orders"}
        path.write_text(json.dumps({"dag_id": "orders", "source": source, "destination": DUCKDB}))
        assert main(["export", str(path), "--offline"]) == 1
        assert "to be written by hand: extract source" in capsys.readouterr().err


_PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], bundle_name="exported")
print(json.dumps({
    "errors": bag.import_errors,
    "dataforge": any(name.split(".")[0] == "dataforge" for name in sys.modules),
    "dags": {
        name: {
            "tasks": sorted(dag.task_ids),
            "start": dag.start_date and dag.start_date.isoformat(),
            "retries": dag.tasks[0].retries,
            "timetable": type(dag.timetable).__name__,
        }
        for name, dag in bag.dags.items()
    },
}))
"""


def test_texts_of_a_config_stay_texts_wherever_they_stand() -> None:
    said = "x @@ y " + "\\" * 301 + "N \"\"\" {z} ''' #\nimport os"
    step = {"type": "derive", "columns": {"said": "'a @@ b'"}}
    module = exported(config(description=said, transforms=[step]))
    tree = ast.parse(module.text)
    described = [one.value for one in ast.walk(tree) if isinstance(one, ast.keyword) and one.arg == "description"]
    assert [ast.literal_eval(one) for one in described] == [said]
    assert "\\" * 301 + "N" in (ast.get_docstring(tree) or "")
    assert "a @@ b" in module.text
    assert module.text.count("def work_file(") == 1
    assert "import os" not in module.text.splitlines()


def test_sources_that_python_could_not_tell_apart_are_refused() -> None:
    one = {"type": "csv", "path": "orders.csv"}
    steps = [{"type": "sql", "query": 'SELECT * FROM "a-b" UNION ALL SELECT * FROM "a.b"'}]
    with pytest.raises(ConfigError, match="the same name in Python"):
        exported(config(source=None, sources={"a-b": one, "a.b": one}, transforms=steps))


@pytest.mark.parametrize("dag_id", ["class", "database", "str", "TRANSFORM", "Path"])
def test_a_dag_whose_id_means_something_in_the_module_gets_another_function(dag_id: str) -> None:
    module = exported(config(dag_id=dag_id, transforms=STEPS[:1]))
    top = [one.name for one in ast.parse(module.text).body if isinstance(one, ast.FunctionDef)]
    assert top[-1] == f"{dag_id}_dag"
    assert f'dag_id="{dag_id}"' in module.text


def test_a_cursor_field_is_quoted_as_a_column(configs: Path) -> None:
    (configs / "orders.csv").write_text('"a""b"\n2025-03-01\n', encoding="utf-8")
    source = {"type": "csv", "path": "orders.csv", "cursor_field": 'a"b'}
    target = {"type": "duckdb", "table": "orders", "write_disposition": "append"}
    module = exported(config(source=source, destination=target))
    queries = [one.value for one in ast.walk(ast.parse(module.text)) if isinstance(one, ast.Constant)]
    assert any(str(query).startswith('SELECT CAST(max("a""b") AS VARCHAR)') for query in queries)


def test_a_carriage_return_in_a_literal_stays_one() -> None:
    module = exported(config(transforms=[{"type": "derive", "columns": {"said": "'a\r\nb'"}}]))
    texts = [one.value for one in ast.walk(ast.parse(module.text)) if isinstance(one, ast.Constant)]
    assert any("'a\r\nb'" in str(text) for text in texts)
