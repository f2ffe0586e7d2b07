"""Whether a stale bundle of the page is found, also where there is no Node to build it again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from scripts import page

BUNDLE = b"var AirflowPlugin;"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources of a page and a bundle that was built from them, on a machine without Node."""
    folder = tmp_path / "plugins" / "dataforge" / "www"
    for name in ("package-lock.json", "tsconfig.json", "vite.config.ts", "public/icon.svg", "src/main.tsx", page.API):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "dist").mkdir()
    (folder / "dist" / "main.umd.cjs").write_bytes(BUNDLE)
    monkeypatch.setattr(page, "PAGE", folder)
    monkeypatch.setenv("PATH", "")
    written = f"{page.digest_of_sources()}  sources\n{hashlib.sha256(BUNDLE).hexdigest()}  main.umd.cjs\n"
    (folder / "dist" / "sha256.txt").write_text(written, encoding="utf-8")
    return folder


def test_without_node_a_fresh_bundle_passes_and_what_was_not_proved_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.main([]) == 0
    assert "SKIPPED: types and bundle of the page were not made again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("src/main.tsx", "stale"), ("src/new.tsx", "stale"), ("package-lock.json", "stale"),
        ("public/icon.svg", "stale"), (page.API, "docs/openapi.json"), ("dist/main.umd.cjs", "changed by hand"),
    ],
)  # fmt: skip
def test_without_node_a_stale_bundle_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (folder / name).write_text("something else", encoding="utf-8")
    assert page.main([]) == 1
    assert said in capsys.readouterr().err


def test_a_source_that_has_gone_and_a_bundle_that_is_missing_are_found(folder: Path) -> None:
    (folder / "dist" / "main.umd.cjs").unlink()
    assert "main.umd.cjs is missing" in page.stale()
    (folder / "dist" / "main.umd.cjs").write_bytes(BUNDLE)
    assert page.stale() == ""
    (folder / "src" / "main.tsx").unlink()
    assert "stale" in page.stale()


def test_a_build_that_is_asked_for_without_node_is_told_to_be_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.main(["--fix"]) == 0
    assert "SKIPPED: the page was not built" in capsys.readouterr().err
