"""The plan: readable SQL, exact types, segments around transforms in Python, and all of it fast."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa
import pytest
import sqlglot
from tests.transforms.conftest import ORDERS, columns_of, pipeline

from dataforge.components.base import RunValues, TransformConfig
from dataforge.components.fields import TemplatedText
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, TerminalError
from dataforge.runtime.compile import ArrowSegment, Plan, SqlSegment, compile

STEPS: list[dict[str, Any]] = [
    {"type": "rename", "columns": {"id": "order_id"}},
    {"type": "cast", "columns": {"amount": "decimal(14,3)"}},
    {"type": "filter", "where": "status = 'paid' and amount > 0"},
    {"type": "derive", "columns": {"year": "year(day)", "big": "amount > 100"}},
    {"type": "mask", "columns": {"email": "hash"}},
    {"type": "deduplicate", "keys": ["order_id"], "order_by": "day desc"},
]


class TaggedConfig(TransformConfig):
    """Config of `tagged`."""

    type: Literal["tagged"] = "tagged"
    tag: TemplatedText = "x"
    drop: str | None = None


@pytest.fixture
def tagged() -> Iterator[None]:
    """A registered Python transform, as a package would bring it: adds a column `tag`, takes one away."""

    @TRANSFORMS.register(TaggedConfig)
    class Tagged:
        """Adds a column."""

        def __init__(self, config: TaggedConfig) -> None:
            self._config = config

        def schema(self, schema: pa.Schema) -> pa.Schema:
            kept = [field for field in schema if field.name != self._config.drop]
            return pa.schema([*kept, pa.field("tag", pa.string())])

        def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
            for batch in batches:
                kept = [name for name in batch.schema.names if name != self._config.drop]
                arrays = [batch.column(name) for name in kept]
                tags = pa.array([self._config.tag] * batch.num_rows, pa.string())
                yield pa.RecordBatch.from_arrays([*arrays, tags], schema=self.schema(batch.schema))

    yield
    del TRANSFORMS._known["tagged"]


def known() -> dict[str, Any]:
    return {"source": columns_of(ORDERS)}


def test_a_chain_becomes_one_query_with_a_named_cte_for_each_step() -> None:
    plan = compile(pipeline(*STEPS), known())
    text = plan.sql()
    parsed = sqlglot.parse_one(text, dialect="duckdb")
    assert [cte.alias for cte in parsed.find_all(sqlglot.exp.CTE)] == [
        "step_1_rename",
        "step_2_cast",
        "step_3_filter",
        "step_4_derive",
        "step_5_mask",
        "step_6_deduplicate",
    ]
    assert text.startswith('WITH "step_1_rename" AS (\n  SELECT\n')
    assert text.endswith('SELECT\n  *\nFROM "step_6_deduplicate"')
    assert all(identifier.args["quoted"] for identifier in parsed.find_all(sqlglot.exp.Identifier))
    assert [segment.reads for segment in plan.segments if isinstance(segment, SqlSegment)] == [("source",)]


def test_types_are_exactly_those_of_the_engine() -> None:
    plan = compile(pipeline(*STEPS), known())
    assert plan.columns == {
        "order_id": "INTEGER",
        "Status": "VARCHAR",
        "amount": "DECIMAL(14,3)",
        "email": "VARCHAR",
        "day": "DATE",
        "customer": "INTEGER",
        "year": "BIGINT",
        "big": "BOOLEAN",
    }
    assert [step.type for step in plan.steps] == [step["type"] for step in STEPS]
    assert plan.is_bound


def test_without_transforms_the_first_source_is_the_result() -> None:
    plan = compile(pipeline(sources=("orders", "other")), {"orders": {"a": "INTEGER"}})
    assert plan.sql(pretty=False) == 'SELECT * FROM "orders"'
    assert plan.columns == {"a": "INTEGER"}
    assert not plan.is_bound


def test_open_columns_stay_open_and_compile_all_the_same() -> None:
    plan = compile(pipeline(*STEPS), {})
    assert plan.columns is None
    assert plan.sql().count("SELECT") == 7


def test_a_plan_can_end_with_any_step() -> None:
    plan = compile(pipeline(*STEPS), known())
    assert plan.query_upto(1).sql("duckdb").endswith('SELECT * FROM "step_2_cast"')
    assert list(plan.upto(3).columns or ()) == list(plan.columns or ())
    assert plan.upto(-1).sql(pretty=False) == 'SELECT * FROM "source"'


def test_a_step_that_nothing_reads_is_not_in_the_query() -> None:
    plan = compile(pipeline({"type": "limit", "count": 1}, {"type": "limit", "count": 2, "input": "source"}), known())
    assert "step_1_limit" not in plan.sql()
    assert plan.segments[0].steps == (1,)  # type: ignore[union-attr]


def test_cte_names_keep_clear_of_source_names() -> None:
    inputs = {"step_1_limit": {"a": "INTEGER"}}
    plan = compile(pipeline({"type": "limit", "count": 1}, sources=inputs), inputs)
    assert plan.result == "step_1_limit_"


def test_a_transform_in_python_cuts_the_chain(tagged: None) -> None:
    plan = compile(
        pipeline(
            {"type": "limit", "count": 2},
            {"type": "tagged", "drop": "email"},
            {"type": "filter", "where": "tag = 'x'"},
        ),
        known(),
    )
    first, middle, last = plan.segments
    assert isinstance(first, SqlSegment)
    assert isinstance(middle, ArrowSegment)
    assert isinstance(last, SqlSegment)
    assert (first.reads, middle.name, last.reads) == (("source",), "step_2_tagged", ("step_2_tagged",))
    assert list(plan.columns or ()) == ["id", "Status", "amount", "day", "customer", "tag"]
    assert "-- step_2_tagged: tagged, a transform in Python" in plan.sql()
    with pytest.raises(TerminalError, match="has no query"):
        plan.query_upto(1)


def test_columns_behind_a_transform_in_python_are_checked(tagged: None) -> None:
    with pytest.raises(ConfigError) as caught:
        compile(pipeline({"type": "tagged", "drop": "email"}, {"type": "drop", "columns": ["email", "tga"]}), known())
    assert [(problem.path, problem.suggestion) for problem in caught.value.problems][1] == (
        ("transforms", 1, "columns", 1),
        "did you mean 'tag'?",
    )
    open_plan = compile(pipeline({"type": "tagged"}, {"type": "drop", "columns": ["email"]}), {})
    assert len(open_plan.segments) == 3


def test_a_plan_can_be_bound_later(tagged: None) -> None:
    config = pipeline({"type": "derive", "columns": {"status": "1"}}, {"type": "tagged"})
    plan = compile(config, {})
    assert plan.columns is None
    bound = plan.bind(known())
    assert list(bound.columns or ()) == ["id", "Status", "amount", "email", "day", "customer", "tag"]
    assert isinstance(bound, Plan)


def test_types_of_inputs_are_no_way_to_other_sql() -> None:
    with pytest.raises(TerminalError, match="is no type of the engine"):
        compile(pipeline({"type": "limit", "count": 1}), {"source": {"a": "INTEGER); DROP TABLE x; --"}})


def test_all_kinds_of_types_come_through() -> None:
    types = [
        "HUGEINT", "UBIGINT", "DECIMAL(38,10)", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIME", "INTERVAL", "UUID",
        "BLOB", "BIT", "JSON", "INTEGER[]", "INTEGER[3]", 'STRUCT("a b" INTEGER, c VARCHAR[])', "MAP(VARCHAR, DOUBLE)",
        "ENUM('x', 'it''s')", "UNION(n INTEGER, t VARCHAR)", "BOOLEAN", "TINYINT", "FLOAT",
    ]  # fmt: skip
    columns = {f"c{index}": type_ for index, type_ in enumerate(types)}
    plan = compile(
        pipeline({"type": "limit", "count": 1}, {"type": "rename", "columns": {"c0": "first"}}), {"source": columns}
    )
    assert list((plan.columns or {}).values()) == types


def test_values_of_the_run_reach_text_fields_of_components(tagged: None) -> None:
    config = pipeline({"type": "tagged", "tag": "${params.t}"}, params={"t": "yes"})
    (segment,) = [found for found in compile(config, known(), RunValues()).segments if isinstance(found, ArrowSegment)]
    assert segment.component._config.tag == "yes"  # type: ignore[attr-defined]


def test_open_columns_load_no_engine() -> None:
    code = (
        "import sys; sys.path[:0] = ['plugins', '.']\n"
        "from tests.runtime.test_compile import STEPS, pipeline, compile\n"
        "for name in [m for m in sys.modules if m.split('.')[0] in ('duckdb', '_duckdb')]: del sys.modules[name]\n"
        "compile(pipeline(*STEPS), {}).sql()\n"
        "print(any(m.split('.')[0] in ('duckdb', '_duckdb') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
