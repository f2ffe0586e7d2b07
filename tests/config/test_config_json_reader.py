from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.config.json_reader import JsonError, read_json
from dataforge.config.positions import Positions, escape, locate

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
LIKELY = st.text(alphabet='{}[]",:\\0123456789.eE+-truefalsn \n\tuNI\ufeff', max_size=40)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "empty-file", 1, 1),
        (" \n", "empty-file", 1, 1),
        ('{"a": 1,\n "a": 2}', "duplicate-key", 2, 2),
        ('{"a": NaN}', "not-a-number", 1, 7),
        ('{"a": -Infinity}', "not-a-number", 1, 7),
        ('{"a": 1e999}', "number-too-large", 1, 7),
        ('{"a": ' + "9" * 5000 + "}", "number-too-long", 1, 7),
        ("[" * 65 + "]" * 65, "too-deep", 1, 65),
        ("\ufeff{}", "byte-order-mark", 1, 1),
        ("{} x", "trailing-data", 1, 4),
        ('{"a": "\\ud800"}', "lone-surrogate", 1, 7),
        ('{"\\ud800": 1}', "lone-surrogate", 1, 2),
        ('{"a": "\\u0000"}', "nul-character", 1, 7),
        ('{"a": "\x00"}', "syntax-error", 1, 8),
        ('{"a": 1,}', "syntax-error", 1, 8),
        ('{"a": 1\n "b": 2}', "syntax-error", 1, 8),
        ("{'a': 1}", "syntax-error", 1, 2),
        ('{"a": True}', "syntax-error", 1, 7),
        ('{"a": 01}', "syntax-error", 1, 8),
        ("// why\n{}", "syntax-error", 1, 1),
        ('{"a": "x\n"}', "syntax-error", 1, 9),
        (b"\xff\xfe{\x00}\x00", "not-utf8", 1, 1),
        (b'{\n"a": "\xe4"}', "not-utf8", 2, 7),
    ],
)
def test_each_fault_of_a_text_is_named_at_its_place(text: str | bytes, code: str, line: int, column: int) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(text)
    fault = caught.value.faults[0]
    assert (fault.code, fault.line, fault.column) == (code, line, column)


def test_all_faults_before_the_first_syntax_error_are_told_at_once() -> None:
    with pytest.raises(JsonError) as caught:
        read_json('{"a": NaN, "a": [1e400], "b": "\\ud800", "b": 2}')
    assert [fault.code for fault in caught.value.faults] == [
        "not-a-number",
        "duplicate-key",
        "number-too-large",
        "lone-surrogate",
        "duplicate-key",
    ]


@pytest.mark.parametrize("text", ["", "{", '{"a', '{"a"', '{"a":', '{"a": tr', '{"a": "\\u12', '{"a": 1', "[1,", "[-"])
def test_a_text_that_breaks_off_is_told_from_a_wrong_one(text: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(text)
    assert caught.value.at_end


@pytest.mark.parametrize("text", ["{x", '{"a": 1]', "[1,]", "{} {", '{"a": nul}'])
def test_a_wrong_text_is_not_taken_for_one_that_breaks_off(text: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(text)
    assert not caught.value.at_end


@pytest.mark.timeout(30)
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_hundred_thousand_levels_end_quickly_with_a_place(opening: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(opening * 100_000)
    assert caught.value.faults[0].code == "too-deep"
    assert caught.value.faults[0].column == 64 * len(opening) + 1


def test_a_word_that_lacks_its_quotes_is_not_repeated_when_it_may_be_a_secret() -> None:
    with pytest.raises(JsonError) as caught:
        read_json('{"password": hunter2hunter2hunter2}')
    assert "hunter2" not in str(caught.value)


@given(VALUES)
def test_what_json_writes_is_read_back(value: Any) -> None:
    codes = _codes(text := json.dumps(value))
    assert codes <= {"lone-surrogate", "nul-character", "duplicate-key"}
    assert codes or read_json(text) == value


@settings(max_examples=500)
@given(st.binary(max_size=60) | LIKELY)
def test_the_reader_never_fails_otherwise_than_with_faults(data: str | bytes) -> None:
    codes = _codes(data)
    assert None not in codes


@settings(max_examples=1000)
@given(LIKELY)
def test_the_scanner_and_the_fast_reader_agree(text: str) -> None:
    try:
        read_json(text)
    except JsonError:
        assert locate(text).faults
    else:
        assert not locate(text).faults


@given(VALUES, st.sampled_from([None, 1, 4]), st.sampled_from(["\n", "\r\n"]))
def test_the_value_at_every_pointer_stands_at_its_place(value: Any, indent: int | None, line_end: str) -> None:
    text = json.dumps(value, indent=indent).replace("\n", line_end)
    positions = locate(text)
    lines = text.split(line_end)
    for pointer, part in _parts(value, ""):
        assert _value_at(lines, line_end, positions, pointer) == part


@given(st.dictionaries(st.text(), SCALARS, min_size=1))
def test_the_key_at_every_pointer_stands_at_its_place(value: dict[str, Any]) -> None:
    lines = json.dumps(value, indent=2).split("\n")
    positions = locate("\n".join(lines))
    for key in value:
        place = positions.key(f"/{escape(key)}")
        if place is None:
            assert any(0xD800 <= ord(char) < 0xE000 for char in key)
            continue
        assert json.JSONDecoder().raw_decode(lines[place[0] - 1][place[1] - 1 :])[0] == key


def _codes(data: str | bytes) -> set[str | None]:
    """Return the codes of the faults; None for an error without faults or a fault without a place."""
    try:
        read_json(data)
    except JsonError as error:
        return {fault.code if fault.line >= 1 and fault.column >= 1 else None for fault in error.faults} or {None}
    return set()


def _parts(value: Any, pointer: str) -> list[tuple[str, Any]]:
    found = [(pointer, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found += _parts(part, f"{pointer}/{escape(key)}")
    return found


def _value_at(lines: list[str], line_end: str, positions: Positions, pointer: str) -> Any:
    place = positions.value(pointer)
    assert place is not None
    rest = line_end.join([lines[place[0] - 1][place[1] - 1 :], *lines[place[0] :]])
    return json.JSONDecoder().raw_decode(rest)[0]
