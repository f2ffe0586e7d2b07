"""An Airflow home of the tests' own, and a small pipeline to vary."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="dataforge-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

Data = dict[str, Any]


@pytest.fixture
def pipeline() -> Callable[..., Data]:
    """Return a function that gives the JSON of a small valid pipeline with changes."""

    def make(dag_id: str = "orders", **changes: Any) -> Data:
        data: Data = {
            "dag_id": dag_id,
            "source": {"type": "csv", "path": "data/orders.csv"},
            "transforms": [{"type": "filter", "where": "amount > 0"}],
            "destination": {"type": "postgres", "connection": "warehouse", "table": f"sales.{dag_id}"},
        }
        data |= changes
        return {key: value for key, value in data.items() if value is not ...}

    return make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty configs folder; the deployment's settings point at it."""
    from dataforge.settings import get_settings

    configs = tmp_path / "configs"
    configs.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(configs))
    get_settings.cache_clear()
    yield configs
    get_settings.cache_clear()


@pytest.fixture
def put(folder: Path, pipeline: Callable[..., Data]) -> Callable[..., Path]:
    """Return a function that writes a pipeline (or a text) into the configs folder, at once, as an editor does."""

    def write(name: str, content: Data | str | None = None, /, **changes: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            content = pipeline(path.stem, **changes)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        temporary.replace(path)
        return path

    return write
