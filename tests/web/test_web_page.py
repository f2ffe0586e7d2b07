"""How the page reaches the browser: what is served to everybody, and what Airflow is told."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.web.conftest import Web

from dataforge.plugin import DataForgePlugin
from dataforge.web import page


def test_the_bundle_that_airflow_is_told_of_is_served_before_anybody_has_signed_in(web: Web) -> None:
    apps = DataForgePlugin().react_apps
    assert {one["destination"]: one["name"] for one in apps} == {"nav": "Pipelines", "dag": "Pipeline"}
    assert len({one["bundle_url"] for one in apps}) == 2  # Airflow can't load the same address twice
    for one in apps:
        answer = web.client.get(one["bundle_url"])
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/javascript")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "AirflowPlugin" in answer.text[:2000]
        for icon in (one["icon"], one["icon_dark_mode"]):
            assert web.client.get(icon).headers["content-type"] == "image/svg+xml"


def test_a_bundle_asked_for_by_another_version_is_not_kept_by_browsers(web: Web) -> None:
    bundle = urlsplit(DataForgePlugin().react_apps[0]["bundle_url"]).path
    for query in ("", "?v=", "?v=0123456789abcdef"):
        assert web.client.get(bundle + query).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["sha256.txt", "..%2fplugin.py", "%2e%2e/%2e%2e/plugin.py", "main.umd.cjs/x", "", "icon.svg%00", "x"]
)
def test_no_other_file_is_served(web: Web, path: str) -> None:
    assert web.client.get(f"/dataforge/static/{path}").status_code == 401
    told = {"Authorization": f"Bearer {web.token('ada', 'USER')}"}
    assert web.client.get(f"/dataforge/static/{path}", headers=told).status_code == 404


def test_airflow_is_told_of_no_page_where_no_bundle_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    assert DataForgePlugin().react_apps == []


def test_another_bundle_has_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    seen = set()
    for text in ("one", "other"):
        (tmp_path / page.BUNDLE).write_text(text, encoding="utf-8")
        seen.add(page.version())
    assert len(seen) == 2
