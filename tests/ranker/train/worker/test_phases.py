"""The phases of training: what a reward sees."""

from __future__ import annotations

import pytest

from tests.ranker.train.jobs import tiny


@pytest.mark.parametrize(("kind", "follows"), [("ranking", True), ("blind", False)])
def test_the_blind_reward_does_not_see_the_relevance(kind, follows):
    from ranker.train.worker import phases

    params = tiny(grpo={"reward": kind}).grpo
    row = {"pool": ["A", "B", "C"], "mode": "exclude", "thinking": True}
    said = [{"content": "<think> A 2 B 0 C 4 </think> <answer> B </answer>"}]
    earned = [
        phases._rollout(row | {"relevance": grades}, "?", said, False, params).reward.total
        for grades in ([2.0, 0.0, 4.0], [0.0, 4.0, 2.0])
    ]
    assert (earned[0] > earned[1]) == follows and (earned[0] == earned[1]) == (not follows)
