"""The contract of `steps`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import ONE_EPISODE, Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "evaluate",
        "steps/episode_known",
        f"update {{steps}} set episode_id = 'ghost' where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps/labels_in_pool",
        f"update {{steps}} set taken = ['ZZ'] where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps/valid_or_reason",
        f"update {{steps}} set valid = not valid where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps/reward_adds_up",
        f"update {{steps}} set reward = reward + 0.5 where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps/reward_parts_in_range",
        (
            "update {steps} set reward_format = -0.5, reward = reward - reward_format - 0.5 where step = 0"
            f" and episode_id = ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "steps/answer_is_action",
        (
            "update {steps} set completion = '<answer> ZZ </answer>' where step = 0 and episode_id = (select"
            " min(episode_id) from {steps} where step = 0 and valid)"
        ),
    ),
    (
        "evaluate",
        "steps/numbered",
        f"update {{steps}} set step = step + 1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "steps/pool_follows",
        (
            "update {steps} set pool = list_append(pool, 'ZZ') where step = 1 and episode_id ="
            f" ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "steps/scores_fit",
        f"update {{steps}} set scores = [-0.5] where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "milliseconds is at least 0",
        f"update {{steps}} set milliseconds = -1 where episode_id = ({ONE_EPISODE})",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "steps", defect)
