"""Secrets that stand in a config: taken out, with a word on where they belong. The value itself is told nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataforge.authoring.editing import Operation
from dataforge.authoring.fixers.case import Case, Proposal


def secret(case: Case) -> Iterator[Proposal]:
    """Take a secret away where its key is not needed."""
    if not case.there:
        return
    block = case.block
    connection = block.value.get("connection") if block and isinstance(block.value, Mapping) else None
    where = f"the Airflow connection {connection!r}" if isinstance(connection, str) else "an Airflow connection"
    advice = (
        f"the secret under {case.pointer!r} was taken out of the config: put it into {where}, and change it, since it "
        "stood in a file"
    )
    if not _needed(case):
        yield case.remove("secrets belong into an Airflow connection", advice)
        if isinstance(case.holder, Mapping) and len(case.holder) == 1 and len(case.path) > 2:
            yield Proposal(
                (Operation("remove", case.holder_pointer),), "secrets belong into an Airflow connection", advice
            )


def _needed(case: Case) -> bool:
    model = case.block.model if case.block is not None and case.in_block else None
    if model is None:
        return case.pointer in ("/dag_id", "/source", "/destination")
    return any((info.alias or name) == case.key and info.is_required() for name, info in model.model_fields.items())
