"""The contract of `candidate_sets`: each seeded defect is caught by the expectation meant for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams
from ranker.lake import open_lake
from ranker.stages import candidates
from tests.contracts.defects import EARLIEST, ONE_SET, Defect, Road, caught, named
from tests.ranker.material import read_in, recbole, taste

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
    # a history that ends with the target's successor: of one user, so that nothing else is wrong with it
    (
        "candidates",
        "candidate_sets/history_before_target",
        (
            "update {candidate_sets} set query_items = list_append(query_items, (select arg_max(n.item_id,"
            " n.happened_at) from interactions n where n.task = 'rec-movie' and n.user_id = group_id)) where"
            f" set_id = ({EARLIEST})"
        ),
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=named)
def test_a_defect_is_caught_by_the_expectation_meant_for_it(done: Road, defect: Defect) -> None:
    caught(done, "candidate_sets", defect)


BY_TIME: list[tuple[str, Defect]] = [
    (
        "candidate_sets",
        (
            "candidates",
            "candidate_sets/side_of_its_time",
            "update {candidate_sets} set split = 'train' where set_id = (select min(set_id) from"
            " {candidate_sets} where split = 'test')",
        ),
    ),
    (
        "candidate_sets",
        (
            "candidates",
            "candidate_sets/history_before_target",
            "update {candidate_sets} set query_items = (select list(item_id order by happened_at desc)[:4]"
            f" from interactions where user_id = group_id) where set_id = ({EARLIEST})",
        ),
    ),
    (
        "candidates",
        (
            "candidates",
            "candidates/negatives_untouched",
            "update {candidates} set item_id = (select arg_min(item_id, happened_at) from interactions join"
            " {candidate_sets} s on s.group_id = user_id where s.set_id = {candidates}.set_id) where"
            " relevance = 0 and set_id = (select min(set_id) from {candidate_sets} where split = 'train')",
        ),
    ),
]


@pytest.fixture(scope="module")
def by_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A lake with one batch whose sides time separates, which its contract has let in."""
    folder = tmp_path_factory.mktemp("by-time")
    with open_lake(folder / "home") as lake:
        source = read_in(lake, "rec-movie", recbole(folder / "ml", taste()))
        params = CandidateParams(split="time", history=4, pool_size={"rec-movie": 6})
        made = Road(lake, {"candidates": candidates.run(lake, params, source=source, check=validate_batch)})
        made.lay_out(staged := made.staged("candidates"), list(staged.tables))
        with made.open:
            yield made


@pytest.mark.parametrize(
    ("table", "defect"), BY_TIME, ids=lambda part: part if isinstance(part, str) else part[1]
)
def test_a_defect_of_time_is_caught(by_time: Road, table: str, defect: Defect) -> None:
    caught(by_time, table, defect)
