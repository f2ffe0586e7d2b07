"""What needs a package that is not installed says so, with the line that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from dataforge.components.base import DestinationConfig
from dataforge.components.extras import Extra
from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.dag_factory.check import problems
from dataforge.errors import TerminalError

ABSENT = Extra("stars", "package_of_stars.driver")


class StarsConfig(DestinationConfig):
    """A destination whose driver nobody has."""

    type: Literal["stars"] = "stars"

    def extras(self) -> tuple[Extra, ...]:
        return (ABSENT,)


class Stars:
    """Writes nothing."""

    def __init__(self, config: StarsConfig) -> None:
        self.config = config


@pytest.fixture
def pipeline() -> Iterator[PipelineConfig]:
    DESTINATIONS.register(StarsConfig)(Stars)
    raw: dict[str, Any] = {
        "dag_id": "p",
        "source": {"type": "csv", "path": "a.csv"},
        "destination": [{"type": "parquet", "path": "out/"}, {"type": "stars"}],
    }
    yield parse(raw)
    DESTINATIONS._known.pop("stars")


def test_a_missing_extra_is_a_finding_at_its_component_with_the_install_line(pipeline: PipelineConfig) -> None:
    (found,) = problems(pipeline)
    assert (found.code, found.path) == ("missing-extra", ("destination", 1, "type"))
    assert found.message == "destination 'stars' needs the Python module package_of_stars.driver"
    assert found.suggestion == "pip install 'airflow-dataforge[stars]'"


def test_a_run_ends_with_the_same_words(pipeline: PipelineConfig) -> None:
    with pytest.raises(TerminalError, match=r"package_of_stars\.driver; pip install 'airflow-dataforge\[stars\]'"):
        DESTINATIONS.build(pipeline.outputs[1])


def test_what_is_installed_is_not_asked_for() -> None:
    assert Extra("tables", "pyarrow.parquet").installed
    assert not Extra("tables", "pyarrow.no_such_part").installed
