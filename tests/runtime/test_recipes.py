"""Recipes: the SQL of one run serves the next, and is never a reason for another result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import CheckFailed
from dataforge.runtime import extract, load, transform
from dataforge.runtime.context import local

STEPS = [
    {"type": "filter", "where": "n > 1"},
    {"type": "derive", "columns": {"twice": "n * 2"}},
]


def pipeline(**changes: Any) -> PipelineConfig:
    return parse(
        {
            "dag_id": "numbers",
            "source": {"type": "csv", "path": "numbers.csv"},
            "transforms": STEPS,
            "destination": {"type": "duckdb", "table": "numbers", "write_disposition": "replace"},
            **changes,
        }
    )


def run(config: PipelineConfig, **params: Any) -> None:
    context = local(config, params)
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    load.run(config, 0, transform.run(config, manifests, context), context)


def kept(home: Path) -> list[Path]:
    return sorted((home / "dataforge" / "recipes").glob("*.json"))


def rows(home: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
        return con.execute("SELECT * FROM numbers ORDER BY ALL").fetchall()


@pytest.fixture
def numbers(configs: Path) -> Path:
    path = configs / "numbers.csv"
    path.write_text("n\n1\n2\n3\n")
    return path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_second_run_takes_the_first_ones_sql(numbers: Path, home: Path) -> None:
    run(pipeline())
    (recipe,) = kept(home)
    assert (recipe.stat().st_mode & 0o777, recipe.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    edit(recipe, select="SELECT 7 AS n, 14 AS twice")
    run(pipeline())
    assert rows(home) == [(7, 14)]


def test_other_columns_steps_or_checks_have_a_recipe_of_their_own(numbers: Path, home: Path) -> None:
    run(pipeline())
    numbers.write_text("n,m\n1,5\n2,6\n")
    run(pipeline())
    assert rows(home) == [(2, 4, 6)]  # a column that is new comes last
    run(pipeline(transforms=STEPS[:1]))
    run(pipeline(checks=[{"type": "not_null", "columns": ["n"]}]))
    assert len(kept(home)) == 4


@pytest.mark.parametrize("text", ['{"select": "SELECT nothing", ', "{}", '{"select": "SELECT nothing", "measures": 1}'])
def test_a_damaged_recipe_is_as_good_as_none(numbers: Path, home: Path, text: str) -> None:
    run(pipeline())
    kept(home)[0].write_text(text)
    run(pipeline())
    assert rows(home) == [(2, 4), (3, 6)]


def test_sql_that_fails_is_compiled_anew(numbers: Path, home: Path) -> None:
    run(pipeline())
    edit(kept(home)[0], select="SELECT nothing FROM nowhere")
    run(pipeline())
    assert rows(home) == [(2, 4), (3, 6)]
    assert "nowhere" not in kept(home)[0].read_text()


def test_checks_by_recipe_find_what_checks_find(numbers: Path, home: Path) -> None:
    checks = [
        {"type": "accepted_values", "column": "n", "values": [2, 3]},
        {"type": "unique", "columns": ["n"]},
        {"type": "row_count", "min": 1},
    ]
    config = pipeline(checks=checks)
    run(config)
    numbers.write_text("n\n1\n2\n4\n4\n")
    with pytest.raises(CheckFailed) as by_recipe:
        run(config)
    kept(home)[0].unlink()
    with pytest.raises(CheckFailed) as anew:
        run(config)
    assert by_recipe.value.failures == anew.value.failures
    assert [(one.check, one.violations) for one in anew.value.failures] == [("accepted_values", 2), ("unique", 2)]


def test_values_of_a_run_and_dead_letters_leave_no_recipe(numbers: Path, home: Path) -> None:
    run(
        pipeline(
            params={"least": {"type": "integer", "default": 1}},
            transforms=[{"type": "filter", "where": "n > ${params.least}"}],
        ),
        least=2,
    )
    assert rows(home) == [(3,)]
    run(pipeline(dead_letters={"max_share": 0.5}))
    assert kept(home) == []


def test_a_task_with_a_recipe_imports_neither_sqlglot_nor_pyarrow_to_transform(numbers: Path, home: Path) -> None:
    config = pipeline(checks=[{"type": "unique", "columns": ["n"]}])
    run(config)
    text = json.dumps(config.model_dump(mode="json", by_alias=True, exclude_unset=True))
    code = f"""
import json, sys
from dataforge.config.pipeline import parse
from dataforge.runtime import extract, transform
from dataforge.runtime.context import local
config = parse(json.loads({text!r}))
context = local(config, {{}})
transform.run(config, {{name: extract.run(config, name, context) for name in config.inputs}}, context)
print(sorted({{"sqlglot", "pyarrow", "numpy"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (0, ["[]"]), done.stderr
