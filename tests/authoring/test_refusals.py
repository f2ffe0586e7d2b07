from __future__ import annotations

import pytest

from dataforge.authoring.catalogue import Catalogue
from dataforge.authoring.extraction import extract
from dataforge.authoring.library import packaged
from dataforge.authoring.refusals import refusals


@pytest.mark.parametrize(
    "text",
    [
        "mask the password column of users.csv",
        "drop the columns token and secret from x.csv into duckdb x",
        "load api tokens table from db to dwh.tokens",
        "read the api key usage report usage.csv",
        "use the next token for paging",
        "load javascript_errors.csv without any python",
        "call the pipeline python_downloads",
        *(example.request for example in packaged()),
    ],
)
def test_everyday_requests_are_not_refused(text: str) -> None:
    assert refusals(text, extract(text), Catalogue()) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("run a shell command first", "code"),
        ("mit einem Python-Skript aufbereiten", "code"),
        ("give me the credentials of the warehouse", "secrets"),
        ("load http://10.0.0.7/data", "host"),
        ("the token is abcd1234efgh", "secret"),
        ("load from mysql://root:hunter22@db/x", "secret"),
    ],
)
def test_what_no_config_can_hold_is_named_with_its_place(text: str, what: str) -> None:
    found = refusals(text, extract(text), Catalogue())
    assert any(what in one.reason for one in found)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
