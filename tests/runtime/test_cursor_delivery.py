"""Incremental reading into real destinations: the cursor is where the rows are, whatever happens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pytest
from adbc_driver_postgresql import dbapi

from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import TransientError
from dataforge.runtime import extract, fused, ledgers, load, transform
from dataforge.runtime.context import TaskContext, local
from dataforge.settings import get_settings

Sql = Callable[[str], list[tuple[Any, ...]]]
UTC = timezone.utc
SOURCE = {"type": "postgres", "connection": "warehouse", "table": "shop.orders", "cursor_field": "at"}
GROWTH = (
    "INSERT INTO shop.orders SELECT g, timestamptz '{start}' + g * interval '1 s', g "
    "FROM generate_series({first}, {last}) AS s(g)"
)
DESTINATIONS: dict[str, dict[str, Any]] = {
    "postgres": {"type": "postgres", "connection": "warehouse", "table": "shop.target"},
    "duckdb": {"type": "duckdb", "table": "target"},
}


@pytest.fixture
def sql(warehouse: str, home: Path) -> Iterator[Sql]:
    (home / "configs").mkdir(parents=True)
    get_settings.cache_clear()

    def run(statement: str) -> list[tuple[Any, ...]]:
        with closing(dbapi.connect(warehouse)) as con, con.cursor() as cursor:
            cursor.execute(statement)
            found = cursor.fetchall() if cursor.description else []
            con.commit()
        return found

    run("DROP SCHEMA IF EXISTS shop CASCADE")
    run("CREATE SCHEMA shop")
    run("CREATE TABLE shop.orders (id int, at timestamptz, amount numeric(10,2))")
    yield run
    run("DROP SCHEMA shop CASCADE")


def pipeline(to: str, source: Mapping[str, Any] | None = None, **target: Any) -> PipelineConfig:
    return parse(
        {
            "dag_id": "orders",
            "source": {**SOURCE, **(source or {})},
            "destination": {**DESTINATIONS[to], **target},
        }
    )


def staged(config: PipelineConfig, context: TaskContext) -> None:
    manifest = transform.run(config, {"source": extract.run(config, "source", context)}, context)
    load.run(config, 0, manifest, context)


def run(config: PipelineConfig, run_id: str, execution: str = "staged") -> None:
    context = local(config, {}, run_id=run_id)
    staged(config, context) if execution == "staged" else fused.run(config, context)


def stored(to: str, sql: Sql, home: Path) -> list[int]:
    if to == "postgres":
        return [id_ for (id_,) in sql("SELECT id FROM shop.target ORDER BY id")]
    with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
        return [id_ for (id_,) in con.execute("SELECT id FROM target ORDER BY id").fetchall()]


def position(config: PipelineConfig) -> Any:
    with ledgers.opened(config, 0, local(config, {})) as ledger:
        state = ledger.state()
    return None if state.cursor is None else state.cursor["source"]


each = pytest.mark.parametrize("to", list(DESTINATIONS))
both = pytest.mark.parametrize("execution", ["staged", "fused"])


@each
@both
def test_runs_bring_what_is_new_and_late_ties_once(sql: Sql, home: Path, to: str, execution: str) -> None:
    config = pipeline(to)
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1.50), (2, '2025-01-01 11:00+00', 2)")
    run(config, "one", execution)
    sql("INSERT INTO shop.orders VALUES (3, '2025-01-01 11:00+00', 3), (4, '2025-01-01 11:00:00.000001+00', 4)")
    run(config, "two", execution)
    run(config, "three", execution)
    assert stored(to, sql, home) == [1, 2, 3, 4]
    assert position(config)["value"] == "2025-01-01 11:00:00.000001+00"


@each
def test_a_cleared_run_replaces_its_own_rows_alone(sql: Sql, home: Path, to: str) -> None:
    config = pipeline(to)
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1)")
    run(config, "one")
    sql("INSERT INTO shop.orders VALUES (2, '2025-01-01 11:00+00', 2), (3, '2025-01-01 12:00+00', 3)")
    run(config, "two")
    sql("INSERT INTO shop.orders VALUES (4, '2025-01-01 13:00+00', 4)")
    run(config, "three")
    before = position(config)
    sql("DELETE FROM shop.orders WHERE id = 2")
    run(config, "two")
    assert stored(to, sql, home) == [1, 3, 4]
    assert position(config) == before


@each
def test_a_backfill_replaces_its_interval_and_leaves_the_cursor(sql: Sql, home: Path, to: str) -> None:
    config = pipeline(to)
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1), (2, '2025-01-02 10:00+00', 2)")
    sql("INSERT INTO shop.orders VALUES (3, '2025-01-03 00:00+00', 3)")
    run(config, "one")
    before = position(config)
    sql("INSERT INTO shop.orders VALUES (4, '2025-01-02 00:00+00', 4), (5, '2025-01-01 23:59:59.999999+00', 5)")
    sql("DELETE FROM shop.orders WHERE id = 2")
    interval = (datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC))
    for _ in range(2):
        staged(config, local(config, {}, interval, "backfill"))
    assert stored(to, sql, home) == [1, 3, 4]
    assert position(config) == before


@each
def test_a_run_that_is_cleared_after_a_backfill_leaves_its_interval_to_it(sql: Sql, home: Path, to: str) -> None:
    config = pipeline(to)
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1), (2, '2025-01-02 10:00+00', 2)")
    sql("INSERT INTO shop.orders VALUES (3, '2025-01-03 00:00+00', 3)")
    run(config, "one")
    interval = (datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC))
    staged(config, local(config, {}, interval, "backfill"))
    for _ in range(2):
        run(config, "one")
        assert stored(to, sql, home) == [1, 2, 3]
    staged(config, local(config, {}, interval, "backfill"))
    assert stored(to, sql, home) == [1, 2, 3]


@each
def test_with_a_key_and_a_lookback_late_records_arrive(sql: Sql, home: Path, to: str) -> None:
    config = pipeline(to, {"lookback": "1h"}, write_disposition="merge", primary_key=["id"])
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1)")
    run(config, "one")
    sql("INSERT INTO shop.orders VALUES (2, '2025-01-01 09:30+00', 2), (3, '2025-01-01 08:30+00', 3)")
    run(config, "two")
    run(config, "three")
    assert stored(to, sql, home) == [1, 2]


@each
def test_a_run_that_was_overtaken_ends_right_by_itself(sql: Sql, home: Path, to: str) -> None:
    config = pipeline(to)
    sql("INSERT INTO shop.orders VALUES (1, '2025-01-01 10:00+00', 1)")
    slow = local(config, {}, run_id="slow")
    manifest = transform.run(config, {"source": extract.run(config, "source", slow)}, slow)
    sql("INSERT INTO shop.orders VALUES (2, '2025-01-01 11:00+00', 2)")
    run(config, "quick")
    sql("INSERT INTO shop.orders VALUES (3, '2025-01-01 12:00+00', 3)")
    load.run(config, 0, manifest, slow)
    assert stored(to, sql, home) == [1, 2, 3]


def test_many_runs_at_once_bring_every_record_once(sql: Sql, home: Path) -> None:
    config = pipeline("postgres")
    sql(GROWTH.format(start="2025-01-01", first=1, last=50))
    failed: list[BaseException] = []

    def one(name: str) -> None:
        for attempt in range(10):
            try:
                staged(config, replace(local(config, {}, run_id=name), attempt=str(attempt)))
            except TransientError:
                continue
            except BaseException as error:  # noqa: BLE001 told below
                failed.append(error)
            return

    threads = [Thread(target=one, args=(f"run{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    sql(GROWTH.format(start="2025-02-01", first=51, last=80))
    for thread in threads:
        thread.join()
    run(config, "last")
    assert failed == []
    assert stored("postgres", sql, home) == list(range(1, 81))


def test_any_sequence_of_growth_runs_and_clears_is_one_read_of_all(sql: Sql, home: Path) -> None:
    for seed in range(3):
        chance = random.Random(seed)
        sql("DROP TABLE IF EXISTS shop.target, shop._dataforge_state, shop._dataforge_loads")
        sql("TRUNCATE shop.orders")
        config, high, count = pipeline("postgres"), 0, 0
        for number in range(5):
            for _ in range(chance.randrange(1, 4)):
                count += 1
                value = high + chance.choice([0, 0, 1])
                sql(f"INSERT INTO shop.orders VALUES ({count}, timestamptz '2025-01-01' + {value} * interval '1 h', 1)")
            ((high,),) = sql(
                "SELECT (extract(epoch FROM max(at) - timestamptz '2025-01-01') / 3600)::int FROM shop.orders"
            )
            run(config, f"run{number}", chance.choice(["staged", "fused"]))
            if chance.random() < 0.5:
                run(config, f"run{chance.randrange(number + 1)}", chance.choice(["staged", "fused"]))
        assert Counter(stored("postgres", sql, home)) == Counter(range(1, count + 1)), f"seed {seed}"
