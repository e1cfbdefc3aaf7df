"""The contract of `served_shadows`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "serve",
        "served_shadows/request_known",
        "update {served_shadows} set set_id = 'ghost' where set_id like 'direct %'",
    ),
    ("serve", "served_shadows/one_episode", "update {served_shadows} set model = 'ghost'"),
    ("serve", "served_shadows/one_episode", "delete from {served_shadows}"),
    (
        "serve",
        "served_shadows/same_documents",
        "update {episodes} set pool = pool[2:] where arm = 'shadow'",
    ),
    ("serve", "set_id is unique", "insert into {served_shadows} from {served_shadows}"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "served_shadows", defect)
