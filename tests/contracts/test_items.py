"""The contract of `items`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import Defect, Road, caught, named

DEFECTS: list[Defect] = [
    ("ingest", "types", "alter table {items} rename column title to name"),
    ("ingest", "batch_id is one of", "update {items} set batch_id = 'other' where item_id = '0'"),
    ("ingest", "has rows", "delete from {items}"),
    ("ingest", "items/source_known", "delete from {sources} where task = 'rec-movie'"),
    (
        "ingest",
        "text is not empty",
        "update {items} set text = '' where task = 'rec-movie' and item_id = '0'",
    ),
    ("ingest", "task, item_id are together unique", "insert into {items} from {items} where item_id = '0'"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "items", defect)
