"""validate_schema: what a record is to a JSON Schema, and what becomes of one that breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from tests.transforms.conftest import Transformed, made, problems_of

from dataforge.config.pipeline import parse
from dataforge.errors import TerminalError
from dataforge.runtime import fused, preview
from dataforge.runtime.context import local
from dataforge.testing import ComponentContract
from dataforge.transforms.validate_schema import ValidateSchema, ValidateSchemaConfig

SCHEMA = {
    "type": "object",
    "required": ["id", "email"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "email": {"type": "string", "pattern": "@"},
        "price": {"type": "number", "exclusiveMinimum": 0},
        "day": {"type": "string", "format": "date"},
        "tags": {"$ref": "#/$defs/tags"},
    },
    "$defs": {"tags": {"type": "array", "items": {"type": "string"}}},
}
STEP = {"type": "validate_schema", "schema": SCHEMA}


class TestValidateSchema(ComponentContract):
    kind = "transform"
    config: ClassVar = STEP


GOOD = """SELECT 1::BIGINT AS id, 'a@b' AS email, 1.50::DECIMAL(9,2) AS price, DATE '2024-01-02' AS day,
          ['x'] AS tags, '{"a": [1]}'::JSON AS extra, 'b'::BLOB AS raw"""


def test_sound_records_pass_as_they_are(transformed: Transformed) -> None:
    names, rows = transformed(STEP, {"type": "derive", "columns": {"a": "extra -> '$.a[0]'"}}, tables={"source": GOOD})
    assert names == ["id", "email", "price", "day", "tags", "extra", "raw", "a"]
    assert rows[0][:2] == (1, "a@b")
    assert rows[0][-1] == "1"


BAD = [
    ("NULL AS email", "'email' is a required property"),
    ("'ab' AS email", "/email: 'ab' does not match '@'"),
    ("0 AS id", "/id: 0 is less than the minimum of 1"),
    ("1.5 AS id", "/id: 1.5 is not of type 'integer'"),
    ("0.00::DECIMAL(9,2) AS price", "/price: 0 is less than or equal to"),
    ("'1.1.2024' AS day", "/day: '1.1.2024' is not a 'date'"),
    ("['x', NULL] AS tags", "/tags/1: None is not of type 'string'"),
]


@pytest.mark.parametrize(("value", "told"), BAD, ids=[told for _, told in BAD])
def test_the_first_record_that_breaks_the_schema_fails_the_run(value: str, told: str, transformed: Transformed) -> None:
    column = value.rsplit(" AS ", 1)[1]
    table = f"SELECT * REPLACE ({value}) FROM ({GOOD})" if column else GOOD
    with pytest.raises(TerminalError) as caught:
        transformed(STEP, tables={"source": table})
    assert str(caught.value).startswith(f"validate_schema: record 1: {told}")


def test_nulls_are_absent_or_null_as_asked(transformed: Transformed) -> None:
    table = {"source": "SELECT 1 AS id, CAST(NULL AS TEXT) AS note"}
    schema = {"properties": {"note": {"type": "string"}}}
    assert transformed({"type": "validate_schema", "schema": schema}, tables=table)[1] == [(1, None)]
    with pytest.raises(TerminalError, match="/note: None is not of type 'string'"):
        transformed({"type": "validate_schema", "schema": schema, "nulls": "null"}, tables=table)


def test_one_column_of_json_is_held_against_the_schema(transformed: Transformed) -> None:
    step = {"type": "validate_schema", "column": "BODY", "schema": {"required": ["a"]}}
    tables = {"source": "SELECT '{\"a\": 1}'::JSON AS body"}
    assert len(transformed(step, tables=tables)[1]) == 1
    with pytest.raises(TerminalError, match="'a' is a required property"):
        transformed(step, tables={"source": "SELECT '{}'::JSON AS body"})


CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...]]] = [
    ({**STEP, "column": "idd"}, "unknown-column", ("column",)),
    ({**STEP, "invalid": "dead_letter"}, "needs-dead-letters", ()),
    ({**STEP, "schema": {"type": "integr"}}, "invalid-value", ("schema", "type")),
    ({**STEP, "schema": {"$ref": "https://127.0.0.1/x.json"}}, "not-allowed", ("schema", "$ref")),
    ({**STEP, "schema": {"anyOf": [{"$ref": "file:///etc/passwd"}]}}, "not-allowed", ("schema", "anyOf", 0, "$ref")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_with_a_schema_is_said_before_it_runs(case: Any) -> None:
    step, code, path = case
    (problem,) = problems_of(step, inputs={"source": {"id": "BIGINT"}})
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))


def config(folder: Path, **changes: Any) -> Any:
    lines = [
        {"id": 1, "email": "a@b", "extra": {"deep": [1.10]}},
        {"id": 2, "email": "none", "extra": {"deep": [2]}},
        {"id": 3, "email": "c@d", "extra": None},
        {"id": 4, "extra": {}},
    ]
    (folder / "people.json").write_text("\n".join(map(json.dumps, lines)))
    return parse(
        {
            "dag_id": "people",
            "source": {"type": "json", "path": "people.json"},
            "transforms": [{**STEP, "invalid": "dead_letter"}, {"type": "derive", "columns": {"double": "2 * id"}}],
            "destination": {"type": "ndjson", "path": "out.ndjson", "write_disposition": "replace"},
            "dead_letters": {"max_share": 1},
            **changes,
        }
    )


def test_records_that_break_the_schema_are_set_aside_and_no_others(configs: Path) -> None:
    rows, found = made(config(configs))
    assert [(row["id"], row["double"]) for row in rows] == [(1, 2), (3, 6)]
    assert [json.loads(one.record)["id"] for one in found] == [2, 4]
    assert json.loads(found[0].record)["extra"] == {"deep": [2]}
    assert [one.reason for one in found] == [
        "transforms/0 (validate_schema): /email: 'none' does not match '@'",
        "transforms/0 (validate_schema): 'email' is a required property",
    ]
    assert (found[0].stage, found[0].step, json.loads(found[0].types)["extra"]) == ("transform", 0, "JSON")


def test_a_fused_run_and_a_preview_set_the_same_records_aside(configs: Path, home: Path) -> None:
    told = config(configs, execution="fused")
    steps = preview.run(told, local(told, {})).steps
    assert [step.row_count for step in steps] == [4, 2, 2]
    assert steps[1].columns == steps[0].columns
    (load,) = fused.run(told, local(told, {}))["loads"]
    assert load["rows"] == 2
    lines = (home / "dataforge" / "output" / "out.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 3]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"properties": {"id": {"$ref": "#/$defs/gone"}}}, "leads nowhere: .*/\\$defs/gone"),
        ({"$ref": "#"}, "refers to itself without an end"),
    ],
)
def test_a_reference_that_leads_nowhere_or_in_a_circle_is_told(schema: dict[str, Any], told: str) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1]})
    step = ValidateSchema(ValidateSchemaConfig.model_validate({"type": "validate_schema", "schema": schema}))
    with pytest.raises(TerminalError, match=told):
        list(step.apply_batches([batch]))
