"""Contracts for components, shipped for everyone who writes their own.

A component's test file inherits one class and says what the component is configured with and what must come out; the
general tests come along:

    class TestRename(TransformContract):
        config = {"type": "rename", "columns": {"id": "order_id"}}
        columns = {"id": "BIGINT"}
        rows = [{"id": 1}]
        expected = [{"order_id": 1}]

Needs pytest. Nothing here reaches the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import ValidationError

from dataforge.components.base import (
    Batches,
    Checkable,
    ComponentConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
    Relation,
    RunValues,
    Scope,
)
from dataforge.components.registry import KINDS, Registry
from dataforge.errors import DataForgeError
from dataforge.runtime.connections import lookup

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

HEAVY = (
    "adbc_driver_manager",
    "airflow.providers",
    "confluent_kafka",
    "duckdb",
    "fastapi",
    "fastavro",
    "fsspec",
    "pandas",
    "pyarrow",
    "requests",
    "sqlalchemy",
    "sqlglot",
)
"""Modules that no import at DAG parse may bring in; Airflow itself brings some of them."""

Row = Mapping[str, Any]


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of an Arrow table as dicts, sorted so that tables without an order compare."""
    return sorted(table.to_pylist(), key=repr)


class Rows:
    """Rows as what a destination loads; `fail_after` makes the stream break after that many batches."""

    def __init__(self, table: pa.Table, *, fail_after: int | None = None) -> None:
        self._table = table
        self._fail_after = fail_after

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        return self._table.schema

    def reader(self) -> pa.RecordBatchReader:
        """Return a new stream in batches of at most 1,000 rows."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._table.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for index, batch in enumerate(self._table.to_batches(max_chunksize=1000)):
            if index == self._fail_after:
                raise DataForgeError("the stream of records broke")
            yield batch
        if self._fail_after is not None and self._fail_after >= self._table.num_rows / 1000:
            raise DataForgeError("the stream of records broke")


class ComponentContract:
    """What holds for every component. Set `config`, as it would stand in a pipeline."""

    kind: ClassVar[str]
    config: ClassVar[Mapping[str, Any]]

    @property
    def registry(self) -> Registry[Any]:
        """The registry of the component's kind."""
        return KINDS[self.kind][0]

    def model(self) -> ComponentConfig:
        """Return the config as its model."""
        return self.registry.get(self.config["type"]).config.model_validate(self.config)

    def test_config_survives_a_round_trip(self) -> None:
        """What the model writes as JSON, it reads back as the same."""
        model = self.model()
        written = model.model_dump(mode="json", by_alias=True)
        assert type(model).model_validate(written) == model

    def test_unknown_keys_are_refused(self) -> None:
        """A misspelt key is an error, never ignored."""
        with pytest.raises(ValidationError, match="nonsense_key"):
            type(self.model()).model_validate({**self.config, "nonsense_key": 1})

    def test_every_field_says_what_it_means(self) -> None:
        """The schema, the reference page and the form are made from the descriptions."""
        silent = [
            name
            for name, field in type(self.model()).model_fields.items()
            if name != "type" and not (field.description or "").strip()
        ]
        assert not silent

    def test_class_has_a_summary(self) -> None:
        """The catalogue shows the first sentence of the class's docstring."""
        assert self.registry.get(self.config["type"]).summary.endswith((".", ":"))

    def test_import_is_light(self) -> None:
        """A fresh interpreter that validates the config has imported nothing heavy."""
        code = (
            "import sys, json; from dataforge.components.registry import KINDS; config = json.loads(sys.argv[2])\n"
            "KINDS[sys.argv[1]][0].get(config['type']).config.model_validate(config)\n"
            f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
            "sys.exit(', '.join(heavy) or 0)"
        )

        command = [sys.executable, "-c", code, self.kind, json.dumps(self.config)]

        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)  # noqa: S603 - our own code
        assert result.returncode == 0, result.stderr


class SourceContract(ComponentContract):
    """For sources: also set `expected`, the rows that must come out (in any order)."""

    kind = "source"
    expected: ClassVar[Sequence[Row]]

    def read(self, scratch: Path, sample: int | None = None) -> list[dict[str, Any]]:
        """Return the rows that the source gives once they are typed."""
        from dataforge.runtime.engines.duckdb_ import connect, read
        from dataforge.runtime.landing import land

        model = self.model()
        context = ExtractContext(lookup, scratch, RunValues(), sample)
        extracted = self.registry.build(model).extract(context)
        paths = getattr(extracted, "paths", ())
        with closing(connect(scratch, readable=paths)) as con:
            landed = land(
                con, "rows", extracted, overrides=getattr(model, "columns", {}), scratch=scratch, sample=sample
            )
            rows = rows_of(read(con, _everything(landed.view)))
            landed.refuse_broken()
        if isinstance(extracted, Batches):
            extracted.close()
        return rows

    def test_gives_the_expected_rows(self, tmp_path: Path) -> None:
        """All rows arrive, with their types."""
        assert self.read(tmp_path) == sorted(map(dict, self.expected), key=repr)

    def test_gives_the_same_rows_again(self, tmp_path: Path) -> None:
        """Nothing is used up by reading."""
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
        assert self.read(tmp_path / "first") == self.read(tmp_path / "second")

    def test_a_sample_is_enough_for_a_preview(self, tmp_path: Path) -> None:
        """A preview asks for few rows and gets no more."""
        sampled = self.read(tmp_path, sample=1)
        assert len(sampled) == min(1, len(self.expected))

    def test_check_says_what_was_reached(self, tmp_path: Path) -> None:
        """A source whose connection can be tried answers with a sentence."""
        source = self.registry.build(self.model())
        if isinstance(source, Checkable):
            assert source.check(ExtractContext(lookup, tmp_path)).strip()


class TransformContract(ComponentContract):
    """For SQL transforms: also set `columns` (name to DuckDB type), `rows` and the `expected` rows, in any order.

    `others` are further relations that the transform may read: name to (columns, rows).
    """

    kind = "transform"
    columns: ClassVar[Mapping[str, str]]
    rows: ClassVar[Sequence[Row]]
    expected: ClassVar[Sequence[Row]]
    others: ClassVar[Mapping[str, tuple[Mapping[str, str], Sequence[Row]]]] = {}

    def run(self, con: DuckDBPyConnection, rows: Sequence[Row], columns: Mapping[str, str] | None) -> pa.Table:
        """Return what the transform makes of `rows`; `columns` None stands for columns that are not known."""
        from dataforge.runtime.engines.duckdb_ import read

        create_table(con, "input", self.columns, rows)
        relations = {}
        for name, (other, other_rows) in self.others.items():
            create_table(con, name, other, other_rows)
            relations[name] = Relation(name, other if columns is not None else None)
        transform = self.registry.build(self.model())
        return read(con, transform.apply(Relation("input", columns), Scope(relations, RunValues())))

    def test_gives_the_expected_rows(self, tmp_path: Path) -> None:
        """The rows that come out are the expected ones."""
        from dataforge.runtime.engines.duckdb_ import connect

        with closing(connect(tmp_path)) as con:
            assert rows_of(self.run(con, self.rows, self.columns)) == sorted(map(dict, self.expected), key=repr)

    def test_works_where_columns_are_not_known(self, tmp_path: Path) -> None:
        """Sources that can't tell their columns give the same result."""
        from dataforge.runtime.engines.duckdb_ import connect

        with closing(connect(tmp_path)) as con:
            assert rows_of(self.run(con, self.rows, None)) == sorted(map(dict, self.expected), key=repr)

    def test_no_rows_keep_their_columns(self, tmp_path: Path) -> None:
        """Without rows the result has the same columns as with them."""
        from dataforge.runtime.engines.duckdb_ import connect

        with closing(connect(tmp_path)) as con:
            schema = self.run(con, self.rows, self.columns).schema
            assert self.run(con, (), self.columns).schema == schema


class CheckContract(ComponentContract):
    """For checks: also set `columns`, `rows`, and how many `violations` there are among them."""

    kind = "check"
    columns: ClassVar[Mapping[str, str]]
    rows: ClassVar[Sequence[Row]]
    violations: ClassVar[int]

    def test_counts_violations_and_keeps_few_examples(self, tmp_path: Path) -> None:
        """The count is exact, and at most five examples are kept."""
        from dataforge.runtime.checks import evaluate
        from dataforge.runtime.engines.duckdb_ import connect

        with closing(connect(tmp_path)) as con:
            create_table(con, "input", self.columns, self.rows)
            (result,) = evaluate(con, [self.model()], "input", self.columns)  # type: ignore[list-item]  # of the kind
        assert result.violations == self.violations
        assert result.passed == (self.violations == 0)
        assert len(result.examples) <= 5
        assert result.message


class DestinationContract(ComponentContract):
    """For destinations with a `write_disposition`: also implement `stored`, which reads back what is there.

    `config` is used with each disposition that the destination's capabilities name; a config that differs between them
    (a folder for append, a file for replace) can be given by `config_for`.
    """

    kind = "destination"

    def stored(self) -> list[dict[str, Any]]:
        """Return the rows that are there now, without the run column; none when there is no table or file yet."""
        raise NotImplementedError

    def config_for(self, disposition: str) -> Mapping[str, Any]:
        """Return the config to use with a disposition."""
        return {**self.config, "write_disposition": disposition}

    def load(
        self, disposition: str, incoming: Incoming, run: str, scratch: Path, digest: str | None = None
    ) -> LoadReport:
        """Load rows as run `run` would, staged under the manifest `digest`."""
        model = self.registry.get(self.config["type"]).config.model_validate(self.config_for(disposition))
        context = LoadContext(lookup, scratch, run, "contract", run_id=run, digest=digest)
        report: LoadReport = self.registry.build(model).load(incoming, context)
        return report

    @pytest.fixture
    def table(self) -> pa.Table:
        """Two thousand and one rows of plain types, with nulls."""
        import pyarrow as pa

        numbers = range(2001)
        return pa.table(
            {
                "id": pa.array(numbers, pa.int64()),
                "name": pa.array([f"name {n}" if n % 7 else None for n in numbers], pa.string()),
                "share": pa.array([n / 8 for n in numbers], pa.float64()),
            }
        )

    def test_append_adds_to_what_is_there(self, table: pa.Table, tmp_path: Path) -> None:
        """Two runs leave the rows of both."""
        self.load("append", Rows(table), "run-1", tmp_path)
        self.load("append", Rows(table), "run-2", tmp_path)
        assert sorted(self.stored(), key=repr) == sorted(2 * table.to_pylist(), key=repr)

    def test_replace_leaves_only_the_last_run(self, table: pa.Table, tmp_path: Path) -> None:
        """Rows of earlier runs are gone."""
        self.load("replace", Rows(table), "run-1", tmp_path)
        self.load("replace", Rows(table.slice(0, 1500)), "run-2", tmp_path)
        assert sorted(self.stored(), key=repr) == sorted(table.slice(0, 1500).to_pylist(), key=repr)

    @pytest.mark.parametrize("disposition", ["append", "replace"])
    def test_a_run_that_was_loaded_is_not_loaded_twice(self, disposition: str, table: pa.Table, tmp_path: Path) -> None:
        """The same staged rows of the same run, as a retry after a lost answer brings them, change nothing."""
        self.load(disposition, Rows(table), "run-1", tmp_path, digest="one")
        report = self.load(disposition, Rows(table), "run-1", tmp_path, digest="one")
        assert sorted(self.stored(), key=repr) == sorted(table.to_pylist(), key=repr)
        assert report.already
        assert report.rows == table.num_rows

    @pytest.mark.parametrize("disposition", ["append", "replace"])
    def test_a_run_done_again_replaces_its_own_rows(self, disposition: str, table: pa.Table, tmp_path: Path) -> None:
        """A run that is cleared and extracts again puts its new rows in place of its old ones."""
        self.load(disposition, Rows(table), "run-1", tmp_path, digest="one")
        self.load(disposition, Rows(table.slice(0, 1500)), "run-1", tmp_path, digest="two")
        assert sorted(self.stored(), key=repr) == sorted(table.slice(0, 1500).to_pylist(), key=repr)

    @pytest.mark.parametrize("disposition", ["append", "replace"])
    def test_a_load_that_breaks_changes_nothing(self, disposition: str, table: pa.Table, tmp_path: Path) -> None:
        """When the stream of rows breaks in the middle, what was there before is still there, and nothing else."""
        self.load(disposition, Rows(table.slice(0, 5)), "run-1", tmp_path)
        before = sorted(self.stored(), key=repr)
        with pytest.raises(Exception, match=r"broke"):
            self.load(disposition, Rows(table, fail_after=1), "run-2", tmp_path)
        assert sorted(self.stored(), key=repr) == before

    def test_names_that_need_quoting_arrive(self, tmp_path: Path) -> None:
        """Reserved words, spaces, quotes and capitals are kept as they are."""
        import pyarrow as pa

        table = pa.table({name: pa.array([1], pa.int64()) for name in ("select", "two words", 'qu"ote', "Mixed")})
        self.load("replace", Rows(table), "run-1", tmp_path)
        assert self.stored() == table.to_pylist()


def create_table(con: DuckDBPyConnection, name: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Make a table in the engine that holds `rows`; missing keys are NULL."""
    quoted = '"' + name.replace('"', '""') + '"'
    fields = ", ".join('"' + column.replace('"', '""') + f'" {type_}' for column, type_ in columns.items())
    con.execute(f"CREATE OR REPLACE TABLE {quoted} ({fields})")
    if rows:
        marks = ", ".join("?" for _ in columns)
        con.executemany(
            f"INSERT INTO {quoted} VALUES ({marks})", [[row.get(column) for column in columns] for row in rows]
        )


def _everything(view: str) -> Any:
    from sqlglot import exp

    from dataforge.components import sql

    return sql.select(Relation(view), exp.Star())
