"""What TREC, BEIR and ir_datasets share: texts, grades, judgements of what is there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.datasets import _judged
from ranker.datasets.bundle import Bundle
from ranker.errors import BadSource


def rows(**columns: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(columns).with_row_index("row", offset=1)


ITEMS = _judged.documents(
    Path("corpus"),
    rows(item_id=["d1", "d2", "d3"], title=["A title", "Only", None], text=["So long", "", None]),
)
QUERIES = _judged.queries(Path("asked"), rows(query_id=["q1", "q2", "q3"], text=["Why?", "How?", " why? "]))


def judged(*given: tuple[str, str, str]) -> pl.DataFrame:
    table = pl.DataFrame(given, schema=["query_id", "item_id", "relevance"], orient="row")
    return _judged.grades(Path("qrels"), table.with_row_index("row", offset=1))


def bundled(location: Path, *given: tuple[str, str, str], **options: str) -> Bundle:
    return _judged.bundle(ITEMS, QUERIES, judged(*given), location, {**_judged.DEFAULTS, **options})


def test_an_id_is_given_once_and_a_query_has_a_text() -> None:
    with pytest.raises(BadSource, match=r"corpus, row 2: d1 again, first in row 1"):
        _judged.documents(Path("corpus"), rows(item_id=["d1", "d1"], title=["", ""], text=["a", "b"]))
    with pytest.raises(BadSource, match=r"must have a text\n.*asked, row 2: no text of q2"):
        _judged.queries(Path("asked"), rows(query_id=["q1", "q2"], text=["a", " \n"]))


def test_grades_are_whole_and_junk_counts_as_not_relevant() -> None:
    assert judged(("q1", "d1", "-2"), ("q1", "d2", "3"))["relevance"].to_list() == [0.0, 3.0]
    for wrong, says in ((("q1", "d1", "0.5"), "row 2: 0.5"), (("q1", "d2", "1"), "row 1: query q1")):
        with pytest.raises(BadSource, match=says):
            judged(("q1", "d2", "3"), wrong)


def test_queries_without_a_relevant_document_are_left_out_and_counted(tmp_path: Path) -> None:
    bundle = bundled(tmp_path, ("q1", "d1", "1"), ("q2", "d1", "0"), ("q3", "d2", "2"))
    assert bundle.queries.rows() == [("q1", "q1", "Why?"), ("q3", "q1", "why?")]
    assert bundle.qrels.rows() == [("q1", "d1", 1.0), ("q3", "d2", 2.0)]
    assert bundle.left_out == {"queries without a relevant document": 1}
    with pytest.raises(BadSource, match="none above 0"):
        bundled(tmp_path, ("q2", "d1", "0"))


@pytest.mark.parametrize(
    ("row", "kind"), [(("q9", "d1", "1"), "queries"), (("q1", "d9", "1"), "documents")], ids=str
)
def test_a_judgement_of_what_is_not_there_is_named_with_the_option_that_leaves_it_out(
    tmp_path: Path, row: tuple[str, str, str], kind: str
) -> None:
    good = (("q1", "d1", "1"), ("q2", "d2", "1"), ("q3", "d3", "1"))
    with pytest.raises(BadSource, match=rf'row 4: .*\n.*option unknown_{kind} = "leave out"'):
        bundled(tmp_path, *good, row)
    bundle = bundled(tmp_path, *good, row, **{f"unknown_{kind}": "leave out"})
    assert bundle.qrels.height == 3
    assert bundle.left_out == {f"judgements of {kind} that are not there": 1}


def test_judgements_of_nothing_at_all_are_refused_even_where_they_may_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="some query must have a relevant document"):
        bundled(tmp_path, ("q1", "d9", "1"), unknown_documents="leave out")
