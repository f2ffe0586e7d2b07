"""What a request spells out beyond single words: misspelled words, conditions, cases, joins, and what is offered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.authoring import offers
from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest, Draft
from dataforge.authoring.catalogue import Catalogue, Known
from dataforge.authoring.clauses import cases, conditions, fills, tops
from dataforge.authoring.extraction import extract, of
from dataforge.authoring.spelling import mend
from dataforge.gateway.scripted import Scripted, gateway_over

TYPES = {"plant_pg": "postgres", "hub": "postgres", "old_sql": "mssql", "meter_api": "http"}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tuple(Known(*pair) for pair in TYPES.items()), complete=True, folder=tmp_path)


def draft(text: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return what is read of a request without a model."""
    made = author(AuthorRequest(text, folder=catalogue.folder), None, catalogue=catalogue)
    assert made.config is not None
    return dict(made.config)


# ------------------------------------------------------------------------------------------------------------ spelling


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("laod the tabel evry day", "load the table every day"),
        ("appned it, upsrt by x_id", "append it, upsert by x_id"),
        ("taglich in die tabele", "täglich in die tabelle"),
        ("a loan, a cable, a form and the very last ones", "a loan, a cable, a form and the very last ones"),
        ("tabel.evry and evry_day and 'tabel'", "tabel.evry and evry_day and 'tabel'"),
    ],
)
def test_words_are_mended_and_names_are_not(written: str, meant: str) -> None:
    assert mend(written).text == meant


@given(st.lists(st.sampled_from(["laod", "evry", "x", "tabel", "load", "Tiem", "a.b", "intoo"]), max_size=12))
def test_every_place_of_a_mended_text_leads_to_the_word_as_written(words: list[str]) -> None:
    text = " ".join(words)
    mended = mend(text)
    for written, meant, at in mended.words:
        assert mended.text[at:].startswith(meant)
        assert text[mended.place(at) :].startswith(written)
    assert mended.place(len(mended.text)) == len(text)


def test_a_name_that_exists_is_no_misspelling() -> None:
    assert mend("from tabel", ["tabel"]).text == "from tabel"


def test_a_draft_says_what_was_read_for_what_and_its_places_are_those_as_written(catalogue: Catalogue) -> None:
    text = "laod ore.csv intoo hub tabel mine.ore, upsrt by ore_id"
    made = author(AuthorRequest(text, folder=catalogue.folder), None, catalogue=catalogue)
    assert made.valid, made.findings
    assert any("'upsrt' as 'upsert'" in note for note in made.notes)
    key = next(one for one in made.extracted if one.kind == "primary_key")
    assert text[key.start : key.end] == "ore_id"


# ------------------------------------------------------------------------------------------------------------- clauses


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("leave out the broken ones (state = 'broken')", ["state <> 'broken'"]),
        ("nur art = 'neu', dann sortieren", ["art = 'neu'"]),
        ("only level > 3 and open is true", ["level > 3 and open = true"]),
        ("without rows where age is null", ["age is not null"]),
        ("that are good (good is true) or from us (origin = 'us')", []),
        ("by a parameter kind (default 'x')", []),
        ("pages with per_page = 100", []),
        ("total is 5", []),
    ],
)
def test_conditions_are_read_as_they_are_written(text: str, where: list[str]) -> None:
    assert [one.config["where"] for one in conditions(text)] == where


def test_what_stands_in_for_missing_values_is_filled() -> None:
    text = "where age is null use 0; missing shelf counts as 'none', weight missing means 1.5"
    found = {name: value for one in fills(text) for name, value in one.config["columns"].items()}
    assert found == {"age": 0, "shelf": "none", "weight": 1.5}


def test_the_highest_of_many_are_sorted_and_cut() -> None:
    assert [one.config for one in tops("the 25 rows with the highest price")] == [
        {"type": "sort", "by": ["price desc"]},
        {"type": "limit", "count": 25},
    ]
    assert [one.config for one in tops("die zehn ältesten nach geboren_am")] == [
        {"type": "sort", "by": ["geboren_am"]},
        {"type": "limit", "count": 10},
    ]


def test_cases_make_a_column() -> None:
    text = "a column band: 'low' if depth < 3, 'deep' if it is above 9, otherwise 'mid'"
    (one,) = cases(text)
    assert one.config["columns"] == {"band": "case when depth < 3 then 'low' when depth > 9 then 'deep' else 'mid' end"}


@given(st.text(max_size=120))
def test_clauses_lie_within_the_text(text: str) -> None:
    for find in (conditions, fills, tops, cases):
        for one in find(text):
            assert 0 <= one.start < one.end <= len(text)


# -------------------------------------------------------------------------------------------------------- whole drafts


def test_three_sources_are_joined_in_the_order_of_the_request(catalogue: Catalogue) -> None:
    config = draft(
        "Take pit.loads and pit.trucks from plant_pg and drivers.csv. Join loads with trucks on truck_no (keep loads "
        "without a truck), then with drivers on driver_no, and replace hub table pit.all_loads.",
        catalogue,
    )
    assert config["transforms"] == [
        {"type": "join", "input": "loads", "with": "trucks", "on": ["truck_no"], "how": "left"},
        {"type": "join", "with": "drivers", "on": ["driver_no"]},
    ]


def test_rows_that_have_no_partner_are_asked_for_with_different_names(catalogue: Catalogue) -> None:
    config = draft(
        "Which badges in badges.csv do not appear in swipes.csv? Match badge_no with card_no. Save as idle.csv",
        catalogue,
    )
    assert config["transforms"] == [
        {"type": "join", "input": "badges", "with": "swipes", "on": {"badge_no": "card_no"}, "how": "anti"}
    ]


def test_a_query_is_taken_word_for_word_and_nothing_of_it_becomes_a_step(catalogue: Catalogue) -> None:
    query = "select kind, count(*) as n from pit.tools where broken = false group by kind"
    config = draft(f"Run {query} on plant_pg and put it into hub table pit.tool_counts, replace", catalogue)
    assert config["source"] == {"type": "postgres", "connection": "plant_pg", "query": query}
    assert "transforms" not in config


def test_a_table_stands_beside_its_connection_without_a_word(catalogue: Catalogue) -> None:
    config = draft("old_sql shafts to hub deep_shafts every day, key shaft_no", catalogue)
    assert config["source"] == {"type": "sql", "connection": "old_sql", "table": "shafts"}
    assert config["destination"]["table"] == "deep_shafts"


def test_what_is_taken_back_does_not_count(catalogue: Catalogue) -> None:
    config = draft("ore.csv into hub mine.wrong, no wait, into hub mine.ore, append", catalogue)
    assert config["destination"]["table"] == "mine.ore"


def test_limits_of_dead_letters_frozen_columns_and_parameters_are_read(catalogue: Catalogue) -> None:
    config = draft(
        "ore.csv into hub mine.ore, append; fail if there is a new column; rows with a negative mass go to the dead "
        "letters, at most 2 percent; only rows of the pit chosen by parameter pit (default 'north')",
        catalogue,
    )
    assert config["schema_contract"] == "freeze"
    assert config["dead_letters"] == {"max_share": 0.02}
    assert config["checks"] == [{"type": "range", "column": "mass", "min": 0, "severity": "reject"}]
    assert config["params"] == {"pit": "north"}
    assert config["transforms"] == [{"type": "filter", "where": "pit = ${params.pit}"}]


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("only what changed since the last run by last_touch", "last_touch"),
        ("messages newer than the last sent_at", "sent_at"),
        ("nur die geänderten Zeilen (geaendert_am)", "geaendert_am"),
        ("copy ticks, new rows only by tick_id", "tick_id"),
    ],
)
def test_cursors_are_found_in_many_wordings(text: str, cursor: str) -> None:
    assert [one.value for one in of(extract(text), "cursor")] == [cursor]


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("on the 1st and the 15th of every month at half past four in the afternoon", "30 16 1,15 * *"),
        ("every 2nd day at 4 pm", "0 16 */2 * *"),
        ("hourly at minute 20", "20 * * * *"),
        ("at 6 and 18 o'clock", "0 6,18 * * *"),
    ],
)
def test_schedules_in_words(text: str, schedule: str) -> None:
    assert [one.value for one in of(extract(text), "schedule")] == [schedule]


# ----------------------------------------------------------------------------------------------------------- questions


def asked(text: str, catalogue: Catalogue) -> tuple[Draft, Scripted]:
    model = Scripted()
    return author(AuthorRequest(text, folder=catalogue.folder), gateway_over(model), catalogue=catalogue), model


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("Copy pit.lamps from plant_pg every night at 2.", "/destination"),
        ("Load pit.lamps from the connection forest_pg into hub table pit.lamps daily.", "/source/connection"),
        ("Upsert pit.lamps from plant_pg into hub table pit.lamps every night at 3.", "/destination/primary_key"),
        ("Could you set up our reporting?", "/source"),
    ],
)
def test_what_only_the_person_can_say_is_asked_and_no_model_is_called(
    text: str, pointer: str, catalogue: Catalogue
) -> None:
    made, model = asked(text, catalogue)
    assert pointer in [one.pointer for one in made.questions]
    assert model.calls == []


# -------------------------------------------------------------------------------------------------------------- offers

CONFIG: dict[str, Any] = {
    "dag_id": "lamps_daily",
    "source": {"type": "postgres", "connection": "plant_pg", "table": "pit.lamps"},
    "transforms": [{"type": "filter"}, {"type": "rename", "columns": {"no": "lamp_no"}}],
    "destination": {"type": "duckdb"},
}


def test_a_condition_is_chosen_from_columns_that_the_config_knows() -> None:
    wanted = offers.schema(CONFIG, ("transforms", "0", "where"), None)
    assert wanted is not None
    assert wanted["properties"]["column"] == {"enum": ["no", "lamp_no"]}
    place = ("transforms", "0", "where")
    assert offers.value(place, {"column": "no", "is": "is not null", "value": "x"}) == "no is not null"
    assert offers.value(place, {"column": "no", "is": ">", "value": "12"}) == "no > 12"
    assert offers.value(place, {"column": "no", "is": "=", "value": "it's"}) == "no = 'it''s'"


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_choice_can_carry_sql(column: str, value: str) -> None:
    made = offers.value(("transforms", "0", "where"), {"column": column, "is": "=", "value": value})
    assert isinstance(made, str)
    rest = re.sub(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'', "", made)
    assert re.fullmatch(r"\w*\s*=\s*-?[\d.]*", rest.strip()), made


def test_tables_are_called_after_what_is_there_and_schedules_exist() -> None:
    assert offers.schema(CONFIG, ("destination", "table"), None) == {"enum": ["lamps", "lamps_daily"]}
    offered = offers.schema(CONFIG, ("schedule",), "@daily")
    assert offered is not None
    assert "@daily" not in offered["enum"]
    assert offers.schema(CONFIG, ("destination", "type"), None) is None
