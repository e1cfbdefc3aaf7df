"""What TREC and BEIR share: texts, grades, judgements of what is there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.datasets import _judged
from ranker.errors import BadSource

ITEMS = _judged.documents(
    pl.DataFrame(
        {"item_id": ["d1", "d2", "d3"], "title": [" A\n title", "Only", None], "text": ["So  long", "", None]}
    )
)
QUERIES = pl.DataFrame({"query_id": ["q1", "q2", "q3"], "text": ["Why?", "How?", " why? "]})


def judged(*rows: tuple[str, str, str]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["query_id", "item_id", "relevance"], orient="row")
    return _judged.grades(Path("qrels"), table.with_row_index("row", offset=1))


def test_what_a_document_lacks_is_filled_from_what_it_has() -> None:
    assert ITEMS.select("title", "text").rows() == [("A title", "So long"), ("Only", "Only"), ("d3", "d3")]


def test_grades_are_whole_and_junk_counts_as_not_relevant() -> None:
    assert judged(("q1", "d1", "-2"), ("q1", "d2", "3"))["relevance"].to_list() == [0.0, 3.0]
    for wrong, says in ((("q1", "d1", "0.5"), "row 2: 0.5"), (("q1", "d2", "1"), "row 1: query q1")):
        with pytest.raises(BadSource, match=says):
            judged(("q1", "d2", "3"), wrong)


def test_queries_without_a_relevant_document_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = judged(("q1", "d1", "1"), ("q2", "d1", "0"), ("q3", "d2", "2"))
    bundle = _judged.bundle(ITEMS, QUERIES, rows, tmp_path)
    assert bundle.queries.rows() == [("q1", "q1", "Why?"), ("q3", "q1", "why?")]
    assert bundle.qrels.rows() == [("q1", "d1", 1.0), ("q3", "d2", 2.0)]
    assert bundle.left_out == {"queries without a relevant document": 1}
    with pytest.raises(BadSource, match="none above 0"):
        _judged.bundle(ITEMS, QUERIES, judged(("q2", "d1", "0")), tmp_path)


@pytest.mark.parametrize(
    ("row", "says"),
    [(("q9", "d1", "1"), "judged query.*\n.*row 1: q9"), (("q1", "d9", "1"), "judged document")],
)
def test_a_judgement_of_what_is_not_there_is_named(
    tmp_path: Path, row: tuple[str, str, str], says: str
) -> None:
    with pytest.raises(BadSource, match=says):
        _judged.bundle(ITEMS, QUERIES, judged(row), tmp_path)
