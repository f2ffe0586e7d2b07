"""The stages of a run, as tasks call them: what they hand on, what they leave behind, what happens when types widen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import CheckFailed, ConfigError, NothingToLoad, TransientError
from dataforge.runtime import extract, fused, load, transform
from dataforge.runtime.context import TaskContext, local
from dataforge.settings import get_settings


def pipeline(**changes: Any) -> PipelineConfig:
    return parse(
        {
            "dag_id": "numbers",
            "source": {"type": "csv", "path": "numbers.csv"},
            "destination": {"type": "duckdb", "table": "numbers", "write_disposition": "replace"},
            **changes,
        }
    )


def staged(config: PipelineConfig, context: TaskContext) -> list[Mapping[str, Any]]:
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    manifest = transform.run(config, manifests, context)
    return [load.run(config, index, manifest, context) for index in range(len(config.outputs))]


def run(config: PipelineConfig, execution: str) -> None:
    config = config.model_copy(update={"execution": execution})
    context = local(config, {})
    if execution == "staged":
        staged(config, context)
    else:
        fused.run(config, context)


def stored(home: Path, sql: str = "SELECT * FROM numbers ORDER BY ALL") -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


@pytest.mark.parametrize("execution", ["staged", "fused"])
class TestTypes:
    def test_a_late_value_widens_the_type_of_the_whole_column(self, configs: Path, home: Path, execution: str) -> None:
        rows = [f"{n},{n}" for n in range(30_000)]
        (configs / "numbers.csv").write_text("\n".join(["id,code", *rows, "30000,007"]))
        run(pipeline(), execution)
        assert stored(home, "SELECT count(*), max(code) FILTER (id = 30000), typeof(any_value(code)) FROM numbers") == [
            (30_001, "007", "VARCHAR")
        ]

    def test_what_a_wider_type_breaks_is_a_located_finding(self, configs: Path, home: Path, execution: str) -> None:
        rows = [str(n) for n in range(30_000)]
        (configs / "numbers.csv").write_text("\n".join(["day", *rows, "2024-01-01"]))
        config = pipeline(transforms=[{"type": "derive", "columns": {"next": "day + 1"}}])
        with pytest.raises(ConfigError) as caught:
            run(config, execution)
        assert caught.value.problems[0].path[:2] == ("transforms", 0)


@pytest.mark.parametrize("execution", ["staged", "fused"])
class TestSeveral:
    def test_two_destinations_get_the_same_rows(self, configs: Path, home: Path, execution: str) -> None:
        (configs / "numbers.csv").write_text("n\n1\n2\n")
        destinations = [
            {"type": "duckdb", "table": name, "write_disposition": "replace"} for name in ("numbers", "twin")
        ]
        run(pipeline(destination=destinations), execution)
        assert stored(home) == stored(home, "SELECT * FROM twin ORDER BY ALL") == [(1,), (2,)]

    def test_two_sources_join(self, configs: Path, home: Path, execution: str) -> None:
        (configs / "a.csv").write_text("id,name\n1,one\n2,two\n")
        (configs / "b.ndjson").write_text('{"id": 2, "score": 9}\n')
        config = {
            "dag_id": "numbers",
            "sources": {"a": {"type": "csv", "path": "a.csv"}, "b": {"type": "json", "path": "b.ndjson"}},
            "transforms": [{"type": "join", "with": "b", "on": ["id"]}],
            "destination": {"type": "duckdb", "table": "numbers", "write_disposition": "replace"},
        }
        run(parse(config), execution)
        assert stored(home) == [(2, "two", 9)]

    def test_a_stream_that_is_read_twice_is_kept(
        self, configs: Path, home: Path, execution: str, warehouse: str
    ) -> None:
        source = {"type": "postgres", "connection": "warehouse", "query": "select n from generate_series(1, 3) as t(n)"}
        transforms = [{"type": "sql", "query": "select n from input union all select n * 10 from input"}]
        run(pipeline(source=source, transforms=transforms), execution)
        assert [n for (n,) in stored(home)] == [1, 2, 3, 10, 20, 30]


@pytest.mark.parametrize("execution", ["staged", "fused"])
class TestNothing:
    def test_no_records_and_no_columns_leave_the_target_as_it_is(
        self, configs: Path, home: Path, execution: str
    ) -> None:
        (configs / "numbers.csv").write_text("n\n1\n")
        run(pipeline(), execution)
        (configs / "numbers.csv").write_text("")
        with pytest.raises(NothingToLoad, match="set 'columns'"):
            run(pipeline(), execution)
        assert stored(home) == [(1,)]

    def test_a_header_alone_loads_no_rows_with_its_columns(self, configs: Path, home: Path, execution: str) -> None:
        (configs / "numbers.csv").write_text("n,name\n")
        run(pipeline(), execution)
        assert stored(home) == []


class TestManifests:
    def test_what_goes_through_xcom_is_small_and_plain(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text(",".join(f"column_{n}" for n in range(500)) + "\n" + ",".join("1" * 500))
        config = pipeline()
        context = local(config, {})
        manifest = extract.run(config, "source", context)
        assert len(json.dumps(manifest)) <= 2000
        assert len(json.dumps(transform.run(config, {"source": manifest}, context))) <= 2000

    def test_a_damaged_part_is_noticed_before_it_is_used(self, configs: Path, home: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\n")
        config = pipeline()
        context = local(config, {})
        manifest = extract.run(config, "source", context)
        (part,) = (home / "dataforge" / "staging").rglob("*.parquet")
        content = bytearray(part.read_bytes())
        content[10] ^= 0xFF
        part.chmod(0o600)
        part.write_bytes(content)
        with pytest.raises(TransientError, match="damaged"):
            transform.run(config, {"source": manifest}, context)

    def test_a_failed_attempt_leaves_no_parts(self, configs: Path, home: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\n")
        config = pipeline(checks=[{"type": "row_count", "min": 5}])
        context = local(config, {})
        manifest = extract.run(config, "source", context)
        before = sorted((home / "dataforge" / "staging").rglob("*.parquet"))
        with pytest.raises(CheckFailed, match="row"):
            transform.run(config, {"source": manifest}, context)
        assert sorted((home / "dataforge" / "staging").rglob("*.parquet")) == before

    def test_success_cleans_staging(self, configs: Path, home: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\n")
        config = pipeline()
        staged(config, local(config, {}))
        assert list((home / "dataforge" / "staging").rglob("*.parquet")) == []

    def test_the_run_key_is_the_same_for_every_attempt(self) -> None:
        context = local(pipeline(), {}, run_id="scheduled__2024")
        again = replace(context, attempt="2")
        assert context.run_key("t") == again.run_key("t") != replace(context, run_id="other").run_key("t")


def test_the_stages_work_over_staging_in_s3(
    configs: Path, home: Path, monkeypatch: pytest.MonkeyPatch, s3_connection: str
) -> None:
    (configs / "numbers.csv").write_text("n\n1\n2\n")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__STAGING_URL", "s3://staging/dataforge")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__STAGING_CONNECTION", s3_connection)
    get_settings.cache_clear()
    config = pipeline(transforms=[{"type": "filter", "where": "n > 1"}])
    context = local(config, {})
    manifest = extract.run(config, "source", context)
    assert manifest["url"].startswith("s3://staging/dataforge/numbers/")
    load.run(config, 0, transform.run(config, {"source": manifest}, context), context)
    assert stored(home) == [(2,)]
    assert not (home / "dataforge" / "staging").exists()
