"""A source's stream that breaks in the middle: the run ends at once, with the source's own error, and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pytest
from tests.runtime.test_stages import pipeline, run, stored

from dataforge.components.base import Batches, ExtractContext, SourceConfig, TransformConfig
from dataforge.components.registry import SOURCES, TRANSFORMS
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import TransientError
from dataforge.runtime import preview
from dataforge.runtime.context import local
from dataforge.runtime.engines.duckdb_ import Handed
from dataforge.runtime.landing import land

pytestmark = pytest.mark.timeout(60)

ROWS = 10_000
SCHEMA = pa.table({"id": [0], "note": [""]}).schema


class BreakingConfig(SourceConfig):
    """Config of `breaking`."""

    type: Literal["breaking"] = "breaking"
    batches: int = 6
    breaks: bool = True


class RelayConfig(TransformConfig):
    """Config of `relay`."""

    type: Literal["relay"] = "relay"
    breaks_at: int | None = None


def batches(count: int, *, breaks: bool) -> Iterator[pa.RecordBatch]:
    """Give some batches, and then an error as sources raise it."""
    for number in range(count):
        ids = range(number * ROWS, (number + 1) * ROWS)
        yield pa.record_batch([pa.array(ids, pa.int64()), pa.array([f"note {one}" for one in ids])], schema=SCHEMA)
    if breaks:
        raise TransientError("the server closed the connection")


@pytest.fixture(autouse=True)
def components() -> Iterator[None]:
    """A registered source whose stream breaks after some batches, and a transform in Python."""

    @SOURCES.register(BreakingConfig)
    class Breaking:
        """Gives batches, then breaks."""

        def __init__(self, config: BreakingConfig) -> None:
            self.config = config

        def extract(self, context: ExtractContext) -> Batches:
            found = batches(self.config.batches, breaks=self.config.breaks)
            return Batches(pa.RecordBatchReader.from_batches(SCHEMA, found))

    @TRANSFORMS.register(RelayConfig)
    class Relay:
        """Hands batches on, or breaks."""

        def __init__(self, config: RelayConfig) -> None:
            self.config = config

        def schema(self, schema: pa.Schema) -> pa.Schema:
            return schema

        def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number, batch in enumerate(batches):
                if number == self.config.breaks_at:
                    raise TransientError("the model does not answer")
                yield batch

    yield
    del SOURCES._known["breaking"], TRANSFORMS._known["relay"]


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "with types": {"source": {"columns": {"note": "TEXT", "id": "INTEGER"}}},
    "with a cursor": {
        "source": {"cursor_field": "id"},
        "destination": {"type": "duckdb", "table": "numbers", "write_disposition": "append"},
    },
    "with dead letters": {"source": {"columns": {"id": "INTEGER"}}, "dead_letters": {"max_rows": 5}},
    "dead letters, no types": {"dead_letters": {"max_rows": 5}},
    "with a check": {"checks": [{"type": "not_null", "columns": ["id"]}]},
    "in order": {"transforms": [{"type": "sort", "by": ["note"]}]},
    "read twice": {"transforms": [{"type": "sql", "query": "SELECT a.* FROM source a JOIN source b USING (id)"}]},
    "through Python": {"transforms": [{"type": "relay"}, {"type": "derive", "columns": {"twice": "id * 2"}}]},
}


def breaking(shape: str, **source: Any) -> PipelineConfig:
    changes = dict(SHAPES[shape])
    source = {"type": "breaking", **changes.pop("source", {}), **source}
    return pipeline(source=source, **changes)


def table_exists(home: Path) -> bool:
    path = home / "dataforge" / "output" / "warehouse.duckdb"
    if not path.exists():
        return False
    with duckdb.connect(str(path), read_only=True) as con:
        return bool(con.execute("FROM duckdb_tables() WHERE table_name = 'numbers'").fetchall())


@pytest.mark.parametrize("execution", ["staged", "fused"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_that_breaks_ends_the_run_with_its_own_error(
    configs: Path, home: Path, execution: str, shape: str
) -> None:
    with pytest.raises(TransientError, match=r"^the server closed the connection$"):
        run(breaking(shape), execution)
    assert not table_exists(home)


@pytest.mark.parametrize("execution", ["staged", "fused"])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_it_does_not_matter_when_the_stream_breaks(configs: Path, home: Path, execution: str, count: int) -> None:
    with pytest.raises(TransientError, match=r"^the server closed the connection$"):
        run(breaking("in order", batches=count), execution)
    assert not table_exists(home)


@pytest.mark.parametrize("execution", ["staged", "fused"])
@pytest.mark.parametrize("shape", ["plain", "through Python"])
def test_a_stream_that_does_not_break_arrives_whole(configs: Path, home: Path, execution: str, shape: str) -> None:
    run(breaking(shape, breaks=False), execution)
    assert stored(home, "SELECT count(*), max(id) FROM numbers") == [(6 * ROWS, 6 * ROWS - 1)]


@pytest.mark.parametrize("execution", ["staged", "fused"])
@pytest.mark.parametrize("after", [[], [{"type": "sort", "by": ["note"]}]], ids=["last", "before a sort"])
def test_a_transform_that_breaks_ends_the_run_with_its_own_error(
    configs: Path, home: Path, execution: str, after: list[dict[str, Any]]
) -> None:
    config = breaking("plain", breaks=False, batches=30).model_dump(mode="json", exclude_unset=True, by_alias=True)
    config["transforms"] = [{"type": "relay", "breaks_at": 3}, *after]
    with pytest.raises(TransientError, match=r"^the model does not answer$"):
        run(pipeline(**config), execution)
    assert not table_exists(home)


def test_a_preview_of_a_stream_that_breaks_says_so(configs: Path) -> None:
    config = breaking("plain", batches=0)
    with pytest.raises(TransientError, match="the server closed the connection"):
        preview.run(config, local(config, {}))


def test_an_ordered_copy_of_a_broken_stream_ends_however_far_it_came(tmp_path: Path) -> None:
    for count in range(8):
        with duckdb.connect(config={"threads": "2", "preserve_insertion_order": "true"}) as con:
            reader = pa.RecordBatchReader.from_batches(SCHEMA, batches(count, breaks=True))
            landed = land(con, "source", Batches(reader), scratch=tmp_path)
            con.execute(f"COPY (FROM source) TO '{tmp_path}/out.parquet' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
            with pytest.raises(TransientError, match="the server closed"):
                landed.refuse_broken()


def test_what_came_before_the_break_is_seen_as_it_was() -> None:
    handed = Handed(pa.RecordBatchReader.from_batches(SCHEMA, batches(2, breaks=True)))
    assert handed.reader.read_all().num_rows == 2 * ROWS
    assert isinstance(handed.failure, TransientError)
