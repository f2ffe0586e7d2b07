"""The table of connectors says of each what its code can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataforge.components.base import Checkable, Discoverable
from dataforge.components.registry import DESTINATIONS, SOURCES, Component

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "connectors" / "README.md"
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| [`")
]
CONNECTORS: list[tuple[str, Component[Any]]] = [
    *(("source", one) for one in SOURCES),
    *(("destination", one) for one in DESTINATIONS),
]


def row(kind: str, type_: str) -> list[str]:
    found = [cells for cells in ROWS if cells[0].startswith(f"[`{type_}`]") and cells[1] == kind]
    assert len(found) == 1, f"{PAGE.name} has {len(found)} rows for {kind} {type_}"
    return found[0]


@pytest.mark.parametrize(("kind", "connector"), CONNECTORS, ids=[f"{kind}-{one.type}" for kind, one in CONNECTORS])
def test_the_table_says_what_a_connector_can_do(kind: str, connector: Component[Any]) -> None:
    _, _, incremental, discovery, _, check, _, tested = row(kind, connector.type)
    can = connector.cls
    assert isinstance(can, type)
    assert (check == "yes") is issubclass(can, Checkable)
    if kind == "source":
        assert (discovery == "yes") is issubclass(can, Discoverable)
        assert ("new files" in incremental) is ("only_new" in connector.config.model_fields)
    assert tested


def test_the_table_has_no_other_rows() -> None:
    assert len(ROWS) == len(CONNECTORS)


def test_each_row_leads_to_a_page_that_is_there() -> None:
    for cells in ROWS:
        target = cells[0].partition("](")[2].rstrip(")").partition("#")[0]
        assert (PAGE.parent / target).resolve().is_file(), cells[0]
