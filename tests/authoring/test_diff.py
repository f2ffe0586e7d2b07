from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataforge.authoring import diff, layout
from dataforge.authoring.editing import edit

scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=6)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
configs = st.dictionaries(st.text(max_size=5), values, max_size=5)


@given(configs, configs)
def test_a_diff_makes_the_second_config_of_the_first(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert diff.same(diff.apply(before, diff.changes(before, after)), after)


@given(configs, configs)
def test_an_inverted_diff_leads_back(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = diff.changes(before, after)
    assert diff.same(diff.apply(after, diff.invert(changed)), before)


@given(configs, configs, st.sampled_from([None, 1, 4]))
def test_an_edited_text_holds_what_the_changes_say(
    before: dict[str, Any], after: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps(before, indent=indent)
    assert diff.same(json.loads(edit(text, diff.operations(diff.changes(before, after)))), after)


@given(configs)
def test_the_layout_keeps_every_value(config: dict[str, Any]) -> None:
    assert diff.same(json.loads(layout.write(config)), config)
