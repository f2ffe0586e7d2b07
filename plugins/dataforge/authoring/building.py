"""The child process that has Airflow build one config's DAGs: `python -m dataforge.authoring.building FILE ROOT`.

The config's text comes on standard input; one line of JSON goes out: {"errors": […]}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Build; return 0 when Airflow takes all of it."""
    from dataforge.config.files import read_text
    from dataforge.dag_factory.builder import check_dag

    file, root = Path(sys.argv[1]), Path(sys.argv[2])
    errors = []
    for loaded in read_text(sys.stdin.read(), path=file, root=root).pipelines:
        try:
            check_dag(loaded.config)
        except Exception as error:  # noqa: BLE001  # whatever Airflow raises is what we are asked for
            errors.append(f"{loaded.config.dag_id}: {type(error).__name__}: {str(error)[:500]}")
    print(json.dumps({"errors": errors}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
