"""Required values that are missing and have exactly one candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from dataforge.authoring.editing import Operation
from dataforge.authoring.fixers import aliases
from dataforge.authoring.fixers.case import Block, Case, Proposal, blocks, slug, under
from dataforge.authoring.fixers.names import type_by_path, types_that_fit


def missing_key(case: Case) -> Iterator[Proposal]:
    """Put the one value in that can be meant."""
    if case.there and not (case.block is not None and case.pointer == case.block.pointer):
        return
    if case.pointer == "/dag_id":
        name = slug(case.around.path.name.removesuffix(".json"))
        yield Proposal((Operation("add", "/dag_id", name),), "the file's name names the pipeline")
    block = case.block
    if block is None or not isinstance(block.value, Mapping):
        return
    if case.key == "type":
        yield from _type(block)
    elif case.key == "connection":
        yield from _connection(case, block)
    elif case.key in ("primary_key", "keys") or "primary_key" in case.finding.message:
        yield from primary_key(case)


def _type(block: Block) -> Iterator[Proposal]:
    place = under(block.pointer, "type")
    by_path = type_by_path(block)
    fitting = types_that_fit(block)
    if by_path and (by_path in fitting or not fitting):
        yield Proposal((Operation("add", place, by_path),), f"the file's name says that it is {by_path}")
    if len(fitting) == 1:
        yield Proposal((Operation("add", place, fitting[0]),), f"only {fitting[0]!r} has these keys")


def _connection(case: Case, block: Block) -> Iterator[Proposal]:
    wanted = aliases.CONNECTION_TYPES.get(block.type)
    known = {id_: type_ for id_, type_ in case.around.connections.items() if wanted is None or type_ in wanted}
    place = under(block.pointer, "connection")
    if len(known) == 1:
        (only,) = known
        yield Proposal((Operation("add", place, only),), f"{only!r} is the only connection of this kind")
    used = {
        str(other.value["connection"])
        for other in blocks(case.data)
        if other.pointer != block.pointer and other.type == block.type and other.value.get("connection")
    }
    if not case.around.connections and len(used) == 1:
        (only,) = used
        yield Proposal((Operation("add", place, only),), f"{only!r} is the only connection of this kind in the config")


def primary_key(case: Case) -> Iterator[Proposal]:
    """Merge by the key that the pipeline names elsewhere: of its deduplicate step, or of its unique check."""
    block = case.block
    if block is None or block.kind != "destination" or block.value.get("primary_key"):
        return
    found = []
    for other in blocks(case.data):
        keys = (
            other.value.get("keys" if other.type == "deduplicate" else "columns")
            if other.type in ("deduplicate", "unique")
            else None
        )
        if isinstance(keys, list) and keys and keys not in found:
            found.append(keys)
    if len(found) == 1:
        place = under(block.pointer, "primary_key")
        op: Literal["add", "replace"] = "replace" if "primary_key" in block.value else "add"
        yield Proposal((Operation(op, place, found[0]),), "these columns are the only key that the pipeline names")


def needs_dead_letters(case: Case) -> Iterator[Proposal]:
    """Allow records to be set aside, up to the documented limit."""
    if "dead_letters" not in case.data:
        yield Proposal(
            (Operation("add", "/dead_letters", {"max_share": 0.01}),),
            "records that are set aside need 'dead_letters'; one in a hundred is the default limit",
        )


def needs_merge(case: Case) -> Iterator[Proposal]:
    """Merge where a key that only merging has stands beside a primary key."""
    block = case.block
    if block is not None and block.value.get("primary_key"):
        place = under(block.pointer, "write_disposition")
        op: Literal["add", "replace"] = "replace" if "write_disposition" in block.value else "add"
        yield Proposal((Operation(op, place, "merge"),), f"{case.key!r} needs write_disposition 'merge'")


def unsupported_disposition(case: Case) -> Iterator[Proposal]:
    """Take the only write disposition that the destination has."""
    if len(case.finding.allowed) == 1 and case.there:
        yield case.replace(case.finding.allowed[0], "the only write_disposition that this destination has")


def empty_step(case: Case) -> Iterator[Proposal]:
    """Take a step away that names no columns, so that it does nothing; fill the list of a key from elsewhere."""
    yield from primary_key(case)
    block = case.block
    if block is not None and block.kind in ("transform", "check") and block.type in (
        "rename", "cast", "drop", "sort", "derive", "fill_null", "mask", "not_null",
    ):  # fmt: skip
        yield Proposal((Operation("remove", block.pointer),), f"a {block.type!r} without columns does nothing")
