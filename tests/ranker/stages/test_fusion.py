"""Weights find what each score knows; a fusion is no worse than its parts where it was learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.policy.prompts import Style
from ranker.progress import Progress
from ranker.stages import fusion
from ranker.stages.first_stages import SCORES
from ranker.types import CandidateSet
from tests.ranker.factories import make_set


def pools(n: int, policy: float, first: float, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The relevant candidate of five is drawn by what both scores say together."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(0, 1, (5, 2)) for _ in range(n)]
    hits = []
    for one in features:
        p = np.exp(one @ [policy, first])
        hits.append(np.arange(5) == rng.choice(5, p=p / p.sum()))
    return features, hits


@pytest.mark.parametrize("weights", [(2.0, 1.0), (0.0, 1.5), (1.5, 0.0)])
def test_the_weights_that_drew_the_data_are_found(weights: tuple[float, float]) -> None:
    assert fusion.fit(*pools(4_000, *weights)) == pytest.approx(weights, abs=0.15)


def test_what_chose_the_negatives_is_not_counted_against_a_candidate() -> None:
    policy, first = fusion.fit(*pools(2_000, 1.0, -1.5))
    assert first == 0
    assert policy > 0.5


def test_pools_of_equals_leave_the_policy_alone() -> None:
    features, _ = pools(5, 1, 1)
    assert fusion.fit(features, [np.ones(5, bool)] * 5).tolist() == [1.0, 0.0]


class Blind:
    """A likelihood policy that finds all candidates alike."""

    name, context = "blind", 1_000

    def __init__(self) -> None:
        self.style: Style = "likelihood"
        self.temperatures: dict[str, float] = {}

    def count(self, text: str) -> int:
        return len(text.split())

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        return [[LogLikelihood(-1.0, 1)] for _ in branches]


def drawn(prefix: str, n: int) -> list[CandidateSet]:
    rng = np.random.default_rng(7)
    return [make_set(rng.permutation([1, 0, 0, 0]).tolist(), set_id=f"{prefix}{i}") for i in range(n)]


def test_what_only_a_first_stage_knows_decides() -> None:
    valid, test = drawn("v", 40), drawn("t", 20)
    rng = np.random.default_rng(3)
    rows = [
        (given.set_id, c.label, "teacher", 3 * c.relevance + float(rng.normal(0, 1)))
        for given in (*valid, *test)
        for c in given.candidates
    ]
    first = pl.DataFrame(rows, schema=SCORES, orient="row")
    scored, weights = fusion.fused(valid, test, first, Blind(), lambda text: None)
    assert set(weights["synthetic"]) == {"policy", "prior", "teacher"}
    assert weights["synthetic"]["teacher"] > 1
    assert scored.schema == pl.Schema(SCORES)
    assert scored.height == 80
    assert set(scored["teacher"]) == {"fusion"}
    best = scored.sort("score").group_by("set_id").last()
    by_teacher = first.sort("score").group_by("set_id").last()
    same = best.join(by_teacher, on=["set_id", "label"])
    assert same.height == 20, "nothing else tells candidates apart"


def test_it_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Progress] = []
    monkeypatch.setattr(fusion, "Progress", lambda *how: begun.append(Progress(*how)) or begun[-1])
    empty = pl.DataFrame(schema=SCORES)
    fusion.fused(drawn("v", 70), drawn("t", 20), empty, Blind(), lambda text: None)
    assert [(one.what, one.count, one.total) for one in begun] == [("synthetic fusion, queries", 90, 90)]


def test_a_first_stage_that_lacks_a_pool_is_left_out() -> None:
    valid, test = drawn("v", 10), drawn("t", 5)
    rows = [(given.set_id, c.label, "dense", c.relevance) for given in valid for c in given.candidates]
    _, weights = fusion.fused(
        valid, test, pl.DataFrame(rows, schema=SCORES, orient="row"), Blind(), lambda text: None
    )
    assert set(weights["synthetic"]) == {"policy", "prior"}
