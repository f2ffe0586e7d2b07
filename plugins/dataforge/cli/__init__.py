"""The command line `dataforge`. Exit codes: 0 fine, 1 findings, 2 usage, 3 the run failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataforge.cli.arguments import build_parser
from dataforge.errors import ConfigError, DataForgeError, NothingToLoad

FINE, FINDINGS, USAGE, FAILED = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Users see messages, never a stack trace."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error[{problem.code}] {problem}", file=sys.stderr)
        return FINDINGS
    except NothingToLoad as nothing:
        print(f"nothing loaded: {nothing}", file=sys.stderr)
        return FINE
    except DataForgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; nothing further was written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return FINE
    return code


if __name__ == "__main__":
    sys.exit(main())
