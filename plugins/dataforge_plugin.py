"""Registers DataForge when this folder is mounted as Airflow's plugins folder.

An installed wheel registers itself by its entry point; where both are present, this file leaves it to the wheel.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution


def _is_installed() -> bool:
    try:
        points = distribution("airflow-dataforge").entry_points
    except PackageNotFoundError:
        return False
    return any(point.group == "airflow.plugins" for point in points)


if not _is_installed():
    from dataforge.plugin import DataForgePlugin as DataForgePlugin
