"""The contract of `sources`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("ingest", "rows_read is at least 1", "update {sources} set rows_read = 0 where task = 'rec-movie'"),
    (
        "ingest",
        "content_digest is not empty",
        "update {sources} set content_digest = '' where task = 'rec-movie'",
    ),
    ("ingest", "sources/has_items", "delete from {items} where task = 'synthetic'"),
    ("ingest", "sources/has_signal", "delete from {interactions} where task = 'rec-movie'"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "sources", defect)
