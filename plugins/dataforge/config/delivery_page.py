"""The page that says which letter each way of reading and writing has, made from `delivery.letter` itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from dataforge.components.base import DestinationConfig, SourceConfig
from dataforge.components.registry import DESTINATIONS, SOURCES, Component, Registry
from dataforge.config.delivery import MEANINGS, WORDS, capabilities, letter
from dataforge.config.pipeline import PipelineConfig

DISPOSITIONS = ("append", "replace", "merge")
_HEAD = """# Letters

Made from `dataforge.config.delivery`, not by hand. `dataforge validate` and `dataforge show` print the letter of a
config with its reason and what would improve it; the page of its DAG shows it too.
"""
_FOOT = """A `–` is refused when the config is checked: files can't be merged into, replacing a table by what is new
since the last run would remove the rest, and a Delta table has no place for a cursor. merge always has a key.

Read by interval means that the config itself limits what it asks for, by `${data_interval_start}` in a query.

Databases in which changes of columns commit by themselves (MySQL, Oracle) make them before the load's transaction, as
steps that can be repeated.
"""


def as_markdown() -> str:
    """Return the page: the letters' meanings, and the letter of each source, destination and write disposition."""
    targets = [one.config for one in _own(DESTINATIONS) if issubclass(one.config, DestinationConfig)]
    table = {
        (label, way): tuple(_cell(source, target) for target in targets)
        for one in _own(SOURCES)
        if issubclass(one.config, SourceConfig)
        for label, way, source in _ways(one.config)
    }
    columns: dict[tuple[str, ...], list[str]] = {}
    for number, target in enumerate(targets):
        cells = tuple(row[number] for row in table.values())
        columns.setdefault(cells, []).append(target.model_fields["type"].default)
    first_of = [number for number, _ in enumerate(targets) if _is_first(number, table)]
    rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (label, way), row in table.items():
        rows.setdefault((way, tuple(row[number] for number in first_of)), []).append(label)
    lines = [_HEAD, "| Letter | In words | Meaning |", "|---|---|---|"]
    lines += [f"| **{one}** | {words} | {MEANINGS[one]} |" for one, words in WORDS.items()]
    lines += ["", "append / replace / merge:", ""]
    lines += [f"| Source | Read | {' | '.join(map(_names, columns.values()))} |", f"|---|---|{'---|' * len(columns)}"]
    every = len({label for label, _ in table})
    lines += [
        f"| {', '.join(labels) if len(labels) < every else 'every source'} | {way} | {' | '.join(cells)} |"
        for (way, cells), labels in rows.items()
    ]
    return "\n".join([*lines, "", _FOOT])


def _own(registry: Registry[Any]) -> Iterator[Component[Any]]:
    return (component for component in registry if component.module.startswith("dataforge."))


def _is_first(number: int, table: dict[tuple[str, str], tuple[str, ...]]) -> bool:
    """Whether no column further left has the same cells."""
    mine = [row[number] for row in table.values()]
    return all(mine != [row[other] for row in table.values()] for other in range(number))


def _names(types: list[str]) -> str:
    return ", ".join(f"`{type_}`" for type_ in types)


def _ways(model: type[SourceConfig]) -> Iterator[tuple[str, str, SourceConfig]]:
    """Yield the ways in which a source can be read, as (its name, the way in words, a config)."""
    for label, settings in _variants(model):
        if (own := _built(model, settings).position_name()) is not None:
            yield label, f"on from its {own}", _built(model, settings)
            yield label, "whole", _built(model, {**settings, "resume": False})
            continue
        cursor = {**settings, "cursor_field": "updated_at"}
        yield label, "whole", _built(model, settings)
        yield label, "by cursor", _built(model, cursor)
        yield label, "by cursor with lookback", _built(model, {**cursor, "lookback": 1})
        if "query" in model.model_fields:
            yield label, "by interval", _built(model, {**settings, "query": "${data_interval_start}"})


def _variants(model: type[SourceConfig]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of a source with each way of paging that it has, and the settings of that."""
    name = _names([model.model_fields["type"].default])
    if (field := model.model_fields.get("pagination")) is None:
        yield name, {}
        return
    for paging in get_args(field.annotation):
        how = f"{name} paged by `{paging.model_fields['type'].default}`"
        how = f"{name} not paged" if how.endswith("`none`") else how
        plain = {"pagination": paging.model_construct()}
        yield how, plain
        if "total" in paging.model_fields:
            counted = {"pagination": paging.model_construct(total="total")}
            if _built(model, counted).grade() != _built(model, plain).grade():
                yield f"{how} with `total`", counted


def _built(model: type[SourceConfig], settings: dict[str, Any]) -> SourceConfig:
    required = {name: "" for name, field in model.model_fields.items() if field.is_required()}
    return model.model_construct(**{**required, **settings})


def _cell(source: SourceConfig, target: type[DestinationConfig]) -> str:
    return " / ".join(_letter(source, target, disposition) for disposition in DISPOSITIONS)


def _letter(source: SourceConfig, target: type[DestinationConfig], disposition: str) -> str:
    settings: dict[str, Any] = {"write_disposition": disposition}
    built = target.model_construct(**settings)
    if disposition not in capabilities(built).dispositions:
        return "–"
    if source.incremental() and (disposition == "replace" or not hasattr(DESTINATIONS.get(built.type).cls, "ledger")):
        return "–"
    config = PipelineConfig.model_construct(dag_id="any", source=source, sources={}, destination=built)
    return letter(config)[0].letter
