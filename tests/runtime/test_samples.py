"""What a sample says of columns, from real sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataforge.config.pipeline import parse
from dataforge.runtime.context import local
from dataforge.runtime.samples import Sample, sample
from dataforge.settings import get_settings


def sampled(folder: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], **more: Any) -> Sample:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    config = parse({"dag_id": "d", "source": source, "destination": {"type": "duckdb", "table": "t"}})
    return sample(config, "source", local(config, {}), **more)


def test_columns_are_told_by_what_a_sample_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["id,amount,day,note", *(f"{n},{n / 2 if n % 4 else ''},2025-01-{n:02},{'ab'[n % 2]}" for n in range(1, 9))]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    found = sampled(tmp_path, monkeypatch, {"type": "csv", "path": "a.csv"}, rows=2)
    assert (found.count, len(found.rows)) == (8, 2)
    told = {name: (one.nulls, one.distinct, one.least, one.greatest) for name, one in found.statistics.items()}
    assert told["id"] == (0, 8, "1", "8")
    assert told["amount"] == (0.25, 6, "0.5", "3.5")
    assert told["day"] == (0, 8, "2025-01-01", "2025-01-08")
    assert told["note"] == (0, 2, "a", "b")


def test_nested_columns_and_empty_files_have_no_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('[{"id": 1, "x": {"y": [1]}}]', encoding="utf-8")
    one = sampled(tmp_path, monkeypatch, {"type": "json", "path": "a.json"}).statistics["x"]
    assert (one.nulls, one.distinct, one.least) == (0, None, None)
    (tmp_path / "e.csv").write_text('id,"na""me"\n', encoding="utf-8")
    found = sampled(tmp_path, monkeypatch, {"type": "csv", "path": "e.csv"})
    assert (found.count, list(found.statistics)) == (0, ["id", 'na"me'])


def test_no_more_than_the_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("id\n" + "\n".join(map(str, range(5_000))), encoding="utf-8")
    assert sampled(tmp_path, monkeypatch, {"type": "csv", "path": "a.csv"}, count=100).count == 100
