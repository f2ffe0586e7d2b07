"""The command line, as a person or a CI job would use it: real processes, exit codes, both streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest

ROOT = Path(__file__).parents[2]
ORDERS = "id,amount,status,day\n1,10.50,paid,2024-01-01\n2,,open,2024-01-02\n3,7,paid,2024-01-03\n"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A configs folder with one CSV file in it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "orders.csv").write_text(ORDERS)
    return folder


def write(folder: Path, name: str, **changes: object) -> Path:
    """A small sound config, with changes."""
    config = {
        "dag_id": name,
        "source": {"type": "csv", "path": "orders.csv"},
        "transforms": [{"type": "filter", "where": "status = 'paid'"}],
        "destination": {"type": "duckdb", "table": name, "write_disposition": "replace"},
        **changes,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config, indent=1))
    return path


def dataforge(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with an Airflow home of its own beside `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "dataforge", *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "plugins"),
            "AIRFLOW_HOME": str(folder.parent / "home"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def stored(folder: Path, sql: str) -> list[tuple[object, ...]]:
    database = folder.parent / "home" / "dataforge" / "output" / "warehouse.duckdb"
    with duckdb.connect(str(database), read_only=True) as con:
        return con.execute(sql).fetchall()


class TestRun:
    def test_rows_arrive_and_the_summary_says_so(self, configs: Path) -> None:
        result = dataforge(configs, "run", write(configs, "orders"))
        assert result.returncode == 0, result.stderr
        assert "2 rows" in result.stdout
        assert stored(configs, "SELECT id, CAST(amount AS VARCHAR) FROM orders ORDER BY id") == [
            (1, "10.50"),
            (3, "7.00"),
        ]

    def test_json_for_machines(self, configs: Path) -> None:
        result = dataforge(configs, "run", write(configs, "orders"), "--format", "json")
        report = json.loads(result.stdout)
        assert report["dag_id"] == "orders"
        assert [load["rows"] for load in report["loads"]] == [2]

    def test_nothing_stays_in_staging(self, configs: Path) -> None:
        dataforge(configs, "run", write(configs, "orders"))
        failing = write(configs, "failing", checks=[{"type": "row_count", "min": 100}])
        assert dataforge(configs, "run", failing).returncode == 3
        staging = configs.parent / "home" / "dataforge" / "staging"
        assert [path for path in staging.rglob("*") if path.is_file()] == []

    @pytest.mark.parametrize("execution", ["staged", "fused"])
    def test_a_failed_check_loads_nothing_and_exits_3(self, configs: Path, execution: str) -> None:
        assert dataforge(configs, "run", write(configs, "orders", execution=execution)).returncode == 0
        checked = write(
            configs, "orders", execution=execution, transforms=[], checks=[{"type": "not_null", "columns": ["amount"]}]
        )
        result = dataforge(configs, "run", checked)
        assert result.returncode == 3
        assert "amount" in result.stderr
        assert "Traceback" not in result.stderr
        assert stored(configs, "SELECT count(*) FROM orders") == [(2,)]

    def test_params_are_typed_and_can_not_break_out(self, configs: Path) -> None:
        config = write(
            configs,
            "orders",
            destination={
                "type": "duckdb",
                "table": "orders",
                "write_disposition": "replace",
                "allow_empty": True,
                "allow_shrink": True,
            },
            params={"status": "paid", "least": {"type": "integer", "default": 0}},
            transforms=[{"type": "filter", "where": "status = ${params.status} and id >= ${params.least}"}],
        )
        result = dataforge(configs, "run", config, "--param", "status=open", "--param", "least=2")
        assert result.returncode == 0, result.stderr
        assert stored(configs, "SELECT id FROM orders") == [(2,)]
        attack = dataforge(configs, "run", config, "--param", "status=x' or '1'='1")
        assert attack.returncode == 0, attack.stderr
        assert stored(configs, "SELECT count(*) FROM orders") == [(0,)]

    def test_a_param_that_does_not_fit_is_a_finding(self, configs: Path) -> None:
        config = write(configs, "orders", params={"least": {"type": "integer", "default": 0, "maximum": 5}})
        for value, message in (("six", "is no integer"), ("6", "is above 5")):
            result = dataforge(configs, "run", config, "--param", f"least={value}")
            assert (result.returncode, message in result.stderr) == (1, True), result.stderr
        unknown = dataforge(configs, "run", config, "--param", "most=1")
        assert (unknown.returncode, "no parameter 'most'" in unknown.stderr) == (1, True)

    def test_the_interval_limits_what_is_read(self, configs: Path) -> None:
        where = "day >= cast(${data_interval_start} as date) and day < cast(${data_interval_end} as date)"
        config = write(configs, "orders", transforms=[{"type": "filter", "where": where}])
        result = dataforge(configs, "run", config, "--interval", "2024-01-02", "2024-01-03")
        assert result.returncode == 0, result.stderr
        assert stored(configs, "SELECT id FROM orders") == [(2,)]

    def test_a_matrix_needs_a_choice(self, configs: Path) -> None:
        config = write(configs, "orders_${matrix.kind}", matrix={"kind": ["paid", "open"]})
        result = dataforge(configs, "run", config)
        assert result.returncode == 1
        assert "orders_paid, orders_open" in result.stderr

    def test_a_missing_source_file_is_said_in_a_sentence(self, configs: Path) -> None:
        result = dataforge(configs, "run", write(configs, "orders", source={"type": "csv", "path": "order.csv"}))
        assert result.returncode == 3
        assert "order.csv" in result.stderr
        assert "Traceback" not in result.stderr

    def test_checks_are_in_the_result_with_examples(self, configs: Path) -> None:
        warning = {"type": "not_null", "columns": ["amount"], "severity": "warn"}
        for execution in ("staged", "fused"):
            config = write(configs, "orders", execution=execution, transforms=[], checks=[warning])
            result = dataforge(configs, "run", config, "--format", "json")
            (check,) = json.loads(result.stdout)["checks"]
            assert (check["violations"], check["checked"], check["passed"]) == (1, 3, False)
            assert check["examples"][0]["id"] == 2
            assert "check warning" in result.stderr
        failing = write(configs, "orders", transforms=[], checks=[{**warning, "severity": "fail"}])
        result = dataforge(configs, "run", failing, "--format", "json")
        report = json.loads(result.stdout)
        assert (result.returncode, report["status"], report["checks"][0]["violations"]) == (3, "failed", 1)
        assert "'id': 2" in result.stderr

    def test_a_row_count_check_fails_where_there_is_nothing_to_load(self, configs: Path) -> None:
        (configs / "orders.csv").write_text("")
        empty = dataforge(configs, "run", write(configs, "orders"))
        assert (empty.returncode, "nothing loaded" in empty.stderr) == (0, True)
        counted = dataforge(configs, "run", write(configs, "orders", checks=[{"type": "row_count", "min": 1}]))
        assert (counted.returncode, "row_count" in counted.stderr) == (3, True)

    def test_what_can_not_be_meant_is_a_usage_error(self, configs: Path) -> None:
        config = write(configs, "orders")
        assert dataforge(configs, "run", configs / "nothing.json").returncode == 2
        assert dataforge(configs, "run", configs).returncode == 2
        backwards = dataforge(configs, "run", config, "--interval", "2024-02-01", "2024-01-01")
        assert (backwards.returncode, "before it starts" in backwards.stderr) == (1, True)

    def test_a_wrong_setting_is_said_in_a_sentence(self, configs: Path) -> None:
        result = dataforge(configs, "run", write(configs, "orders"), AIRFLOW__DATAFORGE__THREADS="many")
        assert result.returncode == 1
        assert "threads is 'many'" in result.stderr
        assert "Traceback" not in result.stderr


class TestValidate:
    def test_one_bad_param_hides_no_other_file(self, configs: Path) -> None:
        write(configs, "good")
        write(configs, "bad", params={"name": {"type": "string", "minimum": 3, "default": "abcd"}})
        result = dataforge(configs, "validate", configs)
        assert result.returncode == 1
        assert "minimum is for numbers" in result.stdout
        assert "1 valid pipelines in 2 files" in result.stdout

    @pytest.mark.timeout(60)
    def test_a_config_of_a_great_many_unknown_keys_is_checked_in_time(self, configs: Path) -> None:
        path = configs / "many.json"
        path.write_text(json.dumps({"dag_id": "many", **{f"k{n}": n for n in range(50_000)}}))
        result = dataforge(configs, "validate", path)
        assert result.returncode == 1
        assert "unknown-key" in result.stdout

    def test_a_sound_folder_has_no_findings(self, configs: Path) -> None:
        write(configs, "orders")
        result = dataforge(configs, "validate", configs)
        assert result.returncode == 0, result.stdout
        assert "1 valid pipelines in 1 files, 0 errors" in result.stdout

    def test_all_findings_come_at_once_with_their_place(self, configs: Path) -> None:
        path = write(configs, "orders", schedule="@dayly", tag=["x"], transforms=[{"type": "filtr", "where": "a"}])
        result = dataforge(configs, "validate", path)
        assert result.returncode == 1
        for text in ("'@daily'", "'tags'", "'filter'"):
            assert text in result.stdout
        assert result.stdout.count(f"{path.name}:") >= 3

    def test_findings_for_machines(self, configs: Path) -> None:
        path = write(configs, "orders", tag=["x"])
        as_json = json.loads(dataforge(configs, "validate", path, "--format", "json").stdout)
        findings = as_json["findings"] if isinstance(as_json, dict) else as_json
        assert [(finding["code"], finding["pointer"]) for finding in findings] == [("unknown-key", "/tag")]
        sarif = json.loads(dataforge(configs, "validate", path, "--format", "sarif").stdout)
        assert sarif["version"] == "2.1.0"
        assert sarif["runs"][0]["results"][0]["ruleId"] == "unknown-key"
        junit = ElementTree.fromstring(dataforge(configs, "validate", path, "--format", "junit").stdout)
        assert junit.find(".//failure") is not None

    def test_live_columns_find_misspelt_ones(self, configs: Path) -> None:
        path = write(configs, "orders", transforms=[{"type": "rename", "columns": {"amuont": "total"}}])
        assert dataforge(configs, "validate", path).returncode == 0
        result = dataforge(configs, "validate", path, "--live")
        assert result.returncode == 1
        assert "'amount'" in result.stdout
        assert "/transforms/0/columns/amuont" in result.stdout

    def test_a_path_that_is_not_there_is_a_usage_error(self, configs: Path) -> None:
        result = dataforge(configs, "validate", configs / "nothing.json")
        assert (result.returncode, "nothing.json" in result.stderr) == (2, True)

    def test_airflow_is_not_imported(self, configs: Path) -> None:
        path = write(configs, "orders")
        result = dataforge(configs, "validate", path, PYTHONPROFILEIMPORTTIME="1")
        assert result.returncode == 0
        assert " airflow\n" not in result.stderr


def test_show_effective_says_where_each_value_comes_from(configs: Path) -> None:
    (configs / "defaults.json").write_text('{\n "owner": "everyone",\n "tags": ["a"]\n}')
    result = dataforge(configs, "show", write(configs, "orders"), "--effective")
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.startswith("/")}
    assert "defaults.json:2" in lines["/owner"]
    assert "orders.json:2" in lines["/dag_id"]
    assert "built-in default" in lines["/catchup"]


def test_compile_prints_one_query(configs: Path) -> None:
    result = dataforge(configs, "compile", write(configs, "orders"))
    assert result.returncode == 0, result.stderr
    assert duckdb.extract_statements(result.stdout)[0].type.name == "SELECT"
    assert "'paid'" in result.stdout


def test_preview_shows_rows_after_every_step_and_writes_nothing(configs: Path) -> None:
    config = write(configs, "orders", checks=[{"type": "not_null", "columns": ["amount"]}])
    result = dataforge(configs, "preview", config, "--rows", "2", "--format", "json")
    assert result.returncode == 0, result.stderr
    steps = json.loads(result.stdout)["steps"]
    assert [(step["type"], step["row_count"], len(step["rows"])) for step in steps] == [
        ("source", 3, 2),
        ("filter", 2, 2),
    ]
    assert steps[1]["rows"][1] == {"id": 3, "amount": "7.00", "status": "paid", "day": "2024-01-03"}
    assert not (configs.parent / "home" / "dataforge" / "output").exists()
    assert "step_1_filter" in dataforge(configs, "preview", config).stdout


def test_new_writes_a_config_that_validates(configs: Path) -> None:
    path = configs / "fresh.json"
    result = dataforge(configs, "new", path, "--source", "http", "--destination", "postgres")
    assert result.returncode == 0, result.stderr
    assert dataforge(configs, "validate", path).returncode == 0
    again = dataforge(configs, "new", path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_components_describe_themselves(configs: Path) -> None:
    listed = dataforge(configs, "components").stdout
    for name in ("csv", "http", "deduplicate", "accepted_values", "duckdb"):
        assert name in listed
    described = dataforge(configs, "components", "filter").stdout
    assert "where" in described


def test_schema_is_json_schema_of_every_component(configs: Path) -> None:
    schema = json.loads(dataforge(configs, "schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "dag_id" in schema["properties"]


def test_doctor_names_a_missing_connection(configs: Path) -> None:
    write(configs, "orders", source={"type": "postgres", "connection": "nowhere", "table": "t"})
    result = dataforge(configs, "doctor", AIRFLOW__DATAFORGE__CONFIGS_FOLDER=str(configs))
    assert "sandbox holds" in result.stdout
    assert "connection nowhere" in result.stdout
    assert "Traceback" not in result.stderr


def test_usage_errors_exit_2(configs: Path) -> None:
    assert dataforge(configs, "run").returncode == 2
    assert dataforge(configs, "preview", configs, "--rows", "0").returncode == 2
