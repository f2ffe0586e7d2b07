"""Connections from the environment mean what Airflow makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.components.base import Connection
from dataforge.errors import ConfigError, TerminalError
from dataforge.runtime.connections import lookup, parse

URIS = [
    "postgres://user:p%40ss%2Fword@db.example.com:5432/ware%2Fhouse?sslmode=require",
    "postgresql://u:p@H.Example/db",
    "postgres://u@h",
    "postgres://:p@h/",
    "postgres://@:5432/x",
    "postgres:///db",
    "postgres://u:p@%2Fvar%2FRun%2Fpg/db",
    "postgres://u:p@%2Fvar%2FRun%2Fpg:5433/db",
    "http://https%3A%2F%2Fapi.example.com",
    "http://https://api.example.com/v1",
    "http://https://api.example.com:8443/v1?x=1",
    "google-cloud-platform://?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D",
    "aws://k:s%2Bx%3D@/?endpoint_url=http%3A%2F%2Flocalhost%3A5000&region_name=eu-west-1",
    "aws://?__extra__=not+json",
    "aws://?__extra__=%5B1%5D",
    "postgres://u:p@h/db?a=1&b=&a=2",
    "Postgres://u:p@h/db",
    "  postgres://u:p@h/db  ",
    "postgres://u:p@[::1]:5432/db",
    "spark://local",
    "duckdb://%2Fdata%2Flake.duckdb",
    "sqlite:////tmp/x.db",
    '{"conn_type": "postgresql", "host": "h", "port": "5432", "extra": {"a": {"b": [1]}}}',
    '{"conn_type": "my-type", "login": "u", "password": "p", "schema": "s", "extra": "{\\"x\\": 1}"}',
    '{"conn_type": "http", "extra": ""}',
    '{"host": "h"}',
]


def airflows(text: str) -> Connection:
    """Return what Airflow's own backend makes of it."""
    from airflow.sdk import Connection as Found

    text = text.strip()
    found = Found.from_json(text, "c") if text[0] == "{" else Found.from_uri(text, "c")
    extra: Any = {}
    if found.extra:
        try:
            extra = json.loads(found.extra)
        except ValueError:
            extra = {}
    return Connection(
        "c",
        found.conn_type or "",
        found.host or "",
        found.port,
        found.login or "",
        found.password or "",
        found.schema or "",
        extra if isinstance(extra, dict) else {},
    )


@pytest.mark.parametrize("text", URIS)
def test_a_text_means_what_it_means_to_airflow(text: str) -> None:
    assert parse("c", text) == airflows(text)


PIECE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@settings(max_examples=300)
@given(
    type_=st.sampled_from(["postgres", "http", "my_type", "aws"]),
    host=PIECE | st.sampled_from(["https://api.x", "/var/run", "[::1]"]),
    login=st.none() | PIECE,
    password=st.none() | PIECE,
    schema=PIECE,
    port=st.none() | st.integers(1, 65535),
    extra=st.dictionaries(PIECE, PIECE | st.integers() | st.lists(st.integers()), max_size=3),
)
def test_any_connection_that_airflow_writes_is_read_alike(
    type_: str, host: str, login: Any, password: Any, schema: str, port: Any, extra: Any
) -> None:
    from airflow.sdk import Connection as Made
    from airflow.sdk.exceptions import AirflowException

    made = Made(
        conn_id="c",
        conn_type=type_,
        host=host,
        login=login,
        password=password,
        schema=schema,
        port=port,
        extra=json.dumps(extra),
    )
    for text in (made.get_uri(), made.as_json()):
        try:
            expected = airflows(text)
        except (ValueError, AirflowException):
            with pytest.raises(TerminalError):
                parse("c", text)
            continue
        assert parse("c", text) == expected


@settings(max_examples=200)
@given(st.text(max_size=60) | st.builds("postgres://{}".format, st.text(max_size=40)))
def test_any_text_is_read_or_refused_in_our_own_words(text: str) -> None:
    with suppress(TerminalError):
        assert parse("c", text).id == "c"


@pytest.mark.parametrize(
    "text",
    ["hunter2-secret", "a://b://c://hunter2-secret", "postgres://h:port-hunter2-secret/x", '{"host": hunter2-secret}'],
)
def test_an_unreadable_connection_is_terminal_and_keeps_its_secret(text: str) -> None:
    with pytest.raises(TerminalError, match="AIRFLOW_CONN_WAREHOUSE") as caught:
        parse("warehouse", text)
    assert "hunter2" not in str(caught.value)


def test_secrets_never_show_in_a_repr() -> None:
    shown = repr(parse("c", "postgres://u:" + quote("hunter2") + "@h/db?token=sesame"))
    assert "hunter2" not in shown
    assert "sesame" not in shown


def test_the_environment_is_read_without_importing_airflow() -> None:
    code = (
        "import sys; from dataforge.runtime.connections import lookup; c = lookup('ware.house');"
        "assert c.host == 'h' and c.id == 'ware.house', c; "
        "assert not any(m.split('.')[0] == 'airflow' for m in sys.modules)"
    )
    env = {
        "AIRFLOW_CONN_WARE.HOUSE": "postgres://u:p@h/db",
        "PYTHONPATH": ":".join(sys.path),
        "AIRFLOW_HOME": "/nonexistent",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_connection_says_how_to_add_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("home")
    code = (
        "from dataforge.runtime.connections import lookup\n"
        "from dataforge.errors import ConfigError\n"
        "try: lookup('warehose')\n"
        "except ConfigError as error: print(error)\n"
    )
    env = {
        "AIRFLOW_CONN_WAREHOUSE": "postgres://u:p@h/db",
        "PYTHONPATH": ":".join(sys.path),
        "AIRFLOW_HOME": str(home),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "no Airflow connection 'warehose'" in done.stdout, done.stderr
    assert "did you mean 'warehouse'?" in done.stdout
    assert "airflow connections add warehose" in done.stdout


def test_a_secrets_backend_is_asked_before_the_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "secrets.json").write_text(json.dumps({"warehouse": "postgres://from:backend@h/db"}))
    code = "from dataforge.runtime.connections import lookup; print(lookup('warehouse').login)"
    env = {
        "AIRFLOW_CONN_WAREHOUSE": "postgres://from_env:p@h/db",
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(home / "secrets.json")}),
        "PYTHONPATH": ":".join(sys.path),
        "AIRFLOW_HOME": str(home),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["from"], done.stderr


def test_the_error_for_an_unknown_connection_has_a_place() -> None:
    from dataforge.runtime.connections import _unknown

    error = _unknown("x")
    assert isinstance(error, ConfigError)
    assert error.problems[0].path == ("connection",)
    assert callable(lookup)
