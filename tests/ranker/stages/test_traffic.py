"""What logged traffic says of a policy that did not serve it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.feedback import Linear, Poison, clicks_of, day, first, serve_day, truth
from contracts.gate import validate_batch
from ranker.engines import Sampling
from ranker.errors import StageMissing
from ranker.lake import Lake, open_lake
from ranker.serving import collect
from ranker.serving.explore import Exploration
from ranker.stages import register, traffic
from ranker.strategies import strategy
from tests.ranker.material import passes
from tests.ranker.traffic import Served, days


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with open_lake(tmp_path_factory.mktemp("traffic")) as lake:
        yield days(lake)


def rankings(served: Served, asked: traffic.Logged, weights: np.ndarray) -> list[tuple[str, ...]]:
    engine = Linear(weights, served.people)
    return traffic.ranked(asked, strategy("direct"), False, engine, Sampling(8))


def test_what_was_logged_is_what_was_shown_and_clicked(served: Served) -> None:
    asked = traffic.logged(served.lake, "synthetic")
    assert len(asked.sets) == 600 and asked.depth == 4 and set(asked.share.ravel()) == {0.4}
    own = rankings(served, asked, first())
    as_served = traffic.policy(asked, own)
    assert (as_served.ranks == np.arange(4)).all(), "ranked again as it was"
    drawn = served.lake.rows("select avg(drawn::integer) from served_orders").item()
    whole = as_served.matches.all(axis=1).mean()
    assert 1 - drawn < whole < 1 - drawn + 0.1 and 0.3 < drawn < 0.5
    found = served.lake.rows(
        "select count(*) from (select distinct set_id, label from feedback_counted where position <= 4)"
    )
    assert asked.clicks.sum() == found.item() > 100
    assert len(traffic.logged(served.lake, "synthetic", 50).sets) == 50
    users = {one.group_id for one in asked.sets}
    assert any(name.startswith("user") for name in users) and len(users) < 600


def test_a_better_policy_s_gain_is_estimated_stored_and_found_again_by_the_rule(served: Served) -> None:
    asked = traffic.logged(served.lake, "synthetic")
    found = traffic.estimated(asked, traffic.policy(asked, rankings(served, asked, truth())), 300, 1)
    gain = clicks_of(served.people, truth()) - clicks_of(served.people, first())
    assert [one.estimator for one in found] == ["SNIPS", "DR"]
    # by twice the half width of the interval: requests have new names, and so draws, in every run
    near = [abs(one.gain.value - gain) < one.gain.upper - one.gain.lower for one in found]
    assert all(near), (gain, found)
    how = ("direct", False)
    traffic.store(served.lake, "m/rl", "synthetic", how, asked, found, validate_batch)
    (kept,) = register.traffic_of(served.lake, "m/rl")
    assert kept.gain == found[1].gain and kept.effective == pytest.approx(found[1].effective)
    assert register.traffic_of(served.lake, "other/rl") == []


def test_without_shuffled_requests_of_a_day_that_passed_nothing_is_estimated(lake: Lake) -> None:
    served = days(lake, 1, each=1, explore=Exploration())
    with pytest.raises(StageMissing, match="shuffled"):
        traffic.logged(lake, "synthetic")
    today = day(20) + timedelta(0)
    serve_day(lake.home, served.people, first(), today, 1, each=1)
    collect.both(lake, check=passes)
    assert lake.rows("select verdict from feedback_days order by day")["verdict"].to_list() == [
        "passed",
        "open",
    ]
    with pytest.raises(StageMissing, match="passed"):
        traffic.logged(lake, "synthetic")


@pytest.mark.parametrize(
    ("poison", "verdict"),
    [
        (Poison(0.1, 100_000), "passed"),
        (Poison(0.5, 1), "one user"),
    ],
)
def test_a_day_that_is_unlike_the_days_before_is_held(lake: Lake, poison: Poison, verdict: str) -> None:
    days(lake, 3, poison=poison)
    found = lake.rows("select verdict from feedback_days order by day")["verdict"].to_list()
    assert found == ["passed", "passed", verdict]
    counted = lake.rows("select sum(shown) from relevance_of_clicks").item()
    assert counted == (3 if verdict == "passed" else 2) * 300 * 4
