"""The contract of `candidates`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

import pytest

from tests.contracts.defects import ONE_SET, Defect, Road, caught, named

DEFECTS: list[Defect] = [
    (
        "candidates",
        "candidates/set_known",
        f"update {{candidates}} set set_id = 'ghost' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates/slots",
        f"update {{candidates}} set slot = 99 where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "set_id, label are together unique",
        f"update {{candidates}} set label = 'B' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "set_id, item_id are together unique",
        f"update {{candidates}} set item_id = '1' where slot < 2 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates/text_once",
        f"update {{candidates}} set text = 'Film' where slot < 2 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "text is not empty",
        f"update {{candidates}} set text = '' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates/slot_of_best_uniform",
        (
            "update {candidates} set slot = moved.slot from (select set_id, item_id, row_number() over"
            " (partition by set_id order by relevance desc, slot) - 1 as slot from {candidates}) moved where"
            " moved.set_id = {candidates}.set_id and moved.item_id = {candidates}.item_id"
        ),
    ),
    (
        "candidates",
        "candidates/item_known",
        f"update {{candidates}} set item_id = 'ghost' where slot = 0 and set_id = ({ONE_SET})",
    ),
    (
        "candidates",
        "candidates/relevance_as_judged",
        (
            "update {candidates} set relevance = 1 where relevance = 0 and set_id = (select min(c.set_id)"
            " from {candidates} c join {candidate_sets} s on s.set_id = c.set_id where s.task ="
            " 'passage-pydoc')"
        ),
    ),
    (
        "candidates",
        "candidates/not_in_history",
        (
            "update {candidates} set item_id = (select query_items[1] from {candidate_sets} where set_id"
            f" = ({ONE_SET})) where set_id = ({ONE_SET}) and slot = (select min(slot) from {{candidates}}"
            f" where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    (
        "candidates",
        "candidates/negatives_untouched",
        (
            "update {candidates} set item_id = (select max(n.item_id) from interactions n join"
            " {candidate_sets} s on s.task = n.task and s.group_id = n.user_id where s.set_id ="
            f" ({ONE_SET}) and not list_contains(s.query_items, n.item_id)) where set_id = ({ONE_SET}) and"
            f" slot = (select min(slot) from {{candidates}} where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    (
        "candidates",
        "candidates/positives_touched",
        (
            f"update {{candidates}} set relevance = 1 where set_id = ({ONE_SET}) and slot = (select min(slot)"
            f" from {{candidates}} where relevance = 0 and set_id = ({ONE_SET}))"
        ),
    ),
    ("candidates", "candidates/drift_labels", "update {candidates} set relevance = 1 where slot < 3"),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "candidates", defect)
