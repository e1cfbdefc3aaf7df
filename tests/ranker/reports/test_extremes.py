"""The best and worst ranked queries are those of the lake, each ranked once, with the model's own scores."""

from __future__ import annotations

from ranker.lake import Lake
from ranker.reports.extremes import MOST, extremes
from tests.ranker.reports.test_report import likely


def test_the_worst_and_the_best_queries_are_told_with_their_candidates_and_scores(lake: Lake) -> None:
    key, first = likely(lake, {})
    (found,) = extremes(lake, key, "rl", "iterative", False)
    rr = sorted(
        lake.rows("select rr from episodes where arm = 'rl' and strategy = 'iterative'")["rr"].to_list()
    )
    assert [one.rr for one in found.worst] == rr[:MOST]
    assert sorted(one.rr for one in found.best) == rr[-MOST:]
    scored = {round(value, 9) for _, call in first for value in call.log_likelihoods}
    for ranked in (*found.worst, *found.best):
        assert [one.rank for one in ranked.candidates] == [1, 2, 3, 4] and ranked.query
        best = max(one.relevance for one in ranked.candidates)
        at = next(one.rank for one in ranked.candidates if one.relevance == best)
        assert ranked.rr == 1 / at, "what is ranked is how it was ranked"
        assert {round(one.score or 0, 9) for one in ranked.candidates} <= scored
    assert extremes(lake, key, "nobody", "iterative", False) == ()


def test_few_queries_are_told_once(lake: Lake) -> None:
    key, _ = likely(lake, {})
    keep = "select distinct set_id from episodes order by set_id limit 3"
    lake.execute(f"delete from episodes where set_id not in ({keep})")
    (found,) = extremes(lake, key, "rl", "iterative", False)
    assert (len(found.worst), len(found.best)) == (3, 0)
