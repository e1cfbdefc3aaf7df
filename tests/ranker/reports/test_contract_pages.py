"""Data Docs: every batch and every expectation on pages that fetch nothing."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from ranker.errors import ContractViolated, StageMissing
from ranker.lake import Lake
from ranker.refs import Staged, Verdict
from ranker.reports import contract_pages

GOOD = [
    Verdict("qrels", "is fine", True, "9", 0),
    Verdict("qrels", "is as long as before", False, "1", 1, "warning", '[{"task": "t"}]'),
]
BAD = [
    Verdict("qrels", "is <short>", False, "2", 2, samples='[{"item_id": "<b>i1</b>", "n": 3}, "plain"]'),
    Verdict("qrels", "is odd", None),
]


class Page(HTMLParser):
    """What a page refers to, and the elements that could fetch or run something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [
            value or ""
            for name, value in attrs
            if name in ("href", "src", "srcset", "action", "data", "poster")
        ]


def write(lake: Lake, key: str, check) -> None:
    frame = pl.DataFrame({"task": ["t"], "query_id": ["q"], "item_id": ["i"], "relevance": [1.0]})
    lake.write(
        "ingest",
        key,
        {"qrels": frame},
        inputs=[],
        parameters="{}",
        code="c",
        read_snapshot=1,
        details={},
        check=check,
    )


def refuse(staged: Staged) -> list[Verdict]:
    raise ContractViolated("a", seen="b", remedy="c", verdicts=BAD)


@pytest.fixture
def judged(lake: Lake) -> Lake:
    """An accepted and a refused batch."""
    write(lake, "k1", lambda staged: GOOD)
    with pytest.raises(ContractViolated):
        write(lake, "k2", refuse)
    return lake


def test_a_page_a_batch_with_every_expectation_and_its_rows(judged: Lake, tmp_path: Path) -> None:
    index = contract_pages.write(judged, tmp_path / "docs").read_text(encoding="utf-8")
    assert 'href="ingest-k1.html"' in index and 'href="ingest-k2-refused.html"' in index
    good = (tmp_path / "docs" / "ingest-k1.html").read_text(encoding="utf-8")
    assert "is fine" in good and 'class="verdict warning"' in good and "accepted" in good
    bad = (tmp_path / "docs" / "ingest-k2-refused.html").read_text(encoding="utf-8")
    assert "is &lt;short&gt;" in bad and "&lt;b&gt;i1&lt;/b&gt;" in bad and "plain" in bad, (
        "what comes from data is escaped"
    )
    assert (
        "not evaluated" in bad
        and "quarantine.qrels__k2" in bad
        and "<th>item_id</th><th>n</th><th>value</th>" in bad
    )


def test_pages_fetch_nothing(judged: Lake, tmp_path: Path) -> None:
    folder = contract_pages.write(judged, tmp_path / "docs").parent
    pages = sorted(folder.iterdir())
    assert len(pages) == 3
    for path in pages:
        html = path.read_text(encoding="utf-8")
        page = Page(html)
        assert all((folder / reference).is_file() for reference in page.references), "only its own neighbours"
        assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
        assert (
            "://" not in html
            and "@import" not in html
            and "url(" not in html
            and "prefers-color-scheme: dark" in html
        )


def test_only_new_leaves_what_is_there(judged: Lake, tmp_path: Path) -> None:
    folder = contract_pages.write(judged, tmp_path / "docs").parent
    page = folder / "ingest-k1.html"
    page.write_text("as it was", encoding="utf-8")
    contract_pages.write(judged, folder, only_new=True)
    assert page.read_text(encoding="utf-8") == "as it was"
    os.utime(page, (0, 0))
    contract_pages.write(judged, folder, only_new=True)
    assert "is fine" in page.read_text(encoding="utf-8")


def test_nothing_judged_is_said(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="judged batch"):
        contract_pages.write(lake, tmp_path)
