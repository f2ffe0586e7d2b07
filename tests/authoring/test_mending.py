"""The tolerant reader: each fault of a JSON text that has one reading, and those that have none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.authoring.editing import EditError, Operation, differences, edit, patch
from dataforge.authoring.mending import decode, mend
from dataforge.config.json_reader import JsonError

GOOD = '{\n  "a": "x",\n  "b": [1, 2],\n  "c": {"d": true}\n}\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x",', '"x"'), ("true}", "true,}"), ("[1, 2]", "[1,, 2,]"), ('"b"', "b"), ('"', "'"), ("true", "True"),
        ('"x",', '"x", // why'), ('"x",\n', '"x",\n  # why\n'), ('"x"', "x"), ('"x"', "“x”"), ('"b":', '"b"='),
        ("1,", "01,"), ('"x",', '"x,'), ("2],", "2,"), ('"b"', '"a": "x", "b"'),
    ],
)  # fmt: skip
def test_one_reading_is_taken(old: str, new: str) -> None:
    mended = mend(GOOD.replace(old, new))
    assert mended.text == GOOD
    assert mended.notes


@pytest.mark.parametrize("text", ["\ufeff" + GOOD, f"```json\n{GOOD}```", GOOD[:-3], GOOD + "}", "{/* a */" + GOOD[1:]])
def test_what_stands_around_is_taken_off(text: str) -> None:
    assert json.loads(mend(text).text) == json.loads(GOOD)


def test_good_text_is_returned_as_it_is() -> None:
    assert mend(GOOD).text is GOOD


@pytest.mark.parametrize("text", ["", "hello", "[1,]", '{"a"}', '{"a": }', "{" * 100, '{"a": [1}, 2]: 3'])
def test_what_has_no_reading_is_refused_as_the_strict_reader_would(text: str) -> None:
    with pytest.raises(JsonError):
        value = mend(text)
        raise AssertionError(value)


def test_two_objects_of_one_key_are_joined_where_they_do_not_overlap() -> None:
    assert json.loads(mend('{"a": {"x": 1}, "a": {"y": 2}}').text) == {"a": {"x": 1, "y": 2}}
    with pytest.raises(JsonError):
        mend('{"a": {"x": 1}, "a": {"x": 2}}')


def test_other_encodings_are_read() -> None:
    assert decode("{}".encode("utf-16"))[0].lstrip("\ufeff") == "{}"
    assert decode("ü".encode("cp1252"))[0] == "ü"
    with pytest.raises(JsonError):
        decode(b"\x1f\x8b\xff\x00")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.data(), st.sampled_from([None, 2, "\t"]))
def test_an_edit_of_the_text_is_the_patch_of_the_value(value: dict[str, Any], data: st.DataObject, indent: Any) -> None:
    places = [pointer for pointer in _pointers(value) if pointer] or ["/new"]
    place = data.draw(st.sampled_from(places))
    operation = data.draw(
        st.sampled_from(
            [
                Operation("remove", place),
                Operation("replace", place, {"n": [1]}),
                Operation("add", place, 7),
                Operation("move", "/moved", None, place),
            ]
        )
    )
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        wanted = patch(value, [operation])
    except EditError:
        with pytest.raises(EditError):
            edit(text, [operation])
        return
    assert json.loads(edit(text, [operation])) == wanted
    assert not list(differences(wanted, json.loads(edit(text, [operation]))))


def _pointers(value: Any, pointer: str = "") -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [pointer]
    for key, part in items:
        found += _pointers(part, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    return found
