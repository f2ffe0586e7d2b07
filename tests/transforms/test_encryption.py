"""encrypt and decrypt: what goes in comes out, by the right key only, and nothing else tells of it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.transforms.conftest import made, pipeline, problems_of

from dataforge.components.base import Connection
from dataforge.config.pipeline import parse
from dataforge.errors import ConfigError, TerminalError
from dataforge.runtime import preview
from dataforge.runtime.compile import compile
from dataforge.runtime.context import local
from dataforge.runtime.lineage import trace
from dataforge.testing import ComponentContract
from dataforge.transforms._ciphers import keys_of, opener, sealer

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


class TestEncrypt(ComponentContract):
    kind = "transform"
    config: ClassVar = {"type": "encrypt", "columns": ["email"], "connection": "column_keys"}


class TestDecrypt(ComponentContract):
    kind = "transform"
    config: ClassVar = {"type": "decrypt", "columns": ["email"], "connection": "column_keys"}


def connection(key: str = ONE, key_id: str = "", **extra: str) -> Connection:
    return Connection("column_keys", login=key_id, password=key, extra=extra)


def run(folder: Path, *steps: dict[str, Any], **found: Connection) -> list[dict[str, Any]]:
    (folder / "people.csv").write_text("id,email\n1,ann@example.com\n2,bob@example.com\n3,ann@example.com\n4,\n")
    config = parse(
        {
            "dag_id": "people",
            "source": {"type": "csv", "path": "people.csv"},
            "transforms": list(steps),
            "destination": {"type": "parquet", "path": "out/"},
        }
    )
    rows, _ = made(config, connection=found.__getitem__)
    return rows


ENCRYPT = {"type": "encrypt", "columns": ["EMAIL"], "connection": "column_keys"}
DECRYPT = {"type": "decrypt", "columns": ["email"], "connection": "column_keys"}
TEXTS = ["ann@example.com", "bob@example.com", "ann@example.com", None]


def test_random_tokens_differ_for_equal_values_and_are_read_again(configs: Path) -> None:
    tokens = [row["email"] for row in run(configs, ENCRYPT, column_keys=connection())]
    assert tokens[3] is None
    assert all(re.fullmatch(r"df1:r:1:[\w-]+", token) for token in tokens[:3])
    assert len(set(tokens)) == 4
    rows = run(configs, ENCRYPT, DECRYPT, column_keys=connection())
    assert [row["email"] for row in rows] == TEXTS


def test_deterministic_tokens_are_equal_for_equal_values_so_that_they_join(configs: Path) -> None:
    step = {**ENCRYPT, "mode": "deterministic", "name": "sealed"}
    count = {
        "type": "aggregate",
        "input": "sealed",
        "name": "counts",
        "group_by": ["email"],
        "columns": {"n": "count(*)"},
    }
    join = {"type": "join", "input": "sealed", "with": "counts", "on": ["email"]}
    sort = {"type": "sort", "by": "id"}
    rows = run(configs, step, count, join, DECRYPT, sort, column_keys=connection())
    assert [(row["email"], row["n"]) for row in rows] == [
        ("ann@example.com", 2),
        ("bob@example.com", 1),
        ("ann@example.com", 2),
    ]


def test_a_rotated_key_encrypts_and_the_earlier_one_still_reads() -> None:
    before, after = connection(ONE, "2024"), connection(TWO, "2025", secret_2024=ONE)
    old, new = sealer(keys_of(before), "random")("x"), sealer(keys_of(after), "random")("x")
    assert (old.split(":")[2], new.split(":")[2]) == ("2024", "2025")
    both = opener(keys_of(after))
    assert (both(old), both(new)) == ("x", "x")
    with pytest.raises(TerminalError, match=r"no key '2025' \(it has: 2024\); add the key to its extra as secret_2025"):
        opener(keys_of(before))(new)


@pytest.mark.parametrize("mode", ["random", "deterministic"])
@pytest.mark.parametrize("text", ["", "x", "Zoë 🎈", "y" * 100_000])
def test_any_text_comes_back(mode: Any, text: str) -> None:
    keys = keys_of(connection())
    assert opener(keys)(sealer(keys, mode)(text)) == text


@pytest.mark.parametrize("mode", ["random", "deterministic"])
def test_a_token_that_was_changed_or_made_by_another_key_is_refused(mode: Any) -> None:
    token = sealer(keys_of(connection()), mode)("value")
    head, text = token.rsplit(":", 1)
    swapped = head.replace(f":{mode[0]}:", ":d:" if mode == "random" else ":r:")
    flipped = text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]
    for broken in (f"{head}:{flipped}", f"{head}:{text[:4]}", f"{swapped}:{text}"):
        with pytest.raises(TerminalError, match="another key made it, or it was changed"):
            opener(keys_of(connection()))(broken)
    with pytest.raises(TerminalError, match="another key made it, or it was changed"):
        opener(keys_of(connection(TWO)))(token)
    with pytest.raises(TerminalError, match="is no token"):
        opener(keys_of(connection()))("value")


def test_a_value_that_is_no_token_fails_the_run_without_being_told(configs: Path) -> None:
    with pytest.raises(TerminalError, match="column 'email': a value is no token that encrypt made") as caught:
        run(configs, DECRYPT, column_keys=connection())
    assert "example.com" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "short", base64.b64encode(b"x" * 16).decode(), "ä"])
def test_a_key_that_is_none_is_told_without_showing_it(key: str) -> None:
    with pytest.raises(TerminalError, match="its password is no key of 32 bytes in base64; make one with") as caught:
        keys_of(connection(key))
    assert not key or key not in str(caught.value)
    assert ONE not in repr(keys_of(connection()))


CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...]]] = [
    ({**ENCRYPT, "columns": ["mail"]}, "unknown-column", ("columns", 0)),
    ({**ENCRYPT, "columns": []}, "empty-list", ("columns",)),
    ({**ENCRYPT, "columns": ["id"]}, "type-mismatch", ("columns", 0)),
    ({**DECRYPT, "columns": ["email", "id"]}, "type-mismatch", ("columns", 1)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]['type']} {case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_is_said_before_it_runs(case: Any) -> None:
    step, code, path = case
    (problem,) = problems_of(step)
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))


def test_a_missing_connection_is_told_at_the_step_and_a_preview_shows_tokens(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (configs / "people.csv").write_text("id,email\n1,a\n")
    data = {
        "dag_id": "p",
        "source": {"type": "csv", "path": "people.csv"},
        "destination": {"type": "parquet", "path": "o/"},
    }
    config = parse({**data, "transforms": [ENCRYPT]})
    with pytest.raises(ConfigError) as caught:
        preview.run(config, local(config, {}))
    assert caught.value.problems[0].path == ("transforms", 0, "connection")
    monkeypatch.setenv("AIRFLOW_CONN_COLUMN_KEYS", json.dumps({"conn_type": "generic", "password": ONE}))
    assert preview.run(config, local(config, {})).steps[1].rows[0]["email"].startswith("df1:r:1:")


def test_lineage_says_which_columns_are_encrypted() -> None:
    columns = {"source": {"id": "BIGINT", "email": "VARCHAR"}}
    found = {one.column: one for one in trace(compile(pipeline(ENCRYPT), columns))}
    assert {name: (one.origins, one.steps) for name, one in found.items()} == {
        "id": ((("source", "id"),), ()),
        "email": ((("source", "email"),), (0,)),
    }
