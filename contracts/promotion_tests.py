"""Contract of `promotion_tests`: a test once per version and task, of the version that the batch registers,
with p-values that Holm can only raise.
"""

from __future__ import annotations

from contracts.expect import Expectation, between, none_of, not_null, unique
from ranker.refs import Staged


def suite(staged: Staged) -> list[Expectation]:
    return [
        *not_null("name", "version", "task", "against", "queries", "planned", "look", "level"),
        between("queries", 0),
        between("planned", 1),
        between("look", 1),
        between("level", 0, 1),
        between("p", 0, 1),
        between("p_holm", 0, 1),
        unique("name", "version", "task"),
        *none_of(["promotion_tests/version_known", "promotion_tests/interval", "promotion_tests/corrected"]),
    ]
