from __future__ import annotations

from pathlib import Path

import pytest

from dataforge.authoring import library
from dataforge.authoring.catalogue import Catalogue, Known
from dataforge.authoring.checks import check
from dataforge.authoring.extraction import extract
from dataforge.authoring.grounding import ground
from dataforge.components.registry import KINDS
from dataforge.config.pipeline import parse

EXAMPLES = library.packaged()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.id)
def test_every_example_passes_the_real_checks(example: library.Example, tmp_path: Path) -> None:
    known = tuple(Known(id_, type_) for id_, type_ in example.connections.items())
    checked = check(example.config, catalogue=Catalogue(known, complete=True, folder=tmp_path))
    assert [str(finding) for finding in checked.errors] == []
    used = {getattr(source, "connection", None) for source in parse(example.config).inputs.values()}
    assert used - {None} <= set(example.connections)


COMMON = {
    "source": {"csv", "http", "json", "parquet", "postgres", "sql"},
    "transform": {
        "aggregate", "cast", "deduplicate", "derive", "drop", "fill_null", "filter", "join", "limit", "mask", "rename",
        "select", "sort", "sql", "union",
    },
    "check": {"accepted_values", "expression", "not_null", "range", "row_count", "unique"},
    "destination": {"csv", "duckdb", "ndjson", "parquet", "postgres", "sql"},
}  # fmt: skip
"""What people ask for most; a model learns of the others from the catalogue."""


def test_the_library_is_large_and_uses_every_common_component_in_two_languages() -> None:
    assert len(EXAMPLES) >= 60
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)
    assert sum(example.language == "de" for example in EXAMPLES) >= 6
    configs = [parse(example.config) for example in EXAMPLES]
    used = {
        "source": {source.type for config in configs for source in config.inputs.values()},
        "transform": {step.type for config in configs for step in config.transforms},
        "check": {check.type for config in configs for check in config.checks},
        "destination": {target.type for config in configs for target in config.outputs},
    }
    for kind, common in COMMON.items():
        assert common <= used[kind], kind
        assert common <= set(KINDS[kind][0].types())


def test_what_extraction_is_sure_of_agrees_with_every_example() -> None:
    wrong = []
    for example in EXAMPLES:
        grounds = ground(example.request, extract(example.request, example.connections), example.connections, {})
        config = example.config
        for key in ("schedule", "timezone", "tags", "owner"):
            if key in grounds.top and key in config and grounds.top[key] != config[key]:
                wrong.append((example.id, key, grounds.top[key], config[key]))
            if key in grounds.top and key not in config:
                wrong.append((example.id, key, grounds.top[key], None))
        target = config["destination"]
        if len(grounds.destinations) == 1 and isinstance(target, dict):
            wrong += [
                (example.id, key, value, target.get(key))
                for key, value in grounds.destinations[0].config.items()
                if target.get(key) != value
            ]
        if len(grounds.sources) == 1 and "source" in config:
            wrong += [
                (example.id, key, value, config["source"].get(key))
                for key, value in grounds.sources[0].config.items()
                if config["source"].get(key) != value
            ]
    assert wrong == []


def test_a_similar_request_finds_the_example_of_its_kind() -> None:
    text = "Keep all versions of crm.clients from crm_pg in the warehouse table hist.clients, key client_no"
    types = {"crm_pg": "postgres", "warehouse": "postgres"}
    grounds = ground(text, extract(text, types), types, {})
    found = library.nearest(text, grounds, EXAMPLES, 3)
    assert len(found) == 3
    assert any(example.config["destination"].get("merge_strategy") == "scd2" for example in found)
