"""The reader of your own tables; awkward values, files and places: test_awkward.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ranker.config import Scenario, Task
from ranker.datasets import readers, tables
from ranker.errors import BadConfig, BadSource

PLAYS = "user_id,item_id,at\nann,1,{}\nann,2,{}\nbob,1,{}\n"
DAYS = ("2024-05-31", "2024-05-31T18:00:00Z", "2024-05-31 20:30")
PAIRS = (
    "query,text,label\nwhy sway?,they  sway,1\nWhy sway?,they hum,0\nwhy sway?,they hum,0\nhow?,they sway,1\n"
)


def own(
    scenario: Scenario, files: dict[str, str], columns: dict[str, Any] | None = None, **options: Any
) -> Task:
    return Task(
        name="own",
        scenario=scenario,
        reader="tables",
        pool_size=2,
        wording="Rank.",
        options={"files": files, "columns": columns or {}, **options},
    )


def plays(folder: Path, *times: str, **options: Any) -> Task:
    (folder / "p.csv").write_text(PLAYS.format(*times))
    named = {"interactions": {"timestamp": "at"}} if times else {}
    return own("recommendation", {"interactions": "p.csv"}, named, **options)


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("iso", DAYS),
        ("s", ("1717113600", "1717178400.0", "1.7171874e9")),
        ("ms", ("1717113600000", "1717178400000", "1717187400000")),
    ],
)
def test_a_time_is_read_by_its_unit(tmp_path: Path, unit: str, times: tuple[str, ...]) -> None:
    task = plays(tmp_path, *times, time_unit=unit)
    happened = readers.read(task, tmp_path).interactions["happened_at"].to_list()
    assert happened == [datetime(2024, 5, 31, h, m, tzinfo=UTC) for h, m in ((0, 0), (18, 0), (20, 30))]
    assert readers.timed(task)


@pytest.mark.parametrize("said", ["2024-13-01", "31.05.2024", "yesterday", "", "1969-12-31", "2100-01-02"])
def test_no_time_is_refused_with_its_row(tmp_path: Path, said: str) -> None:
    task = plays(tmp_path, DAYS[0], said, DAYS[1], time_unit="iso")
    with pytest.raises(BadSource, match=r"timestamp must be a date(.|\n)*row 3"):
        readers.read(task, tmp_path)


def test_without_times_the_order_of_the_rows_counts(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("user_id,item_id\nann,2\nbob,2\nann,1\n")
    task = own("recommendation", {"interactions": "p.csv"})
    bundle = readers.read(task, tmp_path)
    assert bundle.interactions.sort("happened_at")["item_id"].to_list() == ["2", "2", "1"]
    assert not readers.timed(task)


def test_an_item_is_shown_by_its_own_table_or_by_the_title_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("user_id,item_id,name\nann,1,One\nann,2,\nbob,1,Uno\n")
    beside = own("recommendation", {"interactions": "p.csv"}, {"interactions": {"title": "name"}})
    items = readers.read(beside, tmp_path).items
    assert items.sort("item_id").select("item_id", "title", "text").rows() == [
        ("1", "One", "One"),
        ("2", "2", "2"),
    ]
    (tmp_path / "i.tsv").write_text("item_id\tname\tkind\n1\tOne\tDrama\n2\tTwo\t\n")
    files = {"interactions": "p.csv", "items": "i.tsv"}
    named = own("recommendation", files, {"items": {"title": "name", "text": "kind"}})
    assert readers.read(named, tmp_path).items["text"].to_list() == ["One, Drama", "Two"]


def test_pairs_that_read_alike_are_one_query_and_one_passage(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS.replace("Why sway?,they hum,0\n", ""))
    task = own("passage", {"pairs": "pairs.csv"}, {"pairs": {"relevance": "label"}})
    bundle = readers.read(task, tmp_path)
    texts = dict(bundle.items.select("item_id", "text").iter_rows())
    asked = dict(bundle.queries.select("query_id", "text").iter_rows())
    assert sorted((asked[q], texts[i], grade) for q, i, grade in bundle.qrels.iter_rows()) == [
        ("how?", "they sway", 1.0),
        ("why sway?", "they hum", 0.0),
        ("why sway?", "they sway", 1.0),
    ]
    twice = own("passage", {"pairs": "pairs.csv"}, {"pairs": {"relevance": "label", "query_id": "label"}})
    with pytest.raises(BadSource, match=r"one query_id must have one query(.|\n)*row 4"):
        readers.read(twice, tmp_path)


def test_shards_are_one_table_and_a_fault_names_its_own_file(tmp_path: Path) -> None:
    answers = pl.DataFrame(
        {"query": ["a", "a", "b", "b"], "llm": ["x", "y"] * 2, "effect": [1.0, 0.0, 0.5, 2.0]}
    )
    answers.head(2).write_parquet(tmp_path / "train-0.parquet")
    answers.tail(2).with_columns(pl.lit(1.0).alias("effect")).write_parquet(tmp_path / "train-1.parquet")
    task = own("routing", {"answers": "train-*.parquet"})
    assert readers.read(task, tmp_path).qrels["relevance"].to_list() == [10, 0, 10, 10]
    answers.tail(2).write_parquet(tmp_path / "train-1.parquet")
    with pytest.raises(
        BadSource, match=r"effect must be a number from 0 to 1\n.*train-1\.parquet, row 2: 2\.0"
    ):
        readers.read(task, tmp_path)


def test_all_that_is_wrong_is_found_at_once_and_the_first_rows_named(tmp_path: Path) -> None:
    rows = [("u", "1", "2024-05-31"), *((" ", str(i), "2024-05-31") for i in range(12)), ("v", "9", "soon")]
    (tmp_path / "p.csv").write_text("user_id,item_id,at\n" + "".join(",".join(row) + "\n" for row in rows))
    task = own(
        "recommendation", {"interactions": "p.csv"}, {"interactions": {"timestamp": "at"}}, time_unit="iso"
    )
    said = [str(error) for error in tables.problems(task, tmp_path)]
    assert [re.findall(r"row \d+: .*", one)[0] for one in said] == [
        "row 3: an empty field (and 11 more rows: 4, 5, 6, 7, 8, 9, 10, 11, 12, …)",
        "row 15: soon",
    ]
    (tmp_path / "p.csv").write_text("user_id,item_id,at\nu,1,2024-05-31\n")
    assert tables.problems(task, tmp_path) == []


WRONG = {
    "no role": (
        {"films": "p.csv"},
        {},
        {},
        "files names a file for each of interactions or interactions and items",
    ),
    "half": ({"items": "p.csv"}, {}, {}, "files names a file for each"),
    "no field": (
        {"interactions": "p.csv"},
        {"interactions": {"colour": "a"}},
        {},
        "columns.interactions says",
    ),
    "no column": (
        {"interactions": "p.csv"},
        {"interactions": {"user_id": 1}},
        {},
        "columns.interactions says",
    ),
    "other file": ({"interactions": "p.csv"}, {"items": {"title": "a"}}, {}, "columns are those of a file"),
    "no unit": (
        {"interactions": "p.csv"},
        {"interactions": {"timestamp": "at"}},
        {"time_unit": "h"},
        "time_unit is",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_say_nothing_are_refused(tmp_path: Path, case: str) -> None:
    files, columns, options, rule = WRONG[case]
    (tmp_path / "p.csv").write_text(PLAYS.format(*DAYS))
    with pytest.raises(BadConfig, match=rule):
        readers.read(own("recommendation", files, columns, **options), tmp_path)


def test_a_scenario_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="the reader tables reads recommendation, passage, routing"):
        readers.read(own("synthetic", {"interactions": "p.csv"}), tmp_path)
