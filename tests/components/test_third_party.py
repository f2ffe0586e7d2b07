"""A package that was installed by somebody else brings its components along, by entry points alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "packages" / "dataforge-numbers"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built as a wheel and installed into a folder of its own, as an installer would."""
    folder, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=source, check=True, timeout=120)
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def dataforge(site: Path | None, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "plugins"), *([str(site)] if site else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "AIRFLOW_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "dataforge", *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_an_installed_source_and_python_transform_run_in_a_pipeline(site: Path, tmp_path: Path) -> None:
    config = tmp_path / "sums.json"
    config.write_text(
        json.dumps(
            {
                "dag_id": "sums",
                "source": {"type": "numbers", "up_to": 2500},
                "transforms": [
                    {"type": "filter", "where": "n % 2 = 0"},
                    {"type": "running_total", "column": "n"},
                    {"type": "filter", "where": "total > 6"},
                    {"type": "sort", "by": ["n desc"]},
                    {"type": "limit", "count": 1},
                ],
                "destination": {"type": "csv", "path": "sums.csv", "write_disposition": "replace"},
            }
        )
    )
    for execution in ("staged", "fused"):
        config.write_text(json.dumps({**json.loads(config.read_text()), "execution": execution}))
        result = dataforge(site, tmp_path, "run", str(config))
        assert result.returncode == 0, result.stderr
        written = (tmp_path / "dataforge" / "output" / "sums.csv").read_text().split()
        assert written == ["n,total", f"2500,{sum(range(2, 2501, 2))}"]


def test_the_catalogue_lists_installed_components(site: Path, tmp_path: Path) -> None:
    result = dataforge(site, tmp_path, "components", "numbers", "--format", "json")
    assert result.returncode == 0, result.stderr
    (component,) = json.loads(result.stdout)
    assert (component["kind"], component["summary"]) == ("source", "Counts from 1 to a limit, in batches of 1,000.")


def test_without_the_package_its_types_are_findings(tmp_path: Path) -> None:
    config = tmp_path / "sums.json"
    config.write_text('{"dag_id": "a", "source": {"type": "numbers", "up_to": 1}, "destination": {"type": "duckdb"}}')
    result = dataforge(None, tmp_path, "validate", str(config))
    assert result.returncode == 1
    assert "source type 'numbers' is not known" in result.stdout
