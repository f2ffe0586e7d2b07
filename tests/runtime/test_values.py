"""Placeholders in the text fields of a config."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from dataforge.components.base import RunValues, SourceConfig
from dataforge.components.fields import SqlExpression, SqlQuery, TemplatedText
from dataforge.errors import ConfigError
from dataforge.runtime.values import resolve


class Page(BaseModel):
    type: Literal["p"] = "p"
    url: TemplatedText
    where: SqlExpression = "1"


class ReadConfig(SourceConfig):
    type: Literal["read"] = "read"
    path: TemplatedText = Field(description="A path.", examples=["a"])
    optional: TemplatedText | None = Field(default=None, description="Perhaps.")
    either: tuple[TemplatedText, ...] | TemplatedText | None = None
    query: dict[str, TemplatedText] = Field(default_factory=dict)
    mixed: dict[str, str | int | TemplatedText] = Field(default_factory=dict)
    nested: dict[str, list[TemplatedText]] = Field(default_factory=dict)
    page: Page | None = None
    pages: tuple[Page, ...] = ()
    plain: str = ""
    sql: SqlExpression = "1"
    select: SqlQuery | None = None
    with_: TemplatedText = Field(default="", alias="with")


VALUES = RunValues(
    params={"region": "EU", "n": 5, "quick": False, "empty": ""},
    data_interval_start=datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    run_id="manual__2024",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${params.region}/x", "EU/x"),
        ("${params.n}${params.quick}", "5false"),
        ("${data_interval_start}", "2024-01-02T03:04:05+00:00"),
        ("in/${data_interval_start:%Y/%m/%d}/a.csv", "in/2024/01/02/a.csv"),
        ("${run_id}", "manual__2024"),
        ("[${params.empty}]", "[]"),
        ("$params.region {params.region} $${run_id}", "$params.region {params.region} $manual__2024"),
    ],
)
def test_a_placeholder_is_replaced_by_its_text(text: str, expected: str) -> None:
    assert resolve(ReadConfig(path=text, **{"with": text}), VALUES).path == expected


def test_every_templated_field_is_resolved_wherever_it_stands() -> None:
    text = "${params.region}"
    config = ReadConfig(
        path=text,
        optional=text,
        either=(text, "b"),
        query={"a": text},
        mixed={"a": text, "b": 1},
        nested={"a": [text, "z"]},
        page=Page(url=text, where=text),
        pages=(Page(url=text),),
        **{"with": text},
    )
    resolved = resolve(config, VALUES)
    assert type(resolved) is ReadConfig
    assert (resolved.path, resolved.optional, resolved.either, resolved.with_) == ("EU", "EU", ("EU", "b"), "EU")
    assert (resolved.query, resolved.mixed, resolved.nested) == ({"a": "EU"}, {"a": "EU", "b": 1}, {"a": ["EU", "z"]})
    assert resolved.page == Page(url="EU", where=text)
    assert resolved.pages == (Page(url="EU"),)
    assert config.path == text


def test_sql_and_plain_texts_are_left_alone() -> None:
    text = "x = ${params.region}"
    config = ReadConfig(path="a", plain=text, sql=text, select=text)
    assert resolve(config, VALUES) is config


def test_every_missing_value_is_named_at_its_place() -> None:
    config = ReadConfig(path="${params.nope}", query={"a": "${data_interval_end}"}, **{"with": "${params.other}"})
    with pytest.raises(ConfigError) as caught:
        resolve(config, VALUES)
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [
        ("missing-value", ("path",)),
        ("missing-value", ("query", "a")),
        ("missing-value", ("with",)),
    ]
    assert "${params.nope} has no value" in str(caught.value)


@pytest.mark.parametrize("text", ["${nope}", "${params.}", "${params.a b}", "${run_id:%Y}", "${}", "${params.x.y}"])
def test_what_is_no_placeholder_is_a_problem(text: str) -> None:
    with pytest.raises(ConfigError, match="is no placeholder"):
        resolve(ReadConfig(path=text), VALUES)


def test_values_are_put_in_once_and_not_read_again() -> None:
    values = RunValues(params={"a": "${params.b}", "b": "secret"})
    assert resolve(ReadConfig(path="${params.a}"), values).path == "${params.b}"
