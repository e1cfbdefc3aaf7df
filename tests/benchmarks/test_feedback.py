"""The loop from served requests back to training, small; and a retraining on poisoned clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.feedback import (
    TESTED,
    Poison,
    clicks_of,
    day,
    first,
    loop,
    population,
    serve_day,
    trained,
    truth,
    values,
)
from contracts.gate import validate_batch
from ranker.config import RegisterParams
from ranker.lake import Lake
from ranker.serving import collect
from ranker.stages.promotion import Decision, Result, decide, gains
from tests.ranker.material import passes

TASK = "labelled"


def judged(policy: np.ndarray, champion: np.ndarray) -> Decision:
    """The promotion rule on labelled queries that no click has touched."""
    tested = population("t", TESTED, 2)
    own, other = (values(tested, weights, "rr") for weights in (policy, champion))
    (found,) = gains({TASK: (own - other)[:, None]}, {TASK: [str(n) for n in range(TESTED)]}, flips=4_999)
    result = Result(
        TASK,
        TESTED,
        TESTED,
        float(own.mean()),
        0.0,
        1.0,
        1.0,
        paired=TESTED,
        champion_calls=1.0,
        champion_tokens=1.0,
    )
    return decide([result], found, RegisterParams(looks=1), "1")


def test_one_round_raises_ndcg_and_is_promoted(tmp_path: Path) -> None:
    """Serve, feedback, collect by the real contracts, learn from the view."""
    start, retrained = loop(tmp_path, "relevance", rounds=1, queries=40, each=10)
    tested = population("t", TESTED, 2)
    gain = values(tested, retrained) - values(tested, start)
    assert gain.mean() > 0.1
    assert judged(retrained, start).promote
    assert clicks_of(tested, truth()) > clicks_of(tested, retrained) > clicks_of(tested, start)


def test_a_retraining_on_poisoned_clicks_is_refused_promotion(lake: Lake) -> None:
    """Bots with a name each, who click as often as users do: their days pass, the labelled queries tell."""
    people = population("q", 40, 1)
    for number in range(3):
        poison = Poison(0.7, 100_000)
        serve_day(lake.home, people, truth(), day(number), number, each=10, poison=poison)
    collect.both(lake, check=passes)
    assert set(lake.rows("select verdict from feedback_days")["verdict"]) == {"passed"}
    poisoned = trained(lake, people, "relevance")
    decision = judged(poisoned, truth())
    assert not decision.promote and "is not excluded" in decision.verdict, decision.verdict


@pytest.mark.parametrize("column", ["click_rate", "relevance"])
def test_a_policy_learns_of_what_it_is_shown(lake: Lake, column: str) -> None:
    people = population("q", 40, 1)
    serve_day(lake.home, people, first(), day(0), 1, each=20)
    collect.both(lake, check=validate_batch)
    weights = trained(lake, people, column)
    cosine = weights @ truth() / np.linalg.norm(weights)
    assert cosine > (0.9 if column == "relevance" else 0.6)
