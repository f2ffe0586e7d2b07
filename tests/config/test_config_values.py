from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.samples import good, plain, read, told

from dataforge.components.secret_shapes import secret_shape


@pytest.mark.parametrize(
    "path",
    [
        "${data_interval_start}/x.csv",
        "${data_interval_start:%Y-%m-%d}.csv",
        "${data_interval_end:%Y%m%dT%H%M%S}/${run_id}.csv",
        "${params.region}/${params.day}/x.csv",
        "cost in $ {not ours}",
    ],
)
def test_run_values_may_stand_where_the_field_says_so(path: str) -> None:
    assert read(good(source={"type": "csv", "path": path}, transforms=[_uses()])).findings == ()


def test_run_values_may_stand_in_lists_and_objects_of_such_fields() -> None:
    source = {"type": "csv", "path": ["${run_id}.csv", "x.csv"]}
    steps = [{"type": "derive", "columns": {"at": "${data_interval_start}"}}]
    assert read(plain(source=source, transforms=steps)).findings == ()


@pytest.mark.parametrize(
    ("changes", "code", "pointer", "hint"),
    [
        ({"description": "of ${run_id}"}, "misplaced-placeholder", "/description", None),
        ({"tags": ["${params.region}"]}, "misplaced-placeholder", "/tags/0", None),
        ({"dag_id": "a_${run_id}"}, "misplaced-placeholder", "/dag_id", None),
        ({"path": "${params.regoin}"}, "unknown-param", "/source/path", "did you mean '${params.region}'?"),
        ({"path": "${data_interval_begin}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${run_id"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${run_id:%Y}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${params.day:%Y}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${data_interval_end:%Q}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${data_interval_end:}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${data_interval_end:" + "%Y" * 60 + "}"}, "invalid-placeholder", "/source/path", None),
        ({"path": "${env.HOME}"}, "invalid-placeholder", "/source/path", None),
    ],
)
def test_other_run_values_are_findings(changes: dict[str, Any], code: str, pointer: str, hint: str | None) -> None:
    path = changes.pop("path", None)
    if path:
        changes["source"] = {"type": "csv", "path": path}
    result = read(good(**changes, transforms=[_uses()]))
    assert (code, pointer) in told(result)
    assert result.pipelines == ()
    finding = next(each for each in result.findings if each.code == code)
    assert hint is None or finding.suggestion == hint


def test_a_key_holds_no_run_value() -> None:
    steps = [{"type": "derive", "columns": {"${params.region}": "1"}}]
    assert ("misplaced-placeholder", "/transforms/0/columns/${params.region}") in told(read(good(transforms=steps)))


def _uses() -> dict[str, Any]:
    return {"type": "filter", "where": "r = ${params.region} and day = ${params.day}"}


RANDOM = "q8Zr3LxW0vTnB5yKd7Hs2JpMf9CgUa4E"
SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + RANDOM + "abcd",
    "github_pat_11ABCDEFG0" + RANDOM,
    "glpat-" + RANDOM[:20],
    "xoxb-123456789012-123456789012-" + RANDOM[:24],
    "https://hooks.slack.com/services/T00000000/B00000000/" + RANDOM[:24],
    "https://discord.com/api/webhooks/123456789/" + RANDOM + RANDOM,
    "sk_live_" + RANDOM[:24],
    "rk_test_" + RANDOM[:24],
    "sk-" + RANDOM + RANDOM[:16],
    "sk-proj-" + RANDOM,
    "sk-ant-api03-" + RANDOM,
    "AIza" + RANDOM + "abc",
    "ya29." + RANDOM,
    "SG." + RANDOM[:22] + "." + RANDOM,
    "key-" + "0123456789abcdef" * 2,
    "npm_" + RANDOM + "abcd",
    "pypi-AgEIcHlwaS5vcmc" + RANDOM,
    "hf_" + RANDOM + "ab",
    "dop_v1_" + "0123456789abcdef" * 4,
    "shpat_" + "0123456789abcdef" * 2,
    "dapi" + "0123456789abcdef" * 2,
    "glsa_" + RANDOM + "_abcdef01",
    "123456789:AA" + RANDOM + "x",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "postgresql://admin:s3cret@db.example.com/x",
    "https://:token123@example.com",
    "https://example.com/data?api_key=abcdef123456",
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + RANDOM + RANDOM + "==",
    "https://x.blob.core.windows.net/c?sv=2020&sig=" + RANDOM,
    "Bearer " + RANDOM,
    "Basic dXNlcjpwYXNzd29yZA==",
    "host=db user=me password=hunter2",
    "wJ4lrXUtnF3MIK7MD9NG/bPxRf5CYzQ2mWkL8vT0",
    RANDOM,
    "hvs." + RANDOM,
]

INNOCENT = [
    "orders_daily",
    "token_count",
    "a long sentence about passwords, tokens and the secrets that must never stand in here",
    "warehouse/sales.customer_orders_with_line_items_2024_archive",
    "s3://lake/raw/CustomerOrders2024/ExportFinalVersion/part-00000-of-00016.snappy.parquet",
    "https://api.example.com/v2/orders?page=1&per_page=100&updated_since=2025-01-01T00:00:00Z",
    "https://api.example.com/orders?token=${params.token}",
    "postgresql://db.example.com:5432/x",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "123e4567-e89b-12d3-a456-426614174000",
    "coalesce(nullif(trim(customer_name), ''), 'unknown') as customer_name",
    "case when password_changed_at < current_date then 'old' else 'new' end",
    "secret_level > 3 and token = 'x'",
    "user = 'x' and password_hash is not null",
    "SELECT a.id, b.total FROM orders AS a JOIN order_totals AS b USING (order_id) WHERE b.total > 0",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "================================================",
    "com.example.department.CustomerRelationshipManagementExportJobConfiguration",
    "/var/lib/airflow/dags/CustomerRelationship/Export2024/IncrementalLoad/data.csv",
    "{{ var.value.x }} is verbatim",
    "the bearer of this letter is 42 years old",
    "Basic understanding of the business",
    "Europe/Berlin",
    "${params.token}",
    "data/year=2024/month=01/day=31/part-0001-abcdef.csv.gz",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_each_shape_of_secret_is_refused_and_never_repeated(secret: str) -> None:
    result = read(plain(description=f"x {secret}" if not secret.startswith("Basic") else secret, owner=secret))
    assert {("secret-in-config", "/owner"), ("secret-in-config", "/description")} <= set(told(result))
    assert result.pipelines == ()
    shown = "".join(f"{finding.message}{finding.suggestion}" for finding in result.findings)
    assert secret not in shown


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_texts_pass(text: str) -> None:
    assert secret_shape(text) is None
    assert "secret-in-config" not in {code for code, _ in told(read(plain(description=text)))}


@given(st.uuids() | st.from_regex(r"\A[a-z]{2,12}(_[a-z]{2,12}){0,6}\Z") | st.from_regex(r"\A([A-Z][a-z]{3,9}){1,7}\Z"))
def test_ids_are_no_secrets(text: object) -> None:
    assert secret_shape(str(text)) is None


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        ({"source": {"type": "csv", "path": "x", "password": "hunter2"}}, "/source/password"),
        (
            {"source": {"type": "csv", "path": "x", "headers": {"Authorization": "abc"}}},
            "/source/headers/Authorization",
        ),
        ({"source": {"type": "csv", "path": "x", "headers": {"X-Api-Key": "abc"}}}, "/source/headers/X-Api-Key"),
        ({"source": {"type": "nope", "clientSecret": "abc"}}, "/source/clientSecret"),
        ({"source": {"type": "csv", "path": "x", "tokens": 1, "pwd": 12345}}, "/source/pwd"),
        ({"params": {"api_token": "abc"}}, "/params/api_token"),
        ({"params": {"db_password": {"default": "abc"}}}, None),
        ({"matrix": [{"password": "abc"}]}, "/matrix/0/password"),
    ],
)
def test_a_literal_under_a_key_that_names_a_secret_is_refused(block: dict[str, Any], pointer: str | None) -> None:
    result = read(plain(**block))
    if pointer:
        assert ("secret-in-config", pointer) in told(result)
        assert not any("hunter2" in finding.message for finding in result.findings)


@pytest.mark.parametrize(
    "changes",
    [
        {"transforms": [{"type": "mask", "columns": {"password": "hash", "token": "redact", "api_key": "null"}}]},
        {"transforms": [{"type": "rename", "columns": {"token": "session_token", "secret": "password"}}]},
        {"transforms": [{"type": "derive", "columns": {"token": "upper(x)", "api_key": "'x'"}}]},
        {"transforms": [{"type": "cast", "columns": {"password": "text"}}]},
        {"transforms": [{"type": "drop", "columns": ["password", "token", "secret"]}]},
        {"source": {"type": "csv", "path": "tokens.csv", "columns": {"token": "text", "token_count": "bigint"}}},
        {"transforms": [{"type": "fill_null", "columns": {"password": "none"}}]},
    ],
)
def test_columns_named_like_secrets_pass(changes: dict[str, Any]) -> None:
    assert "secret-in-config" not in {code for code, _ in told(read(plain(**changes)))}


def test_a_secret_in_a_wrong_place_is_not_repeated_by_other_findings() -> None:
    secret = "ghp_" + RANDOM + "abcd"
    result = read(plain(dag_id=secret + " x", schedule=secret, execution=secret, timezone=secret))
    assert len(result.findings) > 4
    assert not any(secret in f"{finding.message}{finding.suggestion}" for finding in result.findings)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["a" * 900_000, "eyJ-" * 200_000, "host=" * 180_000, "bearer " * 120_000, "a:" * 400_000]
)
def test_no_text_makes_the_scan_slow(text: str) -> None:
    assert secret_shape(text) is None
