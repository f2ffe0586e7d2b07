"""The command line `dataforge`. Exit codes: 0 fine, 1 findings, 2 usage, 3 the run failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataforge.authoring.unfinished import mend
from dataforge.cli.arguments import build_parser
from dataforge.cli.loading import InvalidConfig
from dataforge.cli.output import logs, print_json
from dataforge.cli.usage import UsageError
from dataforge.errors import CheckFailed, ConfigError, DataForgeError, NothingToLoad

FINE, FINDINGS, USAGE, FAILED = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Users see messages, never a stack trace."""
    arguments = build_parser().parse_args(argv)
    as_json = getattr(arguments, "format", "") == "json"
    mend()
    try:
        with logs():
            code: int = arguments.command(arguments)
    except DataForgeError as error:
        code = _tell(error)
        if as_json:
            _print_failure(error, code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return FINE if isinstance(error, BrokenPipeError) else FAILED
    except KeyboardInterrupt:
        print("interrupted; nothing further was written", file=sys.stderr)
        return 130
    return code


def _tell(error: DataForgeError) -> int:
    """Print what went wrong; return the exit code that says so."""
    if isinstance(error, ConfigError):
        for problem in () if isinstance(error, InvalidConfig) else error.problems:
            print(f"error[{problem.code}] {problem}", file=sys.stderr)
        return FINDINGS
    if isinstance(error, NothingToLoad):
        print(f"nothing loaded: {error}", file=sys.stderr)
        return FINE
    print(f"error: {error}", file=sys.stderr)
    return USAGE if isinstance(error, UsageError) else FAILED


def _print_failure(error: DataForgeError, code: int) -> None:
    """Print the one JSON object that machines get when a command has no result."""
    status = {FINE: "nothing-loaded", FINDINGS: "findings", USAGE: "usage"}.get(code, "failed")
    report: dict[str, object] = {"status": status, "error": str(error)}
    if isinstance(error, ConfigError):
        report["findings"] = [vars(problem) for problem in error.problems]
    if isinstance(error, CheckFailed):
        report["checks"] = [vars(failure) for failure in error.failures]
    print_json(report)


if __name__ == "__main__":
    sys.exit(main())
