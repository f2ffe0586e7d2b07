"""Every source keeps its contract, against the real thing."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataforge.testing import Row, SourceContract

ROWS: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "Ann", "amount": Decimal("10.50"), "day": date(2024, 1, 31)},
    {"id": 2, "name": None, "amount": Decimal("7.25"), "day": None},
    {"id": 3, "name": 'Zoë, "Z"', "amount": None, "day": date(2023, 2, 28)},
)


class InConfigs(SourceContract):
    """Sources that read a file of the configs folder."""

    expected: ClassVar[Sequence[Row]] = ROWS

    @pytest.fixture(autouse=True)
    def _place(self, home: Path) -> None:
        folder = home / "configs"
        folder.mkdir(parents=True)
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Put the file there."""
        raise NotImplementedError


class TestCsv(InConfigs):
    config = {"type": "csv", "path": "rows.csv"}
    expected = tuple({**row, "amount": row["amount"] and row["amount"].quantize(Decimal("0.01"))} for row in ROWS)

    def write(self, folder: Path) -> None:
        lines = ["id,name,amount,day", "1,Ann,10.50,2024-01-31", "2,,7.25,", '3,"Zoë, ""Z""",,2023-02-28']
        (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


class TestJson(InConfigs):
    config = {"type": "json", "path": "rows.ndjson", "columns": {"amount": "decimal(5,2)"}}

    def write(self, folder: Path) -> None:
        (folder / "rows.ndjson").write_text("\n".join(json.dumps(row, default=str) for row in ROWS))


class TestParquet(InConfigs):
    config = {"type": "parquet", "path": "rows.parquet"}

    def write(self, folder: Path) -> None:
        pq.write_table(pa.Table.from_pylist(list(ROWS)), folder / "rows.parquet")


class TestPostgres(SourceContract):
    config = {"type": "postgres", "connection": "warehouse", "table": "contract rows".replace(" ", "_")}
    expected = ROWS

    @pytest.fixture(autouse=True)
    def _place(self, warehouse: str) -> None:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(warehouse) as connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS contract_rows")
            cursor.execute("CREATE TABLE contract_rows (id bigint, name text, amount numeric(5,2), day date)")
            cursor.execute(
                "INSERT INTO contract_rows VALUES (1, 'Ann', 10.50, '2024-01-31'), (2, NULL, 7.25, NULL), "
                "(3, 'Zoë, \"Z\"', NULL, '2023-02-28')"
            )
            connection.commit()


class TestSql(SourceContract):
    config = {"type": "sql", "connection": "ledger", "table": "rows"}
    expected = tuple({"id": row["id"], "name": row["name"]} for row in ROWS)

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        database = tmp_path / "ledger.db"
        with sqlite3.connect(database) as con:
            con.execute("CREATE TABLE rows (id integer, name text)")
            con.executemany("INSERT INTO rows VALUES (?, ?)", [(row["id"], row["name"]) for row in ROWS])
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(database)}))


class Api(BaseHTTPRequestHandler):
    """Answers every request with the rows."""

    def do_GET(self) -> None:
        body = json.dumps({"rows": ROWS}, default=str).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


class TestHttp(SourceContract):
    config = {
        "type": "http",
        "connection": "api",
        "endpoint": "/rows",
        "records": "rows",
        "columns": {"amount": "decimal(5,2)"},
    }
    expected = ROWS

    @pytest.fixture(autouse=True)
    def _place(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW_CONN_API", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()
