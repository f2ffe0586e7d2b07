from __future__ import annotations

from pathlib import Path

import pytest

from dataforge.authoring import diff, explain
from dataforge.authoring.library import packaged
from dataforge.config.findings import Finding
from dataforge.errors import ConfigError, ModelAway, TransientError
from dataforge.gateway.scripted import Scripted, gateway_over

CONFIG = {
    "dag_id": "orders",
    "schedule": "30 6 * * 1-5",
    "timezone": "Europe/Berlin",
    "source": {"type": "postgres", "connection": "shop", "table": "orders", "cursor_field": "updated_at"},
    "transforms": [{"type": "filter", "where": "amount > 0"}, {"type": "rename", "columns": {"id": "order_id"}}],
    "checks": [{"type": "not_null", "columns": ["order_id"]}],
    "destination": {"type": "duckdb", "table": "orders", "write_disposition": "merge", "primary_key": ["order_id"]},
}


def test_a_config_is_told_in_words_with_its_sql_and_no_model() -> None:
    told = explain.explain(CONFIG)
    assert "Monday to Friday at 06:30 (Europe/Berlin)" in told.text
    for part in ("'shop'", "updated_at", "amount > 0", "id → order_id", "by key order_id"):
        assert part in told.text
    assert '"amount" > 0' in told.sql
    assert not told.polished


@pytest.mark.parametrize("example", packaged(), ids=lambda one: one.id)
def test_every_example_can_be_told(example: object) -> None:
    config = example.config  # type: ignore[attr-defined]  # parametrize tells mypy nothing
    assert len(explain.in_words(config).splitlines()) >= 3


def test_a_model_only_polishes_and_ours_stays_beside() -> None:
    told = explain.explain(CONFIG, gateway_over(Scripted("Every working day it copies the orders.")))
    assert told.polished
    assert told.text == "Every working day it copies the orders."
    assert "Monday to Friday" in told.plain
    away = explain.explain(CONFIG, gateway_over(Scripted(ModelAway("away", "scripted"))))
    assert away.text == away.plain


def test_findings_differences_and_failures_are_told() -> None:
    finding = Finding(
        "unknown-column", "error", "column 'a' is not known", Path("x.json"), 3, 1, "/transforms/0", "did you mean 'b'?"
    )
    assert "did you mean 'b'?" in explain.finding_in_words(finding)
    assert "line 3" in explain.finding_in_words(finding)
    changed = diff.changes(CONFIG, {**CONFIG, "schedule": "@daily"})
    assert explain.diff_in_words(changed) == 'schedule changes from "30 6 * * 1-5" to "@daily".'
    assert "tries again" in explain.failure_in_words(TransientError("the server is away"), CONFIG)
    with pytest.raises(ConfigError, match="did you mean 'unknown-column'"):
        explain.code_in_words("unknown-colum")
