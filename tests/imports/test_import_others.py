"""`dataforge import` of dag-factory, Sling, Singer catalogs and dlt's REST: what people write becomes valid configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli import main
from dataforge.config.pipeline import parse
from dataforge.errors import ConfigError
from dataforge.imports import dag_factory, dlt_rest, singer_catalog, sling

SLING = """
source: MY_POSTGRES
target: WAREHOUSE_PG
defaults:
  mode: incremental
  object: new_schema.{stream_schema}_{stream_table}
  primary_key: [id]
  update_key: updated_at
streams:
  public.orders:
    description: Orders
    select: [id, amount, updated_at]
    schedule: "0 6 * * *"
  public.customers:
    sql: select * from public.customers where {incremental_where_cond}
    columns: {age: integer, notes: "string | not_null"}
    mode: full-refresh
  public.old: {disabled: true}
  sales.*:
  public.events:
    primary_key: []
    update_key: null
    mode: snapshot
    select: ["-payload"]
    hooks: {post: []}
"""
SLING_FILES = """
source: LOCAL
target: LOCAL
streams:
  "file://data/orders_*.csv":
    object: "file://out/{stream_file_name}.parquet"
    source_options: {delimiter: ";", header: true}
  "data/people.jsonl":
    mode: incremental
    primary_key: id
    object: file://out/people/
    target_options: {format: csv}
"""
CATALOG = {
    "streams": [
        {
            "tap_stream_id": "issues",
            "stream": "issues",
            "schema": {"properties": {"id": {}, "title": {}, "body": {}}},
            "metadata": [
                {
                    "breadcrumb": [],
                    "metadata": {
                        "selected": True,
                        "replication-method": "INCREMENTAL",
                        "replication-key": "updated_at",
                        "table-key-properties": ["id"],
                    },
                },
                {"breadcrumb": ["properties", "body"], "metadata": {"selected": False, "inclusion": "available"}},
            ],
        },
        {"tap_stream_id": "users", "schema": {"properties": {}}, "metadata": []},
    ]
}
REST = """
import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_resources

@dlt.source
def github_source(access_token: str = dlt.secrets.value):
    config: RESTAPIConfig = {
        "client": {
            "base_url": "https://api.github.com/repos/dlt-hub/dlt/",
            "auth": {"type": "bearer", "token": access_token},
            "paginator": "header_link",
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {"params": {"per_page": 100}},
        },
        "resources": [
            "labels",
            {
                "name": "issues",
                "endpoint": {
                    "path": "issues",
                    "data_selector": "$",
                    "params": {
                        "state": "open",
                        "secret": compute(),
                        "since": {
                            "type": "incremental",
                            "cursor_path": "updated_at",
                            "initial_value": "2024-01-25T11:21:28Z",
                        },
                    },
                },
            },
            {
                "name": "comments",
                "write_disposition": "append",
                "endpoint": {
                    "path": "issues/{issue_number}/comments",
                    "params": {"issue_number": {"type": "resolve", "resource": "issues", "field": "number"}},
                    "paginator": {"type": "offset", "limit": 50, "total_path": "$.meta.total"},
                },
            },
            {
                "name": "reactions",
                "include_from_parent": ["id"],
                "endpoint": {"path": "issues/{resources.issues.number}/reactions", "data_selector": "data.items"},
            },
            a_resource(),
        ],
    }
    yield from rest_api_resources(config)
"""
DAGS = """
default:
  default_args: {owner: data, start_date: 2025-01-01, retries: 1, retry_delay_sec: 300, email: x@example.org}
  catchup: false
daily_sales:
  description: Sales
  schedule: "0 3 * * *"
  tags: [sales]
  default_args: {retries: 2}
  tasks:
    copy:
      operator: airflow.providers.common.sql.operators.generic_transfer.GenericTransfer
      sql: select * from orders where day = '{{ ds }}'
      source_conn_id: shop
      destination_conn_id: warehouse
      destination_table: staging.orders
    totals:
      operator: airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
      conn_id: warehouse
      sql: |
        delete from mart.totals;
        insert into mart.totals select day, sum(amount) as amount from staging.orders group by day
      dependencies: [copy]
    notify:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: echo done
      dependencies: [totals]
    last:
      operator: airflow.providers.postgres.operators.postgres.PostgresOperator
      postgres_conn_id: warehouse
      sql: create table mart.last as select max(day) as day from mart.totals
      dependencies: [totals, notify]
    vacuum:
      operator: SQLExecuteQueryOperator
      sql: vacuum
"""


def by_id(imported: Any) -> dict[str, Any]:
    for config in imported.configs:
        parse(config)
    return {config["dag_id"]: config for config in imported.configs}


def told(imported: Any) -> str:
    return "\n".join(map(str, imported.gaps))


class TestSling:
    def test_modes_keys_and_queries_become_what_they_mean(self) -> None:
        imported = sling.convert(SLING, file=Path("shop.yaml"))
        found = by_id(imported)
        assert set(found) == {"shop_public.orders", "shop_public.customers", "shop_public.events"}
        orders = found["shop_public.orders"]
        assert orders["source"] == {
            "type": "postgres", "connection": "my_postgres", "table": "public.orders", "cursor_field": "updated_at"
        }  # fmt: skip
        assert orders["schedule"] == "0 6 * * *"
        assert orders["transforms"] == [{"type": "select", "columns": ["id", "amount", "updated_at"]}]
        assert orders["destination"] == {
            "type": "postgres", "table": "new_schema.public_orders", "connection": "warehouse_pg",
            "write_disposition": "merge", "primary_key": ["id"],
        }  # fmt: skip
        customers = found["shop_public.customers"]
        assert "incremental" not in customers["source"]["query"]
        assert customers["source"]["columns"] == {"age": "integer", "notes": "text"}
        assert customers["destination"]["write_disposition"] == "replace"
        events = found["shop_public.events"]
        assert events["transforms"] == [{"type": "drop", "columns": ["payload"]}]
        assert events["destination"]["write_disposition"] == "append"

    def test_what_it_can_not_say_is_told(self) -> None:
        gaps = told(sling.convert(SLING, file=Path("shop.yaml")))
        for text in (
            "disabled",
            "wildcard",
            "not_null",
            "snapshot",
            "'hooks'",
            "connection 'my_postgres' must be made",
        ):
            assert text in gaps

    def test_files_keep_their_form(self) -> None:
        found = by_id(sling.convert(SLING_FILES, file=Path("files.yaml")))
        assert [config["source"]["type"] for config in found.values()] == ["csv", "json"]
        first, second = found.values()
        assert first["source"]["path"] == "data/orders_*.csv"
        assert first["source"]["delimiter"] == ";"
        assert first["destination"]["type"] == "parquet"
        assert second["destination"] == {"type": "csv", "path": "out/people/", "write_disposition": "append"}


class TestSingerCatalog:
    def test_selected_streams_become_singer_sources(self) -> None:
        imported = singer_catalog.convert(json.dumps(CATALOG), file=Path("tap-github.catalog.json"))
        (config,) = by_id(imported).values()
        assert config["source"] == {
            "type": "singer", "tap": "tap-github", "connection": "github_tap", "stream": "issues", "resume": True,
            "select": ["id", "title"],
        }  # fmt: skip
        assert config["destination"] == {
            "type": "duckdb", "table": "issues", "write_disposition": "merge", "primary_key": ["id"]
        }  # fmt: skip
        assert "connection 'github_tap'" in told(imported)

    def test_without_a_selection_all_streams_are_taken_and_that_is_told(self) -> None:
        bare: dict[str, Any] = {"streams": [{"tap_stream_id": name, "metadata": []} for name in ("a", "b")]}
        imported = singer_catalog.convert(json.dumps(bare), file=Path("catalog.json"))
        assert len(by_id(imported)) == 2
        assert "no stream is selected" in told(imported)
        assert "which tap" in told(imported)


class TestDltRest:
    def test_a_python_file_is_read_and_not_run(self) -> None:
        found = by_id(dlt_rest.convert(REST, file=Path("github_pipeline.py")))
        assert set(found) == {"github_labels", "github_issues", "github_comments", "github_reactions"}
        issues = found["github_issues"]
        assert issues["source"] == {
            "type": "http",
            "connection": "github_api",
            "endpoint": "/issues",
            "auth": {"type": "bearer"},
            "query": {"per_page": 100, "state": "open", "since": "${cursor}"},
            "pagination": {"type": "link_header"},
            "cursor_field": "updated_at",
            "initial_value": "2024-01-25T11:21:28Z",
        }
        assert issues["destination"] == {
            "type": "duckdb", "table": "issues", "write_disposition": "merge", "primary_key": ["id"]
        }  # fmt: skip
        comments = found["github_comments"]["source"]
        assert comments["endpoint"] == "/issues/{issue_number}/comments"
        assert comments["partitions"][0]["endpoint"] == "/issues"
        assert comments["partitions"][0]["key"] == "number"
        assert comments["pagination"] == {
            "type": "offset", "param": "offset", "limit_param": "limit", "limit": 50, "total": "meta.total"
        }  # fmt: skip
        reactions = found["github_reactions"]["source"]
        assert reactions["endpoint"] == "/issues/{issues_number}/reactions"
        assert reactions["records"] == "data.items"

    def test_what_is_computed_is_told(self) -> None:
        gaps = told(dlt_rest.convert(REST, file=Path("github_pipeline.py")))
        for text in ("params/secret: a value that is computed", "resources/4: a resource that is Python", "the token",
                     "include_from_parent", "host https://api.github.com"):  # fmt: skip
            assert text in gaps

    @pytest.mark.parametrize(
        ("paginator", "ours"),
        [
            ("single_page", {"type": "none"}),
            ({"type": "json_link", "next_url_path": "links.next"}, {"type": "next_url", "path": "links.next"}),
            ({"type": "cursor", "cursor_path": "m.c"}, {"type": "cursor", "path": "m.c", "param": "cursor"}),
            ({"type": "page_number", "base_page": 1, "total_path": "pages"},
             {"type": "page", "param": "page", "start": 1, "total_pages": "pages"}),
            ("auto", {"type": "link_header"}),
        ],
    )  # fmt: skip
    def test_paginators_and_logins_have_counterparts(self, paginator: Any, ours: Any) -> None:
        logins = {
            "api_key": {"type": "api_key", "name": "X-Key", "api_key": "s3cret-value"},
            "basic": {"type": "http_basic", "username": "u", "password": "s3cret-value"},
            None: {"type": "custom"},
        }
        for kind, auth in logins.items():
            client = {"base_url": "https://x.example", "auth": auth, "paginator": paginator}
            imported = dlt_rest.convert(json.dumps({"client": client, "resources": ["a"]}), file=Path("x.json"))
            (config,) = by_id(imported).values()
            assert config["source"]["pagination"] == ours
            assert (config["source"].get("auth") or {}).get("type") == kind
            assert "s3cret" not in told(imported) + json.dumps(config)


class TestDagFactory:
    def test_tasks_that_move_rows_become_pipelines_that_follow_each_other(self) -> None:
        found = by_id(dag_factory.convert(DAGS, file=Path("dags.yaml")))
        assert set(found) == {"daily_sales_copy", "daily_sales_totals", "daily_sales_last"}
        copy = found["daily_sales_copy"]
        assert copy["schedule"] == "0 3 * * *"
        assert copy["start_date"] == "2025-01-01"
        assert copy["default_args"] == {"owner": "data", "retries": 2, "retry_delay": "300s"}
        assert "${data_interval_start:%Y-%m-%d}" in copy["source"]["query"]
        assert copy["destination"]["table"] == "staging.orders"
        totals = found["daily_sales_totals"]
        assert totals["schedule"] == {"asset": "warehouse/staging.orders"}
        assert totals["destination"]["write_disposition"] == "replace"
        assert "GROUP BY" in totals["source"]["query"]
        assert found["daily_sales_last"]["source"]["type"] == "postgres"

    def test_the_other_tasks_are_told(self) -> None:
        gaps = told(dag_factory.convert(DAGS, file=Path("dags.yaml")))
        for text in ("tasks/notify: a task of BashOperator", "tasks/vacuum: SQL that is no INSERT",
                     "waits for 'notify'", "the default argument 'email'"):  # fmt: skip
            assert text in gaps


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("sling", "shop.yaml", SLING),
        ("singer-catalog", "tap-github.json", json.dumps(CATALOG)),
        ("dlt-rest", "github.py", REST),
        ("dag-factory", "dags.yaml", DAGS),
    ],
)
def test_the_command_writes_valid_configs(tmp_path: Path, kind: str, name: str, text: str, capsys: Any) -> None:
    file = tmp_path / name
    file.write_text(text)
    code = main(["import", kind, str(file), "--to", str(tmp_path / "configs")])
    err = capsys.readouterr().err
    # the tap and the tables are not here; nothing else may be wrong with what was written
    assert code == (1 if kind == "singer-catalog" else 0), err
    assert list((tmp_path / "configs").glob("*.json"))


@pytest.mark.parametrize("module", [sling, singer_catalog, dlt_rest, dag_factory])
def test_another_kind_of_file_is_refused(module: Any) -> None:
    for text in ('{"a": 1}', "[1", "x: &a [*a]"):
        with pytest.raises(ConfigError):
            module.convert(text, file=Path("x.json"))
