"""Contract of `episodes`: rankings are permutations of their pools, made of the steps written with them,
on sets of the right split; warns of malformed answers.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, drift, has_rows, none_of, not_null, one_of, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *([has_rows()] if staged.stage in ("evaluate", "serve") else []),
        *not_null(
            "episode_id",
            "stage",
            "set_id",
            "task",
            "model",
            "arm",
            "strategy",
            "thinking",
            "ranking",
            "pool",
            "calls",
            "reward",
        ),
        unique("episode_id"),
        one_of("stage", staged.stage),
        between("calls", 1),
        between("reward", -2, 2),
        *[between(metric, 0, 1) for metric in ("rr", "ndcg_5", "ndcg_10", "hit_1", "hit_3")],
        *none_of(
            [
                "episodes/set_of_right_split",
                "episodes/ranking_is_permutation",
                "episodes/steps_agree",
                "episodes/ranking_of_steps",
            ]
        ),
        *([] if staged.stage == "serve" else drift("episodes")),  # traffic comes and goes
        *none_of(["episodes/drift_malformed"], "warning"),
    ]
