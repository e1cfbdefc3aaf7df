"""The contract of `episodes`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import ONE_EPISODE, OWN_SETS, Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "train",
        "episodes/set_of_right_split",
        (
            "update {episodes} set set_id = (select min(set_id) from candidate_sets where split = 'test'"
            f" and {OWN_SETS})"
        ),
    ),
    ("train", "episodes/ranking_of_steps", "update {episodes} set ranking = list_reverse(ranking)"),
    (
        "evaluate",
        "episodes/set_of_right_split",
        (
            "update {episodes} set set_id = (select min(set_id) from candidate_sets where split = 'train'"
            f" and task = 'rec-movie' and {OWN_SETS}) where episode_id = ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "episodes/ranking_is_permutation",
        (
            "update {episodes} set ranking = list_append(ranking[2:], ranking[2]) where episode_id ="
            f" ({ONE_EPISODE})"
        ),
    ),
    (
        "evaluate",
        "episodes/ranking_of_steps",
        f"update {{episodes}} set ranking = list_reverse(ranking) where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes/steps_agree",
        f"update {{episodes}} set calls = calls + 1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes/steps_agree",
        f"update {{episodes}} set shortened_calls = shortened_calls + 1 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "rr is between 0 and 1",
        f"update {{episodes}} set rr = 1.5 where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episode_id is unique",
        f"insert into {{episodes}} from {{episodes}} where episode_id = ({ONE_EPISODE})",
    ),
    (
        "evaluate",
        "episodes/steps_agree",
        f"delete from {{steps}} where step = 0 and episode_id = ({ONE_EPISODE})",
    ),
    (
        "serve",
        "episodes/ranking_of_steps",
        "update {episodes} set ranking = list_reverse(ranking) where strategy = 'iterative'",
    ),
    ("evaluate", "episodes/drift_malformed", "update {episodes} set invalid_calls = calls where arm = 'rl'"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "episodes", defect)
