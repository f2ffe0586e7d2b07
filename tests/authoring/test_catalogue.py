"""What a request may use: connections as Airflow has them, columns, samples where they are allowed, volumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest
from dataforge.authoring.catalogue import Catalogue, Known, read, with_tables
from dataforge.authoring.checks import check, estimate
from dataforge.authoring.policies import Policies
from dataforge.config.pipeline import parse
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import get_settings

PROGRAM = """
    import json, sys
    from pathlib import Path
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.connection import Connection
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    settings.initialize()
    import_all_models()
    Base.metadata.create_all(settings.get_engine())
    with create_session() as session:
        session.add(Team(name="finance"))
        session.flush()
        session.add(Connection("shop_db", "postgres", host="db.shop.example", login="etl", password="canary-1"))
        session.add(Connection("shop_api", "http", host="https://api.shop.example/v1", extra='{"token": "canary-2"}'))
        session.add(Connection("ledger", "postgres", host="ledger.example", password="canary-3", team_name="finance"))
        session.add(Connection("sftp_box", "sftp", host="box.example"))
    from dataforge.authoring import catalogue, checks
    from dataforge.authoring.deploy import InvalidDeploy, deploy

    folder = Path(sys.argv[1])
    told = {}
    for name, known in {"nobody": catalogue.read(folder), "finance": catalogue.read(folder, team="finance"),
                        "ada": catalogue.read(folder, may_use=lambda id_: id_ != "shop_db")}.items():
        found = {}
        for used in ("shop_db", "shopdb", "ledger", "sftp_box"):
            config = {"dag_id": "d", "source": {"type": "postgres", "connection": used, "table": "t"},
                      "destination": {"type": "duckdb", "table": "t"}}
            checked = checks.check(config, catalogue=known)
            found[used] = [[one.code, one.severity, one.message] for one in checked.findings]
        told[name] = {"ids": {one.id: one.type for one in known.connections}, "complete": known.complete,
                      "found": found, "host": known.by_host("https://api.shop.example/v1/orders"), "all": repr(known)}
    try:
        config = {**config, "source": {**config["source"], "connection": "ledger"}}
        deploy("x.json", json.dumps(config), base_revision="", actor="ada", root=folder)
    except InvalidDeploy as error:
        told["deploy"] = [one.code for one in error.findings]
    from dataforge.authoring.failures import read_failure
    from dataforge.runtime.connections import secrets

    kept = json.dumps({"dag_id": "d", "source": {"connection": "shop_db"}})
    (folder / "d.json").write_text(kept)
    failure = read_failure("ERROR - who is canary-1, or canary-2, or canary-9?", folder / "d.json")
    told["withheld"] = [sorted(one[-1:] for one in secrets()), failure.errors[0].replace("canary-9", "nine")]
    Connection.__table__.drop(settings.get_engine())
    catalogue.KEEP_SECONDS = 0
    away = catalogue.read(folder)
    told["away"] = [away.complete, away.notes, [one.severity for one in checks.check(config, catalogue=away).findings]]
    print("\\n" + json.dumps(told))
"""


def test_connections_are_those_of_airflows_own_database_and_of_the_persons_team(tmp_path: Path, home: Path) -> None:
    """S57: a candidate with a connection that its author may not use has an error, and a deploy refuses it."""
    home.mkdir()
    folder = tmp_path / "configs"
    folder.mkdir()
    environment = {**os.environ, "AIRFLOW__CORE__MULTI_TEAM": "True", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    environment |= {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}"}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "canary" not in done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    everyone = {"shop_db": "postgres", "shop_api": "http", "sftp_box": "sftp"}
    assert told["nobody"]["ids"] == everyone
    assert told["finance"]["ids"] == {**everyone, "ledger": "postgres"}
    assert told["nobody"]["complete"]
    assert told["nobody"]["host"] == "shop_api"
    assert told["nobody"]["found"] == {
        "shop_db": [],
        "shopdb": [["unknown-connection", "error", "there is no Airflow connection 'shopdb'"]],
        "ledger": [["unknown-connection", "error", "there is no Airflow connection 'ledger' that you may use"]],
        "sftp_box": [["unfit-connection", "error",
                      "connection 'sftp_box' is of type 'sftp'; source 'postgres' needs 'postgres'"]],
    }  # fmt: skip
    assert told["finance"]["found"]["ledger"] == []
    assert told["ada"]["found"]["shop_db"][0][2] == "there is no Airflow connection 'shop_db' that you may use"
    assert told["deploy"] == ["unknown-connection"]
    assert told["withheld"] == [["1", "2", "3"], "ERROR - who is ***, or ***, or nine?"]
    # without Airflow's list an unknown connection may be there all the same
    assert told["away"] == [False, ["Airflow's connections could not be listed (OperationalError)"], ["warning"]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs folder with a small file in it; sample rows may be shown."""
    found = tmp_path / "configs"
    found.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(found))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_SAMPLE_ROWS", "true")
    get_settings.cache_clear()
    lines = [
        "id,email,salary,city",
        "1,ada@example.com,90,Rome",
        "2,bob@example.com,70,Rome",
        "3,eve@example.com,,Oslo",
    ]
    (found / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    return found


SOURCE = {"type": "csv", "path": "people.csv"}


def test_samples_tell_what_columns_are_like_and_hide_what_is_private(folder: Path) -> None:
    """S47: values of columns whose name or tag says that they are private are in no sample."""
    policies = Policies.model_validate({"column_tags": {"people.csv.salary": ["pii"], "id": ["harmless"]}})
    (table,) = with_tables(Catalogue(folder=folder, policies=policies), [SOURCE], sampled=True, rows=True).tables
    assert table.rows[0] == {"id": 1, "email": "***", "salary": "***", "city": "Rome"}
    assert table.in_words() == {
        "id": "all different, 1 to 3",
        "email": "all different",
        "salary": "no value in 33%, 2 different",
        "city": "2 different",
    }


def test_without_the_setting_no_value_is_in_a_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_SAMPLE_ROWS", "false")
    get_settings.cache_clear()
    known = with_tables(Catalogue(folder=folder), [SOURCE], sampled=True, rows=True)
    assert known.tables[0].rows == ()
    assert known.tables[0].in_words()["id"] == "all different"
    assert any("llm_sample_rows" in note for note in known.notes)


@pytest.mark.parametrize("rows", [True, False])
def test_rows_go_into_the_prompt_only_where_the_request_wants_them(folder: Path, rows: bool) -> None:
    model = Scripted("{}")
    text = "Load people.csv into duckdb table people and squash the salary column"
    author(AuthorRequest(text, folder=folder, rows=rows), gateway_over(model), catalogue=read(folder, airflow=False))
    sent = str(model.calls[0].messages)
    assert ("Rome" in sent) is rows
    assert ("all different" in sent) is rows
    assert "salary" in sent
    assert "@example.com" not in sent


def test_a_connection_that_may_not_be_used_is_not_asked_for_columns() -> None:
    barred = Catalogue((), barred=lambda id_: id_ == "hr")
    ruled = Catalogue((), policies=Policies.model_validate({"forbidden_connections": ["hr"]}))
    for catalogue in (barred, ruled):
        known = with_tables(catalogue, [{"type": "postgres", "connection": "hr", "table": "t"}])
        assert known.tables == ()
        assert known.notes == ("hr: t may not be asked for its columns",)


def config(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"dag_id": "d", "source": source, "destination": {"type": "duckdb", "table": "t"}, **more}


def test_tables_and_columns_must_be_there_where_sources_may_be_asked(warehouse: str, folder: Path) -> None:
    with psycopg.connect(warehouse, autocommit=True) as con:
        con.execute("DROP TABLE IF EXISTS catalogue_t")
        con.execute("CREATE TABLE catalogue_t AS SELECT n AS id, 'x' || n AS name FROM generate_series(1, 500) n")
        con.execute("ANALYZE catalogue_t")
    known = Catalogue((Known("warehouse", "postgres"),), complete=True, folder=folder)
    source = {"type": "postgres", "connection": "warehouse", "table": "catalogue_t"}

    def found(wanted: dict[str, Any], *, live: bool = True) -> list[tuple[str, str, str]]:
        checked = check(wanted, catalogue=known, live=live)
        return [(one.code, one.severity, one.pointer) for one in checked.findings]

    missing = config(source, transforms=[{"type": "rename", "columns": {"nmae": "x"}}])
    assert found(missing) == [("unknown-column", "error", "/transforms/0/columns/nmae")]
    assert found(missing, live=False) == []
    assert found(config({**source, "table": "catalogue_gone"})) == [("source-unreachable", "error", "/source")]
    assert found(config(source)) == [("volume", "info", "/source")]
    measured = check(config(source, schedule="@hourly"), catalogue=known, live=True).findings[0]
    assert measured.message.startswith("a run that reads everything reads about 500 rows, ")
    assert "24 runs a day: about 12,000 rows" in measured.message
    query = config({"type": "postgres", "connection": "warehouse", "query": "SELECT id FROM catalogue_t WHERE id < 0"})
    (told,) = estimate(parse(query), live=True)
    assert told.rows is not None
    assert told.rows < 50
    assert estimate(parse(query))[0].rows is None


def test_files_are_measured_by_their_size_and_a_sample(folder: Path) -> None:
    (folder / "big.csv").write_text("id,name\n" + "1234,abcdefgh\n" * 200_000, encoding="utf-8")
    (told,) = estimate(parse(config({"type": "csv", "path": "big.csv"})))
    assert told.bytes == 8 + 14 * 200_000
    assert told.rows is not None
    assert abs(told.rows - 200_000) < 100
    assert estimate(parse(config({"type": "csv", "path": "s3://lake/x.csv", "connection": "lake"})))[0].bytes is None


def test_checks_take_little_time_beyond_reading(folder: Path) -> None:
    """Checks take less than 50 ms in 95 of 100 cases."""
    steps = [{"type": "derive", "columns": {f"c{n}": f"id + {n}"}} for n in range(5)]
    wanted = config(SOURCE, schedule="@daily", transforms=[*steps, {"type": "filter", "where": "salary > 10"}])
    known = Catalogue(folder=folder)
    check(wanted, catalogue=known)
    took = []
    for number in range(40):
        began = time.process_time()
        assert check({**wanted, "dag_id": f"d{number}"}, catalogue=known).valid
        took.append(time.process_time() - began)
    assert sorted(took)[37] < 0.05
