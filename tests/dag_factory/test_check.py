"""What validation finds without reaching for anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.dag_factory.check import check_paths

OUT = {"type": "parquet", "path": "out/"}


def found(folder: Path, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return pointer and message of each error in a pipeline that writes what it reads."""
    file = folder / "copy.json"
    file.write_text(json.dumps({"dag_id": "copy", "destination": OUT, **config}))
    return [(one.pointer, one.message) for one in check_paths([file], root=folder).findings if one.severity == "error"]


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
    tmp_path: Path, source: dict[str, Any], place: tuple[str | int, ...], message: str
) -> None:
    below = "/".join(map(str, place))
    ((pointer, said),) = found(tmp_path, {"source": source})
    assert pointer == f"/source/{below}"
    assert message in said
    join = {"type": "join", "with": "b", "on": ["id"]}
    ((pointer, _),) = found(
        tmp_path, {"sources": {"a": {"type": "csv", "path": "a.csv"}, "b": source}, "transforms": [join]}
    )
    assert pointer == f"/sources/b/{below}"


def test_a_sound_source_has_no_problems(tmp_path: Path) -> None:
    assert found(tmp_path, {"source": {"type": "csv", "path": "a.csv"}}) == []
