"""The example configs of streams and stores are valid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataforge.config.pipeline import parse
from dataforge.config.review import review

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize("name", ["kafka", "debezium", "elasticsearch", "kafka_mirror", "redis"])
def test_an_example_is_valid_and_has_no_finding(name: str) -> None:
    """What the docs show can be copied."""
    data = json.loads((EXAMPLES / f"{name}.json").read_text())
    assert review(parse(data), data) == []
