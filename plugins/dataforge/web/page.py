"""The page's bundle, and how Airflow is told of it; light, since processes without a web server read it too."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "www" / "dist"
BUNDLE = "main.umd.cjs"


def apps(prefix: str) -> list[dict[str, Any]]:
    """Return the page as Airflow's navigation and the tabs of its DAGs show it; none where no bundle was built.

    Each has an address of its own: Airflow can't load the same one twice (`app`), nor take a browser's old copy (`v`).
    """
    if not (made := version()):
        return []
    icons = {"icon": f"{prefix}/static/icon.svg", "icon_dark_mode": f"{prefix}/static/icon-dark.svg"}
    shown: list[dict[str, Any]] = [
        {"name": "Pipelines", "url_route": "pipelines", "destination": "nav", "nav_top_level": True},
        {"name": "Pipeline", "url_route": "pipeline", "destination": "dag"},
    ]
    bundle = f"{prefix}/static/{BUNDLE}"
    return [{**one, **icons, "bundle_url": f"{bundle}?app={one['destination']}&v={made}"} for one in shown]


def version() -> str:
    """Return what tells the bundle from every other one; "" when there is none."""
    try:
        found = (FOLDER / BUNDLE).stat()
        return _digest(found.st_mtime_ns, found.st_size)
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _digest(changed: int, size: int) -> str:  # noqa: ARG001 - they say when it has to be read again
    return hashlib.sha256((FOLDER / BUNDLE).read_bytes()).hexdigest()[:16]
