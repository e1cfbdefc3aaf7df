"""The contract of `candidate_sets`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import ONE_SET, Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "candidates",
        "split is one of",
        f"update {{candidate_sets}} set split = 'dev' where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets/pool_as_promised",
        (
            "delete from {candidates} where relevance = 0 and slot = (select max(slot) from {candidates}"
            f" where relevance = 0 and set_id = ({ONE_SET})) and set_id = ({ONE_SET})"
        ),
    ),
    # both agree with one another, and not with what was promised
    (
        "candidates",
        "candidate_sets/pool_as_promised",
        f"update {{candidate_sets}} set pool_size = pool_size - 1 where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets/has_positive",
        f"update {{candidates}} set relevance = 0 where set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidate_sets/group_on_one_side",
        (
            "update {candidate_sets} set split = 'test' where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'rec-movie' and split = 'train')"
        ),
    ),
    (
        "candidates",
        "candidate_sets/query_on_one_side",
        (
            "insert into {candidate_sets} by name select * replace ('copy' as set_id, 'test' as split) from"
            " {candidate_sets} where set_id = (select min(set_id) from {candidate_sets} where task ="
            " 'synthetic' and split = 'train')"
        ),
    ),
    (
        "candidates",
        "candidate_sets/text_on_one_side",
        (
            "update {candidate_sets} set query = (select upper(min(query)) || '  ' from {candidate_sets}"
            " where task = 'passage-pydoc' and split = 'train') where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'passage-pydoc' and split = 'test')"
        ),
    ),
    (
        "candidates",
        (
            "candidate_sets/near_duplicates: none of: Queries that read like one of another side (train,"
            " valid, test), where more than a share 0.1"
        ),
        (
            "update {candidate_sets} set query = 'How do one two three four five six seven eight nine come to"
            " ' || split where task = 'router-performance' and ascii(set_id) % 3 = 0"
        ),
    ),
    (
        "candidates",
        (
            "candidate_sets/near_duplicates: none of: Queries that read like one of another side (train,"
            " valid, test), where more than a share 0 "
        ),
        (
            "update {candidate_sets} set query = 'How do one two three four five six seven eight nine come to"
            " ' || split where set_id in (select min(set_id) from {candidate_sets} where task ="
            " 'router-performance' and split in ('train', 'test') group by split)"
        ),
    ),
    (
        "candidates",
        "candidate_sets/query_known",
        (
            "update {candidate_sets} set query_id = 'ghost' where set_id = (select min(set_id) from"
            " {candidate_sets} where task = 'synthetic')"
        ),
    ),
    (
        "candidates",
        "candidate_sets/history_touched",
        f"update {{candidate_sets}} set query_items = ['ghost'] where set_id = ({ONE_SET})",
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "candidate_sets", defect)
