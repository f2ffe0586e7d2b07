"""What `doctor` looks at, each as one small check."""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from dataforge.errors import DataForgeError
from dataforge.settings import config_option, get_settings


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at."""

    check: str
    state: Literal["ok", "warning", "error"]
    message: str


def diagnose() -> list[Diagnosis]:
    """Look at everything; a check that breaks is an error of its own, never the end of the list."""
    results: list[Diagnosis] = []
    for check in (_python, _packages, _configs, _folders, _staging, _engine, _connections, _limits, _pickup, _auth):
        try:
            results += check()
        except DataForgeError as error:
            results.append(Diagnosis(check.__name__.strip("_"), "error", str(error)))
    return results


def _python() -> Iterator[Diagnosis]:
    fine = (3, 10) <= sys.version_info < (3, 14)
    yield Diagnosis("python", "ok" if fine else "error", f"{platform.python_version()} (3.10 to 3.13 are supported)")


def _packages() -> Iterator[Diagnosis]:
    for name in ("apache-airflow", "duckdb", "pyarrow", "sqlglot", "adbc-driver-postgresql", "pydantic"):
        try:
            yield Diagnosis(f"package {name}", "ok", version(name))
        except PackageNotFoundError:
            yield Diagnosis(f"package {name}", "error", f"not installed; install it with pip install {name}")
    try:
        yield Diagnosis("package s3fs", "ok", version("s3fs"))
    except PackageNotFoundError:
        yield Diagnosis("package s3fs", "warning", "not installed; s3:// paths need airflow-dataforge[s3]")


def _configs() -> Iterator[Diagnosis]:
    from dataforge.dag_factory.check import check_paths

    folder = get_settings().configs_folder
    if not folder.is_dir():
        yield Diagnosis("configs", "error", f"{folder} is no folder; make it or set AIRFLOW__DATAFORGE__CONFIGS_FOLDER")
        return
    checked = check_paths([folder], root=folder)
    errors = sum(finding.severity == "error" for finding in checked.findings)
    state: Literal["ok", "error"] = "error" if errors else "ok"
    hint = f"; see dataforge validate {folder}" if errors else ""
    yield Diagnosis("configs", state, f"{folder}: {len(checked.valid)} valid pipelines, {errors} errors{hint}")


def _folders() -> Iterator[Diagnosis]:
    settings = get_settings()
    scratch = settings.scratch_folder or Path(tempfile.gettempdir())
    for name, folder in (("output folder", settings.output_folder), ("scratch folder", scratch)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                yield Diagnosis(name, "ok", str(folder))
        except OSError as error:
            yield Diagnosis(name, "error", f"{folder} can't be written: {error.strerror}")


def _staging() -> Iterator[Diagnosis]:
    from dataforge.runtime.connections import lookup
    from dataforge.runtime.staging import Staging

    settings = get_settings()
    Staging.open(settings, lookup).sweep(timedelta(days=36500))
    yield Diagnosis("staging", "ok", settings.staging_url)


def _engine() -> Iterator[Diagnosis]:
    import duckdb

    from dataforge.runtime.engines.duckdb_ import connect

    settings = get_settings()
    with tempfile.TemporaryDirectory() as folder:
        con = connect(Path(folder), memory_mb=settings.memory_limit_mb, threads=settings.threads)
        try:
            con.execute("SELECT * FROM read_text('/etc/passwd')")
        except duckdb.Error:
            limit = f"{settings.memory_limit_mb} MiB, {settings.threads} threads"
            yield Diagnosis("engine", "ok", f"DuckDB {duckdb.__version__}, {limit}, sandbox holds")
        else:
            yield Diagnosis("engine", "error", "the sandbox let a query read a file outside; do not run user SQL")
        finally:
            con.close()


def _connections() -> Iterator[Diagnosis]:
    from dataforge.dag_factory.health import check_connections, named_connections

    named = named_connections()
    for name, found in check_connections(named).items():
        told = ". ".join(filter(None, (found["message"].rstrip("."), found["advice"])))
        state: Literal["ok", "warning"] = "warning" if found["state"] == "failed" else "ok"
        yield Diagnosis(f"connection {name}", state, f"{told} (used by {', '.join(named[name])})")


def _limits() -> Iterator[Diagnosis]:
    from dataforge.store.limits import check

    if url := get_settings().limits_url:
        yield Diagnosis("limits", "ok", f"{check(url)} counts the requests of the web API")


def _pickup() -> Iterator[Diagnosis]:
    bundles = config_option("dag_processor", "dag_bundle_config_list") or ""
    if re.search(r"dataforge\.bundle\.ConfigBundle", bundles):
        try:
            json.loads(bundles)
        except ValueError as error:
            yield Diagnosis("pick-up", "error", f"[dag_processor] dag_bundle_config_list is not JSON: {error}")
            return
        yield Diagnosis("pick-up", "ok", "ConfigBundle watches the configs folder")
    else:
        yield Diagnosis(
            "pick-up",
            "warning",
            "no dataforge.bundle.ConfigBundle in [dag_processor] dag_bundle_config_list; configs are picked up only "
            "where dags/dataforge_dags.py lies in the DAGs folder",
        )


def _auth() -> Iterator[Diagnosis]:
    manager = config_option("core", "auth_manager") or "SimpleAuthManager"
    everyone = (config_option("core", "simple_auth_manager_all_admins") or "").lower() in ("true", "1", "t")
    if "SimpleAuthManager" in manager:
        admin = ", and every visitor is an administrator" if everyone else ""
        yield Diagnosis("auth manager", "warning", f"SimpleAuthManager is for development{admin}")
    else:
        yield Diagnosis("auth manager", "ok", manager)
