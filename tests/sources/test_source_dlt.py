"""The dlt source against dlt itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest

from dataforge.components.base import ExtractContext
from dataforge.components.registry import SOURCES
from dataforge.config.pipeline import parse
from dataforge.dag_factory.check import component_problems
from dataforge.errors import ConfigError, NothingToLoad, TerminalError, TransientError
from dataforge.runtime import fused
from dataforge.runtime.connections import lookup
from dataforge.runtime.context import local
from dataforge.settings import get_settings
from dataforge.testing import SourceContract

pytest.importorskip("dlt")
ROOT = Path(__file__).parents[2]
CONFIG = {"type": "dlt", "resource": "shelf_tables"}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers dlt resources."""
    about = tmp_path / "site" / "dlt_shelf-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dlt-shelf\nVersion: 1.0\n")
    points = {
        "shelf": "shelf",
        "shelf_books": "books",
        "shelf_tables": "tables",
        "shelf_broken": "broken",
        "no": "BOOKS",
    }
    lines = [f"{name} = dlt_shelf:{target}\n" for name, target in points.items()]
    (about / "entry_points.txt").write_text("[dataforge.dlt_resources]\n" + "".join(lines))
    shutil.copy(ROOT / "tests" / "packages" / "tap-shelf" / "dlt_shelf.py", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delitem(sys.modules, "dlt_shelf", raising=False)


def build(**config: Any) -> Any:
    return SOURCES.build(SOURCES.get("dlt").config.model_validate({"type": "dlt", **config}))


def read(folder: Path, **config: Any) -> list[dict[str, Any]]:
    (path,) = build(**config).extract(ExtractContext(lookup, folder)).paths
    return [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]


class TestContract(SourceContract):
    config: ClassVar[dict[str, Any]] = CONFIG
    expected: ClassVar[list[dict[str, Any]]] = [
        {"id": number, "price": Decimal("1.10") if number % 2 == 0 else None} for number in range(4)
    ]


def pipeline(disposition: str = "append", **source: Any) -> Any:
    target = {"type": "duckdb", "table": "books", "write_disposition": disposition}
    return parse({"dag_id": "shelf", "source": {"type": "dlt", **source}, "destination": target})


def ids() -> list[int]:
    with duckdb.connect(str(get_settings().output_folder / "warehouse.duckdb"), read_only=True) as con:
        return [row[0] for row in con.execute("SELECT id FROM books ORDER BY id").fetchall()]


def test_the_state_of_dlt_is_committed_with_the_rows_and_no_record_comes_twice() -> None:
    for most, expected in ((1, [1]), (2, [1, 2]), (2, [1, 2])):
        config = pipeline(resource="shelf_books", resume=True, args={"most": most})
        with suppress(NothingToLoad):  # the third time
            fused.run(config, local(config, {}))
        assert ids() == expected
    config = pipeline(resource="shelf_books", resume=True)
    with pytest.raises(ConfigError, match="replace"):
        fused.run(pipeline("replace", resource="shelf_books", resume=True), local(config, {}))


def test_values_keep_their_digits_and_times_their_zone(tmp_path: Path) -> None:
    assert read(tmp_path, resource="shelf", stream="books", args={"most": 1}) == [
        {"id": 1, "title": "a", "price": Decimal("1.10"), "changed_at": "2025-01-01T00:00:00+00:00"}
    ]


def test_a_connection_brings_the_secret_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"token": "123456", "unused": 1}
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", json.dumps({"conn_type": "generic", "extra": extra}))
    assert read(tmp_path, resource="shelf_books", connection="shelf")[0]["id"] == 6


def test_arguments_are_checked_against_the_annotations(tmp_path: Path) -> None:
    context = ExtractContext(lookup, tmp_path)
    with pytest.raises(ConfigError, match=r"/args/mots: .*did you mean 'most'"):
        build(resource="shelf_books", args={"mots": 1}).extract(context)
    with pytest.raises(ConfigError, match=r"/args/most: .*integer"):
        build(resource="shelf_books", args={"most": "many"}).extract(context)


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    (problem,) = component_problems(pipeline(resource="shelf_book"))
    assert (problem.code, problem.suggestion) == ("unknown-component", "did you mean 'shelf_books'?")
    both = pipeline(resource="shelf_books", resume=True, cursor_field="id")
    assert [one.code for one in component_problems(both)] == ["conflicting-keys"]
    with pytest.raises(ConfigError, match="did you mean 'books'"):
        build(resource="shelf", args={"most": 1}, stream="book").extract(ExtractContext(lookup, tmp_path))
    with pytest.raises(TerminalError, match="leads to list, no resource"):
        build(resource="no").extract(ExtractContext(lookup, tmp_path))


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("away", TransientError, "ConnectionError: no route"),
        ("wrong", TerminalError, "KeyError"),
        ("mixed", TerminalError, "one of both"),
        ("number", TerminalError, "gave int"),
    ],
)
def test_what_breaks_in_the_package_is_told_by_what_to_do(
    tmp_path: Path, kind: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build(resource="shelf_broken", args={"kind": kind}).extract(ExtractContext(lookup, tmp_path))


def test_what_the_package_says_does_not_show_the_secrets_of_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "a+very/secret=token"
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", json.dumps({"conn_type": "generic", "extra": {"token": token}}))
    with pytest.raises((TerminalError, TransientError), match=r"key=\*\*\*") as caught:
        build(resource="shelf_broken", args={"kind": "token"}, connection="shelf").extract(
            ExtractContext(lookup, tmp_path)
        )
    assert "secret" not in str(caught.value)


def test_without_dlt_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (extra,) = SOURCES.get("dlt").config.model_validate(CONFIG).extras()
    assert extra.hint == "pip install 'airflow-dataforge[dlt]'"


def test_the_example_is_sound() -> None:
    assert parse(json.loads((ROOT / "docs" / "examples" / "dlt.json").read_text())).dag_id == "tickets"
