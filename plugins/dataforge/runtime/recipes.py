"""The SQL that a config's transforms and checks came to, kept on disk for the next run of the same config.

Loading SQLGlot and compiling takes a task a fifth of a second, as long as all its work on a small input. What they
give depends on little: the steps and checks, the columns of the inputs, and our and the engine's code. A recipe is
found by a digest of all that; without one, or should its SQL fail, the config is compiled as if there were none.
Configs whose SQL has values of the run (`${…}`), that keep dead letters, or that use a third party's steps have none.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dataforge.components.base import Columns
from dataforge.settings import airflow_home

if TYPE_CHECKING:
    from dataforge.config.pipeline import PipelineConfig
    from dataforge.runtime.checks import Measures

MOST = 2_000
"""Recipes on one machine; those that were made first go first."""


@dataclass(frozen=True)
class Recipe:
    """One query for all transforms, over views with the names of the inputs, and the SQL of the checks."""

    select: str
    measures: Measures


def name_of(config: PipelineConfig, inputs: Mapping[str, Columns]) -> str | None:
    """Return the name under which a recipe for that config and these columns is kept; None where none can be."""
    parts = (*config.transforms, *config.checks)
    if config.reject_limit.enabled or not all(type(part).__module__.startswith("dataforge.") for part in parts):
        return None
    params = {name: param.type for name, param in config.params.items()}
    steps = [part.model_dump(mode="json") for part in parts]
    told = json.dumps([steps, params, [[name, list(inputs[name].items())] for name in config.inputs], _code()])
    return None if "${" in told else hashlib.sha256(told.encode()).hexdigest()


def find(name: str | None) -> Recipe | None:
    """Return the recipe of that name."""
    from dataforge.runtime.checks import Measures

    if name is None:
        return None
    try:
        kept = json.loads((_folder() / f"{name}.json").read_bytes())
        found = kept["measures"]
        counts = {int(index): str(query) for index, query in found["counts"].items()}
        measures = Measures(str(found["shared"]), tuple(found["order"]), counts, tuple(found["examples"]))
        return Recipe(str(kept["select"]), measures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(name: str, recipe: Recipe) -> None:
    """Keep a recipe; where that is not possible, the next run compiles again."""
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for path in others[: max(0, len(others) - MOST + 1)]:
            path.unlink(missing_ok=True)
        temporary = folder / f".{secrets.token_hex(8)}.tmp"
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(recipe)), encoding="utf-8")
        temporary.replace(folder / f"{name}.json")


def _folder() -> Path:
    return airflow_home() / "dataforge" / "recipes"


@cache
def _code() -> list[list[str | int]]:
    """What the code is that compiles: files of ours and of SQLGlot as they are now, and the engine's version."""
    import duckdb

    package = Path(__file__).parent.parent
    files = [
        package / "runtime" / "compile.py",
        package / "runtime" / "checks.py",
        *(package / "components").glob("*.py"),
        *(package / "transforms").glob("*.py"),
        *(package / "checks").glob("*.py"),
    ]
    if (spec := find_spec("sqlglot")) and spec.origin:
        files.append(Path(spec.origin).with_name("_version.py"))
    seen: list[list[str | int]] = [["duckdb", duckdb.__version__]]
    for path in sorted(files):
        with suppress(OSError):
            status = path.stat()
            seen.append([str(path), status.st_mtime_ns, status.st_size])
    return seen
