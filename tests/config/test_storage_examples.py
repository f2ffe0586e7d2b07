"""The example configs of the storage connectors are valid, without a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataforge.config.files import read_file

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize("name", ["delta", "email", "excel", "iceberg", "partitions", "s3", "sftp"])
def test_an_example_is_valid(name: str) -> None:
    """Each shows one connector."""
    found = read_file(EXAMPLES / f"{name}.json", root=EXAMPLES)
    assert [str(one) for one in found.findings] == []
    assert found.pipelines
