"""Values that are right but stand in the wrong place: a level too deep or too high, in the other component, in a list
where an object belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from dataforge.authoring.editing import Operation, exists
from dataforge.authoring.fixers import aliases
from dataforge.authoring.fixers.case import Block, Case, Proposal, blocks, model_of, under
from dataforge.components.base import JsonValue
from dataforge.components.registry import KINDS
from dataforge.config.pipeline import DefaultArgs, PipelineConfig

_TOP = tuple(info.alias or name for name, info in PipelineConfig.model_fields.items())
_ARGS = tuple(DefaultArgs.model_fields)
_WRAPPERS = frozenset(
    [
        "config",
        "options",
        "option",
        "settings",
        "args",
        "kwargs",
        "parameters",
        "params",
        "properties",
        "with",
        "spec",
        "details",
        "arguments",
        "conf",
    ]
)


def moved_key(case: Case) -> Iterator[Proposal]:
    """Move an unknown key to the one place that has it: into or out of a wrapper, default_args, a component."""
    if not case.there or not isinstance(case.holder, dict):
        return
    yield from _unwrapped(case)
    if len(case.path) == 1:
        yield from _down(case)
    elif case.path[0] == "default_args" and len(case.path) == 2:
        yield from _up(case)
    elif case.block is not None:
        if not case.in_block:
            yield from _out_of_nested(case, case.block)
        else:
            yield from _between(case, case.block)
            yield from _up(case)


def _move(case: Case, to: str, reason: str) -> Proposal:
    return Proposal((Operation("move", to, from_=case.pointer),), reason)


def _unwrapped(case: Case) -> Iterator[Proposal]:
    """Take the keys of a wrapper (`"config": {…}`) up to where they belong."""
    value, holder = case.value, case.holder
    if not isinstance(value, Mapping) or not value:
        return
    known: tuple[str, ...] = tuple(case.finding.allowed)
    if case.in_block and case.block is not None:
        known = case.block.keys
        extra = aliases.keys_of(case.block.kind, case.block.type)
    else:
        extra = {}
    inner = all(key in known or aliases.plain(key) in extra for key in value)
    own_type = case.block is not None and case.in_block and case.key == case.block.type
    if (aliases.plain(case.key) in _WRAPPERS or own_type) and (inner or own_type) and not value.keys() & holder.keys():
        moves = [Operation("move", under(case.holder_pointer, key), from_=under(case.pointer, key)) for key in value]
        yield Proposal((*moves, Operation("remove", case.pointer)), f"the keys in {case.key!r} belong one level up")


def _down(case: Case) -> Iterator[Proposal]:
    """Move a top-level key into default_args or into the one component that can have it and misses it."""
    name = aliases.DEFAULT_ARGS.get(aliases.plain(case.key), case.key)
    if name in _ARGS and name not in _TOP:
        args = case.data.get("default_args")
        if args is None and "default_args" not in case.data:
            operations = (
                Operation("add", "/default_args", {}),
                Operation("move", f"/default_args/{name}", None, case.pointer),
            )
            yield Proposal(operations, f"{case.key!r} belongs into 'default_args'")
        elif isinstance(args, dict) and name not in args:
            yield _move(case, f"/default_args/{name}", f"{case.key!r} belongs into 'default_args'")
        elif isinstance(args, dict) and args[name] == case.value:
            yield case.remove(f"'default_args' says so already: {name!r}")
    yield from _component_at_top(case)
    fitting: list[tuple[bool, Block, str]] = []
    for block in blocks(case.data):
        if block.kind not in ("source", "destination") or block.model is None:
            continue
        for key in (case.key, *aliases.keys_of(block.kind, block.type).get(aliases.plain(case.key), ())):
            if key in block.keys and key not in block.value:
                needed = any(
                    (info.alias or n) == key and info.is_required() for n, info in block.model.model_fields.items()
                )
                fitting.append((needed, block, key))
                break
    needed_by = [each for each in fitting if each[0]]
    for choice in (needed_by, fitting):
        if len(choice) == 1:
            _, block, key = choice[0]
            yield _move(case, under(block.pointer, key), f"{case.key!r} belongs into the {block.kind}")


def _component_at_top(case: Case) -> Iterator[Proposal]:
    """Put a component that stands at the top under its own name ("postgres": {…}) where its kind belongs."""
    value = case.value
    for kind, key in (("transform", "transforms"), ("check", "checks")):
        type_ = _type_named(kind, case.key)
        if type_ and isinstance(value, Mapping) and isinstance(case.data.get(key, []), list):
            operations = [] if key in case.data else [Operation("add", f"/{key}", [])]
            item = {"type": type_, **value}
            operations += [Operation("remove", case.pointer), Operation("add", f"/{key}/-", item)]
            yield Proposal(tuple(operations), f"{case.key!r} is a {kind} and belongs into {key!r}")


def _type_named(kind: str, name: str) -> str | None:
    if name in KINDS[kind][0].types():
        return name
    return aliases.TYPES[kind].get(aliases.plain(name))


def _up(case: Case) -> Iterator[Proposal]:
    """Move a key of a component or of default_args up to the top, where it belongs."""
    name = aliases.TOP.get(aliases.plain(case.key), case.key)
    for key in dict.fromkeys((case.key, name)):
        if key in _TOP and key not in ("source", "sources", "destination"):
            if key not in case.data:
                yield _move(case, f"/{key}", f"{key!r} belongs to the pipeline itself")
            elif case.data[key] == case.value:
                yield case.remove(f"the pipeline says so already: {key!r}")
    if case.block is not None and case.key in _ARGS and case.key not in _TOP:
        args = case.data.get("default_args")
        if isinstance(args, dict) and case.key not in args:
            yield _move(case, f"/default_args/{case.key}", f"{case.key!r} belongs into 'default_args'")
        elif "default_args" not in case.data:
            operations = (
                Operation("add", "/default_args", {}),
                Operation("move", f"/default_args/{case.key}", None, case.pointer),
            )
            yield Proposal(operations, f"{case.key!r} belongs into 'default_args'")


def _between(case: Case, block: Block) -> Iterator[Proposal]:
    """Move a key from the source to the destination or the other way, where only the other one has it."""
    others = [
        other
        for other in blocks(case.data)
        if other.pointer != block.pointer and {block.kind, other.kind} == {"source", "destination"}
    ]
    for other in others if len(others) == 1 else ():
        names = (case.key, *aliases.keys_of(other.kind, other.type).get(aliases.plain(case.key), ()))
        for key in names:
            if key not in other.keys:
                continue
            if key not in other.value:
                yield _move(case, under(other.pointer, key), f"{key!r} belongs into the {other.kind}")
            elif other.value[key] == case.value:
                yield case.remove(f"the {other.kind} says so already: {key!r}")
            break


def mapping_too_high(case: Case) -> Iterator[Proposal]:
    """Put keys that are columns into the `columns` that the transform misses: {"type": "rename", "id": "order_id"}."""
    block = case.block
    if block is None or block.kind != "transform" or not case.in_block or not isinstance(block.value, Mapping):
        return
    if "columns" not in block.keys or "columns" in block.value or not isinstance(case.value, str):
        return
    rest = {key: part for key, part in block.value.items() if key not in block.keys}
    model = block.model
    field = model.model_fields.get("columns") if model else None
    if (
        field is None
        or get_origin(field.annotation) is not dict
        or not all(isinstance(part, str) for part in rest.values())
    ):
        return
    operations: list[Operation] = [Operation("add", under(block.pointer, "columns"), {})]
    operations += (
        Operation("move", under(block.pointer, "columns", key), from_=under(block.pointer, key)) for key in rest
    )
    yield Proposal(tuple(operations), "the columns stand one level too high; they belong into 'columns'")


def _out_of_nested(case: Case, block: Block) -> Iterator[Proposal]:
    """Move a key out of an object inside a component up into the component."""
    if case.key in block.keys and case.key not in block.value:
        yield _move(case, under(block.pointer, case.key), f"{case.key!r} belongs into the {block.kind} itself")


def missing_type(case: Case) -> Iterator[Proposal]:
    """Read {"rename": {…}} as {"type": "rename", …}, and take the keys of a component out of a wrapper."""
    block = case.block
    if block is None or not isinstance(block.value, Mapping):
        return
    for key in (
        "kind",
        "class",
        "operator",
        "name",
        "connector",
        "step",
        "op",
        "operation",
        "action",
        "provider",
        "format",
    ):
        told = block.value.get(key)
        if isinstance(told, str) and _type_named(block.kind, told):
            move = Operation("move", under(block.pointer, "type"), from_=under(block.pointer, key))
            yield Proposal((move,), f"the type stands under {key!r}")
    if len(block.value) == 1:
        ((key, inner),) = block.value.items()
        type_ = _type_named(block.kind, key)
        if type_ and block.kind in ("source", "transform", "check", "destination"):
            whole = _typed(block.kind, type_, inner)
            if whole is not None:
                yield Proposal((Operation("replace", block.pointer, whole),), f"{key!r} is the type")
    for key in _WRAPPERS:
        inner = block.value.get(key)
        if isinstance(inner, Mapping) and "type" in inner and not inner.keys() & block.value.keys():
            moves = [
                Operation("move", under(block.pointer, name), from_=under(block.pointer, key, name)) for name in inner
            ]
            yield Proposal(
                (*moves, Operation("remove", under(block.pointer, key))), f"the keys in {key!r} belong one level up"
            )


def _typed(kind: str, type_: str, inner: JsonValue) -> dict[str, Any] | None:
    """Return a component of this type with what stood under its name: its keys, or the value of its one main key."""
    model = model_of(kind, type_)
    if model is None:
        return None
    fields = {info.alias or name: info for name, info in model.model_fields.items() if name != "type"}
    if isinstance(inner, Mapping) and (not inner or inner.keys() & fields.keys()):
        return {"type": type_, **inner}
    required = [key for key, info in fields.items() if info.is_required()]
    main = required or [key for key in ("keys", "columns", "group_by", "min") if key in fields]
    if len(main) == 1 or (main and not required):
        return {"type": type_, main[0]: inner}
    return {"type": type_, **inner} if isinstance(inner, Mapping) else None


def conflicting_keys(case: Case) -> Iterator[Proposal]:
    """Take one of two keys away where they say the same, or where the newer name has the say."""
    data = case.data
    if "schedule_interval" in data and "schedule" in data:
        same = "they are equal" if data["schedule"] == data["schedule_interval"] else "the newer name wins"
        yield Proposal((Operation("remove", "/schedule_interval"),), f"'schedule_interval' is the older name; {same}")
    if "source" in data and isinstance(data.get("sources"), dict):
        if data["source"] in data["sources"].values() or not data["source"]:
            yield Proposal((Operation("remove", "/source"),), "'sources' has this source already")
        elif not data["sources"]:
            yield Proposal((Operation("remove", "/sources"),), "'sources' is empty")
        elif list(data["sources"].values()) == [data["source"]]:
            yield Proposal((Operation("remove", "/sources"),), "'source' says the same")
    block = case.block
    keyed = block is not None and isinstance(block.value, Mapping) and block.value.get("primary_key")
    if keyed and case.key == "write_disposition":
        yield case.replace("merge", "a run holds new records only, and there is a primary_key to merge by")


def duplicate_destination(case: Case) -> Iterator[Proposal]:
    """Take a destination away that another one of the list repeats word for word."""
    if isinstance(case.holder, list) and case.holder.count(case.value) > 1:
        yield case.remove("the same destination stands in the list already")


def not_in_defaults(case: Case) -> Iterator[Proposal]:
    """Take a key out of a folder's defaults that can't stand there."""
    if case.there:
        yield case.remove(f"{case.key!r} can't stand in the defaults of a folder")


def plural(case: Case) -> Iterator[Proposal]:
    """Split a list of sources, or an object of transforms, into what their keys want."""
    value = case.value
    if case.pointer == "/source" and isinstance(value, list) and not exists(case.data, "/sources"):
        named = {
            str(part.get("name") or f"source_{n}"): {k: v for k, v in part.items() if k != "name"}
            for n, part in enumerate(value, 1)
            if isinstance(part, dict)
        }
        if len(value) == 1:
            yield case.replace(value[0], "there is one source, so no list is needed")
        elif len(named) == len(value):
            operations = (Operation("add", "/sources", named), Operation("remove", "/source"))
            yield Proposal(operations, "several sources are an object of names in 'sources'")
