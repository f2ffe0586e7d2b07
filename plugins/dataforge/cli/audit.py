"""`audit`: who did what, and whether no entry was changed or removed."""

from __future__ import annotations

import argparse

from dataforge.cli.output import print_json, print_table
from dataforge.settings import get_settings
from dataforge.store import audit
from dataforge.store.database import open_store


def list_entries(arguments: argparse.Namespace) -> int:
    """List the entries, the newest first."""
    root = f"{get_settings().configs_folder.resolve()}/"
    subjects = (arguments.file, f"{root}{arguments.file}") if arguments.file else None
    found = audit.entries(
        open_store(), actor=arguments.actor, action=arguments.action, subjects=subjects, limit=arguments.limit
    )
    if arguments.format == "json":
        print_json({"entries": [vars(one) for one in found]})
        return 0
    rows = [(one.id, f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.subject.removeprefix(root), one.detail)
            for one in found]  # fmt: skip
    print_table("Audit", ("id", "when", "who", "what", "of what", "detail"), rows)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Walk the chain; return 1 where it is broken."""
    found = audit.verify(open_store(), arguments.end)
    if arguments.format == "json":
        print_json({"ok": found.ok, **vars(found)})
    elif found.ok:
        print(f"{found.entries} entries, none changed or removed; the last one is {found.end or 'not there yet'}")
    else:
        print(f"the chain of entries is broken at entry {found.broken_at}: {found.reason}")
    return 0 if found.ok else 1
