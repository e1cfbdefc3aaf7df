"""The documentation as a site: it builds, strictly, holds every page, and fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from ranker.config import RetrainParams, presets, task_names
from ranker.refs import PROJECT
from tests.ranker.cli.test_main import COMMANDS

OUTSIDE = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: a dead link or a page out of the menu is an error."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(PROJECT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_every_page_is_there_and_fetches_nothing(site: Path) -> None:
    for page in (PROJECT / "docs").rglob("*.md"):
        assert (site / page.relative_to(PROJECT / "docs").with_suffix(".html")).is_file(), page
    pages = list(site.rglob("*.html"))
    assert not [page.name for page in pages if OUTSIDE.search(page.read_text(encoding="utf-8"))]


def test_the_reference_names_all_that_there_is(site: Path) -> None:
    def text(name: str) -> str:
        return re.sub(r"<[^>]+>", "", (site / "reference" / f"{name}.html").read_text(encoding="utf-8"))

    commands, parameters, relations = text("commands"), text("parameters"), text("tables")
    assert all(f"ranker {command}" in commands for command in COMMANDS)
    assert "ranker lake snapshots" in commands and "--force" in commands
    assert all(name in parameters for name in RetrainParams.model_fields if name != "register_")
    assert "train.likelihood.max_steps" in parameters and "register.looks" in parameters
    assert all(name in text("presets") for name in (*presets(), *task_names()))
    assert all(name in relations for name in ("episodes", "steps", "leaderboard", "promotion_tests"))
    assert "hardest_queries" in text("questions")
