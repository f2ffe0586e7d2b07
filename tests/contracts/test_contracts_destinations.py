"""Every destination keeps its contract, against the real thing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from dataforge.destinations._table import RUN_COLUMN
from dataforge.runtime.compile import read_arrow
from dataforge.testing import DestinationContract


def rows(relation: duckdb.DuckDBPyRelation | None) -> list[dict[str, Any]]:
    """Return the rows of a relation."""
    assert relation is not None
    found: list[dict[str, Any]] = read_arrow(relation, 1000).read_all().to_pylist()
    return found


class TestDuckDB(DestinationContract):
    config = {"type": "duckdb", "table": "things"}

    @pytest.fixture(autouse=True)
    def _place(self, home: Path) -> None:
        self.database = home / "dataforge" / "output" / "warehouse.duckdb"

    def stored(self) -> list[dict[str, Any]]:
        with closing(duckdb.connect(str(self.database), read_only=True)) as con:
            found = rows(con.sql("SELECT * FROM things"))
        return [{name: value for name, value in row.items() if name != RUN_COLUMN} for row in found]


class TestPostgres(DestinationContract):
    config = {"type": "postgres", "connection": "warehouse", "table": "contracts.things"}

    @pytest.fixture(autouse=True)
    def _place(self, warehouse: str) -> Iterator[None]:
        self.uri = warehouse
        self._execute("DROP SCHEMA IF EXISTS contracts CASCADE")
        yield
        self._execute("DROP SCHEMA IF EXISTS contracts CASCADE")

    def _execute(self, statement: str) -> None:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.uri) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()

    def stored(self) -> list[dict[str, Any]]:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.uri) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM contracts.things")
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            return [{name: value for name, value in row.items() if name != RUN_COLUMN} for row in found]


class TestSql(DestinationContract):
    config = {"type": "sql", "connection": "ledger", "table": "things"}

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = tmp_path / "things.sqlite"
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(self.database)}))

    def stored(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.database)) as con:
            con.row_factory = sqlite3.Row
            found = [dict(row) for row in con.execute("SELECT * FROM things")]
        return [{name: value for name, value in row.items() if name != RUN_COLUMN} for row in found]


class Files(DestinationContract):
    """Folders for append, single files for replace."""

    suffix: str

    @pytest.fixture(autouse=True)
    def _place(self, home: Path) -> None:
        self.folder = home / "dataforge" / "output"

    def config_for(self, disposition: str) -> Mapping[str, Any]:
        path = "things/" if disposition == "append" else f"things.{self.suffix}"
        return {**self.config, "path": path, "write_disposition": disposition}

    def paths(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob(f"*.{self.suffix}") if path.is_file())


class TestParquet(Files):
    config = {"type": "parquet", "path": "things/"}
    suffix = "parquet"

    def stored(self) -> list[dict[str, Any]]:
        return [row for path in self.paths() for row in pq.read_table(path).to_pylist()]


class TestCsv(Files):
    config = {"type": "csv", "path": "things/"}
    suffix = "csv"

    def stored(self) -> list[dict[str, Any]]:
        return [row for path in self.paths() for row in rows(duckdb.sql(f"FROM read_csv('{path}', header = true)"))]


class TestNdjson(Files):
    config = {"type": "ndjson", "path": "things/"}
    suffix = "ndjson"

    def stored(self) -> list[dict[str, Any]]:
        return [row for path in self.paths() for row in rows(duckdb.sql(f"FROM read_json('{path}')"))]
