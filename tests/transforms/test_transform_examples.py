"""The example configs of transforms, and those in their guide, are sound: each compiles, and the guide names each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dataforge.config.pipeline import parse
from dataforge.runtime.compile import compile

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "transforms.md").read_text()
EXAMPLES = [
    path
    for path in sorted((ROOT / "docs" / "examples").glob("*.json"))
    if (ROOT / "plugins" / "dataforge" / "transforms" / path.name.replace(".json", ".py")).exists()
]
STEPS = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_config_compiles_and_holds_its_transform(path: Path) -> None:
    config = parse(json.loads(path.read_text()))
    compile(config, dict.fromkeys(config.inputs))
    assert path.stem in {step.type for step in config.transforms}


def test_there_are_examples() -> None:
    assert EXAMPLES
    assert STEPS


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["type"])
def test_a_step_of_the_guide_compiles(step: dict[str, Any]) -> None:
    named = [step[key] for key in ("with",) if isinstance(step.get(key), str)]
    sources = {name: {"type": "csv", "path": f"{name}.csv"} for name in ("orders", *named)}
    out = {"type": "parquet", "path": "out/"}
    dead: dict[str, Any] = {"dead_letters": {}} if "dead_letter" in json.dumps(step) else {}
    config = parse({"dag_id": "guide", "sources": sources, "transforms": [step], "destination": out, **dead})
    compile(config, dict.fromkeys(config.inputs))


def test_the_guide_tells_of_every_transform() -> None:
    folder = ROOT / "plugins" / "dataforge" / "transforms"
    types = {path.stem.rstrip("_") for path in folder.glob("[a-z]*.py")}
    assert {type_ for type_ in types if f"`{type_}`" not in GUIDE} == set()
