"""The grammar of the command line. Each command's code is imported when that command is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

from dataforge import __version__
from dataforge.cli.importing import KINDS

MAX_RUN_ID = 250
"""Airflow's own limit."""


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

    export = _command(commands, "exporting", "export", "write a plain Airflow module that runs without DataForge")
    export.add_argument("path", type=Path, metavar="CONFIG")
    export.add_argument("--dag-id", help="which pipeline, where the file describes several")
    export.add_argument("--output", type=Path, metavar="FILE", help="write it to this file instead of printing it")
    export.add_argument("--offline", action="store_true", help="don't ask the sources for their columns and types")

    run = _command(commands, "runs", "run", "run a pipeline here and now, without a scheduler")
    run.add_argument("path", type=Path, metavar="CONFIG")
    run.add_argument(
        "--run-id",
        type=_run_id,
        metavar="RUN",
        help="name of the run; the rows of one that was loaded before are replaced, as when a run is cleared",
    )
    _run_values(run)
    _format(run)

    preview = _command(commands, "runs", "preview", "show sample rows after every step; writes nothing")
    preview.add_argument("path", type=Path, metavar="CONFIG")
    preview.add_argument("--rows", type=_positive, default=10, metavar="N", help="rows to show (default: 10)")
    _run_values(preview)
    _format(preview)

    plan = _command(commands, "runs", "plan", "show what a run would change in the destinations; writes nothing")
    plan.add_argument("path", type=Path, metavar="CONFIG")
    _run_values(plan)
    _format(plan)

    _ledger_commands(commands)
    _authoring_commands(commands)
    _deploying_commands(commands)
    _import_commands(commands)
    _audit_commands(commands)

    components = _command(commands, "environment", "components", "list the components, or describe one")
    components.add_argument("type", nargs="?", metavar="TYPE", help="one type to describe, e.g. csv")
    components.add_argument("--format", choices=("text", "json", "markdown"), default="text")

    pools = _command(commands, "environment", "pools", "list the Airflow pools in which loads wait for each other")
    pools.add_argument("--create", action="store_true", help="make those that are missing, in Airflow's database")
    _format(pools)

    connections = _command(
        commands, "connections", "connections", "show which Airflow connections work, and when each last did",
        function="show",
    )  # fmt: skip
    connections.add_argument(
        "--check", nargs="*", metavar="ID", help="check these first; without an ID all that configs name"
    )
    _format(connections)

    doctor = _command(commands, "environment", "doctor", "check this installation and the connections configs name")
    _format(doctor)
    return parser


def _ledger_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    loads = _command(commands, "ledger", "loads", "list the loads that were committed, the newest first")
    _ledger(loads)
    loads.add_argument("--limit", type=_positive, default=50, metavar="N", help="loads to list (default: 50)")

    undo = _command(commands, "ledger", "undo", "take the load of a run back")
    _ledger(undo)
    undo.add_argument("run", metavar="RUN", help="its run_id, as `dataforge loads` and Airflow show it")
    _yes(undo)

    cursor = _group(commands, "cursor", "show or move up to where a source was read")
    show = _command(cursor, "ledger", "show", "show the cursor of each source", function="cursor_show")
    _ledger(show)
    set_ = _command(cursor, "ledger", "set", "put the cursor of a source to a value", function="cursor_set")
    _ledger(set_)
    set_.add_argument("--source", metavar="NAME", help="which source, where several have a cursor_field")
    set_.add_argument("given", nargs="?", metavar="VALUE", help="the next run reads from this value on")
    set_.add_argument("--value", metavar="VALUE", help="the same, also for a value that begins with -")
    set_.add_argument("--type", metavar="TYPE", help="SQL type of the value; that of the cursor so far when not given")
    _yes(set_)
    reset = _command(cursor, "ledger", "reset", "forget the cursor; all is read again", function="cursor_reset")
    _ledger(reset)
    reset.add_argument("--source", metavar="NAME", help="only the cursor of this source")
    _yes(reset)

    letters = _group(commands, "dead-letters", "list, show or replay the records that were set aside")
    for name, help in (
        ("list", "list the records that wait to be replayed"),
        ("show", "show records whole, with the reason"),
        ("replay", "run records through the rest of the pipeline again and load them"),
    ):
        parser = _command(letters, "ledger", name, help, function=f"dead_letters_{name}")
        _ledger(parser)
        parser.add_argument("--run", metavar="RUN", help="only those of this run_id")
        parser.add_argument("--id", action="append", default=[], metavar="ID", help="only this one; repeatable")
        parser.add_argument(
            "--all", action="store_true", help="all that wait" if name == "replay" else "also those replayed before"
        )
        parser.add_argument(
            "--limit", type=_positive, default=1000, metavar="N", help="at most so many (default: 1000)"
        )


def _authoring_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    author = _command(commands, "authoring", "author", "make a config from a request in plain words")
    author.add_argument(
        "request", metavar="REQUEST", help="what is wanted, in English or German; - reads it from input"
    )
    author.add_argument(
        "--param", action="append", default=[], type=_param, metavar="KEY=VALUE",
        help="a value that must stand in the config, by key (schedule=@daily) or JSON pointer; repeatable",
    )  # fmt: skip
    author.add_argument(
        "--mode", choices=("ask", "plan", "edit"), default="edit", help="answer, plan or write a config"
    )
    author.add_argument("--name", metavar="NAME", help="file in the configs folder; the dag_id's when not given")
    author.add_argument("--rows", action="store_true", help="sample rows may be shown to the model, masked")
    author.add_argument("--live", action="store_true", help="ask the sources for their columns first")
    author.add_argument("--build", action="store_true", help="let Airflow build the DAG before anything is written")
    _model(author)
    _yes(author)

    refine = _command(commands, "authoring", "refine", "change a config as a request in plain words says")
    _config(refine)
    refine.add_argument(
        "request", metavar="REQUEST", help="what is to change, in English or German; - reads it from input"
    )
    refine.add_argument("--param", action="append", default=[], type=_param, metavar="KEY=VALUE", help="as for author")
    _model(refine)
    _yes(refine)

    explain = _command(
        commands, "authoring", "explain", "say in plain words what a config, finding or failed run means"
    )
    _config(explain, nargs="?")
    explain.add_argument("--finding", metavar="CODE", help="explain this finding's code")
    explain.add_argument("--run", nargs=2, metavar=("DAG_ID", "RUN_ID"), help="explain why this run failed")
    explain.add_argument("--diff", type=Path, metavar="OTHER", help="explain what OTHER changes of CONFIG")
    explain.add_argument("--language", default="English", help="language of a model's wording (default: English)")
    _model(explain)

    chat = _command(commands, "authoring", "chat", "write and change a config in a conversation")
    chat.add_argument("path", nargs="?", type=Path, metavar="CONFIG", help="the config to begin with; a new one else")
    _model(chat)

    models = _command(commands, "authoring", "models", "list the language models that can be used")
    _format(models)

    usage = _command(commands, "authoring", "usage", "show what language models used: calls, tokens, cost")
    usage.add_argument("--actor", metavar="NAME", help="only of this person")
    usage.add_argument("--since", type=_instant, metavar="INSTANT", help="only since then")
    _format(usage)

    mcp = _command(commands, "mcp", "mcp", "serve these functions to other assistants (Model Context Protocol)")
    mcp.add_argument("--allow-write", action="store_true", help="offer the tools that deploy and roll back, too")
    mcp.add_argument(
        "--configs", type=Path, metavar="FOLDER", help="the configs folder; that of the settings if not given"
    )
    mcp.add_argument("--no-model", action="store_true", help="do only what needs no language model of its own")


def _config(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument(
        "path", nargs=nargs, type=Path, metavar="CONFIG", help="a file, or its name in the configs folder"
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="model, or connection/model; the settings' own when not given")
    parser.add_argument("--no-model", action="store_true", help="do only what needs no language model")
    parser.add_argument("--no-cache", action="store_true", help="ask the model anew")
    _format(parser)


def _deploying_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    repair = _command(commands, "deploying", "repair", "repair a config, or the config of a failed run")
    _config(repair, nargs="?")
    repair.add_argument("--run", nargs=2, metavar=("DAG_ID", "RUN_ID"), help="a failed run; its log is read")
    repair.add_argument(
        "--log", type=Path, metavar="FILE", help="the log of the failed run, where Airflow's is elsewhere"
    )
    repair.add_argument(
        "--model", metavar="MODEL", help="model, or connection/model; that of the settings when not given"
    )
    repair.add_argument("--no-model", action="store_true", help="let only the deterministic fixers work")
    repair.add_argument(
        "--turns", type=_positive, default=5, metavar="N", help="calls of the model at most (default: 5)"
    )
    _yes(repair)
    _format(repair)

    deploy = _command(commands, "deploying", "deploy", "check a config and put it into the configs folder")
    deploy.add_argument("path", type=Path, metavar="FILE", help="the config, wherever it lies")
    deploy.add_argument("--name", metavar="NAME", help="its path in the configs folder; the file's own when not given")
    deploy.add_argument("--message", default="", metavar="TEXT", help="why, for the history")
    deploy.add_argument("--base", metavar="DIGEST", help="refuse when the deployed file is not at this revision")
    _yes(deploy)
    _format(deploy)

    rollback = _command(commands, "deploying", "rollback", "write an older revision of a config again")
    _config(rollback)
    rollback.add_argument("revision", nargs="?", metavar="REVISION", help="id or digest; the one before when not given")
    rollback.add_argument("--message", default="", metavar="TEXT", help="why, for the history")
    _yes(rollback)
    _format(rollback)

    history = _command(commands, "deploying", "history", "list the revisions of a config")
    _config(history)
    history.add_argument("--limit", type=_positive, default=100, metavar="N", help="revisions to list (default: 100)")
    _format(history)


def _audit_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    audit = _group(commands, "audit", "show who did what, and verify that no entry was changed or removed")
    listed = _command(audit, "audit", "list", "list the entries, the newest first", function="list_entries")
    listed.add_argument("--actor", metavar="NAME", help="only of this person")
    listed.add_argument("--action", metavar="ACTION", help="only of this kind, such as deploy")
    listed.add_argument("--file", metavar="CONFIG", help="only about this config")
    listed.add_argument("--limit", type=_positive, default=100, metavar="N", help="entries to list (default: 100)")
    _format(listed)
    verify = _command(audit, "audit", "verify", "walk the chain of all entries; exit code 1 where it is broken")
    verify.add_argument("--end", default="", metavar="DIGEST", help="a digest of an earlier verify that must be in it")
    _format(verify)


def _import_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    kinds = _group(commands, "import", "make configs of what other tools describe, and report what they can't say")
    for kind, description in KINDS.items():
        parser = _command(kinds, "importing", kind, description.help, function="import_file")
        parser.set_defaults(kind=kind)
        parser.add_argument("path", type=Path, metavar="FILE", help="the description; it is read, never run")
        parser.add_argument("--to", type=Path, metavar="FOLDER", help="write DAG_ID.json files here; printed otherwise")
        parser.add_argument("--force", action="store_true", help="overwrite files that are there")
        parser.add_argument("--strict", action="store_true", help="gaps count as findings too")
        _format(parser)


def _group(commands: argparse._SubParsersAction, name: str, help: str) -> argparse._SubParsersAction:  # type: ignore[type-arg]
    parser = commands.add_parser(name, help=help, description=help)
    group: argparse._SubParsersAction = parser.add_subparsers(  # type: ignore[type-arg]
        title="commands", required=True, metavar="COMMAND"
    )
    return group


def _ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="CONFIG")
    parser.add_argument("--dag-id", help="which pipeline, where the file describes several")
    parser.add_argument(
        "--destination", type=_positive, metavar="N", help="which destination of the list, from 1; all when not given"
    )
    _format(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _command(
    commands: argparse._SubParsersAction,  # type: ignore[type-arg]
    module: str,
    name: str,
    help: str,
    function: str = "",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(command=_late(module, function or name))
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
        help="data interval: dates or ISO 8601 instants, UTC unless they say otherwise; of a source with a "
        "cursor_field the records of the interval alone are read, and the cursor stays",
    )


def _param(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _run_id(text: str) -> str:
    if not text.strip() or len(text) > MAX_RUN_ID or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a run: 1 to {MAX_RUN_ID} printable characters")
    return text


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
