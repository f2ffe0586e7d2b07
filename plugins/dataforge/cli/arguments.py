"""The grammar of the command line. Each command's code is imported when that command is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

from dataforge import __version__


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the namespace it gives holds `command`, a function of that namespace."""
    parser = argparse.ArgumentParser(
        prog="dataforge",
        description="JSON pipeline configs that become Airflow DAGs.",
        epilog="Exit codes: 0 fine, 1 findings, 2 usage, 3 the run failed.",
    )
    parser.add_argument("--version", action="version", version=f"dataforge {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    validate = _command(commands, "configs", "validate", "check configs and report every finding with its place")
    validate.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="config file or folder of configs")
    validate.add_argument("--format", choices=("text", "json", "sarif", "junit"), default="text", help="report format")
    validate.add_argument("--live", action="store_true", help="also ask the sources for their columns and check them")
    validate.add_argument("--strict", action="store_true", help="warnings count as findings too")

    schema = _command(commands, "configs", "schema", "print the JSON Schema of configs")
    schema.add_argument("--output", type=Path, help="write it to this file instead")

    show = _command(commands, "configs", "show", "show what a config file describes")
    show.add_argument("path", type=Path, metavar="CONFIG")
    show.add_argument("--effective", action="store_true", help="every value with the place it comes from")
    _format(show)

    compiled = _command(commands, "configs", "compile", "print the SQL that the transforms become")
    compiled.add_argument("path", type=Path, metavar="CONFIG")
    compiled.add_argument("--live", action="store_true", help="ask the sources for their columns first")
    _format(compiled)

    new = _command(commands, "configs", "new", "write a first config to start from")
    new.add_argument("path", type=Path, metavar="CONFIG", help="file to create; never overwritten")
    new.add_argument("--source", default="csv", help="type of the source (default: csv)")
    new.add_argument("--destination", default="duckdb", help="type of the destination (default: duckdb)")

    run = _command(commands, "runs", "run", "run a pipeline here and now, without a scheduler")
    run.add_argument("path", type=Path, metavar="CONFIG")
    _run_values(run)
    _format(run)

    preview = _command(commands, "runs", "preview", "show sample rows after every step; writes nothing")
    preview.add_argument("path", type=Path, metavar="CONFIG")
    preview.add_argument("--rows", type=_positive, default=10, metavar="N", help="rows to show (default: 10)")
    _run_values(preview)
    _format(preview)

    components = _command(commands, "environment", "components", "list the components, or describe one")
    components.add_argument("type", nargs="?", metavar="TYPE", help="one type to describe, e.g. csv")
    components.add_argument("--format", choices=("text", "json", "markdown"), default="text")

    doctor = _command(commands, "environment", "doctor", "check this installation and the connections configs name")
    _format(doctor)
    return parser


def _command(commands: argparse._SubParsersAction, module: str, name: str, help: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(command=_late(module, name))
    return parser


def _late(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def call(arguments: argparse.Namespace) -> int:
        code: int = getattr(import_module(f"dataforge.cli.{module}"), name)(arguments)
        return code

    return call


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json for machines")


def _run_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dag-id", help="which pipeline, where the file describes several")
    parser.add_argument(
        "--param", action="append", default=[], type=_param, metavar="NAME=VALUE", help="run parameter; repeatable"
    )
    parser.add_argument(
        "--interval",
        nargs=2,
        type=_instant,
        metavar=("START", "END"),
        help="data interval: dates or ISO 8601 instants, UTC unless they say otherwise",
    )


def _param(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or ISO 8601 instant") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)
