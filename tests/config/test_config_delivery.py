"""The letter of a config: what it is for each way of reading and writing, and the reasons it gives."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest

from dataforge.components.base import Capabilities, DestinationConfig, Incoming, LoadContext, LoadReport, SourceConfig
from dataforge.components.delivery import Grade
from dataforge.components.registry import DESTINATIONS, SOURCES
from dataforge.config.delivery import Delivery, letter
from dataforge.config.pipeline import parse

Data = dict[str, Any]
TABLE: Data = {"type": "postgres", "connection": "warehouse", "table": "orders"}
MERGE: Data = {**TABLE, "write_disposition": "merge", "primary_key": ["id"]}
FILES: Data = {"type": "parquet", "path": "orders/"}


class GradedConfig(SourceConfig):
    type: Literal["graded"] = "graded"
    proves: Grade = "snapshot"
    query: str = ""

    def grade(self) -> Grade:
        return self.proves


class ForgetfulConfig(DestinationConfig):
    type: Literal["forgetful"] = "forgetful"


class Forgetful:
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({"append"}), transactional=True, kind="table")

    def __init__(self, config: ForgetfulConfig) -> None: ...

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the components of these tests known while they run."""
    for registry in (SOURCES, DESTINATIONS):
        assert list(registry)  # what is imported while the list is ours would be forgotten with it
        monkeypatch.setattr(registry, "_known", dict(registry._known))
    SOURCES.register(GradedConfig)(type("Graded", (), {"__init__": lambda self, config: None}))
    DESTINATIONS.register(ForgetfulConfig)(Forgetful)


def letters(source: Data, *destinations: Data, **more: Any) -> tuple[Delivery, ...]:
    destination: Any = destinations[0] if len(destinations) == 1 else list(destinations)
    return letter(parse({"dag_id": "orders", "source": source, "destination": destination, **more}))


def one(source: Data, destination: Data, **more: Any) -> Delivery:
    (found,) = letters(source, destination, **more)
    return found


def graded(proves: str = "snapshot", **more: Any) -> Data:
    return {"type": "graded", "proves": proves, **more}


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (graded(), TABLE, "E"),
        (graded(), {**TABLE, "write_disposition": "replace"}, "E"),
        (graded(), MERGE, "E"),
        (graded("ordered"), TABLE, "E"),
        (graded(), FILES, "M"),
        (graded(), {**FILES, "write_disposition": "replace"}, "M"),
        (graded("window"), TABLE, "A"),
        (graded("window"), {**TABLE, "write_disposition": "replace"}, "A"),
        (graded("window"), MERGE, "K"),
        (graded("window"), FILES, "A"),
        (graded("unstable"), TABLE, "B"),
        (graded("unstable"), MERGE, "B"),
        (graded("unstable"), FILES, "B"),
        (graded(cursor_field="n", lookback=5), TABLE, "A"),
        (graded(cursor_field="n", lookback=5), MERGE, "K"),
        (graded(cursor_field="n"), TABLE, "B"),
        (graded(cursor_field="n"), MERGE, "B"),
        (graded("unstable", cursor_field="n", lookback=5), MERGE, "B"),
        (graded(query="day >= '${data_interval_start}'"), TABLE, "B"),
        (graded(), {"type": "forgetful"}, "A"),
        (graded("unstable"), {"type": "forgetful"}, "B"),
    ],
)
def test_each_way_of_reading_and_writing_has_its_letter(source: Data, destination: Data, expected: str) -> None:
    assert one(source, destination).letter == expected


def test_a_cursor_without_lookback_says_exactly_what_it_is() -> None:
    found = one(graded(cursor_field="updated_at"), TABLE)
    assert "arrives exactly once" in found.reason
    assert "appears after a greater 'updated_at' was loaded" in found.reason
    assert "lookback" in found.improvements[0]


def test_a_lookback_without_a_key_says_what_makes_it_better() -> None:
    found = one(graded(cursor_field="updated_at", lookback="90m"), TABLE)
    assert str(found).startswith("at least once (A): ")
    assert "90m before the cursor" in found.reason
    assert "'append' adds them once more" in found.reason
    assert "write_disposition to 'merge' with a primary_key" in found.improvements[0]


def test_better_letters_come_from_following_the_improvements() -> None:
    order = "EMKAB"
    worse = one(graded(cursor_field="n", lookback=1), TABLE)
    assert order.index(one(graded(cursor_field="n", lookback=1), MERGE).letter) < order.index(worse.letter)
    assert order.index(one(graded(), TABLE).letter) < order.index(one(graded(), FILES).letter)


def test_a_file_whose_name_has_the_interval_is_still_read_whole() -> None:
    assert one({"type": "csv", "path": "${data_interval_start:%Y-%m-%d}.csv"}, TABLE).letter == "E"


def test_a_request_for_one_interval_can_miss_late_records() -> None:
    source = {"type": "http", "connection": "shop", "query": {"since": "${data_interval_start}"}}
    found = one(source, MERGE)
    assert found.letter == "B"
    assert "cursor_field" in found.improvements[0]


def test_the_weakest_of_several_sources_decides() -> None:
    config = {
        "dag_id": "joined",
        "sources": {"good": graded(), "poor": graded("unstable")},
        "transforms": [{"type": "union", "input": "good", "with": ["poor"]}],
        "destination": TABLE,
    }
    (found,) = letter(parse(config))
    assert found.letter == "B"
    assert "source 'poor'" in found.reason


def test_each_destination_has_its_own_letter() -> None:
    found = letters(graded(), TABLE, FILES)
    assert [(one.destination, one.letter) for one in found] == [(0, "E"), (1, "M")]


def test_an_append_without_run_column_says_that_changed_repeats_are_refused() -> None:
    assert "replaces its own rows" in one(graded(), TABLE).reason
    assert "refused" in one(graded(), {**TABLE, "run_column": None}).reason
