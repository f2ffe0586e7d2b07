"""Checks of the connections that configs name, and what they found kept in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel

from dataforge.config.files import read_folder
from dataforge.errors import DataForgeError
from dataforge.observability.log import line
from dataforge.settings import get_settings

AT_ONCE = 4


def named_connections() -> dict[str, list[str]]:
    """Return the ids of the connections that valid configs and the settings name, each with who uses it, sorted."""
    settings = get_settings()
    found: dict[str, set[str]] = {}
    if settings.staging_connection:
        found.setdefault(settings.staging_connection, set()).add("[dataforge] staging_connection")
    if settings.configs_folder.is_dir():
        for loaded in read_folder(settings.configs_folder).pipelines:
            for name in connections_in(loaded.config):
                found.setdefault(name, set()).add(loaded.config.dag_id)
    return {name: sorted(users) for name, users in sorted(found.items())}


def connections_in(value: object) -> Iterator[str]:
    """Yield the ids in the fields of a config, however deep, that name Airflow connections."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            part = getattr(value, name)
            extra = field.json_schema_extra
            if isinstance(part, str) and (
                name == "connection" or (isinstance(extra, dict) and "x-connection" in extra)
            ):
                yield part
            else:
                yield from connections_in(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from connections_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from connections_in(part)


def check_connections(conn_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Check connections, some at a time; return what was found, which the registry keeps too where it can be reached.

    Each takes 20 seconds at most; see `runtime.checkup.check` for what is told of one.
    """
    from dataforge.runtime.checkup import check

    wanted = list(dict.fromkeys(conn_ids))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(wanted, pool.map(check, wanted), strict=True))
    _keep(found)
    return found


def _keep(found: Mapping[str, Mapping[str, Any]]) -> None:
    from dataforge.store.database import open_store
    from dataforge.store.health import record

    try:
        for name, one in found.items():
            record(open_store(), name, one)
    except (DataForgeError, OSError) as error:  # a worker without the store still answers whoever asked
        line("the registry of connections could not be written", error=str(error))
