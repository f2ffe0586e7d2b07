"""`connections`: which Airflow connections work, and when each last did."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from dataforge.cli.output import print_json, print_table
from dataforge.dag_factory.health import check_connections, named_connections
from dataforge.store.database import open_store
from dataforge.store.health import listed


def show(arguments: argparse.Namespace) -> int:
    """List the connections that configs name or that were checked before; return 1 when one just checked failed."""
    named = named_connections()
    asked: list[str] | None = arguments.check
    checked = check_connections(named if asked == [] else asked or ())
    known = {one.connection: one for one in listed(open_store())}
    rows: list[dict[str, Any]] = []
    for name in sorted({*named, *known, *checked} if not asked else checked):
        health = known.get(name)
        rows.append({
            "connection": name,
            "type": health.type if health else "",
            "state": health.state if health else "never checked",
            "checked_at": health.checked_at if health else None,
            "ok_at": health.ok_at if health else None,
            "failures": health.failures if health else 0,
            "message": health.message if health else "",
            "advice": health.advice if health else "",
            "used_by": named.get(name, []),
        })  # fmt: skip
    if arguments.format == "json":
        print_json({"connections": rows})
    else:
        _print(rows)
    return 1 if any(one["state"] == "failed" for one in checked.values()) else 0


def _print(rows: list[dict[str, Any]]) -> None:
    columns = ("connection", "type", "state", "last success", "last check", "used by")
    table = [
        (
            one["connection"],
            one["type"],
            one["state"],
            _minute(one["ok_at"]),
            _minute(one["checked_at"]),
            ", ".join(one["used_by"]),
        )
        for one in rows
    ]
    failed = [one for one in rows if one["state"] == "failed"]
    notes = [f"{one['connection']}: {one['message']}{' -> ' if one['advice'] else ''}{one['advice']}" for one in failed]
    print_table("Connections", columns, table, notes)


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
