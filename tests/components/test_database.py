"""Quoting, and URIs for libpq."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from dataforge.components.base import Connection
from dataforge.components.database import postgres_uri, quote_identifier, quote_literal, without_secrets
from dataforge.errors import TerminalError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@given(TEXT)
def test_a_quoted_identifier_is_that_one_name_and_nothing_more(dialect: str, name: str) -> None:
    statements = sqlglot.parse(f"select 1 from {quote_identifier(name)}", dialect=dialect)
    assert len(statements) == 1
    table = statements[0].find(exp.Table) if statements[0] else None
    assert table is not None
    assert table.name == name


@given(TEXT)
def test_a_quoted_literal_is_that_text(text: str) -> None:
    literal = sqlglot.parse_one(f"select {quote_literal(text)}", dialect="duckdb").find(exp.Literal)
    assert literal is not None
    assert literal.this == text


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(TerminalError):
        quote_identifier(name)


@given(login=TEXT, password=TEXT, schema=TEXT, host=TEXT)
def test_a_uri_gives_back_every_part(login: str, password: str, schema: str, host: str) -> None:
    uri = postgres_uri(Connection("c", "postgres", host, 5433, login, password, schema))
    found = parse_qs(urlsplit(uri).query, keep_blank_values=True)
    assert {key: found[key][0] for key in ("host", "port", "user", "password", "dbname")} == {
        "host": host,
        "port": "5433",
        "user": login,
        "password": password,
        "dbname": schema,
    }


def test_only_known_extras_reach_libpq() -> None:
    extra = {"sslmode": "require", "options": "-c x=y", "service": "s", "passfile": "/p", "cursor": "dict"}
    found = parse_qs(urlsplit(postgres_uri(Connection("c", "postgres", "h", extra=extra))).query)
    assert found["sslmode"] == ["require"]
    assert not {"options", "service", "passfile", "cursor"} & set(found)
    assert found["connect_timeout"] == ["10"]


def test_secrets_are_masked_in_every_form() -> None:
    connection = Connection("c", "postgres", password="p w/ä")
    text = f"a p w/ä b {postgres_uri(connection)}"
    masked = without_secrets(text, connection)
    assert "p w/ä" not in masked
    assert "p%20w" not in masked
