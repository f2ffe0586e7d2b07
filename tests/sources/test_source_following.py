"""The sources pipeline and asset: rows that other pipelines have committed, and findings where there are none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import psycopg
import pytest

from dataforge.components.base import DestinationConfig, ExtractContext, RunValues
from dataforge.components.outputs import FollowingConfig, Output
from dataforge.components.registry import SOURCES
from dataforge.config.files import read_file
from dataforge.config.outputs import output_of
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.dag_factory.check import check_paths, live_columns
from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.runtime import fused
from dataforge.runtime.connections import lookup
from dataforge.runtime.context import local
from dataforge.runtime.values import resolve
from dataforge.settings import get_settings
from dataforge.sources import _following
from dataforge.testing import ComponentContract

ORDERS = "id,amount\n1,10.50\n2,7.25\n"
CSV = {"type": "csv", "path": "orders.csv"}
COPIED = {"type": "duckdb", "table": "copied", "write_disposition": "replace"}


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "orders.csv").write_text(ORDERS)
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def put(folder: Path, dag_id: str, **changes: Any) -> Path:
    config = {"dag_id": dag_id, "source": CSV, "destination": {"type": "duckdb", "table": dag_id}, **changes}
    path = folder / f"{dag_id}.json"
    path.write_text(json.dumps(config))
    return path


def run(path: Path) -> None:
    (loaded,) = read_file(path, root=path.parent).pipelines
    fused.run(loaded.config, local(loaded.config, {}))


def build(config: dict[str, Any]) -> Any:
    return SOURCES.build(resolve(SOURCES.get(config["type"]).config.model_validate(config), RunValues()))


def copied() -> list[tuple[Any, ...]]:
    with duckdb.connect(str(get_settings().output_folder / "warehouse.duckdb"), read_only=True) as con:
        return con.execute("SELECT id, amount FROM copied ORDER BY ALL").fetchall()


def amounts() -> list[tuple[int, str]]:
    return [(row[0], str(row[1])) for row in copied()]


EXPECTED = [(1, "10.50"), (2, "7.25")]


class TestPipelineConfig(ComponentContract):
    kind = "source"
    config: ClassVar[dict[str, Any]] = {"type": "pipeline", "pipeline": "orders"}


class TestAssetConfig(ComponentContract):
    kind = "source"
    config: ClassVar[dict[str, Any]] = {"type": "asset", "name": "duckdb/orders"}


class TestRows:
    def test_a_duckdb_table_is_read_without_the_column_of_the_run(self, configs: Path) -> None:
        run(put(configs, "orders"))
        run(put(configs, "copy", source={"type": "pipeline", "pipeline": "orders"}, destination=COPIED))
        assert amounts() == EXPECTED

    def test_an_asset_leads_to_the_pipeline_that_updates_it(self, configs: Path) -> None:
        run(put(configs, "made_by_this", destination={"type": "duckdb", "table": "orders"}))
        put(configs, "other", destination={"type": "duckdb", "table": "others"})
        run(put(configs, "copy", source={"type": "asset", "name": "duckdb/orders"}, destination=COPIED))
        assert amounts() == EXPECTED

    @pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson"])
    @pytest.mark.parametrize("path", ["out/", "out/orders"])
    def test_only_live_files_are_read(self, configs: Path, kind: str, path: str) -> None:
        more = {"header": True, "delimiter": ";", "null_text": "-"} if kind == "csv" else {}
        target = {"type": kind, "path": path, "write_disposition": "replace", **more}
        first = put(configs, "orders", destination=[{"type": "duckdb", "table": "unused"}, target])
        run(first)
        stray = get_settings().output_folder / "out" / f"part-0123456789abcdef-01234567.{kind}"
        stray.write_text("left over by a killed load")
        source = {"type": "pipeline", "pipeline": "orders", "destination": 2}
        if not path.endswith("/"):
            stray.unlink()
        run(put(configs, "copy", source=source, destination=COPIED))
        assert [(row[0], float(row[1])) for row in amounts()] == [(1, 10.5), (2, 7.25)]

    @pytest.mark.timeout(120)
    def test_a_postgres_table_is_read_in_its_own_types(self, configs: Path, warehouse: str) -> None:
        with psycopg.connect(warehouse) as con:
            con.execute("DROP SCHEMA IF EXISTS following CASCADE")
        target = {"type": "postgres", "connection": "warehouse", "table": "following.orders"}
        run(put(configs, "orders", destination=target))
        copy = put(configs, "copy", source={"type": "asset", "name": "warehouse/following.orders"}, destination=COPIED)
        run(copy)
        assert amounts() == EXPECTED
        (loaded,) = read_file(copy, root=configs).pipelines
        assert live_columns(loaded.config) == {"source": {"id": "BIGINT", "amount": "DECIMAL(18,2)"}}

    def test_what_was_not_loaded_yet_is_told(self, configs: Path) -> None:
        put(configs, "orders")
        put(configs, "files", destination={"type": "parquet", "path": "out/"})
        for name in ("orders", "files"):
            copy = put(configs, "copy", source={"type": "pipeline", "pipeline": name}, destination=COPIED)
            with pytest.raises(TerminalError, match="yet; run the pipeline that writes it"):
                run(copy)

    def test_a_file_that_is_being_written_is_waited_for(
        self, configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(put(configs, "orders"))
        path = get_settings().output_folder / "warehouse.duckdb"
        source = build({"type": "pipeline", "pipeline": "orders"})
        context = ExtractContext(lookup, tmp_path)
        held = duckdb.connect(str(path))
        monkeypatch.setattr(_following, "LOCK_SECONDS", 0.2)
        with pytest.raises(TransientError, match="held open by a load"):
            source.extract(context)
        monkeypatch.setattr(_following, "LOCK_SECONDS", 30.0)
        timer = threading.Timer(0.3, held.close)
        timer.start()
        source.extract(context)
        timer.join()

    def test_check_says_what_would_be_read(self, configs: Path, tmp_path: Path) -> None:
        run(put(configs, "orders"))
        for config in ({"type": "pipeline", "pipeline": "orders"}, {"type": "asset", "name": "duckdb/orders"}):
            source = build(config)
            context = ExtractContext(lookup, tmp_path)
            assert source.check(context).startswith("duckdb orders: ")
            assert source.discover(context) == {"id": "BIGINT", "amount": "DECIMAL(18,2)"}

    def test_a_path_that_differs_from_run_to_run_is_refused(self, configs: Path) -> None:
        put(configs, "orders", destination={"type": "parquet", "path": "out/${run_id}/"})
        copy = put(configs, "copy", source={"type": "pipeline", "pipeline": "orders"}, destination=COPIED)
        with pytest.raises(ConfigError, match="differs from run to run"):
            run(copy)


class TestFindings:
    def codes(self, *paths: Path) -> list[tuple[str, str, str | None]]:
        found = check_paths(paths, root=paths[0].parent).findings
        return [(one.code, one.pointer, one.suggestion) for one in found if one.severity == "error"]

    def test_an_unknown_pipeline_is_told_with_the_nearest_name(self, configs: Path) -> None:
        put(configs, "orders")
        copy = put(configs, "copy", source={"type": "pipeline", "pipeline": "order"}, destination=COPIED)
        assert self.codes(copy) == [("unknown-pipeline", "/source/pipeline", "did you mean 'orders'?")]

    def test_a_destination_that_is_not_there_is_told(self, configs: Path) -> None:
        put(configs, "orders")
        copy = put(configs, "copy", source={"type": "pipeline", "pipeline": "orders", "destination": 2})
        assert self.codes(copy) == [("unknown-pipeline", "/source/destination", None)]

    def test_an_asset_that_nobody_writes_is_told(self, configs: Path) -> None:
        put(configs, "orders")
        copy = put(configs, "copy", source={"type": "asset", "name": "duckdb/order"}, destination=COPIED)
        assert self.codes(copy) == [("unknown-asset", "/source/name", "did you mean 'duckdb/orders'?")]

    def test_a_circle_is_told_in_every_pipeline_of_it(self, configs: Path) -> None:
        a = put(configs, "a", source={"type": "pipeline", "pipeline": "b"})
        b = put(configs, "b", source={"type": "asset", "name": "duckdb/c"})
        c = put(configs, "c", sources={"one": {"type": "pipeline", "pipeline": "a"}}, source=None)
        put(configs, "reader", source={"type": "pipeline", "pipeline": "a"})
        assert {code for code, _, _ in self.codes(a, b, c)} == {"circular-source"}
        assert [pointer for _, pointer, _ in self.codes(configs)] == [
            "/source/pipeline",
            "/source/name",
            "/sources/one/pipeline",
        ]

    def test_a_pipeline_that_reads_itself_is_a_circle(self, configs: Path) -> None:
        own = put(configs, "own", source={"type": "pipeline", "pipeline": "own"})
        assert [code for code, _, _ in self.codes(own)] == ["circular-source"]

    def test_the_examples_are_sound(self, configs: Path) -> None:
        put(configs, "orders_daily", destination={"type": "duckdb", "table": "orders"})
        examples = Path(__file__).parents[2] / "docs" / "examples"
        for name in ("pipeline", "asset"):
            text = (examples / f"{name}.json").read_text()
            path = configs / f"{name}.json"
            path.write_text(text)
            assert self.codes(path) == []


def test_elsewhere_an_output_is_refused_with_its_name(tmp_path: Path) -> None:
    config: PipelineConfig = parse(
        {"dag_id": "copy", "source": {"type": "pipeline", "pipeline": "orders"}, "destination": COPIED}
    )
    source: Any = SOURCES.build(config.inputs["source"])
    with pytest.raises(TerminalError, match="'orders' can't be looked up here"):
        source.extract(ExtractContext(lookup, tmp_path))


def test_a_destination_that_no_source_reads_is_told(tmp_path: Path) -> None:
    class Pigeon(DestinationConfig):
        type: str = "pigeon"

    config = SOURCES.get("asset").config.model_validate({"type": "asset", "name": "sky"})
    assert isinstance(config, FollowingConfig)
    source: Any = SOURCES.build(config.leading_to(Pigeon(type="pigeon")))
    with pytest.raises(ConfigError, match="'pigeon'"):
        source.extract(ExtractContext(lookup, tmp_path))


def test_an_output_is_found_where_only_a_matrix_tells_its_name(configs: Path) -> None:
    data = {"dag_id": "of_${matrix.x}", "matrix": {"x": ["a", "b"]}, "source": CSV,
            "destination": {"type": "duckdb", "table": "t_${matrix.x}"}}  # fmt: skip
    (configs / "many.json").write_text(json.dumps(data))
    assert getattr(output_of(Output("pipeline", dag_id="of_b")), "table", "") == "t_b"
