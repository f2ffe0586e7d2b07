from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.config.pipeline import parse
from dataforge.dag_factory.docs import fenced, inline, render

Make = Callable[..., dict[str, Any]]


def test_the_page_says_in_words_what_the_pipeline_does(pipeline: Make) -> None:
    config = parse(
        pipeline(
            description="Paid orders",
            owner="analytics",
            schedule="0 6 * * *",
            timezone="Europe/Berlin",
            checks=[{"type": "not_null", "columns": ["id"]}, {"type": "row_count", "min": 1, "severity": "warn"}],
        )
    )
    text = render(config, text='{"dag_id": "orders"}', sql="SELECT 1", file="sales/orders.json")
    for expected in (
        "`Paid orders`",
        "- **Reads** `csv` `data/orders.csv`",
        "- **Transforms** `filter`",
        "- **Checks** `not_null` `columns: ['id']` (stops the run)",
        "- **Checks** `row_count` `min: 1` (warns)",
        "- **Writes** `postgres` `warehouse` `sales.orders`, `append`",
        "- **Runs** `0 6 * * *`, time zone `Europe/Berlin`",
        "- **Owner** `analytics`",
        "- **File** `sales/orders.json`",
        '```json\n{"dag_id": "orders"}\n```',
        "```sql\nSELECT 1\n```",
    ):
        assert expected in text


def test_assets_that_start_a_pipeline_are_named(pipeline: Make) -> None:
    config = parse(pipeline(schedule={"all": [{"asset": "a/b"}, {"asset": "c/d"}]}))
    assert "- **Runs** when updated: `a/b` and `c/d`" in render(config, text="{}")


@given(st.text(alphabet="`~\n\r a#<![](){}%", max_size=60))
def test_no_text_can_end_its_code_block(text: str) -> None:
    block = fenced(text, "json")
    fence = block[: len(block) - len(block.lstrip("`"))]
    *_, last = lines = block.split("\n")
    assert last == fence
    assert not any(
        line.strip() and set(line.strip()) == {"`"} and len(line.strip()) >= len(fence) for line in lines[1:-1]
    )


@given(st.text(alphabet="`\n\r a<[", max_size=40))
def test_no_text_can_end_its_inline_code(text: str) -> None:
    code = inline(text)
    ticks = code[: len(code) - len(code.lstrip("`"))]
    inner = code[len(ticks) : -len(ticks)]
    assert "\n" not in code
    assert max((len(run) for run in inner.replace(" ", "a").split("a")), default=0) <= max(len(ticks) - 1, len(inner))
    assert ticks not in inner


@pytest.mark.parametrize("sql", ["", "SELECT 1"])
def test_the_page_never_ends_like_a_file_name_that_airflow_would_open(pipeline: Make, sql: str) -> None:
    config = parse(pipeline(description="see /etc/secret.md"))
    assert not render(config, text="x.md", sql=sql, file="a.md").endswith(".md")
