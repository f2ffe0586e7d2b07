"""The files around the package: docker-compose.yaml, deploy/ and the ignore file of the plugins folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
RULES = "{extends: default, rules: {line-length: {max: 130}, document-start: disable}}"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def test_the_compose_file_is_clean_yaml() -> None:
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", RULES, str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_brings_airflow_postgresql_and_ollama_and_all_tell_their_health(compose: Any) -> None:
    services = compose["services"]
    running = {"api-server", "scheduler", "dag-processor", "triggerer", "postgres", "ollama"}
    assert set(services) == running | {"init"}
    assert all("healthcheck" in services[name] for name in running)
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"
        mounts = {mount.split(":")[0] for mount in services[name]["volumes"]}
        assert mounts >= {"./dags", "./plugins", "./configs"}
        assert services[name]["command"] == [name]


def test_every_mounted_path_and_volume_exists(compose: Any) -> None:
    volumes = set(compose["volumes"])
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in volumes, (name, mount)
    assert (ROOT / compose["services"]["init"]["build"]["dockerfile"]).is_file()


def test_compose_holds_no_secret_and_wants_exactly_those_that_the_script_makes(compose: Any) -> None:
    wanted = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    done = subprocess.run([ROOT / "deploy" / "secrets.sh"], capture_output=True, text=True, check=True)
    made = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(made) == wanted
    assert all(len(value) >= 20 for value in made.values())
    from cryptography.fernet import Fernet

    Fernet(made["AIRFLOW_FERNET_KEY"])
    again = subprocess.run([ROOT / "deploy" / "secrets.sh"], capture_output=True, text=True, check=True)
    assert again.stdout != done.stdout


def test_airflow_and_dataforge_know_each_setting_in_compose(compose: Any) -> None:
    from airflow.configuration import retrieve_configuration_description

    from dataforge.settings import Settings

    sections = retrieve_configuration_description(include_providers=False)
    known = {f"AIRFLOW__{name.upper()}__{option.upper()}" for name in sections for option in sections[name]["options"]}
    known |= {f"AIRFLOW__DATAFORGE__{name.upper()}" for name in Settings.model_fields}
    environment = compose["services"]["scheduler"]["environment"]
    assert {name for name in environment if name.startswith("AIRFLOW__")} - known == set()
    bundles = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert "dataforge.bundle.ConfigBundle" in [bundle["classpath"] for bundle in bundles]


@pytest.mark.parametrize("script", ["scripts/demo", "deploy/secrets.sh", "deploy/init.sh", "deploy/databases.sh"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = "sh" if path.read_text().startswith("#!/bin/sh") else "bash"
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0


def test_airflow_runs_only_the_shim_of_the_plugins_folder() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    found = {Path(path).name for path in find_path_from_directory(ROOT / "plugins", ".airflowignore", "glob")}
    assert {name for name in found if name.endswith(".py")} == {"dataforge_plugin.py"}
