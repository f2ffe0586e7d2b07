"""The configs folder of a test, below its own Airflow home."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataforge.settings import get_settings


@pytest.fixture
def configs(home: Path) -> Path:
    """An empty configs folder, which sources read from."""
    folder = home / "configs"
    folder.mkdir(parents=True)
    get_settings.cache_clear()
    return folder
