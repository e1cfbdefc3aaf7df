"""Contract of `teacher_scores`: one finite score per candidate of the inputs."""

from __future__ import annotations

from contracts.expect import Expectation, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("set_id", "label", "teacher", "score"),
        unique("set_id", "label", "teacher"),
        *none_of(["teacher_scores/candidate_known", "teacher_scores/finite", "teacher_scores/pools_whole"]),
    ]
