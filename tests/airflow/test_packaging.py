"""The same package mounted as Airflow's plugins folder, installed as a wheel, and both at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import json
from airflow.plugins_manager import _get_plugins, get_timetables_plugins
import dataforge
plugins, errors = _get_plugins()
assert "dataforge.dag_factory.timetable.CronTimetable" in get_timetables_plugins()
print(json.dumps([[str(p.source) for p in plugins if p.name == "dataforge"], errors, dataforge.__file__]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel unpacked in it, as an installer does with a pure Python wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(folder / "site")
    assert "dataforge/py.typed" in names
    assert "dataforge/www/dist/main.umd.cjs" in names
    assert not [name for name in names if "/www/" in name and "/www/dist/" not in name]
    assert not [name for name in names if not name.startswith(("dataforge/", "airflow_dataforge-"))]
    return folder / "site"


def plugins(home: Path, folder: Path, path: Path | None) -> tuple[list[str], dict[str, str], str]:
    """Return where Airflow found the plugin "dataforge", the plugin errors, and the package's file."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)}
    environment |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(path or "")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: Any = json.loads(done.stdout.strip().splitlines()[-1])
    return found[0], found[1], found[2]


def test_the_mounted_folder_registers_itself(tmp_path: Path) -> None:
    sources, errors, file = plugins(tmp_path, ROOT / "plugins", None)
    assert sources == ["$PLUGINS_FOLDER/dataforge_plugin.py"]
    assert errors == {}
    assert Path(file).is_relative_to(ROOT / "plugins")


def test_the_installed_wheel_registers_itself_by_its_entry_point(tmp_path: Path, installed: Path) -> None:
    sources, errors, file = plugins(tmp_path, tmp_path / "plugins", installed)
    assert len(sources) == 1
    assert sources[0].startswith("airflow-dataforge==")
    assert errors == {}
    assert Path(file).is_relative_to(installed)


def test_both_at_once_register_only_once(tmp_path: Path, installed: Path) -> None:
    sources, errors, _ = plugins(tmp_path, ROOT / "plugins", installed)
    assert len(sources) == 1
    assert errors == {}
