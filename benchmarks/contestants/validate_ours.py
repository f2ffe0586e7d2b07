"""Time `dataforge validate PATH` in a process that has imported all it needs: `validate_ours.py PATH`; prints JSON.

A first process finds out which modules that are: it validates once and tells what was imported meanwhile.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from importlib import import_module

LOOK = """
import contextlib, io, json, sys
from dataforge.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(["validate", sys.argv[1]])
print(json.dumps([code, sorted(sys.modules)]))
"""


def main() -> None:
    """Import, validate, tell the seconds of the second."""
    found = subprocess.run([sys.executable, "-c", LOOK, sys.argv[1]], check=True, capture_output=True, text=True)
    code, modules = json.loads(found.stdout)
    for name in modules:
        if name != "__main__":
            with contextlib.suppress(ImportError):  # some names are made up by others: six.moves and the like
                import_module(name)
    from dataforge.cli import main as dataforge

    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        again = dataforge(["validate", sys.argv[1]])
    seconds = time.perf_counter() - began
    if code or again:
        sys.exit(f"validate ended with exit codes {code} and {again}")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
