"""The contract of `queries`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("ingest", "queries/judged", "delete from {qrels} where task = 'synthetic' and query_id = 'q7'"),
    ("ingest", "queries/source_known", "update {queries} set task = 'ghost' where query_id = 'q7'"),
    ("ingest", "group_id is not null", "update {queries} set group_id = null where query_id = 'q7'"),
    (
        "ingest",
        "drift/text",
        "update {queries} set text = text || ' and again ' || text where task = 'router-performance'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "queries", defect)
