"""The report: the lake's numbers and no others, chance beside every arm, one file that fetches nothing."""

from __future__ import annotations

import re

import pytest

from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.reports import report
from ranker.reports.report import Estimate, Row
from tests.ranker.evaluated import scored, trained


def row(value: float, lower: float | None, upper: float | None, random: float = 0.4, arm: str = "rl") -> Row:
    return Row("rec", arm, "iterative", True, 100, {"RR": Estimate(value, lower, upper)}, random)


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        (row(0.5, 0.45, 0.55), "above chance"),
        (row(0.5, 0.4, 0.6), "not above chance"),
        (row(0.42, 0.35, 0.5), "not above chance"),
        (row(0.3, 0.25, 0.35), "below chance"),
        (row(0.4, 0.4, 0.4, arm="random"), "chance"),
        (row(0.5, None, None), "no interval"),
    ],
)
def test_an_arm_is_marked_by_its_interval(given: Row, mark: str) -> None:
    assert given.mark == mark


def test_gathered_numbers_are_the_lakes(lake: Lake) -> None:
    scores = scored(lake, "aa01", trained(lake, "aaaa"), against_champion=(0.1, 0.05, 0.15))
    shown = report.gather(lake, scores.key)
    held = {
        (r["arm"], r["metric"]): r["value"]
        for r in lake.rows("select * from evaluations").iter_rows(named=True)
    }
    assert {(r.arm, name): e.value for r in shown.rows for name, e in r.estimates.items()} == held
    assert [r.arm for r in shown.of("synthetic")] == ["rl", "sft", "champion", "random"]
    assert [d.difference for d in shown.gains("rl", "champion")] == [0.1]
    assert [(c.title, c.points) for c in shown.curves] == [
        ("SFT loss", ((5, 2.0), (10, 1.0))),
        ("Mean reward (RL)", ((5, 0.1), (10, 0.4))),
    ]
    assert [run.key for run in shown.lineage] == ["aaaa", "aa01"]


def test_the_page_is_whole_and_fetches_nothing(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    path = report.write(lake, scored(lake, "aa01", model, rr=0.42).key)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", page)
    assert "0.420" in page and "[0.370, 0.470]" in page
    assert "Not above chance" in page
    assert page.count("<svg") == page.count("</svg>") == 5  # MRR, differences, loss, expected reward, reward
    assert "aaaa" in page and "SFT loss" in page
    assert not list(path.parent.glob("*.part"))


def test_names_from_the_data_cannot_break_the_page(lake: Lake) -> None:
    scores = scored(lake, "aa01", trained(lake, "aaaa"))
    lake.execute("update evaluations set task = '<script>alert(1)</script>'")
    assert "<script>" not in report.html(report.gather(lake, scores.key))


def test_a_report_needs_an_evaluation(lake: Lake) -> None:
    with pytest.raises(StageMissing, match="needs an evaluation"):
        report.latest(lake)
    with pytest.raises(StageMissing, match="ffff"):
        report.gather(lake, "ffff")
