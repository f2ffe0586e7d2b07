"""`components` and `doctor`: what this installation offers and whether it is sound."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dataforge.cli.output import print_json, print_table
from dataforge.components.registry import KINDS, Component
from dataforge.errors import ConfigError, Problem, TerminalError
from dataforge.settings import get_settings


def components(arguments: argparse.Namespace) -> int:
    """List all components, or describe those of one type."""
    from dataforge.components.reference import as_markdown, describe

    found: list[tuple[str, Component[Any]]] = [
        (kind, component) for kind, (registry, _) in KINDS.items() for component in registry
    ]
    if arguments.type:
        types = sorted({component.type for _, component in found})
        found = [(kind, component) for kind, component in found if component.type == arguments.type]
        if not found:
            raise ConfigError(
                Problem("unknown-component", f"no component {arguments.type!r}", (), f"known: {', '.join(types)}")
            )
    if arguments.format == "markdown":
        print(as_markdown(found), end="")
    elif arguments.format == "json":
        print_json([describe(kind, component) for kind, component in found])
    elif arguments.type:
        for kind, component in found:
            rows = [
                (
                    field["name"],
                    field["type"],
                    "required" if field["required"] else json.dumps(field["default"]),
                    field["description"],
                )
                for field in describe(kind, component)["fields"]
            ]
            print_table(f"{kind} {component.type}: {component.summary}", ("key", "type", "default", "meaning"), rows)
    else:
        print_table(
            "Components", ("kind", "type", "what it does"), [(kind, one.type, one.summary) for kind, one in found]
        )
    return 0


def pools(arguments: argparse.Namespace) -> int:
    """List the pools that the configs want, and make them in Airflow's database when asked to."""
    from dataforge.config.files import read_folder
    from dataforge.dag_factory.pools import create, existing, wanted

    folder = get_settings().configs_folder
    found = wanted(loaded.config for file in read_folder(folder).files for loaded in file.pipelines)
    try:
        there = existing()
        missing = [one for one in found if one.name not in there]
        for one in missing if arguments.create else ():
            create(one.name)
    except Exception as error:  # noqa: BLE001 what Airflow and its database may raise is not ours to list
        raise TerminalError(f"Airflow's database can't be used: {type(error).__name__}: {error}"[:500]) from None
    done = "created" if arguments.create else "missing"
    states = {one.name: done if one in missing else "there" for one in found}
    if arguments.format == "json":
        print_json([{"pool": one.name, "state": states[one.name], "pipelines": one.pipelines} for one in found])
    elif not found:
        print(f"no target is written by more than one load of the pipelines in {folder}")
    else:
        rows = [(one.name, states[one.name], ", ".join(one.pipelines)) for one in found]
        print_table("Pools of one slot", ("pool", "in Airflow", "pipelines that write the target"), rows)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Check Python, packages, settings, folders, staging, the engine's sandbox, and the connections configs name."""
    from dataforge.cli.diagnosis import diagnose

    results = diagnose()
    if arguments.format == "json":
        print_json([{"check": one.check, "state": one.state, "message": one.message} for one in results])
    else:
        for one in results:
            print(f"{one.state:<8} {one.check}: {one.message}")
    return 1 if any(one.state == "error" for one in results) else 0
