"""Every example in configs/ runs, and gives what its data must yield; the expectations are worked out without us."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT / "configs" / "data"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow home that all examples of this module write into."""
    return tmp_path_factory.mktemp("home")


def run(home: Path, config: str, *arguments: str, **environment: str) -> None:
    """Run one example by the command line."""
    result = subprocess.run(
        [sys.executable, "-m", "dataforge", "run", str(ROOT / "configs" / config), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def warehouse(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the embedded warehouse."""
    with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


def source_rows(name: str) -> list[dict[str, str]]:
    """Read a shipped CSV file."""
    path = DATA / name
    with gzip.open(path, "rt", newline="") if name.endswith(".gz") else path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_penguins(outputs: Path) -> None:
    run(outputs, "penguins.json")
    weighed = [row for row in source_rows("penguins.csv") if row["body_mass_g"] != "NA"]
    assert len(weighed) == 342
    found = warehouse(outputs, "SELECT species, count(*), sum(body_mass_kg) FROM penguins GROUP BY 1")
    expected = defaultdict(list)
    for row in weighed:
        expected[row["species"]].append(Decimal(row["body_mass_g"]) / 1000)
    assert {name: (count, mass) for name, count, mass in found} == {
        name: (len(masses), sum(masses)) for name, masses in expected.items()
    }
    assert warehouse(outputs, "SELECT count(*) FROM penguins WHERE sex = 'unknown'") == [
        (sum(row["sex"] == "NA" for row in weighed),)
    ]


def test_flights_by_carrier(outputs: Path) -> None:
    run(outputs, "flights_by_carrier.json")
    names = {row["carrier"]: row["name"] for row in source_rows("airlines.csv")}
    delays = defaultdict(list)
    for row in source_rows("flights_2013_01.csv.gz"):
        if row["dep_delay"] != "NA":
            delays[row["carrier"]].append(int(row["dep_delay"]))
    expected = {
        carrier: (names[carrier], len(some), sum(delay > 15 for delay in some)) for carrier, some in delays.items()
    }
    found = warehouse(outputs, "SELECT carrier, name, departures, late_departures FROM flights_by_carrier")
    assert {carrier: tuple(rest) for carrier, *rest in found} == expected
    with (outputs / "dataforge" / "output" / "reports" / "flights_by_carrier.csv").open(newline="") as file:
        reported = list(csv.DictReader(file))
    assert [int(row["departures"]) for row in reported] == sorted((len(some) for some in delays.values()), reverse=True)


def test_weather_hourly_and_then_daily(outputs: Path) -> None:
    run(outputs, "weather_hourly.json")
    with gzip.open(DATA / "weather_2013_01.ndjson.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    table = pq.read_table(outputs / "dataforge" / "output" / "weather" / "hourly.parquet")
    assert table.num_rows == len({(row["origin"], row["time_hour"]) for row in rows})
    warmest = max(
        round((Decimal(str(row["temp"])) - 32) / Decimal("1.8"), 2) for row in rows if row["temp"] is not None
    )
    assert abs(max(value for value in table["temperature_c"].to_pylist() if value is not None) - warmest) <= Decimal(
        "0.01"
    )
    run(outputs, "weather_daily.json")
    days = {(row["origin"], row["time_hour"][:10]) for row in rows}
    assert warehouse(outputs, "SELECT count(*), count(DISTINCT origin) FROM weather_daily") == [(len(days), 3)]
    assert warehouse(outputs, "SELECT max(warmest_c) FROM weather_daily") == [
        (max(filter(None, table["temperature_c"].to_pylist())),)
    ]


def test_weather_stations_reads_on_from_where_it_stopped(outputs: Path) -> None:
    run(outputs, "weather_stations.json")
    with gzip.open(DATA / "weather_2013_01.ndjson.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    keys = {(row["origin"], row["time_hour"]) for row in rows}
    counted = "SELECT count(*), count(DISTINCT (origin, time_hour)) FROM weather_stations"
    assert warehouse(outputs, counted) == [(len(keys), len(keys))]
    run(outputs, "weather_stations.json")
    assert warehouse(outputs, counted) == [(len(keys), len(keys))]
    hours = [datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00")) for row in rows]
    reread = [hour for hour in hours if hour >= max(hours) - timedelta(hours=6)]
    loads = "SELECT row_count, inserted FROM _dataforge_loads WHERE pipeline = 'weather_stations' ORDER BY epoch"
    assert warehouse(outputs, loads) == [(len(keys), len(keys)), (len(reread), 0)]


@pytest.mark.parametrize("since", [2012, 2015])
def test_seattle_rain(outputs: Path, since: int) -> None:
    run(outputs, "seattle_rain.json", "--param", f"since={since}")
    rain: dict[date, Decimal] = defaultdict(Decimal)
    for row in source_rows("seattle-weather.csv"):
        year, month, _ = map(int, row["date"].split("/"))
        if year >= since:
            rain[date(year, month, 1)] += Decimal(row["precipitation"])
    assert dict(warehouse(outputs, "SELECT month, rain_mm FROM seattle_rain")) == rain


def test_aircraft_parts_grow_and_are_masked(outputs: Path) -> None:
    run(outputs, "aircraft.json")
    run(outputs, "aircraft.json")
    parts = sorted((outputs / "dataforge" / "output" / "aircraft").glob("*.ndjson"))
    assert len(parts) == 2
    rows = [json.loads(line) for line in parts[0].read_text().splitlines()]
    assert len(rows) == 2000
    planes = pq.read_table(DATA / "planes.parquet").to_pylist()
    masked = {hashlib.sha256(plane["tailnum"].encode()).hexdigest() for plane in planes}
    assert {row["tailnum"] for row in rows} <= masked
    assert not {row["tailnum"] for row in rows} & {plane["tailnum"] for plane in planes}


def test_us_employment(outputs: Path) -> None:
    run(outputs, "us_employment.json")
    rows = source_rows("us-employment.csv")
    expected = {
        date.fromisoformat(row["month"]): int(row["nonfarm"]) - int(before["nonfarm"])
        for before, row in zip(rows, rows[12:], strict=False)
    }
    assert dict(warehouse(outputs, "SELECT month, change_on_year FROM us_employment")) == expected


@pytest.mark.parametrize(("coast", "zone"), [("east", "America/New_York"), ("west", "America/Los_Angeles")])
def test_airports(outputs: Path, coast: str, zone: str) -> None:
    run(outputs, "airports.json", "--dag-id", f"airports_{coast}")
    expected = {row["faa"] for row in source_rows("airports.csv") if row["tzone"] == zone}
    assert {code for (code,) in warehouse(outputs, f"SELECT code FROM airports_{coast}")} == expected


ORDERS = [
    {
        "id": n,
        "amount": f"{n}.50",
        "status": "paid",
        "email": f"u{n}@example.org",
        "updated_at": f"2024-01-{n:02}T00:00:00Z",
    }
    for n in range(1, 26)
]


class Shop(BaseHTTPRequestHandler):
    """A JSON API with ten orders a page."""

    def do_GET(self) -> None:
        """Answer /orders?status=…&after=…"""
        assert "status=paid" in self.path
        start = int(self.path.partition("after=")[2].partition("&")[0] or 0)
        following = f"/orders?status=paid&after={start + 10}" if start + 10 < len(ORDERS) else None
        body = json.dumps({"data": {"orders": ORDERS[start : start + 10], "next": following}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of the API."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_examples_that_need_connections(outputs: Path, shop: str, postgres_folder: Path) -> None:
    uri = f"postgresql://postgres@/postgres?host={postgres_folder}"
    environment = {"AIRFLOW_CONN_SHOP_API": shop, "AIRFLOW_CONN_WAREHOUSE": uri}
    run(outputs, "with_connections/shop_orders.json", **environment)
    run(outputs, "with_connections/orders_export.json", **environment)
    (part,) = (outputs / "dataforge" / "output" / "exports" / "orders").glob("*.parquet")
    exported = pq.read_table(part).sort_by("order_id").to_pylist()
    assert [row["order_id"] for row in exported] == [order["id"] for order in ORDERS]
    assert [row["amount"] for row in exported] == [Decimal(str(order["amount"])) for order in ORDERS]
    assert exported[0]["email"] == hashlib.sha256(b"u1@example.org").hexdigest()


def test_every_example_is_run_here() -> None:
    """A new example without a test of its own is noticed."""
    tested = Path(__file__).read_text()
    names = [path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.json")]
    assert [name for name in names if not name.endswith("defaults.json") and f'"{name}"' not in tested] == []
