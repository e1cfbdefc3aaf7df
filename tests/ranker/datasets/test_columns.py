"""Tables by the names of their columns: equal content reads alike, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from ranker.datasets import columns
from ranker.errors import BadSource

KINDS: dict[str, columns.Kind] = {"a": "id", "b": "text", "c": "number"}
WANTED = {"a": "A", "b": "B b", "c": "c"}
ROWS = [("7", "x, y", "1.5"), ("08", "", "2"), ("nine", 'say "hi"', "-3")]


def text(separator: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        quoted = [(a, '"' + b.replace('"', '""') + '"', c) for a, b, c in ROWS]
        lines = [separator.join(row) for row in [("c0", "A", "B b", "c"), *(("-", *row) for row in quoted)]]
        path.write_text("\n".join(lines) + "\n")

    return write


def json_lines(path: Path) -> None:
    rows = [{"A": a, "c": float(c), **({"B b": b} if b else {})} for a, b, c in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def parquet(path: Path) -> None:
    a, b, c = zip(*ROWS, strict=True)
    pl.DataFrame(
        {"A": a, "B b": [x or None for x in b], "c": list(map(float, c)), "d": [[1]] * 3}
    ).write_parquet(path)


FORMS = {
    "t.csv": text(","),
    "semicolons.csv": text(";"),
    "t.tsv": text("\t"),
    "t.jsonl": json_lines,
    "t.parquet": parquet,
}


@pytest.mark.parametrize("name", FORMS)
def test_equal_content_reads_alike_in_every_format(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    found = columns.rows(tmp_path / name, WANTED, KINDS)
    assert found.select("a", "b").rows() == [(a, b) for a, b, _ in ROWS]
    assert found["c"].cast(pl.Float64).to_list() == [1.5, 2.0, -3.0]
    assert found["path"].unique().to_list() == [str(tmp_path / name)]
    assert set(WANTED.values()) <= set(columns.names(tmp_path / name))


@pytest.mark.parametrize("name", FORMS)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    with pytest.raises(BadSource, match="add Nope"):
        columns.rows(tmp_path / name, {"a": "Nope"}, KINDS)


def test_what_a_parquet_column_holds_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame(
        {
            "float": [1.0, None],
            "whole": [1, None],
            "list": [["a", "", "b"], None],
            "day": [date(2024, 5, 31), None],
            "moment": [datetime(2024, 5, 31, 18, 0, tzinfo=UTC), None],
            "struct": [{"x": 1}, None],
        }
    )
    frame.with_columns(pl.col("moment").dt.convert_time_zone("Asia/Tokyo")).write_parquet(path)

    def values(column: str, kind: columns.Kind) -> list[str]:
        return columns.rows(path, {"x": column}, {"x": kind})["x"].to_list()

    assert values("whole", "id") == ["1", ""]
    assert values("list", "text") == ["a b", ""]
    assert values("float", "number") == ["1.0", ""]
    assert values("day", "time") == ["2024-05-31T00:00:00.000000", ""]
    assert values("moment", "time") == ["2024-05-31T18:00:00.000000", ""], "by UTC"
    for column, kind in (("float", "id"), ("struct", "text"), ("list", "number"), ("day", "text")):
        with pytest.raises(BadSource, match=f"column {column} is"):
            values(column, kind)  # type: ignore[arg-type]


def test_a_row_of_another_width_and_a_column_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n1,2,3\n")
    with pytest.raises(BadSource, match="row 4: 3 fields"):
        columns.rows(tmp_path / "t.csv", {"a": "a"}, KINDS)
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    with pytest.raises(BadSource, match="a again"):
        columns.rows(tmp_path / "t.csv", {"a": "a"}, KINDS)
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(BadSource, match="must hold rows"):
        columns.rows(tmp_path / "t.csv", {"a": "a"}, KINDS)
