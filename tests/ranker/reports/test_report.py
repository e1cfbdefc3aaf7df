"""The report: the lake's numbers and no others, chance beside every arm, one file that fetches nothing."""

from __future__ import annotations

import math
import re

import pytest

from ranker.config import CandidateParams
from ranker.engines import Sampling, load
from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.calibration import probability, reliability
from ranker.reports import report
from ranker.reports.report import Estimate, Row
from ranker.stages import candidates
from ranker.strategies import strategy
from ranker.strategies.call import Call
from ranker.strategies.episodes import Origin, judged, together
from tests.ranker.evaluated import commit, registered, scored, trained
from tests.ranker.material import passes, read_in, tiny_lm


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
    assert [run.key for run in shown.lineage] == ["aaaa", "sets0", "aa01"]
    best = {arm: mrr for _, arm, mrr, _ in report.over_time(lake, scores.key)}
    assert best == {arm: max(v for (a, m), v in held.items() if (a, m) == (arm, "RR")) for arm, _ in held}


def test_the_page_is_whole_and_fetches_nothing(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    path = report.write(lake, scored(lake, "aa01", model, rr=0.42).key)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", page)
    assert "0.420" in page and "[0.370, 0.470]" in page
    assert "Not above chance" in page
    assert page.count("<svg") == page.count("</svg>") == 4  # MRR, differences, loss, reward
    assert "aaaa" in page and "SFT loss" in page
    assert not list(path.parent.glob("*.part"))


def test_what_had_to_be_cut_stands_in_the_report(lake: Lake) -> None:
    counts = {"prompts": 180, "shortened": 25, "left_out": 20}
    details = {"model": "models/aaaa", "sft": {"steps": 5, "fitted": {"passage-9": counts}}, "rl": {}}
    model = commit(lake, "train", "aaaa", {}, details=details)
    scores = scored(lake, "aa01", model)
    page = report.html(report.gather(lake, scores.key))
    assert "<td>180</td><td>25</td><td>20</td><td>22.5%</td>" in page and "passage-9" in page
    assert ">evaluation<" not in page, "rows from before the column say nothing"
    lake.execute("update episodes set shortened_calls = if(set_id = 's7', 2, 0)")
    page = report.html(report.gather(lake, scores.key))
    assert ">evaluation</td>" in page and "<td>10,000</td><td>2</td><td>0</td><td>0.0%</td>" in page


def test_a_verdict_stands_with_its_tests(lake: Lake) -> None:
    key = scored(lake, "aa01", trained(lake, "aaaa")).key
    assert report.gather(lake, key).tests == ()
    registered(lake, "r1", key, range(100))
    registered(lake, "r2", key, range(100), p=None)
    shown = report.gather(lake, key)
    assert [(t.corrected, t.interval, t.sees) for t in shown.tests] == [
        ("", "+0.010 [-0.010, +0.030]", "0.061")
    ]
    page = report.html(shown)
    assert "not promoted: v" in page and "+0.010 [-0.010, +0.030]" in page and "100 of 100" in page


def test_names_from_the_data_cannot_break_the_page(lake: Lake) -> None:
    scores = scored(lake, "aa01", trained(lake, "aaaa"))
    lake.execute("update evaluations set task = '<script>alert(1)</script>'")
    assert "<script>" not in report.html(report.gather(lake, scores.key))


def test_a_report_needs_an_evaluation(lake: Lake) -> None:
    with pytest.raises(StageMissing, match="needs an evaluation"):
        report.latest(lake)
    with pytest.raises(StageMissing, match="ffff"):
        report.gather(lake, "ffff")


def likely(lake: Lake, details: dict) -> tuple[str, list[tuple[dict[str, float], Call]]]:
    """An evaluation of a likelihood policy on the synthetic test queries, and its first calls."""
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    test = load_sets(lake, sets.key, split="test", limit=20)
    engine = load(tiny_lm(lake.home / "models" / "aaaa" / "rl"), batch=20)
    model = commit(lake, "train", "aaaa", {}, details=details)
    by_id = {given.set_id: given for given in test}
    parts = []
    for name in ("iterative", "direct"):
        ranked = strategy(name)(test, engine, thinking=False, sampling=Sampling(8))
        parts += [judged(ranked, by_id, Origin("evaluate", f"aaaa/{arm}", arm, 0)) for arm in ("sft", "rl")]
    key = commit(lake, "evaluate", "aa01", together(parts), inputs=(model.key, sets.key)).key
    return key, [(given.relevance, episode.steps[0]) for given, episode in zip(test, ranked, strict=True)]


@pytest.mark.parametrize("calibration", [None, (1.5, 9.0)])
def test_the_policy_s_probabilities_stand_beside_what_was_relevant(
    lake: Lake, calibration: tuple[float, float] | None
) -> None:
    own = {"temperature": 0.25} | ({"calibration": calibration} if calibration else {})
    key, first = likely(lake, {"likelihood": {"rl": {"synthetic": own}, "sft": {}}})
    shown = report.gather(lake, key)
    (found,) = shown.reliability
    assert found.task == "synthetic" and found.calibrated == bool(calibration)
    assert found.candidates == sum(len(relevance) for relevance, _ in first) == 80, "each candidate once"
    grades = [grade for relevance, _ in first for grade in relevance.values()]
    listed = [
        probability(score, calibration) if calibration else math.exp(share)
        for _, call in first
        for score, share in zip(call.log_likelihoods, call.scores, strict=True)
    ]
    expected = reliability(listed, [grade > max(grades) / 2 for grade in grades])
    assert [count for _, _, count in found.curve] == [count for _, _, count in expected]
    assert [x for p, share, _ in found.curve for x in (p, share)] == pytest.approx(
        [x for p, share, _ in expected for x in (p, share)]
    )
    assert found.error == pytest.approx(
        sum(abs(p - share) * count for p, share, count in expected) / found.candidates
    )
    page = report.html(shown)
    assert f"expected calibration error {found.error:.3f}" in page and page.count("<svg") == 1
    assert ("as calibrated on validation" in page) == bool(calibration)


def test_a_policy_that_writes_its_answers_has_no_reliability(lake: Lake) -> None:
    shown = report.gather(lake, scored(lake, "aa01", trained(lake, "aaaa")).key)
    assert shown.reliability == () and "calibration error" not in report.html(shown)
