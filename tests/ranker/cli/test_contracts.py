"""`ranker contracts`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.lake import Lake
from ranker.refs import Verdict
from tests.ranker.cli.commands import document, ranker


def test_the_command_writes_pages_and_says_where(lake: Lake, tmp_path: Path) -> None:
    frame = pl.DataFrame({"task": ["t"], "query_id": ["q"], "item_id": ["i"], "relevance": [1.0]})
    lake.write(
        "ingest",
        "k1",
        {"qrels": frame},
        inputs=[],
        parameters="{}",
        code="c",
        read_snapshot=1,
        details={},
        check=lambda staged: [Verdict("qrels", "is fine", True, "9", 0)],
    )
    shown = ranker("contracts", "docs", "--home", str(lake.home), "--out", str(tmp_path / "out"))
    assert shown.exit_code == 0 and shown.stdout.strip() == str(tmp_path / "out" / "index.html")
    assert (tmp_path / "out" / "ingest-k1.html").is_file()
    made = document("contracts", "docs", "--home", str(lake.home))
    assert Path(made["index"]).is_file()
