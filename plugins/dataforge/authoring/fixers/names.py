"""Names that are nearly right, or that others use: keys, component types, choices, columns, params, connections."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dataforge.authoring.editing import Operation, exists
from dataforge.authoring.fixers import aliases
from dataforge.authoring.fixers.case import Block, Case, Proposal, model_of, nearest, under
from dataforge.components.registry import KINDS


def unknown_key(case: Case) -> Iterator[Proposal]:
    """Rename a key by the tables of aliases or to the nearest known one; drop one that another key repeats."""
    if not isinstance(case.holder, dict) or not case.there:
        return
    wanted: list[tuple[str, str]] = []
    name = aliases.plain(case.key)
    allowed = case.finding.allowed
    if case.in_block and case.block is not None:
        known = aliases.keys_of(case.block.kind, case.block.type).get(name, ())
        wanted += ((key, f"{case.key!r} is called {key!r} here") for key in known if key in case.block.keys)
    elif len(case.path) == 1 and name in aliases.TOP:
        wanted.append((aliases.TOP[name], f"{case.key!r} is called {aliases.TOP[name]!r}"))
    elif case.path[:1] == ("default_args",) and len(case.path) == 2 and name in aliases.DEFAULT_ARGS:
        wanted.append((aliases.DEFAULT_ARGS[name], f"{case.key!r} is called {aliases.DEFAULT_ARGS[name]!r}"))
    near = case.meant or nearest(case.key, allowed)
    if near:
        wanted.append((near, f"the nearest key to {case.key!r} is {near!r}"))
    for key, reason in wanted:
        if allowed and key not in allowed:
            continue
        if key not in case.holder:
            yield from _split_key(case, key)
            yield case.rename(key, reason)
        elif case.holder[key] == case.value or case.value in (None, "", [], {}):
            yield case.remove(f"{case.key!r} repeats {key!r}")
        elif case.holder[key] in (None, "", [], {}):
            place = under(case.holder_pointer, key)
            yield Proposal((Operation("remove", place), *case.rename(key, "").operations), reason)


def _split_key(case: Case, key: str) -> Iterator[Proposal]:
    """Take aliases whose value needs another form with the other name: seconds, and `scd2` as a write mode."""
    if key == "retry_delay" and case.key.endswith("_seconds") and isinstance(case.value, int | float):
        rename = case.rename(key, "")
        yield Proposal(rename.operations, f"{case.key!r} is called {key!r}; a number counts seconds")


def obsolete_key(case: Case) -> Iterator[Proposal]:
    """Take away keys that Airflow 2 had, or that say nothing to DataForge."""
    reason = aliases.OBSOLETE.get(aliases.plain(case.key)) or aliases.OBSOLETE.get(case.key)
    if reason and case.there and (len(case.path) == 1 or case.path[0] == "default_args" or case.in_block):
        mails = "email" in case.key.lower() or "callback" in case.key.lower()
        advice = f"{case.key!r} is gone: set notifications up in Airflow" if mails else ""
        yield case.remove(f"{case.key!r} may go: {reason}", advice)


def unknown_type(case: Case) -> Iterator[Proposal]:
    """Give a component the type that was meant: an alias, by the file name's ending, or the nearest."""
    block = case.block
    if block is None or not isinstance(block.value, Mapping) or not isinstance(case.value, str):
        return
    told = case.value
    name = aliases.plain(told)
    for kind in (block.kind,):
        by_path = type_by_path(block)
        vague = name in (
            "file",
            "files",
            "s3",
            "gcs",
            "localfile",
            "filesystem",
            "local",
            "blob",
            "filedrop",
            "storage",
        )
        if by_path and vague:
            yield case.replace(by_path, f"the file's name says that it is {by_path}")
        known = aliases.TYPES[kind].get(name)
        if known:
            yield case.replace(known, f"{told!r} is called {known!r}")
        if case.meant:
            yield case.replace(case.meant, f"the nearest {kind} type to {told!r} is {case.meant!r}")
        near = nearest(told, case.finding.allowed)
        if near:
            yield case.replace(near, f"the nearest {kind} type to {told!r} is {near!r}")
        if by_path:
            yield case.replace(by_path, f"the file's name says that it is {by_path}")
        fitting = types_that_fit(block)
        if len(fitting) == 1:
            yield case.replace(fitting[0], f"only {fitting[0]!r} has these keys")


def type_by_path(block: Block) -> str | None:
    """Return the type of the files that a component names, by the ending of the name."""
    text = " ".join(str(part) for key, part in block.value.items() if key != "type" and isinstance(part, str))
    endings = {"csv": "csv|tsv", "json": "jsonl?|ndjson", "parquet": "parquet|pq"}
    found = [
        type_
        for type_, ending in endings.items()
        if re.search(rf"\.(?:{ending})(?:\.(?:gz|zst|bz2|xz))?(?:\s|\Z)", text)
    ]
    if len(found) != 1:
        return None
    return "ndjson" if found == ["json"] and block.kind == "destination" else found[0]


def types_that_fit(block: Block) -> list[str]:
    """Return the types whose required keys a component has, and none whose keys it has not."""
    given = {key for key in block.value if key != "type"}
    found = []
    for type_ in KINDS[block.kind][0].types():
        model = model_of(block.kind, type_)
        if model is None or not given:
            continue
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        needed = {key for key, info in fields.items() if info.is_required()}
        if given <= fields.keys() and needed <= given:
            found.append(type_)
    return found


def invalid_choice(case: Case) -> Iterator[Proposal]:
    """Put one of the allowed values in: the same in another letter case, an alias, or the nearest."""
    allowed = case.finding.allowed
    if not isinstance(case.value, str) or not case.there:
        return
    told = case.value
    same = [each for each in allowed if each.lower() == told.strip().lower()]
    table = aliases.CHOICES.get(case.key, {})
    if case.path[:1] == ("params",) and case.key == "type":
        table = aliases.PARAM_TYPES
    if case.block is not None and case.block.type == "mask":
        table = aliases.MASKS
    if same:
        yield case.replace(same[0], f"{told!r} is written {same[0]!r}")
    strategies = aliases.CHOICES["merge_strategy"]
    if case.key == "write_disposition" and case.block is not None:
        strategy = strategies.get(aliases.plain(told)) or {"scd2": "scd2", "deleteinsert": "delete_insert"}.get(
            aliases.plain(told)
        )
        if strategy and strategy != "upsert" and aliases.plain(told) not in aliases.DISPOSITIONS:
            operations = [Operation("replace", case.pointer, "merge")]
            place = under(case.block.pointer, "merge_strategy")
            if not exists(case.data, place):
                operations.append(Operation("add", place, strategy))
            yield Proposal(tuple(operations), f"{told!r} is write_disposition 'merge' with merge_strategy {strategy!r}")
    known = table.get(aliases.plain(told))
    if known and known in allowed:
        yield case.replace(known, f"{told!r} is called {known!r}")
    for near in dict.fromkeys(filter(None, (case.meant, nearest(told, allowed, 0.7)))):
        yield case.replace(near, f"the nearest allowed value to {told!r} is {near!r}")
    if len(allowed) == 1:
        yield case.replace(allowed[0], f"{allowed[0]!r} is the only value allowed here")


def unknown_name(case: Case) -> Iterator[Proposal]:
    """Put the nearest known column, input or connection in, where the place holds just a name."""
    allowed = case.finding.allowed
    wrong = re.search(r"'([^']*)' is not known", case.finding.message)
    near = case.meant or (nearest(wrong[1], allowed) if wrong else None)
    if not near and len(allowed) == 1 and case.finding.code in ("unknown-connection", "unknown-input"):
        near = allowed[0]
    if not near or not case.there:
        return
    reason = f"the nearest known name to {wrong[1]!r} is {near!r}" if wrong else f"{near!r} is meant"
    told = wrong[1] if wrong else None
    if isinstance(case.value, str) and (told is None or case.value == told):
        yield case.replace(near, reason)
    elif isinstance(case.holder, dict) and case.key == told and near not in case.holder:
        yield case.rename(near, reason)


def unknown_connection(case: Case) -> Iterator[Proposal]:
    """Put the nearest known connection in, or the only one of the right type."""
    known = tuple(case.finding.allowed) or tuple(case.around.connections)
    if not isinstance(case.value, str):
        return
    near = case.meant or nearest(case.value, known)
    if near:
        yield case.replace(near, f"the nearest known connection to {case.value!r} is {near!r}")
    fitting = case.finding.allowed if case.finding.code == "unfit-connection" else ()
    if len(fitting) == 1:
        yield case.replace(fitting[0], f"{fitting[0]!r} is the only connection of the type that is needed")


def unknown_param(case: Case) -> Iterator[Proposal]:
    """Correct the name in a `${…}`: the suggested one, a known spelling of Airflow's, or the only declared param."""
    text = case.value
    if not isinstance(text, str):
        return
    shown = re.search(r"'(\$\{[^']*\}?)'", case.finding.message)
    if not shown or shown[1] not in text:
        return
    body = shown[1][2:].rstrip("}")
    word, colon, pattern = body.partition(":")
    tail = colon + pattern
    known = {
        "ds": "data_interval_start:%Y-%m-%d",
        "ds_nodash": "data_interval_start:%Y%m%d",
        "ts": "data_interval_start",
        "execution_date": "data_interval_start",
        "logical_date": "data_interval_start",
        "next_ds": "data_interval_end:%Y-%m-%d",
        "next_execution_date": "data_interval_end",
        "start": "data_interval_start",
        "end": "data_interval_end",
        "dag_run.run_id": "run_id",
    }
    if word in known:
        new = known[word].partition(":")[0] + tail if tail else known[word]
        yield case.replace(text.replace(shown[1], f"${{{new}}}"), f"{word!r} of Airflow 2 is {new.partition(':')[0]!r}")
    declared = case.data.get("params")
    declared = declared if isinstance(declared, dict) else {}
    if re.sub(r"^(?:param|parameters?|var|vars|dag_run\.conf|conf)\.", "", word) in declared:
        name = word.rpartition(".")[2]
        yield case.replace(text.replace(shown[1], f"${{params.{name}{tail}}}"), f"{word!r} is 'params.{name}'")
    if word in declared:
        yield case.replace(text.replace(shown[1], f"${{params.{word}{tail}}}"), f"params are written 'params.{word}'")
    stripped = re.sub(r"\s+", "", word)
    if stripped != word:
        yield case.replace(text.replace(shown[1], f"${{{stripped}{tail}}}"), "white space taken out of the placeholder")
    if case.meant:
        new = case.meant[2:-1] if case.meant.startswith("${") else case.meant
        yield case.replace(
            text.replace(shown[1], f"${{{new}{tail}}}"), f"the nearest known name to {word!r} is {new!r}"
        )
    if word.startswith("params.") and len(declared) == 1 and f"${{params.{next(iter(declared))}" not in str(case.data):
        (only,) = declared
        yield case.replace(text.replace(shown[1], f"${{params.{only}{tail}}}"), f"{only!r} is the only param there is")
    if "is not closed" in case.finding.message:
        end = re.search(r"\$\{[\w.]+(?::[^\s/}]*)?", text[text.find(shown[1]) :])
        if end:
            yield case.replace(text.replace(end.group(), end.group() + "}", 1), "closed the placeholder")


def renamed_key(case: Case) -> Iterator[Proposal]:
    """Give a key its newer name."""
    new = re.search(r"is now called '([^']+)'", case.finding.message)
    if new and case.there and isinstance(case.holder, dict) and new[1] not in case.holder:
        yield case.rename(new[1], f"{case.key!r} is now called {new[1]!r}")


def duplicate_column(case: Case) -> Iterator[Proposal]:
    """Take a column out of a list that has it already."""
    if isinstance(case.holder, list) and isinstance(case.value, str):
        others = [each for index, each in enumerate(case.holder) if str(index) != case.key and isinstance(each, str)]
        if case.value.lower() in (each.lower() for each in others):
            yield case.remove(f"column {case.value!r} is in the list already")


def unknown_sql_type(case: Case) -> Iterator[Proposal]:
    """Put the SQL type in that was meant."""
    if not isinstance(case.value, str):
        return
    text = case.value.strip()
    for told in (case.value, re.sub(r"\(.*", "", text)):
        known = aliases.SQL_TYPES.get(aliases.plain(told))
        if known:
            yield case.replace(known, f"type {text!r} is called {known!r}")
    too_wide = re.match(r"(?i)(?:decimal|numeric)\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\Z", text)
    if too_wide and int(too_wide[1]) > 38 and int(too_wide[2] or 0) <= 38:
        yield case.replace(f"decimal(38,{too_wide[2] or 0})", "a decimal has 38 digits at most")
    if case.meant:
        yield case.replace(
            re.sub(r"\A[A-Za-z_0-9]+", case.meant, text), f"the nearest type to {text!r} is {case.meant!r}"
        )
        yield case.replace(case.meant, f"the nearest type to {text!r} is {case.meant!r}")
