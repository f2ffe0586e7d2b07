"""Configs that the tests of this folder start from."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from dataforge.config.files import FileResult, read_text
from dataforge.settings import Settings

SETTINGS = Settings(configs_folder=Path("/nowhere/configs"), output_folder=Path("/nowhere/output"))

GOOD: dict[str, Any] = {
    "dag_id": "orders_daily",
    "description": "Paid orders",
    "schedule": "@daily",
    "start_date": "2025-01-01",
    "tags": ["sales"],
    "default_args": {"owner": "analytics", "retries": 3, "retry_delay": "5m"},
    "params": {"region": "eu", "day": {"type": "date", "default": "2025-01-31"}},
    "source": {"type": "csv", "path": "orders/${params.region}/*.csv", "delimiter": ";", "skip_rows": 1},
    "transforms": [
        {"type": "rename", "columns": {"id": "order_id"}},
        {"type": "filter", "where": "day = ${params.day}"},
    ],
    "checks": [{"type": "not_null", "columns": ["order_id"]}],
    "destination": {"type": "postgres", "connection": "warehouse", "table": "sales.orders"},
}


def good(**changes: Any) -> dict[str, Any]:
    """Return a valid config with top-level keys changed; a value of `...` removes the key."""
    config = {**copy.deepcopy(GOOD), **changes}
    return {key: value for key, value in config.items() if value is not ...}


def plain(**changes: Any) -> dict[str, Any]:
    """Return a small valid config without params, with top-level keys changed."""
    small = {key: GOOD[key] for key in ("dag_id", "destination")}
    return {**copy.deepcopy(small), "source": {"type": "csv", "path": "orders.csv"}, **changes}


def read(
    config: Any, path: Path = Path("/nowhere/configs/a.json"), root: Path = Path("/nowhere/configs")
) -> FileResult:
    """Return what a file with that config gives, written with two spaces of indentation."""
    text = config if isinstance(config, str | bytes) else json.dumps(config, indent=2)
    return read_text(text, path=path, root=root, settings=SETTINGS)


def told(result: FileResult) -> list[tuple[str, str]]:
    """Return code and pointer of each finding."""
    return [(finding.code, finding.pointer) for finding in result.findings]


def write(folder: Path, **files: Any) -> None:
    """Write configs; `sub__a` is the file sub/a.json."""
    for name, config in files.items():
        path = folder / (name.replace("__", "/") + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8")
