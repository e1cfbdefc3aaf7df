"""Contract of `steps`: labels inside the pool as shown, a reason exactly where an answer is invalid,
rewards in range that add up, pools that follow from the steps before.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *([has_rows()] if staged.stage == "evaluate" else []),
        *not_null(
            "episode_id",
            "step",
            "mode",
            "pool",
            "prompt",
            "completion",
            "action",
            "taken",
            "valid",
            "reason",
            "reward",
        ),
        unique("episode_id", "step"),
        one_of("mode", "exclude", "rank"),
        between(
            "reward",
            -2,
            2,
            remedy=(
                "rewards are chance-corrected, within -1 and 1 plus a format part; look at"
                " ranker/policy/rewards.py"
            ),
        ),
        between("prompt_tokens", 0),
        between("completion_tokens", 0),
        between("milliseconds", 0),
        *none_of(
            ["steps/episode_known", "steps/labels_in_pool", "steps/valid_or_reason", "steps/reward_adds_up"]
        ),
        *none_of(
            [
                "steps/answer_is_action",
                "steps/reward_parts_in_range",
                "steps/numbered",
                "steps/pool_follows",
                "steps/scores_fit",
            ]
        ),
    ]
