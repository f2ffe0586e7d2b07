"""The pages of docs/guarantees: every promise names tests, every named test is there, the letters are as computed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataforge.components.registry import DESTINATIONS, SOURCES
from dataforge.config.delivery_page import as_markdown

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "guarantees").glob("*.md"))
PROMISES = [page for page in PAGES if page.stem not in ("README", "letters")]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("page", PROMISES, ids=lambda page: page.stem)
def test_every_promise_names_tests_that_are_there(page: Path) -> None:
    named = _TEST.findall(page.read_text())
    assert named, f"{page.name} names no test"
    for file, name in named:
        path = ROOT / file
        assert path.is_file(), f"{page.name} names {file}, which is not there"
        assert re.search(rf"def {name}\(", path.read_text()), f"{page.name} names {file}::{name}, which is not there"


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "guarantees" / "README.md").read_text()
    assert all(f"({page.name})" in index for page in PAGES if page.stem != "README")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_letters_has_every_source_and_destination() -> None:
    page = as_markdown()
    for registry in (SOURCES, DESTINATIONS):
        own = [component.type for component in registry if component.module.startswith("dataforge.")]
        assert all(f"`{type_}`" in page for type_ in own)
    assert "| E / E / E |" in page
