"""What validation finds without reaching for anything."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.config.pipeline import PipelineConfig
from dataforge.dag_factory.check import problems

DESTINATION = {"type": "parquet", "path": "out.parquet"}


def pipeline(**sources: Any) -> PipelineConfig:
    """Return a pipeline that only copies."""
    step = {"transforms": [{"type": "join", "with": "b", "on": ["id"]}]} if "sources" in sources else {}
    return PipelineConfig.model_validate({"dag_id": "copy", "destination": DESTINATION, **step, **sources})


@pytest.mark.parametrize(
    ("source", "place", "message"),
    [
        ({"type": "csv", "path": "../a.csv"}, ("path",), "has '..'"),
        ({"type": "json", "path": ["a.json", "http://example.org/b.json"]}, ("path", 1), "scheme 'http'"),
        ({"type": "parquet", "path": "/nowhere/a.parquet"}, ("path",), "outside the folders"),
        ({"type": "postgres", "connection": "db", "query": "delete from t"}, ("query",), "DELETE"),
        ({"type": "sql", "connection": "db", "query": "select 1; select 2"}, ("query",), "exactly one statement"),
    ],
)
def test_a_source_that_can_never_work_is_a_finding_at_its_place(
    source: dict[str, Any], place: tuple[str | int, ...], message: str
) -> None:
    (found,) = problems(pipeline(source=source))
    assert found.path == ("source", *place)
    assert message in found.message
    (found,) = problems(pipeline(sources={"a": {"type": "csv", "path": "a.csv"}, "b": source}))
    assert found.path == ("sources", "b", *place)


def test_a_sound_source_has_no_problems() -> None:
    assert problems(pipeline(source={"type": "csv", "path": "a.csv"})) == ()
