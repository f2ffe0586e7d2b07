from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.authoring.base import Extracted
from dataforge.authoring.extraction import extract, of
from dataforge.authoring.grounding import ground
from dataforge.config.pipeline import check_schedule

SCHEDULES = {
    "every 15 minutes": "*/15 * * * *",
    "every day at 6am": "0 6 * * *",
    "daily at 7am": "0 7 * * *",
    "werktags um 6 Uhr": "0 6 * * 1-5",
    "on the first of the month": "@monthly",
    "on the first of the month at 4:30": "30 4 1 * *",
    "am Ersten des Monats um 5 Uhr": "0 5 1 * *",
    "every Monday at 8:30 pm": "30 20 * * 1",
    "jeden Montag und Donnerstag um halb sieben": "30 6 * * 1,4",
    "twice a day at 6 and 18": "0 6,18 * * *",
    "at 6am and 6pm every day": "0 6,18 * * *",
    "stündlich": "@hourly",
    "alle 10 Minuten": "*/10 * * * *",
    "every 6 hours": "0 */6 * * *",
    "run it 0 6 * * 1-5 please": "0 6 * * 1-5",
    "every 90 minutes": "every 90m",
    "every weekday at 6:15 in the evening": "15 18 * * 1-5",
    "every quarter of an hour between 8 and 18 o'clock": "*/15 8-18 * * *",
    "Mondays, Wednesdays and Fridays at noon": "0 12 * * 1,3,5",
    "on the 15th of each month at 3 am": "0 3 15 * *",
    "Mon-Fri at 07:00": "0 7 * * 1-5",
    "montags bis freitags um 7:30 Uhr": "30 7 * * 1-5",
    "5 minutes past every hour": "5 * * * *",
    "sonntags um Mitternacht": "0 0 * * 0",
    "each morning at seven": "0 7 * * *",
}


@pytest.mark.parametrize(("text", "wanted"), SCHEDULES.items())
def test_a_schedule_in_plain_words_is_read(text: str, wanted: str) -> None:
    assert [one.value for one in of(extract(text), "schedule")] == [wanted]


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("daily at 6 Berlin time", "Europe/Berlin"),
        ("um 6 Uhr deutscher Zeit", "Europe/Berlin"),
        ("at 9am New York time", "America/New_York"),
        ("at 9 (Europe/Vienna)", "Europe/Vienna"),
        ("at noon UTC", "UTC"),
        ("at 6am Lisbon time", "Europe/Lisbon"),
    ],
)
def test_a_time_zone_in_plain_words_is_read(text: str, zone: str) -> None:
    assert [one.value for one in of(extract(text), "timezone")] == [zone]


@pytest.mark.parametrize(
    "text", ["copy the daily_orders table", "at least 10 rows", "load hourly_rates.csv", "weekly revenue"]
)
def test_names_and_figures_are_no_schedule(text: str) -> None:
    assert of(extract(text), "schedule") == []


@given(hour=st.integers(0, 23), minute=st.integers(0, 59), german=st.booleans())
def test_every_time_of_day_makes_its_cron(hour: int, minute: int, german: bool) -> None:
    text = f"jeden Tag um {hour}:{minute:02} Uhr" if german else f"every day at {hour}:{minute:02}"
    assert [one.value for one in of(extract(text), "schedule")] == [f"{minute} {hour} * * *"]


@given(hour=st.integers(1, 12), half=st.sampled_from(["am", "pm", "a.m.", "PM"]))
def test_morning_and_afternoon_are_told_apart(hour: int, half: str) -> None:
    wanted = hour % 12 + (12 if half.lower().startswith("p") else 0)
    assert [one.value for one in of(extract(f"daily at {hour} {half}"), "schedule")] == [f"0 {wanted} * * *"]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_every_value_lies_within_the_request_and_every_schedule_is_valid(text: str) -> None:
    for one in extract(text, ["warehouse"]):
        assert 0 <= one.start < one.end <= len(text)
        if one.kind == "schedule" and isinstance(one.value, str):
            check_schedule(one.value)


words = st.sampled_from(
    [
        "load",
        "table",
        "orders",
        "from",
        "shop_db",
        "into",
        "warehouse",
        "sales.orders",
        "every",
        "day",
        "at",
        "6",
        "am",
        "upsert",
        "by",
        "order_id",
        ",",
        ".",
        "15",
        "minutes",
        "csv",
        "a/b.csv",
        "key",
        "and",
        "und",
        "Tabelle",
        "aus",
        "nach",
        "um",
        "Uhr",
        "täglich",
        "limit",
        "10",
        "rows",
        "where",
        "status",
        "is",
        "paid",
        "rename",
        "id",
        "to",
        "x",
        "drop",
        "column",
    ]
)


@settings(deadline=None)
@given(st.lists(words, max_size=25).map(" ".join))
def test_any_order_of_words_gives_parts_of_a_config(text: str) -> None:
    grounds = ground(text, extract(text, ["shop_db", "warehouse"]), {"shop_db": "postgres"}, {})
    for end in (*grounds.sources, *grounds.destinations):
        assert set(end.places) <= set(end.config)


def kinds(text: str, *connections: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in extract(text, connections):
        found.setdefault(f"{one.kind}:{one.role}" if one.role else one.kind, one.value)
    return found


def test_tables_connections_keys_and_cursors_are_found_with_their_role() -> None:
    text = (
        "Load the orders table from shop_db into warehouse table sales.orders, upsert by order_id, "
        "incremental by updated_at with a 2 day overlap"
    )
    found = kinds(text, "shop_db", "warehouse")
    assert found["table:source"] == "orders"
    assert found["connection:source"] == "shop_db"
    assert found["table:destination"] == "sales.orders"
    assert found["connection:destination"] == "warehouse"
    assert found["disposition:destination"] == "merge"
    assert found["primary_key:destination"] == ("order_id",)
    assert found["cursor:source"] == "updated_at"
    assert found["number:lookback"] == "2d"


def test_german_wording_is_understood() -> None:
    text = (
        "Lies die Tabelle public.kunden aus der Verbindung crm, Historie behalten, Schlüssel kunden_id, nach dwh.kunden"
    )
    found = kinds(text, "crm")
    assert found["merge_strategy:destination"] == "scd2"
    assert found["primary_key:destination"] == ("kunden_id",)
    assert found["table:source"] == "public.kunden"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("add the rows to what is there, append them", "append"),
        ("overwrite the table", "replace"),
        ("upsert the rows", "merge"),
        ("do not overwrite, append instead", "append"),
        ("die Zeilen anhängen", "append"),
        ("die Tabelle komplett neu aufbauen", "replace"),
        ("keep the full history", "merge"),
    ],
)
def test_what_happens_to_the_rows_is_read(text: str, wanted: str) -> None:
    assert [one.value for one in of(extract(text), "disposition")][:1] == [wanted]


def test_a_url_is_found_whole_and_its_table_like_parts_are_not_tables() -> None:
    found = extract("get https://api.example.com/v1/orders.json and s3://lake/a/*.csv.gz")
    assert of(found, "url")[0].value == "https://api.example.com/v1/orders.json"
    assert of(found, "path")[0].value == "s3://lake/a/*.csv.gz"
    assert of(found, "table") == []


def step_configs(text: str) -> list[dict[str, Any]]:
    grounds = ground(text, extract(text), {}, {})
    return [dict(one.config) for one in (*grounds.steps, *grounds.checks)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rename id to order_id and cust to customer_id",
         {"type": "rename", "columns": {"id": "order_id", "cust": "customer_id"}}),
        ("drop the columns note and raw", {"type": "drop", "columns": ["note", "raw"]}),
        ("only rows where status is 'paid' and amount > 0",
         {"type": "filter", "where": "status = 'paid' and amount > 0"}),
        ("remove duplicates by order_id", {"type": "deduplicate", "keys": ["order_id"]}),
        ("convert amount to decimal(12,2)", {"type": "cast", "columns": {"amount": "decimal(12,2)"}}),
        ("hash the email and phone", {"type": "mask", "columns": {"email": "hash", "phone": "hash"}}),
        ("fill missing country with 'unknown'", {"type": "fill_null", "columns": {"country": "unknown"}}),
        ("sort by created_at descending", {"type": "sort", "by": ["created_at desc"]}),
        ("keep the first 100 rows", {"type": "limit", "count": 100}),
        ("number of orders and sum of amount per country",
         {"type": "aggregate", "group_by": ["country"],
          "columns": {"orders": "count(*)", "total_amount": "sum(amount)"}}),
        ("add a column total as quantity times price", {"type": "derive", "columns": {"total": "quantity * price"}}),
        ("order_id must never be null", {"type": "not_null", "columns": ["order_id"]}),
        ("amount must be between 0 and 100", {"type": "range", "column": "amount", "min": 0, "max": 100}),
        ("status must be one of paid, open or cancelled",
         {"type": "accepted_values", "column": "status", "values": ["paid", "open", "cancelled"]}),
        ("at least 10 rows", {"type": "row_count", "min": 10}),
        ("Spalte notiz in bemerkung umbenennen", {"type": "rename", "columns": {"notiz": "bemerkung"}}),
        ("Dubletten nach kunden_id entfernen", {"type": "deduplicate", "keys": ["kunden_id"]}),
    ],
)  # fmt: skip
def test_a_step_that_is_spelled_out_is_read(text: str, wanted: dict[str, Any]) -> None:
    assert wanted in step_configs(text)


def test_an_extracted_value_is_a_frozen_value_with_its_place() -> None:
    text = "please run it hourly"
    assert of(extract(text), "schedule") == [Extracted("@hourly", "schedule", 14, 20)]
