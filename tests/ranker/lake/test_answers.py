"""What a typed statement gives: any types, names that stand there twice, and no more than memory holds."""

from __future__ import annotations

import pytest

from ranker.errors import BadQuery
from ranker.lake import Lake, answers, open_lake


def test_columns_of_one_name_and_odd_types_are_answered(lake: Lake) -> None:
    assert lake.query("select 1 as a, 2 as a, 3 as a_1").columns == ["a", "a_1", "a_1_1"]
    shown = lake.query(
        "select [1, 2] as l, {'x': 'y'} as s, 1::hugeint as h, 'b'::blob as b, null as n, map {'k': 1} as m,"
        " uuid() as u"
    )
    assert shown["l"].to_list() == [[1, 2]] and shown["s"].to_list() == [{"x": "y"}]
    assert lake.query("select interval 3 days as i, 2 as i").row(0) == ("3 days", 2)


def test_an_answer_that_does_not_fit_is_cut_off(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "QUERY_MEBIBYTES", 4)
    with pytest.raises(BadQuery, match="more than 4 MiB"):
        lake.query("from range(1000000000000)")
    assert lake.query("select 1 as n")["n"].item() == 1


def test_memory_is_limited_and_what_is_sorted_goes_to_disk(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "QUERY_MEBIBYTES", 32)
    with open_lake(lake.home, confined=True) as small:
        assert (
            small.rows("select value from duckdb_settings() where name = 'memory_limit'")
            .item()
            .startswith("32.0")
        )
        found = small.query(
            "select max(i) as most from (select range as i, row_number() over (order by hash(range)) from"
            " range(2000000))"
        )
        assert found["most"].item() == 1_999_999
