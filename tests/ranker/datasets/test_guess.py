"""Which table plays which role, and which column holds what."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ranker.config import Scenario
from ranker.datasets.guess import guess, rating_bounds, time_unit
from ranker.errors import BadConfig, BadSource

WHERE: dict[str, tuple[Scenario, dict[str, str], dict[str, dict[str, str]]]] = {
    "MovieLens": (
        "recommendation",
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
            "movies.csv": "movieId,title,genres\n2,a,b\n",
        },
        {
            "interactions": {
                "user_id": "userId",
                "item_id": "movieId",
                "timestamp": "timestamp",
                "rating": "rating",
            },
            "items": {"item_id": "movieId", "title": "title", "text": "genres"},
        },
    ),
    "Amazon reviews": (
        "recommendation",
        {"r.jsonl": json.dumps({"reviewerID": "A", "asin": "B", "overall": 5, "unixReviewTime": 9})},
        {
            "interactions": {
                "user_id": "reviewerID",
                "item_id": "asin",
                "timestamp": "unixReviewTime",
                "rating": "overall",
            }
        },
    ),
    "a shop": (
        "recommendation",
        {"orders.csv": "Order No;Customer ID;SKU;Product Name;Order Date;Customer Name\n1;2;3;4;5;6\n"},
        {
            "interactions": {
                "user_id": "Customer ID",
                "item_id": "SKU",
                "timestamp": "Order Date",
                "title": "Product Name",
            }
        },
    ),
    "BEIR as tables": (
        "passage",
        {
            "corpus.jsonl": '{"_id": "1", "title": "", "text": "x"}\n',
            "queries.jsonl": '{"_id": "1", "text": "x"}\n',
            "qrels.tsv": "query-id\tcorpus-id\tscore\n1\t1\t1\n",
        },
        {
            "documents": {"document_id": "_id", "title": "title", "text": "text"},
            "queries": {"query_id": "_id", "query": "text"},
            "judgements": {"query_id": "query-id", "document_id": "corpus-id", "relevance": "score"},
        },
    ),
    "pairs": (
        "passage",
        {"p.csv": "question,passage,label\nq,p,1\n"},
        {"pairs": {"query": "question", "text": "passage", "relevance": "label"}},
    ),
    "a text by what it holds": (
        "passage",
        {"p.csv": "question,reply,n\nwhat is it,a long reply of many words,1\n"},
        {"pairs": {"query": "question", "text": "reply"}},
    ),
    "answers": (
        "routing",
        {"a.csv": "prompt,model,score,cost_usd\nq,m,1,2\n", "m.csv": "model,description\nm,x\n"},
        {
            "answers": {"query": "prompt", "llm": "model", "effect": "score", "cost": "cost_usd"},
            "descriptions": {"llm": "model", "text": "description"},
        },
    ),
}


def written(folder: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in files]


@pytest.mark.parametrize("case", WHERE)
def test_tables_as_they_are_found_out_there(tmp_path: Path, case: str) -> None:
    scenario, files, expected = WHERE[case]
    for order in (written(tmp_path, files), written(tmp_path, files)[::-1], [tmp_path]):
        found = guess(scenario, order, {})
        assert {role: dict(columns) for role, columns in found.columns.items()} == expected
        assert not found.missing


def test_what_the_caller_says_goes_before_any_guess(tmp_path: Path) -> None:
    paths = written(tmp_path, {"p.csv": "user,item,who,rating\n1,2,3,4\n"})
    found = guess("recommendation", paths, {"user_id": "who", "interactions.rating": ""})
    assert found.columns["interactions"] == {"user_id": "who", "item_id": "item"}


def test_what_is_not_found_is_named_and_not_guessed(tmp_path: Path) -> None:
    found = guess("recommendation", written(tmp_path, {"p.csv": "a,item\n1,2\n"}), {})
    assert found.missing == ("interactions.user_id",)


def test_splits_and_shards_are_one_table(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "test-0"):
        (tmp_path / "hub" / "data").mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"query": ["q"], "text": [name]}).write_parquet(tmp_path / f"hub/data/{name}.parquet")
    (tmp_path / "hub" / "README.md").write_text("---\n")
    found = guess("passage", [tmp_path / "hub"], {})
    assert found.files["pairs"].name == "t*.parquet" and found.folder == tmp_path / "hub" / "data"


def test_faults_of_files_and_of_what_is_said_are_refused(tmp_path: Path) -> None:
    paths = written(tmp_path, {"p.csv": "user,item\n1,2\n", "q.csv": "a,b\n1,2\n", "r.csv": "c,d\n1,2\n"})
    with pytest.raises(BadSource, match=r"made of so many tables: 1 \(interactions\) or 2(.|\n)*3: q.csv"):
        guess("recommendation", paths, {})
    with pytest.raises(BadConfig, match="names a field of recommendation"):
        guess("recommendation", paths[:1], {"colour": "user"})
    with pytest.raises(BadConfig, match="a column that a file has"):
        guess("recommendation", paths[:1], {"user_id": "nope"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSource, match="a folder must hold tables"):
        guess("recommendation", [tmp_path / "empty"], {})
    other = written(tmp_path / "other", {"i.csv": "item,title\n2,x\n"})
    with pytest.raises(BadSource, match="lie in one folder"):
        guess("recommendation", [paths[0], *other], {})


def test_units_and_ranges_are_read_off_the_values() -> None:
    assert time_unit(pl.Series(["1717113600", "1717178400"])) == "s"
    assert time_unit(pl.Series(["1717113600000"])) == "ms"
    assert time_unit(pl.Series(["2024-05-31", "2024-06-01"])) == "iso"
    assert rating_bounds(pl.Series(["1", "4.5"])) == (0, 5)
    assert rating_bounds(pl.Series(["1", "8"])) == (0, 10)
    assert rating_bounds(pl.Series(["1", "99"])) is rating_bounds(pl.Series(["1", "x"])) is None
    assert rating_bounds(pl.Series(["-1", "1"])) is None
