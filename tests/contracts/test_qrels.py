"""The contract of `qrels`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "ingest",
        "types",
        (
            "create or replace temp table {qrels} as select * replace (relevance::decimal(9, 3) as relevance)"
            " from {qrels}"
        ),
    ),
    ("ingest", "qrels/references", "update {qrels} set item_id = 'ghost' where query_id = 'q7'"),
    ("ingest", "relevance is between 0", "update {qrels} set relevance = -1 where query_id = 'q7'"),
    (
        "ingest",
        "qrels/drift_labels",
        "update {qrels} set relevance = 0 where task = 'synthetic' and query_id < 'q3'",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "qrels", defect)
