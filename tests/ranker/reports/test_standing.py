"""How a champion stands, of evaluations written by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ranker.config import EvaluateParams
from ranker.lake import Lake
from ranker.metrics.significance import Interval
from ranker.refs import Ref
from ranker.reports.standing import Standing, sentence, standings
from tests.ranker.evaluated import scored, trained

PARAMS = EvaluateParams(bootstrap=100)


def evaluated(lake: Lake, key: str, model: Ref, rr: float, first: int = 0) -> Standing:
    """The model `aaaa` is champion and gets `rr`, whatever it is compared with."""
    scored(lake, key, model, rr=rr, against_champion=(0.0, 0.0, 0.0), champion="aaaa", first=first)
    lake.execute("update evaluations set model = 'aaaa/rl' where arm in ('champion', 'rl')")
    lake.execute("update comparisons set arm = 'champion' where arm = 'rl' and against = 'random'")
    (found,) = standings(lake, key, PARAMS, "random")
    return found


def test_it_is_compared_with_its_own_evaluation_before(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    first = evaluated(lake, "aa01", model, 0.6)
    assert first.before is first.change is None and "for the first time" in str(first)
    assert first.above_floor is not None and first.above_floor.value == pytest.approx(0.2)
    worse = evaluated(lake, "aa02", model, 0.5)
    assert worse.before is not None and (worse.before.value, worse.now.value) == (0.6, 0.5)
    assert worse.change is not None and worse.change.value == pytest.approx(-0.1)
    assert "worse than on" in str(worse) and "on 100 queries of both" in str(worse)
    half = evaluated(lake, "aa03", model, 0.7, first=50)
    assert half.change is not None and half.change.queries == 50, "paired on the queries of both"
    assert half.change.value == pytest.approx(0.2) and "better than on" in str(half)
    other = evaluated(lake, "aa04", model, 0.6, first=500)
    assert other.change is None and "0.700 [0.650, 0.750] on" in str(other) and "other queries" in str(other)
    (again,) = standings(lake, "aa02", PARAMS, "random")
    assert again == worse, "what came later is no evaluation before"


def test_another_way_of_ranking_and_another_model_are_not_compared(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    evaluated(lake, "aa01", model, 0.6)
    lake.execute("update evaluations set strategy = 'direct'")
    assert evaluated(lake, "aa02", model, 0.6).before is None


def test_a_floor_that_is_no_row_is_said(lake: Lake) -> None:
    evaluated(lake, "aa01", trained(lake, "aaaa"), 0.6)
    (found,) = standings(lake, "aa01", PARAMS, "teacher")
    assert found.above_floor is None and "no row 'teacher'" in str(found)


def test_the_sentence_has_every_task() -> None:
    now, change = Interval(0.6, 0.55, 0.65, 48), Interval(0.004, -0.01, 0.018, 40)
    day = datetime(2026, 11, 22, tzinfo=UTC)
    found = [
        Standing("synthetic", now, "random", Interval(0.1, -0.01, 0.2, 48), now, day, change),
        Standing("rec-movie", now, "random", Interval(0.1, 0.05, 0.15, 48)),
    ]
    assert sentence("3", found) == (
        "champion version 3: synthetic MRR 0.600 [0.550, 0.650], no clear change since 2026-11-22 (+0.004"
        " [-0.010, +0.018] on 40 queries of both), not clear of random (+0.100 [-0.010, +0.200]); rec-movie"
        " MRR 0.600 [0.550, 0.650], evaluated for the first time, clear of random (+0.100 [+0.050, +0.150])"
    )
