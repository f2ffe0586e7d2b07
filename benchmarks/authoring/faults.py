"""Faulty configs in known classes, made from valid ones by a seeded injector, and what the fixers make of them.

    python -m benchmarks.authoring.faults            # the table: by class, fixed by the fixers alone
    python -m benchmarks.authoring.faults --show     # and every case that is left

A case counts as fixed when no check finds an error any more, the value that the fault destroyed is back (for classes
whose fault can be undone), and nothing outside of the touched places differs from the config that it was made from.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from dataforge.authoring.editing import Operation, differences, edit
from dataforge.authoring.fixers import Fixed, checker, fix
from dataforge.authoring.fixers.case import blocks, under
from dataforge.authoring.repair import Repaired, repair
from dataforge.config.findings import has_errors
from dataforge.gateway.base import Gateway

ROOT = Path(__file__).parents[2] / "configs"
SEED = 20251122
TODAY = date(2025, 6, 1)
CONNECTIONS = {"warehouse": "postgres", "shop_api": "http"}

_ORDERS: dict[str, Any] = {
    "dag_id": "orders_daily",
    "description": "Paid orders with their customer, every morning",
    "schedule": "0 6 * * *",
    "start_date": "2025-01-15",
    "timezone": "Europe/Berlin",
    "catchup": False,
    "tags": ["sales", "orders"],
    "default_args": {"owner": "analytics", "retries": 3, "retry_delay": "5m"},
    "params": {"region": "eu"},
    "source": {
        "type": "http",
        "connection": "shop_api",
        "endpoint": "/orders",
        "records": "data.orders",
        "query": {"region": "${params.region}"},
    },
    "transforms": [
        {"type": "rename", "columns": {"id": "order_id"}},
        {"type": "cast", "columns": {"amount": "decimal(12,2)", "updated_at": "timestamp"}},
        {"type": "filter", "where": "status = 'paid' and amount > 0"},
        {"type": "select", "columns": ["order_id", "customer_id", "amount", "updated_at"]},
        {"type": "deduplicate", "keys": ["order_id"], "order_by": "updated_at desc"},
    ],
    "checks": [{"type": "not_null", "columns": ["order_id", "amount"]}, {"type": "row_count", "min": 1}],
    "destination": {
        "type": "postgres",
        "connection": "warehouse",
        "table": "sales.orders",
        "write_disposition": "merge",
        "primary_key": ["order_id"],
    },
}
_STOCK: dict[str, Any] = {
    "dag_id": "stock_levels",
    "schedule": "@hourly",
    "start_date": "2025-03-01",
    "catchup": True,
    "default_args": {"retries": 2, "retry_delay": "30s", "execution_timeout": "1h"},
    "sources": {
        "stock": {"type": "csv", "path": "stock/*.csv", "delimiter": ";", "header": True, "skip_rows": 1},
        "items": {"type": "postgres", "connection": "warehouse", "table": "public.items"},
    },
    "transforms": [
        {"type": "join", "input": "stock", "with": "items", "on": ["item_id"], "how": "left"},
        {
            "type": "aggregate",
            "group_by": ["item_id", "warehouse"],
            "columns": {"pieces": "sum(quantity)", "newest": "max(counted_at)"},
        },
        {"type": "sort", "by": ["pieces desc"]},
        {"type": "limit", "count": 1000},
    ],
    "checks": [
        {"type": "unique", "columns": ["item_id", "warehouse"]},
        {"type": "range", "column": "pieces", "min": 0, "severity": "warn"},
    ],
    "destination": {"type": "parquet", "path": "stock/levels.parquet", "write_disposition": "replace"},
}


@dataclass(frozen=True)
class Fault:
    """One faulty config. `text` is what stands in the file, `original` the JSON it was made from.

    `touched` are the pointers (of the original) that may differ after the repair; `undone` says that the original is
    the one right answer. `by_fixers` says that we expect the fixers to do it alone.
    """

    kind: str
    text: str
    original: dict[str, Any]
    path: Path
    touched: tuple[str, ...] = ()
    undone: bool = True
    by_fixers: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of one fault."""

    fault: Fault
    fixed: Fixed
    seconds: float
    valid: bool
    right: bool
    elsewhere: tuple[str, ...] = field(default=())

    @property
    def good(self) -> bool:
        """Whether the fault is gone, rightly, with nothing else touched."""
        return self.valid and self.right and not self.elsewhere


Maker = Callable[["_Base", random.Random], Iterator[Fault]]


@dataclass(frozen=True)
class _Base:
    path: Path
    text: str

    @property
    def data(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text)
        return value

    def fault(self, kind: str, text: str, *touched: str, undone: bool = True, by_fixers: bool = True) -> Fault:
        return Fault(kind, text, self.data, self.path, touched, undone, by_fixers)

    def edited(self, kind: str, operations: Sequence[Operation], *touched: str, **how: bool) -> Fault:
        return self.fault(kind, edit(self.text, operations), *touched, **how)


def bases() -> list[_Base]:
    """Return the valid configs that faults are injected into."""
    found = [
        _Base(path, path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.glob("*.json"))
        if path.name != "defaults.json"
    ]
    found += [
        _Base(path, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "with_connections").glob("*.json"))
    ]
    for config in (_ORDERS, _STOCK):
        found.append(_Base(ROOT / f"{config['dag_id']}.json", json.dumps(config, indent=2) + "\n"))
    return found


# ------------------------------------------------------------------------------------------------------ the JSON text


def _text_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    text = base.text
    ends = [match.start() for match in re.finditer(r"(?<=[\w\"\]}])\n\s*[}\]]", text)]
    if ends:
        at = rng.choice(ends)
        yield base.fault("text: comma before a bracket", text[:at] + "," + text[at:])
    commas = [match.start() for match in re.finditer(r",\n", text)]
    if commas:
        at = rng.choice(commas)
        yield base.fault("text: comma missing", text[:at] + text[at + 1 :])
        yield base.fault("text: comment", text[: at + 1] + "  // TODO check this" + text[at + 1 :])
    yield base.fault("text: byte order mark", "\ufeff" + text)
    yield base.fault("text: code fence", f"```json\n{text}```\n")
    yield base.fault("text: bracket missing at the end", text.rstrip()[:-1].rstrip() + "\n")
    if "'" not in text and '\\"' not in text:
        yield base.fault("text: single quotes", text.replace('"', "'"))
    keys = list(re.finditer(r'"([a-z_]+)":', text))
    key = rng.choice(keys)
    yield base.fault("text: key without quotes", text[: key.start()] + f"{key[1]}:" + text[key.end() :])
    if "true" in text:
        yield base.fault("text: Python's literals", text.replace("true", "True").replace("false", "False"))
    values = list(re.finditer(r'"([a-z_]{3,})",?\n', text))
    if values:
        value = rng.choice(values)
        yield base.fault("text: closing quote missing", text[: value.end(1)] + text[value.end(1) + 1 :])
    name = '"dag_id"'
    at = text.index(name)
    end = text.index("\n", at)
    yield base.fault("text: key twice", text[:at] + text[at:end].rstrip(",") + ",\n  " + text[at:])


# --------------------------------------------------------------------------------------------------------------- keys


def _misspelled(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    how = rng.randrange(3)
    if how == 0:
        return word[:at] + word[at + 1 :]
    if how == 1:
        return word[:at] + word[at] + word[at:]
    return (
        word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        if word[at] != word[at - 1]
        else word[:at] + word[at + 1 :]
    )


_TOP_ALIASES = {
    "schedule": ("cron", "schedule_interval", "timetable"),
    "transforms": ("steps", "transformations"),
    "destination": ("sink", "target", "output"),
    "checks": ("validations", "tests"),
    "dag_id": ("name", "pipeline_id"),
    "tags": ("labels",),
}
_ALIASES = {
    "path": ("file", "path_or_url", "filename"),
    "connection": ("conn_id", "connection_id"),
    "table": ("table_name", "sql_table"),
    "write_disposition": ("mode", "if_exists"),
    "primary_key": ("keys", "unique_key"),
    "where": ("condition", "expression"),
    "group_by": ("groupby", "by"),
    "delimiter": ("separator", "sep"),
    "null_values": ("na_values",),
    "endpoint": ("path", "url"),
    "order_by": ("sort_by",),
    "how": ("join_type",),
}


def _key_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    tops = [key for key in data if len(key) > 4 and not key.startswith("$") and key != "matrix"]
    key = rng.choice(tops)
    wrong = _misspelled(key, rng)
    if wrong not in data:
        yield base.edited("keys: misspelled at the top", [Operation("move", f"/{wrong}", None, f"/{key}")], f"/{key}")
    inside = [
        (block, key) for block in blocks(data) if block.model for key in block.value if len(key) > 3 and key != "type"
    ]
    block, key = rng.choice(inside)
    wrong = _misspelled(key, rng)
    place = under(block.pointer, key)
    yield base.edited(
        "keys: misspelled in a component", [Operation("move", under(block.pointer, wrong), None, place)], place
    )
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
    if camel != key:
        yield base.edited("keys: camelCase", [Operation("move", under(block.pointer, camel), None, place)], place)
    known = [key for key in _TOP_ALIASES if key in data]
    if known:
        key = rng.choice(known)
        other = rng.choice(_TOP_ALIASES[key])
        yield base.edited("keys: another name at the top", [Operation("move", f"/{other}", None, f"/{key}")], f"/{key}")
    named = [(block, key) for block, key in inside if key in _ALIASES]
    if named:
        block, key = rng.choice(named)
        place = under(block.pointer, key)
        other = under(block.pointer, rng.choice(_ALIASES[key]))
        yield base.edited("keys: another name in a component", [Operation("move", other, None, place)], place)


def _place_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    args = data.get("default_args", {})
    if "retries" in args:
        move = Operation("move", "/retries", None, "/default_args/retries")
        yield base.edited("places: task settings at the top", [move], "/default_args")
    if "schedule" in data and "default_args" in data and isinstance(data["schedule"], str):
        move = Operation("move", "/default_args/schedule", None, "/schedule")
        yield base.edited("places: schedule in default_args", [move], "/schedule", "/default_args")
    block = rng.choice(
        [each for each in blocks(data) if each.kind in ("source", "destination") and len(each.value) > 2]
    )
    keys = [key for key in block.value if key != "type"]
    wrapped = {"type": block.type, rng.choice(["config", "options"]): {key: block.value[key] for key in keys}}
    replace = [Operation("replace", block.pointer, wrapped)]
    yield base.edited("places: options one level too deep", replace, block.pointer)
    steps = [each for each in blocks(data) if each.kind in ("transform", "check")]
    if steps:
        step = rng.choice(steps)
        inner = {key: part for key, part in step.value.items() if key != "type"}
        keyed = [Operation("replace", step.pointer, {step.type: inner})]
        yield base.edited("places: type as key", keyed, step.pointer)
    destination = data["destination"]
    if isinstance(destination, dict) and "write_disposition" in destination and "source" in data:
        move = Operation("move", "/source/write_disposition", None, "/destination/write_disposition")
        yield base.edited("places: destination's option in the source", [move], "/source", "/destination")
    if isinstance(destination, dict) and "table" in destination and "table" not in data.get("source", {"table": 1}):
        move = Operation("move", "/table", None, "/destination/table")
        yield base.edited("places: component's option at the top", [move], "/destination")


_AIRFLOW_2: tuple[tuple[str, Any], ...] = (
    ("provide_context", True),
    ("orientation", "LR"),
    ("default_view", "graph"),
    ("is_paused_upon_creation", False),
    ("concurrency", 4),
)


def _airflow_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    key, value = rng.choice(_AIRFLOW_2)
    yield base.edited("airflow 2: obsolete key", [Operation("add", f"/{key}", value)])
    if "start_date" in base.data:
        replace = [Operation("replace", "/start_date", "days_ago(1)")]
        yield base.edited("airflow 2: days_ago", replace, "/start_date", undone=False)
    if isinstance(base.data.get("schedule"), str) and base.data["schedule"][0].isdigit():
        both = [Operation("add", "/schedule_interval", base.data["schedule"])]
        yield base.edited("airflow 2: both schedules", both)


# -------------------------------------------------------------------------------------------------- types and values


def _type_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    numbers, booleans, lists = [], [], []
    for pointer, value in _leaves(data):
        if pointer.startswith(("/matrix", "/params")) or "/columns/" in pointer:
            continue
        if isinstance(value, bool):
            booleans.append((pointer, value))
        elif isinstance(value, int) and not re.search(r"/(?:min|max|retry_delay)$", pointer):
            numbers.append((pointer, value))
        elif isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            lists.append((pointer, value))
    if numbers:
        pointer, number = rng.choice(numbers)
        yield base.edited("types: number as text", [Operation("replace", pointer, str(number))], pointer)
    if booleans:
        pointer, flag = rng.choice(booleans)
        yield base.edited("types: true as text", [Operation("replace", pointer, str(flag).lower())], pointer)
    if lists:
        single = [each for each in lists if len(each[1]) == 1] or lists
        pointer, items = rng.choice(single)
        if not pointer.endswith(("order_by", "/by", "group_by")):
            yield base.edited("types: one item for a list", [Operation("replace", pointer, ", ".join(items))], pointer)
    steps = data.get("transforms", [])
    mapped = [(index, step) for index, step in enumerate(steps) if step["type"] in ("rename", "cast", "derive", "mask")]
    if mapped:
        index, step = rng.choice(mapped)
        pointer = f"/transforms/{index}/columns"
        rows = [{key: part} for key, part in step["columns"].items()]
        yield base.edited("types: list for an object", [Operation("replace", pointer, rows)], pointer)
    kinds = [step["type"] for step in steps]
    if steps and len(set(kinds)) == len(kinds):
        keyed = {step["type"]: {key: part for key, part in step.items() if key != "type"} for step in steps}
        yield base.edited("types: steps as an object", [Operation("replace", "/transforms", keyed)], "/transforms")


def _leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, under(pointer, key))
    elif isinstance(value, list):
        yield pointer, value
        for index, part in enumerate(value):
            yield from _leaves(part, under(pointer, index))
    else:
        yield pointer, value


_CRONS = {"0 6 * * *": ("0 6 * *", "0 6 * * * ?", "at 6 every day"), "0 6 1 * *": ("0 6 1 *", "0 6 1 * any")}
_TYPE_ALIASES = {
    "csv": ("csv_file",),
    "parquet": ("parquet_file",),
    "json": ("jsonl",),
    "http": ("rest_api", "api"),
    "postgres": ("postgresql", "postgres_table"),
    "duckdb": ("duckdb_table",),
    "ndjson": ("json_lines",),
    "filter": ("where", "filter_rows"),
    "deduplicate": ("dedupe", "drop_duplicates"),
    "derive": ("add_columns", "compute"),
    "aggregate": ("group_by",),
    "fill_null": ("fillna",),
    "sort": ("order_by",),
    "limit": ("head",),
    "not_null": ("no_nulls",),
    "accepted_values": ("in_set",),
}
_MODES = {
    "replace": ("overwrite", "truncate", "full_refresh"),
    "merge": ("upsert",),
    "append": ("insert", "append_only"),
}


def _value_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    schedule = data.get("schedule")
    if isinstance(schedule, str):
        words = {"@daily": ("daily", "every day", "@dayly"), "@hourly": ("hourly", "@huorly"), "@monthly": ("monthly",)}
        broken = words.get(schedule) or _CRONS.get(schedule)
        if broken:
            new = rng.choice(broken)
            undone = "?" not in new
            yield base.edited("values: schedule", [Operation("replace", "/schedule", new)], "/schedule", undone=undone)
    if isinstance(data.get("start_date"), str):
        year, month, day = data["start_date"].split("-")
        spoken = rng.choice(
            [f"{year}/{month}/{day}", f"{day}.{month}.{year}", f"datetime({year}, {int(month)}, {int(day)})"]
        )
        yield base.edited("values: date", [Operation("replace", "/start_date", spoken)], "/start_date")
    delay = data.get("default_args", {}).get("retry_delay")
    if delay:
        words = {"5m": ("5 minutes", "PT5M", "00:05:00"), "30s": ("30 seconds", "30 secs")}
        place = "/default_args/retry_delay"
        yield base.edited("values: duration", [Operation("replace", place, rng.choice(words[delay]))], place)
    if data.get("timezone"):
        city = data["timezone"].rpartition("/")[2].replace("_", " ")
        yield base.edited("values: time zone", [Operation("replace", "/timezone", city)], "/timezone")
    typed = [block for block in blocks(data) if block.type in _TYPE_ALIASES]
    if typed:
        block = rng.choice(typed)
        place = under(block.pointer, "type")
        new = rng.choice(_TYPE_ALIASES[block.type])
        yield base.edited("values: another name of a type", [Operation("replace", place, new)], place)
    block = rng.choice([block for block in blocks(data) if len(block.type) > 3])
    place = under(block.pointer, "type")
    yield base.edited("values: type misspelled", [Operation("replace", place, _misspelled(block.type, rng))], place)
    modes = [block for block in blocks(data) if block.kind == "destination" and "write_disposition" in block.value]
    if modes:
        block = rng.choice(modes)
        place = under(block.pointer, "write_disposition")
        new = rng.choice(_MODES[block.value["write_disposition"]])
        yield base.edited("values: write mode", [Operation("replace", place, new)], place)
    if "${" not in data["dag_id"]:
        new = data["dag_id"].replace("_", " ")
        yield base.edited("values: name with spaces", [Operation("replace", "/dag_id", new)], "/dag_id")


# --------------------------------------------------------------------------------------------------- columns and SQL


def _sql_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    for index, step in enumerate(data.get("transforms", [])):
        place = f"/transforms/{index}/where"
        if step["type"] == "filter":
            where = step["where"]
            if " = " in where:
                yield base.edited(
                    "sql: ==", [Operation("replace", place, where.replace(" = ", " == "))], place, undone=False
                )
            if " and " in where:
                yield base.edited(
                    "sql: &&", [Operation("replace", place, where.replace(" and ", " && "))], place, undone=False
                )
            yield base.edited("sql: where before", [Operation("replace", place, f"WHERE {where};")], place)
        if step["type"] == "cast":
            column = next(iter(step["columns"]))
            at = under(f"/transforms/{index}/columns", column)
            yield base.edited("sql: type of another language", [Operation("replace", at, "str")], at, undone=False)
        if step["type"] == "aggregate":
            column, call = next(iter(step["columns"].items()))
            at = under(f"/transforms/{index}/columns", column)
            if call.startswith(("max(", "sum(", "round(")):
                wrong = call.replace("max(", "maxx(").replace("sum(", "summ(").replace("round(", "roundd(")
                yield base.edited("sql: function misspelled", [Operation("replace", at, wrong)], at)
            later = [n for n, each in enumerate(data["transforms"]) if n > index and each["type"] == "sort"]
            if later and isinstance(data["transforms"][later[0]]["by"], list):
                at = f"/transforms/{later[0]}/by/0"
                name, _, rest = data["transforms"][later[0]]["by"][0].partition(" ")
                wrong = f"{_misspelled(name, rng)} {rest}".strip()
                yield base.edited("columns: misspelled", [Operation("replace", at, wrong)], at)
        if step["type"] == "select":
            for number, check in enumerate(data.get("checks", [])):
                if check.get("columns"):
                    at = f"/checks/{number}/columns/0"
                    yield base.edited(
                        "columns: misspelled", [Operation("replace", at, _misspelled(check["columns"][0], rng))], at
                    )
    for pointer, value in _leaves(data):
        if isinstance(value, str) and "${params." in value:
            wrong = re.sub(r"\$\{params\.(\w+)", lambda match: "${params." + _misspelled(match[1], rng), value)
            yield base.edited("params: misspelled", [Operation("replace", pointer, wrong)], pointer)
            other = value.replace("${params.", "${param.")
            yield base.edited("params: another prefix", [Operation("replace", pointer, other)], pointer)
            break


# ------------------------------------------------------------------------------------------------------------ missing


def _missing_faults(base: _Base, rng: random.Random) -> Iterator[Fault]:
    data = base.data
    if data["dag_id"] == base.path.name.removesuffix(".json"):
        yield base.edited("missing: dag_id", [Operation("remove", "/dag_id")], "/dag_id")
    block = rng.choice([block for block in blocks(data) if block.kind in ("source", "transform")])
    place = under(block.pointer, "type")
    if block.type in ("csv", "json", "parquet", "join", "filter", "limit", "sort"):
        yield base.edited("missing: type", [Operation("remove", place)], place)
    for block in blocks(data):
        if block.kind == "destination" and block.value.get("primary_key"):
            place = under(block.pointer, "primary_key")
            yield base.edited("missing: key to merge by", [Operation("remove", place)], place)
        if (
            block.kind in ("source", "destination")
            and "connection" in block.value
            and block.type in ("http", "postgres")
            and block.value["connection"] in CONNECTIONS
        ):
            place = under(block.pointer, "connection")
            yield base.edited("missing: the only connection", [Operation("remove", place)], place)
    if data.get("checks") and "dead_letters" not in data and data["checks"][0]["type"] in ("not_null", "range"):
        place = "/checks/0/severity"
        add = [Operation("add", place, "reject")]
        yield base.edited("missing: dead_letters", add, place, "/dead_letters", undone=False)
    block = next(block for block in blocks(data) if block.kind == "destination")
    secret = [Operation("add", under(block.pointer, "password"), "s3cr3t-Passw0rd")]
    yield base.edited("secret: password in a component", secret)


def _hard_faults(base: _Base, _: random.Random) -> Iterator[Fault]:
    """Faults that no fixer may decide: what is right stands nowhere."""
    data = base.data
    hard = {"undone": False, "by_fixers": False}
    for index, step in enumerate(data.get("transforms", [])):
        if step["type"] == "filter":
            place = f"/transforms/{index}/where"
            yield base.edited("open: condition missing", [Operation("remove", place)], place, **hard)
            yield base.edited(
                "open: condition in words", [Operation("replace", place, "only the good ones")], place, **hard
            )
    if isinstance(data["destination"], dict) and "table" in data["destination"]:
        yield base.edited(
            "open: table missing", [Operation("remove", "/destination/table")], "/destination/table", **hard
        )
    if isinstance(data.get("schedule"), str):
        yield base.edited(
            "open: schedule in riddles", [Operation("replace", "/schedule", "now and then")], "/schedule", **hard
        )
    if isinstance(data["destination"], dict) and data["destination"]["type"] in ("csv", "parquet", "ndjson"):
        place = "/destination/write_disposition"
        yield base.edited("open: merge into a file", [Operation("replace", place, "merge")], place, **hard)


MAKERS: tuple[Maker, ...] = (
    _text_faults,
    _key_faults,
    _place_faults,
    _airflow_faults,
    _type_faults,
    _value_faults,
    _sql_faults,
    _missing_faults,
    _hard_faults,
)


def inject(seed: int = SEED, most: int = 5) -> list[Fault]:
    """Return the faulty configs: at most so many of each class, over all bases, the same for the same seed."""
    rng = random.Random(seed)
    by_kind: dict[str, list[Fault]] = {}
    for base in bases():
        check = checker(base.path, ROOT)
        for maker in MAKERS:
            for fault in maker(base, rng):
                if has_errors(check(fault.text)) or fault.kind.startswith("airflow 2: both"):
                    by_kind.setdefault(fault.kind, []).append(fault)
    chosen: list[Fault] = []
    for faults in by_kind.values():
        chosen += faults if len(faults) <= most else rng.sample(faults, most)
    return chosen


def judge(fault: Fault, fixed: Fixed, seconds: float = 0.0) -> Outcome:
    """Return what became of a fault: valid, right, and what differs outside of the places it touched."""
    valid = fixed.config is not None and not has_errors(checker(fault.path, ROOT)(fixed.text))
    if fixed.config is None:
        return Outcome(fault, fixed, seconds, False, False)
    before = copy.deepcopy(fault.original)
    found = list(differences(_renamed(before), _renamed(fixed.config)))
    elsewhere = tuple(
        place for place in found if not any(place == each or place.startswith(f"{each}/") for each in fault.touched)
    )
    return Outcome(fault, fixed, seconds, valid, not found or not fault.undone, elsewhere)


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {"schedule" if key == "schedule_interval" else key: value for key, value in data.items()}


def run(faults: Sequence[Fault]) -> list[Outcome]:
    """Let the fixers alone work on all faults."""
    outcomes = []
    for fault in faults:
        begun = time.perf_counter()
        fixed = fix(fault.text, path=fault.path, root=ROOT, connections=CONNECTIONS, today=TODAY)
        outcomes.append(judge(fault, fixed, time.perf_counter() - begun))
    return outcomes


def run_with(faults: Sequence[Fault], gateway: Gateway, model: str | None = None) -> list[tuple[Outcome, Repaired]]:
    """Let the whole of repair work on all faults, a model for what the fixers leave; the trace is in `Repaired`."""
    found = []
    for fault in faults:
        begun = time.perf_counter()
        repaired = repair(
            fault.text,
            path=fault.path,
            root=ROOT,
            gateway=gateway,
            model=model,
            connections=CONNECTIONS,
            use_cache=False,
        )
        candidate = repaired.candidate
        config = dict(candidate.config) if repaired.stopped != "not JSON" else None
        fixed = Fixed(config, candidate.text, repaired.fixed.applied, candidate.findings)
        found.append((judge(fault, fixed, time.perf_counter() - begun), repaired))
    return found


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the table: for each class how many, how many valid, right, untouched elsewhere, and the median time."""
    kinds = sorted({outcome.fault.kind for outcome in outcomes})
    lines = ["| fault class | cases | valid | fixed | elsewhere untouched | ms |", "|---|---:|---:|---:|---:|---:|"]
    lines += (_row(kind, [outcome for outcome in outcomes if outcome.fault.kind == kind]) for kind in kinds)
    lines.append(_row("**all**", list(outcomes)))
    return "\n".join(lines)


def _row(kind: str, found: Sequence[Outcome]) -> str:
    times = sorted(outcome.seconds for outcome in found)
    cells = [
        len(found),
        sum(outcome.valid for outcome in found),
        sum(outcome.good for outcome in found),
        sum(not outcome.elsewhere for outcome in found),
        f"{1000 * times[len(times) // 2]:.0f}",
    ]
    return f"| {kind} | " + " | ".join(map(str, cells)) + " |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit code 1 when the fixers fall short of 70 % or touch anything else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--most", type=int, default=5, help="cases of one class at most (default: 5)")
    parser.add_argument("--show", action="store_true", help="print every case that is left")
    arguments = parser.parse_args(argv)
    outcomes = run(inject(arguments.seed, arguments.most))
    print(table(outcomes))
    share = sum(outcome.good for outcome in outcomes) / len(outcomes)
    print(f"\n{len(outcomes)} faults, {share:.1%} fixed by the fixers alone, right and with nothing else touched")
    if arguments.show:
        for outcome in outcomes:
            if not outcome.good and outcome.fault.by_fixers:
                left = [(each.code, each.pointer, each.message) for each in outcome.fixed.errors]
                done = [(each.code, each.pointer, each.reason) for each in outcome.fixed.applied]
                print(f"\n{outcome.fault.kind} {outcome.fault.path.name}\n  left {left}\n  done {done}")
                print(f"  right={outcome.right} elsewhere={outcome.elsewhere}")
    return 0 if share >= 0.7 and not any(outcome.elsewhere for outcome in outcomes if outcome.valid) else 1


if __name__ == "__main__":
    sys.exit(main())
